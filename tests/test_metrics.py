# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
import yaml

from lsst.bgqa import BackgroundModel, measure_background
from lsst.bgqa.background import Box, Layer
from lsst.bgqa.judge import words_for
from lsst.bgqa.metrics import (
    Catalogue,
    CatalogueError,
    MetricDefinition,
    judge,
    load_catalogue,
    to_quantities,
)
from lsst.bgqa.metrics.information import metric_information
from lsst.bgqa.statistics import StatisticsConfig

TASKS = Path(__file__).parents[1] / "python" / "lsst" / "bgqa" / "tasks"

# The groups and metrics that dashboards rely on: names are never changed.
EXPECTED = {
    "coverage": "pixelCount nanPixelCount finiteFraction layerCount binCount badBinCount dataFraction "
    "rangeExcess inputVisitCount",
    "level": "min max mean median std sigmaMad p01 p05 p25 p75 p95 p99 range negativeFraction",
    "shape": "gradientX gradientY gradientAmplitude gradientAngle residualRms roughness",
    "edges": "edgeExcess cornerExcess extrapolationOvershoot",
    "bumps": "peakBump bumpCount",
    "blocks": "stepX stepY segmentContrast",
    "fit": "residualRms reducedChi2 maxPull",
    "significance": "edgeAmplitude edgeSigma cornerAmplitude cornerSigma segmentAmplitude segmentSigma "
    "stripeAmplitude stripeSigma spotAmplitude spotSigma ringAmplitude ringSigma binAmplitude binSigma "
    "gradientAmplitude gradientSigma bowlAmplitude bowlSigma reducedChi2 missingFraction holeFraction",
    "context": "levelDeviation levelSigma levelChange levelChangeSigma slopeX slopeY slopeChange "
    "slopeChangeSigma curvature curvatureChange curvatureChangeSigma seamDeviation seamSigma",
    "closure": "comparedPixelCount nanMismatchCount maxAbsResidual rmsResidual bitwiseEqualFraction maxUlp "
    "roundingExplainedFraction compressionExplainedFraction edgeUnexplainedCount interiorUnexplainedCount "
    "consistent",
    "comparison": "meanDifference medianDifference rmsDifference maxAbsDifference",
    "visit": "detectorCount levelMedian levelScatter gradientAmplitude gradientAngle radialTerm stepRms "
    "stepMax outlierDetectorCount missingDetectorCount unreadableDetectorCount failedFraction sharedSigma "
    "residualDetectorCount skyBrightnessError skyBrightnessScatter impreciseDetectorCount",
    "stack": "visitCount patternRms patternPeakToValley temporalRms clippedVisitCount unreadableVisitCount",
    "tract": "patchCount seamRms seamMax unreadablePatchCount",
    "residual": "skyFraction median medianUncertainty mean meanUncertainty noise noiseUncertainty "
    "noiseCorrelation cellRms cellRmsUncertainty cellExcess cellExcessUncertainty cellChi2 backgroundLevel "
    "skyBrightnessError skyBrightnessErrorUncertainty skyBrightnessScatter skyBrightnessScatterUncertainty "
    "limitingSurfaceBrightness limitingSurfaceBrightnessUncertainty edgeExcess edgeExcessSignificance "
    "edgeExtreme edgeExtremeSignificance cornerExcess cornerExcessSignificance stepX stepXSignificance "
    "stepY stepYSignificance segmentStep segmentStepSignificance haloFootprintCount haloDepth haloRadius "
    "haloSignificance crowdingSlope crowdingSignificance",
}

METRIC = {"name": "median", "unit": "{unit}", "description": "Median.", "low": None, "high": None}


def catalogue_text(*groups: dict) -> str:
    return yaml.safe_dump({"groups": list(groups)})


def group_entry(*metrics: dict, name: str = "level") -> dict:
    return {"group": name, "description": "Levels.", "metrics": list(metrics)}


def make_model(values: np.ndarray, unit: u.UnitBase = u.adu) -> BackgroundModel:
    values = np.asarray(values, dtype=np.float32)
    layer = Layer(values, np.ones_like(values), np.zeros(values.shape, np.int32), Box(10, 20, 700, 600))
    return BackgroundModel((layer,), unit)


def test_catalogue_has_every_metric_in_order() -> None:
    catalogue = load_catalogue()
    assert {g.name: " ".join(m.name for m in g.metrics) for g in catalogue.groups} == EXPECTED
    assert list(catalogue) == [f"{g}_{m}" for g, names in EXPECTED.items() for m in names.split()]


def test_catalogue_is_read_once() -> None:
    assert load_catalogue() is load_catalogue()


def test_catalogue_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(catalogue_text(group_entry({**METRIC, "low": 0, "high": 2000.5})))
    metric = load_catalogue(path)["level_median"]
    assert (metric.group, metric.name, metric.low, metric.high) == ("level", "median", 0, 2000.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("groups: [", "not YAML"),
        ("[]", "the document is not a mapping"),
        ("{}", "the document lacks groups"),
        ("groups: 3", "the document: groups cannot be 3"),
        (
            catalogue_text(group_entry({"name": "median"})),
            "level, metric 1 lacks unit, description, low, high",
        ),
        (catalogue_text(group_entry({**METRIC, "hihg": 3})), "level, metric 1 has unknown hihg"),
        (catalogue_text(group_entry({**METRIC, "low": "zero"})), "level, metric 1: low cannot be 'zero'"),
        (catalogue_text(group_entry({**METRIC, "low": True})), "level, metric 1: low cannot be True"),
        (catalogue_text(group_entry({**METRIC, "low": 2, "high": 1})), "level_median: low 2 is above high 1"),
        (catalogue_text(group_entry({**METRIC, "unit": "parsnip"})), "level_median: 'parsnip' is not a unit"),
        (catalogue_text(group_entry({**METRIC, "unit": "{unit} per kpix"})), "is not a unit"),
        (catalogue_text(group_entry({**METRIC, "name": "the_median"})), "a name has only letters and digits"),
        (catalogue_text(group_entry(METRIC, name="sky_level")), "group 1: a name has only letters"),
        (catalogue_text(group_entry(METRIC, METRIC)), "level: metric median is defined twice"),
        (catalogue_text(group_entry(METRIC), group_entry(METRIC)), "group level is defined twice"),
    ],
)
def test_invalid_catalogue_is_refused(text: str, message: str) -> None:
    with pytest.raises(CatalogueError) as error:
        Catalogue.from_yaml(text, "mine.yaml")
    assert str(error.value).startswith("mine.yaml: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_catalogue_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"nowhere\.yaml: cannot be read"):
        load_catalogue(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("template", "unit", "expected"),
    [
        ("{unit}", u.nJy, "nJy"),
        ("{unit} / kpix", u.adu, "adu / kpix"),
        ("{unit} / kpix", u.electron / u.s, "electron / (kpix s)"),
        ("{unit} / kpix", u.dimensionless_unscaled, "1 / kpix"),
        ("ct", u.nJy, "ct"),
        ("", u.nJy, ""),
    ],
)
def test_units_follow_the_background(template: str, unit: u.UnitBase, expected: str) -> None:
    assert MetricDefinition("g", "m", template, "").unit_for(unit) == u.Unit(expected)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.0, "fail"),
        (1.0, "pass"),
        (2.0, "pass"),
        (np.float32(3.0), "pass"),
        (3.1, "fail"),
        (np.inf, "fail"),
        (np.nan, "unknown"),
        (None, "unknown"),
        (2 * u.adu, "pass"),
        (4 * u.adu, "fail"),
    ],
)
def test_thresholds_are_inclusive(value: float | u.Quantity | None, verdict: str) -> None:
    assert MetricDefinition("g", "m", "{unit}", "", 1, 3).judge(value) == verdict


def test_judge_by_the_catalogue() -> None:
    assert judge("closure_consistent", 1.0) == "pass"
    assert judge("closure_consistent", 0.0) == "fail"
    assert judge("coverage_finiteFraction", 0.5) == "fail"
    assert judge("significance_spotSigma", -12.0) == judge("significance_spotSigma", 12.0) == "fail"
    assert judge("level_median", 1e9) == "unknown"
    assert judge("parsnip_count", 1.0) == "unknown"


def test_rows_say_what_the_catalogue_says() -> None:
    rows = {row["metric"]: row for row in load_catalogue().rows()}
    assert list(rows) == list(load_catalogue())
    assert rows["shape_gradientX"]["unit"] == "background / kpix"
    assert (rows["significance_spotSigma"]["low"], rows["significance_spotSigma"]["high"]) == ("-6", "6")
    assert rows["level_median"]["low"] == ""
    assert all(row["description"].endswith(".") for row in rows.values())


def test_markdown_has_a_table_for_each_group() -> None:
    text = load_catalogue().to_markdown()
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(EXPECTED)
    tables = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(tables) == len(load_catalogue())
    assert all(line.count(" | ") == 4 for line in tables)


def test_page_of_the_documentation_is_the_catalogue() -> None:
    page = Path(__file__).parents[1] / "doc" / "metrics.md"
    assert page.read_text() == load_catalogue().to_markdown()


def test_markdown_keeps_a_bar_within_its_cell() -> None:
    catalogue = Catalogue.from_yaml(
        catalogue_text(group_entry({**METRIC, "description": "Median |x|."})), "mine"
    )
    assert r"Median \|x\|." in catalogue.to_markdown()


def test_background_is_measured_in_its_unit_and_in_order() -> None:
    y, x = np.mgrid[0:6, 0:7]
    noise = np.random.default_rng(3).normal(size=y.shape)
    metrics = measure_background(make_model(1000 + 2 * x + noise, u.nJy), StatisticsConfig(segments=(2, 1)))
    order = [name for name in load_catalogue() if name in metrics]
    assert list(metrics) == order
    assert metrics["level_median"].unit == u.nJy
    assert metrics["level_median"].value == pytest.approx(1006, abs=2)
    assert metrics["shape_gradientX"].unit == u.nJy / u.Unit("kpix")
    # 2 nJy a bin of 100 pixels.
    assert metrics["shape_gradientX"].value == pytest.approx(20, abs=3)
    assert metrics["coverage_pixelCount"] == 420_000 * u.ct
    assert "blocks_segmentContrast" in metrics


def test_no_segments_no_contrast() -> None:
    assert "blocks_segmentContrast" not in measure_background(make_model(np.arange(42).reshape(6, 7)))


def test_background_without_a_pixel_has_a_coverage_alone() -> None:
    metrics = measure_background(make_model(np.full((6, 7), np.nan)))
    assert {name.partition("_")[0] for name in metrics} == {"coverage"}
    assert metrics["coverage_finiteFraction"].value == 0


def test_every_statistic_is_in_the_catalogue_and_every_catalogued_one_is_measured() -> None:
    rng = np.random.default_rng(1)
    model = make_model(rng.normal(100, 1, (12, 12)))
    measured = set(measure_background(model, StatisticsConfig(segments=(4, 1))))
    groups = ("coverage", "level", "shape", "edges", "bumps", "blocks", "significance")
    expected = {name for name in load_catalogue() if name.partition("_")[0] in groups}
    of_visits = {
        f"significance_{name}"
        for name in EXPECTED["significance"].split()
        if name.startswith("gradient") or name == "bowlSigma"
    }
    assert measured == expected - {"coverage_inputVisitCount"} - of_visits


def test_undefined_values_are_left_out() -> None:
    values: dict[str, Any] = {"level_max": np.inf, "level_median": np.float32(3), "level_min": np.nan}
    assert to_quantities(values, u.adu) == {"level_median": 3 * u.adu}


def test_metric_that_is_not_in_the_catalogue_is_refused() -> None:
    with pytest.raises(CatalogueError, match="not in the metric catalogue: level_parsnip"):
        to_quantities({"level_parsnip": 1.0}, u.adu)


# --- Thresholds for analysis_tools --------------------------------------


def test_metric_information_has_what_its_readers_want() -> None:
    information = yaml.safe_load(metric_information(load_catalogue()))
    assert list(information) == list(load_catalogue())
    keys = ["lowThreshold", "highThreshold", "divergent", "plot", "debugGroup", "atoolFile", "description"]
    for name, entry in information.items():
        assert list(entry) == keys
        assert isinstance(entry["lowThreshold"], float) and isinstance(entry["highThreshold"], float)
        assert isinstance(entry["divergent"], bool)
        assert (TASKS / entry["atoolFile"]).exists()
        assert entry["description"] == load_catalogue()[name].description
    divergent = {name for name, entry in information.items() if entry["divergent"]}
    assert {"bumps_peakBump", "blocks_stepX"} <= divergent and "level_median" not in divergent
    assert information["closure_consistent"]["plot"] == "deepCoadd_calexp_background_closure_plot"


@pytest.mark.parametrize("strict", [False, True])
def test_metric_information_judges_alike(strict: bool) -> None:
    """Whether a reader takes thresholds to pass or to fail."""
    information = yaml.safe_load(metric_information(load_catalogue()))
    for name, metric in load_catalogue().items():
        if metric.low is None and metric.high is None:
            assert information[name]["lowThreshold"] == -math.inf
            assert information[name]["highThreshold"] == math.inf
            continue
        for bound in (metric.low, metric.high):
            for value in () if bound is None else (bound, bound - 1, bound + 1, bound * (1 + 1e-12)):
                low, high = information[name]["lowThreshold"], information[name]["highThreshold"]
                passes = low < value < high if strict else low <= value <= high
                if metric.unit != "ct" or value == round(value):
                    assert passes == (metric.judge(value) == "pass"), (name, value)


def test_metric_information_names_the_pictures_of_a_generation() -> None:
    text = metric_information(load_catalogue(), "visit_image.backgrounds", "deep_coadd.backgrounds")
    information = yaml.safe_load(text)
    assert information["bumps_peakBump"]["plot"] == "visit_image_backgrounds_bumps_plot"
    assert information["tract_seamMax"]["plot"] == "deep_coadd_backgrounds_tract_plot"


def test_every_picture_is_one_of_the_tasks() -> None:
    templates = set()
    for path in TASKS.glob("*.py"):
        templates |= set(re.findall(r'name="\{(?:background|image)Name\}(_\w+_plot)"', path.read_text()))
    templates |= {"_stack_plot", "_tract_plot"}
    for entry in yaml.safe_load(metric_information(load_catalogue(), "sky", "sky", "sky")).values():
        assert entry["plot"].removeprefix("sky") in templates


def test_every_bound_of_the_residual_sky_has_words() -> None:
    for name, metric in load_catalogue().items():
        for bound, value in ((metric.low, -1e3), (metric.high, 1e3)):
            if metric.group == "residual" and bound is not None:
                low = math.nan if metric.low is None else metric.low
                high = math.nan if metric.high is None else metric.high
                assert words_for(name, value, low, high), name
    assert words_for("residual_edgeExcessSignificance", -9, -5, 5) == "dark edges left in the image"
    assert words_for("residual_haloSignificance", -9, -5, math.nan) == "a dark halo left in the image"
