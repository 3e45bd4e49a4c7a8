# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A background as a mosaic of small quadratic tiles, in place of its pixels.

A background has about a thousand numbers, and between its breaks it is a
polynomial. Cut along the breaks into tiles small against its structure, it is
quadratic in each to high accuracy, and everything one asks of its pixels has a
closed form in a tile. The number of tiles follows the number of bins, not that
of pixels.

A tile of k pixels a side is sampled with the three-point Gauss rule for k
equally spaced points, whose nodes are 0 and +-sqrt((3 k^2 - 7) / 20) from its
centre: it gives the sum of a polynomial of degree 5 over the pixels exactly
(for two or three pixels, the samples are the pixels). Sums over tiles are
therefore sums over pixels, not integrals.
"""

from __future__ import annotations

__all__ = ("Axis", "TileGrid")

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..background import BackgroundModel, Surface

# About the largest number of tiles; beyond it (bins of a hundred a side) the
# many contours average out what larger tiles leave.
_MAX_TILES = 90_000
# Longest side of a tile, in pixels, wherever the background is plain.
_MAX_LENGTH = 128
# Images of up to this many pixels are taken pixel by pixel.
_EXACT_PIXELS = 1 << 18
# Samples evaluated at a time.
_BLOCK_SAMPLES = 1 << 19


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of pixels cut into tiles.

    Attributes
    ----------
    edges : `numpy.ndarray`
        First pixel of each tile and the end, ``int64``, shape (n + 1,).
    """

    edges: np.ndarray

    @classmethod
    def cut(cls, size: int, at: Iterable[float], length: float) -> Axis:
        """Cut an axis at given places, and further until tiles are short.

        Parameters
        ----------
        size : `int`
            Number of pixels.
        at : `~collections.abc.Iterable` [`float`]
            Places that no tile may span; a pixel on one comes after it.
        length : `float`
            About how many pixels a tile is to have.

        Returns
        -------
        axis : `Axis`
            The tiles.
        """
        if length <= 1:
            return cls(np.arange(size + 1))
        places = np.ceil(np.asarray(list(at), dtype=np.float64))
        places = places[(places > 0) & (places < size)]
        corners = np.unique(np.concatenate([[0, size], places])).astype(np.int64)
        lengths = np.diff(corners)
        parts = np.maximum(np.rint(lengths / length), 1).astype(np.int64)
        piece = np.repeat(np.arange(len(lengths)), parts)
        within = np.arange(len(piece)) - np.repeat(np.cumsum(parts) - parts, parts)
        starts = corners[piece] + within * lengths[piece] // parts[piece]
        return cls(np.concatenate([starts, [size]]))

    @cached_property
    def lengths(self) -> np.ndarray:
        """Pixels in each tile (`numpy.ndarray` of ``int64``)."""
        return np.diff(self.edges)

    @cached_property
    def centers(self) -> np.ndarray:
        """Centre of each tile, in pixels (`numpy.ndarray`)."""
        return self.edges[:-1] + 0.5 * (self.lengths - 1)

    @cached_property
    def variances(self) -> np.ndarray:
        """Variance of the pixels' positions in each tile (`numpy.ndarray`),
        (k^2 - 1) / 12.
        """
        return (self.lengths.astype(np.float64) ** 2 - 1) / 12

    @cached_property
    def offsets(self) -> np.ndarray:
        """Distance of the outer samples from the centres (`numpy.ndarray`)."""
        return np.sqrt(np.maximum(3 * self.lengths.astype(np.float64) ** 2 - 7, 0) / 20)

    @property
    def is_exact(self) -> bool:
        """Whether each tile is one pixel (`bool`)."""
        return len(self.lengths) == self.edges[-1]

    @cached_property
    def samples(self) -> np.ndarray:
        """Where to sample, ascending (`numpy.ndarray`): three times in each
        tile, once where each tile is a pixel.
        """
        if self.is_exact:
            return self.centers
        return np.column_stack(
            [self.centers - self.offsets, self.centers, self.centers + self.offsets]
        ).ravel()

    def contract(self, values: np.ndarray, tiles: slice, n: int = 3) -> list[np.ndarray]:
        """Turn samples along the first axis into coefficients.

        Parameters
        ----------
        values : `numpy.ndarray`
            Samples, shape (samples, n).
        tiles : `slice`
            The tiles that the samples are of.
        n : `int`, optional
            How many coefficients are wanted.

        Returns
        -------
        coefficients : `list` [`numpy.ndarray`]
            Coefficients of 1, d and d^2 - variance, which are orthogonal over
            the pixels; d is the distance from the tile's centre. Shape
            (tiles, n).
        """
        if self.is_exact:
            none = np.zeros((1, values.shape[1]), dtype=values.dtype)
            return [values, none, none][:n]
        variance, offset = (a[tiles, np.newaxis] for a in (self.variances, self.offsets))
        square = np.maximum(offset**2, 1e-300)
        weight = (0.5 * variance / square).astype(values.dtype)
        low, middle, high = values[0::3], values[1::3], values[2::3]
        bend = low + high
        bend -= middle
        bend -= middle
        mean = bend * weight
        mean += middle
        if n == 1:
            return [mean]
        slope = high - low
        slope *= np.divide(0.5, offset, out=np.zeros_like(offset), where=offset > 0).astype(values.dtype)
        # Three points have their parabola; one or two pixels have none.
        bend *= np.where(self.lengths[tiles, np.newaxis] > 2, 0.5 / square, 0.0).astype(values.dtype)
        return [mean, slope, bend][:n]

    def at(self, pixel: int) -> int:
        """Return the tile that begins at a pixel.

        Parameters
        ----------
        pixel : `int`
            The pixel, where the axis was cut.

        Returns
        -------
        tile : `int`
            Index of the tile.
        """
        return int(np.searchsorted(self.edges, pixel))


@dataclass(frozen=True, eq=False)
class TileGrid:
    """A background as quadratic tiles.

    In a tile, at dy and dx pixels from its centre, the background is
    ``reference + mean + slope_y dy + slope_x dx + twist dy dx +
    curve_y (dy^2 - vy) + curve_x (dx^2 - vx)``, where vy and vx are the
    variances of the pixels' positions.

    Attributes
    ----------
    model : `BackgroundModel`
        The background.
    y, x : `Axis`
        The tiles along each axis, in local pixels.
    reference : `float`
        A value of the background, so that ``float32`` is precise enough for
        the rest.
    mean, slope_y, slope_x, twist, curve_y, curve_x : `numpy.ndarray`
        Coefficients, ``float32``, shape (len(y.lengths), len(x.lengths)).
    """

    model: BackgroundModel
    y: Axis
    x: Axis
    reference: float
    mean: np.ndarray
    slope_y: np.ndarray
    slope_x: np.ndarray
    twist: np.ndarray
    curve_y: np.ndarray
    curve_x: np.ndarray

    @classmethod
    def of(cls, model: BackgroundModel, cuts_y: Sequence[int], cuts_x: Sequence[int]) -> TileGrid:
        """Cut a background into tiles.

        Parameters
        ----------
        model : `BackgroundModel`
            The background; every layer has finite pixels.
        cuts_y, cuts_x : `~collections.abc.Sequence` [`int`]
            Rows and columns, local, that tiles begin at, too.

        Returns
        -------
        tiles : `TileGrid`
            The tiles.
        """
        surfaces = [layer.surface for layer in model.layers]
        _, _, width, height = model.bbox
        exact = width * height <= _EXACT_PIXELS
        pieces_y, pieces_x = (max(surface.quadratic_pieces[axis] for surface in surfaces) for axis in (0, 1))
        fewer = max(1.0, math.sqrt(pieces_y * pieces_x / _MAX_TILES))
        length_y, length_x = (
            1.0 if exact else min(fewer * size / n, _MAX_LENGTH)
            for size, n in ((height, pieces_y), (width, pieces_x))
        )
        y = Axis.cut(height, [*cuts_y, *_all(s.y_breaks for s in surfaces)], length_y)
        x = Axis.cut(width, [*cuts_x, *_all(s.x_breaks for s in surfaces)], length_x)
        offsets = [_level(surface, y.samples, x.samples) for surface in surfaces]
        reference = sum(offsets)
        if exact:
            reference = float(np.float32(reference))
        shape = (len(y.lengths), len(x.lengths))
        parts = [np.zeros(shape, np.float32) for _ in range(6)]
        mean, slope_y, slope_x, twist, curve_y, curve_x = parts
        per_tile = len(y.samples) // shape[0]
        rows = max(1, _BLOCK_SAMPLES // (len(x.samples) * per_tile))
        for start in range(0, shape[0], rows):
            block = slice(start, min(start + rows, shape[0]))
            sampled = y.samples[block.start * per_tile : block.stop * per_tile]
            if exact:
                values = (_pixels(model, sampled, x.samples) - reference).astype(np.float32).T
            else:
                values = _sample(surfaces, offsets, sampled, x.samples)
            level, along, bent = (
                np.ascontiguousarray(part.T) for part in x.contract(values, slice(0, shape[1]))
            )
            mean[block], slope_y[block], curve_y[block] = y.contract(level, block)
            slope_x[block], twist[block] = y.contract(along, block, 2)
            (curve_x[block],) = y.contract(bent, block, 1)
        return cls(model, y, x, reference, *parts)

    @property
    def is_exact(self) -> bool:
        """Whether each tile is one pixel (`bool`)."""
        return self.y.is_exact and self.x.is_exact

    @property
    def coefficients(self) -> tuple[np.ndarray, ...]:
        """All coefficients, the mean first (`tuple` [`numpy.ndarray`])."""
        return self.mean, self.slope_y, self.slope_x, self.twist, self.curve_y, self.curve_x

    @cached_property
    def half_range(self) -> np.ndarray:
        """How far the pixels of each tile reach at most to either side of
        its mean (`numpy.ndarray` of ``float32``).
        """
        ry = (0.5 * (self.y.lengths - 1)).astype(np.float32)[:, np.newaxis]
        rx = (0.5 * (self.x.lengths - 1)).astype(np.float32)
        half = np.abs(self.twist) * ry
        half += np.abs(self.slope_x)
        half += np.abs(self.curve_x) * rx
        half *= rx
        part = np.abs(self.curve_y) * ry
        part += np.abs(self.slope_y)
        part *= ry
        half += part
        return half

    @cached_property
    def curvature(self) -> np.ndarray:
        """Largest second difference of the means next to each tile
        (`numpy.ndarray` of ``float32``).
        """
        curvature = np.zeros_like(self.mean)
        for axis in (0, 1):
            if self.mean.shape[axis] > 2:
                second = np.abs(np.diff(self.mean, n=2, axis=axis))
                inner = [slice(None), slice(None)]
                for shift in (slice(0, -2), slice(1, -1), slice(2, None)):
                    inner[axis] = shift
                    view = curvature[tuple(inner)]
                    np.maximum(view, second, out=view)
        return curvature

    def crop(self, rows: slice, columns: slice) -> TileGrid:
        """Return a rectangle of tiles.

        Parameters
        ----------
        rows, columns : `slice`
            Tiles to keep, with explicit start and stop.

        Returns
        -------
        tiles : `TileGrid`
            The same tiles; nothing is copied.
        """
        part = TileGrid(
            self.model,
            Axis(self.y.edges[rows.start : rows.stop + 1]),
            Axis(self.x.edges[columns.start : columns.stop + 1]),
            self.reference,
            *(part[rows, columns] for part in self.coefficients),
        )
        for known in ("half_range", "curvature"):
            part.__dict__[known] = getattr(self, known)[rows, columns]
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
        return _pixels(self.model, rows.astype(np.float64), columns.astype(np.float64))


def _all(breaks: Iterable[np.ndarray]) -> list[float]:
    return [float(b) for part in breaks for b in part]


def _level(surface: Surface, y: np.ndarray, x: np.ndarray) -> float:
    """Return a value near those of a surface; of a constant, its value."""
    if (constant := surface.constant) is not None:
        return constant
    return float(surface.evaluate(y[:1], x[:1])[0, 0])


def _sample(
    surfaces: Sequence[Surface], offsets: Sequence[float], y: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """Sum samples of the surfaces that vary, less their offsets."""
    parts = [
        surface.sample(y, x, offset)
        for surface, offset in zip(surfaces, offsets, strict=True)
        if surface.constant is None
    ]
    if not parts:
        return np.zeros((len(x), len(y)), dtype=np.float32)
    for part in parts[1:]:
        parts[0] += part
    return parts[0]


def _pixels(model: BackgroundModel, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Sum layers as they are rounded and added in an image."""
    first, *others = (layer.surface for layer in model.layers)
    total = first.evaluate(y, x).astype(model.dtype)
    for surface in others:
        total += surface.evaluate(y, x).astype(model.dtype)
    return total.astype(np.float64)
