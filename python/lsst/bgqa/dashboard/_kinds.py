# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The kinds of rows that a campaign has, and what their datasets are called."""

from __future__ import annotations

__all__ = (
    "KINDS",
    "MetricUnits",
    "RowKind",
    "Rows",
    "Unreadable",
    "check_columns",
    "microseconds",
    "row_schema",
)

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.time import Time

from lsst.daf.butler import DatasetRef

from ..metrics import load_catalogue
from ..tasks._campaign import NOT_IN_TABLES, TABLE_GROUPS
from ..tasks._inputs import describe

if TYPE_CHECKING:
    import pyarrow as pa

_LOG = logging.getLogger(__name__)
_NAMES_KEPT = 100

type MetricUnits = dict[str, str]
"""Unit of each metric, by full name, in the order of the columns."""


@dataclass(frozen=True)
class RowKind:
    """What a row of a campaign is of.

    Attributes
    ----------
    name : `str`
        What the kind is called.
    root : `str`
        ``instrument`` or ``skymap``: a family has one of them.
    keys : `~collections.abc.Mapping` [`str`, `type`]
        Columns that say what a row is of, and their types.
    window : `str`
        Dimension, with numbers for values, by which datasets are read part
        by part.
    window_size : `int`
        How many values of it are read at once.
    peers : `tuple` [`str`, ...]
        Columns in which rows that are judged together agree.
    bundle, table : `str`
        How the names of bundles, and of tables of pieces, end.
    bundle_dimensions, table_dimensions : `frozenset` [`str`]
        Their required dimensions.
    groups : `tuple` [`str`, ...]
        Groups of the catalogue that its bundles may have.
    gathered : `tuple` [`str`, ...]
        How the names of tables of campaigns end, the preferred first.
    """

    name: str
    root: str
    keys: Mapping[str, type]
    window: str
    window_size: int
    peers: tuple[str, ...]
    bundle: str
    bundle_dimensions: frozenset[str]
    groups: tuple[str, ...]
    table: str = ""
    table_dimensions: frozenset[str] = frozenset()
    gathered: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        """Dimension that tells the rows of a table apart (`str`)."""
        return {"detector": "detector", "patch": "patch"}.get(self.name, "")

    @property
    def has_begin(self) -> bool:
        """Whether a row is of a visit, which has a beginning (`bool`)."""
        return "visit" in self.keys

    def metric_names(self, seen: Collection[str] = ()) -> list[str]:
        """Return the metrics that a row may have.

        Parameters
        ----------
        seen : `~collections.abc.Collection` [`str`], optional
            Full names of metrics that some have. Bundles of the sky that is
            left in images have no others.

        Returns
        -------
        names : `list` [`str`]
            Full names, in the catalogue's order.
        """
        catalogue = load_catalogue()
        is_residual = any(catalogue[name].group == _RESIDUAL for name in seen)
        groups = (_RESIDUAL,) if is_residual else self.groups
        return [
            name
            for name, metric in catalogue.items()
            if metric.group in groups and (name not in NOT_IN_TABLES or "closure" in groups)
        ]


_BACKGROUND = (*TABLE_GROUPS, "comparison")
# What is left in an image has datasets, and so families, of its own.
_RESIDUAL = "residual"

KINDS = (
    RowKind(
        "detector",
        "instrument",
        {
            "instrument": str,
            "band": str,
            "physical_filter": str,
            "day_obs": int,
            "visit": int,
            "detector": int,
            "detector_name": str,
        },
        window="visit",
        window_size=16,
        peers=("visit",),
        bundle="_metrics",
        bundle_dimensions=frozenset(("instrument", "visit", "detector")),
        groups=_BACKGROUND,
        table="_visit_table",
        table_dimensions=frozenset(("instrument", "visit")),
        gathered=("_campaign_table", "_visit_campaign_table"),
    ),
    RowKind(
        "visit",
        "instrument",
        {"instrument": str, "band": str, "physical_filter": str, "day_obs": int, "visit": int},
        window="visit",
        window_size=500,
        peers=("visit",),
        bundle="_visit_metrics",
        bundle_dimensions=frozenset(("instrument", "visit")),
        groups=("visit",),
    ),
    RowKind(
        "stack",
        "instrument",
        {"instrument": str, "band": str, "physical_filter": str, "detector": int, "detector_name": str},
        window="detector",
        window_size=50,
        peers=("detector", "physical_filter"),
        bundle="_stack_metrics",
        bundle_dimensions=frozenset(("instrument", "detector", "physical_filter")),
        groups=("stack",),
    ),
    RowKind(
        "patch",
        "skymap",
        {"skymap": str, "tract": int, "patch": int, "band": str},
        window="tract",
        window_size=4,
        peers=("tract", "band"),
        bundle="_metrics",
        bundle_dimensions=frozenset(("skymap", "tract", "patch", "band")),
        groups=(*_BACKGROUND, "closure"),
        table="_tract_table",
        table_dimensions=frozenset(("skymap", "tract", "band")),
        gathered=("_campaign_table", "_tract_campaign_table"),
    ),
    RowKind(
        "tract",
        "skymap",
        {"skymap": str, "tract": int, "band": str},
        window="tract",
        window_size=100,
        peers=("tract", "band"),
        bundle="_tract_metrics",
        bundle_dimensions=frozenset(("skymap", "tract", "band")),
        groups=("tract",),
    ),
)
"""The kinds, in the order in which families are listed (`tuple`)."""


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

    def add(self, ref: DatasetRef, error: Exception) -> None:
        """Name a dataset in the log, and count it.

        Parameters
        ----------
        ref : `lsst.daf.butler.DatasetRef`
            The dataset.
        error : `Exception`
            What is wrong with it.
        """
        reason = " ".join(str(error).split()) or type(error).__name__
        _LOG.warning("%s is left out: %s", describe(ref), reason)
        self.count += 1
        if len(self.names) < _NAMES_KEPT:
            self.names.append(f"{describe(ref)}: {reason}")


@dataclass
class Rows:
    """Rows that are judged together.

    Attributes
    ----------
    keys : `dict` [`str`, `list`]
        Columns that say what a row is of.
    values : `numpy.ndarray`
        Metrics, ``float64``, shape (rows, metrics); NaN where undefined.
    begins : `list` [`int` or `None`]
        When the visit began, in microseconds of UTC since 1970.
    runs, ids : `list` [`str`]
        RUN collection and UUID of the dataset that the row was read from.
    known : `list` [`tuple` [`str`, `str`]]
        Metrics, by commas, by which a table says that the row fails, and its
        words.
    """

    keys: dict[str, list[Any]]
    values: np.ndarray
    begins: list[int | None]
    runs: list[str]
    ids: list[str]
    known: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.values)


def row_schema(kind: RowKind, units: MetricUnits, metadata: Mapping[str, str]) -> pa.Schema:
    """Return the columns of a family's batches.

    Parameters
    ----------
    kind : `RowKind`
        What the rows are of.
    units : `dict` [`str`, `str`]
        Units of the metrics.
    metadata : `~collections.abc.Mapping` [`str`, `str`]
        What to say of the table.

    Returns
    -------
    schema : `pyarrow.Schema`
        Data ID, provenance, verdict, metrics.
    """
    import pyarrow as pa

    catalogue = load_catalogue()
    fields = [
        pa.field(name, pa.int64() if type_ is int else pa.string()) for name, type_ in kind.keys.items()
    ]
    if kind.has_begin:
        fields.append(pa.field("visit_begin", pa.timestamp("us", tz="UTC")))
    fields += [pa.field(name, pa.string()) for name in ("run", "dataset_id", "kind", "verdict")]
    fields += [pa.field("severity", pa.float64()), pa.field("failed", pa.string())]
    fields += [pa.field("fault", pa.string())]
    for name, unit in units.items():
        description = catalogue[name].description if name in catalogue else ""
        about = {"unit": unit, "description": description}
        fields.append(pa.field(name, pa.float64(), metadata={k: v for k, v in about.items() if v}))
    return pa.schema(fields, metadata=dict(metadata))


def check_columns(names: Sequence[str], required: Sequence[str]) -> None:
    """Refuse a table that lacks columns.

    Parameters
    ----------
    names : `~collections.abc.Sequence` [`str`]
        Columns that it has.
    required : `~collections.abc.Sequence` [`str`]
        Columns that it needs.

    Raises
    ------
    ValueError
        Raised if some are missing.
    """
    if missing := [name for name in required if name not in names]:
        raise ValueError(f"the table lacks the column(s) {', '.join(missing)}")


def microseconds(time: Time) -> int:
    """Count time as computers do.

    Parameters
    ----------
    time : `astropy.time.Time`
        The time.

    Returns
    -------
    count : `int`
        Microseconds of UTC since 1970, without leap seconds.
    """
    utc = time.utc
    # Two doubles, so that nothing is lost in their sum.
    return round((utc.jd1 - 2440587.5) * 86_400_000_000) + round(utc.jd2 * 86_400_000_000)
