# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A sample of a background's own pixels, with weights.

Rows and columns are cut into intervals within which a background is smooth:
at the bins' centres, and where something that is measured begins or ends. Of
each interval a few pixels are taken, those nearest to the nodes of the Gauss
rule, with weights that sum polynomials over all its pixels exactly. What is
asked of the pixels is then asked of the sample.
"""

from __future__ import annotations

__all__ = ("Axis", "Lattice", "quadrature")

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Self

import numpy as np

from ..background import BackgroundModel

# Images of up to so many pixels are taken whole.
_MAX_EXACT_PIXELS = 1 << 18
# An axis is cut into this many intervals at least, for the ranks of quantiles:
# a polynomial or a fine grid, and a coarse grid of fewer bins than that.
_LEAST_INTERVALS = 32
_LEAST_OF_COARSE = 64
# Pixels of a sample, where an axis has so few that the other must make up.
_LEAST_PIXELS = 1 << 13
# The C library hands freed memory back to the system unless it has seen blocks
# of this size come and go, and then pages it in for each background anew.
np.empty(1 << 24, dtype=np.uint8)
# Images of up to so many pixels are looked at more closely: their bins may be
# but a few pixels wide.
_LARGE = 1 << 21
# From so many standard deviations on, rounding is no small thing.
_COARSE = 0.03
# How many pixels from the nodes of the Gauss rule others are tried.
_SHIFT = 1
_MAX_TRIED = 4096
# Pixels that are taken of an interval, up to how many intervals of an axis.
_NODES = {6: 640, 4: 1280, 2: 1 << 31}


@dataclass(frozen=True, eq=False)
class Axis:
    """The rows, or the columns, of pixels that are taken.

    Attributes
    ----------
    edges
        First pixel of each interval, and the end, ``int64``, shape (n + 1,).
    pixels
        The pixels, ascending, ``float64``, shape (n, m). An interval of fewer
        than m pixels has them all; its last one then follows again, with no
        weight.
    weights
        How many pixels each stands for, ``float64``, shape (n, m).
    """

    edges: np.ndarray
    pixels: np.ndarray
    weights: np.ndarray

    @classmethod
    def whole(cls, size: int) -> Self:
        """Take all pixels, each as an interval."""
        pixels = np.arange(size, dtype=np.float64)[:, np.newaxis]
        return cls(np.arange(size + 1), pixels, np.ones((size, 1)))

    @classmethod
    def cut(cls, first: int, stop: int, at: Sequence[float] | np.ndarray, least: int) -> Self:
        """Take some pixels of each interval of the pixels from first to stop.

        Intervals end ``at`` cuts, a pixel on a cut coming after it; there are
        ``least`` of them at least.
        """
        cuts = np.ceil(np.asarray(at, dtype=np.float64))
        cuts = cuts[(cuts > first) & (cuts < stop)].astype(np.int64)
        edges = _divide(np.unique(np.concatenate([cuts, [first, stop]])), -(-(stop - first) // least))
        lengths = np.diff(edges)
        m = next(m for m, most in _NODES.items() if len(lengths) <= most)
        kinds, kind = np.unique(lengths, return_inverse=True)
        rules = [quadrature(int(k), m) for k in kinds]
        offsets, weights = (np.array(part)[kind] for part in zip(*rules, strict=True))
        return cls(edges, edges[:-1, np.newaxis] + offsets, weights)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Pixels in each interval (`numpy.ndarray` of ``int64``)."""
        return np.diff(self.edges)

    def shares(self, values: np.ndarray, together: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tell what values the pixels have that those taken stand for.

        Of values at the pixels that are taken, shape (n m, k), it returns the value
        in the middle of what each stands for, half the change across, and the
        number of pixels. If ``together``, every other pixel is taken together with
        the next: there are n m / 2.
        """
        pixels, weights = (part.reshape(-1, 2) for part in (self.pixels, self.weights))
        starts = (self.edges[:-1, np.newaxis] - 0.5 + np.cumsum(self.weights, axis=1) - self.weights).reshape(
            -1, 2
        )
        apart = np.maximum(pixels[:, 1] - pixels[:, 0], 1.0)
        change = (values[1::2] - values[0::2]) / apart[:, np.newaxis]
        if together:
            number = weights.sum(axis=1)
            leaning = starts[:, 0] + 0.5 * number - pixels[:, 0]
            return (
                values[0::2] + change * leaning[:, np.newaxis],
                change * (0.5 * number)[:, np.newaxis],
                number,
            )
        middles, changes = np.empty_like(values), np.empty_like(values)
        for i in range(2):
            leaning = starts[:, i] + 0.5 * weights[:, i] - pixels[:, i]
            middles[i::2] = values[i::2] + change * leaning[:, np.newaxis]
            changes[i::2] = change * (0.5 * weights[:, i])[:, np.newaxis]
        return middles, changes, weights.ravel()


def _divide(edges: np.ndarray, longest: int) -> np.ndarray:
    """Divide intervals that are too long into equal parts."""
    lengths = np.diff(edges)
    parts = -(-lengths // max(longest, 1))
    owner = np.repeat(np.arange(len(lengths)), parts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(parts) - parts, parts)
    return np.append(edges[owner] + within * lengths[owner] // parts[owner], edges[-1])


@lru_cache(maxsize=4096)
def quadrature(k: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose m = 2, 4 or 6 of the k pixels of an interval, and weigh them.

    It returns the pixels, counted from the first, and weights that sum
    polynomials of a degree less than m over all k exactly.

    Notes
    -----
    The pixels are near the nodes of the Gauss-Legendre rule. They lie
    symmetrically, so that odd powers cancel; a polynomial in the square of the
    distance from the middle is summed by its interpolation through the m / 2
    distances. Of the pixels about each node those are chosen that sum the next
    even powers best.
    """
    if k <= m:
        return np.minimum(np.arange(m), k - 1), (np.arange(m) < k).astype(np.float64)
    n = m // 2
    half = 0.5 * ((k + 1) % 2)  # pixels lie at halves or at integers about the middle
    nearest = half + np.rint(0.5 * k * np.polynomial.legendre.leggauss(m)[0][n:] - half)
    shifts = np.array(list(itertools.product(range(-_SHIFT, _SHIFT + 1), repeat=n)))
    distances = nearest + shifts
    apart = np.diff(distances, axis=1, prepend=0.0)
    distances = distances[(apart > 0).all(axis=1) & (distances[:, -1] <= 0.5 * (k - 1))]
    squares = (2.0 * distances / k) ** 2
    moments = _moments(k)
    weights = np.empty_like(squares)
    for i in range(n):
        others = np.delete(squares, i, axis=1)
        power = np.ones((len(squares), 1))  # coefficients of the product of (s - other), ascending
        for other in others.T:
            power = np.pad(power, ((0, 0), (1, 0))) - other[:, np.newaxis] * np.pad(power, ((0, 0), (0, 1)))
        weights[:, i] = (power * moments[:n]).sum(axis=1) / (squares[:, [i]] - others).prod(axis=1)
    # What matters next, to the last of which the Gauss rule would be exact.
    pixels = np.linspace(-1, 1, 2 * min(k, _MAX_TRIED) + 1)[1::2]
    error = sum(
        np.abs((weights * squares**i).sum(axis=1) / k - np.mean(pixels ** (2 * i))) for i in range(n, 2 * n)
    )
    best = int(np.argmin(np.where((weights >= 0).all(axis=1), error, np.inf)))
    distance, weight = distances[best], weights[best]
    distance = np.concatenate([-distance[::-1], distance])
    return 0.5 * (k - 1) + distance, 0.5 * np.concatenate([weight[::-1], weight])


def _moments(k: int) -> np.ndarray:
    """Sums over k pixels of the even powers 0 to 4 of 2 d / k, d being the
    distance from the middle.
    """
    inverse = 1.0 / (k * k)
    return k * np.array([1.0, (1 - inverse) / 3, (1 - inverse) * (1 - 7 / 3 * inverse) / 5])


@dataclass(frozen=True, eq=False)
class Lattice:
    """The pixels at the crossings of some rows and columns.

    Attributes
    ----------
    pixels
        The pixels, as ``BackgroundModel.render`` makes them, shape (rows,
        columns).
    values
        What they are before they are rounded, ``float64``.
    """

    model: BackgroundModel
    y: Axis
    x: Axis
    pixels: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, model: BackgroundModel, cuts_y: Sequence[int], cuts_x: Sequence[int]) -> Self:
        """Take a sample of a background's pixels; all, where there are up to 2^18.

        Axes are cut where something that is measured begins or ends.
        """
        height, width = model.bbox.height, model.bbox.width
        if height * width <= _MAX_EXACT_PIXELS:
            return cls.at(model, Axis.whole(height), Axis.whole(width))
        y = _axis(height, width, cuts_y, [surface.y_breaks for surface in model.surfaces])
        x = _axis(width, height, cuts_x, [surface.x_breaks for surface in model.surfaces])
        return cls.at(model, y, x)

    @classmethod
    def at(cls, model: BackgroundModel, y: Axis, x: Axis) -> Self:
        """Take the pixels at some rows and columns."""
        return cls(model, y, x, *model.sample(y.pixels.ravel(), x.pixels.ravel()))

    @property
    def is_exact(self) -> bool:
        """Whether all pixels are taken."""
        return self.pixels.size == self.model.bbox.area

    @cached_property
    def weights(self) -> np.ndarray:
        """How many pixels each stands for (`numpy.ndarray` of ``float64``,
        shape (rows, columns)).
        """
        return np.multiply.outer(self.y.weights.ravel(), self.x.weights.ravel())

    @cached_property
    def reference(self) -> float:
        """A value among those of the pixels, about which sums are taken."""
        return float(self.pixels[self.pixels.shape[0] // 2, self.pixels.shape[1] // 2])

    @cached_property
    def weighted(self) -> np.ndarray:
        """The pixels less the reference, times their weights
        (`numpy.ndarray` of ``float64``, shape (rows, columns)).
        """
        return (self.pixels - np.float64(self.reference)) * self.weights

    @property
    def is_large(self) -> bool:
        """Whether bins are many pixels wide, as in all but small images."""
        return self.model.bbox.area > _LARGE

    @property
    def pairs(self) -> bool:
        """Whether four pixels of the sample are taken together for the
        distribution.
        """
        return self.is_large and not self.is_coarse

    @cached_property
    def is_coarse(self) -> bool:
        """Whether pixels scatter for being rounded about as much as for what
        they are (`bool`), as where layers cancel.
        """
        return self.model.rounding > _COARSE * float(self.values.std())

    @cached_property
    def shares(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What pixels of the sample stand for: the value in the middle, half the range if
        values are spread evenly, and the number of pixels.

        Each has the sample's shape, or half as many values if they are taken in `pairs`.
        """
        if self.is_coarse:
            return self.pixels.astype(np.float64), np.zeros(self.pixels.shape), self.weights
        middles, by_row, rows = self.y.shares(self.values, self.pairs)
        across, by_column, columns = self.x.shares(np.ascontiguousarray(middles.T), self.pairs)
        if self.pairs:
            by_row = 0.5 * (by_row[:, 0::2] + by_row[:, 1::2])
        middles, number = across.T, np.multiply.outer(rows, columns)
        # Where values change along both axes, they are spread as widely; all in
        # all by so much that the scatter in each cell is that of the sample.
        squares = by_row * by_row + (by_column * by_column).T
        within = self._by_cell(number * squares) / 3
        scatter = self._scatter(self.values, self.weights) - self._scatter(middles, number)
        share = np.divide(scatter, within, out=np.zeros_like(within), where=within > 0).clip(0.0, 1.0)
        m = middles.shape[0] // len(share), middles.shape[1] // share.shape[1]
        spread = squares.reshape(len(share), m[0], share.shape[1], m[1]) * share[:, np.newaxis, :, np.newaxis]
        return middles, np.sqrt(spread).reshape(squares.shape), number

    def _scatter(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Sum squares of deviations from the mean of each cell."""
        deviations = values - np.float64(self.reference)
        weighted = deviations * weights
        sums, count = self._by_cell(weighted), np.multiply.outer(self.y.lengths, self.x.lengths)
        weighted *= deviations
        return self._by_cell(weighted) - sums * sums / count

    def _by_cell(self, values: np.ndarray) -> np.ndarray:
        """Sum over the pixels of each cell that are taken."""
        ny, nx = len(self.y.pixels), len(self.x.pixels)
        rows = np.einsum("nak->nk", values.reshape(ny, -1, values.shape[1]))
        return np.asarray(np.einsum("nka->nk", rows.reshape(ny, nx, -1)))

    def block_means(self, y: Sequence[int], x: Sequence[int]) -> np.ndarray:
        """Average over blocks of pixels, less the reference.

        The axes are cut at the first row and column of each block, and the ends.
        """
        rows, columns = (
            np.searchsorted(axis.pixels.ravel(), edges) for axis, edges in ((self.y, y), (self.x, x))
        )
        part = self.weighted[rows[0] : rows[-1], columns[0] : columns[-1]]
        sums = np.add.reduceat(np.add.reduceat(part, rows[:-1] - rows[0], 0), columns[:-1] - columns[0], 1)
        return np.asarray(sums / np.multiply.outer(np.diff(y), np.diff(x)))


def _axis(size: int, other: int, cuts: Sequence[int], breaks: Sequence[np.ndarray]) -> Axis:
    """Cut an axis where it has to be, and so often that there are enough
    pixels if the other axis has but a few.
    """
    least = _LEAST_INTERVALS
    if any(2 <= len(one) < _LEAST_INTERVALS for one in breaks):
        least = _LEAST_OF_COARSE
    crossing = min(other, _LEAST_INTERVALS * max(_NODES))
    least = max(least, _LEAST_PIXELS // (crossing * max(_NODES)))
    return Axis.cut(0, size, np.concatenate([cuts, *breaks]), least)
