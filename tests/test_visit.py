# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Visits: the table, the trend over the focal plane, steps between detectors."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from backgrounds import WHOLE_GOLDEN

from lsst.bgqa import BackgroundError, BackgroundModel, measure_background
from lsst.bgqa.background import Box, InterpStyle, Layer
from lsst.bgqa.metrics import load_catalogue, quantities_of
from lsst.bgqa.standalone._regions import polygon
from lsst.bgqa.standalone.demo import DETECTORS, VISITS, DemoVisit, sky_position, visit_background
from lsst.bgqa.standalone.ingest import DEFAULT_RUN, ingest
from lsst.bgqa.statistics.focal_plane import fit_trend, tangent_plane, z_scores
from lsst.bgqa.statistics.neighbours import (
    Outline,
    edge_profiles,
    find_pairs,
    measure_steps,
    region_padding,
)
from lsst.bgqa.tasks import VisitBackgroundQaConfig, VisitBackgroundQaTask
from lsst.bgqa.tasks._campaign import NamedBackground, region_vertices
from lsst.bgqa.tasks.visit_background_qa import instrument_detectors
from lsst.daf.butler import Butler
from lsst.pipe.base import NoWorkFound, Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

HSC = Path(__file__).parent / "data" / "hsc"
GOLDEN = WHOLE_GOLDEN / "hsc"
CENTER = (150.0, 2.0)


def make_model(sky: Callable[[Any, Any], Any], width: int = 200, height: int = 300) -> BackgroundModel:
    """Make a background of linear bins that follows a sky."""
    bbox = Box(0, 0, width, height)
    shape = (30, 20)
    empty = Layer(np.zeros(shape), np.ones(shape), np.zeros(shape), bbox)
    values = sky(*np.meshgrid(empty.bin_centers_x, empty.bin_centers_y)) + np.zeros(shape)
    layer = Layer(values, np.ones(shape), np.zeros(shape), bbox, interp_style=InterpStyle.LINEAR)
    return BackgroundModel((layer,))


class Camera:
    """Detectors of 200x300 pixels in a grid, with gaps of 10 pixels.

    ``padding`` is by how many pixels regions are wider than their detectors,
    ``turned`` has the detectors that are built in upside down.
    """

    scale = 0.001

    def __init__(
        self,
        columns: int = 4,
        rows: int = 3,
        mirrored: bool = False,
        padding: int = 0,
        turned: tuple[int, ...] = (),
    ) -> None:
        self.numbers = range(columns * rows)
        self.columns, self.rows = columns, rows
        self.sign = 1 if mirrored else -1
        self.padding = padding
        self.turned = turned

    def to_sky(self, number: int, x: Any, y: Any) -> tuple[Any, Any]:
        """Return degrees to the east and north of the centre."""
        if number in self.turned:
            x, y = 199 - x, 299 - y
        column, row = number % self.columns, number // self.columns
        east = self.sign * self.scale * (x + 210 * (column - (self.columns - 1) / 2) - 99.5)
        return east, self.scale * (y + 310 * (row - (self.rows - 1) / 2) - 149.5)

    def region(self, number: int) -> Any:
        low, high_x, high_y = -0.5 - self.padding, 199.5 + self.padding, 299.5 + self.padding
        corners = ((low, low), (high_x, low), (high_x, high_y), (low, high_y))
        return polygon(sky_position(*self.to_sky(number, x, y), center=CENTER) for x, y in corners)

    def background(self, number: int, sky: Callable[[Any, Any], Any], factor: float = 1.0) -> NamedBackground:
        return NamedBackground(
            number,
            f"detector {number}",
            lambda: make_model(lambda x, y: factor * sky(*self.to_sky(number, x, y))),
            f"D{number:02d}",
            self.region(number),
        )


def run(backgrounds: list[NamedBackground], expected: Any = None, **settings: Any) -> Any:
    config = VisitBackgroundQaConfig()
    for name, value in settings.items():
        setattr(config, name, value)
    return VisitBackgroundQaTask(config=config).run(backgrounds, expected=expected)


def sky(east: Any, north: Any) -> Any:
    return 1000 + 120 * east - 70 * north + 30 * (east**2 + north**2)


def demo_visit(visit: DemoVisit) -> list[NamedBackground]:
    return [
        NamedBackground(
            detector.id,
            str(detector.id),
            lambda detector=detector: visit_background(visit, detector),  # type: ignore[misc]
            detector.name,
            polygon(sky_position(x, y, center=visit.boresight) for x, y in detector.corners),
        )
        for detector in DETECTORS
    ]


def entries_of(folder: Path, visit: int) -> list[dict[str, Any]]:
    return [
        {**entry, "file": str(folder / entry["file"])}
        for entry in json.loads((folder / "manifest.json").read_text())
        if entry["visit"] == visit
    ]


def backgrounds_of(entries: list[dict[str, Any]]) -> list[NamedBackground]:
    return [
        NamedBackground(
            entry["detector"],
            entry["file"],
            lambda entry=entry: BackgroundModel.read_fits(entry["file"]),  # type: ignore[misc]
            str(entry["detector"]),
            polygon(zip(entry["ra_corners_deg"], entry["dec_corners_deg"], strict=True)),
        )
        for entry in entries
    ]


# --- The trend -----------------------------------------------------------


@pytest.mark.parametrize("n", [9, 30, 100])
def test_trend_is_found_although_levels_are_wrong(n: int) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-1, 1, (2, n))
    levels = 500 + 3 * x - 4 * y + 2 * (x**2 + y**2)
    wrong = levels.copy()
    wrong[: n // 4] += 100
    trend = fit_trend(x, y, wrong)
    np.testing.assert_allclose(trend(x, y), levels, atol=1e-6)
    assert (trend.slope_x, trend.slope_y) == pytest.approx((3, -4))
    assert trend.radial == pytest.approx(2 * np.max(x**2 + y**2))
    z = z_scores(wrong - trend(x, y), 500.0, 4)
    assert (np.abs(z) > 5).tolist() == [True] * (n // 4) + [False] * (n - n // 4)


def test_few_levels_have_a_simpler_trend() -> None:
    x, y = np.arange(3.0), np.zeros(3)
    trend = fit_trend(x, y, np.array([1.0, 2.0, 10.0]))
    assert trend(x, y).tolist() == [2.0, 2.0, 2.0]
    assert fit_trend(np.zeros(1), np.zeros(1), np.array([7.0])).constant == 7


@pytest.mark.parametrize("dec", [-90.0, -30.0, 0.0, 89.9])
def test_tangent_plane_has_east_and_north(dec: float) -> None:
    def vector(ra: float, dec: float) -> np.ndarray:
        a, d = np.radians([ra, dec])
        return np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])

    center = vector(0, dec) if abs(dec) < 90 else np.array([0.0, 0.0, -1.0])
    for east, north in ((0.1, 0.0), (0.0, 0.1), (-0.03, 0.07)):
        ra, there = sky_position(east, north, center=(0.0, dec))
        np.testing.assert_allclose(tangent_plane(vector(ra, there), center), [east, north], atol=1e-9)


# --- Neighbours ----------------------------------------------------------


def outlines_of(camera: Camera) -> dict[int, Outline]:
    center = np.array([np.cos(np.radians(150)), np.sin(np.radians(150)), np.tan(np.radians(2))])
    center /= np.linalg.norm(center)
    found = {}
    for number in camera.numbers:
        vertices = region_vertices(camera.region(number))
        assert vertices is not None
        found[number] = Outline(tangent_plane(vertices, center))
    return found


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("padding", [0, 25])
def test_neighbours_share_a_side(mirrored: bool, padding: int) -> None:
    outlines = outlines_of(Camera(mirrored=mirrored, padding=padding))
    pairs = find_pairs(outlines)
    expected = {(i, i + 1) for i in range(12) if i % 4 < 3} | {(i, i + 4) for i in range(8)}
    assert {(pair.first, pair.second) for pair in pairs} == expected
    assert len(pairs) == len(expected)
    # Regions say that detectors touch: half a gap too little.
    assert region_padding(outlines, pairs) == pytest.approx(1e-3 * max(0, padding - 5), rel=0.01)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("padding", [0, 25])
@pytest.mark.parametrize("turned", [(), (5, 6)])
@pytest.mark.parametrize("configured", [False, True])
def test_smooth_sky_has_no_steps(
    mirrored: bool, padding: int, turned: tuple[int, ...], configured: bool
) -> None:
    camera = Camera(mirrored=mirrored, padding=padding, turned=turned)
    result = run(
        [camera.background(number, sky) for number in camera.numbers],
        mirrored=mirrored if configured else None,
    )
    # A wrong edge would be off by 20; the sky changes by 1.4 across a gap, which
    # is not known where regions are padded.
    assert result.quantities["visit_stepMax"] < (1.6 if padding else 0.3) * u.adu
    edges = {(row["detector1"], row["detector2"]): (row["edge1"], row["edge2"]) for row in result.steps}
    assert edges[0, 1] == ("right", "left")
    assert edges[0, 4] == ("top", "bottom")
    if turned:
        assert edges[4, 5] == ("right", "right")
        assert edges[5, 6] == ("left", "right")
        assert edges[1, 5] == ("top", "top")


@pytest.mark.parametrize("mirrored", [False, True])
def test_corners_come_in_the_order_of_the_pixels(mirrored: bool) -> None:
    camera = Camera(mirrored=mirrored)
    table = run([camera.background(number, sky) for number in camera.numbers]).table
    corners = ((-0.5, -0.5), (199.5, -0.5), (199.5, 299.5), (-0.5, 299.5))
    expected = [sky_position(*camera.to_sky(7, x, y), center=CENTER) for x, y in corners]
    np.testing.assert_allclose(table["ra_corners"][7], [ra for ra, _ in expected], rtol=0, atol=1e-12)
    np.testing.assert_allclose(table["dec_corners"][7], [dec for _, dec in expected], rtol=0, atol=1e-12)


def test_step_is_found_with_its_size_and_pair() -> None:
    camera = Camera(mirrored=True)
    result = run([camera.background(n, sky, 1.03 if n == 3 else 1.0) for n in camera.numbers])
    steps = {(row["detector1"], row["detector2"]): row["step"] for row in result.steps}
    large = {pair for pair, step in steps.items() if abs(step) > 5}
    assert large == {(2, 3), (3, 7)}
    assert steps[2, 3] == pytest.approx(30, rel=0.1)
    assert steps[3, 7] == pytest.approx(-30, rel=0.1)
    table = result.table
    assert table["neighbour_detector"][2] == 3
    assert table["neighbour_step"][2] == pytest.approx(-steps[2, 3])
    assert table["neighbour_step"][3] == pytest.approx(max(steps[2, 3], -steps[3, 7]))
    assert np.nonzero(np.abs(table["trend_zScore"]) > 4)[0].tolist() == [3]
    # The crowded corner of detector 2 may stand out, too.
    assert 1 <= result.quantities["visit_outlierDetectorCount"].value <= 2
    assert result.quantities["visit_stepMax"].value == pytest.approx(30, rel=0.1)
    sizes = np.array(list(steps.values()))
    assert result.quantities["visit_stepRms"].value == pytest.approx(np.sqrt(np.mean(sizes**2)))


def test_sideways_region_is_left_out_of_the_steps() -> None:
    camera = Camera(columns=2, rows=1)
    outlines = outlines_of(camera)
    profiles = {n: edge_profiles(camera.background(n, sky).load()) for n in camera.numbers}
    gradients = {n: np.zeros(2) for n in camera.numbers}
    steps, _ = measure_steps(outlines, profiles, gradients)  # type: ignore[arg-type]
    assert [(step.first, step.second) for step in steps] == [(0, 1)]
    turned = {**outlines, 1: Outline(np.roll(outlines[1].vertices, 1, axis=0))}
    assert measure_steps(turned, profiles, gradients)[0] == []  # type: ignore[arg-type]


# --- The task ------------------------------------------------------------


def test_row_is_what_the_detector_task_measures() -> None:
    camera = Camera()
    backgrounds = [camera.background(number, sky) for number in camera.numbers]
    table = run(backgrounds).table
    assert table["detector"].tolist() == list(camera.numbers)
    assert table["detector_name"][3] == "D03"
    for background, row in zip(backgrounds, table, strict=True):
        quantities = measure_background(background.load())
        for name in table.colnames:
            if name.partition("_")[0] in ("coverage", "level", "shape", "edges", "bumps", "blocks", "fit"):
                if name in quantities:
                    assert row[name] == quantities[name].value
                    assert u.Unit(table[name].unit or "") == quantities[name].unit
                else:
                    assert np.isnan(row[name])


def test_visit_metrics_are_those_of_the_levels() -> None:
    camera = Camera(columns=6, rows=5)
    result = run([camera.background(number, sky) for number in camera.numbers], expected=range(32))
    quantities = result.quantities
    levels = result.table["level_median"]
    assert quantities["visit_detectorCount"].value == 30
    assert quantities["visit_missingDetectorCount"].value == 2
    assert quantities["visit_unreadableDetectorCount"].value == 0
    assert quantities["visit_levelMedian"].value == np.median(levels)
    mad = np.median(np.abs(levels - np.median(levels)))
    assert quantities["visit_levelScatter"].value == pytest.approx(1.4826 * mad, rel=1e-4)
    x, y = result.table["x"], result.table["y"]
    assert quantities["visit_gradientAmplitude"].value == pytest.approx(np.ptp(120 * x - 70 * y), rel=0.02)
    assert quantities["visit_gradientAngle"].to_value("deg") == pytest.approx(
        np.degrees(np.arctan2(120, -70)), abs=1
    )
    assert quantities["visit_radialTerm"].value == pytest.approx(30 * np.max(x**2 + y**2), rel=0.1)
    assert quantities_of(result.metrics) == quantities


def test_visit_is_bad_if_most_detectors_have_one_fault() -> None:
    camera = Camera(columns=6, rows=5)

    def background(number: int, fails: bool) -> NamedBackground:
        made = camera.background(number, sky)

        def load() -> BackgroundModel:
            model = made.load()
            if not fails:
                return model
            (layer,) = model.grids
            values = layer.values.copy()
            values[:4, :4] = np.nan
            return BackgroundModel((replace(layer, values=values),), model.unit)

        return replace(made, load=load)

    catalogue = load_catalogue()["visit_failedFraction"]
    for count, verdict in ((14, "pass"), (16, "fail")):
        outputs = run([background(number, number < count) for number in camera.numbers])
        fraction = outputs.quantities["visit_failedFraction"]
        assert fraction.value == pytest.approx(count / 30)
        assert catalogue.judge(fraction) == verdict
        holes = [name.split(",") for name in outputs.table["failed"] if name]
        assert all("significance_holeFraction" in names for names in holes)


def test_kinds_of_detectors_are_peers() -> None:
    camera = Camera(columns=6, rows=5)
    config = VisitBackgroundQaConfig()
    assert dict(config.kinds) == {}
    backgrounds = []
    for number in camera.numbers:
        made = camera.background(number, lambda x, y, n=number: sky(x, y) * (1.05 if n % 2 else 1.0))
        backgrounds.append(replace(made, name=f"{'ITL' if number % 2 else 'E2V'}_{number}"))
    apart = run(backgrounds, kinds={"ITL": "itl", "E2V": "e2v"}).table
    together = run(backgrounds).table
    assert np.abs(apart["context_levelDeviation"]).max() < 2e-3
    assert np.abs(together["context_levelDeviation"]).max() > 0.02


def test_unreadable_detectors_are_named_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> BackgroundModel:
        raise BackgroundError("it is broken")

    def be_empty() -> BackgroundModel:
        raise NoWorkFound("it has no layer")

    def be_infinite() -> BackgroundModel:
        model = make_model(lambda x, y: 0 * x)
        model.layers[0].values[0, 0] = np.inf
        return model

    camera = Camera()
    backgrounds = [camera.background(number, sky) for number in camera.numbers]
    for number, load in ((2, fail), (5, be_empty), (7, be_infinite)):
        backgrounds[number] = NamedBackground(
            number, f"detector {number}", load, "", backgrounds[number].region
        )
    with caplog.at_level(logging.WARNING):
        result = run(backgrounds, expected=range(13))
    assert [record.getMessage().partition(" is left out")[0] for record in caplog.records] == [
        "detector 2",
        "detector 5",
        "detector 7",
    ]
    assert result.table["detector"].tolist() == [0, 1, 3, 4, 6, 8, 9, 10, 11]
    assert result.quantities["visit_unreadableDetectorCount"].value == 3
    assert result.quantities["visit_missingDetectorCount"].value == 1
    with pytest.raises(BackgroundError, match="none of 1 background"):
        run([backgrounds[2]])


def test_blind_detector_and_unknown_region_have_rows() -> None:
    camera = Camera()
    backgrounds = [camera.background(number, sky) for number in camera.numbers]
    backgrounds[0] = NamedBackground(
        0, "0", lambda: make_model(lambda x, y: x + np.nan), "blind", camera.region(0)
    )
    backgrounds[1] = NamedBackground(1, "1", backgrounds[1].load, "nowhere")
    result = run(backgrounds)
    assert result.table["coverage_finiteFraction"][0] == 0
    assert np.isnan(result.table["level_median"][0])
    assert np.isnan(result.table["ra_corners"][1]).all() and np.isnan(result.table["trend_zScore"][1])
    assert result.table["level_median"][1] > 0
    assert not {0, 1} & {*result.steps["detector1"], *result.steps["detector2"]}
    assert result.table["neighbour_detector"][0] == -1


def test_visit_without_neighbours() -> None:
    result = run([Camera().background(0, sky)])
    assert len(result.steps) == 0
    assert "visit_stepRms" not in result.quantities
    assert "visit_missingDetectorCount" not in result.quantities
    assert result.quantities["visit_levelScatter"].value == 0


def test_each_background_is_read_once_and_not_kept() -> None:
    import gc
    import weakref

    camera = Camera()
    alive: list[weakref.ref] = []
    most = 0

    def counted(number: int) -> NamedBackground:
        inner = camera.background(number, sky)

        def load() -> BackgroundModel:
            nonlocal most
            model = inner.load()
            gc.collect()
            alive.append(weakref.ref(model))
            most = max(most, sum(ref() is not None for ref in alive))
            return model

        return NamedBackground(number, inner.identity, load, inner.name, inner.region)

    run([counted(number) for number in camera.numbers])
    assert len(alive) == len(camera.numbers)
    assert most <= 2  # the one before is let go when the next is there


def test_instruments_know_their_detectors() -> None:
    assert instrument_detectors("lsst.bgqa.standalone.demo.DemoCam") == list(range(9))
    assert instrument_detectors("lsst.nowhere.Camera") is None
    assert instrument_detectors("lsst.pipe.base.Instrument") is None


# --- The demo and real visits --------------------------------------------


@pytest.mark.parametrize("visit", [VISITS[0], VISITS[3]])
def test_demo_steps_are_found(visit: DemoVisit) -> None:
    result = run(demo_visit(visit), mirrored=True)
    steps = {(row["detector1"], row["detector2"]): row["step"] for row in result.steps}
    assert len(steps) == 12
    level = result.quantities["visit_levelMedian"].value
    # Detector 6 reads 4 % high; the edges of detector 3 are over-subtracted.
    assert steps[6, 7] / level == pytest.approx(-0.04, abs=0.003)
    assert max(steps, key=lambda pair: abs(steps[pair])) == (6, 7)
    assert {pair for pair, step in steps.items() if abs(step) > 0.015 * level} == {
        *((0, 3), (3, 4)),  # dark edges
        (6, 7),
    }
    assert np.argmax(np.abs(result.table["trend_zScore"])) == 6
    # The crowded corner of detector 2 may stand out, too.
    assert 1 <= result.quantities["visit_outlierDetectorCount"].value <= 2


def check_hsc(folder: Path, visit: int) -> None:
    entries = entries_of(folder, visit)
    result = run(backgrounds_of(entries))
    table = result.table
    assert len(table) == len(entries)
    np.testing.assert_allclose(
        table["level_median"], [entry["sky_level_adu"] for entry in entries], rtol=0.01
    )
    for axis in ("ra", "dec"):
        np.testing.assert_allclose(
            table[f"{axis}_corners"], [entry[f"{axis}_corners_deg"] for entry in entries], rtol=1e-13
        )
    # As measured: neighbours differ by much less than the visit does.
    rms = result.quantities["visit_stepRms"].value
    assert rms < 0.01 * result.quantities["visit_levelMedian"].value


def test_hsc_levels_and_corners_are_those_measured() -> None:
    check_hsc(HSC, 1176)


@pytest.mark.slow
@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the whole golden set is not at hand (BGQA_GOLDEN)")
@pytest.mark.parametrize("visit", [1176, 17900, 17934])
def test_whole_hsc_visits(visit: int) -> None:
    check_hsc(GOLDEN, visit)
    result = run(backgrounds_of(entries_of(GOLDEN, visit)))
    assert result.quantities["visit_detectorCount"].value == 103
    assert len(result.steps) == 187


def compare_subsets(folder: Path, repo: Path, where: str) -> tuple[int, Butler]:
    """Run detector and visit quanta, and compare what they give."""
    ingest(str(repo), str(folder / "manifest.json"))
    butler = SimplePipelineExecutor.prep_butler(str(repo), inputs=[DEFAULT_RUN], output="out")
    pipeline = Pipeline.from_uri("resource://lsst.bgqa/pipelines/HSC/backgroundQa.yaml#detector,visit")
    executor = SimplePipelineExecutor.from_pipeline(pipeline, where=where, butler=butler)
    executor.run(register_dataset_types=True)
    count = 0
    for ref in executor.butler.query_datasets("calexpBackground_visit_table", "out"):
        table = executor.butler.get(ref)
        metrics = [name for name in table.colnames if name.partition("_")[0] in ("level", "shape", "fit")]
        for row in table:
            bundle = executor.butler.get(
                "calexpBackground_metrics", ref.dataId, detector=row["detector"], collections="out"
            )
            # Significances are measured in the visit's context.
            quantities = {
                name: quantity
                for name, quantity in quantities_of(bundle).items()
                if not name.startswith("significance_")
            }
            found = {name: row[name] for name in table.colnames if name in quantities}
            assert found == {name: quantity.value for name, quantity in quantities.items()}
            assert all(np.isnan(row[name]) for name in metrics if name not in quantities)
            for name in found:
                assert u.Unit(table[name].unit or "") == quantities[name].unit
            count += 1
    return count, executor.butler


def test_visit_quantum_equals_detector_quanta(tmp_path: Path) -> None:
    count, butler = compare_subsets(HSC, tmp_path / "repo", "instrument='HSC' AND visit=1176")
    assert count == 4
    metrics = quantities_of(
        butler.get("calexpBackground_visit_metrics", instrument="HSC", visit=1176, collections="out")
    )
    assert metrics["visit_detectorCount"].value == 4
    assert metrics["visit_missingDetectorCount"].value == 99
    steps = butler.get("calexpBackground_visit_steps", instrument="HSC", visit=1176, collections="out")
    assert len(steps) == 3


@pytest.mark.slow
@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the whole golden set is not at hand (BGQA_GOLDEN)")
def test_whole_visit_quantum_equals_103_detector_quanta(tmp_path: Path) -> None:
    count, _ = compare_subsets(GOLDEN, tmp_path / "repo", "instrument='HSC' AND visit=1176")
    assert count == 103
