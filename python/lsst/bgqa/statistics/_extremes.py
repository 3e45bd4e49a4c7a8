# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("extremes",)

import numpy as np

from .._compiled import MOST_STRIPS, find_highest
from ._strips import StripGrid


def extremes(strips: StripGrid, keep: np.ndarray | None = None) -> tuple[float, float]:
    """Find the least and the greatest pixel.

    The strips are found that hold them; their best pixels are evaluated as
    pixels are.

    Parameters
    ----------
    strips : `StripGrid`
        The strips.
    keep : `numpy.ndarray`, optional
        The blocks to search, ``bool``; by default all.

    Returns
    -------
    minimum, maximum : `float`
        The extremes, as pixels have them.
    """
    if strips.is_exact:
        level = strips.level if keep is None else np.where(keep, strips.level, np.float32(np.nan))
        return _pixel_at(strips, int(np.nanargmin(level))), _pixel_at(strips, int(np.nanargmax(level)))
    rows, columns = zip(
        _promising(strips, -1.0, strips.blocks.low, keep),
        _promising(strips, 1.0, strips.blocks.high, keep),
        strict=True,
    )
    pixels = strips.pixels(np.unique(np.concatenate(rows)), np.unique(np.concatenate(columns)))
    return float(pixels.min()), float(pixels.max())


def _pixel_at(strips: StripGrid, index: int) -> float:
    """Evaluate a pixel of strips that are pixels, in full precision."""
    ix, iy = np.unravel_index(index, strips.level.shape)
    return float(strips.pixels(strips.y.edges[iy : iy + 1], strips.x.edges[ix : ix + 1])[0, 0])


def _promising(
    strips: StripGrid, sign: float, bounds: np.ndarray, keep: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Find rows and columns that the greatest pixel of ``sign`` times the
    background is in.
    """
    found = np.empty((3, MOST_STRIPS), dtype=np.int64)
    n = find_highest(strips.coefficients, strips.x.lengths, strips.y.starts, bounds, keep, found, sign)
    ix, iy, at = found[:, :n]
    # Beside the best pixels, and in all rows that a sample stands for.
    first, last = strips.x.edges[ix], strips.x.edges[ix + 1] - 1
    at += first
    return strips.y.rows_of(iy), np.concatenate([np.maximum(at - 1, first), at, np.minimum(at + 1, last)])
