# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A visit's smooth field on the sky: what all of its detectors follow."""

from __future__ import annotations

__all__ = ("SmoothField", "fit_field", "fit_levels", "neighbours", "robust_scale", "surroundings")

from dataclasses import dataclass

import numpy as np

from ..statistics.focal_plane import fit_trend
from ..statistics.robust import SIGMA_PER_MAD

# From where on, as a fraction of the field's radius, the field may depend on
# the radius alone in any way: vignetting is flat inside and steep at the edge.
_RADIAL_START = 0.35
_NEIGHBOURS = 9
_SMOOTHING = 1e-4
_FEW = 20
_TUKEY = 4.685
_ITERATIONS = 12


@dataclass(frozen=True, eq=False)
class SmoothField:
    """A smooth function of position: a polynomial and radial terms.

    Attributes
    ----------
    order
        Total order of the polynomial.
    pieces
        Number of pieces of the radial cubic spline; 0 for none.
    coefficients
        Shape (terms,); without the constant.
    """

    order: int
    pieces: int
    coefficients: np.ndarray

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Evaluate at positions in units of the field's radius, shape (..., 2)."""
        count = (self.order + 1) * (self.order + 2) // 2 - 1
        values = _powers(positions, self.order) @ self.coefficients[:count]
        if self.pieces:
            values += _spline(positions, np.concatenate([[0.0], self.coefficients[count:]]))
        return np.asarray(values)


def _powers(positions: np.ndarray, order: int) -> np.ndarray:
    x, y = ([np.ones_like(axis), axis] for axis in (positions[..., 0], positions[..., 1]))
    for powers in (x, y):
        powers += [powers[1] ** n for n in range(2, order + 1)]
    return np.stack([x[n - j] * y[j] for n in range(1, order + 1) for j in range(n + 1)], axis=-1)


def _radial(positions: np.ndarray, pieces: int) -> np.ndarray:
    """Return cubic B-splines of the radius, extrapolated, shape (..., pieces + 3).

    By de Boor's recursion: to import scipy.interpolate takes longer than to
    judge a visit.
    """
    radius, knots, piece = _pieces_of(positions, pieces)
    radius, piece = radius[..., None], piece[..., None]
    splines = (np.arange(len(knots) - 1) == piece).astype(float)
    for degree in (1, 2, 3):
        widths = knots[degree:] - knots[:-degree]
        slopes = np.divide(1.0, widths, out=np.zeros_like(widths), where=widths > 0)
        rising = (radius - knots[: -degree - 1]) * slopes[:-1] * splines[..., :-1]
        splines = rising + (knots[degree + 1 :] - radius) * slopes[1:] * splines[..., 1:]
    return splines


def _spline(positions: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Evaluate a sum of the splines of `_radial`, of which four are not zero."""
    radius, knots, piece = _pieces_of(positions, len(coefficients) - 3)
    parts = [coefficients[piece - 3 + j] for j in range(4)]
    for degree in (1, 2, 3):
        for j in range(3, degree - 1, -1):
            first, last = knots[piece - 3 + j], knots[piece + 1 + j - degree]
            share = (radius - first) / (last - first)
            parts[j] = (1 - share) * parts[j - 1] + share * parts[j]
    return np.asarray(parts[3])


def _pieces_of(positions: np.ndarray, pieces: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return radii, the splines' knots, and the knot before each radius."""
    radius = np.clip(np.hypot(positions[..., 0], positions[..., 1]), _RADIAL_START, None)
    # Rings of one area: detectors are as many in each.
    inner = np.sqrt(np.linspace(_RADIAL_START**2, 1.0, pieces + 1))
    piece = np.clip(np.searchsorted(inner, radius, side="right") - 1, 0, pieces - 1) + 3
    return radius, np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3]), piece


def robust_scale(values: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation from zero."""
    return SIGMA_PER_MAD * float(np.median(np.abs(values)))


def field_terms(positions: np.ndarray, order: int, pieces: int) -> np.ndarray:
    """Return the terms of a field, without the constant, shape (..., terms).

    Positions are in units of the field's radius, shape (..., 2).
    """
    terms = _powers(positions, order)
    if not pieces:
        return terms
    # All of them together are a constant.
    return np.concatenate([terms, _radial(positions, pieces)[..., 1:]], axis=-1)


def _plan(count: int) -> tuple[int, int]:
    """Return order and radial pieces that so many detectors bear."""
    if count >= _FEW:
        return 3, min(24, count // 8)
    return (2 if count >= 7 else 1), 0


def neighbours(centers: np.ndarray) -> np.ndarray:
    """Return the numbers of the nearest detectors, each itself first: (detectors, neighbours)."""
    distances = np.hypot(*(centers[:, None] - centers).transpose(2, 0, 1))
    return np.argsort(distances, axis=1, kind="stable")[:, :_NEIGHBOURS]


def surroundings(centers: np.ndarray) -> list[np.ndarray]:
    """Return with which detectors each may be compared, shapes (detectors, neighbours).

    They are those around it, and those as far from the field's centre: vignetting
    is round.
    """
    distances = np.stack([np.hypot(*centers.T), np.zeros(len(centers))], axis=1)
    return [neighbours(centers), neighbours(distances)]


def fit_field(positions: np.ndarray, values: np.ndarray, shapes: np.ndarray | None = None) -> SmoothField:
    """Fit how the sky varies inside of detectors, whatever their levels.

    Detectors that do not follow the others count less, down to nothing (Tukey's
    biweight of the detector's root mean square).

    Parameters
    ----------
    positions
        Cells of each detector, in units of the field's radius, shape (detectors,
        cells, 2).
    values
        Their values as fractions of the sky, shape (detectors, cells); NaN
        where there is none. Each detector's mean is taken off.
    shapes
        If only parts of the values are known: the orthonormal shapes of mean zero
        that these are along, shape (cells, shapes).
    """
    order, pieces = _plan(len(values))
    terms = field_terms(positions, order, pieces)
    good = np.isfinite(values) & np.isfinite(terms).all(axis=-1)
    counts = np.maximum(good.sum(axis=1), 1)
    data = np.where(good, values, 0.0)
    data = np.where(good, data - (data.sum(axis=1) / counts)[:, None], 0.0)
    terms = np.where(good[..., None], terms, 0.0)
    terms = np.where(good[..., None], terms - (terms.sum(axis=1) / counts[:, None])[:, None], 0.0)
    if shapes is not None:
        data, terms = data @ shapes, np.einsum("cs,dci->dsi", shapes, terms)
        counts = np.full(len(values), shapes.shape[1])
    # Sums of squares of each detector: iterations cost nothing.
    normal = terms.transpose(0, 2, 1) @ terms
    right = np.einsum("dci,dc->di", terms, data)
    total = (data**2).sum(axis=1)
    weights = np.ones(len(values))
    near = neighbours(np.nanmean(positions, axis=1))
    ridge = _ridge(normal.sum(axis=0), order, pieces)
    coefficients = np.zeros(terms.shape[-1])
    for _ in range(_ITERATIONS):
        matrix = np.einsum("d,dij->ij", weights, normal) + ridge
        coefficients = np.linalg.solve(matrix, weights @ right)
        squares = (
            total - 2 * right @ coefficients + np.einsum("i,dij,j->d", coefficients, normal, coefficients)
        )
        rms = np.sqrt(np.clip(squares, 0, None) / counts)
        # Where the field is steep all neighbours follow it less well.
        usual = np.maximum(np.median(rms[near], axis=1), np.median(rms))
        weights = np.clip(1 - (rms / np.maximum(3 * usual, 1e-12)) ** 2, 0, 1) ** 2 + 1e-6
    return SmoothField(order, pieces, coefficients)


def _ridge(normal: np.ndarray, order: int, pieces: int) -> np.ndarray:
    """Return what keeps the radial spline smooth where few detectors are."""
    ridge = 1e-9 * np.diag(np.diag(normal) + 1e-30)
    if pieces:
        first = (order + 1) * (order + 2) // 2 - 1
        size = len(normal) - first
        bends = np.diff(np.eye(size + 1), 2, axis=0)[:, 1:]
        ridge[first:, first:] += _SMOOTHING * np.mean(np.diag(normal)[first:]) * bends.T @ bends
    return ridge


def fit_levels(positions: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Fit a smooth surface that deviating levels do not bend; return it at the detectors.

    Positions are in units of the field's radius, shape (detectors, 2); levels are
    fractions of the visit's, finite, shape (detectors,).
    """
    if len(levels) < _FEW:
        # The corner of a small focal plane would bend anything to itself.
        x, y = positions.T
        return fit_trend(x, y, levels)(x, y)
    order, pieces = _plan(len(levels))
    terms = np.concatenate([np.ones((len(levels), 1)), field_terms(positions, order, pieces)], axis=1)
    weights = np.ones(len(levels))
    surface = np.full(len(levels), np.median(levels))
    for _ in range(_ITERATIONS):
        root = np.sqrt(weights)
        solution = np.linalg.lstsq(terms * root[:, None], levels * root, rcond=None)[0]
        surface = terms @ solution
        residuals = levels - surface
        scale = robust_scale(residuals)
        weights = np.clip(1 - (residuals / max(_TUKEY * scale, 1e-12)) ** 2, 0, 1) ** 2 + 1e-6
    return surface
