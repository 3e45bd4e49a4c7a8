# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("negative_fraction",)

import numpy as np

from ._distribution import Distribution
from ._extremes import Cells
from ._lattice import Lattice

# Up to so many pixels are looked at one by one.
_MAX_LOOKED_AT = 1 << 20


def negative_fraction(lattice: Lattice, distribution: Distribution) -> float:
    """Tell which fraction of all pixels is negative.

    Zero is a value that bins and whole regions have where nothing was to be
    subtracted. In images that are not large, the pixels of cells with both
    signs are counted.
    """
    if lattice.is_exact:
        return float((lattice.pixels < 0).mean())
    by_distribution = float(distribution.fractions_below([0.0])[0])
    if lattice.is_large:
        return by_distribution
    cells = Cells(lattice)
    areas = np.multiply.outer(lattice.y.lengths, lattice.x.lengths)
    mixed = (cells.low - cells.reach < 0) & (cells.high + cells.reach >= 0) & (cells.low != cells.high)
    if areas[mixed].sum() > _MAX_LOOKED_AT:
        return by_distribution
    count = int(areas[(cells.high < 0) & ~mixed].sum())
    for i in np.flatnonzero(mixed.any(axis=1)):
        rows = np.arange(*lattice.y.edges[i : i + 2], dtype=np.float64)
        parts = [np.arange(*lattice.x.edges[j : j + 2], dtype=np.float64) for j in np.flatnonzero(mixed[i])]
        count += int((lattice.model.sample(rows, np.concatenate(parts))[0] < 0).sum())
    return count / lattice.model.bbox.area
