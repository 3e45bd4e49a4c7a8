# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Detectors of a visit that were measured each by itself, compared."""

from __future__ import annotations

__all__ = ("compare_detectors", "compare_significances")

from collections.abc import Sequence

import numpy as np

from .field import fit_field, robust_scale, surroundings
from .settings import JudgeSettings
from .visit import CELLS, SMOOTH, level_deviations, local_excess, order_corners

# What the most deviating template of a family usually has, if nothing is
# wrong and the noise is known: the median over clean detectors.
_USUAL = {
    "edge": 0.6,
    "corner": 1.4,
    "segment": 1.6,
    "stripe": 2.0,
    "spot": 2.9,
    "ring": 3.0,
}
_MIN_PEERS = 5
_MIN_FIELD = 7
_LEVEL, _PIXELS = "level_median", "coverage_pixelCount"
_SLOPES = ("shape_gradientX", "shape_gradientY")
_BOWL = "significance_bowlAmplitude"
_PER_PIXEL = 1e-3


class _Columns:
    """Values of rows by the metrics' names."""

    def __init__(self, names: Sequence[str], values: np.ndarray) -> None:
        self._numbers = {name: i for i, name in enumerate(names)}
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def __getitem__(self, name: str) -> np.ndarray:
        return self._values[:, self._numbers[name]]


def compare_significances(
    names: Sequence[str], values: np.ndarray, floor: float, middles: np.ndarray | None = None
) -> None:
    """Scale significances by what peers have.

    Parameters
    ----------
    names
        Full names of the metrics.
    values
        Values of peers that were measured each by itself, shape (rows,
        metrics); those of the group significance are changed.
    floor
        Least noise of an amplitude, as a fraction of the sky.
    middles
        Where the rows are, in units of the field's radius, shape (rows, 2);
        NaN where that is not known. More is usual where the neighbours, or
        those as far from the field's centre, have more.
    """
    columns = _Columns(names, values)
    near: list[np.ndarray] = []
    if middles is not None and np.isfinite(middles).all():
        near = surroundings(middles)
    limits = JudgeSettings().limits
    for family, expected in _USUAL.items():
        name, amplitude = f"significance_{family}Sigma", f"significance_{family}Amplitude"
        if name not in columns:
            continue
        sigmas, limit = columns[name], limits.get(family, np.inf)
        known = np.isfinite(sigmas)
        if known.sum() < _MIN_PEERS:
            continue
        sizes = np.where(known, np.abs(sigmas), np.nan)
        usual = float(np.nanmedian(sizes))
        factor = np.full(len(sizes), max(usual / expected, 1e-3))
        if near and known.all():
            here = np.max([np.median(sizes[places], axis=1) for places in near], axis=0)
            factor *= np.maximum(here / max(1.3 * usual, 1e-12), 1.0)
        scaled = sizes / factor
        if amplitude in columns and _LEVEL in columns:
            least = np.abs(columns[amplitude] / columns[_LEVEL]) / floor
            scaled = np.fmin(scaled, least)
        # What another cause explains is at the limit, and stays below.
        explained = np.isclose(sizes, limit, rtol=1e-9)
        scaled[explained] = np.minimum(scaled, limit)[explained]
        sigmas[known] = np.copysign(scaled, sigmas)[known]


def compare_detectors(
    names: Sequence[str],
    values: np.ndarray,
    vertices: Sequence[np.ndarray | None],
    floor: float,
    level_floor: float,
) -> None:
    """Compare detectors of a visit that were measured each by itself.

    Parameters
    ----------
    names
        Full names of the metrics.
    values
        Their values, shape (rows, metrics); those of the groups significance
        and context are changed.
    vertices
        Corners of the detectors in the tangent plane, in the order of their
        regions, shape (4, 2); `None` where not known.
    floor
        Least noise of an amplitude, as a fraction of the sky.
    level_floor
        Least scatter of levels, as a fraction of the sky.
    """
    columns = _Columns(names, values)
    levels = columns[_LEVEL]
    placed = [i for i, corners in enumerate(vertices) if corners is not None and levels[i] > 0]
    middles = np.full((len(values), 2), np.nan)
    if len(placed) >= 4:
        outlines = np.array([vertices[i] for i in placed])
        radius = float(np.hypot(outlines[..., 0], outlines[..., 1]).max()) or 1.0
        outlines = outlines / radius
        middles[placed] = outlines.mean(axis=1)
        found = level_deviations(levels[placed], middles[placed], level_floor)
        for name, column in zip(("context_levelDeviation", "context_levelSigma"), found, strict=True):
            columns[name][placed] = column
    compare_significances(names, values, floor, middles)
    if len(placed) >= _MIN_FIELD:
        _compare_slopes(columns, np.array(placed), outlines, floor)


def _compare_slopes(columns: _Columns, placed: np.ndarray, outlines: np.ndarray, floor: float) -> None:
    """Compare planes and bowls with the visit's smooth field."""
    for name in (_PIXELS, *_SLOPES, _BOWL):
        if name not in columns:
            return
    measured = np.stack([columns[name][placed] for name in (*_SLOPES, _BOWL)], axis=1)
    known = np.isfinite(measured).all(axis=1)
    if known.sum() < _MIN_FIELD:
        return
    placed, outlines, measured = placed[known], outlines[known], measured[known]
    levels = columns[_LEVEL][placed]
    measured = measured / levels[:, None]
    axis = (2 * np.arange(CELLS) + 1 - CELLS) / CELLS
    v, u = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
    shapes = np.stack([u, v, 1 - (u**2 + v**2) / 2], axis=1)
    shapes = shapes - shapes.mean(axis=0)
    known_shapes = np.linalg.qr(shapes)[0]
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    # The region's corners do not tell which way the pixels run.
    for mirrored in (False, True):
        corners = np.stack([order_corners(outline, mirrored) for outline in outlines])
        sides = np.hypot(*(corners[:, [1, 3]] - corners[:, :1]).transpose(2, 0, 1))
        pixels = np.sqrt(columns[_PIXELS][placed] / sides.prod(axis=1))[:, None] * sides
        half = np.column_stack([measured[:, :2] * _PER_PIXEL * pixels / 2, measured[:, 2]])
        weights = np.stack(
            [(1 - u) * (1 - v), (1 + u) * (1 - v), (1 + u) * (1 + v), (1 - u) * (1 + v)], axis=1
        )
        positions = np.einsum("ck,dkx->dcx", weights / 4, corners)
        cells = half @ shapes.T
        field = fit_field(positions, cells, known_shapes)(positions)
        left = cells - (field @ known_shapes) @ known_shapes.T
        size = float(np.median(np.sqrt((left**2).mean(axis=1))))
        if best is None or size < best[0]:
            best = size, left, corners.mean(axis=1)
    assert best is not None
    _, left, middles = best
    excess = local_excess(left, middles)
    amplitudes = np.linalg.lstsq(shapes, left.T, rcond=None)[0].T
    scales = np.array([max(robust_scale(column), floor) for column in amplitudes.T])
    gradient = np.hypot(*(amplitudes[:, :2] / scales[:2]).T) / excess[:, 0]
    bowl = amplitudes[:, 2] / scales[2] / excess[:, 1]
    rows = np.arange(len(placed))
    steeper = np.argmax(np.abs(amplitudes[:, :2]), axis=1)
    # Planes and bowls alone do not follow a steep sky from visit to visit.
    for name, column, kind in zip(SMOOTH, amplitudes.T, (0, 0, 1), strict=True):
        columns[name][placed] = np.where(excess[:, kind] > 1, np.nan, column)
    limits = JudgeSettings().limits
    # Other faults have a slope, and a bowl, as well.
    local = np.zeros(len(placed), dtype=bool)
    for family in (*_USUAL, "bin"):
        if (name := f"significance_{family}Sigma") in columns:
            local |= np.abs(columns[name][placed]) > limits.get(family, np.inf)
    bowl = np.where(local, np.clip(bowl, -limits["bowl"], limits["bowl"]), bowl)
    local |= np.abs(bowl) > limits["bowl"]
    gradient = np.where(local, np.minimum(gradient, limits["gradient"]), gradient)
    found = {
        "gradientAmplitude": amplitudes[rows, steeper] * levels,
        "gradientSigma": gradient,
        "bowlAmplitude": amplitudes[:, 2] * levels,
        "bowlSigma": bowl,
    }
    for name, column in found.items():
        columns[f"significance_{name}"][placed] = column
