# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the tasks that take many backgrounds have in common."""

from __future__ import annotations

__all__ = (
    "BACKGROUND_GROUPS",
    "NOT_IN_TABLES",
    "TABLE_GROUPS",
    "LeftOut",
    "NamedBackground",
    "kind_of_detector",
    "load_each",
    "metric_names",
    "metric_table",
    "region_vertices",
)

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np

from lsst.pipe.base import NoWorkFound
from lsst.sphgeom import ConvexPolygon, Region

from ..background import BackgroundError, BackgroundModel
from ..metrics import load_catalogue

if TYPE_CHECKING:
    from astropy.table import Table

BACKGROUND_GROUPS = ("coverage", "level", "shape", "edges", "bumps", "blocks", "fit", "significance")
"""Groups of the metrics that one background has by itself."""

TABLE_GROUPS = (*BACKGROUND_GROUPS, "context")
"""Groups of the metrics that a background has among others."""

PATCH_LOW: dict[str, float | None] = {"coverage_dataFraction": None}
PATCH_HIGH: dict[str, float | None] = {"coverage_rangeExcess": None, "significance_holeFraction": None}
"""Limits that do not hold for patches: at the edge
of a survey they have bins without data, and no use for the pixels there.
"""

NOT_IN_TABLES = ("coverage_inputVisitCount",)
"""Metrics of these groups that come from elsewhere."""


@dataclass(frozen=True)
class NamedBackground:
    """A background that is read when it is needed."""

    id: int
    """Number of the detector, visit or patch."""
    identity: str
    """What it is, for messages."""
    load: Callable[[], BackgroundModel]
    """Reads it."""
    name: str = ""
    """Name of the detector."""
    region: Region | None = None
    """Its region of the sky."""


@dataclass
class LeftOut:
    """Backgrounds that a task goes on without, and why."""

    log: Any
    ids: list[int] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def add(self, background: NamedBackground, error: BaseException) -> None:
        """Go on without a background, and name it in the log."""
        reason = str(error)
        # What a reader raises names the dataset already.
        if reason.startswith(background.identity):
            self.log.warning("%s; it is left out.", reason.rstrip("."))
        else:
            self.log.warning("%s is left out: %s", background.identity, reason)
        self.ids.append(background.id)
        self.errors.append(error)

    def nothing_left(self, identity: str, what: str) -> BaseException:
        """Make the error to raise where no background is left.

        It is `~lsst.bgqa.BackgroundError`, or `lsst.pipe.base.NoWorkFound` if
        none of them is broken: there is nothing to do. ``identity`` is what
        was to be made of them, ``what`` what could not be done with any.
        """
        broken = [error for error in self.errors if isinstance(error, BackgroundError)]
        message = f"{identity}: none of {len(self.errors)} backgrounds can be {what}"
        if not broken:
            return NoWorkFound(f"{message}.")
        return BackgroundError(f"{message}; the first that is broken: {broken[0]}")


def load_each(
    backgrounds: Iterable[NamedBackground], left_out: LeftOut
) -> Iterator[tuple[NamedBackground, BackgroundModel]]:
    """Read backgrounds one by one; ``left_out`` takes those that cannot be read."""
    for background in backgrounds:
        try:
            model = background.load()
        except (BackgroundError, NoWorkFound) as error:
            left_out.add(background, error)
            continue
        yield background, model


def kind_of_detector(name: str, kinds: Mapping[str, str]) -> str:
    """Return the kind that the longest fitting beginning of a name stands for; empty if none fits."""
    fitting = [prefix for prefix in kinds if name.startswith(prefix)]
    return kinds[max(fitting, key=len)] if fitting else ""


def metric_names(
    groups: Collection[str] = TABLE_GROUPS, exclude: Collection[str] = NOT_IN_TABLES
) -> list[str]:
    """Return the full names of the metrics of some groups, in the catalogue's order."""
    return [
        name for name, metric in load_catalogue().items() if metric.group in groups and name not in exclude
    ]


def metric_table(
    columns: Mapping[str, Any],
    rows: Sequence[Mapping[str, float]],
    names: Sequence[str],
    unit: u.UnitBase,
) -> Table:
    """Make a table of metrics.

    Parameters
    ----------
    columns
        What comes before the metrics; a column that is an
        `~astropy.units.Quantity` keeps its unit.
    rows
        Metrics of each row by full name, in the catalogue's units.
    names
        Metrics that have a column, whether any row has them or not.
    unit
        Unit of the background.

    Returns
    -------
    table
        The table; NaN where a metric is not defined. Each column has its
        unit and, of a metric, the catalogue's description.
    """
    from astropy.table import Column, Table

    table = Table()
    for name, values in columns.items():
        if isinstance(values, u.Quantity):
            table[name] = Column(values.value, unit=values.unit)
        else:
            table[name] = Column(values)
    catalogue = load_catalogue()
    for name in names:
        metric = catalogue[name]
        values = np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)
        table[name] = Column(values, unit=metric.unit_for(unit), description=metric.description)
    return table


def region_vertices(region: Region | None) -> np.ndarray | None:
    """Return the corners of a polygon of four, in its order: unit vectors, shape (4, 3)."""
    if not isinstance(region, ConvexPolygon):
        return None
    vertices = np.array([[v.x(), v.y(), v.z()] for v in region.getVertices()])
    return vertices if len(vertices) == 4 else None
