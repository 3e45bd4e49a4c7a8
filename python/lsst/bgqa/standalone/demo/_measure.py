# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Backgrounds as the pipelines would measure them on the simulated sky."""

from __future__ import annotations

__all__ = ("constant_layer", "measure_bins", "visit_background")

from collections.abc import Callable

import numpy as np

from ...background import Approximation, ApproxStyle, BackgroundModel, Box, InterpStyle, Layer
from ._camera import FILTERS, DemoDetector
from ._sky import GAIN, has_good_pixels, visit_sky
from ._survey import DemoVisit

_BIN_SIZE = 128
_SAMPLES = 8


def measure_bins(
    sky: Callable[[np.ndarray, np.ndarray], np.ndarray],
    bbox: Box,
    bin_size: int,
    pixel_noise: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Measure mean and standard error of the sky in bins, ``float32``, shape (ny, nx).

    The sky is a function of pixel coordinates x and y; the sides of the box are
    multiples of ``bin_size``. Pixels are not drawn one by one: the sky is averaged
    over 8 x 8 points of a bin, and the error of a mean of n pixels, noise /
    sqrt(n), is added.
    """
    nx, ny = bbox.width // bin_size, bbox.height // bin_size
    step = bin_size / _SAMPLES
    x = bbox.x0 - 0.5 + step * (np.arange(nx * _SAMPLES) + 0.5)
    y = bbox.y0 - 0.5 + step * (np.arange(ny * _SAMPLES) + 0.5)
    mean = sky(*np.meshgrid(x, y)).reshape(ny, _SAMPLES, nx, _SAMPLES).mean(axis=(1, 3))
    error = pixel_noise / bin_size
    values = mean + rng.normal(0, error, (ny, nx))
    return values.astype(np.float32), np.full((ny, nx), error, dtype=np.float32)


def constant_layer(bbox: Box, value: float) -> Layer:
    """Make the one-bin layer that adjusts a level after detection."""
    return Layer(
        values=np.full((1, 1), value, dtype=np.float32),
        standard_error=np.zeros((1, 1), dtype=np.float32),
        mask=np.zeros((1, 1), dtype=np.int32),
        bbox=bbox,
        interp_style=InterpStyle.CONSTANT,
    )


def visit_background(visit: DemoVisit, detector: DemoDetector) -> BackgroundModel:
    """Measure the background of one detector in one visit.

    It is a Chebyshev fit of order 6 to bins of 128 pixels, and a pedestal. Without
    a good pixel all bins are NaN, and interpolated: afw cannot fit them.
    """
    rng = np.random.default_rng([visit.day_obs, visit.seq_num, detector.id])
    bbox = Box(0, 0, detector.width, detector.height)

    def sky(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return visit_sky(visit, detector, x, y)

    level = float(sky(np.array([bbox.width / 2]), np.array([bbox.height / 2]))[0])
    values, error = measure_bins(sky, bbox, _BIN_SIZE, np.sqrt(level / GAIN), rng)
    if not has_good_pixels(visit, detector):
        values[:] = error[:] = np.nan
        fit = Approximation()
    else:
        fit = Approximation(ApproxStyle.CHEBYSHEV, 6, 6, weighting=True)
        # A bin or two behind a bright star has no sky pixel.
        hidden = rng.integers(0, values.size, 2)
        values.flat[hidden] = error.flat[hidden] = np.nan
    layer = Layer(values, error, np.zeros(values.shape, dtype=np.int32), bbox, approximation=fit)
    pedestal = 0.3 if FILTERS[visit.physical_filter] == "r" else 0.5
    return BackgroundModel((layer, constant_layer(bbox, pedestal)))
