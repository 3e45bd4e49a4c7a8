# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A campaign in InfluxDB's line protocol, named as in Sasquatch."""

from __future__ import annotations

__all__ = ("NAMESPACE", "escape_measurement", "escape_tag", "lines")

import re
from typing import TYPE_CHECKING

from .campaign import Campaign, CampaignTable

if TYPE_CHECKING:
    import polars as pl

NAMESPACE = "lsst.dm"
"""Sasquatch's namespace for metrics of data management (`str`)."""

# In Sasquatch, detectors have numbers alone.
_NO_TAG = ("detector_name",)
_BREAKS = re.compile(r"[\r\n]+")


def escape_measurement(text: str) -> str:
    """Write the name of a measurement.

    Parameters
    ----------
    text : `str`
        The name.

    Returns
    -------
    escaped : `str`
        As line protocol has it: backslashes before commas and spaces.
    """
    return _plain(text).replace(",", r"\,").replace(" ", r"\ ")


def escape_tag(text: str) -> str:
    """Write the key or value of a tag, or the key of a field.

    Parameters
    ----------
    text : `str`
        The key or value.

    Returns
    -------
    escaped : `str`
        As line protocol has it: backslashes before commas, equals signs and
        spaces; quotes are nothing special. What it cannot have is replaced:
        line breaks by a space, a backslash at the end by a slash.
    """
    return _plain(text).replace(",", r"\,").replace("=", r"\=").replace(" ", r"\ ")


def _plain(text: str) -> str:
    text = _BREAKS.sub(" ", text)
    return f"{text[:-1]}/" if text.endswith("\\") else text


def lines(
    campaign: Campaign, table: CampaignTable, rows: pl.DataFrame, namespace: str = NAMESPACE
) -> pl.Series:
    """Write rows in line protocol.

    Parameters
    ----------
    campaign : `Campaign`
        The campaign.
    table : `CampaignTable`
        One of its tables.
    rows : `polars.DataFrame`
        Some of the table's rows.
    namespace : `str`, optional
        What comes before the names of topics in those of measurements.

    Returns
    -------
    lines : `polars.Series`
        Points, without line breaks: of each row and group with a defined
        metric, the measurement ``NAMESPACE.PREFIXGROUP``, tags in the order
        of their keys, a field a metric, and the time in nanoseconds: when
        the visit began, if the row is of a visit whose record says it, else
        `Campaign.run_time`.
    """
    import polars as pl

    settings = campaign.bundle_settings(table)
    constants = {"dataset_tag": settings.dataset_tag, "dataset_type": table.bundle_type}
    rows = rows.with_columns(pl.lit(value).alias(name) for name, value in constants.items())
    names = sorted({*table.keys, "run", *constants} - {*_NO_TAG})
    runs = {run: campaign.run_time(run, table) for run in rows["run"].unique()}
    time = pl.col("run").replace_strict(runs, return_dtype=pl.Int64)
    if "visit_begin" in rows.columns:
        time = pl.coalesce(pl.col("visit_begin").dt.epoch("us"), time)
    rows = rows.with_columns(
        pl.concat_str([_tag(rows[name]) for name in names]).alias("tags"), (time * 1000).alias("time")
    )
    groups: dict[str, list[str]] = {}
    for full_name in table.metrics:
        groups.setdefault(full_name.partition("_")[0], []).append(full_name)
    finite = rows.select(pl.col(table.metrics).is_finite().all()).row(0, named=True)
    points = []
    for group, members in groups.items():
        fields = []
        for name in members:
            before = pl.lit(f",{escape_tag(name.partition('_')[2])}=")
            if finite[name]:
                fields += [before, pl.col(name).cast(pl.String)]
            else:  # undefined values are left out, as in bundles
                value = pl.concat_str(before, pl.col(name).cast(pl.String))
                fields.append(pl.when(pl.col(name).is_finite()).then(value).otherwise(pl.lit("")))
        known = pl.any_horizontal(pl.col(members).is_finite())
        head = pl.lit(escape_measurement(f"{namespace}.{settings.prefix}{group}"))
        every = pl.concat_str(fields).str.slice(1)
        points.append(
            pl.when(known).then(pl.concat_str(head, "tags", pl.lit(" "), every, pl.lit(" "), "time"))
        )
    return rows.select(pl.concat_list(points).alias("line")).explode("line").to_series().drop_nulls()


def _tag(values: pl.Series) -> pl.Expr:
    """Write a tag of each row; a tag cannot be empty."""
    import polars as pl

    written = {
        value: "" if value is None or value == "" else f",{values.name}={escape_tag(str(value))}"
        for value in values.unique()
    }
    return pl.col(values.name).replace_strict(written, return_dtype=pl.String)
