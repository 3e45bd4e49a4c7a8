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
    spread evenly, by as much as they change across them.

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
    """

    values: np.ndarray
    below: np.ndarray
    count: float
    is_exact: bool
    is_float32: bool

    @classmethod
    def of(cls, lattice: Lattice, *parts: tuple[slice, slice]) -> Self:
        """Take the pixels of a lattice, or of some rectangles that it is cut at."""
        parts = parts or ((slice(0, lattice.pixels.shape[0]), slice(0, lattice.pixels.shape[1])),)
        is_float32 = lattice.model.dtype is np.float32
        if lattice.is_exact:
            values = np.concatenate([lattice.pixels[part].ravel() for part in parts])
            values = np.sort(values).astype(np.float64)
            return cls(values, np.arange(len(values)), len(values), True, is_float32)
        if lattice.is_coarse:
            middle, number = (
                np.concatenate([of_all[part].ravel() for part in parts]).astype(np.float64)
                for of_all in (lattice.pixels, lattice.weights)
            )
            spread = np.zeros(len(middle))
        else:
            every = 2 if lattice.pairs else 1
            shares = [tuple(slice(one.start // every, one.stop // every) for one in part) for part in parts]
            middle, spread, number = (
                np.concatenate([of_all[share].ravel() for share in shares]) for of_all in lattice.shares
            )
        # What is the same everywhere still rises from none to all.
        spread = np.maximum(spread, np.abs(middle) * (_FLOAT32 if is_float32 else _FLOAT64))
        spread = np.maximum(spread, _RESOLUTION * np.ptp(middle) + _TINY)
        ends = np.concatenate([middle - spread, middle + spread])
        order = _argsort(ends)
        values = ends[order]
        rise = number / (2.0 * spread)
        density = np.cumsum(np.concatenate([rise, -rise])[order])
        below = np.zeros(len(values))
        np.cumsum(density[:-1] * np.diff(values), out=below[1:])
        # Steps are so narrow that sums of them are off in the last digits.
        below *= number.sum() / below[-1]
        # No pixel is beyond those of the sample, but by next to nothing.
        some = [lattice.pixels[part] for part in parts]
        values = np.clip(values, min(map(np.min, some)), max(map(np.max, some)))
        return cls(values, below, float(below[-1]), False, is_float32)

    def quantiles(self, fractions: Sequence[float]) -> list[float]:
        """Find quantiles at fractions of the pixels, from 0 to 1."""
        if self.is_exact:
            return [float(v) for v in np.quantile(self.values, fractions)]
        values = np.interp(np.multiply(fractions, self.count), self.below, self.values)
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
            at = int(np.clip(np.searchsorted(within, 0.5 * self.count), 1, _POINTS - 1))
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


def _argsort(values: np.ndarray) -> np.ndarray:
    """Return the order of numbers that are not all alike.

    16 bits of them are sorted by their digits, and then what is nearly in order:
    a sixth of the time of a sort, where no few numbers are far from the others.
    """
    low, high = float(values.min()), float(values.max())
    order = np.argsort(((values - low) * (65535 / (high - low))).astype(np.uint16), kind="stable")
    return np.asarray(order[np.argsort(values[order], kind="stable")])
