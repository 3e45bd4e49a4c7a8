# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("Quantities", "to_quantities")

import math
from collections.abc import Mapping

import astropy.units as u

from .._html import table, verdict
from ._catalogue import CatalogueError, judge, load_catalogue


class Quantities(dict[str, u.Quantity]):
    """Values of metrics by full name; a notebook shows them with verdicts."""

    def _repr_html_(self) -> str:
        judged = {name: word for name in self if (word := judge(name, self[name])) != "unknown"}
        failed = [name for name, word in judged.items() if word == "fail"]
        heading = f"<b>{len(self)} metrics</b>, {len(judged)} with a limit, {len(failed)} beyond it"
        limited, whole = (
            table(
                ("metric", "value", "unit", "verdict"),
                (
                    (name, f"{self[name].value:.7g}", self[name].unit, verdict(judged.get(name, "")))
                    for name in names
                ),
            )
            for names in (judged, self)
        )
        return f"{heading}{limited}<details><summary>All metrics</summary>{whole}</details>"


def to_quantities(values: Mapping[str, float], unit: u.UnitBase) -> Quantities:
    """Give values the units and the order of the catalogue.

    Parameters
    ----------
    values
        Values by full name, in the catalogue's units.
    unit
        Unit of the background.

    Returns
    -------
    metrics
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
    return Quantities(
        (name, u.Quantity(float(values[name]), metric.unit_for(unit)))
        for name, metric in catalogue.items()
        if name in values and math.isfinite(values[name])
    )
