# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The demo's camera: one raft of nine detectors."""

from __future__ import annotations

__all__ = ("DETECTORS", "FILTERS", "DemoCam", "DemoDetector")

from dataclasses import dataclass
from typing import Any

from lsst.daf.butler import Registry
from lsst.pipe.base import Instrument

_PIXEL_SCALE = 0.2 / 3600
_GAP = 100


@dataclass(frozen=True)
class DemoDetector:
    """A detector of 2048 x 2048 pixels, read through 2 x 8 amplifiers.

    They are numbered from 0 to 8, row by row.
    """

    id: int

    width = 2048
    height = 2048

    def getId(self) -> int:
        """Return its number."""
        return self.id

    def getType(self) -> str:
        """Return what it is for."""
        return "SCIENCE"

    @property
    def name(self) -> str:
        """Its name in the raft, such as ``S01``."""
        return f"S{self.id // 3}{self.id % 3}"

    def to_focal_plane(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Convert pixels to angles from the optical axis, in degrees along x and y."""
        u = (x + 0.5 + (self.id % 3 - 1.5) * (self.width + _GAP) + _GAP / 2) * _PIXEL_SCALE
        v = (y + 0.5 + (self.id // 3 - 1.5) * (self.height + _GAP) + _GAP / 2) * _PIXEL_SCALE
        return u, v

    @property
    def corners(self) -> list[tuple[float, float]]:
        """Its four corners in the focal plane, degrees."""
        x1, y1 = self.width - 0.5, self.height - 0.5
        return [self.to_focal_plane(x, y) for x, y in ((-0.5, -0.5), (x1, -0.5), (x1, y1), (-0.5, y1))]


DETECTORS = tuple(DemoDetector(i) for i in range(9))
"""The camera's detectors (`tuple` [`DemoDetector`, ...])."""

FILTERS = {"demo-r": "r", "demo-i": "i"}
"""Band of each physical filter (`dict` [`str`, `str`])."""


class DemoCam(Instrument):
    """The instrument of the demo repository."""

    @classmethod
    def getName(cls) -> str:
        """Return the name in data IDs."""
        return "DemoCam"

    def register(self, registry: Registry, *, update: bool = False) -> None:
        """Insert the records of the instrument, its detectors and filters."""
        name = self.getName()
        with registry.transaction():
            registry.syncDimensionData(
                "instrument",
                {
                    "name": name,
                    "class_name": f"lsst.bgqa.standalone.demo.{type(self).__name__}",
                    "detector_max": len(DETECTORS),
                    "visit_max": 10**13,
                    "exposure_max": 10**13,
                    "visit_system": 0,
                },
                update=update,
            )
            for detector in DETECTORS:
                registry.syncDimensionData(
                    "detector",
                    {
                        "instrument": name,
                        "id": detector.id,
                        "full_name": f"R00_{detector.name}",
                        "name_in_raft": detector.name,
                        "raft": "R00",
                        "purpose": "SCIENCE",
                    },
                    update=update,
                )
            for physical_filter, band in FILTERS.items():
                registry.syncDimensionData(
                    "physical_filter",
                    {"instrument": name, "name": physical_filter, "band": band},
                    update=update,
                )

    def getCamera(self) -> tuple[DemoDetector, ...]:
        """Return the detectors, as a stack's camera iterates over its own."""
        return DETECTORS

    def getRawFormatter(self, dataId: Any) -> Any:
        """Refuse: the demo has no raw images."""
        raise NotImplementedError("the demo's camera has no raw images")
