# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Images of one visit: stars, galaxies, and the residual sky."""

from __future__ import annotations

__all__ = ("IMAGE_DETECTORS", "IMAGE_VISIT", "DemoImage", "make_visit_pixels")

from dataclasses import dataclass

import numpy as np

from ...background import BackgroundModel
from ._camera import DETECTORS, DemoDetector
from ._sky import GAIN, bright_star, crowding, visit_sky
from ._survey import VISITS, DemoVisit

IMAGE_VISIT = VISITS[0]
"""The visit whose images the repository has (`DemoVisit`)."""

IMAGE_DETECTORS = DETECTORS[:5]
"""The detectors that have one: those with something to see, and a good one
(`tuple` [`DemoDetector`, ...]).
"""
_SOURCES = 500
_CROWD = 2500
_PSF = 2.0
# As far as a source is drawn, in its own widths.
_REACH = 5
_STAR_RADIUS = 60
_SATURATED_RADIUS = 15


@dataclass(frozen=True, eq=False)
class DemoImage:
    """A detector's background-subtracted image in adu, its mask planes and its noise."""

    pixels: np.ndarray
    planes: dict[str, np.ndarray]
    noise: float


def make_visit_pixels(visit: DemoVisit, detector: DemoDetector, background: BackgroundModel) -> DemoImage:
    """Expose a detector, and subtract a background.

    Sources are detected where they are brighter than a tenth of the noise; of the
    bright star only the middle is. Stars and galaxies are Gaussians, with fluxes of
    a power law. In one detector they crowd towards a corner. Pixels are rounded to
    half a unit, so that files are small.
    """
    rng = np.random.default_rng([visit.day_obs, visit.seq_num, detector.id, 1])
    x, y = np.arange(float(detector.width)), np.arange(float(detector.height))[:, np.newaxis]
    sky = visit_sky(visit, detector, x, y)
    noise = float(np.sqrt(np.median(sky) / GAIN))
    sources = np.zeros(sky.shape, dtype=np.float32)
    _add_sources(sources, rng, rng.uniform(0, 1, (_SOURCES, 2)))
    if crowding(detector, 0.0, 0.0):
        _add_sources(sources, rng, 0.12 * rng.exponential(1.0, (_CROWD, 2)))
    planes = {"DETECTED": sources > 0.1 * noise, "SAT": np.zeros(sky.shape, dtype=bool)}
    if (star := bright_star(visit, detector)) is not None:
        radius = np.hypot(x - star[0], y - star[1])
        sources += (3e5 * np.exp(-0.5 * (radius / 8) ** 2)).astype(np.float32)
        planes["DETECTED"] |= radius < _STAR_RADIUS
        planes["SAT"] |= radius < _SATURATED_RADIUS
    pixels = (sky - background.render()).astype(np.float32)
    pixels += sources + np.float32(noise) * rng.standard_normal(sky.shape, dtype=np.float32)
    return DemoImage(np.round(2 * pixels) / np.float32(2), planes, noise)


def _add_sources(image: np.ndarray, rng: np.random.Generator, places: np.ndarray) -> None:
    """Add sources at places from 0 to 1; one in three is a galaxy."""
    height, width = image.shape
    flux = 300 * (1 + rng.pareto(1.1, len(places)))
    size = np.where(rng.random(len(places)) < 1 / 3, _PSF * rng.uniform(1.2, 2.5, len(places)), _PSF)
    for (u, v), f, s in zip(places, np.minimum(flux, 1e6), size, strict=True):
        x, y, reach = u * width, v * height, int(_REACH * s)
        if not (reach < x < width - reach and reach < y < height - reach):
            continue
        columns = np.arange(int(x) - reach, int(x) + reach + 1)
        rows = np.arange(int(y) - reach, int(y) + reach + 1)
        stamp = np.multiply.outer(
            np.exp(-0.5 * ((rows - y) / s) ** 2), np.exp(-0.5 * ((columns - x) / s) ** 2)
        )
        image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += f / (2 * np.pi * s**2) * stamp
