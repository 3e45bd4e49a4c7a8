# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("SKY_PLANES", "ResidualConfig")

import itertools
from dataclasses import dataclass

SKY_PLANES = ("SAT", "BAD", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "NO_DATA", "CR")
"""Mask planes whose pixels are no sky, by afw's names (`tuple` [`str`, ...])."""


@dataclass(frozen=True)
class ResidualConfig:
    """What the statistics of the residual sky depend on.

    Attributes
    ----------
    planes
        Mask planes whose pixels are no sky. Names of afw and of
        `lsst.images` for one plane are the same.
    cell_size
        Side of a cell of sky, in pixels; a multiple of 4.
    clip_sigma
        How far a pixel may be from the median of its cell, in robust
        standard deviations.
    aperture_radius
        Radius of the apertures on empty sky, in pixels.
    edge_width
        Width of the outermost ring in pixels. What a background with bins of
        128 pixels leaves at an edge is narrower than they are.
    corner_width
        Side of the corners in pixels.
    step_width
        Width of the strips on either side of a mid-line or of a border
        between segments, in pixels.
    segments
        Number of segments (amplifiers) in x and y, equal in size; `None`
        leaves out the steps between them.
    halo_area
        Least area of a footprint that is searched for a halo, in pixels.
    halo_radii
        Borders of the rings about such footprints, in pixels from their
        edge, ascending.
    whole_sky
        Whether the background is all of the sky, and not what was left of it
        in a coadd of images whose sky had been subtracted before. Fractions
        of the sky (``skyBrightness...``) need that.
    """

    planes: tuple[str, ...] = SKY_PLANES
    cell_size: int = 64
    clip_sigma: float = 5.0
    aperture_radius: int = 9
    edge_width: int = 32
    corner_width: int = 128
    step_width: int = 128
    segments: tuple[int, int] | None = None
    halo_area: int = 2500
    halo_radii: tuple[float, ...] = (0, 32, 64, 96, 128, 192, 256, 384, 512)
    whole_sky: bool = True

    def __post_init__(self) -> None:
        if self.cell_size < 4 or self.cell_size % 4:
            raise ValueError(f"cell_size must be a multiple of 4 pixels, not {self.cell_size}")
        for name in (
            "clip_sigma",
            "aperture_radius",
            "edge_width",
            "corner_width",
            "step_width",
            "halo_area",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.segments is not None and (len(self.segments) != 2 or min(self.segments) < 1):
            raise ValueError(f"segments must be two positive numbers, not {self.segments}")
        radii = self.halo_radii
        if len(radii) < 2 or any(not 0 <= a < b for a, b in itertools.pairwise(radii)):
            raise ValueError(f"halo_radii must be two or more ascending numbers, not {radii}")
