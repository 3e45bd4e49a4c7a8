# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What ran: tasks and how long they took, and datasets by type and RUN."""

from __future__ import annotations

__all__ = ("run_tables",)

import datetime
import logging
import statistics
from collections.abc import Iterable
from typing import Any

from lsst.daf.butler import DatasetType

from ...tasks._inputs import describe
from ._datasets import Datasets
from ._tables import Cell, Column, Table, number

_LOG = logging.getLogger(__name__)
_SAMPLE = 25

type Span = tuple[datetime.datetime, datetime.datetime]


def run_tables(datasets: Datasets, backgrounds: Iterable[str]) -> list[Table]:
    """List the tasks whose outputs are about backgrounds, and the dataset types that are."""
    names = tuple(dict.fromkeys(backgrounds))
    about = tuple(f"{name}_" for name in names)
    kept = {run for run, types in datasets.runs.items() if any(one.startswith(about) for one in types)}
    tasks, types = [], []
    for name, kind in datasets.types.items():
        runs = [run for run, held in datasets.runs.items() if name in held]
        if name in names or name.startswith(about):
            if counts := {run: number for run in runs if (number := _count(datasets, name, run))}:
                types.append((kind, counts))
        elif kind.storageClass_name == "TaskMetadata" and (made := [run for run in runs if run in kept]):
            if quanta := sum(_count(datasets, name, run) for run in made):
                tasks.append((name.removesuffix("_metadata"), quanta, _spans(datasets, kind, made)))
    tables = []
    if tasks:
        columns = [
            Column("task", lambda task: task[0]),
            Column("quanta", lambda task: task[1], "number"),
            Column("median time", lambda task: _median(task[2]), "number"),
            Column(
                "first began, UTC", lambda task: _moment(min((span[0] for span in task[2]), default=None))
            ),
            Column("last ended, UTC", lambda task: _moment(max((span[1] for span in task[2]), default=None))),
        ]
        note = "Times are those of the quanta that were looked at."
        tables.append(Table("tasks", "Tasks", columns, tasks, filter=False, note=note))
    columns = [
        Column("dataset type", lambda row: row[0].name, "wrap"),
        Column("storage class", lambda row: row[0].storageClass_name),
        Column("dimensions", lambda row: ", ".join(row[0].dimensions.required), "wrap"),
        Column("datasets", lambda row: sum(row[1].values()), "number"),
        Column("RUN collections", lambda row: _first(list(row[1])), "wrap"),
    ]
    return [*tables, Table("types", "Dataset types", columns, types, tall=True)]


def _count(datasets: Datasets, name: str, run: str) -> int:
    with datasets.butler.query() as query:
        return query.datasets(datasets.types[name], [run], find_first=False).count()


def _spans(datasets: Datasets, kind: DatasetType, runs: list[str]) -> list[Span]:
    """Return when some quanta began and ended."""
    spans = []
    with datasets.butler.query() as query:
        refs = list(query.datasets(kind, runs).limit(_SAMPLE))
    for ref in refs:
        try:
            quantum = datasets.butler.get(ref).get("quantum") or {}
            begin, end = (_time(quantum.get(name)) for name in ("prepUtc", "endUtc"))
            if begin is not None and end is not None:
                spans.append((begin, end))
        except Exception as error:
            # The datastore and the formatters have errors of their own.
            _LOG.warning("%s is left out: %s", describe(ref), error)
    return spans


def _time(value: Any) -> datetime.datetime | None:
    try:
        time = datetime.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)


def _median(spans: list[Span]) -> Cell:
    seconds = [(last - first).total_seconds() for first, last in spans]
    median = statistics.median(seconds) if seconds else None
    return Cell(number(median, "s"), median, soft=f"of {len(seconds)}")


def _moment(time: datetime.datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else ""


def _first(runs: list[str]) -> str:
    return ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
