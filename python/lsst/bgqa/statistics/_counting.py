# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""How many pixels of quadratic tiles lie below given values."""

from __future__ import annotations

__all__ = ("FEW_ROWS", "MAX_ROWS", "TilePixels", "Windows")

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from ._tiles import TileGrid

# Rows of a tile that are counted, taller tiles are counted in strata: for a
# result, and for a first guess.
MAX_ROWS = 16
FEW_ROWS = 8
# Rows that are counted for one value, in all tiles, and rows at a time: few
# enough to stay in a core's cache.
_MAX_ROW_COUNT = 1 << 16
_ROWS_AT_A_TIME = 1 << 14


@dataclass(frozen=True, eq=False)
class TilePixels:
    """Tiles one after the other, as counting needs them.

    Attributes
    ----------
    tiles : `numpy.ndarray`
        The tiles' coefficients (mean, slope in y and x, twist, curve in y and
        x), their height and their length in pixels, and the least and the
        greatest value that they may have: ``float32``, shape (10, n).
    """

    tiles: np.ndarray

    @classmethod
    def of(cls, grid: TileGrid) -> Self:
        """Take over the tiles of a grid.

        Parameters
        ----------
        grid : `TileGrid`
            The tiles.

        Returns
        -------
        pixels : `TilePixels`
            Its tiles, row by row.
        """
        tiles = np.empty((10, *grid.mean.shape), dtype=np.float32)
        for out, part in zip(tiles, grid.coefficients, strict=False):
            out[:] = part
        tiles[6] = grid.y.lengths[:, np.newaxis]
        tiles[7] = grid.x.lengths
        np.subtract(grid.mean, grid.half_range, out=tiles[8])
        np.add(grid.mean, grid.half_range, out=tiles[9])
        return cls(tiles.reshape(10, -1))

    @property
    def mean(self) -> np.ndarray:
        """Mean of the pixels of each tile (`numpy.ndarray`)."""
        return self.tiles[0]

    @property
    def low(self) -> np.ndarray:
        """Least value that a tile may have (`numpy.ndarray`)."""
        return self.tiles[8]

    @property
    def high(self) -> np.ndarray:
        """Greatest value that a tile may have (`numpy.ndarray`)."""
        return self.tiles[9]

    @cached_property
    def weight(self) -> np.ndarray:
        """Pixels in each tile (`numpy.ndarray` of ``float64``)."""
        return np.multiply(self.tiles[6], self.tiles[7], dtype=np.float64)


class Bracket(NamedTuple):
    """Where a value will be that pixels are counted below.

    Attributes
    ----------
    low, high : `float`
        The bracket.
    keep : `numpy.ndarray` or `None`
        The tiles that count, ``bool``; `None` for all.
    """

    low: float
    high: float
    keep: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Windows:
    """What it takes to count pixels below values, each in a bracket.

    Attributes
    ----------
    base : `numpy.ndarray`
        Pixels in tiles that lie below each bracket, shape (m,).
    owner : `numpy.ndarray`
        Which bracket each of the tiles is for, ascending, shape (n,).
    tiles : `numpy.ndarray`
        The tiles that reach into the brackets, ``float32``, shape (10, n).
    """

    base: np.ndarray
    owner: np.ndarray
    tiles: np.ndarray

    @classmethod
    def of(cls, pixels: TilePixels, brackets: Sequence[Bracket]) -> Self:
        """Select the tiles for brackets.

        Parameters
        ----------
        pixels : `TilePixels`
            The tiles.
        brackets : `~collections.abc.Sequence` [`Bracket`]
            The brackets.

        Returns
        -------
        windows : `Windows`
            Their tiles.
        """
        base = np.empty(len(brackets))
        selected = []
        for i, (low, high, keep) in enumerate(brackets):
            below = pixels.high < np.float32(low)
            near = pixels.low <= np.float32(high)
            near ^= below  # whatever is below the bracket begins below its end
            if keep is not None:
                below &= keep
                near &= keep
            # Whole numbers: their sum is exact in whatever order it is made.
            base[i] = np.dot(below, pixels.weight)
            selected.append(np.flatnonzero(near))
        owner = np.repeat(np.arange(len(brackets)), [len(part) for part in selected])
        return cls(base, owner, pixels.tiles[:, np.concatenate(selected)])

    def count_below(self, values: np.ndarray, max_rows: int = MAX_ROWS) -> np.ndarray:
        """Count the pixels below a value in each bracket.

        Parameters
        ----------
        values : `numpy.ndarray`
            The values, shape (m,); NaN where nothing needs be counted.
        max_rows : `int`, optional
            Rows, or strata of rows, to count in a tile.

        Returns
        -------
        counts : `numpy.ndarray`
            Number of pixels, ``float64``, shape (m,).
        """
        value = values.astype(np.float32)[self.owner]
        whole = self.tiles[9] < value
        split = np.flatnonzero((self.tiles[8] < value) ^ whole)
        m = len(self.base)
        counts = self.base + np.bincount(self.owner, weights=self._weight * whole, minlength=m)
        # Where very many tiles are split, they make up for fewer rows each.
        most = np.bincount(self.owner[split], minlength=m).max(initial=1)
        max_rows = min(max_rows, max(_MAX_ROW_COUNT // int(most), FEW_ROWS))
        chunk = _ROWS_AT_A_TIME // max_rows
        for start in range(0, len(split), chunk):
            part = split[start : start + chunk]
            n = _count_split(self.tiles[:8, part], value[part], max_rows)
            counts += np.bincount(self.owner[part], weights=n, minlength=m)
        return counts

    @cached_property
    def _weight(self) -> np.ndarray:
        return np.multiply(self.tiles[6], self.tiles[7], dtype=np.float64)


def _count_split(tiles: np.ndarray, value: np.ndarray, max_rows: int) -> np.ndarray:
    """Count pixels below a value, row by row, in each tile that it lies within."""
    # Solve along the steeper axis: the count then changes by about a pixel
    # at most from row to row, and strata of rows are good enough.
    steep = np.abs(tiles[1]) > np.abs(tiles[2])
    mean, across, along, twist, curve_across, curve, height, length = np.where(
        steep, tiles[[0, 2, 1, 3, 5, 4, 7, 6]], tiles
    )
    rows = np.minimum(height, max_rows)
    most = rows.max()
    index = np.arange(int(most), dtype=np.float32)[:, np.newaxis]
    stratum = height / rows
    dy = (index + np.float32(0.5)) * stratum
    dy -= np.float32(0.5) * height
    # A row is curve d^2 + slope d - rest relative to the value.
    slope = twist * dy
    slope += along
    rest = dy * -curve_across
    rest -= across
    rest *= dy
    rest += value - mean + (curve_across * (height**2 - 1) + curve * (length**2 - 1)) / np.float32(12)
    n = _count_between_roots(curve, slope, rest, length)
    if rows.min() < most:
        n *= index < rows
    return n.sum(axis=0, dtype=np.float64) * stratum


def _count_between_roots(
    curve: np.ndarray, slope: np.ndarray, rest: np.ndarray, length: np.ndarray
) -> np.ndarray:
    """Count the pixels of rows where ``curve d^2 + slope d < rest``."""
    curve = curve + np.float32(0)  # the sign of a zero would count
    with np.errstate(divide="ignore", invalid="ignore"):
        # The root that does not cancel, and the other by their product; the
        # second is that of the line where the curve vanishes.
        q = (4 * curve) * rest
        q += slope * slope
        np.sqrt(q, out=q)
        np.copysign(q, slope, out=q)
        q += slope
        q *= np.float32(-0.5)
        first = q / curve
        second = np.divide(rest, q, out=rest.copy())
        np.negative(second, out=second)
    half = np.float32(0.5) * (length - 1)
    # First pixel after the lower root, and the one at or after the upper.
    low = np.minimum(first, second)
    low += half
    np.floor(low, out=low)
    low += 1
    high = np.maximum(first, second, out=second)
    high += half
    np.ceil(high, out=high)
    for end in (low, high):
        np.maximum(end, 0, out=end)
        np.minimum(end, length, out=end)
    n = np.subtract(high, low, out=high)
    np.maximum(n, 0, out=n)
    down = curve < 0
    n *= np.where(down, np.float32(-1), np.float32(1))
    n += np.where(down, length, np.float32(0))
    # No root, or neither slope nor curve: all pixels are on one side.
    lost = np.isnan(n)
    if lost.any():
        n = np.where(lost, np.where(down | ((curve == 0) & (rest > 0)), length, np.float32(0)), n)
    return n
