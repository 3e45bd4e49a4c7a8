# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Tracts: patches where they overlap."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from lsst.bgqa import BackgroundError, BackgroundModel, measure_background
from lsst.bgqa.background import Box, InterpStyle, Layer
from lsst.bgqa.metrics import quantities_of
from lsst.bgqa.plots import plot_tract
from lsst.bgqa.standalone._regions import polygon
from lsst.bgqa.standalone.demo import PATCHES, make_coadd
from lsst.bgqa.statistics.seams import PatchSamples, TractMosaic, seam_metrics
from lsst.bgqa.tasks import TractBackgroundQaConfig, TractBackgroundQaTask
from lsst.bgqa.tasks._campaign import NamedBackground


def make_model(bbox: Box, sky: Callable[[Any, Any], Any]) -> BackgroundModel:
    shape = (20, 20)
    empty = Layer(np.zeros(shape), np.ones(shape), np.zeros(shape), bbox)
    values = sky(*np.meshgrid(empty.bin_centers_x, empty.bin_centers_y))
    layer = Layer(values, np.ones(shape), np.zeros(shape), bbox, interp_style=InterpStyle.NATURAL_SPLINE)
    return BackgroundModel((layer,), u.nJy)


BOXES = {n: Box(1003 + 300 * (n % 3), 2009 + 300 * (n // 3), 400, 400) for n in range(9)}


def plane(x: Any, y: Any) -> Any:
    return 2 + 0.001 * (x - 1000) - 0.002 * (y - 2000)


def patches(offset: dict[int, float] | None = None) -> list[NamedBackground]:
    offsets = offset or {}
    return [
        NamedBackground(
            n,
            f"patch {n}",
            lambda n=n, box=box: make_model(box, lambda x, y: plane(x, y) + offsets.get(n, 0.0)),  # type: ignore[misc]
        )
        for n, box in BOXES.items()
    ]


def run(backgrounds: list[NamedBackground], **settings: Any) -> Any:
    config = TractBackgroundQaConfig()
    config.unit = "nJy"
    config.do_plot = False
    for key, value in settings.items():
        setattr(config, key, value)
    return TractBackgroundQaTask(config=config).run(backgrounds)


def test_samples_of_all_patches_are_at_the_same_points() -> None:
    model = make_model(BOXES[4], plane)
    samples = PatchSamples.of(model, 16)
    y, x = np.indices(samples.values.shape)
    np.testing.assert_allclose(
        samples.values, plane(16 * (x + samples.column), 16 * (y + samples.row)), rtol=1e-5
    )
    full = model.render()
    box = BOXES[4]
    assert samples.values[3, 5] == full[16 * (samples.row + 3) - box.y0, 16 * (samples.column + 5) - box.x0]
    assert samples.values.shape == (25, 25)


def test_patches_of_one_sky_have_no_seams() -> None:
    result = run(patches())
    assert result.quantities["tract_seamMax"] < 1e-5 * u.nJy
    assert result.quantities["tract_patchCount"].value == 9
    assert {(row["patch1"], row["patch2"]) for row in result.seams} >= {(0, 1), (0, 3), (0, 4), (1, 3)}
    assert len(result.seams) == 20


def test_offset_patch_has_seams_with_its_neighbours_alone() -> None:
    result = run(patches({8: 0.5}))
    seams = {(row["patch1"], row["patch2"]): row for row in result.seams}
    assert {pair for pair, row in seams.items() if row["rms"] > 0.1} == {(4, 8), (5, 8), (7, 8)}
    for pair in ((4, 8), (5, 8), (7, 8)):
        assert seams[pair]["meanDifference"] == pytest.approx(0.5, abs=1e-4)
        assert seams[pair]["rms"] == pytest.approx(0.5, abs=1e-4)
        assert seams[pair]["max"] == pytest.approx(0.5, abs=1e-4)
    table = result.table
    assert table["seam_rms"][8] == pytest.approx(0.5, abs=1e-4)
    assert table["seam_patch"][5] == 8 and table["seam_patch"][8] in (4, 5, 7)
    points = sum(row["pointCount"] for row in seams.values())
    bad = sum(seams[pair]["pointCount"] for pair in ((4, 8), (5, 8), (7, 8)))
    assert result.quantities["tract_seamRms"].value == pytest.approx(0.5 * np.sqrt(bad / points), rel=1e-3)
    assert result.quantities["tract_seamMax"].value == pytest.approx(0.5, abs=1e-4)
    assert quantities_of(result.metrics) == result.quantities


def test_patch_that_is_off_its_neighbours_fails_and_they_do_not() -> None:
    rng = np.random.default_rng(1)
    natural = dict(enumerate(0.01 * rng.normal(size=9)))
    table = run(patches(natural)).table
    assert np.abs(table["context_seamSigma"]).max() < 6
    table = run(patches(natural | {4: 0.2})).table
    assert table["context_seamDeviation"][4] == pytest.approx(0.2, abs=0.02)
    assert "context_seamSigma" in table["failed"][4].split(",")
    assert "above" in table["fault"][4] and ";" not in table["fault"][4]
    assert [words for i, words in enumerate(table["fault"]) if words and i != 4] == []


def test_seam_is_what_the_pixels_say() -> None:
    first = make_model(BOXES[0], lambda x, y: np.sin(x / 40) + np.cos(y / 60))
    second = make_model(BOXES[1], lambda x, y: np.sin(x / 41) + np.cos(y / 60))
    mosaic = TractMosaic(step=1)
    mosaic.add(0, first)
    mosaic.add(1, second)
    (seam,) = mosaic.seams()
    difference = second.render()[:, :100].astype(float) - first.render()[:, 300:]
    assert seam.points == difference.size
    assert seam.mean == pytest.approx(difference.mean(), abs=1e-7)
    assert seam.rms == pytest.approx(np.sqrt(np.mean(difference**2)))
    assert seam.max == np.abs(difference).max()
    coarse = TractMosaic(step=16)
    coarse.add(0, first)
    coarse.add(1, second)
    assert coarse.seams()[0].rms == pytest.approx(seam.rms, rel=0.1)


def test_patch_without_a_value_has_no_seam() -> None:
    backgrounds = patches()
    backgrounds[4] = NamedBackground(
        4, "patch 4", lambda: make_model(BOXES[4], lambda x, y: np.full(np.shape(x), np.nan))
    )
    result = run(backgrounds)
    assert not {4} & {*result.seams["patch1"], *result.seams["patch2"]}
    assert np.isnan(result.table["seam_rms"][4]) and result.table["seam_patch"][4] == -1
    assert result.table["coverage_finiteFraction"][4] == 0
    assert seam_metrics([]) == {}


def test_row_is_what_the_patch_task_measures() -> None:
    backgrounds = patches()
    backgrounds[0] = NamedBackground(
        0, "0", backgrounds[0].load, region=polygon([(10, 2), (10.1, 2), (10.1, 2.1), (10, 2.1)])
    )
    table = run(backgrounds).table
    for background, row in zip(backgrounds, table, strict=True):
        for name, quantity in measure_background(background.load()).items():
            if name.startswith("significance_"):
                continue  # measured in the tract's context
            assert row[name] == quantity.value
            assert u.Unit(table[name].unit or "") == quantity.unit
    assert sorted(table["ra_corners"][0]) == pytest.approx([10, 10, 10.1, 10.1])
    assert np.isnan(table["ra_corners"][1]).all()
    assert tuple(table[["x0", "y0", "width", "height"]][3]) == BOXES[3]


def test_unreadable_patches_are_named(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> BackgroundModel:
        raise BackgroundError("it is broken")

    backgrounds = patches()
    backgrounds[3] = NamedBackground(3, "patch 3", fail)
    with caplog.at_level(logging.WARNING):
        result = run(backgrounds)
    assert [record.getMessage() for record in caplog.records] == ["patch 3 is left out: it is broken"]
    assert result.quantities["tract_patchCount"].value == 8
    assert result.quantities["tract_unreadablePatchCount"].value == 1
    with pytest.raises(BackgroundError, match="none of 1"):
        run([backgrounds[3]])


@pytest.mark.parametrize("max_cells", [640, 20])
def test_mosaic_shows_the_sky_where_it_is(max_cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsst.bgqa.plots._campaign.MAX_CELLS", max_cells)
    mosaic = TractMosaic()
    for background in patches()[:8]:
        mosaic.add(background.id, background.load())
    axes = plot_tract(mosaic).axes[0]
    meshes = [mesh for mesh in axes.collections if isinstance(mesh, QuadMesh)]
    side = 0
    for mesh in meshes:
        edges = np.asarray(mesh.get_coordinates())
        values = mesh.get_array()
        assert values is not None
        side = max(side, *values.shape)
        # Points are in their cells, if not in the middle of those at a border.
        x, y = (0.5 * (edges[:-1, :-1, i] + edges[1:, 1:, i]) for i in (0, 1))
        np.testing.assert_allclose(values, plane(x, y), atol=0.2)
    assert side <= max_cells
    # Each is drawn as far as the middle of an overlap, and nothing twice.
    areas = [np.prod(np.ptp(np.asarray(mesh.get_coordinates()), axis=(0, 1))) for mesh in meshes]
    assert areas[4] == 300 * 300
    # Patch 8 is missing: those beside it are drawn to their ends, where they
    # overlap each other.
    assert sum(areas) == 1000 * 1000 - 300 * 300 + 50 * 50
    legend = axes.get_legend()
    assert legend is not None and "no patch" in legend.get_texts()[0].get_text()


@pytest.mark.parametrize(("band", "step"), [("r", 4.0), ("i", 6.4)])
def test_demo_seams_are_found(band: str, step: float) -> None:
    backgrounds = [
        NamedBackground(
            patch.id,
            str(patch.id),
            lambda patch=patch: make_coadd(patch, band).background,  # type: ignore[misc]
            region=polygon(patch.corners),
        )
        for patch in PATCHES
    ]
    config = TractBackgroundQaConfig()
    config.unit = "nJy"
    result = TractBackgroundQaTask(config=config).run(backgrounds, title="tract 1")
    seams = {(row["patch1"], row["patch2"]): row for row in result.seams}
    # Patch 6 lies above its neighbours.
    for pair, sign in (((3, 6), 1), ((6, 7), -1)):
        assert seams[pair]["meanDifference"] == pytest.approx(sign * step, rel=0.15)
    assert seams[0, 1]["rms"] < 0.1 * step
    assert "tract 1" in result.plot.axes[0].get_title()
