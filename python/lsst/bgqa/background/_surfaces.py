# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Functions of position that layers stand for.

Coordinates are local: pixel centres of the layer's box are at the integers 0
to width - 1 and 0 to height - 1.
"""

from __future__ import annotations

__all__ = ("ChebyshevSurface", "SplineSurface", "Surface", "make_surface")

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np

from ._errors import BackgroundError
from ._layer import ApproxStyle, InterpStyle, Layer, UndersampleStyle
from ._splines import PiecewiseCubic, best_style, breaks, interpolate, min_points

# Values of a polynomial computed at a time.
_BLOCK_SAMPLES = 1 << 13
# Styles whose curves depend on so many points on either side alone.
_LOCAL = (InterpStyle.CONSTANT, InterpStyle.LINEAR, InterpStyle.AKIMA_SPLINE)
_NEIGHBOURS = 4


class Surface(Protocol):
    """A function of position, smooth inside the rectangles between breaks."""

    @property
    def x_breaks(self) -> np.ndarray:
        """Columns where smoothness ends, ascending."""
        ...

    @property
    def y_breaks(self) -> np.ndarray:
        """Rows where smoothness ends, ascending."""
        ...

    @property
    def is_finite(self) -> bool:
        """Whether it has a value anywhere; if not, it is NaN."""
        ...

    @property
    def constant(self) -> float | None:
        """Its value if that is plainly the same everywhere."""
        ...

    def evaluate(self, y: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Evaluate on a grid.

        Parameters
        ----------
        y, x
            Positions in local pixels, ascending, ``float64``, shapes (ny,)
            and (nx,).
        out
            Where to put the values, rounded to its type.

        Returns
        -------
        values
            ``float64``, or ``out``, shape (ny, nx).
        """
        ...


@dataclass(frozen=True, eq=False)
class SplineSurface:
    """Bins interpolated in y, column by column, and then in x, row by row.

    Attributes
    ----------
    style
        The style for the whole grid.
    x, y
        Local bin centres, shapes (nx,) and (ny,).
    values
        The bins, ``float64``, shape (ny, nx); NaN where there is none.
    may_reduce
        Whether a column or row that lacks bins may step down to a style of
        lower order.

    Raises
    ------
    BackgroundError
        Raised on evaluation if bins lack and ``may_reduce`` is `False`.
    """

    style: InterpStyle
    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    may_reduce: bool = True

    @cached_property
    def _good_columns(self) -> np.ndarray:
        return np.flatnonzero(~np.isnan(self.values).all(axis=0))

    @cached_property
    def _columns(self) -> list[tuple[np.ndarray, PiecewiseCubic]]:
        """Columns that miss the same bins, and their curves over y."""
        values = self.values[:, self._good_columns]
        good = ~np.isnan(values)
        groups: dict[bytes, list[int]] = defaultdict(list)
        for column, keep in enumerate(good.T):
            groups[keep.tobytes()].append(column)
        curves = []
        for members in map(np.array, groups.values()):
            keep = good[:, members[0]]
            y = self.y[keep]
            curves.append((members, interpolate(self._style_for(len(y)), y, values[np.ix_(keep, members)])))
        return curves

    @property
    def is_finite(self) -> bool:
        return len(self._good_columns) > 0

    @cached_property
    def constant(self) -> float | None:
        first = float(self.values[0, 0])
        return first if (self.values == first).all() else None

    @cached_property
    def x_breaks(self) -> np.ndarray:
        if not self.is_finite:
            return np.empty(0)
        x = self.x[self._good_columns]
        return breaks(self._style_for(len(x)), x)

    @cached_property
    def y_breaks(self) -> np.ndarray:
        return np.unique(np.concatenate([curves.breaks for _, curves in self._columns]))

    def _nodes(self, y: np.ndarray) -> np.ndarray:
        """Interpolate the columns, shape (columns, rows)."""
        nodes = np.empty((len(self._good_columns), len(y)))
        for members, curves in self._columns:
            nodes[members] = curves.evaluate(y)
        return nodes

    def evaluate(self, y: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        if not self.is_finite or self.constant is not None:
            out = np.empty((len(y), len(x))) if out is None else out
            out[:] = np.nan if self.constant is None else self.constant
            return out
        nodes, at = self._nodes(y), self.x[self._good_columns]
        if len(x) and self.style in _LOCAL:
            # Of a spline that follows its neighbours alone, only these.
            first, last = np.clip(np.searchsorted(at, [x[0], x[-1]]), 0, len(at) - 1)
            near = slice(max(first - _NEIGHBOURS, 0), last + _NEIGHBOURS + 1)
            if len(at[near]) >= min_points(self.style):
                nodes, at = nodes[near], at[near]
        return interpolate(self._style_for(len(nodes)), at, nodes).evaluate(x, out)

    def _style_for(self, n: int) -> InterpStyle:
        """Step down to what the bins left in a column or row allow."""
        if n >= min_points(self.style):
            return self.style
        if not self.may_reduce:
            raise BackgroundError(
                f"only {n} bins of a column or row have a value, too few for {self.style.name}, "
                "and its undersampling style forbids a lower order"
            )
        return best_style(n)


@dataclass(frozen=True, eq=False)
class ChebyshevSurface:
    """A polynomial of Chebyshev's first kind, of a total order.

    Attributes
    ----------
    coefficients
        Coefficient of T_j(y') T_i(x') at [j, i], ``float64``, shape
        (order + 1, order + 1); zero for i + j > order.
    width, height
        The box, from -0.5 to width - 0.5 and height - 0.5, is where x' and y'
        run from -1 to 1.
    """

    coefficients: np.ndarray
    width: int
    height: int

    x_breaks = np.empty(0)
    y_breaks = np.empty(0)

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.coefficients).all())

    @property
    def constant(self) -> float | None:
        return float(self.coefficients[0, 0]) if self.coefficients.size == 1 else None

    def evaluate(self, y: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        n = len(self.coefficients)
        # Not matrix products: BLAS rounds by the kernel that it picks.
        rows = np.einsum("ji,jk->ik", self.coefficients, _chebyshev(n, _scaled(y, self.height)))
        terms = _chebyshev(n, _scaled(x, self.width))
        if out is None:
            out = np.empty((len(y), len(x)))
        # Blocks that stay in cache until they are rounded.
        step = max(1, _BLOCK_SAMPLES // max(len(x), 1))
        for start in range(0, len(y), step):
            block = slice(start, start + step)
            out[block] = np.einsum("ki,kj->ij", rows[:, block], terms)
        return out


def make_surface(layer: Layer) -> Surface:
    """Return the function that afw would evaluate for a layer.

    Parameters
    ----------
    layer
        The layer.

    Returns
    -------
    surface
        The function. It is NaN everywhere if no bin is usable; afw refuses
        to fit such bins.

    Raises
    ------
    BackgroundError
        Raised if the layer forbids what its number of bins would need.
    """
    style = _grid_style(layer)
    x = layer.bin_centers_x - layer.bbox.x0
    y = layer.bin_centers_y - layer.bbox.y0
    if layer.approximation.style is ApproxStyle.CHEBYSHEV:
        return ChebyshevSurface(_fit(layer, y, x), layer.bbox.width, layer.bbox.height)
    may_reduce = layer.undersample_style is UndersampleStyle.REDUCE_INTERP_ORDER
    return SplineSurface(style, x, y, layer.values.astype(np.float64), may_reduce)


def _grid_style(layer: Layer) -> InterpStyle:
    """Step down to what the smaller axis of the grid allows."""
    ny, nx = layer.values.shape
    needed = min_points(layer.interp_style)
    if min(nx, ny) >= needed:
        return layer.interp_style
    if layer.undersample_style is not UndersampleStyle.REDUCE_INTERP_ORDER:
        raise BackgroundError(
            f"{nx}x{ny} bins are too few for {layer.interp_style.name}, which needs {needed} a side, "
            f"and its undersampling style is {layer.undersample_style.name}"
        )
    return best_style(min(nx, ny))


def _scaled(position: np.ndarray, size: int) -> np.ndarray:
    low, high = -0.5, size - 0.5
    return (position + -(low + high) * 0.5) * (2.0 / (high - low))


def _chebyshev(n: int, x: np.ndarray) -> np.ndarray:
    """Evaluate the first n of Chebyshev's polynomials, shape (n, positions)."""
    terms = np.ones((n, len(x)))
    terms[1:2] = x
    twice = 2.0 * x
    for i in range(2, n):
        np.multiply(twice, terms[i - 1], out=terms[i])
        terms[i] -= terms[i - 2]
    return terms


def _fit(layer: Layer, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Fit the bins by weighted least squares, as afw's ``Approximate`` does."""
    order = layer.approximation.order_x
    values = layer.values.astype(np.float64)
    weights = layer.fit_weights
    good = np.isfinite(values) & np.isfinite(weights)
    weights = np.where(good, weights, 0.0)
    tx = _chebyshev(2 * order + 1, _scaled(x, layer.bbox.width))
    ty = _chebyshev(2 * order + 1, _scaled(y, layer.bbox.height))
    right = _moments(ty[: order + 1], tx[: order + 1], weights * np.where(good, values, 0.0))
    # Of a product of two polynomials, T_a T_b = (T_a+b + T_|a-b|) / 2.
    moments = _moments(ty, tx, weights)
    (j, i), (j_sum, i_sum), (j_difference, i_difference) = _degrees(order)
    normal = moments[j_sum, i_sum] + moments[j_sum, i_difference]
    normal += moments[j_difference, i_sum] + moments[j_difference, i_difference]
    coefficients = np.zeros((order + 1, order + 1))
    coefficients[j, i] = _solve(0.25 * normal, right[j, i])
    return coefficients


@lru_cache(maxsize=2)
def _degrees(order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the degrees in y and x of the terms up to a total order, and their
    sums and differences for each two terms; shapes (2, terms, ...).
    """
    degrees = np.array([(n - i, i) for n in range(order + 1) for i in range(n, -1, -1)]).T
    one, other = degrees[:, :, np.newaxis], degrees[:, np.newaxis]
    return degrees, one + other, np.abs(one - other)


def _moments(ty: np.ndarray, tx: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum the products of polynomials in y and in x with values; not as
    matrix products, which BLAS rounds by the kernel that it picks.
    """
    return np.asarray(np.einsum("jy,yi->ji", ty, np.einsum("yx,ix->yi", values, tx)))


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve normal equations by a factorisation L D L^T, NaN if they are
    singular. LAPACK would round by the kernel that BLAS picks.
    """
    n = len(right)
    rows = np.column_stack([matrix, right])
    least = n * np.finfo(float).eps * matrix.diagonal()
    for k in range(n):
        column, row = rows[k + 1 :, k], rows[k, k + 1 :]
        if not rows[k, k] > least[k]:
            return np.full(n, np.nan)
        row[:-1] = column
        column /= rows[k, k]
        rows[k + 1 :, k + 1 :] -= column[:, np.newaxis] * row
    x = rows[:, n] / rows.diagonal()
    for k in range(n - 1, 0, -1):
        x[:k] -= rows[k, :k] * x[k]
    return x
