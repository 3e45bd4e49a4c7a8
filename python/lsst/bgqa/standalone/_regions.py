# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("polygon",)

from collections.abc import Iterable

from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d


def polygon(corners: Iterable[tuple[float, float]]) -> ConvexPolygon:
    """Make the smallest convex region of the sky that holds all corners.

    Corners are ICRS right ascension and declination in degrees, in any order.
    Those that enclose no area are a `ValueError`.
    """
    return ConvexPolygon.convexHull([UnitVector3d(LonLat.fromDegrees(ra, dec)) for ra, dec in corners])
