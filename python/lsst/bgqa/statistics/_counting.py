# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""How many pixels of strips lie below given values."""

from __future__ import annotations

__all__ = ("StripPixels", "Window")

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from ._axes import LEGENDRE
from ._strips import StripGrid

# Less than any square of a slope, but not zero.
_TINY = np.float32(1e-37)
# A place outside of -1 to 1.
_OUTSIDE = np.float32(1.2)
# Blocks whose strips are halved, and then counted, at a time: few enough to
# stay in a core's cache.
_BLOCKS_AT_A_TIME = 1 << 9
# Parts whose pixels are counted at a time.
_PARTS_BY_PIXEL = 1 << 9
# Of how many pixels one part beside a turning point may be off by some.
_PIXELS_PER_TURN = 4_000_000


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
    def _lengths(self) -> np.ndarray:
        return self.grid.x.lengths.astype(np.float32)

    @cached_property
    def scale(self) -> np.float32:
        """What brings differences of values to the order of 1 (`numpy.float32`):
        squares of them are then in the range of ``float32``.
        """
        return np.float32(2.0 ** -math.frexp(self.grid.spread)[1])

    @cached_property
    def sample(self) -> np.ndarray:
        """Level of the strip in the middle of each block (`numpy.ndarray` of
        ``float32``, shape (strips in a row, blocks of rows)).
        """
        return np.asarray(self.grid.level[:, self.grid.y.blocks + self.grid.y.block_sizes // 2])

    @cached_property
    def count(self) -> float:
        """Number of pixels (`float`)."""
        return float(self.weight.sum())

    def window(self, low: float, high: float, keep: np.ndarray | None = None, every: int = 1) -> Window:
        """Prepare to count pixels below values in a bracket.

        Parameters
        ----------
        low, high : `float`
            The bracket.
        keep : `numpy.ndarray`, optional
            The blocks of strips that count, ``bool``; by default all.
        every : `int`, optional
            Count but one in so many strips of a block, for all.

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
            strips = self.grid.strips_of(found[start : start + _BLOCKS_AT_A_TIME], every)
            pixels, parts = self._halves(*strips, first * self.scale, last * self.scale)
            count += pixels
            pieces.append(parts)
        return Window.of(count, pieces, self.scale, int(self.count / _PIXELS_PER_TURN))

    def _halves(
        self, strip: np.ndarray, row: np.ndarray, rows: np.ndarray, low: np.floating, high: np.floating
    ) -> tuple[float, Parts]:
        """Halve strips, and select the halves that reach into a bracket;
        count the pixels of those below.
        """
        coefficients = self.grid.coefficients
        strips = np.take(coefficients.reshape(4, -1), strip * coefficients.shape[2] + row, axis=1)
        n = len(strip)
        cubics = np.empty((4, 2 * n), dtype=np.float32)
        for half, table in enumerate(_HALVE * self.scale):
            np.matmul(table, strips, out=cubics[:, half * n : (half + 1) * n])
        value, slope, curve, cubic = cubics
        # Besides a line, a cubic stays within 0.4 of its value at the end.
        reach = np.float32(0.4) * np.abs(cubic)
        reach += np.abs(curve)
        reach += np.abs(slope)
        below = value + reach < low
        near = value - reach <= high
        near ^= below
        length = self._lengths[strip]
        middle = np.floor(0.5 * length)
        count = _sum(below[:n] * (middle * rows)) + _sum(below[n:] * ((length - middle) * rows))
        chosen = np.flatnonzero(near)
        second = chosen >= n
        which = chosen - n * second
        length, middle = length[which], middle[which]
        parts = Parts.of(
            np.take(cubics, chosen, axis=1),
            center=length * (0.25 + np.float32(0.5) * second) - np.float32(0.5),
            scale=0.25 * length,
            start=middle * second,
            stop=np.where(second, length, middle),
            rows=rows[which],
        )
        return count, parts


def _sum(values: np.ndarray) -> float:
    """Sum in ``float64``, and in an order that threads do not change."""
    return float(values.sum(dtype=np.float64))


def _halving() -> np.ndarray:
    """Tabulate the coefficients of a strip's halves, shape (2, 4, 4)."""
    table = np.zeros((2, 4, 4))
    for half, side in enumerate((-1, 1)):
        for power in range(4):
            for k in range(power + 1):  # t = (u + side) / 2
                table[half, k, power] = math.comb(power, k) * side ** (power - k) / 2**power
    table = table @ LEGENDRE.T
    # What a line can follow of the cubic term belongs to the slope.
    table[:, 1] += _LEANING * table[:, 3]
    return table.astype(np.float32)


# Slope of the line that is nearest to u^3.
_LEANING = np.float32(0.6)
_HALVE = _halving()


class Parts(NamedTuple):
    """Halves of strips, nearly quadratic about their centres.

    Attributes
    ----------
    value, slope, curve : `numpy.ndarray`
        Coefficients of the powers of u, from -1 to 1, that of the first
        twice, ``float32``, shape (n,).
    cubic : `numpy.ndarray`
        Coefficient of u^3 - 0.6 u.
    inverse : `numpy.ndarray`
        -0.5 / curve.
    center, scale : `numpy.ndarray`
        Where u is 0, and its unit, in pixels from the strip's first.
    start, stop : `numpy.ndarray`
        First pixel and the one after the last.
    weight : `numpy.ndarray`
        Rows that each stands for, less than 0 where pixels
        between the roots are those that are not below.
    """

    value: np.ndarray
    slope: np.ndarray
    curve: np.ndarray
    cubic: np.ndarray
    inverse: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(
        cls,
        cubics: np.ndarray,
        center: np.ndarray,
        scale: np.ndarray,
        start: np.ndarray,
        stop: np.ndarray,
        rows: np.ndarray,
    ) -> Self:
        """Prepare halves of strips for counting.

        Parameters
        ----------
        cubics : `numpy.ndarray`
            Value, slope, curve and cubic, ``float32``, shape (4, n).
        center, scale, start, stop : `numpy.ndarray`
            As they are kept.
        rows : `numpy.ndarray`
            Rows that each stands for.

        Returns
        -------
        parts : `Parts`
            The halves.
        """
        value, slope, curve, cubic = cubics
        level = (slope == 0) & (curve == 0)
        if level.any():
            # The root is far to one side; a value is not below itself.
            slope = np.where(level, _TINY, slope)
            value = np.where(level, np.nextafter(value, np.float32(np.inf)), value)
        with np.errstate(divide="ignore", over="ignore"):
            inverse = np.float32(-0.5) / curve
        down = inverse > 0
        return cls(
            2 * value,
            slope,
            2 * curve,
            cubic,
            inverse,
            center,
            scale,
            start,
            stop,
            weight=np.where(down, -rows, rows).astype(np.float32),
        )


class Window(NamedTuple):
    """What it takes to count pixels below values in a bracket.

    Attributes
    ----------
    base : `float`
        Pixels that lie below the bracket, and all of the parts that curve
        down.
    pieces : `list` [`Parts`]
        The halves of strips that reach into it, to scale.
    scale : `numpy.float32`
        The scale.
    few : `int`
        How many parts beside a turning point do not matter.
    """

    base: float
    pieces: list[Parts]
    scale: np.float32
    few: int

    @classmethod
    def of(cls, below: float, pieces: list[Parts], scale: np.float32, few: int) -> Self:
        """Prepare to count.

        Parameters
        ----------
        below : `float`
            Pixels that lie below the bracket.
        pieces : `list` [`Parts`]
            What reaches into it.
        scale : `numpy.float32`
            The scale of the parts.
        few : `int`
            How many parts beside a turning point do not matter.

        Returns
        -------
        window : `Window`
            The window.
        """
        base = below
        for parts in pieces:
            base -= _sum((parts.stop - parts.start) * np.minimum(parts.weight, 0))
        return cls(base, pieces, scale, few)

    def count_below(self, value: float) -> float:
        """Count the pixels below a value.

        Parameters
        ----------
        value : `float`
            The value.

        Returns
        -------
        count : `float`
            Number of pixels.
        """
        twice = 2 * np.float32(value) * self.scale
        return self.base + sum(_change_below(parts, twice, self.few) for parts in self.pieces)


def _change_below(parts: Parts, twice: np.floating, few: int) -> float:
    """Count the pixels of parts below half of ``twice``, less those of the
    parts that curve down.
    """
    rest = twice - parts.value
    square = parts.curve * rest
    square += parts.slope * parts.slope
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        n = _between_roots(parts, rest, square)
    # Beside a turning point the cubic is none that steps can follow.
    near = np.flatnonzero(np.abs(square) < np.square(0.5 * parts.curve))
    for start in range(0, len(near) if len(near) > few else 0, _PARTS_BY_PIXEL):
        some = near[start : start + _PARTS_BY_PIXEL]
        n[some] = _between_by_pixel(Parts(*(array[some] for array in parts)), 0.5 * twice)
    return _sum(n * parts.weight)


def _between_roots(parts: Parts, rest: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Count the pixels of parts between the two places where a value is
    reached; tell ``square`` from the slope there.
    """
    root = np.maximum(square, 0)
    np.sqrt(root, out=root)
    np.copysign(root, parts.slope, out=root)
    # The root that does not cancel, and the other by their product; the
    # second is that of the line where the curve vanishes.
    places = np.empty((2, len(root)), dtype=np.float32)
    q = root + parts.slope
    np.multiply(q, parts.inverse, out=places[0])
    np.divide(rest, q, out=places[1])
    np.minimum(places, _OUTSIDE, out=places)
    np.maximum(places, -_OUTSIDE, out=places)
    # A step of Newton's for the cubic; the slope at the roots is known.
    # Where it is small, the quadratic is as good.
    shift = places * places
    shift -= _LEANING
    shift *= places
    step = np.multiply(root, parts.cubic, out=q)
    root *= root
    stiff = 8 * parts.cubic
    stiff *= stiff
    root += stiff
    root += _TINY
    step /= root
    shift *= step
    places[0] += shift[0]
    places[1] -= shift[1]
    places *= parts.scale
    places += parts.center
    np.maximum(places, parts.start, out=places)
    np.minimum(places, parts.stop, out=places)
    np.ceil(places, out=places)
    n = places[0]
    n -= places[1]
    np.abs(n, out=n)
    n *= square >= 0
    return n


def _between_by_pixel(parts: Parts, value: np.floating) -> np.ndarray:
    """Count the pixels of few parts between the two places where a value is
    reached, one by one.
    """
    lengths = parts.stop - parts.start
    pixel = parts.start[:, np.newaxis] + np.arange(lengths.max(), dtype=np.float32)
    u = (pixel - parts.center[:, np.newaxis]) / parts.scale[:, np.newaxis]
    total = parts.cubic[:, np.newaxis] * u
    total += 0.5 * parts.curve[:, np.newaxis]
    total *= u
    total += (parts.slope - _LEANING * parts.cubic)[:, np.newaxis]
    total *= u
    below = total < (value - 0.5 * parts.value)[:, np.newaxis]
    below &= pixel < parts.stop[:, np.newaxis]
    n = below.sum(axis=1)
    return np.where(parts.weight < 0, lengths - n, n)
