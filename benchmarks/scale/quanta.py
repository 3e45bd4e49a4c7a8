# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Run a subset as BPS does: one graph, clusters of quanta, one final job."""

from __future__ import annotations

__all__ = ("Payload", "measure_quanta")

import itertools
import json
import sqlite3
import statistics
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

from .campaign import INPUT_RUN, INSTRUMENT, SKYMAP, Visit
from .processes import Cost, command, run

_PIPELINE = "resource://lsst.bgqa/pipelines/backgroundQa.yaml"
# What BPS' defaults put between the program and its command.
_OPTIONS = ("--long-log", "--log-level=VERBOSE")


@dataclass(frozen=True)
class Payload:
    """What one graph is for.

    ``size`` counts values of ``per``, the dimension whose quanta run together in a
    cluster; a cluster has those of ``per_cluster`` values.
    """

    subset: str
    inputs: str
    query: str
    size: int
    per: str = "visit"
    per_cluster: int = 1

    @property
    def name(self) -> str:
        """Name of the files of a measurement (`str`)."""
        return f"{self.subset}-{self.size}"

    @property
    def output(self) -> str:
        """Collection that is written (`str`)."""
        return f"scale/{self.name}"

    @classmethod
    def of_visits(cls, subset: str, visits: int, per_cluster: int = 1, inputs: str = INPUT_RUN) -> Self:
        """Take the first visits of a campaign."""
        query = f"instrument='{INSTRUMENT}' AND visit <= {Visit(visits - 1).id}"
        return cls(subset, inputs, query, visits, "visit", per_cluster)

    @classmethod
    def of_tracts(cls, subset: str, tracts: int, per_cluster: int = 1) -> Self:
        """Take the first tracts of a sky map."""
        return cls(subset, INPUT_RUN, f"skymap='{SKYMAP}' AND tract < {tracts}", tracts, "tract", per_cluster)


def measure_quanta(
    repo: Path, payload: Payload, jobs: int = 1, progress: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Run a payload, and measure each step: CPU, memory, database rows and bytes.

    The steps, and their options, are those of the jobs that BPS' defaults
    make: ``pipetask qgraph``, ``pre-exec-init-qbb``, ``run-qbb`` for each
    cluster, ``butler aggregate-graph``. What was measured is kept in a
    journal: called again after an interruption, this goes on where it was. A
    cluster that was interrupted itself is run to its end, but not counted.
    Graph, journal and logs are written beside the repository.
    """
    output_run = f"{payload.output}/run"
    graph = repo.parent / f"{payload.name}.qg"
    log = repo.parent / f"{payload.name}.log"
    database = repo / "gen3.sqlite3"
    journal = _Journal(repo.parent / f"{payload.name}.journal", log)
    before = journal.note("before", lambda: [_row_counts(database), database.stat().st_size])

    what = f"{payload.subset}, {payload.size}"
    progress(f"{what}: quantum graph")
    graph_cost = journal.run(
        "graph",
        command(
            *("pipetask", *_OPTIONS, "qgraph", "--butler-config", str(repo)),
            *("-i", payload.inputs, "-o", payload.output, "--output-run", output_run),
            *("--pipeline", f"{_PIPELINE}#{payload.subset}", "--save-qgraph", str(graph)),
            *("--qgraph-datastore-records", "-d", payload.query),
        ),
    )
    init_cost = journal.run(
        "init", command("pipetask", *_OPTIONS, "pre-exec-init-qbb", str(repo), str(graph))
    )
    clusters = list(_clusters(graph, payload))

    def cluster_command(quanta: list[str]) -> list[str]:
        return command(
            *("pipetask", *_OPTIONS, "run-qbb", str(repo), str(graph)),
            *("--qgraph-node-id", ",".join(quanta)),
        )

    costs = []
    with ThreadPoolExecutor(jobs) as pool:
        names = [f"cluster {number}" for number in range(len(clusters))]
        for cost in pool.map(journal.go_on, names, map(cluster_command, clusters)):
            costs.append(cost)
            progress(f"{what}: {len(costs)} of {len(clusters)} clusters")
    progress(f"{what}: final job")
    # Once more, to see what a job takes that finds all done: the start, and
    # reading its part of the graph.
    start_cost = journal.run("start", cluster_command(clusters[0][:1]))
    folder = repo / output_run
    files = journal.note("files", lambda: _sizes(folder))
    final_cost = journal.run(
        "final",
        command(
            *("butler", *_OPTIONS, "aggregate-graph", str(graph), str(repo)),
            *("-j", "1", "--register-dataset-types", "--update-output-chain"),
        ),
    )
    after = journal.note("after", lambda: [_row_counts(database), database.stat().st_size])
    whole = [(cost, len(quanta)) for cost, quanta in zip(costs, clusters, strict=True) if cost is not None]
    return {
        "subset": payload.subset,
        "size": payload.size,
        "quanta": sum(map(len, clusters)),
        "clusters": len(clusters),
        "graph": asdict(graph_cost),
        "init": asdict(init_cost),
        "start": asdict(start_cost),
        "execution": _sum([cost for cost, _ in whole]),
        "executed": {"clusters": len(whole), "quanta": sum(quanta for _, quanta in whole)},
        "final": asdict(final_cost),
        "graph_bytes": graph.stat().st_size,
        "files": files,
        "database_bytes": after[1] - before[1],
        "database_rows": {
            table: count - before[0].get(table, 0)
            for table, count in after[0].items()
            if count > before[0].get(table, 0)
        },
    }


class _Journal:
    """What was measured so far, a line of JSON each."""

    def __init__(self, path: Path, log: Path) -> None:
        self._path, self._log = path, log
        self._lock = threading.Lock()
        lines = path.read_text().splitlines() if path.exists() else []
        self._known: dict[str, Any] = {}
        for line in lines:
            self._known.update(json.loads(line))

    def note(self, name: str, find_out: Callable[[], Any]) -> Any:
        """Find something out, but once."""
        if self._known.get(name) is None:
            self._write(name, find_out())
        return self._known[name]

    def run(self, name: str, words: list[str]) -> Cost:
        """Run a command that begins anew after an interruption."""
        return Cost(**self.note(name, lambda: asdict(run(words, self._log))))

    def go_on(self, name: str, words: list[str]) -> Cost | None:
        """Run a command that goes on after an interruption; return its cost,
        `None` if it was interrupted.
        """
        if (known := self._known.get(name)) is not None:
            return Cost(**known) if known else None
        begun = name in self._known
        self._write(name, None)
        cost = run(words, self._log)
        self._write(name, {} if begun else asdict(cost))
        return None if begun else cost

    def _write(self, name: str, value: Any) -> None:
        with self._lock, self._path.open("a") as stream:
            stream.write(json.dumps({name: value}) + "\n")
            self._known[name] = value


def _clusters(graph: Path, payload: Payload) -> Iterator[list[str]]:
    """Yield the numbers of the quanta of each cluster."""
    groups: dict[Any, list[str]] = defaultdict(list)
    with PredictedQuantumGraph.open(str(graph)) as reader:
        reader.read_thin_graph()
        for label, quanta in reader.components.thin_graph.quanta.items():
            dimensions = reader.components.pipeline_graph.tasks[label].dimensions
            names = [*dimensions.required, *dimensions.implied]
            for quantum in quanta:
                data_id = dict(zip(names, quantum.data_coordinate, strict=True))
                # A quantum of the whole campaign is a cluster by itself.
                groups[data_id.get(payload.per, 0)].append(str(quantum.quantum_id))
    for some in itertools.batched(sorted(groups), payload.per_cluster):
        yield [quantum for key in some for quantum in groups[key]]


def _sum(costs: list[Cost]) -> dict[str, float]:
    return {
        "cpu": sum(cost.cpu for cost in costs),
        "wall": sum(cost.wall for cost in costs),
        "memory": max(cost.memory for cost in costs),
        "anonymous": max(cost.anonymous for cost in costs),
        "median_memory": statistics.median(cost.memory for cost in costs),
    }


def _row_counts(database: Path) -> dict[str, int]:
    """Return the number of rows of each table."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
    finally:
        connection.close()


def _sizes(folder: Path) -> dict[str, dict[str, int]]:
    """Return how many files there are of each dataset type, and their bytes."""
    sizes = {}
    for kind in sorted(folder.iterdir()):
        found = [path.stat().st_size for path in kind.rglob("*") if path.is_file()]
        if found:
            sizes[kind.name] = {"count": len(found), "bytes": sum(found)}
    return sizes
