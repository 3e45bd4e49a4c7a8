# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("Distribution",)

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ._lattice import Lattice

# A distance is sought among so many, so many times: 30 bits in all.
_POINTS = 65
_BISECTIONS = 5
# What is told apart: a share of the range, and a small part of the distance of
# neighbouring numbers, as a share of a number. And what does not divide by zero.
_RESOLUTION = 1e-9
_FLOAT32, _FLOAT64 = 2.0**-32, 2.0**-50
_TINY = 1e-200


@dataclass(frozen=True, eq=False)
class Distribution:
    """The cumulative distribution of pixels, linear between values.

    Pixels of a sample stand for those about them: their values are taken to be
    spread evenly, by as much as they change across them. Each begins to add
    pixels at one value and ends at another.

    Attributes
    ----------
    values
        Values in ascending order, ``float64``, shape (n,).
    below
        Pixels below each value, shape (n,).
    count
        Number of pixels.
    is_exact
        Whether the values are those of all pixels.
    is_float32
        Whether pixels are ``float32``.
    ends, rises, order
        Of a sample: where pixels of it begin or end, ascending, how much the
        density of pixels changes there, and the number of each end among all
        begins and then all ends; shape (n,).
    """

    values: np.ndarray
    below: np.ndarray
    count: float
    is_exact: bool
    is_float32: bool
    ends: np.ndarray
    rises: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, lattice: Lattice) -> Self:
        """Take the pixels of a lattice."""
        is_float32 = lattice.model.dtype is np.float32
        if lattice.is_exact:
            values = np.sort(lattice.pixels, axis=None).astype(np.float64)
            none = np.empty(0)
            return cls(values, np.arange(len(values)), len(values), True, is_float32, none, none, none)
        middle, spread, number = (part.ravel() for part in lattice.shares)
        # What is the same everywhere still rises from none to all.
        spread = np.maximum(spread, np.abs(middle) * (_FLOAT32 if is_float32 else _FLOAT64))
        spread = np.maximum(spread, _RESOLUTION * np.ptp(middle) + _TINY)
        ends = np.concatenate([middle - spread, middle + spread])
        order = _argsort(ends)
        rise = number / (2.0 * spread)
        ends, rises = ends[order], np.concatenate([rise, -rise])[order]
        below = _sum_up(ends, rises)
        # Steps are so narrow that sums of them are off in the last digits.
        below *= number.sum() / below[-1]
        # No pixel is beyond those of the sample, but by next to nothing.
        values = np.clip(ends, lattice.pixels.min(), lattice.pixels.max())
        return cls(values, below, float(below[-1]), False, is_float32, ends, rises, order)

    def median_of(self, part: np.ndarray) -> float:
        """Find the median of a part of the sample: ``bool``, in the shape of its shares."""
        kept = np.flatnonzero(np.tile(part.ravel(), 2)[self.order])
        below = _sum_up(self.ends[kept], self.rises[kept])
        return self._as_pixels(np.interp([0.5 * below[-1]], below, self.values[kept]))[0]

    def quantiles(self, fractions: Sequence[float]) -> list[float]:
        """Find quantiles at fractions of the pixels, from 0 to 1."""
        if self.is_exact:
            return [float(v) for v in np.quantile(self.values, fractions)]
        return self._as_pixels(np.interp(np.multiply(fractions, self.count), self.below, self.values))

    def _as_pixels(self, values: np.ndarray) -> list[float]:
        # Zero, which many pixels may have, is spread like all values.
        values[np.abs(values) <= 2 * self._resolution] = 0.0
        return [float(v) for v in (values.astype(np.float32) if self.is_float32 else values)]

    @property
    def median(self) -> float:
        """The median of the pixels."""
        return self.quantiles([0.5])[0]

    def median_absolute_deviation(self) -> float:
        """Find the median distance of the pixels from their median."""
        median = self.median
        if self.is_exact:
            return float(np.median(np.abs(self.values - median)))

        low, high = 0.0, float(max(median - self.values[0], self.values[-1] - median))
        for _ in range(_BISECTIONS):
            distances = np.linspace(low, high, _POINTS)
            within = self._below(median + distances) - self._below(median - distances)
            at = min(max(int(within.searchsorted(0.5 * self.count)), 1), _POINTS - 1)
            low, high = float(distances[at - 1]), float(distances[at])
        return high

    @property
    def _resolution(self) -> float:
        return _RESOLUTION * float(np.ptp(self.values))

    def _slack(self, values: np.ndarray) -> np.ndarray:
        """Return by how much what has a value itself is spread at most."""
        share = _FLOAT32 if self.is_float32 else _FLOAT64
        return np.asarray(2 * np.maximum(share * np.abs(values), self._resolution))

    def _below(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        return np.interp(values, self.values, self.below)

    def fractions_below(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Tell which fraction of the pixels lies below each value."""
        values = np.asarray(values, dtype=np.float64)
        if self.is_exact:
            return np.searchsorted(self.values, values) / self.count
        if self.is_float32:
            # What is rounded to a number below has been below the middle
            # between that and the next.
            above = values.astype(np.float32)
            above = np.where(above < values, np.nextafter(above, np.float32(np.inf)), above)
            lower = np.nextafter(above, np.float32(-np.inf))
            values = np.minimum(0.5 * (above.astype(np.float64) + lower), values - 2 * self._resolution)
        else:
            values = values - self._slack(values)
        return self._below(values) / self.count

    def histogram(self, edges: np.ndarray) -> np.ndarray:
        """Count pixels between edges, ``int64``, as `numpy.histogram` does.

        The last bin has its right edge, too.
        """
        below = self.fractions_below(edges) * self.count
        # Up to and with the last edge.
        last = np.asarray(edges[-1:], dtype=np.float64)
        if self.is_exact:
            below[-1] = np.searchsorted(self.values, last, "right")[0]
        else:
            below[-1] = self._below(last + self._slack(last))[0]
        return np.diff(np.rint(below)).astype(np.int64)


def _sum_up(ends: np.ndarray, rises: np.ndarray) -> np.ndarray:
    """Count the pixels below each end, given how their density changes at each."""
    below = np.zeros(len(ends))
    np.cumsum(np.cumsum(rises[:-1]) * np.diff(ends), out=below[1:])
    return below


def _argsort(values: np.ndarray) -> np.ndarray:
    """Return the order of numbers that are not all alike.

    16 bits of them are sorted by their digits, and then what is nearly in order:
    a sixth of the time of a sort, where no few numbers are far from the others.
    """
    low, high = float(values.min()), float(values.max())
    order = np.argsort(((values - low) * (65535 / (high - low))).astype(np.uint16), kind="stable")
    return np.asarray(order[np.argsort(values[order], kind="stable")])
