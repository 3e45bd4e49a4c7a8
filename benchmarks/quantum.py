# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The cost of a quantum under pipetask, against a task that measures nothing."""

from __future__ import annotations

__all__ = ("imports", "quantum")

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lsst.bgqa.standalone import activate, environment
from lsst.bgqa.standalone.demo import DETECTORS, INPUT_RUN, VISITS, make_repository

_PIPETASK = str(Path(sys.executable).with_name("pipetask"))

_TASKS = {
    "backgroundQa": "lsst.bgqa.tasks.BackgroundQaTask:backgroundQa",
    "empty": "empty_task.EmptyTask:empty",
}


def quantum(repeats: int) -> list[dict[str, Any]]:
    """Time quanta of both tasks, taking turns, on the demo's detectors.

    The time of a quantum is the difference between a run over all detectors
    and one over a single detector, per quantum: starting pipetask is not
    counted, nor is making the quantum graph.
    """
    times: dict[tuple[str, int], list[float]] = {}
    activate()
    everything = len(VISITS) * len(DETECTORS)
    with tempfile.TemporaryDirectory() as folder:
        repo = Path(folder) / "repo"
        make_repository(repo)
        for turn in range(repeats + 1):
            for label, task in _TASKS.items():
                for n in (everything, 1):
                    taken = _run_task(repo, f"{label}/{n}/{turn}", task, n)
                    if turn:  # the first only warms up
                        times.setdefault((label, n), []).append(taken)
    ours, empty = (
        statistics.median(
            1e3 * (a - b) / (everything - 1)
            for a, b in zip(times[label, everything], times[label, 1], strict=True)
        )
        for label in _TASKS
    )
    return [{"quanta": everything, "empty ms": empty, "backgroundQa ms": ours, "ratio": ours / empty}]


def imports(repeats: int) -> list[dict[str, Any]]:
    """Time what importing the tasks adds to `pipetask --help`."""
    # What pipetask imports for itself once it does anything.
    base = "import lsst.ctrl.mpexec.cli.pipetask, lsst.pipe.base, lsst.daf.butler"
    times = {
        code: statistics.median(_time([sys.executable, "-c", code]) for _ in range(repeats))
        for code in (base, f"{base}; import lsst.bgqa.tasks")
    }
    without, with_tasks = times.values()
    return [{"pipetask s": without, "with lsst.bgqa.tasks s": with_tasks, "added s": with_tasks - without}]


def _run_task(repo: Path, run: str, task: str, n: int) -> float:
    """Run a task on all detectors or on one; return the seconds it took."""
    graph = str(repo.parent / f"{run.replace('/', '-')}.qg")
    where = [] if n > 1 else ["-d", f"visit={VISITS[0].id} AND detector={DETECTORS[0].id}"]
    common = ["-b", str(repo), "-i", INPUT_RUN, "--output-run", run]
    _time([_PIPETASK, "qgraph", *common, "-t", task, *where, "--save-qgraph", graph])
    return _time([_PIPETASK, "run", *common, "-g", graph, "--register-dataset-types"])


def _time(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, env=_environment(), capture_output=True, check=True)
    return time.perf_counter() - start


def _environment() -> dict[str, str]:
    variables = {**os.environ, **environment()}
    here = str(Path(__file__).parent)
    variables["PYTHONPATH"] = os.pathsep.join([here, *filter(None, [variables.get("PYTHONPATH")])])
    return variables
