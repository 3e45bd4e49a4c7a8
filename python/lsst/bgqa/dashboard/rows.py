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
    keys: Mapping[str, type]
    """Columns that say what a row is of, and their types."""
    mosaic: tuple[str, ...]
    """Columns that name the mosaic."""
    window_size: int
    """How many values of ``window`` are looked up at once."""
    tile: tuple[str, ...] = ()
    """Columns that name the tile."""
    whole: str = ""
    """Kind of the rows that are of mosaics as a whole, which tables are named after."""

    @property
    def root(self) -> str:
        """``instrument`` or ``skymap``: a table has one of them."""
        return next(iter(self.keys))

    @property
    def image(self) -> list[str]:
        """Columns that name a row's image."""
        return list(dict.fromkeys((*self.mosaic, *self.tile)))

    @property
    def window(self) -> str:
        """Dimension, with numbers for values, by which datasets are looked up part by part."""
        return self.mosaic[0]

    @property
    def bundle_dimensions(self) -> frozenset[str]:
        """Required dimensions of bundles; those of tables of a mosaic are without the tile's."""
        return frozenset((self.root, *self.mosaic, *self.tile))

    @property
    def bundle(self) -> str:
        """How the names of bundles end."""
        return "_metrics" if self.tile else f"_{self.name}_metrics"

    @property
    def table(self) -> str:
        """How the names of tables of a mosaic end; empty if there are none."""
        return f"_{self.whole}_table" if self.whole else ""

    @property
    def gathered(self) -> tuple[str, ...]:
        """How the names of campaign tables end that were gathered of bundles, and of tables."""
        return ("_campaign_table", f"_{self.whole}_campaign_table") if self.whole else ()


_VISIT = {"instrument": str, "band": str, "physical_filter": str, "day_obs": int, "visit": int}
_DETECTOR = {"detector": int, "detector_name": str}
_STACK = {"instrument": str, "band": str, "physical_filter": str, **_DETECTOR}
_PATCH = {"skymap": str, "tract": int, "patch": int, "band": str}
_TRACT = {"skymap": str, "tract": int, "band": str}

ROW_KINDS = (
    RowKind("detector", {**_VISIT, **_DETECTOR}, ("visit",), 16, ("detector",), "visit"),
    RowKind("visit", _VISIT, ("visit",), 500),
    RowKind("stack", _STACK, ("detector", "physical_filter"), 50),
    RowKind("patch", _PATCH, ("tract", "band"), 4, ("tract", "patch"), "tract"),
    RowKind("tract", _TRACT, ("tract", "band"), 100),
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
