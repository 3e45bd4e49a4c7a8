# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""How many pixels of strips lie below given values."""

from __future__ import annotations

__all__ = ("StripPixels", "Window")

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ._strips import LEGENDRE, StripGrid

# Less than any square of a slope, but not zero.
_TINY = np.float32(1e-37)
# A place outside of -1 to 1.
_OUTSIDE = np.float32(1.2)
# Blocks whose strips are halved at a time.
_BLOCKS_AT_A_TIME = 1 << 10
# Parts that are counted at a time: few enough to stay in a core's cache.
_PARTS_AT_A_TIME = 1 << 14


@dataclass(frozen=True, eq=False)
class StripPixels:
    """The pixels of strips, as counting needs them.

    Attributes
    ----------
    grid : `StripGrid`
        The strips.
    """

    grid: StripGrid

    @cached_property
    def weight(self) -> np.ndarray:
        """Pixels in each block (`numpy.ndarray` of ``float64``, shape
        (strips in a row, blocks of rows)).
        """
        return np.multiply.outer(self.grid.x.lengths, self.grid.blocks.rows)

    @cached_property
    def scale(self) -> np.float32:
        """What brings differences of values to the order of 1 (`numpy.float32`):
        squares of them are then in the range of ``float32``.
        """
        spread = float(self.grid.blocks.high.max()) - float(self.grid.blocks.low.min())
        return np.float32(2.0 ** -math.frexp(spread)[1])

    @cached_property
    def sample(self) -> np.ndarray:
        """Level of the strip in the middle of each block (`numpy.ndarray` of
        ``float32``, shape (strips in a row, blocks of rows)).
        """
        ends = np.append(self.grid.y.blocks[1:], self.grid.level.shape[1])
        return np.asarray(self.grid.level[:, (self.grid.y.blocks + ends) // 2])

    @property
    def count(self) -> float:
        """Number of pixels (`float`)."""
        return float(self.weight.sum())

    def window(self, low: float, high: float, keep: np.ndarray | None = None) -> Window:
        """Prepare to count pixels below values in a bracket.

        Parameters
        ----------
        low, high : `float`
            The bracket.
        keep : `numpy.ndarray`, optional
            The blocks of strips that count, ``bool``; by default all.

        Returns
        -------
        window : `Window`
            What reaches into the bracket.
        """
        first, last = np.float32(low), np.float32(high)
        blocks = self.grid.blocks
        below = blocks.high < first
        near = blocks.low <= last
        near ^= below  # whatever is below the bracket begins below its end
        if keep is not None:
            below &= keep
            near &= keep
        # Whole numbers: their sum is exact in whatever order it is made.
        count = float(self.weight[below].sum())
        found = np.flatnonzero(near)
        pieces = []
        for start in range(0, max(len(found), 1), _BLOCKS_AT_A_TIME):
            strips = self.grid.strips_of(found[start : start + _BLOCKS_AT_A_TIME])
            pixels, parts = self._halves(*strips, first, last)
            count += pixels
            pieces.append(parts)
        if len(pieces) > 1:
            parts = Parts(*(np.concatenate(arrays) for arrays in zip(*pieces, strict=True)))
        return Window(count, parts, self.scale)

    def _halves(
        self, strip: np.ndarray, row: np.ndarray, low: np.floating, high: np.floating
    ) -> tuple[float, Parts]:
        """Halve strips, and select the halves that reach into a bracket."""
        coefficients = self.grid.coefficients
        index = strip * coefficients.shape[2]
        index += row
        low, high = low * self.scale, high * self.scale
        cubics = (_HALVE * self.scale) @ coefficients.reshape(4, -1)[:, index]
        value, slope, curve, cubic = np.swapaxes(cubics.reshape(2, 4, -1), 0, 1)
        length = self.grid.x.lengths.astype(np.float32)[strip]
        rows = self.grid.y.weights[row].astype(np.float32)
        middle = np.floor(0.5 * length)
        # Besides a line, a cubic stays within 0.4 of its value at the end.
        reach = np.float32(0.4) * np.abs(cubic)
        reach += np.abs(curve)
        reach += np.abs(slope)
        below = value + reach < low
        near = value - reach <= high
        near ^= below
        count = np.dot(below[0], (middle * rows).astype(np.float64))
        count += np.dot(below[1], ((length - middle) * rows).astype(np.float64))
        first, second = near
        ends = np.concatenate
        parts = Parts(
            value[near],
            slope[near],
            curve[near],
            cubic[near],
            center=ends([(0.25 * length - 0.5)[first], (0.75 * length - 0.5)[second]]),
            scale=ends([0.25 * length[first], 0.25 * length[second]]),
            start=ends([np.zeros(first.sum(), dtype=np.float32), middle[second]]),
            stop=ends([middle[first], length[second]]),
            rows=ends([rows[first], rows[second]]),
        )
        return float(count), parts


def _halving() -> np.ndarray:
    """Tabulate the coefficients of a strip's halves, shape (2 * 4, 4)."""
    table = np.zeros((2, 4, 4))
    for half, side in enumerate((-1, 1)):
        for power in range(4):
            for k in range(power + 1):  # t = (u + side) / 2
                table[half, k, power] = math.comb(power, k) * side ** (power - k) / 2**power
    table = table @ LEGENDRE.T
    # What a line can follow of the cubic term belongs to the slope.
    table[:, 1] += _LEANING * table[:, 3]
    return table.reshape(8, 4).astype(np.float32)


# Slope of the line that is nearest to u^3.
_LEANING = 0.6
_HALVE = _halving()


class Parts(NamedTuple):
    """Halves of strips, nearly quadratic about their centres.

    Attributes
    ----------
    value, slope, curve : `numpy.ndarray`
        Coefficients of the powers of u, from -1 to 1, ``float32``, shape
        (n,).
    cubic : `numpy.ndarray`
        Coefficient of u^3 - 0.6 u.
    center, scale : `numpy.ndarray`
        Where u is 0, and its unit, in pixels from the strip's first.
    start, stop : `numpy.ndarray`
        First pixel and the one after the last.
    rows : `numpy.ndarray`
        Rows that each stands for.
    """

    value: np.ndarray
    slope: np.ndarray
    curve: np.ndarray
    cubic: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    rows: np.ndarray


class Window(NamedTuple):
    """What it takes to count pixels below values in a bracket.

    Attributes
    ----------
    base : `float`
        Pixels that lie below the bracket.
    parts : `Parts`
        The halves of strips that reach into it, to scale.
    scale : `numpy.float32`
        The scale.
    """

    base: float
    parts: Parts
    scale: np.float32

    def count_below(self, value: float, every: int = 1) -> float:
        """Count the pixels below a value.

        Parameters
        ----------
        value : `float`
            The value.
        every : `int`, optional
            Take but one in so many parts, for a first guess.

        Returns
        -------
        count : `float`
            Number of pixels.
        """
        count = 0.0
        for start in range(0, len(self.parts.value), every * _PARTS_AT_A_TIME):
            some = slice(start, start + every * _PARTS_AT_A_TIME, every)
            parts = Parts(*(a[some] for a in self.parts))
            n = _count_between_roots(
                parts, np.float32(value) * self.scale - parts.value, with_turns=every == 1
            )
            n *= parts.rows
            count += float(n.sum(dtype=np.float64))
        return self.base + every * count


def _count_between_roots(parts: Parts, rest: np.ndarray, with_turns: bool) -> np.ndarray:
    """Count the pixels of parts that are less than ``rest`` above the value
    at the centre, with care beside turning points or not.
    """
    slope, curve, cubic = parts.slope, parts.curve, parts.cubic
    lean: np.ndarray | np.float32 = np.float32(_LEANING)
    turn: np.ndarray | np.float32 = np.float32(0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        root = (4 * curve) * rest
        root += slope * slope
        near = np.flatnonzero(np.abs(root) < curve * curve) if with_turns else ()
        if len(near):
            # Beside a turning point, what the cubic is like there counts.
            slope, curve, rest, lean, turn = (
                a.copy() for a in (slope, curve, rest, np.full_like(rest, lean), np.zeros_like(rest))
            )
            at = slope[near] / curve[near]
            at *= np.float32(-0.5)
            np.minimum(at, 1, out=at)
            np.maximum(at, -1, out=at)
            turn[near], lean[near] = at, 0
            part = cubic[near]
            slope[near] -= np.float32(_LEANING) * part + 3 * (part * at) * at
            curve[near] += 3 * (part * at)
            rest[near] -= part * at * at * at
            root[near] = (4 * curve[near]) * rest[near] + slope[near] * slope[near]
        # The root that does not cancel, and the other by their product; the
        # second is that of the line where the curve vanishes.
        np.sqrt(root, out=root)
        np.copysign(root, slope, out=root)
        q = root + slope
        q *= np.float32(-0.5)
        first = q / curve
        second = np.divide(rest, q, out=rest.copy())
        np.negative(second, out=second)
        # A step of Newton's for the cubic; the slope at the roots is known.
        # Where it is small, the quadratic is as good.
        step = root * cubic
        root *= root
        cubic = 8 * cubic
        cubic *= cubic
        root += cubic
        root += _TINY
        step /= root
        for place in (first, second):
            np.minimum(place, _OUTSIDE, out=place)
            np.maximum(place, -_OUTSIDE, out=place)
            beside = place - turn
            shift = beside * beside
            shift -= lean
            shift *= beside
            shift *= step
            place += shift
            place *= parts.scale
            place += parts.center
            np.negative(step, out=step)
    # First pixel after the lower root, and the one at or after the upper.
    low = np.minimum(first, second)
    np.floor(low, out=low)
    low += 1
    high = np.maximum(first, second, out=second)
    np.ceil(high, out=high)
    for end in (low, high):
        np.maximum(end, parts.start, out=end)
        np.minimum(end, parts.stop, out=end)
    n = np.subtract(high, low, out=high)
    np.maximum(n, 0, out=n)
    down, length = curve < 0, parts.stop - parts.start
    np.subtract(length, n, out=n, where=down)
    # No root, or neither slope nor curve: all pixels are on one side.
    lost = np.isnan(n)
    if lost.any():
        n = np.where(lost, np.where(down | ((curve == 0) & (rest > 0)), length, np.float32(0)), n)
    return n
