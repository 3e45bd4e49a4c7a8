# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The least and the greatest pixel.

A sample gives a first value. What pixels between those of the sample can come
to is bounded cell by cell, a cell being an interval of rows and one of
columns; cells that may beat the best so far are looked at pixel by pixel, the
most promising first.
"""

from __future__ import annotations

__all__ = ("Cells", "Extremes", "extremes")

from functools import cached_property, lru_cache
from math import comb
from typing import NamedTuple

import numpy as np

from ..background import BackgroundModel
from ._lattice import Axis, Lattice, quadrature

# A cell of up to so many pixels is looked at whole; of a larger one, a sample
# is taken again.
_MAX_CELL = 1 << 15
_PARTS = 4
# Where layers cancel to the last bits, more would be looked at than is worth.
_MAX_LOOKED_AT = 1 << 22
# What looking at a cell costs, in pixels.
_LEAST_COST = 1 << 12
# Between two columns a row is a cubic, whose slope at either is a mean of the
# slopes beside it, with weights that follow no polynomial in y. From one row to
# another they can do 2 / 27 of the change of slope; between two rows of a sample
# a fourth of that is ample.
_BEND = 0.02


class Extremes(NamedTuple):
    """The least and the greatest pixel."""

    minimum: float
    maximum: float


def extremes(lattice: Lattice, inner: tuple[slice, slice] | None = None) -> tuple[Extremes, Extremes | None]:
    """Find the least and the greatest of all pixels, and of those in a rectangle.

    The rectangle is one of rows and columns of the lattice, which is cut
    there.
    """
    cells = Cells(lattice)
    everywhere = np.ones(cells.high.shape, dtype=bool)
    if inner is None:
        low, high = (_Search(lattice.model, sign).best_of(cells, everywhere) for sign in (-1.0, 1.0))
        return Extremes(-low, high), None
    inside = np.logical_and.outer(
        *(
            (axis.edges[:-1] >= part.start) & (axis.edges[:-1] < part.stop)
            for axis, part in ((lattice.y, inner[0]), (lattice.x, inner[1]))
        )
    )
    found = []
    for sign in (-1.0, 1.0):
        search = _Search(lattice.model, sign)
        within = search.best_of(cells, inside)
        found.append((search.best_of(cells, ~inside), within))
    (low, low_inside), (high, high_inside) = found
    return Extremes(-low, high), Extremes(-low_inside, high_inside)


class Cells:
    """What a lattice tells of the values in each of its cells.

    Attributes
    ----------
    low, high
        The least and the greatest value of the sample, shape (intervals in y,
        intervals in x).
    reach
        By how much values between those of the sample may pass them.
    bends
        The share of that which no polynomial through them tells.
    """

    def __init__(self, lattice: Lattice) -> None:
        self.lattice = lattice
        ny, my = lattice.y.pixels.shape
        nx, mx = lattice.x.pixels.shape
        self.values = lattice.values.reshape(ny, my, nx, mx)
        rows = lattice.values.reshape(ny, my, nx * mx)
        # Transposed: numpy compares long rows faster than the few values in each.
        columns = (np.ascontiguousarray(part.T) for part in (rows.min(axis=1), rows.max(axis=1)))
        low, high = (part.reshape(nx, mx, ny) for part in columns)
        self.low, self.high = low.min(axis=1).T, high.max(axis=1).T
        known = np.logical_and.outer(lattice.y.lengths <= my, lattice.x.lengths <= mx)
        slopes = self.values[..., -1] - self.values[..., 0]
        slopes /= np.maximum(lattice.x.pixels[:, -1] - lattice.x.pixels[:, 0], 1.0)
        changes = np.abs(np.diff(slopes, axis=2)).max(axis=1)
        ends = np.zeros((ny, 1))
        bends = _BEND * lattice.x.lengths * (np.hstack([ends, changes]) + np.hstack([changes, ends]))
        # No bicubic passes its values at the nodes by more than their range.
        reach = self.high - self.low + bends
        self.bends, self.reach = (np.where(known, 0.0, part) for part in (bends, reach))

    def bound(self, sign: float, iy: np.ndarray, ix: np.ndarray) -> np.ndarray:
        """Bound ``sign`` times the values in some cells, by the coefficients of
        polynomials in Bernstein's basis.
        """
        of_rows, of_columns = self._bernstein
        coefficients = of_rows[iy] @ (sign * self.values[iy, :, ix]) @ of_columns[ix].swapaxes(1, 2)
        return np.asarray(coefficients.max(axis=(1, 2), initial=-np.inf) + self.bends[iy, ix])

    @cached_property
    def _bernstein(self) -> list[np.ndarray]:
        """The matrix of `_to_bernstein` of each interval of rows and of columns."""
        matrices = []
        for axis in (self.lattice.y, self.lattice.x):
            kinds, kind = np.unique(axis.lengths, return_inverse=True)
            matrices.append(np.array([_to_bernstein(int(k), axis.pixels.shape[1]) for k in kinds])[kind])
        return matrices

    def rectangle(self, cells: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the rows and columns about some cells, whose numbers have the shape (2, n)."""
        first, last = cells.min(axis=1), cells.max(axis=1) + 1
        y, x = self.lattice.y.edges, self.lattice.x.edges
        return (int(y[first[0]]), int(y[last[0]])), (int(x[first[1]]), int(x[last[1]]))

    def best_pixel(self, sign: float, among: np.ndarray) -> float:
        """Return the pixel that is greatest before it is rounded."""
        tops = self.high if sign > 0 else -self.low
        iy, ix = np.unravel_index(np.argmax(np.where(among, tops, -np.inf)), tops.shape)
        if not among[iy, ix]:
            return -np.inf
        at = np.unravel_index(np.argmax(sign * self.values[iy, :, ix]), self.values.shape[1::2])
        pixels = self.lattice.pixels.reshape(self.values.shape)
        return sign * float(pixels[iy, at[0], ix, at[1]])


class _Search:
    """A search for the greatest pixel of ``sign`` times a background."""

    def __init__(self, model: BackgroundModel, sign: float) -> None:
        self.model, self.sign = model, sign
        self.best = -np.inf
        self.left = _MAX_LOOKED_AT
        self.slack = _rounding(model)

    def best_of(self, cells: Cells, among: np.ndarray) -> float:
        """Search some cells, ``bool``, shape (intervals in y, intervals in
        x); return the greatest pixel so far.
        """
        self.best = max(self.best, cells.best_pixel(self.sign, among))
        bound = (cells.high if self.sign > 0 else -cells.low) + cells.reach
        iy, ix = np.nonzero(among & (self._pixel(bound) > self.best))
        bounds = self._pixel(cells.bound(self.sign, iy, ix))
        order = np.argsort(-bounds, kind="stable")
        bounds, left = bounds[order], np.stack([iy, ix])[:, order]
        while self.left > 0 and (n := int((bounds > self.best).sum())):
            left, bounds = left[:, :n], bounds[:n]
            # Cells that are left are often neighbours.
            together = cells.rectangle(left)
            if _area(*together) <= _MAX_CELL:
                self._look_at(*together)
                break
            self._look_at(*cells.rectangle(left[:, :1]))
            left, bounds = left[:, 1:], bounds[1:]
        return self.best

    def _look_at(self, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        """Search the pixels of a rectangle."""
        area = _area(rows, columns)
        if area > _MAX_CELL:
            y, x = (Axis.cut(*part, [], _PARTS) for part in (rows, columns))
            lattice = Lattice.at(self.model, y, x)
            self.left -= lattice.pixels.size
            cells = Cells(lattice)
            self.best_of(cells, np.ones(cells.high.shape, dtype=bool))
        else:
            self.left -= max(area, _LEAST_COST)
            pixels = self.model.sample(*(np.arange(*part, dtype=np.float64) for part in (rows, columns)))[0]
            self.best = max(self.best, float(pixels.max() if self.sign > 0 else -pixels.min()))

    def _pixel(self, bound: np.ndarray) -> np.ndarray:
        """Return what pixels come to at most whose sums are up to a bound."""
        if self.slack is not None:
            return bound + self.slack
        return self.sign * _stepped(self.model, self.sign * bound)


def _rounding(model: BackgroundModel) -> float | None:
    """Return by how much the rounding of layers can raise a pixel; `None` if
    that is a function of the sum, since only one of them varies.
    """
    varying = [surface.constant is None for surface in model.surfaces]
    return None if model.dtype is np.float32 and sum(varying) <= 1 else model.rounding


def _stepped(model: BackgroundModel, values: np.ndarray) -> np.ndarray:
    """Return the pixels that sums become where at most one layer varies."""
    constants = [surface.constant for surface in model.surfaces]
    varying = values - sum(constant for constant in constants if constant is not None)
    pixels = np.zeros(np.shape(values), dtype=np.float32)
    for constant in constants:
        pixels = pixels + np.asarray(varying if constant is None else constant).astype(np.float32)
    return pixels.astype(np.float64)


def _area(rows: tuple[int, int], columns: tuple[int, int]) -> int:
    return (rows[1] - rows[0]) * (columns[1] - columns[0])


@lru_cache(maxsize=4096)
def _to_bernstein(k: int, m: int) -> np.ndarray:
    """Make the matrix from values at the nodes of k pixels to coefficients in
    Bernstein's basis over either half of them, shape (2 m, m); where they are
    all pixels, to themselves.
    """
    if k <= m:
        return np.tile(np.eye(m), (2, 1))
    nodes = 2.0 * quadrature(k, m)[0] / (k - 1)
    return np.concatenate([_lagrange(nodes), _lagrange(nodes - 1.0)])


def _lagrange(nodes: np.ndarray) -> np.ndarray:
    """Return coefficients in Bernstein's basis over 0 to 1 of the polynomials
    that are 1 at a node and 0 at the others, shape (m, m).
    """
    m = len(nodes)
    matrix = np.empty((m, m))
    for i, node in enumerate(nodes):
        # Scaled by binomials, coefficients of products are convolutions.
        scaled = np.ones(1)
        for other in np.delete(nodes, i):
            scaled = np.append(scaled * -other, 0.0) + np.insert(scaled * (1.0 - other), 0, 0.0)
            scaled /= node - other
        matrix[:, i] = scaled / [comb(m - 1, j) for j in range(m)]
    return matrix
