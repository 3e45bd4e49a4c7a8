# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Whether the background is high where there are many sources."""

from __future__ import annotations

__all__ = ("crowding_slope", "densest_place")

import math

import numpy as np

from ._cells import CellGrid

# Fractions of detected pixels that scatter less tell of no slope.
_MIN_SCATTER = 1e-3
# The curvature of the sky over so many pixels is small beside its gradient.
_FLAT_SIZE = 1024


def crowding_slope(grid: CellGrid, background: np.ndarray) -> dict[str, float]:
    """Fit the background against the fraction of detected pixels.

    Parameters
    ----------
    grid
        The image's sky.
    background
        The background in the middle of each cell, shape (cells in y, x).

    Returns
    -------
    metrics
        ``crowdingSlope``, in the background's unit from no to all pixels
        detected, and ``crowdingSignificance``, in its standard error; empty
        where the detected fraction does not vary.

    Notes
    -----
    A plane is fitted with the slope, or for an image of more than 1024
    pixels a surface of second order, for the sky itself is not even. Where
    sources crowd as smoothly as the sky may curve, no one can tell them
    apart. What the fit leaves is not independent from cell to cell: the variance of the
    slope is that of Clifford, Richardson and Hemon (1989, Biometrics 45,
    123), from the correlations of the fraction and of what is left, but no
    less than the noise of the pixels gives.
    """
    pixels, fraction = grid.sum_cells(grid.pixels), grid.detected_fraction
    used = (pixels >= 0.25 * grid.cell_size**2) & np.isfinite(background)
    if used.sum() < 12 or fraction[used].std() < _MIN_SCATTER:
        return {}
    y, x = np.indices(background.shape)[:, used].astype(np.float64)
    x, y = x - x.mean(), y - y.mean()
    terms = [np.ones_like(x), x, y]
    if max(background.shape) * grid.cell_size > _FLAT_SIZE:
        terms += [x * x, y * y, x * y]
    surface = _orthonormal(terms)
    predictor = _less(surface, fraction[used])
    square = float(np.sum(predictor**2))
    if square <= used.sum() * _MIN_SCATTER**2:
        return {}
    level = _less(surface, background[used])
    slope = float(np.sum(predictor * level)) / square
    noise = grid.error_noise / grid.cell_size
    variance = max(noise**2 * square, _variance_of_sum(used, predictor, level - slope * predictor))
    significance = slope * square / math.sqrt(variance) if variance > 0 else 0.0
    return {"crowdingSlope": slope, "crowdingSignificance": significance}


def densest_place(grid: CellGrid) -> tuple[int, int]:
    """Return where most pixels are detected.

    Parameters
    ----------
    grid
        The image's sky.

    Returns
    -------
    x, y
        The middle of the cell, local pixels.
    """
    fraction = grid.detected_fraction
    row, column = np.unravel_index(np.argmax(fraction), fraction.shape)
    half = grid.cell_size // 2
    return int(column) * grid.cell_size + half, int(row) * grid.cell_size + half


def _orthonormal(terms: list[np.ndarray]) -> list[np.ndarray]:
    """Make terms orthonormal, and leave out what others say already. LAPACK
    would round by the kernel that it picks, and start threads.
    """
    basis: list[np.ndarray] = []
    for term in terms:
        rest = _less(basis, term)
        if (square := np.sum(rest**2)) > 1e-16 * np.sum(term**2):
            basis.append(rest / math.sqrt(square))
    return basis


def _less(basis: list[np.ndarray], values: np.ndarray) -> np.ndarray:
    for term in basis:
        values = values - np.sum(values * term) * term
    return values


def _variance_of_sum(used: np.ndarray, weights: np.ndarray, values: np.ndarray) -> float:
    """Estimate the variance of a weighted sum of values that correlate with
    their neighbours, from their correlation up to a quarter of the grid.
    """
    # As wide as all lags are, so that no end meets the other.
    shape = tuple(2 * n - 1 for n in used.shape)
    maps = np.zeros((3, *used.shape))
    maps[:, used] = np.ones(len(values)), weights, values
    power = np.abs(np.fft.rfft2(maps, shape)) ** 2
    pairs, of_weights, of_values = np.fft.fftshift(np.fft.irfft2(power, shape), axes=(1, 2))
    middle = np.array(used.shape)[:, np.newaxis, np.newaxis] - 1
    lags = np.abs(np.indices(pairs.shape) - middle)
    near = (lags <= middle // 4).all(axis=0) & (pairs > 0.5)
    return float(np.sum(of_weights[near] * of_values[near] / pairs[near]))
