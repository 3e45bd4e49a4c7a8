# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A campaign in InfluxDB's line protocol, named as in Sasquatch."""

from __future__ import annotations

__all__ = ("NAMESPACE", "Points", "escape_measurement", "escape_tag")

import contextlib
import itertools
import re

import polars as pl

from lsst.daf.butler import MissingDatasetTypeError

from ..metrics import DEFAULT_PREFIX
from ._provenance import run_time
from .campaign import Campaign, CampaignTable

NAMESPACE = "lsst.dm"
"""Sasquatch's namespace for metrics of data management."""

# In Sasquatch, detectors have numbers alone.
_NO_TAG = ("detector_name",)
_BREAKS = re.compile(r"[\r\n]+")
_BUNDLES_TRIED = 20


def escape_measurement(text: str) -> str:
    """Write the name of a measurement: with backslashes before commas and spaces."""
    return _plain(text).replace(",", r"\,").replace(" ", r"\ ")


def escape_tag(text: str) -> str:
    """Write the key or value of a tag, or the key of a field.

    Backslashes come before commas, equals signs and spaces; quotes are nothing
    special. What it cannot have is replaced: line breaks by a space, a
    backslash at the end by a slash.
    """
    return escape_measurement(text).replace("=", r"\=")


def _plain(text: str) -> str:
    text = _BREAKS.sub(" ", text)
    return f"{text[:-1]}/" if text.endswith("\\") else text


class Points:
    """Writes rows of a campaign table as points.

    Of each row and group with a defined metric: the measurement
    ``NAMESPACE.PREFIXGROUP``, tags in the order of their keys, a field a
    metric, and the time in nanoseconds: when the visit began, if the row is of
    a visit whose record says it, else that of the RUN collection.
    """

    def __init__(self, campaign: Campaign, table: CampaignTable, namespace: str = NAMESPACE) -> None:
        self._campaign, self._table = campaign, table
        prefix, dataset_tag = _bundle_settings(campaign, table)
        self._head = f"{namespace}.{prefix}"
        self._constants = {"dataset_tag": dataset_tag, "dataset_type": table.bundle_type}
        self._run_times: dict[str, int] = {}

    def lines(self, rows: pl.DataFrame) -> pl.Series:
        """Write some rows: points, without line breaks."""
        rows = rows.with_columns(pl.lit(value).alias(name) for name, value in self._constants.items())
        names = sorted({*self._table.keys, "run", *self._constants} - {*_NO_TAG})
        rows = rows.with_columns(
            pl.concat_str([_tag(rows[name]) for name in names]).alias("tags"), self._times(rows)
        )
        finite = rows.select(pl.col(self._table.metrics).is_finite().all()).row(0, named=True)
        points = []
        for group, members in itertools.groupby(self._table.metrics, lambda name: name.partition("_")[0]):
            names = list(members)
            fields = []
            for name in names:
                field = pl.concat_str(
                    pl.lit(f"{escape_tag(name.partition('_')[2])}="), pl.col(name).cast(pl.String)
                )
                # Undefined values are left out, as in bundles.
                fields.append(field if finite[name] else pl.when(pl.col(name).is_finite()).then(field))
            head = pl.lit(escape_measurement(self._head + group))
            some_undefined = not all(finite[name] for name in names)
            every = pl.concat_str(fields, separator=",", ignore_nulls=some_undefined)
            point = pl.concat_str(head, "tags", pl.lit(" "), every, pl.lit(" "), "time")
            points.append(pl.when(pl.any_horizontal(pl.col(names).is_finite())).then(point))
        return rows.select(pl.concat_list(points).alias("line")).explode("line").to_series().drop_nulls()

    def _times(self, rows: pl.DataFrame) -> pl.Expr:
        for run in rows["run"].unique():
            if run not in self._run_times:
                self._run_times[run] = run_time(self._campaign.butler, run, self._table.dataset_types)
        time = pl.col("run").replace_strict(self._run_times, return_dtype=pl.Int64)
        if "visit_begin" in rows.columns:
            time = pl.coalesce(pl.col("visit_begin").dt.epoch("us"), time)
        return (time * 1000).alias("time")


def _tag(values: pl.Series) -> pl.Expr:
    """Write a tag of each row; a tag cannot be empty."""
    written = {
        value: "" if value is None or value == "" else f",{values.name}={escape_tag(str(value))}"
        for value in values.unique()
    }
    return pl.col(values.name).replace_strict(written, return_dtype=pl.String)


def _bundle_settings(campaign: Campaign, table: CampaignTable) -> tuple[str, str]:
    """Return prefix and dataset tag as the first bundle that can be read has them, or the tasks' defaults."""
    with contextlib.suppress(MissingDatasetTypeError), campaign.butler.query() as query:
        refs = query.datasets(table.bundle_type, campaign.collections)
        for ref in refs.where({table.row_kind.root: table.root}).limit(_BUNDLES_TRIED):
            with contextlib.suppress(Exception):  # named when rows are read
                bundle = campaign.butler.get(ref)
                return bundle.metricNamePrefix, bundle.dataset_identifier or "Generic"
    return DEFAULT_PREFIX, "Generic"
