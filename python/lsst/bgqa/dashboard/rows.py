# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the rows of campaign tables are of, and what their datasets are called."""

from __future__ import annotations

__all__ = ("ROW_KINDS", "RowKind", "Unreadable", "row_schema")

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lsst.daf.butler import DatasetRef

from ..errors import one_line
from ..metrics import load_catalogue
from ..tasks._inputs import describe

if TYPE_CHECKING:
    import pyarrow as pa

_LOG = logging.getLogger(__name__)
_NAMES_KEPT = 100


@dataclass(frozen=True)
class RowKind:
    """What a row is of.

    A visit's detectors, and a tract's patches in a band, are the tiles of a
    mosaic: they are judged, and shown, together.

    Attributes
    ----------
    name : `str`
        ``detector``, ``visit``, ``stack``, ``patch`` or ``tract``.
    root : `str`
        ``instrument`` or ``skymap``: a table has one of them.
    keys : `~collections.abc.Mapping` [`str`, `type`]
        Columns that say what a row is of, and their types.
    mosaic, tile : `tuple` [`str`, ...]
        Columns that name the mosaic, and the tile.
    window : `str`
        Dimension, with numbers for values, by which datasets are looked up
        part by part.
    window_size : `int`
        How many values of it are looked up at once.
    bundle, table, gathered : `str`
        How the names of bundles, of tables of a mosaic, and of campaign
        tables that were gathered of either end.
    bundle_dimensions, table_dimensions : `frozenset` [`str`]
        Their required dimensions.
    whole : `str`
        Kind of the rows that are of mosaics as a whole.
    """

    name: str
    root: str
    keys: Mapping[str, type]
    mosaic: tuple[str, ...]
    tile: tuple[str, ...]
    window: str
    window_size: int
    bundle: str
    bundle_dimensions: frozenset[str]
    table: str = ""
    table_dimensions: frozenset[str] = frozenset()
    gathered: tuple[str, ...] = ()
    whole: str = ""


_VISIT = {"instrument": str, "band": str, "physical_filter": str, "day_obs": int, "visit": int}
_STACK = {"instrument": str, "band": str, "physical_filter": str, "detector": int, "detector_name": str}
_TRACT = {"skymap": str, "tract": int, "band": str}

ROW_KINDS = (
    RowKind(
        "detector",
        "instrument",
        {**_VISIT, "detector": int, "detector_name": str},
        mosaic=("visit",),
        tile=("detector",),
        window="visit",
        window_size=16,
        bundle="_metrics",
        bundle_dimensions=frozenset(("instrument", "visit", "detector")),
        table="_visit_table",
        table_dimensions=frozenset(("instrument", "visit")),
        gathered=("_campaign_table", "_visit_campaign_table"),
        whole="visit",
    ),
    RowKind(
        "visit",
        "instrument",
        _VISIT,
        mosaic=("visit",),
        tile=(),
        window="visit",
        window_size=500,
        bundle="_visit_metrics",
        bundle_dimensions=frozenset(("instrument", "visit")),
    ),
    RowKind(
        "stack",
        "instrument",
        _STACK,
        mosaic=("detector", "physical_filter"),
        tile=(),
        window="detector",
        window_size=50,
        bundle="_stack_metrics",
        bundle_dimensions=frozenset(("instrument", "detector", "physical_filter")),
    ),
    RowKind(
        "patch",
        "skymap",
        {"skymap": str, "tract": int, "patch": int, "band": str},
        mosaic=("tract", "band"),
        tile=("tract", "patch"),
        window="tract",
        window_size=4,
        bundle="_metrics",
        bundle_dimensions=frozenset(("skymap", "tract", "patch", "band")),
        table="_tract_table",
        table_dimensions=frozenset(("skymap", "tract", "band")),
        gathered=("_campaign_table", "_tract_campaign_table"),
        whole="tract",
    ),
    RowKind(
        "tract",
        "skymap",
        _TRACT,
        mosaic=("tract", "band"),
        tile=(),
        window="tract",
        window_size=100,
        bundle="_tract_metrics",
        bundle_dimensions=frozenset(("skymap", "tract", "band")),
    ),
)
"""The kinds, in the order in which tables are listed (`tuple`)."""


@dataclass
class Unreadable:
    """Datasets that could not be read.

    Attributes
    ----------
    count : `int`
        How many there are.
    names : `list` [`str`]
        Names and reasons of the first hundred; all are logged.
    """

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: str, error: Exception) -> None:
        """Count a dataset that the log has already."""
        self.count += 1
        if len(self.names) < _NAMES_KEPT:
            self.names.append(f"{name}: {one_line(error)}")

    def tell(self, ref: DatasetRef, error: Exception) -> None:
        """Name a dataset in the log, and count it."""
        _LOG.warning("%s is left out: %s", describe(ref), one_line(error))
        self.add(describe(ref), error)


def row_schema(kind: RowKind, units: Mapping[str, str], metadata: Mapping[str, str]) -> pa.Schema:
    """Return the columns of batches: data ID, provenance, verdict, metrics."""
    import pyarrow as pa

    catalogue = load_catalogue()
    types = {str: pa.string(), int: pa.int64()}
    fields = [pa.field(name, types[type_]) for name, type_ in kind.keys.items()]
    if "visit" in kind.keys:
        fields.append(pa.field("visit_begin", pa.timestamp("us", tz="UTC")))
    fields += [pa.field(name, pa.string()) for name in ("run", "dataset_id", "kind", "verdict")]
    fields += [pa.field("severity", pa.float64())]
    fields += [pa.field(name, pa.string()) for name in ("failed", "fault")]
    for name, unit in units.items():
        about = {"unit": unit, "description": catalogue[name].description if name in catalogue else ""}
        fields.append(pa.field(name, pa.float64(), metadata={k: v for k, v in about.items() if v}))
    return pa.schema(fields, metadata=dict(metadata))
