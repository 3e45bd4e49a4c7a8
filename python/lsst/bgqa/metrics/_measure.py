# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("to_quantities",)

import math
from collections.abc import Mapping

import astropy.units as u

from ._catalogue import CatalogueError, load_catalogue


def to_quantities(values: Mapping[str, float], unit: u.UnitBase) -> dict[str, u.Quantity]:
    """Give values the units and the order of the catalogue.

    Parameters
    ----------
    values : `~collections.abc.Mapping` [`str`, `float`]
        Values by full name, in the catalogue's units.
    unit : `astropy.units.UnitBase`
        Unit of the background.

    Returns
    -------
    metrics : `dict` [`str`, `astropy.units.Quantity`]
        Values by full name, in catalogue order; those that are NaN or
        infinite are left out.

    Raises
    ------
    CatalogueError
        Raised if the catalogue has no such metric.
    """
    catalogue = load_catalogue()
    if unknown := sorted(values.keys() - catalogue.keys()):
        raise CatalogueError(f"not in the metric catalogue: {', '.join(unknown)}")
    return {
        name: u.Quantity(float(values[name]), metric.unit_for(unit))
        for name, metric in catalogue.items()
        if name in values and math.isfinite(values[name])
    }
