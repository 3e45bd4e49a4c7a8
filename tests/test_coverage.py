# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Backgrounds that are mostly extrapolated fail, whatever the bins were filled with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backgrounds import case
from click.testing import CliRunner

from lsst.bgqa import BackgroundModel, measure_background
from lsst.bgqa.background import Approximation, ApproxStyle, Box, Layer
from lsst.bgqa.cli import main
from lsst.bgqa.standalone._regions import polygon
from lsst.bgqa.standalone.demo import DETECTORS, VISITS, sky_position, visit_background
from lsst.bgqa.tasks import VisitBackgroundQaTask
from lsst.bgqa.tasks._campaign import NamedBackground
from lsst.bgqa.tasks.gather_background_metrics import GatherCoaddMetricsConfig

HSC = Path(__file__).parent / "data" / "hsc"
NO_DATA = 8
CHEBYSHEV = Approximation(ApproxStyle.CHEBYSHEV, 6)


def make_sky(**how: Any) -> Layer:
    """Return 16x16 bins of a detector, of 2992 to 3005 adu, with noise."""
    y, x = np.mgrid[0:16, 0:16] / 15
    values = 2994 + 5 * x + 4 * y + np.random.default_rng(5).normal(0, 0.5, x.shape)
    assert 2992 < values.min() and values.max() < 3005
    how = {"standard_error": np.full(x.shape, 0.5), "mask": np.zeros(x.shape, np.int32)} | how
    return Layer(values=values, bbox=Box(0, 0, 2048, 2048), mask_planes={"NO_DATA": NO_DATA}, **how)


def without(
    layer: Layer, missing: np.ndarray, filled: float = np.nan, masked: bool = False
) -> BackgroundModel:
    """Return a background some of whose bins hold no data."""
    return BackgroundModel(
        (
            Layer(
                np.where(missing, filled, layer.values),
                np.where(missing, np.nan, layer.standard_error),
                np.where(missing & masked, 1 << NO_DATA, layer.mask),
                layer.bbox,
                approximation=layer.approximation,
                mask_planes=layer.mask_planes,
            ),
        )
    )


def judge(model: BackgroundModel, tmp_path: Path) -> tuple[str, str, dict[str, float]]:
    """Return the verdict, the words and the values of a background's file."""
    path = tmp_path / "background.fits"
    model.write_fits(path)
    result = CliRunner().invoke(main, ["inspect", "--json", str(path)])
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    return said["verdict"], said["fault"], {name: metric["value"] for name, metric in said["metrics"].items()}


half = np.arange(256).reshape(16, 16) % 16 >= 8
checkered = np.indices((16, 16)).sum(axis=0) % 2 == 1
one = np.arange(256).reshape(16, 16) != 100


def test_half_of_the_bins_missing_fails_under_a_polynomial(tmp_path: Path) -> None:
    model = without(make_sky(approximation=CHEBYSHEV), half)
    pixels = model.render()
    # No pixel should be there.
    assert not 2992 - 13 < pixels.min() < pixels.max() < 3005 + 13
    verdict, fault, values = judge(model, tmp_path)
    assert values["coverage_dataFraction"] == 0.5
    bins = model.layers[0].values
    excess = max(np.nanmin(bins) - pixels.min(), pixels.max() - np.nanmax(bins))
    assert values["coverage_rangeExcess"] == pytest.approx(excess / np.ptp(bins[~half]), rel=1e-6)
    assert values["coverage_rangeExcess"] > 1
    assert verdict == "fail"
    assert "too few bins with data" in fault and "beyond all bins" in fault


@pytest.mark.parametrize("approximation", [CHEBYSHEV, Approximation()], ids=["chebyshev", "akima"])
@pytest.mark.parametrize("missing", [half, checkered, one], ids=["half", "checkered", "all but one"])
@pytest.mark.parametrize(
    ("filled", "masked"), [(np.nan, False), (2998.0, False), (2998.0, True)], ids=["nan", "error", "mask"]
)
def test_bins_without_data_fail_by_value_mask_and_error(
    approximation: Approximation, missing: np.ndarray, filled: float, masked: bool, tmp_path: Path
) -> None:
    model = without(make_sky(approximation=approximation), missing, filled, masked)
    metrics = measure_background(model)
    assert metrics["coverage_dataFraction"].value == 1 - missing.mean()
    verdict, fault, _ = judge(model, tmp_path)
    assert verdict == "fail"
    if metrics["coverage_finiteFraction"].value:
        assert "too few bins with data" in fault


def test_a_mask_alone_tells_that_a_bin_holds_no_data() -> None:
    sky = make_sky()
    for planes, bit, fraction in (
        ({"NO_DATA": 3}, 3, 0.5),
        ({"NO_DATA": 3}, 8, 1),
        ({}, 8, 0.5),
        ({"SAT": 8}, 8, 1),
    ):
        layer = Layer(
            sky.values,
            np.full((16, 16), np.nan),
            np.where(half, 1 << bit, 0),
            sky.bbox,
            mask_planes=planes,
        )
        assert layer.measured.mean() == fraction


def test_sound_backgrounds_have_data_and_pass(tmp_path: Path) -> None:
    for path in sorted(HSC.glob("*.fits")):
        metrics = measure_background(BackgroundModel.read_fits(path))
        assert metrics["coverage_dataFraction"].value == 1
        assert 0 <= metrics["coverage_rangeExcess"].value < 0.1
    amplifiers = np.arange(256).reshape(16, 16) // 32 == 4  # 2 of 16 are dead
    metrics = measure_background(without(make_sky(), amplifiers))
    assert metrics["coverage_dataFraction"].value == 0.875
    assert metrics["coverage_rangeExcess"].value < 1
    verdict, fault, _ = judge(BackgroundModel((make_sky(),)), tmp_path)
    assert (verdict, fault) == ("pass", "")


def test_layers_count_together_and_each_by_its_data() -> None:
    constant = case("patch_akima_constant").model
    assert measure_background(constant)["coverage_dataFraction"].value == 1
    # What one layer extrapolates, the next takes off.
    sky = without(make_sky(approximation=CHEBYSHEV), half).layers[0]
    inverse = Layer(
        -sky.values,
        sky.standard_error,
        sky.mask,
        sky.bbox,
        approximation=CHEBYSHEV,
        mask_planes=sky.mask_planes,
    )
    metrics = measure_background(BackgroundModel((sky, inverse, make_sky())))
    assert metrics["coverage_dataFraction"].value == 0.5
    assert metrics["coverage_rangeExcess"].value < 1


def test_flat_bins_are_not_left_by_rounding() -> None:
    layer = make_sky(approximation=CHEBYSHEV)
    flat = Layer(
        np.full((16, 16), 3000.1), layer.standard_error, layer.mask, layer.bbox, approximation=CHEBYSHEV
    )
    assert measure_background(BackgroundModel((flat,)))["coverage_rangeExcess"].value == 0


def test_a_half_empty_detector_fails_in_its_visit() -> None:
    config = VisitBackgroundQaTask.ConfigClass()
    config.mirrored = True
    visit = VISITS[0]

    def load(detector: Any) -> BackgroundModel:
        background = visit_background(visit, detector)
        if detector is not DETECTORS[0]:
            return background
        layer = background.grids[0]
        empty = np.arange(layer.shape[1]) >= layer.shape[1] // 2
        return without(layer, np.broadcast_to(empty, layer.shape), float(np.nanmedian(layer.values)), True)

    backgrounds = [
        NamedBackground(
            detector.id,
            detector.name,
            load=lambda detector=detector: load(detector),  # type: ignore[misc]
            region=polygon(sky_position(x, y, center=visit.boresight) for x, y in detector.corners),
        )
        for detector in DETECTORS
    ]
    row = VisitBackgroundQaTask(config=config).run(backgrounds).table[0]
    assert row["verdict"] == "fail"
    assert "coverage_dataFraction" in row["failed"].split(",")
    assert "too few bins with data" in row["fault"]


def test_patches_at_the_edge_of_a_survey_do_not_fail_by_it() -> None:
    thresholds = GatherCoaddMetricsConfig().thresholds()
    for name in ("coverage_dataFraction", "coverage_rangeExcess", "significance_holeFraction"):
        assert np.isnan(thresholds.bounds(name)).all()
