# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("extremes",)

import numpy as np

from ._tiles import TileGrid

# Tiles that are looked at for one extreme, those of them that are evaluated
# pixel by pixel, and how many pixels.
_MAX_CORNERS = 1024
_MAX_CANDIDATES = 24
_MAX_PIXELS = 1 << 15


def extremes(tiles: TileGrid) -> tuple[float, float]:
    """Find the least and the greatest pixel.

    The tiles bound where extremes can be, given how much the background
    curves from tile to tile; there, pixels are evaluated.

    Parameters
    ----------
    tiles : `TileGrid`
        The tiles.

    Returns
    -------
    minimum, maximum : `float`
        The extremes, as pixels have them.
    """
    if tiles.is_exact:
        return _pixel_at(tiles, int(tiles.mean.argmin())), _pixel_at(tiles, int(tiles.mean.argmax()))
    # Half of the curvature leaves room for its change from tile to tile.
    doubt = np.float32(0.5) * tiles.curvature
    doubt += np.float32(1e-6) * tiles.half_range
    return -_greatest(tiles, -1.0, doubt), _greatest(tiles, 1.0, doubt)


def _pixel_at(tiles: TileGrid, index: int) -> float:
    """Evaluate a pixel of tiles that are pixels, in full precision."""
    iy, ix = np.unravel_index(index, tiles.mean.shape)
    return float(tiles.pixels(tiles.y.edges[iy : iy + 1], tiles.x.edges[ix : ix + 1])[0, 0])


def _greatest(tiles: TileGrid, sign: float, doubt: np.ndarray) -> float:
    """Find the greatest pixel of ``sign`` times the background."""
    reach = tiles.mean * np.float32(sign)
    reach += tiles.half_range
    floor = (reach - doubt).max()
    candidates = np.flatnonzero((reach + doubt).ravel() >= floor)
    if len(candidates) > _MAX_CORNERS:
        candidates = candidates[np.argpartition(-reach.ravel()[candidates], _MAX_CORNERS)[:_MAX_CORNERS]]
        candidates.sort()
    # Not by the bounds: beside a step they are as wide as the step.
    height = _highest_corner(tiles, sign, candidates)
    best = candidates[np.argsort(-height, kind="stable")[:_MAX_CANDIDATES]]
    iy, ix = np.unravel_index(best, tiles.mean.shape)
    while True:
        rows = _pixels_of(tiles.y.edges, np.unique(iy))
        columns = _pixels_of(tiles.x.edges, np.unique(ix))
        # Where very many tiles could hold it (a plain background), any does.
        if len(iy) == 1 or len(rows) * len(columns) <= _MAX_PIXELS:
            return float((sign * tiles.pixels(rows, columns)).max())
        iy, ix = iy[: len(iy) // 2], ix[: len(ix) // 2]


def _highest_corner(tiles: TileGrid, sign: float, candidates: np.ndarray) -> np.ndarray:
    """Evaluate tiles at corners, middles of edges and centres; return the
    greatest.
    """
    mean, slope_y, slope_x, twist, curve_y, curve_x = (
        part.ravel()[candidates] * np.float32(sign) for part in tiles.coefficients
    )
    iy, ix = np.unravel_index(candidates, tiles.mean.shape)
    (ry, vy), (rx, vx) = (
        (0.5 * (axis.lengths[i] - 1), axis.variances[i]) for axis, i in ((tiles.y, iy), (tiles.x, ix))
    )
    height = np.full(len(candidates), -np.inf)
    for j in (-1, 0, 1):
        for i in (-1, 0, 1):
            y, x = j * ry, i * rx
            bend = curve_y * (y**2 - vy) + curve_x * (x**2 - vx)
            np.maximum(height, mean + slope_y * y + slope_x * x + twist * y * x + bend, out=height)
    return height


def _pixels_of(edges: np.ndarray, tiles: np.ndarray) -> np.ndarray:
    return np.concatenate([np.arange(edges[i], edges[i + 1]) for i in tiles])
