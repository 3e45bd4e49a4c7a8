# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Rings about bright sources: dark ones are over-subtraction."""

from __future__ import annotations

__all__ = ("Footprints", "RingProfile", "find_footprints", "ring_profile")

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ._cells import CellGrid

# Far sky is at least so much of the sky; rings are given up for it.
_FAR_FRACTION = 0.1


@dataclass(frozen=True, eq=False)
class RingProfile:
    """The residual sky by distance.

    Attributes
    ----------
    radii
        Borders of the rings in pixels, shape (rings + 1,).
    means, errors
        Mean of the sky in each ring and its standard error, in the image's
        unit, shape (rings,); NaN where there is no sky.
    far, far_error
        Those of the sky beyond the last ring.
    """

    radii: np.ndarray
    means: np.ndarray
    errors: np.ndarray
    far: float
    far_error: float

    @property
    def depths(self) -> np.ndarray:
        """Each ring less the far sky."""
        return self.means - self.far

    @property
    def depth_errors(self) -> np.ndarray:
        """Standard errors of these."""
        return np.hypot(self.errors, self.far_error)

    @property
    def deepest(self) -> int | None:
        """Number of the darkest ring, in its errors."""
        known = self.depth_errors > 0
        significance = np.divide(
            self.depths, self.depth_errors, out=np.full(known.shape, np.nan), where=known
        )
        return None if np.isnan(significance).all() else int(np.nanargmin(significance))

    def metrics(self) -> dict[str, float]:
        """Return the metrics of the darkest ring.

        Returns
        -------
        metrics
            ``haloDepth`` (the ring less the far sky), ``haloRadius`` (its
            middle, in pixels) and ``haloSignificance``; empty without sky.
        """
        ring = self.deepest
        if ring is None:
            return {}
        depth, error = float(self.depths[ring]), float(self.depth_errors[ring])
        return {
            "haloDepth": depth,
            "haloRadius": 0.5 * float(self.radii[ring] + self.radii[ring + 1]),
            "haloSignificance": depth / error,
        }


@dataclass(frozen=True, eq=False)
class Footprints:
    """The large detected sources of an image.

    Attributes
    ----------
    distance
        Distance of each part's centre from the edge of the nearest one, in
        pixels.
    count
        Number of them.
    x, y
        Centre of the largest, local pixels.
    """

    distance: np.ndarray
    count: int
    x: float
    y: float


def find_footprints(grid: CellGrid, area: int) -> Footprints | None:
    """Find large detected sources.

    Parameters
    ----------
    grid
        The image's sky; a part is in a footprint if half of it is.
    area
        Least area of a large footprint in pixels.

    Returns
    -------
    footprints
        The large ones; `None` if there is none.
    """
    from scipy import ndimage

    inside = (grid.pixels > 0) & (grid.detected >= 0.5 * grid.pixels)
    labels, n = ndimage.label(inside, structure=np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), weights=grid.detected.ravel(), minlength=n + 1)
    large = np.flatnonzero(areas[1:] >= area) + 1
    if not len(large):
        return None
    distance = ndimage.distance_transform_edt(~np.isin(labels, large)) * grid.part_size
    largest = large[np.argmax(areas[large])]
    row, column = ndimage.center_of_mass(grid.detected, labels, largest)
    return Footprints(
        np.maximum(distance - 0.5 * grid.part_size, 0.0),
        len(large),
        (column + 0.5) * grid.part_size - 0.5,
        (row + 0.5) * grid.part_size - 0.5,
    )


def ring_profile(grid: CellGrid, distance: np.ndarray, radii: Sequence[float]) -> RingProfile | None:
    """Average the sky in rings of distance.

    Parameters
    ----------
    grid
        The image's sky.
    distance
        A distance for each part of a cell, in pixels.
    radii
        Borders of the rings, ascending. The outermost are given up if less
        than a tenth of the sky is beyond.

    Returns
    -------
    profile
        The rings, and the far sky; `None` if there is no far sky.
    """
    borders = list(radii)
    total = float(grid.counts.sum())
    while len(borders) > 1 and grid.counts[distance >= borders[-1]].sum() < _FAR_FRACTION * total:
        borders.pop()
    if len(borders) < 2 or not total:
        return None
    far, far_error, _ = grid.mean_of(distance >= borders[-1])
    rings = [
        grid.mean_of((distance >= inner) & (distance < outer)) for inner, outer in itertools.pairwise(borders)
    ]
    means, errors, _ = (np.array(column) for column in zip(*rings, strict=True))
    return RingProfile(np.array(borders, dtype=np.float64), means, errors, far, far_error)
