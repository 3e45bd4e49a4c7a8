# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Edges, corners and steps of the residual sky."""

from __future__ import annotations

__all__ = ("Contrast", "corner_contrast", "edge_contrast", "step_across", "steps_between_segments")

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ._cells import CellGrid


@dataclass(frozen=True)
class Contrast:
    """A difference between parts of an image.

    Attributes
    ----------
    value, error
        The difference and its standard error, in the image's unit.
    place
        Where it is.
    """

    value: float
    error: float
    place: str

    @property
    def significance(self) -> float:
        """The difference in standard errors."""
        return self.value / self.error if self.error > 0 else math.nan


def edge_contrast(grid: CellGrid, width: int) -> tuple[Contrast, Contrast] | None:
    """Compare the outermost ring of an image with its interior.

    Parameters
    ----------
    grid
        The image's sky.
    width
        Width of the ring in pixels.

    Returns
    -------
    ring, edge
        The whole ring less the interior, and the one of the four edges that
        stands out most; `None` if there is no interior, or no sky in either.
    """
    near = _near_edges(grid, width)
    if near is None:
        return None
    interior = ~_any(near)
    ring = _compare(grid, _any(near), interior, "ring")
    edges = [_compare(grid, chosen, interior, f"{name} edge") for name, chosen in near.items()]
    worst = _most_significant([edge for edge in edges if edge is not None])
    return None if ring is None or worst is None else (ring, worst)


def corner_contrast(grid: CellGrid, width: int) -> Contrast | None:
    """Compare the corners of an image with its interior.

    Parameters
    ----------
    grid
        The image's sky.
    width
        Side of the corners in pixels.

    Returns
    -------
    corner
        The one that stands out most; `None` without an interior or sky.
    """
    near = _near_edges(grid, width)
    if near is None:
        return None
    interior = ~_any(near)
    corners = [
        _compare(grid, near[v] & near[h], interior, f"{v} {h} corner")
        for v in ("lower", "upper")
        for h in ("left", "right")
    ]
    return _most_significant([corner for corner in corners if corner is not None])


def _near_edges(grid: CellGrid, width: int) -> dict[str, np.ndarray] | None:
    if 2 * width >= min(grid.width, grid.height):
        return None
    x, y = grid.x, grid.y[:, np.newaxis]
    shape = grid.counts.shape
    near = {
        "left": x < width - 0.5,
        "right": x > grid.width - width - 0.5,
        "lower": y < width - 0.5,
        "upper": y > grid.height - width - 0.5,
    }
    return {name: np.broadcast_to(chosen, shape) for name, chosen in near.items()}


def _any(near: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.logical_or.reduce(list(near.values()))


def _compare(grid: CellGrid, chosen: np.ndarray, reference: np.ndarray, place: str) -> Contrast | None:
    mean, error, count = grid.mean_of(chosen)
    other, other_error, other_count = grid.mean_of(reference)
    if not count or not other_count:
        return None
    return Contrast(mean - other, math.hypot(error, other_error), place)


def _most_significant(contrasts: list[Contrast]) -> Contrast | None:
    return max(contrasts, key=lambda contrast: abs(contrast.significance), default=None)


def step_across(
    grid: CellGrid,
    axis: Literal["x", "y"],
    position: int,
    width: int,
    along: tuple[int, int] | None = None,
) -> Contrast | None:
    """Measure a step across a line of constant x or y.

    A straight line with a step is fitted to the means of strips on both
    sides, so that a gradient is no step. Parts of cells that the line
    divides are left out.

    Parameters
    ----------
    grid
        The image's sky.
    axis
        ``"x"`` for a line of constant x.
    position
        The first pixel beyond the line, local.
    width
        How far to look on either side, in pixels.
    along
        First pixel of the line and the one after the last; by default, the
        line crosses the image.

    Returns
    -------
    step
        Above (right of) the line less below (left of) it; `None` without
        sky on both sides.
    """
    size = grid.part_size
    across, parallel = (grid.x, grid.y) if axis == "x" else (grid.y, grid.x)
    first, last = across - 0.5 * (size - 1), across + 0.5 * (size + 1)
    below = (last <= position) & (first >= position - width)
    above = (first >= position) & (last <= position + width)
    chosen = np.ones(len(parallel), dtype=bool)
    if along is not None:
        half = 0.5 * (size - 1)
        chosen = (parallel - half >= along[0]) & (parallel + half < along[1])
    counts, means = (grid.counts, grid.means) if axis == "x" else (grid.counts.T, grid.means.T)
    counts = np.where(chosen[:, np.newaxis] & (below | above), counts, 0.0)
    total = counts.sum(axis=0)
    used = total > 0
    if not (used & below).any() or not (used & above).any():
        return None
    terms = [np.ones(len(across)), above.astype(np.float64)]
    if (used & below).sum() > 1 and (used & above).sum() > 1:
        terms.append(across - position)
    design = np.stack(terms, axis=1) * np.sqrt(total)[:, np.newaxis]
    # The step is a weighted sum of the strips' means; so its error is known.
    coefficients = np.linalg.pinv(design)[1] * np.sqrt(total)
    weights = counts * np.divide(coefficients, total, out=np.zeros(len(total)), where=used)
    value = float(np.sum(weights * np.where(counts > 0, means, 0.0)))
    x0, y0 = grid.bbox[:2]
    line, start = (x0, y0) if axis == "x" else (y0, x0)
    place = f"{axis} = {position + line}"
    if along is not None:
        place += f", {'y' if axis == 'x' else 'x'} = {along[0] + start} to {along[1] - 1 + start}"
    return Contrast(value, grid.error_of(weights if axis == "x" else weights.T), place)


def steps_between_segments(grid: CellGrid, segments: tuple[int, int], width: int) -> Contrast | None:
    """Look for the step between segments next to each other.

    Parameters
    ----------
    grid
        The image's sky.
    segments
        Number of segments in x and y, equal in size.
    width
        How far to look on either side of a border, in pixels.

    Returns
    -------
    step
        The one that stands out most; `None` without a border, or sky.
    """
    x, y = (
        [i * size // n for i in range(n + 1)]
        for size, n in zip((grid.width, grid.height), segments, strict=True)
    )
    steps = []
    for axis, borders, others in (("x", x, y), ("y", y, x)):
        for i, position in enumerate(borders[1:-1], start=1):
            reach = min(width, borders[i] - borders[i - 1], borders[i + 1] - borders[i])
            for along in itertools.pairwise(others):
                steps.append(step_across(grid, axis, position, reach, along))  # type: ignore[arg-type]
    return _most_significant([step for step in steps if step is not None])
