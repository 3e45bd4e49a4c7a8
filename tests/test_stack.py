# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Stacks: what backgrounds of one detector have in common."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import Iterable, Iterator
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lsst.bgqa import BackgroundError, BackgroundModel
from lsst.bgqa.background import Box, Layer
from lsst.bgqa.metrics import quantities_of
from lsst.bgqa.standalone.demo import DETECTORS, VISITS, visit_background
from lsst.bgqa.statistics.stacking import BackgroundStack, StackGrid, Streaming
from lsst.bgqa.tasks import StackBackgroundsConfig, StackBackgroundsTask
from lsst.bgqa.tasks._campaign import NamedBackground
from lsst.images import Box as ImageBox
from lsst.images.fields import ChebyshevField, SplineField, SumField
from lsst.pipe.base import NoWorkFound

BOX = Box(5, 7, 160, 120)


def make_model(values: np.ndarray, bbox: Box = BOX) -> BackgroundModel:
    values = np.asarray(values, dtype=np.float32)
    return BackgroundModel((Layer(values, np.ones_like(values), np.zeros(values.shape), bbox),))


def pattern(seed: int = 0, shape: tuple[int, int] = (12, 16)) -> np.ndarray:
    return 1 + 0.01 * np.random.default_rng(seed).normal(size=shape)


def name(visit: int, model: BackgroundModel) -> NamedBackground:
    return NamedBackground(visit, f"visit {visit}", lambda: model)


def run(backgrounds: Iterable[NamedBackground], **settings: Any) -> Any:
    config = StackBackgroundsConfig()
    config.do_plot = False
    for key, value in settings.items():
        setattr(config, key, value)
    config.validate()
    return StackBackgroundsTask(config=config).run(backgrounds)


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 12), st.integers(1, 5)),
        elements=st.floats(-1e3, 1e3) | st.just(np.nan),
    )
)
def test_streaming_is_what_numpy_gets_at_once(values: np.ndarray) -> None:
    sums = Streaming(values.shape[1:])
    for row in values:
        sums.add(row)
    for i, column in enumerate(values.T):
        good = column[np.isfinite(column)]
        assert sums.count[i] == len(good)
        if not len(good):
            assert np.isnan([sums.mean[i], sums.std[i], sums.min[i], sums.max[i]]).all()
            continue
        assert sums.mean[i] == pytest.approx(good.mean(), abs=1e-9)
        assert (sums.min[i], sums.max[i]) == (good.min(), good.max())
        if len(good) > 1:
            assert sums.std[i] == pytest.approx(np.std(good, ddof=1), abs=1e-8)
        else:
            assert np.isnan(sums.std[i])


def test_small_scatter_about_a_large_level_survives() -> None:
    rng = np.random.default_rng(3)
    values = 1e9 + rng.normal(size=(1000, 4))
    sums = Streaming((4,))
    for row in values:
        sums.add(row)
    np.testing.assert_allclose(sums.std, np.std(values, axis=0, ddof=1), rtol=1e-6)


@pytest.mark.parametrize("scale", [False, True])
def test_identical_backgrounds_have_no_scatter(scale: bool) -> None:
    model = make_model(1000 * pattern())
    result = run([name(visit, model) for visit in range(20)], scale_by_median=scale)
    values = result.result.grid.evaluate(model)
    np.testing.assert_allclose(result.mean.array, values, rtol=1e-6)
    assert result.std.array.max() <= 1e-12 * 1000
    np.testing.assert_allclose(result.min.array, result.max.array, rtol=1e-6)
    assert (result.count.array == 20).all()
    assert result.quantities["stack_temporalRms"] <= 1e-12 * 1000 * u.adu
    assert result.quantities["stack_patternRms"].value == pytest.approx(np.std(values), rel=1e-6)
    assert result.quantities["stack_patternPeakToValley"].value == pytest.approx(np.ptp(values), rel=1e-6)
    assert result.quantities["stack_visitCount"].value == 20
    assert quantities_of(result.metrics) == result.quantities


def test_scaling_by_the_median_takes_brightness_out() -> None:
    levels = [500.0, 1000.0, 1500.0]
    backgrounds = [name(i, make_model(level * pattern())) for i, level in enumerate(levels)]
    scaled = run(backgrounds)
    assert scaled.quantities["stack_temporalRms"].value < 1e-3
    assert np.median(scaled.mean.array) == pytest.approx(1000, rel=1e-3)
    plain = run(backgrounds, scale_by_median=False)
    assert plain.quantities["stack_temporalRms"].value == pytest.approx(500, rel=0.01)
    np.testing.assert_allclose(plain.min.array, 500 * pattern(), rtol=1e-5)
    np.testing.assert_allclose(plain.max.array, 1500 * pattern(), rtol=1e-5)


def test_images_have_a_pixel_a_bin_or_a_cell() -> None:
    model = make_model(1000 * pattern())
    by_bin = run([name(0, model)])
    assert by_bin.mean.array.shape == (12, 16)
    assert by_bin.mean.unit == u.adu and by_bin.count.unit == u.ct
    assert by_bin.mean.metadata["BGQA_X0"] == 5 and by_bin.mean.metadata["BGQA_HEIGHT"] == 120
    by_cell = run([name(0, model)], cell_size=50)
    assert by_cell.mean.array.shape == (3, 4)
    grid = StackGrid.of(model, 50)
    assert grid.x.tolist() == [24.5, 74.5, 124.5, 154.5] and grid.y.tolist() == [24.5, 74.5, 109.5]
    full = model.render()
    # A cell's value is the background at its centre, between two pixels.
    assert by_cell.mean.array[0, 0] == pytest.approx(full[24:26, 24:26].mean(), rel=1e-4)


def test_visits_unlike_the_others_are_clipped() -> None:
    rng = np.random.default_rng(8)

    def visit(number: int, odd: bool) -> NamedBackground:
        values = pattern() * (1 + 1e-3 * rng.normal(size=(12, 16)))
        if odd:
            values = values * (1 + 0.2 * np.linspace(-1, 1, 16))
        return name(number, make_model(rng.uniform(300, 3000) * values))

    odd = {2, 17, 30}
    backgrounds = [visit(number, number in odd) for number in range(40)]
    clipped = run(backgrounds)
    assert clipped.result.clipped == (2, 17, 30)
    assert clipped.quantities["stack_visitCount"].value == 37
    assert clipped.quantities["stack_clippedVisitCount"].value == 3
    kept = run(backgrounds, clip_sigma=None)
    assert kept.quantities["stack_visitCount"].value == 40
    assert kept.quantities["stack_temporalRms"] > 5 * clipped.quantities["stack_temporalRms"]
    # A later visit changes nothing about which of the earlier are clipped.
    assert run(backgrounds[:20]).result.clipped == (2, 17)


def test_few_visits_are_not_clipped() -> None:
    backgrounds = [name(i, make_model(1000 * pattern(seed=i) ** (1 + 10 * i))) for i in range(4)]
    assert run(backgrounds).quantities["stack_clippedVisitCount"].value == 0


def test_visits_that_cannot_be_stacked_are_named(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> BackgroundModel:
        raise BackgroundError("it is broken")

    good = make_model(1000 * pattern())
    backgrounds = [
        NamedBackground(1, "visit 1", fail),
        name(2, good),
        name(3, make_model(pattern(), Box(0, 0, 160, 121))),
        name(4, make_model(np.full((12, 16), np.nan))),
        name(5, make_model(-1000 * pattern())),
        name(6, good),
    ]
    with caplog.at_level(logging.WARNING):
        result = run(backgrounds)
    named = [record.getMessage().partition(" is left out: ") for record in caplog.records]
    assert [what for what, _, _ in named] == ["visit 1", "visit 3", "visit 4", "visit 5"]
    assert "160x121" in named[1][2] and "not positive" in named[3][2]
    assert result.quantities["stack_visitCount"].value == 2
    assert result.quantities["stack_unreadableVisitCount"].value == 4
    with pytest.raises(BackgroundError, match=r"none of 2 .* can be stacked; the first .*: it is broken"):
        run([backgrounds[3], backgrounds[0]])
    with pytest.raises(NoWorkFound, match="none of 1"):
        run([backgrounds[3]])


def test_cells_without_a_value_are_counted() -> None:
    # A layer of NaN bins in a corner is bridged, so take values directly.
    sums = Streaming((2,))
    sums.add(np.array([1.0, np.nan]))
    sums.add(np.array([3.0, 5.0]))
    assert sums.count.tolist() == [2, 1]
    assert sums.mean.tolist() == [2, 5]


def test_demo_pattern_is_in_the_stack() -> None:
    detector = DETECTORS[5]
    visits = [visit for visit in VISITS if visit.physical_filter == "demo-r"]
    result = run([name(visit.id, visit_background(visit, detector)) for visit in visits])
    layer = visit_background(visits[0], detector).layers[0]
    x, y = 2 * np.pi * layer.bin_centers_x, 2 * np.pi * layer.bin_centers_y
    injected = _flat(0.006 * np.outer(np.cos(y / 1900), np.sin(x / 1500)))

    def found(stack: Any) -> np.ndarray:
        return _flat(stack.mean.array / np.median(stack.mean.array))

    # Planes and curves are the sky's.
    assert np.corrcoef(found(result).ravel(), injected.ravel())[0, 1] > 0.9
    assert np.std(found(result) - injected) < 0.4 * np.std(injected)
    other = run([name(visit.id, visit_background(visit, DETECTORS[7])) for visit in visits])
    assert np.std(found(other)) < 0.2 * np.std(injected)


def _flat(values: np.ndarray) -> np.ndarray:
    y, x = np.indices(values.shape).reshape(2, -1)
    terms = np.stack([np.ones(values.size), x, y, x**2, y**2, x * y], axis=1)
    flat = values.ravel().astype(np.float64)
    return (flat - terms @ np.linalg.lstsq(terms, flat, rcond=None)[0]).reshape(values.shape)


def polynomial(level: float, pedestal: float = 0.5) -> BackgroundModel:
    """What DP2 has of a visit: a polynomial without bins, and a constant."""
    box = ImageBox.from_shape((2000, 2036), start=(0, 0))
    coefficients = level * np.array([[1.0, 0.02], [0.01, 0.0]])
    constant = SplineField(box, np.full((1, 1), pedestal), y=np.array([999.5]), x=np.array([1017.5]))
    return BackgroundModel.from_images(SumField([ChebyshevField(box, coefficients), constant]))


def test_polynomials_without_bins_are_stacked_on_cells() -> None:
    result = run([name(i, polynomial(level)) for i, level in enumerate((500.0, 1000.0))])
    assert result.mean.array.shape == (16, 16)
    assert result.mean.metadata["BGQA_CELL"] == 128
    # A plane of 2 % and 1 % on either side of the level.
    expected = 750.5 * np.hypot(0.02, 0.01) / 3**0.5
    assert result.quantities["stack_patternRms"].value == pytest.approx(expected, rel=0.02)
    assert result.quantities["stack_visitCount"].value == 2
    assert run([name(1, polynomial(500.0))], cell_size=500).mean.array.shape == (4, 5)


def peak_memory(count: int) -> int:
    def visits() -> Iterator[NamedBackground]:
        rng = np.random.default_rng(0)
        for visit in range(count):
            values = 1000 * (1 + 0.001 * rng.normal(size=(64, 64)))
            yield name(visit, make_model(values, Box(0, 0, 4096, 4096)))

    gc.collect()
    tracemalloc.start()
    run(visits())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_does_not_depend_on_the_number_of_visits() -> None:
    peak_memory(12)  # what is imported late
    assert peak_memory(120) < 1.1 * peak_memory(12)


def test_picture_is_drawn() -> None:
    config = StackBackgroundsConfig()
    model = make_model(1000 * pattern())
    result = StackBackgroundsTask(config=config).run(
        [name(i, model) for i in range(2)], title="detector 5, filter r"
    )
    assert "detector 5, filter r, 2 visits" in result.plot.get_suptitle()
    connections = config.connections.ConnectionsClass(config=config)
    assert "plot" in connections.outputs
    config.do_plot = False
    assert "plot" not in config.connections.ConnectionsClass(config=config).outputs


def test_stack_alone_has_no_reference_below_five() -> None:
    stack = BackgroundStack(clip_visits=9)
    assert stack.finish() is None


# --- A sky about zero ----------------------------------------------------


@pytest.mark.parametrize("levels", [[0.3, -0.2, 0.1, 0.05, -0.4, 0.2, 0.0], [1.0] * 7, [0.01] * 7])
def test_a_sky_about_zero_is_stacked_as_it_is(levels: list[float]) -> None:
    """After a sky correction a median is no level to divide by."""
    shape = (12, 16)
    static = np.random.default_rng(5).normal(0, 1, shape)
    visits = [
        name(i, make_model(level + static + 0.02 * np.random.default_rng(i).normal(size=shape)))
        for i, level in enumerate(levels)
    ]
    result = run(visits)
    assert result.quantities["stack_visitCount"].value == len(levels)
    assert result.quantities["stack_clippedVisitCount"].value == 0
    assert result.quantities["stack_unreadableVisitCount"].value == 0
    assert result.quantities["stack_patternRms"].value == pytest.approx(np.std(static), rel=0.03)
    assert result.result.mean - np.mean(levels) == pytest.approx(static, abs=0.1)


def test_a_sky_about_zero_still_loses_a_visit_that_is_unlike_the_others() -> None:
    static = np.random.default_rng(5).normal(0, 1, (12, 16))
    visits = [
        name(i, make_model(static + 0.01 * np.random.default_rng(i).normal(size=(12, 16)))) for i in range(8)
    ]
    odd = static.copy()
    odd[:, 8:] += 3
    result = run([*visits, name(99, make_model(odd))])
    assert result.result.clipped == (99,)


def test_a_visit_that_cannot_be_scaled_is_told_the_option(caplog: pytest.LogCaptureFixture) -> None:
    # The last of the first nine, which are looked at together.
    good = [name(i, make_model(1000 * pattern(i))) for i in range(8)]
    with caplog.at_level(logging.WARNING):
        result = run([*good, name(17, make_model(-pattern()))])
    assert "scale_by_median=False" in caplog.text and "visit 17" in caplog.text
    assert result.quantities["stack_visitCount"].value == 8
    assert result.quantities["stack_unreadableVisitCount"].value == 1


def test_a_bright_sky_is_scaled_however_uneven_it_is() -> None:
    _, x = np.mgrid[0:12, 0:16]
    uneven = 1 + 0.1 * x / 15  # 10 % across the detector
    stack = BackgroundStack()
    for i, level in enumerate([500.0, 1000.0, 1500.0, 700.0, 900.0]):
        stack.add(i, make_model(level * uneven))
    result = stack.finish()
    assert result is not None and not stack.is_about_zero
    assert np.nanmax(result.std) < 1e-3
