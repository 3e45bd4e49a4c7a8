# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("PlaneMask", "unknown_planes")

import functools
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

# Planes that releases have besides those in the tables of lsst.images.
_OTHERS = frozenset(
    ("DETECTED_NEGATIVE", "STREAK", "SPIKE", "HIGH_VARIANCE", "SENSOR_EDGE", "CELL_EDGE", "BRIGHT_OBJECT")
)


@functools.cache
def _synonyms() -> dict[str, frozenset[str]]:
    """Return what afw and lsst.images call a plane, by either name."""
    import lsst.images

    # Releases have more of these tables from time to time.
    tables = (
        getattr(lsst.images, name)()
        for name in dir(lsst.images)
        if name.startswith("get_legacy_") and name.endswith("_mask_planes")
    )
    names = {name: frozenset((name,)) for name in _OTHERS}
    for table in tables:
        for legacy, plane in table.items():
            both = frozenset((legacy, plane.name))
            names |= dict.fromkeys(both, both)
    return names


def unknown_planes(names: Iterable[str], mask: Collection[str] = ()) -> list[str]:
    """Return the names of planes that no release knows.

    Parameters
    ----------
    names
        Names of mask planes.
    mask
        Planes that a mask has, which are known.

    Returns
    -------
    unknown
        Those that neither the mask nor a release has.
    """
    return [name for name in names if name not in mask and name not in _synonyms()]


@dataclass(frozen=True, eq=False)
class PlaneMask:
    """A mask whose planes are known by name.

    Attributes
    ----------
    array
        The bits, integers, shape (height, width) or (height, width, bytes).
    bits
        Bits of each plane: integers of the array's type, shape () or
        (bytes,).
    """

    array: np.ndarray
    bits: dict[str, np.ndarray]

    @classmethod
    def of(cls, mask: Any) -> Self:
        """Take over a mask of `lsst.images` or of ``lsst.afw.image``.

        Parameters
        ----------
        mask
            The mask; its pixels are shared.
        """
        array = mask.array
        if hasattr(mask, "getMaskPlaneDict"):
            unsigned = array.view(np.uint32)
            planes = mask.getMaskPlaneDict()
            return cls(unsigned, {name: np.uint32(1 << bit) for name, bit in planes.items()})  # type: ignore[misc]
        return cls(array, {name: mask.schema.bitmask(name) for name in mask.schema.names})

    def flagged(self, rows: slice, planes: Iterable[str]) -> np.ndarray:
        """Tell which pixels have any of some planes.

        Parameters
        ----------
        rows
            The rows wanted.
        planes
            Names of planes, as afw or `lsst.images` has them; those that
            this mask lacks flag nothing.

        Returns
        -------
        flagged
            ``bool``, shape (rows, width).
        """
        array = self.array[rows]
        found = [bits for name, bits in self.bits.items() if name in _either(tuple(planes))]
        wanted = np.bitwise_or.reduce(found) if found else np.zeros((), dtype=array.dtype)
        if array.ndim == 2:
            return np.asarray((array & wanted) != 0)
        result = np.zeros(array.shape[:2], dtype=bool)
        for byte in np.flatnonzero(wanted):
            result |= (array[..., byte] & wanted[byte]) != 0
        return result


@functools.cache
def _either(planes: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*(_synonyms().get(name, {name}) for name in planes))
