# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A background as short strips of its rows, in place of its pixels.

A row of a background is a cubic between two breaks, or a polynomial that is
nearly one over a short distance, and everything one asks of the pixels of a
strip of a row has a closed form in its four coefficients. The number of strips
in a row follows the number of bins.

Of tall images some rows are taken, four of a stratum of k: mirror images about
the centre, near the nodes of Gauss and Legendre's rule, with weights that sum
cubics over the k rows exactly. That they are rows, and not between them, keeps
the steps that a count takes from row to row where contours are straight.

In a strip of k pixels, at d pixels from its centre, the background is a sum of
Legendre polynomials of t = 2 d / k. The coefficients come from samples at the
zeros of Gram's fourth polynomial, the nodes of Gauss's rule for k equally
spaced points: sums of polynomials of degree 7 over the pixels are then exact,
and they are sums over pixels, not integrals.
"""

from __future__ import annotations

__all__ = ("StripGrid",)

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from .._compiled import bound_blocks
from ..background import BackgroundModel, Surface
from ._axes import Columns, Rows, cut_at, divide

# About how many rows, and strips, are looked at.
_ROWS = 5120
_MAX_STRIPS = 280_000
# Strips are longer where there would be fewer rows.
_MIN_ROWS = 2304
# Longest strip, as a share of the row.
_MAX_LENGTH = 1 / 16
# Images of up to this many pixels are taken pixel by pixel, larger ones
# where strips would not be much fewer than pixels.
_EXACT_PIXELS = 1 << 18
_MAX_EXACT_PIXELS = 1 << 20
_PIXELS_PER_STRIP = 8
# Samples evaluated at a time.
_BLOCK_SAMPLES = 1 << 17


class Blocks(NamedTuple):
    """Strips above one another, some rows at a time.

    Attributes
    ----------
    rows : `numpy.ndarray`
        Rows of pixels in each block, shape (blocks of rows,).
    low, high : `numpy.ndarray`
        Bounds of the pixels, ``float32``, shape (strips in a row, blocks of
        rows).
    """

    rows: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class StripGrid:
    """A background as strips of its rows.

    Attributes
    ----------
    model : `BackgroundModel`
        The background.
    y : `Rows`
        The rows, local.
    x : `Columns`
        The strips along a row, in local pixels.
    reference : `float`
        A value of the background, so that ``float32`` is precise enough for
        the rest.
    coefficients : `numpy.ndarray`
        Coefficients of the Legendre polynomials of each strip, relative to
        the reference, ``float32``, shape (4, strips in a row, samples of
        rows). Where strips are pixels, it is but their values.
    """

    model: BackgroundModel
    y: Rows
    x: Columns
    reference: float
    coefficients: np.ndarray

    @classmethod
    def of(cls, model: BackgroundModel, cuts_y: Sequence[int], cuts_x: Sequence[int]) -> StripGrid:
        """Cut a background into strips.

        Parameters
        ----------
        model : `BackgroundModel`
            The background; every layer has finite pixels.
        cuts_y, cuts_x : `~collections.abc.Sequence` [`int`]
            Rows and columns, local, that strips begin at, too.

        Returns
        -------
        strips : `StripGrid`
            The strips.
        """
        surfaces = [layer.surface for layer in model.layers]
        _, _, width, height = model.bbox
        pieces = max(surface.cubic_pieces for surface in surfaces)
        corners = cut_at(width, [*cuts_x, *_all(surface.x_breaks for surface in surfaces)])
        if pieces * _MIN_ROWS > _MAX_STRIPS:
            pieces //= 2
        x = _columns(tuple(corners.tolist()), max(min(width / pieces, max(width * _MAX_LENGTH, 2)), 1))
        n_strips, pixels = len(x.lengths), width * height
        if pixels <= _EXACT_PIXELS or (
            pixels <= _MAX_EXACT_PIXELS and pixels < _PIXELS_PER_STRIP * n_strips * height
        ):
            return cls._of_pixels(model)
        offsets = [_level(surface, height, width) for surface in surfaces]
        varying = [(s, offset) for s, offset in zip(surfaces, offsets, strict=True) if s.constant is None]
        most = max(min(_ROWS, _MAX_STRIPS // n_strips), 1)
        length = 4 * height / most if height > most else 1
        y = Rows.cut(height, cuts_y, _all(surface.y_breaks for surface in surfaces), length)
        return cls(model, y, x, sum(offsets), _coefficients(varying, y.samples, x))

    @classmethod
    def _of_pixels(cls, model: BackgroundModel) -> StripGrid:
        """Make a strip of each pixel."""
        _, _, width, height = model.bbox
        rows = np.arange(height)
        y = Rows(np.arange(height + 1), rows.astype(np.float64), np.ones(height), rows)
        x = Columns(np.arange(width + 1))
        image = model.render()
        # Pixels of single precision are kept as they are.
        reference = 0.0 if image.dtype == np.float32 else float(np.median(image[::9, ::9]))
        coefficients = np.ascontiguousarray((image - image.dtype.type(reference)).T, np.float32)[np.newaxis]
        return cls(model, y, x, reference, coefficients)

    @property
    def is_exact(self) -> bool:
        """Whether each strip is one pixel (`bool`)."""
        return self.y.is_exact and self.x.is_exact

    @property
    def level(self) -> np.ndarray:
        """The first coefficient of each strip (`numpy.ndarray`)."""
        return np.asarray(self.coefficients[0])

    @cached_property
    def means(self) -> np.ndarray:
        """Mean of the pixels of each strip, relative to the reference
        (`numpy.ndarray` of ``float32``).
        """
        if self.is_exact:
            return self.level
        odd = self.x.products[:, 0, 2].astype(np.float32)
        return self.level + self.coefficients[2] * odd[:, np.newaxis]

    @cached_property
    def blocks(self) -> Blocks:
        """The strips above one another, some rows at a time (`Blocks`)."""
        shape = (len(self.x.lengths), len(self.y.blocks))
        low, high = np.empty(shape, np.float32), np.empty(shape, np.float32)
        bound_blocks(self.coefficients, self.y.starts, low, high)
        return Blocks(np.add.reduceat(self.y.weights, self.y.blocks), low, high)

    @cached_property
    def spread(self) -> float:
        """How far apart the bounds of the pixels are (`float`)."""
        return float(self.blocks.high.max()) - float(self.blocks.low.min())

    def blocks_within(self, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        """Tell which blocks are inside of a rectangle.

        Parameters
        ----------
        rows, columns : `tuple` [`int`, `int`]
            First pixel and the one after the last, where they were cut.

        Returns
        -------
        inside : `numpy.ndarray`
            ``bool``, in the shape of the blocks.
        """
        first, stop = np.searchsorted(self.y.blocks, [self.y.at(row) for row in rows])
        x0, x1 = (self.x.at(column) for column in columns)
        inside = np.zeros((len(self.x.lengths), len(self.y.blocks)), dtype=bool)
        inside[x0:x1, first:stop] = True
        return inside

    def pixels(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Evaluate pixels as the background's ``render`` would.

        Parameters
        ----------
        rows, columns : `numpy.ndarray`
            Positions, ascending, local, shapes (ny,) and (nx,).

        Returns
        -------
        values : `numpy.ndarray`
            Values as pixels have them, ``float64``, shape (ny, nx).
        """
        y, x = rows.astype(np.float64), columns.astype(np.float64)
        total = np.zeros((len(y), len(x)), dtype=self.model.dtype)
        for layer in self.model.layers:
            constant = layer.surface.constant
            part = layer.surface.evaluate(y, x) if constant is None else np.float64(constant)
            total += part.astype(self.model.dtype)
        return total.astype(np.float64)


@lru_cache(maxsize=16)
def _columns(corners: tuple[int, ...], length: float) -> Columns:
    """Cut columns; many images are alike in this."""
    return Columns(divide(np.array(corners), length))


def _coefficients(surfaces: Sequence[tuple[Surface, float]], y: np.ndarray, x: Columns) -> np.ndarray:
    """Sum the coefficients of the strips of rows, relative to the surfaces'
    offsets.
    """
    shape = (4, len(x.lengths), len(y))
    coefficients = np.empty(shape, np.float32) if surfaces else np.zeros(shape, np.float32)
    nodes = x.centers[:, np.newaxis] + x.nodes
    rows = max(1, _BLOCK_SAMPLES // nodes.size)
    for start in range(0, len(y), rows):
        block = slice(start, start + rows)
        for number, (surface, offset) in enumerate(surfaces):
            part = surface.sample(y[block], nodes, x.weights, offset).swapaxes(0, 1)
            if number:
                coefficients[:, :, block] += part
            else:
                coefficients[:, :, block] = part
    return coefficients


def _all(breaks: Iterable[np.ndarray]) -> list[float]:
    return [float(b) for part in breaks for b in part]


def _level(surface: Surface, height: int, width: int) -> float:
    """Return a value in the middle of those of a surface; of a constant, its
    value.
    """
    if (constant := surface.constant) is not None:
        return constant
    y, x = ((np.arange(9) + 0.5) * (n / 9) - 0.5 for n in (height, width))
    level = float(np.median(surface.evaluate(y, x)))
    return level if math.isfinite(level) else 0.0
