# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("SIGMA_PER_MAD", "median")

import numpy as np

SIGMA_PER_MAD = 1.482602218505602
"""Ratio of the standard deviation of a normal distribution to its median
absolute deviation (`float`).
"""


def median(values: np.ndarray) -> float:
    """Return the median of finite values; numpy's own is slow for few of them."""
    ordered = np.sort(values, axis=None)
    return 0.5 * (float(ordered[(ordered.size - 1) // 2]) + float(ordered[ordered.size // 2]))
