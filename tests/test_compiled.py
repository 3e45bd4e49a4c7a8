# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import Akima1DInterpolator

from lsst.bgqa import _compiled
from lsst.bgqa.statistics._axes import LEGENDRE

STRIPS, ROWS, LENGTH = 3, 37, 40
STARTS = np.array([0, 16, 32, 37])
LENGTHS = np.full(STRIPS, LENGTH)


def grid(seed: int, wiggle: float = 1.0) -> np.ndarray:
    """Make coefficients of strips, shape (4, STRIPS, ROWS)."""
    random = np.random.default_rng(seed)
    scale = np.array([10.0, 3.0, wiggle, 0.05 * wiggle])[:, np.newaxis, np.newaxis]
    return (scale * random.normal(size=(4, STRIPS, ROWS))).astype(np.float32)


def pixels_of(coefficients: np.ndarray) -> np.ndarray:
    """Evaluate the pixels of strips, shape (STRIPS, ROWS, LENGTH)."""
    t = (2 * np.arange(LENGTH) + 1) / LENGTH - 1
    values = LEGENDRE @ t ** np.arange(4)[:, np.newaxis]
    return np.einsum("csr,cp->srp", coefficients.astype(np.float64), values)


def bounds_of(coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = (np.empty((STRIPS, len(STARTS) - 1), np.float32) for _ in range(2))
    _compiled.bound_blocks(coefficients, STARTS, low, high)
    return low, high


def window(coefficients: np.ndarray, first: float, last: float, **changes: Any) -> _compiled.Window:
    low, high = bounds_of(coefficients)
    arguments: dict[str, Any] = {
        "coefficients": coefficients,
        "lengths": LENGTHS,
        "weights": np.ones(ROWS),
        "starts": STARTS,
        "rows": np.diff(STARTS).astype(np.float64),
        "low": low,
        "high": high,
        "keep": None,
        **changes,
    }
    make: Callable[..., _compiled.Window] = _compiled.Window
    return make(*arguments.values(), first, last, 2.0**-5)


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 1.0, 5.0]), st.floats(-15, 15))
@settings(deadline=None, max_examples=100)
def test_pixels_below_a_value_are_counted(seed: int, wiggle: float, value: float) -> None:
    coefficients = grid(seed, wiggle)
    pixels = pixels_of(coefficients)
    count = window(coefficients, value - 1, value + 1).count_below(value)
    # A root may be off by a pixel where the value is nearly reached.
    assert abs(count - (pixels < value).sum()) <= 1 + (np.abs(pixels - value) < 0.005).sum()


def test_constant_strips_are_below_what_is_greater() -> None:
    coefficients = np.zeros((4, STRIPS, ROWS), np.float32)
    coefficients[0] = 2
    counts = [window(coefficients, 1, 3).count_below(value) for value in (1.5, 2.0, 2.5)]
    assert counts == [0, 0, STRIPS * ROWS * LENGTH]


def test_blocks_that_are_not_kept_do_not_count() -> None:
    coefficients = grid(1)
    keep = np.zeros((STRIPS, 3), dtype=bool)
    keep[1, 2] = True
    count = window(coefficients, -1, 1, keep=keep).count_below(0.0)
    pixels = pixels_of(coefficients)[1, 32:]
    assert abs(count - (pixels < 0).sum()) <= 1
    assert 0 < count < pixels.size


def test_a_row_counts_as_often_as_it_stands_for() -> None:
    coefficients = grid(2)
    weights = np.linspace(0.5, 3, ROWS)
    rows = np.add.reduceat(weights, STARTS[:-1])
    count = window(coefficients, -1, 1, weights=weights, rows=rows).count_below(0.0)
    expected = ((pixels_of(coefficients) < 0).sum(axis=2) * weights).sum()
    assert count == pytest.approx(expected, abs=3.1)


@pytest.mark.parametrize("terms", [1, 4])
def test_bounds_hold_all_pixels(terms: int) -> None:
    coefficients = grid(3)
    coefficients[terms:] = 0
    low, high = (np.empty((STRIPS, 3), np.float32) for _ in range(2))
    _compiled.bound_blocks(np.ascontiguousarray(coefficients[:terms]), STARTS, low, high)
    pixels = pixels_of(coefficients)
    assert (np.minimum.reduceat(pixels.min(axis=2), STARTS[:-1], axis=1) >= low - 1e-5).all()
    assert (np.maximum.reduceat(pixels.max(axis=2), STARTS[:-1], axis=1) <= high + 1e-5).all()
    assert (high - low < 80).all()


@pytest.mark.parametrize("terms", [1, 4])
def test_moments_are_sums_over_rows(terms: int) -> None:
    coefficients = np.ascontiguousarray(grid(4)[:terms])
    random = np.random.default_rng(4)
    weights, arms = random.uniform(size=(2, ROWS))
    pairs = [(i, j) for i in range(terms) for j in range(i, terms, 2)]
    sums, first, squares = (np.empty((n, STRIPS)) for n in (terms, terms, len(pairs)))
    _compiled.sum_moments(coefficients, 1.5, weights, arms, sums, first, squares)
    exact = coefficients.astype(np.float64)
    exact[0] -= 1.5
    np.testing.assert_allclose(sums, exact @ weights, rtol=1e-12)
    np.testing.assert_allclose(first, exact @ arms, rtol=1e-12)
    np.testing.assert_allclose(squares, [(exact[i] * exact[j]) @ weights for i, j in pairs], rtol=1e-12)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_highest_strips_have_the_extreme_pixel(sign: float) -> None:
    for seed in range(20):
        coefficients = grid(seed, 8.0)
        low, high = bounds_of(coefficients)
        found = np.empty((3, 16), np.int64)
        bounds = high if sign > 0 else low
        n = _compiled.find_highest(coefficients, LENGTHS, STARTS, bounds, None, found, sign)
        strip, row, pixel = found[:, :n]
        heights = sign * pixels_of(coefficients)
        assert heights[strip[0], row[0], pixel[0]] == pytest.approx(heights.max(), abs=1e-5)
        assert (np.diff(heights[strip, row, pixel]) <= 1e-5).all()


def test_akima_is_scipys() -> None:
    random = np.random.default_rng(5)
    x, y = np.cumsum(random.uniform(0.5, 2, 9)), random.normal(size=(9, 130))
    out = np.empty((10, 4, 130))
    _compiled.akima_cubics(x, y, out)
    theirs = Akima1DInterpolator(x, y, axis=0).c  # powers 3 to 0, by interval
    np.testing.assert_allclose(out[1:-1, 1:], theirs[2::-1].swapaxes(0, 1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cubics_are_nested_sums(dtype: type[np.floating]) -> None:
    random = np.random.default_rng(6)
    c = random.normal(size=(3, 4, 5))
    x, pieces = random.uniform(size=70), np.repeat([0, 2, 1], [20, 31, 19])
    out: np.ndarray = np.empty((5, 70), dtype)
    _compiled.evaluate_cubics(c, x, pieces, out)
    a, b, c, d = (c[pieces, power].T for power in range(4))
    assert (out == (a + x * (b + x * (c + x * d))).astype(dtype)).all()


def test_combined_cubics_are_products() -> None:
    random = np.random.default_rng(7)
    c, terms, pieces = random.normal(size=(3, 4, 21)), random.normal(size=(6, 4, 4)), np.arange(6) // 2
    out = np.empty((6, 4, 21), np.float32)
    _compiled.combine_cubics(c, terms, pieces, out)
    np.testing.assert_allclose(out, terms @ c[pieces], rtol=1e-5, atol=1e-6)


def test_polynomials_are_chebyshevs() -> None:
    x = np.linspace(-1, 1, 33)
    terms, coefficients = np.empty((6, 33)), np.random.default_rng(8).normal(size=(6, 6))
    _compiled.chebyshev_terms(x, terms)
    np.testing.assert_allclose(terms, np.cos(np.arange(6)[:, np.newaxis] * np.arccos(x)), atol=1e-13)
    out = np.empty((6, 33))
    _compiled.sum_terms(coefficients, terms, out)
    total = np.add.outer(np.arange(6), np.arange(6)) < 6
    np.testing.assert_allclose(out, (coefficients * total).T @ terms, atol=1e-12)


def evaluate(pieces: Any = (0, 0), x: Any = (0.0, 0.0), out: Any = ((0.0, 0.0),)) -> None:
    _compiled.evaluate_cubics(np.zeros((1, 4, 1)), np.array(x), np.array(pieces), np.array(out))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: evaluate(pieces=(0, 1)), ValueError, "pieces must be from 0 to 0"),
        (lambda: evaluate(pieces=(0, -1)), ValueError, "pieces must be from 0 to 0"),
        (lambda: evaluate(pieces=(0.0, 0.0)), TypeError, "pieces must be an array of int64 with 1 axes"),
        (lambda: evaluate(pieces=(0,)), ValueError, "pieces must have a length of 2 along axis 0, not 1"),
        (lambda: evaluate(out=((0.0,),)), ValueError, "out must have a length of 2 along axis 1, not 1"),
        (lambda: evaluate(out=((0, 0),)), TypeError, "out must be an array of float32 or float64"),
        (lambda: window(grid(0)[:3].copy(), 0, 1, low=None), ValueError, "coefficients must be 1 or 4"),
        (
            lambda: window(grid(0), 0, 1, weights=np.ones(3)),
            ValueError,
            "coefficients must have a length of 3",
        ),
        (lambda: window(grid(0), 0, 1, rows=np.ones(2)), ValueError, "rows must have a length of 3"),
        (lambda: window(grid(0), 0, 1, starts=np.array([0, 16, 32, 38])), ValueError, "starts must ascend"),
        (lambda: window(grid(0), 0, 1, starts=np.array([0, 10, 37, 37])), ValueError, "starts must ascend"),
        (lambda: window(grid(0), 0, 1, starts=np.array([-1, 10, 20, 30])), ValueError, "starts must ascend"),
        (
            lambda: window(grid(0), 0, 1, keep=np.ones((1, 3), bool)),
            ValueError,
            "keep must have a length of 3",
        ),
        (lambda: window(grid(0), 0, 1).count_below(cast(float, "a")), TypeError, "real number"),
        (lambda: _compiled.akima_cubics(np.zeros(2), np.zeros((2, 1)), np.zeros((3, 4, 1))), ValueError, "3"),
    ],
)
def test_unexpected_arrays_are_refused(
    call: Callable[[], None], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


def test_views_that_are_not_contiguous_are_refused() -> None:
    low, high = bounds_of(grid(0))
    with pytest.raises(ValueError, match="contiguous"):
        _compiled.bound_blocks(grid(0)[:, :, ::2], STARTS, low, high)


def test_results_cannot_be_put_in_what_is_read_only() -> None:
    low, high = bounds_of(grid(0))
    low.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        _compiled.bound_blocks(grid(0), STARTS, low, high)
