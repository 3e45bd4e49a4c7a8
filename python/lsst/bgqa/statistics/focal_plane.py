# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""How levels vary over a focal plane: a robust plane and radial term."""

from __future__ import annotations

__all__ = ("Trend", "fit_trend", "robust_scale", "tangent_plane", "trend_terms", "z_scores")

import itertools
import math
from dataclasses import dataclass

import numpy as np

from .robust import SIGMA_PER_MAD

# All subsets are tried where they are few, else so many, the same every time.
_MAX_SUBSETS = 1500
# No two detectors' flat fields and gains agree better, as a fraction.
_RESOLUTION = 1e-4


@dataclass(frozen=True)
class Trend:
    """A smooth function of position in the focal plane.

    It is ``constant + slope_x x + slope_y y + radial (x^2 + y^2) / radius^2``.

    Attributes
    ----------
    constant
        Level at the centre of the field.
    slope_x, slope_y
        Slopes to the east and to the north, per degree.
    radial
        Change from the centre to ``radius`` beside the slopes.
    radius
        Distance from the centre of the farthest position, degrees.
    """

    constant: float
    slope_x: float
    slope_y: float
    radial: float
    radius: float

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Evaluate the trend at positions in degrees."""
        return self.plane(x, y) + self.radial * (x**2 + y**2) / self.radius**2

    def plane(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Evaluate constant and slopes alone, at positions in degrees."""
        return self.constant + self.slope_x * x + self.slope_y * y

    def gradient(self, x: float, y: float) -> np.ndarray:
        """Return the slopes to the east and to the north about a position, per degree."""
        bend = 2 * self.radial / self.radius**2
        return np.array([self.slope_x + bend * x, self.slope_y + bend * y])


def tangent_plane(vectors: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Project unit vectors, shape (..., 3), onto the tangent plane of a point (gnomonic).

    Positions are degrees to the east and to the north, shape (..., 2). At a pole,
    where no direction is east, it is that at right ascension zero.
    """
    size = math.hypot(center[0], center[1])
    east = np.array([-center[1], center[0], 0.0]) / size if size else np.array([0.0, 1.0, 0.0])
    north = np.cross(center, east)
    depth = vectors @ center
    return np.degrees(np.stack([vectors @ east / depth, vectors @ north / depth], axis=-1))


def robust_scale(values: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation: a normal distribution's sigma."""
    return SIGMA_PER_MAD * float(np.median(np.abs(values - np.median(values))))


def z_scores(residuals: np.ndarray, level: float, terms: int = 0) -> np.ndarray:
    """Express residuals in robust standard deviations.

    These are 1.4826 (1 + 5 / (n - terms)) times the residuals' median size; the
    second factor is Rousseeuw and Leroy's for few of them. A scatter below a
    ten-thousandth of ``level`` is taken to be that: who is less off does not stand
    out. Where there are no more residuals than coefficients, all are zero.
    """
    if len(residuals) <= terms:
        return np.zeros(len(residuals))
    correction = 1 + 5 / (len(residuals) - terms)
    scale = SIGMA_PER_MAD * correction * float(np.median(np.abs(residuals)))
    floor = max(_RESOLUTION * abs(level), np.finfo(np.float64).tiny)
    return residuals / max(scale, floor)


def trend_terms(n: int) -> int:
    """Return how many coefficients `fit_trend` fits: plane and radial term, plane, or constant."""
    return 4 if n >= 7 else 3 if n >= 5 else 1


def fit_trend(x: np.ndarray, y: np.ndarray, levels: np.ndarray) -> Trend:
    """Fit a trend that up to half of the levels cannot spoil.

    Seven levels determine plane and radial term, five a plane, fewer their
    median. Positions are in degrees; levels are finite.

    Notes
    -----
    A detector in the corner of a small focal plane has so much leverage that
    it bends a least-squares fit to itself, whatever is clipped afterwards.
    So the least quantile of squares comes first: of the exact fits to p
    levels (to all subsets, or 1500 drawn with a fixed seed) the one whose
    (n + p + 1) / 2-th residual is least. Least squares through what is within
    2.5 of its robust standard deviations gives the coefficients
    (P. J. Rousseeuw, A. M. Leroy, Robust Regression and Outlier Detection,
    1987, chapters 3 and 5).
    """
    n = len(levels)
    radius = float(np.sqrt(np.max(x**2 + y**2))) or 1.0
    terms = np.stack([np.ones(n), x, y, (x**2 + y**2) / radius**2], axis=1)
    terms = terms[:, : trend_terms(n)]
    coefficients = np.zeros(4)
    if terms.shape[1] == 1:
        coefficients[0] = np.median(levels)
    else:
        offset = float(np.median(levels))
        coefficients[: terms.shape[1]] = _robust_fit(terms, levels - offset)
        coefficients[0] += offset
    constant, slope_x, slope_y, radial = (float(value) for value in coefficients)
    return Trend(constant, slope_x, slope_y, radial, radius)


def _robust_fit(terms: np.ndarray, values: np.ndarray) -> np.ndarray:
    n, p = terms.shape
    subsets = _subsets(n, p)
    # The pseudo-inverse lets degenerate subsets pass; they fit badly.
    coefficients = np.einsum("kij,kj->ki", np.linalg.pinv(terms[subsets]), values[subsets])
    # The quantile with the highest breakdown point: more than half, because
    # each exact fit has p residuals of zero.
    h = (n + p + 1) // 2
    sizes = np.partition(np.abs(values - coefficients @ terms.T), h - 1, axis=1)[:, h - 1]
    best = int(np.argmin(sizes))
    scale = SIGMA_PER_MAD * (1 + 5 / (n - p)) * float(sizes[best])
    residuals = np.abs(values - terms @ coefficients[best])
    good = residuals <= max(2.5 * scale, 1e-12 * float(np.abs(values).max(initial=0.0)))
    return np.linalg.lstsq(terms[good], values[good], rcond=None)[0]


def _subsets(n: int, p: int) -> np.ndarray:
    if math.comb(n, p) <= _MAX_SUBSETS:
        return np.array(list(itertools.combinations(range(n), p)))
    rng = np.random.default_rng(0)
    return np.argsort(rng.random((_MAX_SUBSETS, n)), axis=1)[:, :p]
