# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A background as short strips of its rows, in place of its pixels.

A row of a background is a cubic between two breaks, or a polynomial that is
nearly one over a short distance, and everything one asks of the pixels of a
strip of a row has a closed form in its four coefficients. The number of strips
in a row follows the number of bins. Images of some thousand rows are taken row
by row, so that nothing need be assumed of how rows follow one another; of
taller ones as many rows are taken, two to a stratum, at the nodes of Gauss's
rule for equally spaced points, +-sqrt((k^2 - 1) / 12) from the centre of k
rows, which sums cubics exactly.

In a strip of k pixels, at d pixels from its centre, the background is a sum of
Legendre polynomials of t = 2 d / k. The coefficients come from samples at the
zeros of Gram's fourth polynomial, the nodes of Gauss's rule for k equally
spaced points: sums of polynomials of degree 7 over the pixels are then exact,
and they are sums over pixels, not integrals.
"""

from __future__ import annotations

__all__ = ("LEGENDRE", "Columns", "Rows", "StripGrid")

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from ..background import BackgroundModel, Surface

# Coefficients of the powers 0 to 3 in Legendre's first polynomials.
LEGENDRE = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [-0.5, 0.0, 1.5, 0.0], [0.0, -1.5, 0.0, 2.5]]
)
# About the largest numbers of rows and of strips that are looked at; so many
# strips may be, whatever the rows.
_MAX_ROWS = 4608
_MIN_STRIPS = 1 << 17
_MAX_STRIPS = 300_000
# Rows of samples whose strips are bounded together.
_ROWS_PER_BLOCK = 16
# Longest strip, as a share of the row.
_MAX_LENGTH = 1 / 16
# Images of up to this many pixels are taken pixel by pixel, larger ones
# where strips would not be much fewer than pixels.
_EXACT_PIXELS = 1 << 18
_MAX_EXACT_PIXELS = 1 << 20
_PIXELS_PER_STRIP = 8
# Samples evaluated at a time.
_BLOCK_SAMPLES = 1 << 17


@dataclass(frozen=True, eq=False)
class _Axis:
    """One axis of pixels cut into pieces.

    Attributes
    ----------
    edges : `numpy.ndarray`
        First pixel of each piece and the end, ``int64``, shape (n + 1,).
    """

    edges: np.ndarray

    @cached_property
    def lengths(self) -> np.ndarray:
        """Pixels in each piece (`numpy.ndarray` of ``int64``)."""
        return np.diff(self.edges)

    @cached_property
    def centers(self) -> np.ndarray:
        """Centre of each piece, in pixels (`numpy.ndarray`)."""
        return self.edges[:-1] + 0.5 * (self.lengths - 1)

    @property
    def middle(self) -> float:
        """Centre of the axis, in pixels (`float`)."""
        return 0.5 * float(self.edges[0] + self.edges[-1] - 1)

    @property
    def is_exact(self) -> bool:
        """Whether each piece is one pixel (`bool`)."""
        return len(self.lengths) == self.edges[-1] - self.edges[0]

    def at(self, pixel: int) -> int:
        """Return the piece that begins at a pixel.

        Parameters
        ----------
        pixel : `int`
            The pixel, where the axis was cut.

        Returns
        -------
        piece : `int`
            Index of the piece.
        """
        return int(np.searchsorted(self.edges, pixel))


@dataclass(frozen=True, eq=False)
class Columns(_Axis):
    """The columns of pixels, cut into strips."""

    @cached_property
    def products(self) -> np.ndarray:
        """Means of the products of two Legendre polynomials over the pixels
        of each strip (`numpy.ndarray` of ``float64``, shape (n, 4, 4)).
        """
        k2 = self.lengths.astype(np.float64) ** 2
        powers = np.zeros((7, len(k2)))
        powers[0] = 1
        powers[2] = (k2 - 1) / (3 * k2)
        powers[4] = powers[2] * (3 * k2 - 7) / (5 * k2)
        powers[6] = powers[2] * (3 * k2**2 - 18 * k2 + 31) / (7 * k2**2)
        of_powers = powers[np.add.outer(np.arange(4), np.arange(4))]
        return np.einsum("ip,pqn,jq->nij", LEGENDRE, of_powers, LEGENDRE)

    @cached_property
    def nodes(self) -> np.ndarray:
        """Where to sample, from each strip's centre, ascending
        (`numpy.ndarray` of ``float64``, shape (n, 4)).
        """
        k2 = self.lengths.astype(np.float64) ** 2
        middle = np.maximum(3 * k2 - 13, 0) / 28
        spread = np.sqrt(np.maximum(middle**2 - 3 * (k2 - 1) * (k2 - 9) / 560, 0))
        inner, outer = np.sqrt(np.maximum(middle - spread, 0)), np.sqrt(middle + spread)
        pair = self.lengths == 2
        inner[pair] = outer[pair] = 0.5
        single = self.lengths == 1
        inner[single] = outer[single] = 0.0
        return np.stack([-outer, -inner, inner, outer], axis=1)

    @cached_property
    def weights(self) -> np.ndarray:
        """What turns samples into coefficients (`numpy.ndarray` of
        ``float64``, shape (n, coefficient, sample)).
        """
        kinds, which = np.unique(self.lengths, return_index=True)
        t = 2 * self.nodes[which] / kinds[:, np.newaxis]
        design = t[:, :, np.newaxis] ** np.arange(4) @ LEGENDRE.T
        # Few pixels have fewer polynomials.
        design *= (np.arange(4) < kinds[:, np.newaxis])[:, np.newaxis, :]
        return np.asarray(np.linalg.pinv(design)[np.searchsorted(kinds, self.lengths)])


@dataclass(frozen=True, eq=False)
class Rows(_Axis):
    """The rows of pixels, or strata of them with two samples each.

    Attributes
    ----------
    blocks : `numpy.ndarray`
        First sample of each block of rows, ``int64``, shape (m,).
    """

    blocks: np.ndarray

    @classmethod
    def cut(cls, size: int, cuts: Sequence[int], breaks: Sequence[float], length: float) -> Self:
        """Cut rows into strata, and these into blocks.

        Parameters
        ----------
        size : `int`
            Number of rows.
        cuts : `~collections.abc.Sequence` [`int`]
            Rows that blocks begin at.
        breaks : `~collections.abc.Sequence` [`float`]
            Rows that no stratum may span.
        length : `float`
            About how many rows a stratum is to have.

        Returns
        -------
        rows : `Rows`
            The rows.
        """
        rows = cls(_cut(size, [*cuts, *breaks], length), np.empty(0, dtype=np.int64))
        n = len(rows.lengths) * rows.per_piece
        corners = sorted({0, n, *(rows.at(cut) for cut in cuts if 0 < cut < size)})
        starts = [np.arange(a, b, _ROWS_PER_BLOCK) for a, b in itertools.pairwise(corners)]
        return cls(rows.edges, np.concatenate(starts))

    @property
    def per_piece(self) -> int:
        """Samples in each piece (`int`)."""
        return 1 if self.is_exact else 2

    @cached_property
    def samples(self) -> np.ndarray:
        """Where to sample, ascending (`numpy.ndarray`)."""
        if self.is_exact:
            return self.centers
        offsets = np.sqrt((self.lengths.astype(np.float64) ** 2 - 1) / 12)
        return np.stack([self.centers - offsets, self.centers + offsets], axis=1).ravel()

    @cached_property
    def weights(self) -> np.ndarray:
        """Rows that each sample stands for (`numpy.ndarray`)."""
        return np.repeat(self.lengths / self.per_piece, self.per_piece)

    def at(self, pixel: int) -> int:
        """Return the sample from which on rows are at or after a pixel.

        Parameters
        ----------
        pixel : `int`
            The pixel, where the axis was cut.

        Returns
        -------
        sample : `int`
            Index of the sample.
        """
        return super().at(pixel) * self.per_piece


def _cut(size: int, at: Iterable[float], length: float) -> np.ndarray:
    """Cut an axis at given places, and further until pieces are short; a
    pixel on a place comes after it.
    """
    if length <= 1:
        return np.arange(size + 1)
    places = np.ceil(np.asarray(list(at), dtype=np.float64))
    places = places[(places > 0) & (places < size)]
    corners = np.unique(np.concatenate([[0, size], places])).astype(np.int64)
    lengths = np.diff(corners)
    parts = np.maximum(np.rint(lengths / length), 1).astype(np.int64)
    piece = np.repeat(np.arange(len(lengths)), parts)
    within = np.arange(len(piece)) - np.repeat(np.cumsum(parts) - parts, parts)
    starts = corners[piece] + within * lengths[piece] // parts[piece]
    return np.concatenate([starts, [size]])


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
        x = Columns(
            _cut(
                width,
                [*cuts_x, *_all(surface.x_breaks for surface in surfaces)],
                min(width / pieces, max(width * _MAX_LENGTH, 2)),
            )
        )
        n_rows = max(min(_MAX_ROWS, _MAX_STRIPS // len(x.lengths)), _MIN_STRIPS // len(x.lengths), 1)
        pixels = width * height
        if pixels <= _EXACT_PIXELS or (
            pixels <= _MAX_EXACT_PIXELS and pixels < _PIXELS_PER_STRIP * len(x.lengths) * height
        ):
            return cls._of_pixels(model)
        stratum = 2 * height / n_rows if height > n_rows else 1.0
        y = Rows.cut(height, cuts_y, _all(surface.y_breaks for surface in surfaces), stratum)
        offsets = [_level(surface, height, width) for surface in surfaces]
        varying = [(s, offset) for s, offset in zip(surfaces, offsets, strict=True) if s.constant is None]
        shape = (4, len(x.lengths), len(y.samples))
        coefficients = np.empty(shape, np.float32) if varying else np.zeros(shape, np.float32)
        nodes = x.centers[:, np.newaxis] + x.nodes
        rows = max(1, _BLOCK_SAMPLES // nodes.size)
        for start in range(0, len(y.samples), rows):
            block = slice(start, start + rows)
            for number, (surface, offset) in enumerate(varying):
                part = surface.sample(y.samples[block], nodes, x.weights, offset).swapaxes(0, 1)
                if number:
                    coefficients[:, :, block] += part
                else:
                    coefficients[:, :, block] = part
        return cls(model, y, x, sum(offsets), coefficients)

    @classmethod
    def _of_pixels(cls, model: BackgroundModel) -> StripGrid:
        """Make a strip of each pixel."""
        _, _, width, height = model.bbox
        y, x = Rows(np.arange(height + 1), np.arange(height)), Columns(np.arange(width + 1))
        image = model.render()
        # Pixels of single precision are kept as they are.
        reference = 0.0 if image.dtype == np.float32 else float(np.median(image[::9, ::9]))
        coefficients = (image - image.dtype.type(reference)).astype(np.float32).T[np.newaxis]
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
        half = np.zeros_like(self.level)
        for part in self.coefficients[1:]:
            half += np.abs(part)  # no polynomial leaves +-1
        starts = self.y.blocks
        return Blocks(
            np.add.reduceat(self.y.weights, starts),
            np.minimum.reduceat(self.level - half, starts, axis=1),
            np.maximum.reduceat(self.level + half, starts, axis=1),
        )

    def strips_of(self, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the strips of blocks.

        Parameters
        ----------
        blocks : `numpy.ndarray`
            Blocks, as places in an array of them made flat, shape (n,).

        Returns
        -------
        strip, row : `numpy.ndarray`
            Which strip of its row each is, and the row's sample.
        """
        strip, block = np.divmod(blocks, len(self.y.blocks))
        start = self.y.blocks[block]
        count = np.append(self.y.blocks, self.level.shape[1])[block + 1] - start
        row = start[:, np.newaxis] + np.arange(_ROWS_PER_BLOCK)
        strip = np.repeat(strip, count)
        if len(strip) < row.size:
            return strip, row[row < (start + count)[:, np.newaxis]]
        return strip, row.ravel()

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
        y0, y1 = (int(np.searchsorted(self.y.blocks, self.y.at(row))) for row in rows)
        x0, x1 = (self.x.at(column) for column in columns)
        inside = np.zeros((len(self.x.lengths), len(self.y.blocks)), dtype=bool)
        inside[x0:x1, y0:y1] = True
        return inside

    def crop(self, rows: slice, columns: slice) -> StripGrid:
        """Return a rectangle of strips.

        Parameters
        ----------
        rows, columns : `slice`
            First and last samples of rows and strips to keep, explicitly.

        Returns
        -------
        strips : `StripGrid`
            The same strips; nothing is copied.
        """
        n = self.y.per_piece
        inside = (self.y.blocks >= rows.start) & (self.y.blocks < rows.stop)
        part = StripGrid(
            self.model,
            Rows(self.y.edges[rows.start // n : rows.stop // n + 1], self.y.blocks[inside] - rows.start),
            Columns(self.x.edges[columns.start : columns.stop + 1]),
            self.reference,
            self.coefficients[:, columns, rows],
        )
        part.__dict__["blocks"] = Blocks(
            self.blocks.rows[inside], self.blocks.low[columns, inside], self.blocks.high[columns, inside]
        )
        return part

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
