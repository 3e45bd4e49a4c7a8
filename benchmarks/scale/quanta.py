# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Run a subset as BPS does: one graph, clusters of quanta, one final job."""

from __future__ import annotations

__all__ = ("measure_quanta",)

import itertools
import sqlite3
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

from .campaign import INPUT_RUN, INSTRUMENT, Visit
from .command import command, mend_zipfile
from .processes import Cost, run

_PIPELINE = "resource://lsst.bgqa/pipelines/backgroundQa.yaml"
# What BPS' defaults put between the program and its command.
_OPTIONS = ("--long-log", "--log-level=VERBOSE")


def measure_quanta(
    repo: Path,
    subset: str,
    visits: int,
    visits_per_cluster: int = 1,
    jobs: int = 1,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Run a subset over visits, and measure each step.

    The steps, and their options, are those of the jobs that BPS' defaults
    make: ``pipetask qgraph``, ``pre-exec-init-qbb``, ``run-qbb`` for each
    cluster, ``butler aggregate-graph``.

    Parameters
    ----------
    repo : `pathlib.Path`
        A campaign's repository; graph and logs are written beside it.
    subset : `str`
        ``detector`` or ``visit``.
    visits : `int`
        How many of the first visits.
    visits_per_cluster : `int`, optional
        How many visits' quanta one job runs.
    jobs : `int`, optional
        How many jobs run at a time.
    progress : `~collections.abc.Callable`, optional
        Called with what is done next.

    Returns
    -------
    measured : `dict` [`str`, `~typing.Any`]
        Cost of each step, database rows and bytes, JSON all through.
    """
    output = f"scale/{subset}-{visits}"
    output_run = f"{output}/run"
    graph = repo.parent / f"{subset}-{visits}.qg"
    log = repo.parent / f"{subset}-{visits}.log"
    log.unlink(missing_ok=True)
    database = repo / "gen3.sqlite3"
    before = _row_counts(database), database.stat().st_size

    progress(f"{subset}, {visits} visits: quantum graph")
    query = f"instrument='{INSTRUMENT}' AND visit <= {Visit(visits - 1).id}"
    steps = {
        "graph": run(
            command(
                *("pipetask", *_OPTIONS, "qgraph", "--butler-config", str(repo)),
                *("-i", INPUT_RUN, "-o", output, "--output-run", output_run),
                *("--pipeline", f"{_PIPELINE}#{subset}", "--save-qgraph", str(graph)),
                *("--qgraph-datastore-records", "-d", query),
            ),
            log,
        ),
        "init": run(command("pipetask", *_OPTIONS, "pre-exec-init-qbb", str(repo), str(graph)), log),
    }
    clusters = list(_clusters(graph, visits_per_cluster))
    costs = []
    with ThreadPoolExecutor(jobs) as pool:
        for cost in pool.map(lambda quanta: _run_cluster(repo, graph, quanta, log), clusters):
            costs.append(cost)
            progress(f"{subset}, {visits} visits: {len(costs)} of {len(clusters)} clusters")
    progress(f"{subset}, {visits} visits: final job")
    # Once more, to see what a job takes that finds all done: the start, and
    # reading its part of the graph.
    start = _run_cluster(repo, graph, clusters[0][:1], log)
    folder = repo / output_run
    files = _sizes(folder)
    steps["final"] = run(
        command(
            *("butler", *_OPTIONS, "aggregate-graph", str(graph), str(repo)),
            *("-j", "1", "--register-dataset-types", "--update-output-chain"),
        ),
        log,
    )
    after = _row_counts(database), database.stat().st_size
    kept = _sizes(folder)
    return {
        "subset": subset,
        "visits": visits,
        "quanta": sum(map(len, clusters)),
        "clusters": len(clusters),
        **{name: asdict(cost) for name, cost in steps.items()},
        "start": asdict(start),
        "execution": _sum(costs),
        "cluster_cpu": [round(cost.cpu, 3) for cost in costs],
        "cluster_quanta": [len(quanta) for quanta in clusters],
        "graph_bytes": graph.stat().st_size,
        "files": files,
        "files_kept": kept,
        "database_bytes": after[1] - before[1],
        "database_rows": {
            table: count - before[0].get(table, 0)
            for table, count in after[0].items()
            if count > before[0].get(table, 0)
        },
    }


def _run_cluster(repo: Path, graph: Path, quanta: list[str], log: Path) -> Cost:
    return run(
        command(
            *("pipetask", *_OPTIONS, "run-qbb", str(repo), str(graph)),
            *("--qgraph-node-id", ",".join(quanta)),
        ),
        log,
    )


def _clusters(graph: Path, visits_per_cluster: int) -> Iterator[list[str]]:
    """Yield the numbers of the quanta of some visits each."""
    mend_zipfile()
    with PredictedQuantumGraph.open(str(graph)) as reader:
        reader.read_thin_graph()
        thin = reader.components.thin_graph.quanta
        by_visit: dict[int, list[str]] = defaultdict(list)
        for label, quanta in thin.items():
            dimensions = reader.components.pipeline_graph.tasks[label].dimensions
            where = [*dimensions.required, *dimensions.implied].index("visit")
            for quantum in quanta:
                by_visit[int(quantum.data_coordinate[where])].append(str(quantum.quantum_id))
    for some in itertools.batched(sorted(by_visit), visits_per_cluster):
        yield [quantum for visit in some for quantum in by_visit[visit]]


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
