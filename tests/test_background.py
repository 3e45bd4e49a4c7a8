# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from backgrounds import (
    CASES,
    FULL_CASES,
    MIN_POINTS,
    STYLES,
    Case,
    bin_centers,
    bin_edges,
    boxes,
    case,
    chebyshev_layer,
    layers,
    make_layer,
    make_model,
    models,
    pixels_of,
    undersample,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.interpolate import Akima1DInterpolator, CubicSpline, PPoly

from lsst.bgqa import BackgroundError, BackgroundModel
from lsst.bgqa.background import Approximation, ApproxStyle, Box, InterpStyle, Layer, UndersampleStyle

BOX = Box(-13, 27, 211, 173)
SPLINES = (InterpStyle.NATURAL_SPLINE, InterpStyle.CUBIC_SPLINE, InterpStyle.AKIMA_SPLINE)


def assert_same_layers(one: BackgroundModel, other: BackgroundModel) -> None:
    assert len(one.layers) == len(other.layers)
    for a, b in zip(one.layers, other.layers, strict=True):
        for name in ("values", "standard_error", "mask"):
            left, right = getattr(a, name), getattr(b, name)
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        for name in ("bbox", "interp_style", "undersample_style", "approximation"):
            assert getattr(a, name) == getattr(b, name)
        # A live mask of afw has all planes that the process knows.
        assert a.mask_planes.items() >= b.mask_planes.items()


# What afw says


@pytest.mark.parametrize("case", CASES, ids=str)
def test_pixels_are_those_of_afw(case: Case) -> None:
    rows, columns, expected = case.pixels()
    image = case.model.render()
    assert image.dtype == np.float32
    # Of a Chebyshev layer's image, afw forgets the origin.
    x0, y0, *size = case.said["bbox"]
    assert [case.model.bbox.width, case.model.bbox.height] == size
    if case.model.layers[0].approximation.style is not ApproxStyle.CHEBYSHEV:
        assert case.model.bbox[:2] == (x0, y0)
    assert image.shape == (case.model.bbox.height, case.model.bbox.width)
    assert int(np.isnan(image).sum()) == case.said["nan_pixel_count"]
    np.testing.assert_array_equal(image[np.ix_(rows, columns)].view(np.int32), expected.view(np.int32))
    if "min" in case.said:
        assert float(np.nanmin(image)) == case.said["min"]
        assert float(np.nanmax(image)) == case.said["max"]


@pytest.mark.skipif(not FULL_CASES, reason="the full golden images are not at hand (BGQA_GOLDEN)")
@pytest.mark.parametrize("case", FULL_CASES, ids=str)
def test_every_pixel_is_that_of_afw(case: Case) -> None:
    rows, columns, expected = case.pixels()
    image = case.model.render()[np.ix_(rows, columns)]
    np.testing.assert_array_equal(image.view(np.int32), expected.view(np.int32))


def test_all_cases_are_here() -> None:
    assert len(CASES) == 34
    assert {case.name for case in FULL_CASES} >= {case.name for case in CASES if FULL_CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_part_is_slice_of_whole(case: Case) -> None:
    rng = np.random.default_rng(len(case.name))
    whole, box = case.model.render(), case.model.bbox
    parts = [Box(box.x0, box.y0, 1, 1), Box(box.x1 - 1, box.y1 - 1, 1, 1)]
    for _ in range(4):
        x, y = rng.integers(box.width), rng.integers(box.height)
        width, height = rng.integers(1, box.width - x + 1), rng.integers(1, box.height - y + 1)
        parts.append(Box(box.x0 + int(x), box.y0 + int(y), int(width), int(height)))
    for part in parts:
        rows = slice(part.y0 - box.y0, part.y1 - box.y0)
        columns = slice(part.x0 - box.x0, part.x1 - box.x0)
        np.testing.assert_array_equal(case.model.render(part), whole[rows, columns])


def test_part_must_be_inside() -> None:
    model = case("small_akima").model
    x0, y0, width, height = model.bbox
    for part in (
        Box(x0 - 1, y0, 3, 3),
        Box(x0, y0 - 1, 3, 3),
        Box(x0 + width - 2, y0, 3, 3),
        Box(x0, y0 + height - 2, 3, 3),
    ):
        with pytest.raises(BackgroundError, match="covers"):
            model.render(part)
        with pytest.raises(BackgroundError, match="covers"):
            pixels_of(model.layers[0], part)


@pytest.mark.parametrize("name", ["visit_skycorr_like", "patch_akima_constant", "two_grids"])
def test_layers_add_up_in_single_precision(name: str) -> None:
    model = case(name).model
    total = pixels_of(model.layers[0])
    for layer in model.layers[1:]:
        total = total + pixels_of(layer)
    assert total.dtype == np.float32
    np.testing.assert_array_equal(model.render(), total)


@pytest.mark.parametrize("style", STYLES)
def test_no_good_bin_gives_no_pixel(style: InterpStyle) -> None:
    model = make_model(np.full((6, 7), np.nan), BOX, style)
    assert np.isnan(model.render()).all()
    assert np.isnan(BackgroundModel((make_layer([[1]], BOX), *model.layers)).render()).all()


# Files


@pytest.mark.parametrize("case", CASES, ids=str)
def test_file_survives_round_trip(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "again.fits"
    case.model.write_fits(str(path))
    again = BackgroundModel.read_fits(str(path))
    assert_same_layers(again, case.model)
    assert_same_layers(BackgroundModel.from_bytes(path.read_bytes(), "bytes"), case.model)


def test_written_headers_are_those_of_afw(tmp_path: Path) -> None:
    for case_ in CASES:
        if case_.name == "old_header":
            continue
        path = tmp_path / "again.fits"
        case_.model.write_fits(str(path))
        with fits.open(path) as ours, fits.open(case_.path) as theirs:
            assert len(ours) == len(theirs)
            for ours_hdu, theirs_hdu in zip(ours, theirs, strict=True):
                assert ours_hdu.header["BITPIX"] == theirs_hdu.header["BITPIX"]
                assert ours_hdu.shape == theirs_hdu.shape
                for key, value in theirs_hdu.header.items():
                    if key.startswith(("BKGD_", "APPROX", "INTERP", "UNDERSAMPLE", "MP_")):
                        assert ours_hdu.header[key] == value
                        assert type(ours_hdu.header[key]) is type(value)


def test_header_has_codes(tmp_path: Path) -> None:
    layer = Layer(
        np.zeros((4, 5), np.float32),
        np.ones((4, 5), np.float32),
        np.zeros((4, 5), np.int32),
        Box(-3, 8, 50, 60),
        InterpStyle.NATURAL_SPLINE,
        UndersampleStyle.INCREASE_NXNYSAMPLE,
        Approximation(ApproxStyle.CHEBYSHEV, 3, 3, False),
        {"DETECTED": 5},
    )
    path = tmp_path / "one.fits"
    BackgroundModel((layer,)).write_fits(str(path))
    with fits.open(path) as hdus:
        header, planes = hdus[0].header, hdus[1].header
    found = {key: value for key, value in header.items() if "_" in key or "STYLE" in key or "APPROX" in key}
    assert found == {
        "INTERPSTYLE": 2,
        "UNDERSAMPLESTYLE": 2,
        "APPROXSTYLE": 0,
        "APPROXORDERX": 3,
        "APPROXORDERY": 3,
        "APPROXWEIGHTING": False,
        "BKGD_X0": -3,
        "BKGD_Y0": 8,
        "BKGD_WIDTH": 50,
        "BKGD_HEIGHT": 60,
    }
    assert planes["MP_DETECTED"] == 5
    assert BackgroundModel.read_fits(str(path)).grids[0].mask_planes == {"DETECTED": 5}


def test_old_header_has_no_fit() -> None:
    (layer,) = case("old_header").model.layers
    assert layer.approximation == Approximation(ApproxStyle.UNKNOWN)
    assert_same_pixels = case("small_akima").model.render()
    np.testing.assert_array_equal(case("old_header").model.render(), assert_same_pixels)


@given(models(largest=90))
def test_any_model_survives_round_trip(model: BackgroundModel) -> None:
    assert_same_layers(BackgroundModel.from_bytes(model.to_bytes(), "bytes"), model)


def test_read_takes_uri_and_path_and_unit(tmp_path: Path) -> None:
    path = case("grid_2x2").path
    by_text = BackgroundModel.read_fits(str(path), unit=u.nJy)
    assert by_text.unit == u.nJy
    assert_same_layers(BackgroundModel.read_fits(path.absolute().as_uri()), by_text)
    assert_same_layers(BackgroundModel.read_fits(path), by_text)
    assert by_text.with_unit("electron").unit == u.electron


def test_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "one.fits"
    for name in ("visit_skycorr_like", "grid_1x1"):
        case(name).model.write_fits(str(path))
        assert_same_layers(BackgroundModel.read_fits(str(path)), case(name).model)


def test_unwritable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = str(tmp_path / "file" / "one.fits")
    with pytest.raises(BackgroundError, match="cannot be written") as caught:
        case("grid_1x1").model.write_fits(path)
    assert path in str(caught.value)


# Bins


@given(st.integers(1, 20000), st.integers(1, 300))
def test_bins_divide_pixels_in_integers(size: int, n: int) -> None:
    assume(n <= size)
    layer = make_layer(np.zeros((1, n)), Box(7, -5, size, 3))
    assert layer.x_edges.tolist() == bin_edges(size, n)
    assert (layer.bin_centers_x - 7).tolist() == bin_centers(size, n)
    tall = make_layer(np.zeros((n, 1)), Box(7, -5, 3, size))
    assert tall.y_edges.tolist() == bin_edges(size, n)
    assert (tall.bin_centers_y + 5).tolist() == bin_centers(size, n)
    assert layer.x_edges[-1] == size
    assert layer.shape == (1, n)
    assert tall.shape == (n, 1)


def test_bin_centers_of_a_detector() -> None:
    layer = make_layer(np.zeros((31, 32)), Box(100, 200, 4072, 4000))
    # 4072 / 32 is 127.25: one bin in four is a pixel wider.
    assert layer.bin_centers_x[:4].tolist() == [163.0, 290.5, 418.0, 545.0]
    assert layer.bin_centers_y[0] == 200 + 0.5 * 129 - 0.5


# What interpolation must do


def curve(style: InterpStyle, x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate one curve with scipy, as afw's rules want it."""
    good = np.isfinite(y)
    x, y = x[good], y[good]
    if not len(x):
        return np.full(len(at), np.nan)
    if len(x) < MIN_POINTS[style]:
        style = {1: InterpStyle.CONSTANT, 2: InterpStyle.LINEAR}.get(len(x), InterpStyle.CUBIC_SPLINE)
        assert len(x) < 5
    if style is InterpStyle.CONSTANT:
        if len(x) == 1:
            return np.full(len(at), y[0])
        # The last step lies as far beyond the last point as the last
        # mid-point lies before it.
        steps = np.append(0.5 * (x[1:] + x[:-1]), x[-1] + 0.5 * (x[-1] - x[-2]))
        levels = np.concatenate([y[:1], 0.5 * (y[1:] + y[:-1]), y[-1:]])
        return levels[np.searchsorted(steps, at, side="right")]
    if style is InterpStyle.LINEAR:
        pieces = PPoly(np.array([np.diff(y) / np.diff(x), y[:-1]]), x)
    elif style is InterpStyle.AKIMA_SPLINE:
        pieces = Akima1DInterpolator(x, y)
    else:
        pieces = CubicSpline(x, y, bc_type="natural")
    result = pieces(np.clip(at, x[0], x[-1]))
    for end, beyond in ((x[0], at < x[0]), (x[-1], at > x[-1])):
        d = at[beyond] - end
        result[beyond] = pieces(end) + d * pieces(end, 1) + 0.5 * d**2 * pieces(end, 2)
    return result


def plain_render(layer: Layer) -> np.ndarray:
    """Evaluate a layer one column and one row at a time."""
    values = layer.values.astype(np.float64)
    ny, nx = values.shape
    width, height = layer.bbox.width, layer.bbox.height
    x, y = np.array(bin_centers(width, nx)), np.array(bin_centers(height, ny))
    style = layer.interp_style
    if min(nx, ny) < MIN_POINTS[style]:
        style = [InterpStyle.CONSTANT, InterpStyle.LINEAR, *[InterpStyle.CUBIC_SPLINE] * 2][min(nx, ny) - 1]
    rows = np.stack([curve(style, y, values[:, i], np.arange(height)) for i in range(nx)], axis=1)
    return np.stack([curve(style, x, row, np.arange(width)) for row in rows])


@given(boxes(1, 60).flatmap(lambda box: layers(box, max_bins=9)))
def test_layers_are_splines_of_scipy(layer: Layer) -> None:
    assume(layer.approximation.style is ApproxStyle.UNKNOWN)
    expected = plain_render(layer)
    # Extrapolated quadratics amplify the rounding of what they start from.
    scale = np.nanmax(np.abs(expected)) if np.isfinite(expected).any() else 1.0
    np.testing.assert_allclose(pixels_of(layer), expected, rtol=1e-6, atol=1e-6 * scale)


@given(st.integers(5, 20), st.sampled_from(STYLES), st.integers(0, 2**32 - 1))
def test_curves_are_those_of_scipy(n: int, style: InterpStyle, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (n, n)).astype(np.float32)
    layer = make_layer(values, Box(0, 0, 40 * n, 40 * n), style)
    at = np.arange(40.0 * n)
    centers = np.array(bin_centers(40 * n, n))
    # Along the row of a bin centre, or where that is, only x is interpolated.
    row = BackgroundModel((layer,)).evaluate(centers[2:3], at)[0]
    inside = (at >= centers[0]) & (at <= centers[-1])
    if style is InterpStyle.CONSTANT:
        return
    expected = curve(style, centers, values[2].astype(np.float64), at)
    np.testing.assert_allclose(row[inside], expected[inside], rtol=0, atol=1e-9)
    np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-8)


@given(boxes(1, 70), st.integers(1, 12), st.integers(1, 12), st.sampled_from(STYLES), st.data())
def test_equal_bins_give_a_constant(
    box: Box, ny: int, nx: int, style: InterpStyle, data: st.DataObject
) -> None:
    assume(ny <= box.height and nx <= box.width)
    level = np.float32(data.draw(st.floats(-(2.0**100), 2.0**100, width=32)))
    values = np.full((ny, nx), level)
    values[np.random.default_rng(ny * nx).random((ny, nx)) < 0.3] = np.nan
    values[0, 0] = level
    assert (pixels_of(make_layer(values, box, style)) == level).all()


@pytest.mark.parametrize("style", STYLES)
@given(seed=st.integers(0, 2**32 - 1), shift=st.sampled_from([-4096.0, 1024.0, 65536.0]))
def test_shifted_bins_shift_pixels(style: InterpStyle, seed: int, shift: float) -> None:
    # Multiples of 1/64: the shift loses none of the bins' digits.
    values = np.random.default_rng(seed).integers(-640, 640, (7, 6)) / 64
    box = Box(3, 4, 61, 53)
    before, after = (pixels_of(make_layer(v, box, style)) for v in (values, values + shift))
    scale = np.float32(abs(shift) + np.abs(before).max())
    np.testing.assert_allclose(after - np.float32(shift), before, rtol=0, atol=2 * np.spacing(scale))


@pytest.mark.parametrize("style", [style for style in STYLES if style is not InterpStyle.CONSTANT])
@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(2, 11), st.integers(2, 11))
def test_plane_of_bins_is_plane_of_pixels(style: InterpStyle, a: int, b: int, ny: int, nx: int) -> None:
    box = Box(-20, 5, 97, 83)
    x, y = np.array(bin_centers(97, nx)), np.array(bin_centers(83, ny))
    layer = make_layer(100 + a * x + b * y[:, np.newaxis], box, style)
    expected = 100 + a * np.arange(97) + b * np.arange(83)[:, np.newaxis]
    np.testing.assert_allclose(pixels_of(layer), expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("style", STYLES)
@given(st.integers(0, 2**32 - 1))
def test_pixels_at_bin_centers_are_the_bins(style: InterpStyle, seed: int) -> None:
    values = np.random.default_rng(seed).normal(100, 5, (7, 9)).astype(np.float32)
    # Bins of odd size have a pixel at the centre.
    layer = make_layer(values, Box(0, 0, 9 * 11, 7 * 13), style)
    pixels = pixels_of(layer)[6::13, 5::11]
    if style is InterpStyle.CONSTANT:
        padded = values.astype(np.float64)
        by_row = 0.5 * (padded[1:] + padded[:-1])
        inner = 0.5 * (by_row[:, 1:] + by_row[:, :-1])
        assert pixels.min() >= min(values.min(), inner.min())
        return
    np.testing.assert_allclose(pixels, values, rtol=3e-7)


@given(st.integers(0, 2**32 - 1), st.sampled_from(STYLES), st.integers(1, 5))
def test_lost_bins_are_bridged(seed: int, style: InterpStyle, lost: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(50, 3, (9, 9))
    columns = rng.choice(9, lost, replace=False)
    values[:, columns] = np.nan
    box = Box(0, 0, 180, 90)
    image = pixels_of(make_layer(values, box, style))
    # A whole column lost: rows go through the other columns' values.
    kept = np.setdiff1d(np.arange(9), columns)
    centers = np.array(bin_centers(180, 9))
    found = values[:, kept].astype(np.float32).astype(np.float64)
    whole = np.stack(
        [curve(style, np.array(bin_centers(90, 9)), column, np.arange(90.0)) for column in found.T], axis=1
    )
    expected = np.stack([curve(style, centers[kept], row, np.arange(180.0)) for row in whole])
    np.testing.assert_allclose(image, expected, rtol=2e-6, atol=1e-4)


@pytest.mark.parametrize(
    "style", [InterpStyle.CONSTANT, InterpStyle.LINEAR, InterpStyle.NATURAL_SPLINE, InterpStyle.CUBIC_SPLINE]
)
@given(st.integers(0, 2**32 - 1))
def test_linear_styles_do_not_care_about_order(style: InterpStyle, seed: int) -> None:
    values = np.random.default_rng(seed).normal(50, 3, (6, 8))
    image = pixels_of(make_layer(values, Box(0, 0, 83, 61), style))
    swapped = pixels_of(make_layer(values.T, Box(0, 0, 61, 83), style))
    np.testing.assert_allclose(image, swapped.T, rtol=3e-7, atol=1e-5)


def test_akima_goes_along_columns_first() -> None:
    values = np.random.default_rng(3).normal(50, 3, (8, 8))
    image = pixels_of(make_layer(values, Box(0, 0, 80, 80)))
    swapped = pixels_of(make_layer(values.T, Box(0, 0, 80, 80)))
    assert np.abs(image - swapped.T).max() > 0.05


@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.booleans())
def test_chebyshev_is_a_least_squares_fit(seed: int, order: int, weighting: bool) -> None:
    rng = np.random.default_rng(seed)
    ny, nx, box = 9, 8, Box(-3, 12, 77, 64)
    values = rng.normal(10, 2, (ny, nx)).astype(np.float32)
    values[rng.random((ny, nx)) < 0.1] = np.nan
    error = np.exp(rng.normal(0, 0.5, (ny, nx))).astype(np.float32)
    layer = chebyshev_layer(values, box, order, error, weighting)

    def terms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = (x + 0.5) * 2 / box.width - 1, (y + 0.5) * 2 / box.height - 1
        full = np.polynomial.chebyshev.chebvander2d(y, x, [order, order])
        keep = np.add.outer(np.arange(order + 1), np.arange(order + 1)) <= order
        return full[..., keep.ravel()]

    y, x = np.meshgrid(bin_centers(box.height, ny), bin_centers(box.width, nx), indexing="ij")
    good = np.isfinite(values)
    weight = 1 / np.sqrt(error[good].astype(np.float64)) if weighting else np.ones(good.sum())
    design = terms(x[good], y[good]) * weight[:, np.newaxis]
    solution = np.linalg.lstsq(design, values[good] * weight, rcond=None)[0]
    yy, xx = np.mgrid[: box.height, : box.width].astype(np.float64)
    np.testing.assert_allclose(pixels_of(layer), terms(xx, yy) @ solution, rtol=1e-6, atol=1e-5)


def test_chebyshev_skips_infinite_weights_and_bad_bins() -> None:
    values = np.full((6, 6), 5, np.float32)
    error = np.ones((6, 6), np.float32)
    values[[0, 1, 4, 5], [0, 3, 4, 5]] = 900, np.inf, np.nan, 900
    error[[0, 1, 4, 5], [0, 3, 4, 5]] = 0, 1, 1, np.nan
    layer = chebyshev_layer(values, BOX, 2, error)
    np.testing.assert_allclose(pixels_of(layer), 5, rtol=1e-6)


@pytest.mark.parametrize("approx_order", [0, 1, 4])
def test_chebyshev_without_good_bins_gives_no_pixel(approx_order: int) -> None:
    layer = chebyshev_layer(np.full((6, 6), np.nan), BOX, approx_order)
    assert np.isnan(pixels_of(layer)).all()


# Too few bins


@pytest.mark.parametrize("style", [style for style in STYLES if MIN_POINTS[style] > 1])
@pytest.mark.parametrize(
    "forbidding", [UndersampleStyle.THROW_EXCEPTION, UndersampleStyle.INCREASE_NXNYSAMPLE]
)
def test_too_small_grid_may_be_refused(style: InterpStyle, forbidding: UndersampleStyle) -> None:
    n = MIN_POINTS[style] - 1
    for shape in ((n, 9), (9, n), (n, n)):
        layer = make_layer(np.ones(shape), BOX, style)
        assert (pixels_of(layer) == 1).all()
        model = BackgroundModel((undersample(layer, forbidding),))
        with pytest.raises(BackgroundError, match="too few"):
            model.render()
    enough = make_layer(np.ones((n + 1, n + 1)), BOX, style, undersample_style=forbidding)
    assert (pixels_of(enough) == 1).all()


def test_thinned_column_may_be_refused() -> None:
    values = np.ones((6, 6), np.float32)
    values[:2, 3] = np.nan
    layer = make_layer(values, BOX)
    assert (pixels_of(layer) == 1).all()
    with pytest.raises(BackgroundError, match="too few for AKIMA_SPLINE"):
        pixels_of(undersample(layer, UndersampleStyle.THROW_EXCEPTION))


# What cannot be a layer or a background


def test_mask_plane_that_is_no_keyword_is_refused_on_writing() -> None:
    for plane in ("ÚNTRP", "LONG" * 30):
        layer = make_layer([[1]], BOX, mask_planes={plane: 0})
        with pytest.raises(BackgroundError, match="cannot be a keyword"):
            BackgroundModel((layer,)).to_bytes()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"values": np.zeros(4, np.float32)}, "two-dimensional"),
        ({"values": np.zeros((0, 4), np.float32)}, "two-dimensional"),
        ({"mask": np.zeros((2, 4), np.int32)}, "mask has shape"),
        ({"standard_error": np.zeros((3, 5), np.float32)}, "standard_error has shape"),
        ({"bbox": Box(0, 0, 0, 50)}, "empty"),
        ({"bbox": Box(0, 0, 50, -1)}, "empty"),
        ({"bbox": Box(0, 0, 1 << 16, 1 << 15)}, "pixels, more than"),
        ({"bbox": Box(0, 0, 3, 50)}, "more than the pixels"),
        ({"approximation": Approximation(ApproxStyle.CHEBYSHEV, 2, 3)}, "not one order"),
        ({"approximation": Approximation(ApproxStyle.CHEBYSHEV, 1000, 1000)}, "not one order"),
    ],
)
def test_impossible_layers_are_refused(change: dict[str, Any], reason: str) -> None:
    arguments: dict[str, Any] = {
        "values": np.zeros((3, 4), np.float32),
        "standard_error": np.zeros((3, 4), np.float32),
        "mask": np.zeros((3, 4), np.int32),
        "bbox": BOX,
    }
    with pytest.raises(BackgroundError, match=reason):
        Layer(**(arguments | change))


def test_background_needs_layers_over_one_box() -> None:
    with pytest.raises(BackgroundError, match="at least one"):
        BackgroundModel(())
    one = make_layer([[1]], Box(0, 0, 10, 10))
    with pytest.raises(BackgroundError, match="layer 2 covers"):
        BackgroundModel((one, make_layer([[1]], Box(0, 1, 10, 10))))


def test_extreme_values_become_pixels() -> None:
    for level in (1e-30, 1e30, 3e38):
        values = level * np.random.default_rng(1).uniform(0.5, 1, (7, 7))
        image = pixels_of(make_layer(values, BOX))
        # At the border, extrapolation may leave what float32 can hold.
        assert np.isfinite(image[30:-30, 30:-30]).all()
        assert image[86, 105] == pytest.approx(level * 0.75, rel=0.5)


def test_box_tells_where_it_ends() -> None:
    box = Box(-2, 3, 10, 20)
    assert (box.x1, box.y1, box.area) == (8, 23, 200)
    assert box.contains(box)
    assert not box.contains(Box(-2, 3, 11, 20))
    assert str(box) == "10x20 at (-2, 3)"


# Where the stack is


@pytest.fixture(scope="module")
def afw_math() -> Any:
    return pytest.importorskip("lsst.afw.math", reason="lsst.afw is not installed")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_live_background_has_the_layers_of_its_file(afw_math: Any, case: Case) -> None:
    live = BackgroundModel.from_afw(afw_math.BackgroundList.readFits(str(case.path)))
    assert_same_layers(live, case.model)


@pytest.mark.parametrize("has_image", [True, False])
@pytest.mark.parametrize("order", [None, 2])
@pytest.mark.parametrize("bins", [(6, 5), (3, 4)])
def test_background_that_afw_makes_is_taken_over(
    afw_math: Any, bins: tuple[int, int], order: int | None, has_image: bool
) -> None:
    """Appended to a list without styles, as ``BackgroundList(background)``."""
    afw_image: Any = pytest.importorskip("lsst.afw.image")
    geom: Any = pytest.importorskip("lsst.geom")
    image = afw_image.MaskedImageF(BOX.width, BOX.height)
    image.setXY0(geom.Point2I(BOX.x0, BOX.y0))
    image.image.array[:] = np.random.default_rng(6).normal(200, 5, (BOX.height, BOX.width))
    image.variance.array[:] = 25.0
    control = afw_math.BackgroundControl(*bins)
    control.setInterpStyle("AKIMA_SPLINE")
    control.setUndersampleStyle("REDUCE_INTERP_ORDER")
    if order is not None:
        style = afw_math.ApproximateControl.CHEBYSHEV
        control.setApproximateControl(afw_math.ApproximateControl(style, order, order))
    background = afw_math.makeBackground(image, control)
    if has_image:
        background.getImageF()
    model = BackgroundModel.from_afw(afw_math.BackgroundList(background))
    (layer,) = model.layers
    assert (model.bbox, layer.values.shape) == (BOX, bins[::-1])
    np.testing.assert_array_equal(layer.values, background.getStatsImage().image.array)
    # A fit's equations are solved by another library: its last bit may differ.
    np.testing.assert_array_max_ulp(model.render(), background.getImageF().array, maxulp=1)
    # Nothing is shared with afw.
    layer.values[0, 0] += 1000
    assert background.getStatsImage().image.array[0, 0] < 1000


@pytest.mark.parametrize("case", [case for case in CASES if case.name != "all_nan"], ids=str)
def test_live_background_has_our_pixels(afw_math: Any, case: Case) -> None:
    live = afw_math.BackgroundList.readFits(str(case.path))
    np.testing.assert_array_equal(case.model.render(), live.getImage().array)


@pytest.mark.parametrize("case", [case for case in CASES if case.name != "all_nan"], ids=str)
def test_afw_opens_our_files(afw_math: Any, case: Case, tmp_path: Path) -> None:
    path = tmp_path / "ours.fits"
    case.model.write_fits(str(path))
    theirs = afw_math.BackgroundList.readFits(str(path))
    np.testing.assert_array_equal(theirs.getImage().array, case.model.render())
    assert_same_layers(BackgroundModel.from_afw(theirs), case.model)
