# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""From what was measured to what surveys cost."""

from __future__ import annotations

__all__ = (
    "GATHERED",
    "NIGHT",
    "SCENARIOS",
    "CommandModel",
    "GatherModel",
    "Line",
    "Scenario",
    "SubsetModel",
    "models_of",
    "net_execution",
)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NIGHT = 1000
"""Visits of a night, whose quanta go into one graph (`int`)."""


@dataclass(frozen=True)
class Line:
    """What a quantity grows by, from a start."""

    start: float
    slope: float

    def __call__(self, count: float) -> float:
        """Return the quantity for so many."""
        return self.start + self.slope * count

    @classmethod
    def fit(cls, counts: Sequence[float], values: Sequence[float]) -> Line:
        """Fit a line of least squares, neither of whose coefficients is negative.

        One point tells no slope: then what was measured is taken to be
        proportional, which errs on the dear side.
        """
        if len(counts) == 1:
            return cls(0.0, values[0] / counts[0])
        slope, start = np.polyfit(counts, values, 1)
        if slope < 0:
            return cls(float(np.mean(values)), 0.0)
        if start < 0:
            return cls(0.0, float(np.dot(counts, values) / np.dot(counts, counts)))
        return cls(float(start), float(slope))


@dataclass(frozen=True)
class SubsetModel:
    """What quanta of a subset cost.

    Attributes
    ----------
    execution
        CPU seconds of a quantum, once its job has started.
    start
        CPU seconds that a job takes to start, by the quanta of the graph.
    graph, final
        CPU seconds of the graph and the final job, by quanta.
    graph_memory, final_memory, job_memory
        Largest resident sets, MiB, by the quanta of the graph.
    rows, files, database, graph_size
        Database rows; bytes of files, the database and the graph.
    """

    execution: float
    start: Line
    graph: Line
    final: Line
    init: float
    graph_memory: Line
    final_memory: Line
    job_memory: Line
    rows: Line
    files: Line
    file_count: Line
    database: Line
    graph_size: Line
    per_cluster: float

    @classmethod
    def of(cls, measured: Sequence[Mapping[str, Any]]) -> SubsetModel:
        """Make a model of what `~scale.quanta.measure_quanta` returned."""
        measured = sorted(measured, key=lambda m: m["quanta"])
        quanta = [m["quanta"] for m in measured]

        def line(*values: float) -> Line:
            return Line.fit(quanta, values)

        def level(*values: float) -> Line:
            # What each job has most of, however many quanta there are.
            return Line(values[0], 0.0) if len(values) == 1 else line(*values)

        last = measured[-1]
        return cls(
            execution=net_execution(last) / last["executed"]["quanta"],
            start=level(*(m["start"]["cpu"] for m in measured)),
            graph=line(*(m["graph"]["cpu"] for m in measured)),
            final=line(*(m["final"]["cpu"] for m in measured)),
            init=last["init"]["cpu"],
            graph_memory=level(*(m["graph"]["memory"] for m in measured)),
            final_memory=level(*(m["final"]["memory"] for m in measured)),
            job_memory=level(*(m["execution"]["memory"] for m in measured)),
            rows=line(*(sum(m["database_rows"].values()) for m in measured)),
            files=line(*(sum(kind["bytes"] for kind in m["files"].values()) for m in measured)),
            file_count=line(*(sum(kind["count"] for kind in m["files"].values()) for m in measured)),
            database=line(*(m["database_bytes"] for m in measured)),
            graph_size=line(*(m["graph_bytes"] for m in measured)),
            per_cluster=last["quanta"] / last["clusters"],
        )

    def cpu(self, quanta: float, per_graph: float) -> float:
        """Return the CPU seconds of all jobs of so many quanta."""
        graphs = max(1.0, quanta / per_graph)
        of_each = quanta / graphs
        jobs = max(1.0, of_each / self.per_cluster)
        each = self.graph(of_each) + self.init + jobs * self.start(of_each) + self.final(of_each)
        return graphs * each + quanta * self.execution


@dataclass(frozen=True)
class GatherModel:
    """What it costs to gather.

    Attributes
    ----------
    cpu
        CPU seconds of a row, from the graph to the final job.
    memory
        Largest resident set of the job that is no file's, MiB, by rows.
    graph_memory
        Largest resident set of the one that makes the graph, MiB, by rows.
    row_bytes
        Bytes of a row of the table, as it is while it is made.
    """

    cpu: float
    memory: Line
    graph_memory: Line
    rows_per_input: float
    row_bytes: float

    @classmethod
    def of(cls, measured: Sequence[Mapping[str, Any]]) -> GatherModel:
        """Make a model of measurements of one gather subset."""
        rows = [m["rows"] for m in measured]
        whole = [sum(m[step]["cpu"] for step in ("graph", "init", "execution", "final")) for m in measured]
        return cls(
            Line.fit(rows, whole).slope,
            Line.fit(rows, [m["execution"]["anonymous"] for m in measured]),
            Line.fit(rows, [m["graph"]["memory"] for m in measured]),
            measured[-1]["rows"] / measured[-1]["inputs"],
            measured[-1]["row_bytes"],
        )


@dataclass(frozen=True)
class CommandModel:
    """What a command on gathered rows costs: CPU seconds, MiB and bytes, by rows."""

    cpu: Line
    memory: Line
    output: Line

    @classmethod
    def of(cls, measured: Sequence[Mapping[str, Any]]) -> CommandModel:
        """Make a model of measurements of one command."""
        rows = [m["rows"] for m in measured]
        return cls(
            Line.fit(rows, [m["cost"]["cpu"] for m in measured]),
            Line.fit(rows, [m["cost"]["memory"] for m in measured]),
            Line.fit(rows, [m["output_bytes"] for m in measured]),
        )


@dataclass(frozen=True)
class Scenario:
    """A survey to be measured: how many quanta of a subset, and how many each graph has."""

    name: str
    subset: str
    quanta: float
    per_graph: float


_PATCHES = 925_460
_DP2_IMAGES = 3_000_000
_VISITS = 2_100_000
_DETECTORS = 189

SCENARIOS = (
    Scenario("DP2, 925,460 coadd patches", "coadd", _PATCHES, 20_000),
    Scenario("DP2, the same by tract and band", "tract", _PATCHES / 100, 200),
    Scenario("DP2, 3 million detector images", "detector", _DP2_IMAGES, 20_000),
    Scenario("DP2, the same by visit", "visit", _DP2_IMAGES / _DETECTORS, NIGHT),
    Scenario("a night, 1,000 visits", "detector", NIGHT * _DETECTORS, 20_000),
    Scenario("a night, the same by visit", "visit", NIGHT, NIGHT),
    Scenario("ten years, 2.1 million visits", "detector", _VISITS * _DETECTORS, 20_000),
    Scenario("ten years, the same by visit", "visit", _VISITS, NIGHT),
)
"""What the page tells the cost of (`tuple` [`Scenario`, ...])."""


GATHERED = {
    "DP2, 3 million detector images": _DP2_IMAGES,
    "a year, 210,000 visits": _VISITS / 10 * _DETECTORS,
    "ten years, 2.1 million visits": _VISITS * _DETECTORS,
}
"""Rows of what the page tells the cost to gather of (`dict`)."""


def net_execution(measured: Mapping[str, Any]) -> float:
    """Return the CPU seconds of all quanta, without the starts of jobs."""
    return measured["execution"]["cpu"] - measured["executed"]["clusters"] * measured["start"]["cpu"]


def models_of(results: Mapping[str, Any]) -> dict[str, SubsetModel]:
    """Return the model of each subset that was measured, but for gathers."""
    # A gather is one quantum, of whatever size.
    subsets = dict.fromkeys(m["subset"] for m in results["quanta"] if not m["subset"].startswith("gather"))
    return {name: SubsetModel.of([m for m in results["quanta"] if m["subset"] == name]) for name in subsets}
