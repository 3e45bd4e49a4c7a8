# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The tasks in quantum-backed butlers, and in runs that go on with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from batch import INPUTS, PIPELINE, QUERY, assert_same_values, report_of, run, values_of

from lsst.bgqa.standalone.demo import make_repository
from lsst.daf.butler import Butler
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

SUBSETS = f"{PIPELINE}#detector,visit,coadd,tract"
DETECTORS = f"{PIPELINE}#detector"
QUANTA = {"backgroundQa": 9, "coaddBackgroundQa": 9, "tractBackgroundQa": 1, "visitBackgroundQa": 1}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantum-backed") / "repo"
    make_repository(folder)
    return folder


@pytest.fixture(scope="module")
def direct(repo: Path) -> dict[tuple[str, str], Any]:
    """Values of a run with the full Butler, in one process."""
    run(
        *("pipetask", "run", "-b", str(repo), "-i", INPUTS, "-o", "direct", "-p", SUBSETS, "-d", QUERY),
        "--register-dataset-types",
    )
    values = values_of(repo, "direct")
    # Metrics of detectors and patches; metrics and tables of visit and tract.
    assert len(values) == 9 + 9 + 3 + 3
    return values


def make_graph(repo: Path, name: str, pipeline: str, query: str) -> Path:
    graph = repo.parent / f"{name}.qg"
    run(
        *("pipetask", "qgraph", "-b", str(repo), "-i", INPUTS, "-o", name, "--output-run", f"{name}/run"),
        *("-p", pipeline, "-d", query, "--save-qgraph", str(graph), "--qgraph-datastore-records"),
    )
    return graph


def read_quanta(graph: Path) -> list[UUID]:
    with PredictedQuantumGraph.open(str(graph)) as reader:
        reader.read_thin_graph()
        quanta = reader.components.thin_graph.quanta
        assert {label: len(of_task) for label, of_task in quanta.items()} == QUANTA
        return [quantum.quantum_id for label in sorted(quanta) for quantum in quanta[label]]


def datasets_of(repo: Path, dataset_type: str, collection: str) -> dict[Any, UUID]:
    with Butler.from_config(str(repo), collections=collection) as butler:
        return {ref.dataId: ref.id for ref in butler.query_datasets(dataset_type)}


def assert_clean(report: dict[str, Any], quanta: dict[str, int]) -> None:
    assert {label: task["n_expected"] for label, task in report.items()} == quanta
    for task in report.values():
        assert task["n_succeeded"] == task["n_expected"]
        assert not task["failed_quanta"] and not task["n_quanta_blocked"]
        for output in task["outputs"].values():
            assert output["produced"] == output["expected"] > 0


def test_jobs_of_a_graph_have_the_values_of_a_direct_run(
    repo: Path, direct: dict[tuple[str, str], Any]
) -> None:
    graph = make_graph(repo, "jobs", SUBSETS, QUERY)
    quanta = [str(quantum) for quantum in read_quanta(graph)]
    run("pipetask", "pre-exec-init-qbb", str(repo), str(graph))
    # As BPS does it: each job has quanta of the same graph.
    for job in (quanta[3:13], quanta[:3] + quanta[13:]):
        log = run("pipetask", "run-qbb", str(repo), str(graph), "--qgraph-node-id", ",".join(job))
        assert "Executed 10 quanta successfully, 0 failed" in log
    with Butler.from_config(str(repo)) as butler:
        assert "jobs/run" not in butler.collections.query("*"), "the registry is not written to by jobs"
    run(
        *("butler", "transfer-from-graph", str(graph), str(repo)),
        *("--register-dataset-types", "--update-output-chain"),
    )
    assert_same_values(values_of(repo, "jobs"), direct)
    assert_clean(report_of(repo, graph), QUANTA)


def test_processes_of_a_job_read_the_same_types(repo: Path, direct: dict[tuple[str, str], Any]) -> None:
    graph = make_graph(repo, "processes", DETECTORS, f"{QUERY} AND detector < 3")
    run("pipetask", "pre-exec-init-qbb", str(repo), str(graph))
    # Each quantum gets a new process, which knows nothing but the environment.
    log = run("pipetask", "run-qbb", str(repo), str(graph), "-j", "2")
    assert "Executed 3 quanta successfully, 0 failed" in log
    run(
        *("butler", "aggregate-graph", str(graph), str(repo), "-j", "2"),
        *("--register-dataset-types", "--update-output-chain"),
    )
    values = values_of(repo, "processes")
    assert_same_values(values, {key: direct[key] for key in values})
    assert_clean(report_of(repo, graph), {"backgroundQa": 3})


def test_what_another_run_has_is_skipped(repo: Path, direct: dict[tuple[str, str], Any]) -> None:
    common = ("-b", str(repo), "-p", DETECTORS, "--register-dataset-types")
    run("pipetask", "run", *common, "-i", INPUTS, "-o", "parts", "-d", f"{QUERY} AND detector < 4")
    log = run("pipetask", "run", *common, "-o", "parts", "-d", QUERY, "--skip-existing-in", "parts")
    assert "Executed 5 quanta successfully, 0 failed" in log
    values = values_of(repo, "parts")
    assert len(values) == 9
    assert_same_values(values, {key: direct[key] for key in values})


def test_run_is_extended_with_and_without_a_registry(repo: Path, direct: dict[tuple[str, str], Any]) -> None:
    common = ("-b", str(repo), "-i", INPUTS, "--output-run", "extended", "-p", DETECTORS)
    more = ("--extend-run", "--skip-existing")
    made: list[dict[Any, UUID]] = []

    def check(n: int) -> None:
        made.append(datasets_of(repo, "calexpBackground_metrics", "extended"))
        assert len(made[-1]) == n
        if len(made) > 1:
            assert made[-2].items() <= made[-1].items(), "what was there is not made again"

    run("pipetask", "run", *common, "-d", f"{QUERY} AND detector < 1", "--register-dataset-types")
    check(1)
    log = run("pipetask", "run", *common, "-d", f"{QUERY} AND detector < 2", *more, "-j", "2")
    assert "Executed 1 quanta successfully, 0 failed" in log
    check(2)

    graph = repo.parent / "extended.qg"
    run(
        "pipetask",
        "qgraph",
        *common,
        "-d",
        f"{QUERY} AND detector < 3",
        *more,
        "--save-qgraph",
        str(graph),
        "--qgraph-datastore-records",
    )
    run("pipetask", "pre-exec-init-qbb", str(repo), str(graph))
    assert "Executed 1 quanta successfully, 0 failed" in run("pipetask", "run-qbb", str(repo), str(graph))
    run("butler", "aggregate-graph", str(graph), str(repo), "--register-dataset-types")
    check(3)
    values = values_of(repo, "extended")
    assert_same_values(values, {key: direct[key] for key in values})
