# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""One-dimensional interpolation of many curves at once, with GSL's results.

The coefficients are found by the arithmetic of GSL's ``interpolation`` and
afw's ``Interpolate``, step by step: an expression that looks as if it could be
simplified usually cannot. Cubics are evaluated as matrix products, which may
differ from GSL's nested sums in the last bit of ``float64``.
"""

from __future__ import annotations

__all__ = ("PiecewiseCubic", "best_style", "interpolate", "min_points")

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ._layer import InterpStyle

# Curves, and about how many of their values, that are evaluated at a time: few
# enough to stay in cache, and many enough to be rounded quickly.
_BLOCK_CURVES = 256
_BLOCK_LENGTH = 256

_MIN_POINTS = {
    InterpStyle.CONSTANT: 1,
    InterpStyle.LINEAR: 2,
    InterpStyle.NATURAL_SPLINE: 3,
    InterpStyle.CUBIC_SPLINE: 3,
    InterpStyle.AKIMA_SPLINE: 5,
}


def min_points(style: InterpStyle) -> int:
    """Return how many points a style needs (afw's ``lookupMinInterpPoints``).

    Parameters
    ----------
    style : `InterpStyle`
        The style.

    Returns
    -------
    n : `int`
        The least number of points.
    """
    return _MIN_POINTS[style]


def best_style(n: int) -> InterpStyle:
    """Return the best style for a number of points (``lookupMaxInterpStyle``).

    Parameters
    ----------
    n : `int`
        Number of points, at least 1.

    Returns
    -------
    style : `InterpStyle`
        The style of the highest order that ``n`` points allow.
    """
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
    breaks : `numpy.ndarray`
        Where pieces meet, ascending, ``float64``, shape (n,). Piece 0 lies
        before ``breaks[0]``, piece n after ``breaks[n-1]``.
    origins : `numpy.ndarray`
        Origin of each piece's own coordinate, shape (n + 1,).
    spans : `numpy.ndarray`
        Unit of that coordinate, shape (n + 1,).
    coefficients : `numpy.ndarray`
        Coefficients of the powers 0 to 3 of (x - origin) / span, shape
        (n + 1, 4, curves).
    last_is_inside : `bool`
        Whether the last break belongs to the piece before it.
    is_straight : `bool`
        Whether all pieces are steps or lines; they are then evaluated to the
        last bit as GSL does.
    """

    breaks: np.ndarray
    origins: np.ndarray
    spans: np.ndarray
    coefficients: np.ndarray
    last_is_inside: bool = True
    is_straight: bool = False

    def pieces(self, x: np.ndarray) -> np.ndarray:
        """Return the piece of each position.

        Parameters
        ----------
        x : `numpy.ndarray`
            Positions, shape (k,).

        Returns
        -------
        index : `numpy.ndarray`
            Index of the piece, ``intp``, shape (k,).
        """
        index = np.searchsorted(self.breaks, x, side="right")
        if self.last_is_inside:
            index[x == self.breaks[-1]] -= 1
        return index

    def runs(self, x: np.ndarray) -> Iterator[tuple[int, slice]]:
        """Go through the runs of positions that lie in one piece.

        Parameters
        ----------
        x : `numpy.ndarray`
            Positions, ascending, shape (k,).

        Yields
        ------
        piece : `int`
            Index of the piece.
        run : `slice`
            The positions in it.
        """
        if not len(x):
            return
        index = self.pieces(x)
        edges = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(x)]
        for start, stop in itertools.pairwise(edges):
            yield int(index[start]), slice(start, stop)

    def sample(self, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Combine samples of every curve, in single precision.

        Parameters
        ----------
        x : `numpy.ndarray`
            Positions, ascending, ``float64``, shape (k, m); the m of a row
            are in one piece.
        weights : `numpy.ndarray`
            Weights of the samples in each of n sums, ``float64``, shape
            (k, n, m). But for the first, the sums have no weight in total.

        Returns
        -------
        sums : `numpy.ndarray`
            The sums, ``float32``, shape (k, n, curves).
        """
        coefficients = self.coefficients.astype(np.float32, copy=False)
        powers = self._powers(x.ravel()).T.reshape(*x.shape, 4)
        terms = (weights @ powers).astype(np.float32)
        out = np.empty((*weights.shape[:2], coefficients.shape[2]), dtype=np.float32)
        for piece, run in self.runs(x[:, 0]):
            np.matmul(terms[run], coefficients[piece], out=out[run])
        return out

    def evaluate(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Evaluate every curve, as afw and GSL do.

        Parameters
        ----------
        x : `numpy.ndarray`
            Positions, ascending, ``float64``, shape (k,).
        out : `numpy.ndarray`, optional
            Where to put the values, rounded to its type.

        Returns
        -------
        values : `numpy.ndarray`
            Values, ``float64`` or those of ``out``, shape (curves, k).
        """
        curves = self.coefficients.shape[2]
        if out is None:
            out = np.empty((curves, len(x)))
        powers = self._powers(x)
        groups = list(_grouped(self.runs(x)))
        widest = max((group[-1][1].stop - group[0][1].start for group in groups), default=0)
        # One piece of memory for all: it stays in cache.
        memory = np.empty((min(curves, _BLOCK_CURVES), widest))
        for start in range(0, curves, _BLOCK_CURVES):
            block = slice(start, min(start + _BLOCK_CURVES, curves))
            for group in groups:
                first, last = group[0][1].start, group[-1][1].stop
                values = memory[: block.stop - start, : last - first]
                for piece, run in group:
                    c = self.coefficients[piece, :, block]
                    part = values[:, run.start - first : run.stop - first]
                    if self.is_straight:
                        np.multiply(powers[1, run], c[1][:, np.newaxis], out=part)
                        part += c[0][:, np.newaxis]
                    else:
                        np.matmul(c.T, powers[:, run], out=part)
                out[block, first:last] = values
        return out

    def _powers(self, x: np.ndarray) -> np.ndarray:
        """Powers of the distance from the pieces' origins, shape (4, k)."""
        pieces = self.pieces(x)
        dx = (x - self.origins[pieces]) / self.spans[pieces]
        square = dx * dx
        return np.array([np.ones_like(dx), dx, square, dx * square])


def _grouped(runs: Iterator[tuple[int, slice]]) -> Iterator[list[tuple[int, slice]]]:
    """Group runs that follow one another until they are long."""
    group: list[tuple[int, slice]] = []
    for piece, run in runs:
        group.append((piece, run))
        if run.stop - group[0][1].start >= _BLOCK_LENGTH:
            yield group
            group = []
    if group:
        yield group


def interpolate(style: InterpStyle, x: np.ndarray, y: np.ndarray) -> PiecewiseCubic:
    """Interpolate curves given at common positions, as afw and GSL do.

    Parameters
    ----------
    style : `InterpStyle`
        The style.
    x : `numpy.ndarray`
        Positions, ascending, ``float64``, shape (n,), at least
        ``min_points(style)`` of them.
    y : `numpy.ndarray`
        Values, shape (n, curves); ``float64`` for the results of afw and GSL.

    Returns
    -------
    curves : `PiecewiseCubic`
        The interpolated curves. Beyond the ends they are quadratics that
        continue value, slope and curvature.
    """
    match style:
        case InterpStyle.CONSTANT:
            return _constant(x, y)
        case InterpStyle.LINEAR:
            return _linear(x, y)
        case InterpStyle.AKIMA_SPLINE:
            return _with_ends(x, y, *_akima(x, y))
        case _:
            return _with_ends(x, y, *_natural(x, y))


def _constant(x: np.ndarray, y: np.ndarray) -> PiecewiseCubic:
    """Steps at the mid-points, each as high as the mean of its neighbours."""
    if len(x) > 1:
        x = np.concatenate([[0.5 * (3 * x[0] - x[1])], 0.5 * (x[:-1] + x[1:]), [0.5 * (3 * x[-1] - x[-2])]])
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
        is_straight=True,
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
    return PiecewiseCubic(x, np.concatenate([x[:1], x]), spans, coefficients, is_straight=True)


def _natural(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
    b = dy / dx - dx * (c[1:] + 2.0 * c[:-1]) / 3.0
    d = (c[1:] - c[:-1]) / (3.0 * dx)
    return b, c[:-1], d


def _akima_slopes(h: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slope of interval i at [i + 2]; two more are extrapolated at each end
    (natural boundaries).
    """
    m = np.empty((len(y) + 3, y.shape[1]), dtype=y.dtype)
    np.divide(np.diff(y, axis=0), h, out=m[2:-2])
    m[0] = 3.0 * m[2] - 2.0 * m[3]
    m[1] = 2.0 * m[2] - m[3]
    m[-2] = 2.0 * m[-3] - m[-4]
    m[-1] = 3.0 * m[-3] - 2.0 * m[-4]
    return m


def _akima(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """GSL's ``akima``: Akima (1970), corners not rounded."""
    h = np.diff(x).astype(y.dtype)[:, np.newaxis]
    m = _akima_slopes(h, y)
    change = np.abs(np.diff(m, axis=0))  # change[j] = |m[j + 1] - m[j]|
    total = change[2:] + change[:-2]  # at knot i: |m_i+1 - m_i| + |m_i-1 - m_i-2|
    flat = total == 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha = np.divide(change[:-2], total, out=total)
    # The slope at knot i as interval i sees it from its left end; the same
    # weighted mean is the slope at the right end of interval i - 1.
    slope = 1.0 - alpha
    slope *= m[1:-2]
    alpha *= m[2:-1]
    slope += alpha
    here = m[2:-2]
    b, right = slope[:-1], slope[1:]
    if any_flat := bool(flat.any()):
        b, right = np.where(flat[:-1], here, b), np.where(flat[1:], here, right)
    c = 3.0 * here
    c -= 2.0 * b
    c -= right
    c /= h
    d = b + right
    d -= 2.0 * here
    d /= h * h
    if any_flat:
        # Where the slope does not change at a knot, GSL draws a straight line.
        c[flat[:-1]] = 0.0
        d[flat[:-1]] = 0.0
    return b, c, d


def _with_ends(x: np.ndarray, y: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> PiecewiseCubic:
    """Add the quadratics beyond the first and the last point."""
    coefficients = np.empty((len(x) + 1, 4, y.shape[1]), dtype=y.dtype)
    coefficients[0, 3] = coefficients[-1, 3] = 0.0
    coefficients[1:, 0] = y
    coefficients[1:-1, 1] = b
    coefficients[1:-1, 2] = c
    coefficients[1:-1, 3] = d
    coefficients[0, 0] = y[0]
    coefficients[0, 1] = b[0]
    coefficients[0, 2] = c[0]
    h = x[-1] - x[-2]
    coefficients[-1, 1] = b[-1] + h * (2.0 * c[-1] + 3.0 * d[-1] * h)
    coefficients[-1, 2] = c[-1] + 3.0 * d[-1] * h
    return PiecewiseCubic(x, np.concatenate([x[:1], x]), np.ones(len(x) + 1), coefficients)
