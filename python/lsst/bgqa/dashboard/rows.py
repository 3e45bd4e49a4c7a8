# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the rows of campaign tables are of, and what their datasets are called."""

from __future__ import annotations

__all__ = ("JUDGED", "ROW_KINDS", "RowKind", "Unreadable", "row_schema")

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from lsst.daf.butler import DatasetRef

from ..errors import one_line
from ..metrics import load_catalogue
from ..tasks._inputs import describe

_LOG = logging.getLogger(__name__)
_NAMES_KEPT = 100


@dataclass(frozen=True)
class RowKind:
    """What a row is of.

    A visit's detectors, and a tract's patches in a band, are the tiles of a
    mosaic: they are judged, and shown, together.
    """

    name: str
    """``detector``, ``visit``, ``stack``, ``patch`` or ``tract``."""
    root: str
    """``instrument`` or ``skymap``: a table has one of them."""
    keys: Mapping[str, type]
    """Columns that say what a row is of, and their types."""
    mosaic: tuple[str, ...]
    """Columns that name the mosaic."""
    tile: tuple[str, ...]
    """Columns that name the tile."""
    window: str
    """Dimension, with numbers for values, by which datasets are looked up part by part."""
    window_size: int
    """How many values of it are looked up at once."""
    bundle: str
    """How the names of bundles end."""
    bundle_dimensions: frozenset[str]
    table: str = ""
    """How the names of tables of a mosaic end."""
    table_dimensions: frozenset[str] = frozenset()
    gathered: tuple[str, ...] = ()
    """How the names of campaign tables end that were gathered of bundles, and of tables."""
    whole: str = ""
    """Kind of the rows that are of mosaics as a whole."""


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
"""The kinds, in the order in which tables are listed."""

JUDGED = ("kind", "verdict", "severity", "failed", "fault")
"""What the gather tasks say of each row."""


@dataclass
class Unreadable:
    """Datasets that could not be read."""

    count: int = 0
    names: list[str] = field(default_factory=list)
    """Names and reasons of the first hundred; all are logged."""

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
