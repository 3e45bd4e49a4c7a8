# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What ran: datasets, RUNs, tasks and how long they took."""

from __future__ import annotations

__all__ = ("TaskTime", "TypeCount", "count_types", "task_times")

import datetime
import logging
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ._datasets import Datasets

_LOG = logging.getLogger(__name__)
_SAMPLE = 25


@dataclass(frozen=True)
class TypeCount:
    """How many datasets of a type there are."""

    name: str
    storage_class: str
    dimensions: tuple[str, ...]
    counts: dict[str, int]


@dataclass(frozen=True)
class TaskTime:
    """How long a task took."""

    label: str
    quanta: int
    seconds: float | None
    sample: int
    first: datetime.datetime | None
    last: datetime.datetime | None


def count_types(datasets: Datasets, backgrounds: Iterable[str]) -> list[TypeCount]:
    """Count the datasets of each type that is about backgrounds."""
    names = tuple(dict.fromkeys(backgrounds))
    counts = []
    for name, kind in datasets.types.items():
        if name not in names and not name.startswith(tuple(f"{one}_" for one in names)):
            continue
        by_run = {run: _count(datasets, name, run) for run, types in datasets.runs.items() if name in types}
        by_run = {run: number for run, number in by_run.items() if number}
        if by_run:
            counts.append(TypeCount(name, kind.storageClass_name, tuple(kind.dimensions.required), by_run))
    return counts


def task_times(datasets: Datasets, backgrounds: Iterable[str]) -> list[TaskTime]:
    """Tell how long the tasks took whose outputs are about backgrounds."""
    names = tuple(dict.fromkeys(backgrounds))
    made = {
        run: any(one.startswith(tuple(f"{name}_" for name in names)) for one in types)
        for run, types in datasets.runs.items()
    }
    times = []
    for name, kind in datasets.types.items():
        if kind.storageClass_name != "TaskMetadata":
            continue
        runs = [run for run, types in datasets.runs.items() if name in types and made[run]]
        quanta = sum(_count(datasets, name, run) for run in runs)
        if not quanta:
            continue
        spans = []
        with datasets.butler.query() as query:
            refs = list(query.datasets(kind, runs).limit(_SAMPLE))
        for ref in refs:
            try:
                if (span := _span(datasets.butler.get(ref))) is not None:
                    spans.append(span)
            except Exception as error:
                # The datastore and the formatters have errors of their own.
                _LOG.warning("%s is left out: %s", ref, error)
        seconds = [(last - first).total_seconds() for first, last in spans]
        times.append(
            TaskTime(
                name.removesuffix("_metadata"),
                quanta,
                statistics.median(seconds) if seconds else None,
                len(seconds),
                min((first for first, _ in spans), default=None),
                max((last for _, last in spans), default=None),
            )
        )
    return times


def _count(datasets: Datasets, name: str, run: str) -> int:
    with datasets.butler.query() as query:
        return query.datasets(datasets.types[name], [run], find_first=False).count()


def _span(metadata: Any) -> tuple[datetime.datetime, datetime.datetime] | None:
    """Return when a quantum began and ended."""
    quantum = metadata.get("quantum")
    if quantum is None:
        return None
    begin, end = (_time(quantum.get(name)) for name in ("prepUtc", "endUtc"))
    return (begin, end) if begin is not None and end is not None else None


def _time(value: Any) -> datetime.datetime | None:
    try:
        time = datetime.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)
