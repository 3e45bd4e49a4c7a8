# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Apertures on empty sky: the precision of the sky brightness, and the depth.

Places are those of a grid in each cell, all that lie on sky entirely: the
same in every run, and as many as there are.
"""

from __future__ import annotations

__all__ = (
    "Apertures",
    "aperture_tiles",
    "limiting_surface_brightness",
    "sky_brightness_precision",
)

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

_ZERO_POINT_NJY = 31.4


@dataclass(frozen=True, eq=False)
class Apertures:
    """Apertures on empty sky.

    Attributes
    ----------
    x, y
        Their centres, local pixels.
    means
        Means of their pixels, in the image's unit.
    area
        Pixels of each.
    """

    x: np.ndarray
    y: np.ndarray
    means: np.ndarray
    area: int

    def __len__(self) -> int:
        return len(self.means)

    @classmethod
    def join(cls, several: Sequence[Apertures]) -> Self:
        """Put apertures of one size together."""
        x, y, means = (np.concatenate([getattr(a, name) for a in several]) for name in ("x", "y", "means"))
        return cls(x, y, means, several[0].area)


@dataclass(frozen=True, eq=False)
class ApertureTiles:
    """Where the apertures of a cell are.

    Attributes
    ----------
    cell_size, first, count
        Side of the cell; where the first tile begins, and tiles a side.
    disk
        1 within an aperture, 0 outside, shape (side, side) of a tile.
    """

    cell_size: int
    first: int
    count: int
    disk: np.ndarray

    def measure(self, block: np.ndarray, centers: np.ndarray, row: int) -> Apertures:
        """Average over the apertures in a row of cells; those with a NaN are left out.

        The block has the row's pixels less each cell's centre, NaN where they are
        no sky, shape (cell_size, pixels); ``centers`` is what was taken off.
        """
        side, n = len(self.disk), self.count
        area = int(self.disk.sum())
        size, nx = self.cell_size, len(centers)
        if not n:
            return Apertures(np.empty(0), np.empty(0), np.empty(0), area)
        span = slice(self.first, self.first + n * side)
        tiles = block.reshape(size, nx, size)[span, :, span].reshape(n, side, nx, n, side)
        sums = np.einsum("aixbj,ij->axb", tiles, self.disk)
        means = centers[:, np.newaxis] + sums.astype(np.float64) / area
        a, cell, b = np.nonzero(np.isfinite(means))
        middle = self.first + 0.5 * (side - 1)
        return Apertures(
            cell * size + middle + b * side, row * size + middle + a * side, means[a, cell, b], area
        )


def aperture_tiles(cell_size: int, radius: int) -> ApertureTiles:
    """Place apertures in a cell, as many as fit without touching.

    Parameters
    ----------
    cell_size
        Side of the cell in pixels.
    radius
        Radius of an aperture in pixels.
    """
    offsets = np.arange(-radius, radius + 1)
    disk = (offsets[:, np.newaxis] ** 2 + offsets**2 <= radius**2).astype(np.float32)
    count = cell_size // len(disk)
    return ApertureTiles(cell_size, (cell_size - count * len(disk)) // 2, count, disk)


def sky_brightness_precision(
    apertures: Apertures, background: np.ndarray, noise: float, error: float
) -> dict[str, float]:
    """Compare the sky in apertures with the background that was subtracted.

    The ratio (residual + background) / background is that of test case
    LVV-T1074, which verifies the sky brightness precision (OSS-REQ-0387,
    LSR-REQ-0093).

    Parameters
    ----------
    apertures
        The apertures.
    background
        The background at each, in the image's unit.
    noise
        Standard deviation of a pixel.
    error
        Standard error of the mean of all apertures, in the image's unit.

    Returns
    -------
    metrics
        ``skyBrightnessError`` (size of the mean ratio less 1),
        ``skyBrightnessScatter`` (standard deviation of the ratio beyond what
        the noise of the pixels explains), and the errors of both; empty
        without two apertures on a background above zero.
    """
    used = np.isfinite(background) & (background > 0)
    n = int(used.sum())
    if n < 2:
        return {}
    level = background[used]
    ratio = apertures.means[used] / level
    explained = float(np.mean((noise / level) ** 2)) / apertures.area
    excess = float(np.var(ratio, ddof=1)) - explained
    # Of the variance of n values, as for a normal distribution.
    excess_error = float(np.var(ratio, ddof=1)) * math.sqrt(2 / (n - 1))
    root, root_error = excess_root(excess, excess_error)
    return {
        "skyBrightnessError": abs(float(ratio.mean())),
        "skyBrightnessErrorUncertainty": error / float(level.mean()),
        "skyBrightnessScatter": root,
        "skyBrightnessScatterUncertainty": root_error,
    }


def excess_root(variance: float, error: float) -> tuple[float, float]:
    """Take the root of a variance that noise may make negative, and its error.

    The root is 0 if the variance is negative. The error follows by error
    propagation where the variance exceeds its own error, else it is the root of
    that error.
    """
    root = math.sqrt(max(variance, 0.0))
    return root, error / (2 * root) if variance > error else math.sqrt(error)


def limiting_surface_brightness(
    apertures: Apertures, nanojansky: float, pixel_scale: float
) -> dict[str, float]:
    """Compute the depth for extended sources: 3 sigma on 10 x 10 arcsec.

    Parameters
    ----------
    apertures
        The apertures.
    nanojansky
        Flux of one unit of the pixels in nJy.
    pixel_scale
        Side of a pixel in arcsec.

    Returns
    -------
    metrics
        ``limitingSurfaceBrightness`` in mag / arcsec^2 and its error; empty
        without two apertures, flux or scale.

    Notes
    -----
    The definition of Roman, Trujillo and Montes 2020 (A&A 644, A42) as
    ``lsst.analysis.tools`` has it: of the apertures' means the standard
    deviation, clipped three times at 3 sigma, times the root of their area
    is sigma; the limit is -2.5 log10(3 sigma / (10 arcsec * scale)) plus the
    zero point.
    """
    from astropy.stats import sigma_clip

    if len(apertures) < 2 or not (math.isfinite(nanojansky) and math.isfinite(pixel_scale)):
        return {}
    kept = sigma_clip(apertures.means, sigma=3, maxiters=3, cenfunc="mean", masked=False)
    deviation = float(np.std(kept, ddof=1)) if len(kept) > 1 else 0.0
    flux = 3 * deviation * math.sqrt(apertures.area) * nanojansky / (10 * pixel_scale)
    if not flux > 0:
        return {}
    return {
        "limitingSurfaceBrightness": _ZERO_POINT_NJY - 2.5 * math.log10(flux),
        "limitingSurfaceBrightnessUncertainty": 2.5 / math.log(10) / math.sqrt(2 * (len(kept) - 1)),
    }
