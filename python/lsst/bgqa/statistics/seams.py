# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Backgrounds of patches where they overlap, and their mosaic."""

from __future__ import annotations

__all__ = ("PatchSamples", "Seam", "TractMosaic", "seam_deviations", "seam_metrics")

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..background import BackgroundModel, Box
from .robust import SIGMA_PER_MAD

_MIN_SEAMS = 8
_MIN_PATCH_SEAMS = 3


class Seam(NamedTuple):
    """How two patches differ where they overlap.

    Attributes
    ----------
    points
        Points at which both have a value.
    mean, rms, max
        Mean, root mean square and largest size of the second's minus the
        first's value.
    """

    first: int
    second: int
    points: int
    mean: float
    rms: float
    max: float


@dataclass(frozen=True, eq=False)
class PatchSamples:
    """A patch's background at the points of a grid that all patches share.

    Attributes
    ----------
    bbox
        The patch's pixels, in the tract's coordinates.
    column, row
        Number of the first point in x and y, in the tract.
    values
        Values, ``float32``, shape (ny, nx).
    """

    bbox: Box
    column: int
    row: int
    values: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, model: BackgroundModel, step: int) -> PatchSamples:
        """Evaluate a patch's background where a coordinate is a multiple of ``step`` pixels.

        Raises
        ------
        lsst.bgqa.BackgroundError
            Raised if a layer cannot be evaluated.
        """
        bbox = model.bbox
        column, row = -(-bbox.x0 // step), -(-bbox.y0 // step)
        x = np.arange(column * step, bbox.x1, step, dtype=np.float64) - bbox.x0
        y = np.arange(row * step, bbox.y1, step, dtype=np.float64) - bbox.y0
        values = model.evaluate(y, x) if len(x) and len(y) else np.zeros((len(y), len(x)))
        return cls(bbox, column, row, values.astype(np.float32))

    def window(self, other: PatchSamples) -> np.ndarray | None:
        """Return the values at the points that another patch has, too, if there are any."""
        (ny, nx), (other_ny, other_nx) = self.values.shape, other.values.shape
        x0, y0 = max(self.column, other.column), max(self.row, other.row)
        x1 = min(self.column + nx, other.column + other_nx)
        y1 = min(self.row + ny, other.row + other_ny)
        if x0 >= x1 or y0 >= y1:
            return None
        return self.values[y0 - self.row : y1 - self.row, x0 - self.column : x1 - self.column]


class TractMosaic:
    """The backgrounds of a tract's patches, at points ``step`` pixels apart."""

    def __init__(self, step: int = 16) -> None:
        self.step = step
        self.patches: dict[int, PatchSamples] = {}

    def add(self, patch: int, model: BackgroundModel) -> None:
        """Add a patch; nothing but its samples is kept.

        Raises
        ------
        lsst.bgqa.BackgroundError
            Raised if it cannot be evaluated.
        """
        self.patches[patch] = PatchSamples.of(model, self.step)

    def seams(self) -> list[Seam]:
        """Compare the pairs of patches that have points at which both have a value."""
        seams = []
        numbers = sorted(self.patches)
        for i, first in enumerate(numbers):
            for second in numbers[i + 1 :]:
                a = self.patches[first].window(self.patches[second])
                b = self.patches[second].window(self.patches[first])
                if a is None or b is None:
                    continue
                difference = b.astype(np.float64) - a
                difference = difference[np.isfinite(difference)]
                if len(difference):
                    seams.append(
                        Seam(
                            first,
                            second,
                            len(difference),
                            float(difference.mean()),
                            float(np.sqrt(np.mean(difference**2))),
                            float(np.abs(difference).max()),
                        )
                    )
        return seams


def seam_deviations(seams: Iterable[Seam], floor: float) -> dict[int, tuple[float, float]]:
    """Tell which patches are above or below those that they overlap.

    There are eight seams at least. Of each patch that has three or more, these are
    the median of its differences from the others, which one deviating neighbour
    does not move, and that over the robust standard deviation of all seams.
    """
    differences: dict[int, list[float]] = defaultdict(list)
    seams = list(seams)
    for seam in seams:
        differences[seam.first].append(-seam.mean)
        differences[seam.second].append(seam.mean)
    if len(seams) < _MIN_SEAMS:
        return {}
    scale = max(SIGMA_PER_MAD * float(np.median([abs(seam.mean) for seam in seams])), floor)
    if not scale > 0:
        return {}
    return {
        patch: (float(np.median(values)), float(np.median(values)) / scale)
        for patch, values in differences.items()
        if len(values) >= _MIN_PATCH_SEAMS
    }


def seam_metrics(seams: Iterable[Seam]) -> dict[str, float]:
    """Sum up the seams of a tract as metrics of the tract group, by full name.

    Every point of an overlap counts once for each pair.
    """
    seams = list(seams)
    if not seams:
        return {}
    count = sum(seam.points for seam in seams)
    return {
        "tract_seamRms": math.sqrt(sum(seam.points * seam.rms**2 for seam in seams) / count),
        "tract_seamMax": max(seam.max for seam in seams),
    }
