# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("extremes",)

import numpy as np

from ._strips import LEGENDRE, StripGrid

# Blocks of strips that are looked at for one extreme, at a time and at most;
# and of how many strips the best pixels are evaluated.
_BLOCKS_AT_A_TIME = 32
_MAX_BLOCKS = 512
_MAX_STRIPS = 32


def extremes(strips: StripGrid) -> tuple[float, float]:
    """Find the least and the greatest pixel.

    Blocks of strips are searched in the order of their bounds, until no other
    can hold the extreme; the best strips are evaluated as pixels are.

    Parameters
    ----------
    strips : `StripGrid`
        The strips.

    Returns
    -------
    minimum, maximum : `float`
        The extremes, as pixels have them.
    """
    if strips.is_exact:
        return _pixel_at(strips, int(strips.level.argmin())), _pixel_at(strips, int(strips.level.argmax()))
    return -_greatest(strips, -1.0), _greatest(strips, 1.0)


def _pixel_at(strips: StripGrid, index: int) -> float:
    """Evaluate a pixel of strips that are pixels, in full precision."""
    ix, iy = np.unravel_index(index, strips.level.shape)
    return float(strips.pixels(strips.y.edges[iy : iy + 1], strips.x.edges[ix : ix + 1])[0, 0])


def _greatest(strips: StripGrid, sign: float) -> float:
    """Find the greatest pixel of ``sign`` times the background."""
    bound = (strips.blocks.high if sign > 0 else -strips.blocks.low).ravel()
    blocks = np.arange(len(bound))
    if len(blocks) > _MAX_BLOCKS:
        blocks = np.argpartition(-bound, _MAX_BLOCKS)[:_MAX_BLOCKS]
    blocks = blocks[np.argsort(-bound[blocks], kind="stable")]
    found = np.empty((4, 0))
    for start in range(0, len(blocks), _BLOCKS_AT_A_TIME):
        some = blocks[start : start + _BLOCKS_AT_A_TIME]
        if found.size and bound[some[0]] < found[0, 0]:
            break
        more = _highest(strips, sign, *strips.strips_of(some))
        found = np.concatenate([found, more], axis=1)
        found = found[:, np.argsort(-found[0], kind="stable")[:_MAX_STRIPS]]
    ix, iy, at = found[1:].astype(np.int64)
    # Beside the best pixels, and in all rows that a sample stands for.
    near = strips.x.edges[ix] + at + np.array([[-1], [0], [1]])
    columns = np.unique(np.clip(near, strips.x.edges[ix], strips.x.edges[ix + 1] - 1))
    edges, strata = strips.y.edges, np.unique(iy // strips.y.per_piece)
    rows = np.concatenate([np.arange(edges[i], edges[i + 1]) for i in strata])
    return float((sign * strips.pixels(rows, columns)).max())


def _highest(strips: StripGrid, sign: float, ix: np.ndarray, iy: np.ndarray) -> np.ndarray:
    """Find the greatest pixel of the cubic of each strip; return its height,
    the strip and the row's sample, and which pixel of the strip it is.
    """
    a = LEGENDRE.T @ (sign * strips.coefficients[:, ix, iy].astype(np.float64))
    length = strips.x.lengths[ix]
    # At its ends, and next to where its slope vanishes.
    with np.errstate(divide="ignore", invalid="ignore"):
        q = -(a[2] + np.copysign(np.sqrt(np.maximum(a[2] ** 2 - 3 * a[1] * a[3], 0)), a[2]))
        turns = 0.5 * (length * (1 + np.stack([q / (3 * a[3]), a[1] / q])) - 1)
    turns[~np.isfinite(turns)] = 0.0
    ends = np.stack([np.zeros_like(length), length - 1])
    at = np.concatenate([ends, np.floor(turns), np.ceil(turns)])
    np.clip(at, 0, length - 1, out=at)
    t = (2 * at + 1) / length - 1
    height = ((a[3] * t + a[2]) * t + a[1]) * t + a[0]
    best = height.argmax(axis=0), np.arange(len(ix))
    return np.stack([height[best], ix, iy, at[best]])
