# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("polygon",)

from collections.abc import Iterable

from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d


def polygon(corners: Iterable[tuple[float, float]]) -> ConvexPolygon:
    """Make the smallest convex region of the sky that holds all corners.

    Parameters
    ----------
    corners
        ICRS right ascension and declination of each, degrees; at least
        three that are not on one great circle, in any order.

    Returns
    -------
    region
        The region.

    Raises
    ------
    ValueError
        Raised if the corners enclose no area.
    """
    return ConvexPolygon.convexHull([UnitVector3d(LonLat.fromDegrees(ra, dec)) for ra, dec in corners])
