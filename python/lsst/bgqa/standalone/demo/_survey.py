# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the demo observed: nights, visits, and the tract that they cover."""

from __future__ import annotations

__all__ = ("PATCHES", "SKYMAP", "TRACT", "VISITS", "DemoPatch", "DemoVisit", "sky_position")

from dataclasses import dataclass

import numpy as np

from ...background import Box

_FIELD = (53.1, -28.1)
_PIXEL_SCALE = 0.2 / 3600


def sky_position(u: float, v: float, center: tuple[float, float] = _FIELD) -> tuple[float, float]:
    """Project a position in the tangent plane onto the sky (gnomonic), in degrees.

    The position is east and north of the centre; what is returned is ICRS.
    """
    xi, eta, dec0 = np.radians(u), np.radians(v), np.radians(center[1])
    denominator = np.cos(dec0) - eta * np.sin(dec0)
    ra = np.radians(center[0]) + np.arctan2(xi, denominator)
    dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, denominator))
    return float(np.degrees(ra) % 360), float(np.degrees(dec))


@dataclass(frozen=True)
class DemoVisit:
    """One visit, and the state of the sky during it.

    ``seq_num`` counts from 1 in a night; ``dither`` is the offset of the boresight
    in degrees; ``moonlight`` and ``airglow`` are fractions of the dark sky.
    """

    day_obs: int
    seq_num: int
    physical_filter: str
    dither: tuple[float, float]
    moonlight: float
    airglow: float

    @property
    def id(self) -> int:
        """The visit's number, as LSST makes them."""
        return self.day_obs * 100_000 + self.seq_num

    @property
    def boresight(self) -> tuple[float, float]:
        """Right ascension and declination in degrees."""
        return sky_position(*self.dither)


VISITS = (
    DemoVisit(20261009, 1, "demo-r", (0.000, 0.000), 0.0, 0.004),
    DemoVisit(20261009, 2, "demo-i", (0.004, -0.003), 0.0, 0.008),
    DemoVisit(20261018, 1, "demo-r", (-0.005, 0.002), 0.4, 0.004),
    DemoVisit(20261018, 2, "demo-i", (0.003, 0.005), 0.3, 0.008),
    DemoVisit(20261026, 1, "demo-r", (0.006, -0.004), 2.0, 0.004),
    DemoVisit(20261026, 2, "demo-i", (-0.002, -0.006), 1.4, 0.008),
)
"""Two visits in each of three nights: dark, first quarter and full moon
(`tuple` [`DemoVisit`, ...])."""

SKYMAP = "demo"
"""Name of the sky map (`str`)."""

TRACT = 1
"""Number of the tract (`int`)."""


@dataclass(frozen=True)
class DemoPatch:
    """A patch of the tract: 300 x 300 pixels and a border of 50.

    ``cell_x`` and ``cell_y`` are its column and row, from 0 to 2.
    """

    cell_x: int
    cell_y: int

    _inner = 300
    _border = 50

    @property
    def id(self) -> int:
        """Its number, row by row."""
        return 3 * self.cell_y + self.cell_x

    @property
    def bbox(self) -> Box:
        """Its pixels with the border, in the tract's coordinates.

        The tract's first pixel is at (1000, 2000), to be unlike (0, 0).
        """
        size = self._inner + 2 * self._border
        return Box(1000 + self._inner * self.cell_x, 2000 + self._inner * self.cell_y, size, size)

    @property
    def corners(self) -> list[tuple[float, float]]:
        """Its four corners on the sky, degrees."""
        box = self.bbox
        middle_x, middle_y = 1000 + 500, 2000 + 500
        return [
            sky_position((x - middle_x) * _PIXEL_SCALE, (y - middle_y) * _PIXEL_SCALE)
            for x, y in ((box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1))
        ]


PATCHES = tuple(DemoPatch(x, y) for y in range(3) for x in range(3))
"""The tract's patches, each overlapping its neighbours by 100 pixels
(`tuple` [`DemoPatch`, ...])."""
