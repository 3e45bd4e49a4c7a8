# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Steps between detectors that lie side by side on the sky.

Which detectors do, and with which edges, follows from their regions alone.

A region is a ``lsst.sphgeom.ConvexPolygon``, the hull of a detector's corners,
which were given in the order lower left, lower right, upper right, upper left
(so do the stack's visit definition, which widens the detector by some hundred
pixels before, and this package's ``ingest``). The hull runs counterclockwise
as seen from outside the sphere. Where the corners do not, ``convexHull`` swaps
the first two, and goes on the other way round. In both cases its first side,
from vertex 0 to 1, is the detector's lower edge, and its third the upper one.
Whether the second side is the right or the left edge depends on which of the
cases it was: on whether the image of the sky is mirrored. The polygon alone
does not tell; it is the same for all detectors of a camera, and either
configured, or taken to be what lets backgrounds rise as the visit's trend does.
"""

from __future__ import annotations

__all__ = (
    "EdgeProfiles",
    "Outline",
    "Pair",
    "Step",
    "edge_profiles",
    "find_pairs",
    "is_mirrored",
    "measure_steps",
    "region_padding",
)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..background import BackgroundModel

# Positions along an edge where a background is evaluated, and along what two
# edges share where two are compared.
_EDGE_SAMPLES = 129
_SHARED_SAMPLES = 65
# What counts as side by side: how far apart, as a fraction of the detector's
# size across; how much of the shorter edge is shared; how far from parallel.
_MAX_GAP = 0.25
_MIN_SHARED = 0.25
_MIN_COSINE = 0.9
# A detector's region may be this much longer or shorter than its pixels say.
_ASPECT_TOLERANCE = 1.15

_BOTTOM, _TOP, _LEFT, _RIGHT = "bottom", "top", "left", "right"


class Pair(NamedTuple):
    """Two detectors side by side, and the sides of their regions that face.

    Attributes
    ----------
    first_side, second_side
        Sides of the regions; side i runs from vertex i to the next.
    """

    first: int
    second: int
    first_side: int
    second_side: int


class Step(NamedTuple):
    """The step in level from one detector to another.

    Attributes
    ----------
    first_edge, second_edge
        Which edges of their pixel grids face each other: ``"bottom"``,
        ``"top"``, ``"left"`` or ``"right"``.
    value
        Median, along what the edges share, of the second's level minus the
        first's, less what the visit's gradient does across the gap.
    rms
        Root mean square of that difference about its median.
    """

    first: int
    second: int
    first_edge: str
    second_edge: str
    value: float
    rms: float


@dataclass(frozen=True, eq=False)
class EdgeProfiles:
    """A background's levels along the edges of its box.

    Attributes
    ----------
    width, height
        Size of the box in pixels.
    levels
        Levels in the outermost pixels of each edge, ``float64``, shape (m,),
        evenly from the first to the last pixel in x (bottom, top) or y.
    """

    width: int
    height: int
    levels: Mapping[str, np.ndarray]

    def at(self, edge: str, fractions: np.ndarray) -> np.ndarray:
        """Interpolate the levels along an edge, at fractions from 0 to 1 of the box."""
        levels = self.levels[edge]
        return np.interp(fractions, np.linspace(0, 1, len(levels)), levels)


@dataclass(frozen=True, eq=False)
class Outline:
    """The region of a detector in the tangent plane.

    Attributes
    ----------
    vertices
        Vertices in degrees east and north, ``float64``, shape (4, 2),
        counterclockwise as seen from outside the sphere.
    """

    vertices: np.ndarray

    @cached_property
    def center(self) -> np.ndarray:
        """Its centre (`numpy.ndarray`, shape (2,))."""
        return self.vertices.mean(axis=0)

    @cached_property
    def sides(self) -> np.ndarray:
        """Vectors from each vertex to the next (`numpy.ndarray`, (4, 2))."""
        return np.roll(self.vertices, -1, axis=0) - self.vertices

    @cached_property
    def lengths(self) -> np.ndarray:
        """Length of each side (`numpy.ndarray`, shape (4,))."""
        return np.hypot(*self.sides.T)

    @cached_property
    def normals(self) -> np.ndarray:
        """Unit vectors out of each side (`numpy.ndarray`, shape (4, 2))."""
        x, y = (self.sides / self.lengths[:, np.newaxis]).T
        normals = np.stack([y, -x], axis=1)
        middles = self.vertices + 0.5 * self.sides
        outward = np.sum(normals * (middles - self.center), axis=1)
        return normals * np.sign(outward)[:, np.newaxis]

    def fits(self, width: int, height: int) -> bool:
        """Whether its first side may be a row of the pixel grid, by the sides' lengths."""
        lengths = self.lengths
        ratio = (lengths[0] + lengths[2]) * height / ((lengths[1] + lengths[3]) * width)
        # The region is wider than the detector by the same on all sides, which
        # makes it squarer.
        low, high = sorted((1.0, height / width))
        return bool(low / _ASPECT_TOLERANCE <= ratio <= high * _ASPECT_TOLERANCE)


def edge_profiles(model: BackgroundModel) -> EdgeProfiles | None:
    """Evaluate a background along the edges of its box; `None` if levels are not finite.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if a layer cannot be evaluated.
    """
    _, _, width, height = model.bbox
    x, y = (np.linspace(0, size - 1, _EDGE_SAMPLES) for size in (width, height))
    end_x, end_y = (np.array([0.0, size - 1.0]) for size in (width, height))
    bottom, top = model.evaluate(end_y, x)
    left, right = model.evaluate(y, end_x).T
    levels = {_BOTTOM: bottom, _TOP: top, _LEFT: left, _RIGHT: right}
    if not all(np.isfinite(profile).all() for profile in levels.values()):
        return None
    return EdgeProfiles(width, height, levels)


def find_pairs(outlines: Mapping[int, Outline]) -> list[Pair]:
    """Find the detectors that lie side by side, each pair once, in the order of numbers.

    Detectors that share a corner alone are no pair.
    """
    numbers = sorted(outlines)
    if not numbers:
        return []
    centers = np.array([outlines[number].center for number in numbers])
    sizes = np.array([outlines[number].lengths.max() for number in numbers])
    pairs = []
    for i, first in enumerate(numbers):
        distance = np.hypot(*(centers[i + 1 :] - centers[i]).T)
        near = np.nonzero(distance < 1.5 * np.maximum(sizes[i], sizes[i + 1 :]))[0] + i + 1
        for second in (numbers[j] for j in near):
            sides = _facing_sides(outlines[first], outlines[second])
            if sides is not None:
                pairs.append(Pair(first, second, *sides))
    return pairs


def _facing_sides(first: Outline, second: Outline) -> tuple[int, int] | None:
    best: tuple[float, tuple[int, int]] | None = None
    cosines, toward = first.normals @ second.normals.T, first.normals @ (second.center - first.center)
    for i, j in zip(*np.nonzero(cosines < -_MIN_COSINE), strict=True):
        if toward[i] <= 0:
            continue
        gap = abs(_gap(first, second, int(i), int(j)))
        across = min(first.lengths[(i + 1) % 4], second.lengths[(j + 1) % 4])
        if gap > _MAX_GAP * across:
            continue
        side = first.sides[i] / first.lengths[i]
        ends = [(point - first.vertices[i]) @ side for point in _ends(second, int(j))]
        shared = min(first.lengths[i], max(ends)) - max(0.0, min(ends))
        if shared < _MIN_SHARED * min(first.lengths[i], second.lengths[j]):
            continue
        if best is None or gap < best[0]:
            best = gap, (int(i), int(j))
    return best[1] if best is not None else None


def _ends(outline: Outline, side: int) -> tuple[np.ndarray, np.ndarray]:
    return outline.vertices[side], outline.vertices[(side + 1) % 4]


def _gap(first: Outline, second: Outline, i: int, j: int) -> float:
    """Distance from one side to the other; negative where regions overlap."""
    middles = [sum(_ends(outline, side)) / 2 for outline, side in ((first, i), (second, j))]
    return float((middles[1] - middles[0]) @ first.normals[i])


def region_padding(outlines: Mapping[int, Outline], pairs: Sequence[Pair]) -> float:
    """Estimate by how many degrees on each side regions are wider than their detectors.

    Detectors do not overlap: where regions of neighbours do, half of the median
    overlap belongs to each. The gap between the detectors makes the estimate that
    much too small.
    """
    gaps = [_gap(outlines[p.first], outlines[p.second], p.first_side, p.second_side) for p in pairs]
    return max(0.0, -0.5 * float(np.median(gaps))) if gaps else 0.0


def measure_steps(
    outlines: Mapping[int, Outline],
    profiles: Mapping[int, EdgeProfiles],
    gradients: Mapping[int, np.ndarray],
    mirrored: bool | None = None,
) -> tuple[list[Step], bool]:
    """Measure the steps in level between neighbouring detectors, in the order of numbers.

    It also returns ``mirrored``, as given or found.

    Parameters
    ----------
    profiles
        Levels along the detectors' edges; detectors without are left out.
    gradients
        Slopes of the visit's smooth trend at the detectors, per degree to the
        east and to the north, shape (2,); zero where there is none.
    mirrored
        Whether pixel rows run counterclockwise about the detectors as seen
        from outside the sphere, as where x is to the east if y is to the
        north. By default `is_mirrored` decides.
    """
    usable = {
        number: outline
        for number, outline in outlines.items()
        if number in profiles and outline.fits(profiles[number].width, profiles[number].height)
    }
    if mirrored is None:
        mirrored = is_mirrored(usable, profiles, gradients)
    # Pairs and padding do not depend on which detectors could be read.
    pairs = find_pairs(outlines)
    padding = region_padding(outlines, pairs)
    steps = [
        _measure(pair, usable, profiles, gradients, padding, mirrored)
        for pair in pairs
        if pair.first in usable and pair.second in usable
    ]
    return steps, mirrored


def is_mirrored(
    outlines: Mapping[int, Outline],
    profiles: Mapping[int, EdgeProfiles],
    gradients: Mapping[int, np.ndarray],
) -> bool:
    """Decide whether x rises along the first sides of regions, or falls.

    It rises where the backgrounds rise in x and the visit's trend rises along
    the first side, on the whole. Right minus left edge is compared with
    the trend's change, each detector counting no more than three times
    the median one. Where backgrounds are flat, the answer is arbitrary,
    and changes no step.
    """
    numbers = sorted(number for number in outlines if number in gradients)
    if not numbers:
        return False
    rises = np.array(
        [
            np.median(profiles[number].levels[_RIGHT]) - np.median(profiles[number].levels[_LEFT])
            for number in numbers
        ]
    )
    limit = 3 * float(np.median(np.abs(rises)))
    expected = [float(outlines[number].sides[0] @ gradients[number]) for number in numbers]
    return bool(np.clip(rises, -limit, limit) @ np.array(expected) > 0)


def _edge_of(side: int, mirrored: bool) -> tuple[str, bool]:
    """Return the pixel grid's edge that is a region's side, and whether the
    pixels' coordinate rises along it.
    """
    if mirrored:
        return ((_BOTTOM, True), (_RIGHT, True), (_TOP, False), (_LEFT, False))[side]
    return ((_BOTTOM, False), (_LEFT, True), (_TOP, True), (_RIGHT, False))[side]


def _measure(
    pair: Pair,
    outlines: Mapping[int, Outline],
    profiles: Mapping[int, EdgeProfiles],
    gradients: Mapping[int, np.ndarray],
    padding: float,
    mirrored: bool,
) -> Step:
    first, second = outlines[pair.first], outlines[pair.second]
    i, j = pair.first_side, pair.second_side
    direction = first.sides[i] / first.lengths[i]
    # Along the first's side, in degrees from its first vertex.
    a = padding, first.lengths[i] - padding
    ends = sorted(float((point - first.vertices[i]) @ direction) for point in _ends(second, j))
    b = ends[0] + padding, ends[1] - padding
    low, high = max(a[0], b[0]), min(a[1], b[1])
    along = np.linspace(low, high, _SHARED_SAMPLES)

    edge1, rises1 = _edge_of(i, mirrored)
    edge2, rises2 = _edge_of(j, mirrored)
    fraction1 = (along - a[0]) / (a[1] - a[0])
    fraction2 = (along - b[0]) / (b[1] - b[0])
    # The second's side may run against the first's.
    if (second.sides[j] @ direction) < 0:
        rises2 = not rises2
    levels1 = profiles[pair.first].at(edge1, fraction1 if rises1 else 1 - fraction1)
    levels2 = profiles[pair.second].at(edge2, fraction2 if rises2 else 1 - fraction2)
    gap = max(0.0, _gap(first, second, i, j) + 2 * padding)
    slope = np.mean([gradients.get(number, np.zeros(2)) for number in (pair.first, pair.second)], axis=0)
    expected = gap * float(first.normals[i] @ slope)
    difference = levels2 - levels1 - expected
    value = float(np.median(difference))
    return Step(
        pair.first, pair.second, edge1, edge2, value, float(np.sqrt(np.mean((difference - value) ** 2)))
    )
