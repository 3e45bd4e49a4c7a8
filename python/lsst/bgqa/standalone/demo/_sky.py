# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A small simulation of the sky, and of what goes wrong with it.

Pure functions of position. Brightness is in adu a pixel for visits (gain
1.5 electrons per adu) and in nJy a pixel for coadds. The faults are of the
size that real cameras show; every number is a choice made for the demo.
"""

from __future__ import annotations

__all__ = (
    "DARK_SKY",
    "GAIN",
    "bright_star",
    "coadd_residual",
    "crowding",
    "has_good_pixels",
    "visit_sky",
)

from typing import Any

import numpy as np

from ._camera import DemoDetector
from ._survey import DemoPatch, DemoVisit

GAIN = 1.5
"""Electrons per adu (`float`)."""

DARK_SKY = {"demo-r": 620.0, "demo-i": 1150.0}
"""Brightness of the dark sky in adu a pixel (`dict` [`str`, `float`])."""

# Where the faults are: detectors by number.
_AMPLIFIER_STEP = 1
_DARK_EDGES = 3
_HALO = 4
_PATTERN = 5
_LEVEL_STEP = 6
_CROWDED = 2
_NO_GOOD_PIXEL = 8
_BRIGHT_STAR = (0.01, 0.02)


def visit_sky(visit: DemoVisit, detector: DemoDetector, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute the sky that a detector records at pixel coordinates, in adu, without noise.

    Sky: dark sky; moonlight with a gradient towards the moon; airglow in
    waves of 0.9 degrees that drift with time. Faults, each in one detector:
    one bank of amplifiers reads 1 % high; edges are dark; a bright star's
    wings were taken for sky; a static pattern that flat fields left; a gain
    that is 4 % wrong; faint stars that crowd in a corner.
    """
    u, v = detector.to_focal_plane(x, y)
    moon_angle = 0.7 + 0.9 * visit.seq_num
    toward_moon = u * np.cos(moon_angle) + v * np.sin(moon_angle)
    phase = 1.3 * (visit.day_obs % 100) + visit.seq_num
    glow = visit.airglow * np.sin(2 * np.pi * (0.8 * u + 0.6 * v) / 0.9 + phase)
    sky = DARK_SKY[visit.physical_filter] * (1 + visit.moonlight * (1 + 0.12 * toward_moon) + glow)
    if detector.id == _AMPLIFIER_STEP:
        sky = sky * np.where(y >= detector.height / 2, 1.01, 1.0)
    if detector.id == _DARK_EDGES:
        edge = np.minimum(
            np.minimum(x + 0.5, detector.width - 0.5 - x), np.minimum(y + 0.5, detector.height - 0.5 - y)
        )
        sky = sky * (1 + 0.04 * np.exp(-edge / 70))
    if detector.id == _HALO:
        star_u, star_v = _BRIGHT_STAR[0] - visit.dither[0], _BRIGHT_STAR[1] - visit.dither[1]
        radius = np.hypot(u - star_u, v - star_v) * 3600 / 0.2
        sky = sky + 60 / (1 + (radius / 160) ** 2) ** 1.5
    if detector.id == _PATTERN:
        sky = sky * (1 + 0.006 * np.sin(2 * np.pi * x / 1500) * np.cos(2 * np.pi * y / 1900))
    if detector.id == _LEVEL_STEP:
        sky = sky * 1.04
    return sky + crowding(detector, x, y)


def crowding(detector: DemoDetector, x: Any, y: Any) -> Any:
    """Compute the light of stars too faint to be detected, in adu.

    It is zero but in one detector, towards the corner at the origin.
    """
    if detector.id != _CROWDED:
        return 0.0 * x
    return 5.0 * np.exp(-(x + y) / (0.24 * detector.width))


def bright_star(visit: DemoVisit, detector: DemoDetector) -> tuple[float, float] | None:
    """Locate the bright star in a detector's pixels, if it is there."""
    if detector.id != _HALO:
        return None
    u, v = detector.to_focal_plane(0.0, 0.0)
    scale = detector.to_focal_plane(1.0, 0.0)[0] - u
    return (
        float((_BRIGHT_STAR[0] - visit.dither[0] - u) / scale),
        float((_BRIGHT_STAR[1] - visit.dither[1] - v) / scale),
    )


def has_good_pixels(visit: DemoVisit, detector: DemoDetector) -> bool:
    """Whether a detector has any pixel of sky: one has none, during the last night."""
    return not (detector.id == _NO_GOOD_PIXEL and visit.day_obs == 20261026)


# Where the faults are: patches by number.
_PATCH_DARK_EDGES = 2
_PATCH_HALO = 4
_PATCH_LEVEL_STEP = 6


def coadd_residual(patch: DemoPatch, band: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute the sky that coaddition left at pixels of the tract, in nJy, without noise.

    A slow wave over the tract, the same in overlapping patches. Faults, each
    in one patch: dark edges; a halo; a level that differs from the
    neighbours'.
    """
    scale = {"r": 1.0, "i": 1.6}[band]
    sky = scale * (2.0 + 0.6 * np.sin((x - 1000) / 420) + 0.5 * np.cos((y - 2000) / 510))
    box = patch.bbox
    if patch.id == _PATCH_DARK_EDGES:
        edge = np.minimum(
            np.minimum(x - box.x0 + 0.5, box.x1 - 0.5 - x), np.minimum(y - box.y0 + 0.5, box.y1 - 0.5 - y)
        )
        sky = sky + scale * 6 * np.exp(-edge / 30)
    if patch.id == _PATCH_HALO:
        radius = np.hypot(x - box.x0 - 230, y - box.y0 - 180)
        sky = sky + scale * 14 / (1 + (radius / 35) ** 2) ** 1.5
    if patch.id == _PATCH_LEVEL_STEP:
        sky = sky + scale * 4
    return sky
