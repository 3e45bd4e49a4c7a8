# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Order statistics of a background's pixels, counted strip by strip."""

from __future__ import annotations

__all__ = ("Distribution",)

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from .._compiled import Window
from ._counting import StripPixels
from ._rounding import PixelRounding
from ._strips import StripGrid

# A quantile is good when its rank is off by no more than this.
_RANK_TOLERANCE = 2e-6
_MAX_STEPS = 60
# From so many times the tolerance on, a step of a secant is good unseen, where
# the count rises steadily.
_LAST_STEP = 4
_SAMPLE_SIZE = 2048


@dataclass(frozen=True, eq=False)
class Distribution:
    """The values of the pixels of some strips.

    Attributes
    ----------
    reference : `float`
        What all values are relative to.
    pixels : `StripPixels`
        The strips.
    is_exact : `bool`
        Whether each strip is a pixel.
    step : `float`
        Distance of neighbouring ``float32`` numbers at the level.
    rounding : `PixelRounding`
        How pixels are rounded.
    """

    reference: float
    pixels: StripPixels
    is_exact: bool
    step: float
    rounding: PixelRounding

    @classmethod
    def of(cls, grid: StripGrid) -> Self:
        """Take the pixels of strips.

        Parameters
        ----------
        grid : `StripGrid`
            The strips.

        Returns
        -------
        distribution : `Distribution`
            The distribution.
        """
        step = float(np.spacing(np.float32(max(abs(grid.reference), 1e-30))))
        return cls(grid.reference, StripPixels(grid), grid.is_exact, step, PixelRounding.of(grid.model))

    @cached_property
    def count(self) -> float:
        """Number of pixels (`float`)."""
        return self.pixels.count

    def counts_below(self, values: Sequence[float]) -> list[float]:
        """Count pixels below values.

        Parameters
        ----------
        values : `~collections.abc.Sequence` [`float`]
            The values.

        Returns
        -------
        counts : `list` [`float`]
            Number of pixels less than each value.
        """
        if self.is_exact:
            relative = np.array(values) - self.reference
            return [float(n) for n in np.searchsorted(self._ordered, relative)]
        edges = [self.rounding.edge(value) - self.reference for value in values]
        return [self.pixels.window(edge, edge).count_below(edge) for edge in edges]

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
            return [_quantile(self._ordered, f) + self.reference for f in fractions]
        return [self._pixel_near(self._find(fraction)) for fraction in fractions]

    def _pixel_near(self, value: float) -> float:
        """Return the pixel that a quantile is; of a plateau, its value."""
        levels, strips, rows = self._plateaus
        if len(levels):
            nearest = int(np.abs(levels - value).argmin())
            if abs(levels[nearest] - value) <= self.step:
                grid = self.pixels.grid
                row = grid.y.samples[rows[nearest] : rows[nearest] + 1]
                return float(grid.pixels(row, grid.x.edges[strips[nearest]][np.newaxis])[0, 0])
        return self.rounding.pixel(value + self.reference)

    @cached_property
    def _plateaus(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Blocks that do not vary: their level, strip and first row."""
        blocks = self.pixels.grid.blocks
        strip, block = np.nonzero(blocks.high - blocks.low <= 0.01 * self.step)
        return blocks.low[strip, block], strip, self.pixels.grid.y.blocks[block]

    @cached_property
    def _ordered(self) -> np.ndarray:
        """The pixels in order, where each strip is one."""
        return np.sort(self.pixels.sample, axis=None)

    @property
    def median(self) -> float:
        """The median of the pixels (`float`)."""
        return self.quantiles([0.5])[0]

    def medians(self, parts: Sequence[np.ndarray]) -> list[float]:
        """Find the medians of parts of the pixels.

        Parameters
        ----------
        parts : `~collections.abc.Sequence` [`numpy.ndarray`]
            The blocks of each part, ``bool``, in the shape of their grid; none
            is empty.

        Returns
        -------
        medians : `list` [`float`]
            The medians.
        """
        if self.is_exact:
            ordered = (np.sort(self.pixels.sample[part]) for part in parts)
            return [_quantile(values, 0.5) + self.reference for values in ordered]
        return [self._find(0.5, keep=part) + self.reference for part in parts]

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
            return _quantile(np.sort(np.abs(self.pixels.sample - np.float32(offset)), axis=None), 0.5)
        distance = self._find(0.5, center=offset)
        return self.rounding.pixel(center + distance) - center

    def _find(self, fraction: float, keep: np.ndarray | None = None, center: float | None = None) -> float:
        """Find where a fraction of the pixels is reached, of all or of the
        blocks to keep: of those below a value, or within a distance of a
        centre. Values are relative to the reference.
        """
        values, ranks = self._ranked_sample(keep, center)
        weight = self.pixels.weight
        total = self.count if keep is None else float(weight[keep].sum())
        margin = self.pixels.grid.spread + self.step
        reach = 0.003 + 2 / len(values)
        while True:
            guess, low, high = np.interp(
                [fraction, fraction - reach, fraction + reach], ranks, values
            ).tolist()
            resolution = 0.5 * self.step
            search = _Search(
                target=fraction * total,
                low=low if fraction - reach > ranks[0] else low - margin,
                high=high if fraction + reach < ranks[-1] else high + margin,
                resolution=resolution,
            )
            windows = self._windows(search.low, search.high, keep, center)
            share = min(fraction + reach, 1.0) - max(fraction - reach, 0.0)
            density = share * total / max(high - low, 2 * resolution)
            # Half a pixel is as good as an order statistic can be.
            tolerance = max(_RANK_TOLERANCE * total, 0.5)
            found = search.run(_counter(windows, center), guess, density, tolerance)
            if found is not None:
                return found
            if reach > 1:
                return guess
            reach *= 4
            del windows  # before the next are made

    def _windows(
        self, low: float, high: float, keep: np.ndarray | None, center: float | None
    ) -> list[Window]:
        """Make what counts pixels for values in a bracket, or for distances
        from a centre.
        """
        brackets = (
            [(low, high)]
            if center is None
            else [(center + low, center + high), (center - high, center - low)]
        )
        return [self.pixels.window(*bracket, keep) for bracket in brackets]

    def _ranked_sample(self, keep: np.ndarray | None, center: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Sort the means of some strips, and tell the fraction of the pixels
        up to each.
        """
        if keep is None and center is None:
            return self._ranked_means
        # An odd step does not fall in with the rows.
        every = max(1, self.pixels.sample.size // _SAMPLE_SIZE) | 1
        values, weights = (a.ravel()[::every] for a in (self.pixels.sample, self.pixels.weight))
        if keep is not None:
            some = keep.ravel()[::every]
            values, weights = values[some], weights[some]
            if not len(values):
                values, weights = self.pixels.sample[keep], self.pixels.weight[keep]
        if center is not None:
            values = np.abs(values - np.float32(center))
        return _ranked(values, weights)

    @cached_property
    def _ranked_means(self) -> tuple[np.ndarray, np.ndarray]:
        return _ranked(self.pixels.sample.ravel(), self.pixels.weight.ravel())


def _counter(windows: Sequence[Window], center: float | None) -> Callable[[float], float]:
    """Count pixels below a value, or within a distance of a centre."""
    if center is None:
        return windows[0].count_below
    above, below = windows
    return lambda distance: above.count_below(center + distance) - below.count_below(center - distance)


def _ranked(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(values)
    ranks = np.cumsum(weights[order])
    ranks -= 0.5 * weights[order]
    ranks /= weights.sum()
    return values[order], ranks


def _quantile(ordered: np.ndarray, fraction: float) -> float:
    """Interpolate between order statistics, as numpy does by default."""
    place = fraction * (len(ordered) - 1)
    first = min(int(place), len(ordered) - 1)
    low, high = (float(ordered[min(i, len(ordered) - 1)]) for i in (first, first + 1))
    return low + (place - first) * (high - low)


@dataclass(frozen=True)
class _Search:
    """A search for the value where a rising count reaches a target, by
    secants and bisection.

    Attributes
    ----------
    target : `float`
        The count.
    low, high : `float`
        Where the value should be.
    resolution : `float`
        How far off the value may be, whatever the count.
    """

    target: float
    low: float
    high: float
    resolution: float

    def run(
        self, count: Callable[[float], float], value: float, density: float, tolerance: float
    ) -> float | None:
        """Search for the value.

        Parameters
        ----------
        count : `~collections.abc.Callable`
            Counts the pixels up to a value.
        value : `float`
            Where to begin.
        density : `float`
            About how the count rises with the value.
        tolerance : `float`
            How far off the count may be.

        Returns
        -------
        value : `float` or `None`
            The value; `None` if it is not between ``low`` and ``high``.
        """
        floor, ceiling = -math.inf, math.inf
        previous: tuple[float, float] | None = None
        for step in range(_MAX_STEPS):
            excess = count(value) - self.target
            if abs(excess) <= tolerance:
                break
            if excess < 0:
                floor = value
            else:
                ceiling = value
            if floor >= self.high or ceiling <= self.low:
                return None
            if ceiling - floor <= self.resolution:
                break
            if previous is not None:
                measured = _density(previous, (value, excess))
                # Two counts that are near one another tell of what is between
                # them alone.
                if 0.5 * density < measured < 2 * density:
                    steady = 0.75 * density < measured < 1.3 * density
                    density = measured
                    if steady and abs(excess) <= _LAST_STEP * tolerance:
                        return value - excess / density
            previous = value, excess
            value -= excess / density
            if step < 8 and max(self.low, floor) < value < min(self.high, ceiling):
                continue
            # An end of the bracket that is not known to be one comes first.
            if math.isfinite(ceiling - floor):
                value = 0.5 * (floor + ceiling)
            else:
                value = self.high if ceiling == math.inf else self.low
        return value


def _density(one: tuple[float, float], two: tuple[float, float]) -> float:
    return (two[1] - one[1]) / (two[0] - one[0])
