# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Numbers from a sample of a background's pixels."""

from __future__ import annotations

__all__ = (
    "Plane",
    "blocks_group",
    "edges_group",
    "level_group",
    "segment_edges",
    "shape_group",
)

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ._config import StatisticsConfig
from ._distribution import Distribution
from ._extremes import Extremes
from ._lattice import Lattice
from ._signs import negative_fraction
from .robust import SIGMA_PER_MAD


@dataclass(frozen=True)
class Plane:
    """The best plane through the pixels; slopes are per pixel."""

    mean: float
    variance: float
    slope_x: float
    slope_y: float
    width: int
    height: int

    @classmethod
    def of(cls, lattice: Lattice) -> Self:
        """Fit a plane to a sample of the pixels by least squares."""
        width, height = lattice.model.bbox.width, lattice.model.bbox.height
        count = width * height
        deviations = lattice.pixels - np.float64(lattice.reference)
        rows, columns = lattice.y.weights.ravel(), lattice.x.weights.ravel()
        by_row = np.einsum("ij,j->i", deviations, columns) * rows
        by_column = np.einsum("ij,i->j", deviations, rows) * columns
        offset = float(by_row.sum()) / count
        deviations -= offset
        deviations *= deviations
        variance = float((np.einsum("ij,j->i", deviations, columns) * rows).sum()) / count
        slopes = [
            12 * (sums * (axis.pixels.ravel() - 0.5 * (size - 1))).sum() / (count * (size**2 - 1))
            if size > 1
            else 0.0
            for sums, axis, size in ((by_column, lattice.x, width), (by_row, lattice.y, height))
        ]
        return cls(lattice.reference + offset, variance, float(slopes[0]), float(slopes[1]), width, height)

    @property
    def residual_variance(self) -> float:
        """Variance of the pixels about the plane."""
        explained = self.slope_x**2 * (self.width**2 - 1) + self.slope_y**2 * (self.height**2 - 1)
        return max(self.variance - explained / 12, 0.0)


def level_group(
    lattice: Lattice, distribution: Distribution, extremes: Extremes, plane: Plane
) -> dict[str, float]:
    """Describe the distribution of the pixels."""
    minimum, maximum = extremes
    quantiles = distribution.quantiles([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
    mean, p01, p05, p25, median, p75, p95, p99 = np.clip([plane.mean, *quantiles], minimum, maximum).tolist()
    return {
        "min": minimum,
        "max": maximum,
        "mean": mean,
        "median": median,
        "std": math.sqrt(plane.variance) if minimum < maximum else 0.0,
        "sigmaMad": SIGMA_PER_MAD * distribution.median_absolute_deviation(),
        "p01": p01,
        "p05": p05,
        "p25": p25,
        "p75": p75,
        "p95": p95,
        "p99": p99,
        "range": maximum - minimum,
        "negativeFraction": negative_fraction(lattice, distribution) if minimum < 0 else 0.0,
    }


def shape_group(plane: Plane, roughness: float) -> dict[str, float]:
    """Describe the large-scale shape, by the best plane, and the roughness.

    Gradients are per 1000 pixels, the angle is in degrees from x towards y.
    """
    amplitude = abs(plane.slope_x) * (plane.width - 1) + abs(plane.slope_y) * (plane.height - 1)
    return {
        "gradientX": 1000 * plane.slope_x,
        "gradientY": 1000 * plane.slope_y,
        "gradientAmplitude": amplitude,
        "gradientAngle": math.degrees(math.atan2(plane.slope_y, plane.slope_x)) if amplitude else math.nan,
        "residualRms": math.sqrt(plane.residual_variance),
        "roughness": roughness,
    }


def edges_group(
    lattice: Lattice, distribution: Distribution, width: int, extremes: Extremes, inside: Extremes | None
) -> dict[str, float]:
    """Compare edges and corners with the interior, if there is one.

    The lattice is cut along a ring of ``width`` pixels; ``inside`` is the range
    of the pixels between the outermost bin centres, if there are any.
    """
    metrics = {}
    _, _, nx, ny = lattice.model.bbox
    if 2 * width < min(nx, ny):
        # Before, within and after the interior.
        every = 2 if lattice.pairs and not lattice.is_exact else 1
        rows, columns = (
            np.searchsorted([width, size - width], axis.pixels.ravel()[::every], side="right")
            for axis, size in ((lattice.y, ny), (lattice.x, nx))
        )
        places = np.add.outer(3 * rows, columns)

        def median(part: np.ndarray) -> float:
            if lattice.is_exact:
                return float(np.quantile(lattice.pixels[part].astype(np.float64), 0.5))
            return distribution.median_of(part)

        interior = median(places == 4)
        metrics["edgeExcess"] = median(places != 4) - interior
        corners = [median(places == corner) for corner in (0, 2, 6, 8)]
        metrics["cornerExcess"] = max((corner - interior for corner in corners), key=abs)
    if inside is not None:
        metrics["extrapolationOvershoot"] = max(
            inside.minimum - extremes.minimum, extremes.maximum - inside.maximum
        )
    return metrics


def blocks_group(lattice: Lattice, plane: Plane, config: StatisticsConfig) -> dict[str, float]:
    """Look for steps between the halves and between segments.

    The lattice is cut along mid-lines, strips and segments. The best plane is
    no step.
    """
    _, _, width, height = lattice.model.bbox
    metrics = {}
    for name, size, slope in (("stepX", width, plane.slope_x), ("stepY", height, plane.slope_y)):
        strip, middle = min(config.step_width, size // 2), size // 2
        if strip:
            cuts = [middle - strip, middle, middle + strip]
            means = (
                lattice.block_means([0, height], cuts)
                if name == "stepX"
                else lattice.block_means(cuts, [0, width])
            )
            low, high = means.ravel()
            metrics[name] = float(high - low) - slope * strip
    if config.segments is not None:
        nx, ny = config.segments
        if nx <= width and ny <= height:
            x, y = segment_edges(width, nx), segment_edges(height, ny)
            means = lattice.block_means(y, x)
            means -= plane.slope_y * _middles(y)[:, np.newaxis] + plane.slope_x * _middles(x)
            steps = [np.abs(np.diff(means, axis=axis)).ravel() for axis in (0, 1)]
            metrics["segmentContrast"] = float(np.max(np.concatenate(steps), initial=0.0))
    return metrics


def segment_edges(size: int, n: int) -> list[int]:
    """Return the first pixel of each of n equal segments, and the end."""
    return [i * size // n for i in range(n + 1)]


def _middles(edges: Sequence[int]) -> np.ndarray:
    return 0.5 * (np.array(edges[:-1]) + np.array(edges[1:]) - 1)
