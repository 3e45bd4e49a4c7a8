# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Order statistics of a background's pixels, counted tile by tile."""

from __future__ import annotations

__all__ = ("Distribution",)

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from ._counting import FEW_ROWS, MAX_ROWS, Bracket, TilePixels, Windows
from ._rounding import PixelRounding
from ._tiles import TileGrid

# A quantile is good when its rank is off by no more than this.
_RANK_TOLERANCE = 2e-6
# A secant from within this rank needs no further count.
_SECANT_IS_ENOUGH = 5e-5
_MAX_STEPS = 60
_SAMPLE_SIZE = 8192


@dataclass(frozen=True, eq=False)
class Distribution:
    """The values of the pixels of some tiles.

    Attributes
    ----------
    reference : `float`
        What all values are relative to.
    pixels : `TilePixels`
        The tiles.
    is_exact : `bool`
        Whether each tile is a pixel.
    step : `float`
        Distance of neighbouring ``float32`` numbers at the level.
    rounding : `PixelRounding`
        How pixels are rounded.
    """

    reference: float
    pixels: TilePixels
    is_exact: bool
    step: float
    rounding: PixelRounding

    @classmethod
    def of(cls, grid: TileGrid) -> Self:
        """Take the pixels of tiles.

        Parameters
        ----------
        grid : `TileGrid`
            The tiles.

        Returns
        -------
        distribution : `Distribution`
            The distribution.
        """
        step = float(np.spacing(np.float32(max(abs(grid.reference), 1e-30))))
        return cls(grid.reference, TilePixels.of(grid), grid.is_exact, step, PixelRounding.of(grid.model))

    @cached_property
    def count(self) -> float:
        """Number of pixels (`float`)."""
        return float(self.pixels.weight.sum())

    def counts_below(self, values: Sequence[float]) -> list[float]:
        """Count pixels below values.

        Parameters
        ----------
        values : `~collections.abc.Sequence` [`float`]
            The values.

        Returns
        -------
        counts : `list` [`float`]
            Number of pixels less than each value; a fraction may remain
            where tall tiles are counted in strata.
        """
        if self.is_exact:
            ordered = np.sort(self.pixels.mean)
            return [float(n) for n in np.searchsorted(ordered, np.array(values) - self.reference)]
        edges = [self.rounding.edge(value) - self.reference for value in values]
        windows = Windows.of(self.pixels, [Bracket(edge, edge) for edge in edges])
        return windows.count_below(np.array(edges)).tolist()

    def count_below(self, value: float) -> float:
        """Count pixels below a value.

        Parameters
        ----------
        value : `float`
            The value.

        Returns
        -------
        count : `float`
            Number of pixels less than ``value``.
        """
        return self.counts_below([value])[0]

    def histogram(self, edges: np.ndarray) -> np.ndarray:
        """Count pixels between values.

        Parameters
        ----------
        edges : `numpy.ndarray`
            Edges of the bins, ascending, shape (n + 1,). As in
            `numpy.histogram` the last bin has its right edge.

        Returns
        -------
        counts : `numpy.ndarray`
            Pixels in each bin, ``int64``, shape (n,).
        """
        last = np.float32(edges[-1])
        if float(last) <= float(edges[-1]):
            last = np.nextafter(last, np.float32(np.inf))
        below = self.counts_below([*(float(edge) for edge in edges[:-1]), float(last)])
        return np.diff(np.rint(below)).astype(np.int64)

    def quantiles(self, fractions: Sequence[float]) -> list[float]:
        """Find quantiles.

        Parameters
        ----------
        fractions : `~collections.abc.Sequence` [`float`]
            Fractions of the pixels, from 0 to 1.

        Returns
        -------
        values : `list` [`float`]
            The quantiles, rounded to ``float32`` as pixels are.
        """
        if self.is_exact:
            values = np.quantile(self.pixels.mean.astype(np.float64), fractions)
            return [float(value) + self.reference for value in values]
        return [self.rounding.pixel(v + self.reference) for v in self._solve([_Side(f) for f in fractions])]

    @property
    def median(self) -> float:
        """The median of the pixels (`float`)."""
        return self.quantiles([0.5])[0]

    def medians(self, parts: Sequence[np.ndarray]) -> list[float]:
        """Find the medians of parts of the pixels.

        Parameters
        ----------
        parts : `~collections.abc.Sequence` [`numpy.ndarray`]
            The tiles of each part, ``bool``, in the shape of their grid; none
            is empty.

        Returns
        -------
        medians : `list` [`float`]
            The medians.
        """
        if self.is_exact:
            values = self.pixels.mean.astype(np.float64)
            return [float(np.median(values[part.ravel()])) + self.reference for part in parts]
        return [v + self.reference for v in self._solve([_Side(0.5, part.ravel()) for part in parts])]

    def median_absolute_deviation(self, center: float) -> float:
        """Find the median distance of the pixels from a value.

        Parameters
        ----------
        center : `float`
            The value.

        Returns
        -------
        mad : `float`
            The median of the absolute deviations from ``center``.
        """
        offset = center - self.reference
        if self.is_exact:
            return float(np.median(np.abs(self.pixels.mean.astype(np.float64) - offset)))
        return self._solve([_Side(0.5, center=offset)])[0]

    def _solve(self, wanted: Sequence[_Side]) -> list[float]:
        """Find where counts reach fractions of the pixels."""
        searches = [_Search.of(self, side) for side in wanted]
        left = searches
        while left:
            edges = [edge for search in left for edge in search.edges]
            at = np.cumsum([0, *(len(search.edges) for search in left)])
            windows = Windows.of(self.pixels, [bracket for bracket, _, _ in edges])
            signs = np.array([sign for _, sign, _ in edges])
            offsets = np.array([offset for _, _, offset in edges])
            max_rows = FEW_ROWS
            while any(search.is_open for search in left):
                values = np.repeat([s.value if s.is_open else math.nan for s in left], np.diff(at))
                counts = signs * windows.count_below(offsets + signs * values, max_rows)
                for search, count in zip(left, np.add.reduceat(counts, at[:-1]), strict=True):
                    if search.is_open:
                        search.advance(float(count))
                max_rows = MAX_ROWS
            left = [search for search in left if search.is_outside and search.widen()]
        return [search.value for search in searches]

    def _ranked_sample(self, side: _Side) -> tuple[np.ndarray, np.ndarray]:
        """Sort the means of some tiles, and tell the fraction of the pixels
        up to each.
        """
        if side.keep is None and side.center is None:
            return self._ranked_means
        # An odd step does not fall in with the rows.
        some = slice(None, None, max(1, self.pixels.mean.size // _SAMPLE_SIZE) | 1)
        keep = slice(None) if side.keep is None else side.keep[some]
        values, weights = self.pixels.mean[some][keep], self.pixels.weight[some][keep]
        if not len(values):
            values, weights = self.pixels.mean[side.keep], self.pixels.weight[side.keep]
        if side.center is not None:
            values = np.abs(values - np.float32(side.center))
        order = np.argsort(values)
        ranks = np.cumsum(weights[order])
        ranks -= 0.5 * weights[order]
        ranks /= weights.sum()
        return values[order], ranks

    @cached_property
    def _ranked_means(self) -> tuple[np.ndarray, np.ndarray]:
        return self._ranked_sample(_Side(0.5, np.ones(self.pixels.mean.size, dtype=bool)))


@dataclass(frozen=True, eq=False)
class _Side:
    """What is to reach a fraction of the pixels: those below a value, or
    those within a distance of a centre.
    """

    fraction: float
    keep: np.ndarray | None = None
    center: float | None = None


@dataclass(eq=False)
class _Search:
    """A search for the value where a rising count reaches a target, by
    secants and bisection.
    """

    side: _Side
    values: np.ndarray  # a sample of what is counted, ascending,
    ranks: np.ndarray  # and the fraction of the pixels up to there
    total: float
    margin: float
    resolution: float
    reach: float
    value: float
    is_open: bool = True
    is_outside: bool = False

    @classmethod
    def of(cls, distribution: Distribution, side: _Side) -> Self:
        pixels = distribution.pixels
        values, ranks = distribution._ranked_sample(side)
        total = distribution.count if side.keep is None else float(np.dot(side.keep, pixels.weight))
        search = cls(
            side,
            values,
            ranks,
            total,
            float(pixels.high.max() - pixels.low.min()) + distribution.step,
            0.5 * distribution.step,
            0.005 + 2 / len(values),
            float(np.interp(side.fraction, ranks, values)),
        )
        search._bracket()
        return search

    @property
    def edges(self) -> list[tuple[Bracket, float, float]]:
        """Brackets, signs and offsets of the values that are counted below."""
        center, keep = self.side.center, self.side.keep
        if center is None:
            return [(Bracket(self.low, self.high, keep), 1.0, 0.0)]
        return [
            (Bracket(center + self.low, center + self.high, keep), 1.0, center),
            (Bracket(center - self.high, center - self.low, keep), -1.0, center),
        ]

    def widen(self) -> bool:
        """Search again in a wider bracket; `False` if it holds all already."""
        if self.reach > 1:
            return False
        self.reach *= 4
        self.value = float(np.interp(self.side.fraction, self.ranks, self.values))
        self._bracket()
        self.is_open, self.is_outside = True, False
        return True

    def _bracket(self) -> None:
        low, high = self.side.fraction - self.reach, self.side.fraction + self.reach
        self.low, self.high = (float(v) for v in np.interp([low, high], self.ranks, self.values))
        self.density = 2 * self.reach * self.total / max(self.high - self.low, 2 * self.resolution)
        if low <= self.ranks[0]:
            self.low -= self.margin
        if high >= self.ranks[-1]:
            self.high += self.margin
        self.floor, self.ceiling = -math.inf, math.inf
        self.is_smooth = False
        self.previous: tuple[float, float] | None = None
        self.steps = 0

    def advance(self, count: float) -> None:
        """Move on, by the count for the present value."""
        value = self.value
        # Half a pixel is as good as an order statistic can be.
        tolerance = max(_RANK_TOLERANCE * self.total, 0.5)
        excess = count - self.side.fraction * self.total
        first = self.previous is None
        self.steps += 1
        if (abs(excess) <= tolerance and not first) or self.steps > _MAX_STEPS:
            self.is_open = False
            return
        if excess < 0:
            self.floor = value
        else:
            self.ceiling = value
        self.is_outside = self.floor >= self.high or self.ceiling <= self.low
        if self.is_outside or self.ceiling - self.floor <= self.resolution:
            self.is_open = False
            return
        if self.previous is not None:
            rise = (excess - self.previous[1]) * (value - self.previous[0])
            if rise > 0:
                density = rise / (value - self.previous[0]) ** 2
                self.is_smooth = 0.5 < density / self.density < 2
                self.density = density
        self.previous = value, excess
        low, high = max(self.low, self.floor), min(self.high, self.ceiling)
        self.value = value - excess / self.density
        if low < self.value < high:
            # The error left is of the order of the product of the last two.
            self.is_open = not self.is_smooth or abs(excess) > max(_SECANT_IS_ENOUGH * self.total, tolerance)
        if self.steps > 8 or not low < self.value < high:
            # An end of the bracket that is not known to be one comes first.
            if math.isfinite(self.ceiling - self.floor):
                self.value = 0.5 * (self.floor + self.ceiling)
            else:
                self.value = high if self.ceiling == math.inf else low
