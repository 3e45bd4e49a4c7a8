# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""How much two models of the same background differ."""

from __future__ import annotations

__all__ = ("comparison_statistics",)

import math

from ..background import BackgroundModel
from ._background import background_statistics


def comparison_statistics(difference: BackgroundModel) -> dict[str, float]:
    """Measure the difference between two models of a background.

    These are the metrics of the catalogue's comparison group by name within it;
    there are none if no pixel is finite.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if a layer cannot be evaluated.
    """
    level = background_statistics(difference)
    if "level_mean" not in level:
        return {}
    return {
        "meanDifference": level["level_mean"],
        "medianDifference": level["level_median"],
        "rmsDifference": math.hypot(level["level_mean"], level["level_std"]),
        "maxAbsDifference": max(abs(level["level_min"]), abs(level["level_max"])),
    }
