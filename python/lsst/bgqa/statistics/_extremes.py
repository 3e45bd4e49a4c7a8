# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("extremes",)

from collections.abc import Sequence

import numpy as np

from ._axes import LEGENDRE
from ._strips import StripGrid

# Blocks of strips that are looked at for one extreme, at a time and at most;
# and of how many strips the best pixels are evaluated.
_BLOCKS_AT_A_TIME = 32
_MAX_BLOCKS = 512
_MAX_STRIPS = 16
# The least pixel is the greatest of the background's negative.
_SIGNS = (-1.0, 1.0)


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
    bounds = (-strips.blocks.low).ravel(), strips.blocks.high.ravel()
    orders = [_most_promising(bound) for bound in bounds]
    # What is looked at first often is enough: of both at once.
    first = _highest(strips, _SIGNS, [order[:_BLOCKS_AT_A_TIME] for order in orders])
    least, greatest = (
        _greatest(strips, sign, bound, order, found)
        for sign, bound, order, found in zip(_SIGNS, bounds, orders, first, strict=True)
    )
    return -least, greatest


def _pixel_at(strips: StripGrid, index: int) -> float:
    """Evaluate a pixel of strips that are pixels, in full precision."""
    ix, iy = np.unravel_index(index, strips.level.shape)
    return float(strips.pixels(strips.y.edges[iy : iy + 1], strips.x.edges[ix : ix + 1])[0, 0])


def _most_promising(bound: np.ndarray) -> np.ndarray:
    """Order the blocks with the highest bounds."""
    blocks = np.arange(len(bound))
    if len(blocks) > _MAX_BLOCKS:
        blocks = np.argpartition(-bound, _MAX_BLOCKS)[:_MAX_BLOCKS]
    return blocks[np.argsort(-bound[blocks], kind="stable")]


def _greatest(
    strips: StripGrid, sign: float, bound: np.ndarray, blocks: np.ndarray, found: np.ndarray
) -> float:
    """Find the greatest pixel of ``sign`` times the background, from what was
    found in the first blocks.
    """
    found = _best(found)
    for start in range(_BLOCKS_AT_A_TIME, len(blocks), _BLOCKS_AT_A_TIME):
        some = blocks[start : start + _BLOCKS_AT_A_TIME]
        if bound[some[0]] < found[0, 0]:
            break
        found = _best(np.concatenate([found, *_highest(strips, [sign], [some])], axis=1))
    ix, iy, at = found[1:].astype(np.int64)
    # Beside the best pixels, and in all rows that a sample stands for.
    near = strips.x.edges[ix] + at + np.array([[-1], [0], [1]])
    columns = np.unique(np.clip(near, strips.x.edges[ix], strips.x.edges[ix + 1] - 1))
    return float((sign * strips.pixels(strips.y.rows_of(iy), columns)).max())


def _best(found: np.ndarray) -> np.ndarray:
    return found[:, np.argsort(-found[0], kind="stable")[:_MAX_STRIPS]]


def _highest(strips: StripGrid, signs: Sequence[float], blocks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Find the greatest pixel of the cubic of each strip, for each sign of
    the background in some blocks; return the heights, the strips and the
    rows' samples, and which pixels of the strips they are.
    """
    parts = [strips.strips_of(some)[:2] for some in blocks]
    ix, iy = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    sizes = [len(part[0]) for part in parts]
    sign = np.repeat(signs, sizes)
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
    return np.split(np.stack([height[best], ix, iy, at[best]]), np.cumsum(sizes)[:-1], axis=1)
