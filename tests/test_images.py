# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Backgrounds of lsst.images, judged by lsst.images' own rendering."""

from __future__ import annotations

from typing import Any

import astropy.units as u
import numpy as np
import pytest
from backgrounds import pixels_of
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.bgqa import BackgroundError, BackgroundModel, measure_background
from lsst.bgqa.background import Box, FieldLayer, Layer
from lsst.bgqa.statistics import pixel_distribution
from lsst.images import Background, BackgroundMap
from lsst.images import Box as ImageBox
from lsst.images.fields import ChebyshevField, ProductField, SplineField, SumField

# Not square, and far from the origin.
BOX = ImageBox.from_shape((230, 310), start=(2000, -50))
LARGE = ImageBox.from_shape((1400, 1200), start=(20, 30))


def grid(box: ImageBox, ny: int, nx: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of points; not those of equal bins."""
    y = box.y.start + box.y.size * (np.arange(ny) + 0.4) / ny
    x = box.x.start + box.x.size * (np.arange(nx) + 0.6) / nx
    return y, x


def spline(
    box: ImageBox = BOX, ny: int = 8, nx: int = 9, *, level: float = 50.0, missing: str = "none"
) -> SplineField:
    rng = np.random.default_rng([ny, nx])
    data = level + rng.normal(0, 1, (ny, nx))
    match missing:
        case "some":
            data[2, 3] = data[5:7, 1] = np.nan
            data[1, 4] = np.inf
        case "columns":
            data[:, [0, 4]] = np.nan
        case "row":
            data[3] = np.nan
        case "one left":
            data[:, 2] = np.nan
            data[4, 2] = 7.0
        case "one column":
            data[:, 1:] = np.nan
    y, x = grid(box, ny, nx)
    return SplineField(box, data, y=y, x=x, unit=u.nJy)


def chebyshev(box: ImageBox = BOX, shape: tuple[int, int] = (4, 6), unit: Any = u.nJy) -> ChebyshevField:
    coefficients = np.random.default_rng(3).normal(0, 1, shape)
    coefficients[0, 0] = 20.0
    return ChebyshevField(box, coefficients, unit=unit)


def combined(box: ImageBox = BOX) -> SumField:
    """A sum with other units, other bounds, a sum in it and a product."""
    wider = ImageBox.from_shape(
        (box.y.size + 60, box.x.size + 20), start=(box.y.start - 40, box.x.start - 10)
    )
    factor = ChebyshevField(box, np.array([[1.0, 0.02], [0.01, 0.0]]))
    return SumField(
        [
            spline(box, missing="some"),
            SumField([chebyshev(wider), ChebyshevField(box, np.array([[2e-3]]), unit=u.uJy)]),
            ProductField([factor, SumField([chebyshev(box), spline(box, 5, 5)])]),
        ]
    )


FIELDS = {
    "spline": spline(),
    "spline_large": spline(LARGE, 11, 10),
    "spline_missing": spline(missing="some"),
    "spline_missing_columns": spline(missing="columns"),
    "spline_missing_row": spline(missing="row"),
    "spline_one_left_in_column": spline(missing="one left"),
    "spline_one_column": spline(missing="one column"),
    "spline_one_point": spline(ny=1, nx=1),
    "spline_two_points": spline(ny=2, nx=2),
    "spline_three_by_four": spline(ny=3, nx=4),
    "spline_one_row": spline(ny=1, nx=6),
    "chebyshev": chebyshev(),
    "chebyshev_wide": chebyshev(shape=(2, 7)),
    "constant": chebyshev(shape=(1, 1)),
    "product": ProductField([chebyshev(unit=None), spline()]),
    "sum": combined(),
    "sum_large": combined(LARGE),
}


@pytest.mark.parametrize("name", FIELDS)
def test_pixels_are_those_of_lsst_images(name: str) -> None:
    field = FIELDS[name]
    model = BackgroundModel.from_images(field)
    image = model.render()
    expected = field.render(dtype=np.float64)
    box = expected.bbox
    assert model.bbox == Box(box.x.start, box.y.start, box.x.size, box.y.size)
    assert model.unit == field.unit
    assert image.dtype == model.dtype == np.float64
    np.testing.assert_allclose(image, expected.array, rtol=1e-9, atol=0)


def some_field(draw: st.DrawFn, box: ImageBox, unit: u.UnitBase | None, depth: int) -> Any:
    """Any field over a box, sums and products of others among them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    wider = draw(st.tuples(*[st.integers(0, 40)] * 4))
    outer = ImageBox.from_shape(
        (box.y.size + wider[0] + wider[1], box.x.size + wider[2] + wider[3]),
        start=(box.y.start - wider[0], box.x.start - wider[2]),
    )
    kind = draw(st.sampled_from(["spline", "polynomial", "sum", "product"][: 4 if depth else 2]))
    if kind == "polynomial":
        shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
        return ChebyshevField(outer, rng.normal(0, 3, shape), unit=unit)
    if kind == "spline":
        ny, nx = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
        y = outer.y.start + outer.y.size * (np.arange(ny) + rng.uniform(0.1, 0.9, ny)) / ny
        x = outer.x.start + outer.x.size * (np.arange(nx) + rng.uniform(0.1, 0.9, nx)) / nx
        data = draw(st.sampled_from([0.0, 50.0, -1e4])) + rng.normal(0, 1, (ny, nx))
        if draw(st.booleans()):
            data = np.round(data)  # slopes that are the same
        data[rng.random((ny, nx)) < draw(st.sampled_from([0.0, 0.3, 0.8]))] = np.nan
        data[rng.integers(ny), rng.integers(nx)] = 3.0  # one there is
        return SplineField(outer, data.astype(draw(st.sampled_from(["f4", "f8"]))), y=y, x=x, unit=unit)
    count = draw(st.integers(1, 3))
    if kind == "sum":
        units = [unit if unit is None else draw(st.sampled_from([u.nJy, u.uJy])) for _ in range(count)]
        return SumField([some_field(draw, box, each, depth - 1) for each in units])
    return ProductField([some_field(draw, box, None if i else unit, depth - 1) for i in range(count)])


@st.composite
def any_field(draw: st.DrawFn) -> Any:
    shape = draw(st.tuples(st.integers(5, 90), st.integers(5, 90)))
    start = draw(st.tuples(st.integers(-3000, 3000), st.integers(-3000, 3000)))
    box = ImageBox.from_shape(shape, start=start)
    return some_field(draw, box, draw(st.sampled_from([None, u.nJy])), depth=2)


@settings(max_examples=40, deadline=None)
@given(any_field(), st.data())
def test_any_field_has_the_pixels_of_lsst_images(field: Any, data: st.DataObject) -> None:
    expected = field.render(dtype=np.float64)
    model = BackgroundModel.from_images(field)
    box = expected.bbox
    assert model.bbox == Box(box.x.start, box.y.start, box.x.size, box.y.size)
    assert model.unit == (u.adu if field.unit is None else field.unit)
    # Where terms cancel, their rounding is left.
    rounding = 1e-12 * max(float(np.abs(pixels_of(layer)).max()) for layer in model.layers)
    np.testing.assert_allclose(model.render(), expected.array, rtol=1e-9, atol=rounding)
    x = sorted(data.draw(st.tuples(*[st.integers(0, box.x.size - 1)] * 2)))
    y = sorted(data.draw(st.tuples(*[st.integers(0, box.y.size - 1)] * 2)))
    part = model.render(Box(box.x.start + x[0], box.y.start + y[0], x[1] - x[0] + 1, y[1] - y[0] + 1))
    np.testing.assert_array_equal(part, model.render()[y[0] : y[1] + 1, x[0] : x[1] + 1])
    metrics = measure_background(model)
    largest = float(np.abs(expected.array).max())
    for name, value in (("min", expected.array.min()), ("max", expected.array.max())):
        assert metrics[f"level_{name}"].value == pytest.approx(value, rel=1e-9, abs=rounding)
    assert metrics["level_mean"].value == pytest.approx(expected.array.mean(), rel=1e-6, abs=1e-6 * largest)


@pytest.mark.parametrize("name", ["spline_missing", "chebyshev_wide", "sum"])
def test_part_of_the_pixels(name: str) -> None:
    model = BackgroundModel.from_images(FIELDS[name])
    x0, y0, *_ = model.bbox
    part = model.render(Box(x0 + 31, y0 + 7, 40, 120))
    np.testing.assert_array_equal(part, model.render()[7:127, 31:71])
    with pytest.raises(BackgroundError, match="covers"):
        model.render(Box(x0 - 1, y0, 10, 10))


def test_kinks_are_judged_over_the_whole_image() -> None:
    # Slopes that differ by rounding alone are equal to scipy, which compares
    # them with the largest change anywhere in the image.
    data = np.repeat(np.abs(np.arange(9.0) - 4.0)[np.newaxis], 8, axis=0)
    data[:, :] += 1e-13 * np.random.default_rng(1).normal(size=data.shape)
    data[6, 7] = 300.0
    y, x = grid(BOX, 8, 9)
    field = SplineField(BOX, data, y=y, x=x)
    image = BackgroundModel.from_images(field).render()
    np.testing.assert_allclose(image, field.render().array, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["spline", "spline_missing", "chebyshev", "constant", "product", "sum"])
def test_level_of_small_fields_is_that_of_the_pixels(name: str) -> None:
    pixels = FIELDS[name].render(dtype=np.float64).array
    check_level(FIELDS[name], pixels, rtol=2e-7)


@pytest.mark.parametrize("name", ["spline_large", "sum_large"])
def test_level_of_large_fields_is_that_of_the_pixels(name: str) -> None:
    pixels = FIELDS[name].render(dtype=np.float64).array
    check_level(FIELDS[name], pixels, rtol=5e-5)


def check_level(field: Any, pixels: np.ndarray, rtol: float) -> None:
    metrics = measure_background(BackgroundModel.from_images(field))
    for name, expected in {
        "mean": np.mean(pixels),
        "median": np.median(pixels),
        "std": np.std(pixels),
        "p01": np.percentile(pixels, 1),
        "p99": np.percentile(pixels, 99),
    }.items():
        assert metrics[f"level_{name}"].value == pytest.approx(expected, rel=rtol, abs=1e-12), name
    for name in ("min", "max"):
        expected = getattr(np, name)(pixels)
        assert metrics[f"level_{name}"].value == pytest.approx(expected, rel=1e-9, abs=1e-12), name
    assert metrics["level_median"].unit == field.unit
    assert metrics["coverage_pixelCount"].value == pixels.size
    assert metrics["coverage_finiteFraction"].value == 1


def test_distribution_counts_pixels() -> None:
    field = FIELDS["spline_large"]
    pixels = field.render(dtype=np.float64).array
    distribution = pixel_distribution(BackgroundModel.from_images(field))
    assert distribution is not None
    counts, edges = np.histogram(pixels, bins=12)
    np.testing.assert_allclose(distribution.histogram(edges), counts, atol=1e-3 * pixels.size)


def test_metrics_of_bins_come_from_splines_alone() -> None:
    metrics = measure_background(BackgroundModel.from_images(spline(missing="some")))
    assert metrics["coverage_binCount"].value == 72
    assert metrics["coverage_badBinCount"].value == 4
    assert {"bumps_peakBump", "shape_roughness", "edges_extrapolationOvershoot"} <= metrics.keys()
    metrics = measure_background(BackgroundModel.from_images(chebyshev()))
    assert metrics["coverage_binCount"].value == 0
    assert {name.partition("_")[0] for name in metrics} == {
        "coverage",
        "level",
        "shape",
        "blocks",
        "significance",
    }
    assert not {"bumps_peakBump", "shape_roughness", "edges_extrapolationOvershoot"} & metrics.keys()


def test_one_point_is_no_grid_of_bins() -> None:
    # The odd size has a pixel at its very middle.
    box = ImageBox.from_shape((301, 401))
    field = SumField([chebyshev(box), spline(box, 1, 1)])
    metrics = measure_background(BackgroundModel.from_images(field))
    assert metrics["coverage_binCount"].value == 1
    assert not {"bumps_peakBump", "shape_roughness", "edges_extrapolationOvershoot"} & metrics.keys()


def test_points_of_a_spline_are_its_bins() -> None:
    field = spline(missing="some")
    (layer,) = BackgroundModel.from_images(field).layers
    np.testing.assert_allclose(
        layer.values, np.where(np.isfinite(field.data), field.data, np.nan), rtol=1e-13
    )
    np.testing.assert_allclose(layer.bin_centers_x, field.x)
    np.testing.assert_allclose(layer.bin_centers_y, field.y)


def test_terms_of_a_sum_are_layers_in_one_unit() -> None:
    model = BackgroundModel.from_images(combined())
    assert all(isinstance(layer, FieldLayer) for layer in model.layers)
    assert [layer.kind for layer in model.layers] == [  # type: ignore[union-attr]
        "SplineField",
        "ChebyshevField",
        "ChebyshevField",
        "ProductField",
    ]
    assert pixels_of(model.layers[2])[0, 0] == pytest.approx(2.0)
    np.testing.assert_allclose(sum(pixels_of(layer) for layer in model.layers), model.render(), rtol=1e-14)


def test_field_without_a_value_has_a_coverage_alone() -> None:
    field = SplineField(BOX, np.full((4, 4), np.nan), **dict(zip("yx", grid(BOX, 4, 4), strict=True)))
    model = BackgroundModel.from_images(field)
    assert np.isnan(model.render()).all()
    metrics = measure_background(model)
    assert {name.partition("_")[0] for name in metrics} == {"coverage"}
    assert metrics["coverage_nanPixelCount"].value == BOX.x.size * BOX.y.size


def test_a_map_gives_what_was_subtracted_or_is_named() -> None:
    backgrounds = BackgroundMap(
        [Background("object", spline()), Background("pretty", chebyshev())], subtracted="object"
    )
    assert_same(BackgroundModel.from_images(backgrounds), spline())
    assert_same(BackgroundModel.from_images(backgrounds, "pretty"), chebyshev())
    with pytest.raises(BackgroundError, match=r"no background 'other' \(there are: object, pretty\)"):
        BackgroundModel.from_images(backgrounds, "other")
    with pytest.raises(BackgroundError, match=r"no background was subtracted \(there are: object, pretty\)"):
        BackgroundModel.from_images(BackgroundMap(backgrounds.values()))
    with pytest.raises(BackgroundError, match="there are: none"):
        BackgroundModel.from_images(BackgroundMap())


def assert_same(model: BackgroundModel, field: Any) -> None:
    np.testing.assert_allclose(model.render(), field.render().array, rtol=1e-9)


def test_what_is_not_a_field_is_refused() -> None:
    with pytest.raises(BackgroundError, match="not a field"):
        BackgroundModel.from_images(np.zeros((3, 3)))
    with pytest.raises(BackgroundError, match="none is named"):
        BackgroundModel.from_images(spline(), "subtracted")


def test_unit_of_a_field_that_has_none() -> None:
    assert BackgroundModel.from_images(chebyshev(unit=None)).unit == u.adu
    assert BackgroundModel.from_images(chebyshev(unit=None), unit=u.electron).unit == u.electron
    assert BackgroundModel.from_images(chebyshev(), unit=u.electron).unit == u.nJy


def test_fields_are_not_written_as_afw_backgrounds() -> None:
    with pytest.raises(BackgroundError, match="no form in afw's files"):
        BackgroundModel.from_images(spline()).to_bytes()


def test_layers_of_two_kinds_do_not_mix() -> None:
    (layer,) = BackgroundModel.from_images(spline()).layers
    values = np.zeros((1, 1), np.float32)
    afw = Layer(values, values, np.zeros((1, 1), np.int32), layer.bbox)
    with pytest.raises(BackgroundError, match="do not mix"):
        BackgroundModel((layer, afw))  # type: ignore[arg-type]


def test_same_sky_has_the_same_level_in_both_forms() -> None:
    # Bins all over the image: away from the borders both splines agree.
    box = ImageBox.from_shape((1000, 1200), start=(300, 40))
    values = (800 + np.random.default_rng(8).normal(0, 2, (40, 48))).astype(np.float32)
    layer = Layer(values, np.ones_like(values), np.zeros(values.shape, np.int32), Box(40, 300, 1200, 1000))
    legacy = BackgroundModel((layer,), u.nJy)
    field = SplineField(
        box, values.astype(np.float64), y=layer.bin_centers_y, x=layer.bin_centers_x, unit=u.nJy
    )
    modern = BackgroundModel.from_images(field)
    inner = Box(80, 340, 1100, 900)
    np.testing.assert_allclose(modern.render(inner), legacy.render(inner), rtol=2e-7)
    ours, theirs = measure_background(modern), measure_background(legacy)
    assert ours["level_median"].value == pytest.approx(theirs["level_median"].value, rel=1e-6)
    assert ours["bumps_peakBump"].value == pytest.approx(theirs["bumps_peakBump"].value, rel=1e-9)
