# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A campaign in InfluxDB's line protocol, named as in Sasquatch."""

from __future__ import annotations

__all__ = ("NAMESPACE", "escape_measurement", "escape_tag", "lines")

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .campaign import Campaign, MetricFamily

if TYPE_CHECKING:
    import pyarrow as pa

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
    campaign: Campaign, family: MetricFamily, batch: pa.RecordBatch, namespace: str = NAMESPACE
) -> Iterator[str]:
    """Write a batch in line protocol.

    Parameters
    ----------
    campaign : `Campaign`
        The campaign.
    family : `MetricFamily`
        One of its families.
    batch : `pyarrow.RecordBatch`
        One of the family's batches.
    namespace : `str`, optional
        What comes before the names of topics in those of measurements.

    Yields
    ------
    line : `str`
        A point, without a line break: of each row and group with a defined
        metric, the measurement ``NAMESPACE.PREFIXGROUP``, tags in the order
        of their keys, a field a metric, and the time in nanoseconds: when
        the visit began, if the row is of a visit whose record says it, else
        `Campaign.run_time`.
    """
    settings = campaign.bundle_settings(family)
    groups = _columns_by_group(family)
    heads = {group: escape_measurement(f"{namespace}.{settings.prefix}{group}") for group in groups}
    keys = {name: batch[name].to_pylist() for name in (*family.keys, "run") if name not in _NO_TAG}
    tags: dict[str, list[Any]] = {
        **keys,
        "dataset_tag": [settings.dataset_tag] * batch.num_rows,
        "dataset_type": [family.bundle_type] * batch.num_rows,
    }
    tag_sets = map("".join, zip(*(_tag_column(name, tags[name]) for name in sorted(tags)), strict=True))
    times = [
        campaign.run_time(run, family) if begin is None else begin
        for begin, run in zip(_begins(batch), keys["run"], strict=True)
    ]
    values = np.column_stack([batch[name].to_numpy(zero_copy_only=False) for name in family.metrics])
    # Undefined values are left out, as in bundles.
    rows = np.where(np.isfinite(values), values, np.nan).tolist()
    for row, tag_set, time in zip(rows, tag_sets, times, strict=True):
        for group, columns in groups.items():
            # What repr says is the shortest that reads as the same number.
            fields = ",".join(
                [f"{name}={row[column]!r}" for column, name in columns if row[column] == row[column]]
            )
            if fields:
                yield f"{heads[group]}{tag_set} {fields} {time * 1000}"


def _tag_column(name: str, values: list[Any]) -> list[str]:
    """Write a tag of each row; a tag cannot be empty."""
    written = {
        value: "" if value is None or value == "" else f",{name}={escape_tag(str(value))}"
        for value in set(values)
    }
    return [written[value] for value in values]


def _columns_by_group(family: MetricFamily) -> dict[str, list[tuple[int, str]]]:
    groups: dict[str, list[tuple[int, str]]] = {}
    for column, full_name in enumerate(family.metrics):
        group, _, name = full_name.partition("_")
        groups.setdefault(group, []).append((column, escape_tag(name)))
    return groups


def _begins(batch: pa.RecordBatch) -> list[int | None]:
    import pyarrow as pa

    if "visit_begin" not in batch.schema.names:
        return [None] * batch.num_rows
    begins: list[int | None] = batch["visit_begin"].cast(pa.int64()).to_pylist()
    return begins
