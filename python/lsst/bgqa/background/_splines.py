# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""One-dimensional interpolation of many curves at once, with GSL's results.

The arithmetic is that of GSL's ``interpolation`` and afw's ``Interpolate``,
step by step: an expression that looks as if it could be simplified usually
cannot.
"""

from __future__ import annotations

__all__ = ("PiecewiseCubic", "best_style", "breaks", "interpolate", "min_points")

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._layer import InterpStyle

# Values of a piece of curves evaluated at a time: they stay in cache.
_BLOCK_VALUES = 1 << 15

_MIN_POINTS = {
    InterpStyle.CONSTANT: 1,
    InterpStyle.LINEAR: 2,
    InterpStyle.NATURAL_SPLINE: 3,
    InterpStyle.CUBIC_SPLINE: 3,
    InterpStyle.AKIMA_SPLINE: 5,
}


def min_points(style: InterpStyle) -> int:
    """Return how many points a style needs (afw's ``lookupMinInterpPoints``)."""
    return _MIN_POINTS[style]


def best_style(n: int) -> InterpStyle:
    """Return the style of the highest order for n points (``lookupMaxInterpStyle``)."""
    if n >= 5:
        return InterpStyle.AKIMA_SPLINE
    return (InterpStyle.CONSTANT, InterpStyle.LINEAR, InterpStyle.CUBIC_SPLINE, InterpStyle.CUBIC_SPLINE)[
        n - 1
    ]


@dataclass(frozen=True, eq=False)
class PiecewiseCubic:
    """Many curves over one set of breaks, each a cubic between two breaks.

    Attributes
    ----------
    breaks
        Where pieces meet, ascending, ``float64``, shape (n,). Piece 0 lies
        before ``breaks[0]``, piece n after ``breaks[n-1]``.
    origins
        Origin of each piece's own coordinate, shape (n + 1,).
    spans
        Unit of that coordinate, shape (n + 1,).
    coefficients
        Coefficients of the powers 0 to 3 of (x - origin) / span, shape
        (n + 1, 4, curves).
    last_is_inside
        Whether the last break belongs to the piece before it.
    """

    breaks: np.ndarray
    origins: np.ndarray
    spans: np.ndarray
    coefficients: np.ndarray
    last_is_inside: bool = True

    def pieces(self, x: np.ndarray) -> np.ndarray:
        """Return the index of each position's piece."""
        index = np.searchsorted(self.breaks, x, side="right")
        if self.last_is_inside:
            index[x == self.breaks[-1]] -= 1
        return index

    def evaluate(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Evaluate every curve at k ascending positions, as afw and GSL do.

        Values have the shape (curves, k), and the type of ``out``, if it is given.
        """
        curves = self.coefficients.shape[2]
        if out is None:
            out = np.empty((curves, len(x)))
        pieces = self.pieces(x)
        dx = (x - self.origins[pieces]) / self.spans[pieces]
        square = dx * dx
        # The constant is added last: as far as the last bit of a sky's level
        # goes, this is GSL's nested sum.
        powers = np.array([dx * square, square, dx, np.ones_like(dx)])
        edges = [0, *(np.flatnonzero(np.diff(pieces)) + 1).tolist(), len(x)]
        step = max(1, _BLOCK_VALUES * len(edges) // max(len(x), 1))
        for start in range(0, curves, step):
            block = slice(start, start + step)
            for first, last in itertools.pairwise(edges):
                c = self.coefficients[pieces[first], ::-1, block]
                # Not a matrix product: BLAS rounds by the kernel that it picks.
                out[block, first:last] = np.einsum("ki,kj->ij", c, powers[:, first:last])
        return out


def interpolate(style: InterpStyle, x: np.ndarray, y: np.ndarray) -> PiecewiseCubic:
    """Interpolate curves given at common positions, as afw and GSL do.

    Positions are ascending, at least ``min_points(style)``; values have the
    shape (n, curves). Beyond the ends curves are quadratics that continue
    value, slope and curvature.
    """
    match style:
        case InterpStyle.CONSTANT:
            return _constant(x, y)
        case InterpStyle.LINEAR:
            return _linear(x, y)
        case InterpStyle.AKIMA_SPLINE:
            return _with_ends(x, y, _akima)
        case _:
            return _with_ends(x, y, _natural)


def breaks(style: InterpStyle, x: np.ndarray) -> np.ndarray:
    """Return where the pieces of curves meet that are given at some positions."""
    if style is not InterpStyle.CONSTANT or len(x) < 2:
        return x
    return np.concatenate([[0.5 * (3 * x[0] - x[1])], 0.5 * (x[:-1] + x[1:]), [0.5 * (3 * x[-1] - x[-2])]])


def _constant(x: np.ndarray, y: np.ndarray) -> PiecewiseCubic:
    """Steps at the mid-points, each as high as the mean of its neighbours."""
    x = breaks(InterpStyle.CONSTANT, x)
    if len(y) > 1:
        y = np.concatenate([y[:1], 0.5 * (y[:-1] + y[1:]), y[-1:]])
    coefficients = np.zeros((len(x) + 1, 4, y.shape[1]))
    coefficients[0, 0] = y[0]
    coefficients[1:, 0] = y
    return PiecewiseCubic(
        x,
        np.concatenate([x[:1], x]),
        np.ones(len(x) + 1),
        coefficients,
        last_is_inside=False,
    )


def _linear(x: np.ndarray, y: np.ndarray) -> PiecewiseCubic:
    dx, dy = np.diff(x), np.diff(y, axis=0)
    coefficients = np.zeros((len(x) + 1, 4, y.shape[1]))
    coefficients[0, 0] = y[0]
    coefficients[1:, 0] = y
    coefficients[1:-1, 1] = dy
    coefficients[0, 1] = dy[0] / dx[0]
    coefficients[-1, 1] = dy[-1] / dx[-1]
    spans = np.concatenate([[1.0], dx, [1.0]])
    return PiecewiseCubic(x, np.concatenate([x[:1], x]), spans, coefficients)


def _natural(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """GSL's ``cspline``: zero curvature at the ends."""
    n = len(x)
    h = np.diff(x)
    dy = np.diff(y, axis=0)
    slope = dy * (1.0 / h)[:, np.newaxis]
    rhs = 3.0 * (slope[1:] - slope[:-1])
    diagonal = 2.0 * (h[1:] + h[:-1])
    c = np.zeros_like(y)
    if n == 3:
        c[1] = rhs[0] / diagonal[0]
    else:
        # GSL factorises as L D L^T; scipy's solvers round differently.
        alpha = np.empty(n - 2)
        gamma = np.empty(n - 2)
        alpha[0] = diagonal[0]
        gamma[0] = h[1] / alpha[0]
        for i in range(1, n - 2):
            alpha[i] = diagonal[i] - h[i] * gamma[i - 1]
            gamma[i] = h[i + 1] / alpha[i]
        z = rhs
        for i in range(1, n - 2):
            z[i] -= gamma[i - 1] * z[i - 1]
        z /= alpha[:, np.newaxis]
        c[n - 2] = z[n - 3]
        for i in range(n - 4, -1, -1):
            c[i + 1] = z[i] - gamma[i] * c[i + 2]
    dx = h[:, np.newaxis]
    out[1:-1, 1] = dy / dx - dx * (c[1:] + 2.0 * c[:-1]) / 3.0
    out[1:-1, 2] = c[:-1]
    out[1:-1, 3] = (c[1:] - c[:-1]) / (3.0 * dx)


def _akima(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    """GSL's ``akima``: Akima (1970), corners not rounded."""
    h = np.diff(x)[:, np.newaxis]
    # Slope of interval i at [i + 2]; two more are extrapolated at each end.
    m = np.empty((len(y) + 3, y.shape[1]))
    np.divide(np.diff(y, axis=0), h, out=m[2:-2])
    m[0] = 3.0 * m[2] - 2.0 * m[3]
    m[1] = 2.0 * m[2] - m[3]
    m[-2] = 2.0 * m[-3] - m[-4]
    m[-1] = 3.0 * m[-3] - 2.0 * m[-4]
    # The slope at a knot is a mean of those of its neighbours, weighted by how
    # these change on the other side.
    change = np.abs(np.diff(m, axis=0))
    total = change[2:] + change[:-2]
    flat = total == 0.0
    alpha = change[:-2] / np.where(flat, 1.0, total)
    slope = (1.0 - alpha) * m[1:-2] + alpha * m[2:-1]
    here, b, c, d = m[2:-2], *out[1:-1, 1:].swapaxes(0, 1)
    b[:] = slope[:-1]
    right = slope[1:]
    if any_flat := bool(flat.any()):
        b[flat[:-1]] = here[flat[:-1]]
        right = np.where(flat[1:], here, right)
    np.multiply(3.0, here, out=c)
    c -= 2.0 * b
    c -= right
    c /= h
    np.add(b, right, out=d)
    d -= 2.0 * here
    d /= h * h
    if any_flat:
        # Where the slope does not change at a knot, GSL draws a straight line.
        c[flat[:-1]] = d[flat[:-1]] = 0.0


def _with_ends(
    x: np.ndarray, y: np.ndarray, fill: Callable[[np.ndarray, np.ndarray, np.ndarray], None]
) -> PiecewiseCubic:
    """Fill in the cubics between points, and the quadratics beyond the first
    and the last.
    """
    coefficients = np.empty((len(x) + 1, 4, y.shape[1]))
    coefficients[1:, 0] = y
    fill(x, y, coefficients)
    coefficients[0] = coefficients[1]
    coefficients[0, 3] = coefficients[-1, 3] = 0.0
    h = x[-1] - x[-2]
    b, c, d = coefficients[-2, 1:]
    coefficients[-1, 1] = b + h * (2.0 * c + 3.0 * d * h)
    coefficients[-1, 2] = c + 3.0 * d * h
    return PiecewiseCubic(x, np.concatenate([x[:1], x]), np.ones(len(x) + 1), coefficients)
