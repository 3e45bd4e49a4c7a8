# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""One pass over an image, cell by cell of sky.

A cell has 4 x 4 parts. Of each part the pass keeps how many pixels of sky
there are, their sum and the sum of their squares; all statistics come from
these. A pixel that is far from the median of its cell does not count: it is
of no use to know whether a cosmic ray or a defect made it.
"""

from __future__ import annotations

__all__ = ("CellGrid", "measure_cells")

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..background import Box
from ..statistics.robust import SIGMA_PER_MAD
from ._apertures import Apertures, aperture_tiles
from ._config import ResidualConfig
from ._image import SkyImage

_PARTS = 4
# Median of the square of a normal deviate.
_MEDIAN_SQUARE = SIGMA_PER_MAD**-2
# A background does not follow the sources of a cell but those of its bins:
# the fraction is averaged like this, in cells (64 pixels; bins have 128).
_SMOOTHING = 1.0
# Every so many pixels of a row, and rows, one is taken for medians.
_STRIDE = 4
# With fewer pixels in the sample, a cell's own median is no guide; with
# fewer than these, its own deviation is none that is smaller than others'.
_MIN_SAMPLE = 16
_SURE_SAMPLE = 128
# Of fewer there is no scatter to tell of.
_MIN_DIFFERENCES = 24
_DETECTED = ("DETECTED",)


@dataclass(frozen=True, eq=False)
class CellGrid:
    """The sky of an image by parts of cells.

    Attributes
    ----------
    bbox
        What the image covers.
    cell_size
        Side of a cell in pixels; cells begin at the image's first pixel, and
        the last of a row or column may reach over its border.
    counts
        Pixels of sky of each part, ``float64``, shape (4 cells in y, 4 cells
        in x).
    means
        Their means, in the image's unit, NaN where there is none.
    squares
        Sums of their squared deviations from the part's mean.
    detected
        Pixels of each part that belong to a detected source.
    pixels
        Pixels of each part that the image has a value for.
    sky_count
        Pixels of sky, those included that were far from their cell's median.
    median
        Median of a sample of the sky's pixels: every fourth of every fourth
        row.
    sample_size
        Size of the sample.
    apertures
        Means over apertures on empty sky.
    """

    bbox: Box
    cell_size: int
    counts: np.ndarray
    means: np.ndarray
    squares: np.ndarray
    detected: np.ndarray
    pixels: np.ndarray
    sky_count: int
    median: float
    sample_size: int
    apertures: Apertures

    @property
    def width(self) -> int:
        """Width of the image in pixels."""
        return self.bbox.width

    @property
    def height(self) -> int:
        """Height of the image in pixels."""
        return self.bbox.height

    @property
    def part_size(self) -> int:
        """Side of a part in pixels."""
        return self.cell_size // _PARTS

    @cached_property
    def x(self) -> np.ndarray:
        """Centres of the parts in x, local pixels, shape (parts,)."""
        return (np.arange(self.counts.shape[1]) + 0.5) * self.part_size - 0.5

    @cached_property
    def y(self) -> np.ndarray:
        """Centres of the parts in y, local pixels, shape (parts,)."""
        return (np.arange(self.counts.shape[0]) + 0.5) * self.part_size - 0.5

    @cached_property
    def noise(self) -> float:
        """Standard deviation of a pixel within the parts."""
        freedom = np.sum(np.maximum(self.counts - 1, 0.0))
        return math.sqrt(float(self.squares.sum()) / freedom) if freedom > 0 else math.nan

    @cached_property
    def cell_counts(self) -> np.ndarray:
        """Pixels of sky of each cell, ``float64``, shape (cells in y, x)."""
        return self.sum_cells(self.counts)

    @cached_property
    def cell_means(self) -> np.ndarray:
        """Mean of each cell, NaN without sky, shape (cells in y, x)."""
        sums = self.sum_cells(np.where(self.counts > 0, self.counts * self.means, 0.0))
        return _divide(sums, self.cell_counts)

    @cached_property
    def error_noise(self) -> float:
        """What the error of a mean of n pixels is to be computed from: this, divided by the square root of n.

        It is the standard deviation of the means of parts within their cell,
        times the square root of their pixels: that of the pixels where their
        noise is independent, larger where it is not.
        """
        from scipy.special import chdtri

        deviation = np.where(self.counts > 0, self.means - np.kron(self.cell_means, _block()), 0.0)
        squares = self.sum_cells(self.counts * deviation**2)
        freedom = self.sum_cells(self.counts > 0) - 1
        used = freedom >= 8
        if not used.any():
            return self.noise
        # A median, for in some cells the sky is not even.
        ratio = squares[used] / chdtri(freedom[used], 0.5)
        return max(math.sqrt(float(np.median(ratio))), self.noise)

    @cached_property
    def cell_scatter(self) -> float:
        """Robust scatter of the cells beyond their noise (`float`), part of
        the error of all means.

        It comes from second differences between neighbours, in which a
        structure that is larger than a cell does not show.
        """
        known = self.cell_counts >= 0.25 * self.cell_size**2
        means = np.where(known, self.cell_means, np.nan)
        variances = np.divide(self.error_noise**2, self.cell_counts, out=np.zeros(known.shape), where=known)
        squares, explained = [], []
        for axis in (0, 1):
            m, v = (np.moveaxis(part, axis, 0) for part in (means, variances))
            if len(m) >= 3:
                squares.append((m[:-2] - 2 * m[1:-1] + m[2:]) ** 2)
                explained.append(v[:-2] + 4 * v[1:-1] + v[2:])
        if not squares:
            return 0.0
        square, noise = (np.concatenate([part.ravel() for part in parts]) for parts in (squares, explained))
        used = np.isfinite(square)
        if used.sum() < _MIN_DIFFERENCES:
            return 0.0
        excess = float(np.median(square[used] - _MEDIAN_SQUARE * noise[used])) / _MEDIAN_SQUARE
        return math.sqrt(max(excess, 0.0) / 6)

    def sum_cells(self, parts: np.ndarray) -> np.ndarray:
        """Sum over the parts of each cell.

        Parameters
        ----------
        parts
            A value a part.

        Returns
        -------
        cells
            ``float64``, shape (cells in y, cells in x).
        """
        ny, nx = (n // _PARTS for n in parts.shape)
        return parts.reshape(ny, _PARTS, nx, _PARTS).sum(axis=(1, 3), dtype=np.float64)

    @cached_property
    def detected_fraction(self) -> np.ndarray:
        """Fraction of detected pixels in each cell, averaged over neighbours as
        a bin does it, shape (cells in y, cells in x).
        """
        from scipy.ndimage import gaussian_filter

        above, below = (
            gaussian_filter(self.sum_cells(part), _SMOOTHING, mode="constant")
            for part in (self.detected, self.pixels)
        )
        return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)

    def mean_of(self, chosen: np.ndarray) -> tuple[float, float, float]:
        """Average over some parts.

        Parameters
        ----------
        chosen
            The parts, ``bool``.

        Returns
        -------
        mean, error
            Mean of their pixels, and its standard error. NaN without a pixel.
        count
            Number of pixels.
        """
        counts = np.where(chosen, self.counts, 0.0)
        count = float(counts.sum())
        if count == 0:
            return math.nan, math.nan, 0.0
        mean = float(np.sum(counts * np.where(counts > 0, self.means, 0.0))) / count
        return mean, self.error_of(counts / count), count

    def error_of(self, weights: np.ndarray) -> float:
        """Return the standard error of a weighted sum of the parts' means.

        Parameters
        ----------
        weights
            A weight a part, 0 where there is no pixel.

        Returns
        -------
        error
            From the noise, and from the scatter of the cells beyond it,
            which the parts of a cell share.
        """
        noise = np.divide(weights**2, self.counts, out=np.zeros(weights.shape), where=weights != 0)
        shared = self.sum_cells(weights) ** 2
        return math.sqrt(
            self.error_noise**2 * float(noise.sum()) + self.cell_scatter**2 * float(shared.sum())
        )


def _block() -> np.ndarray:
    return np.ones((_PARTS, _PARTS))


def _divide(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)


def measure_cells(image: SkyImage, config: ResidualConfig) -> CellGrid:
    """Pass over an image, a row of cells after the other.

    Parameters
    ----------
    image
        The image.
    config
        Planes, cells, clipping and apertures.
    """
    height, width = image.array.shape
    size = config.cell_size
    part = size // _PARTS
    ny, nx = -(-height // size), -(-width // size)
    shape = ny * _PARTS, nx * _PARTS
    counts, sums, squares, detected, pixels = (np.zeros(shape) for _ in range(5))
    centers = np.zeros((ny, nx))
    samples, apertures, sky_count = [], [], 0
    tiles = aperture_tiles(size, config.aperture_radius)
    for row in range(ny):
        rows = slice(row * size, min((row + 1) * size, height))
        block = np.full((size, nx * size), np.nan, dtype=np.float32)
        inside = slice(0, rows.stop - rows.start), slice(0, width)
        block[inside] = image.array[rows]
        has_value = np.isfinite(block)
        sky = has_value.copy()
        sky[inside] &= ~image.mask.flagged(rows, config.planes)
        block[~sky] = np.nan
        strided = block[::_STRIDE, ::_STRIDE].reshape(size // _STRIDE, nx, size // _STRIDE)
        sample = strided.transpose(1, 0, 2).reshape(nx, -1)
        center, sigma = _median_and_sigma(sample)
        samples.append(sample[np.isfinite(sample)])
        block -= np.repeat(center, size).astype(np.float32)
        limit = np.repeat(config.clip_sigma * sigma, size).astype(np.float32)
        with np.errstate(invalid="ignore"):
            good = np.abs(block) <= limit
        block[~good] = np.nan
        apertures.append(tiles.measure(block, center, row))
        block[~good] = 0
        at = slice(row * _PARTS, (row + 1) * _PARTS)
        counts[at] = _sum_parts(good, part)
        sums[at] = _sum_parts(block, part)
        squares[at] = _sum_parts(np.square(block), part)
        pixels[at] = _sum_parts(has_value, part)
        found = np.zeros(block.shape, dtype=bool)
        found[inside] = image.mask.flagged(rows, _DETECTED)
        detected[at] = _sum_parts(found & has_value, part)
        centers[row] = center
        sky_count += int(np.count_nonzero(sky))
    offsets = _divide(sums, counts)
    sample = np.concatenate(samples)
    return CellGrid(
        image.bbox,
        size,
        counts,
        offsets + np.kron(centers, _block()),
        np.maximum(squares - np.where(counts > 0, sums * offsets, 0.0), 0.0),
        detected,
        pixels,
        sky_count,
        float(np.median(sample)) if len(sample) else math.nan,
        len(sample),
        Apertures.join(apertures),
    )


def _median_and_sigma(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the median and robust standard deviation of each row of a
    sample; those of rows with few values are the row of cells' own.
    """
    count = np.isfinite(sample).sum(axis=1)
    center = _row_medians(sample, count)
    deviation = np.abs(sample - center[:, np.newaxis])
    sigma = SIGMA_PER_MAD * _row_medians(deviation, count)
    if (few := count < _SURE_SAMPLE).any():
        finite = deviation[np.isfinite(deviation)]
        common = SIGMA_PER_MAD * np.median(finite) if len(finite) else 0.0
        sigma[few] = np.fmax(sigma[few], common)
    if (few := count < _MIN_SAMPLE).any():
        finite = sample[np.isfinite(sample)]
        center[few] = np.median(finite) if len(finite) else 0.0
    return center, sigma


def _row_medians(values: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the lower median of each row's values that are not NaN; NaN
    without any.
    """
    ordered = np.sort(values, axis=1)  # NaN comes last
    middle = np.maximum(count - 1, 0) // 2
    upper = np.maximum(count, 1) // 2
    rows = np.arange(len(values))
    return 0.5 * (
        ordered[rows, middle].astype(np.float64) + ordered[rows, np.minimum(upper, values.shape[1] - 1)]
    )


def _sum_parts(block: np.ndarray, part: int) -> np.ndarray:
    kind = np.int32 if block.dtype == bool else np.float32
    columns = block.reshape(_PARTS, part, -1).sum(axis=1, dtype=kind)
    return columns.reshape(_PARTS, -1, part).sum(axis=2, dtype=np.float64)
