# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Time one visit quantum against the quanta of its detectors.

    python benchmarks/visit_quantum.py FOLDER [VISIT]

FOLDER has a manifest as ``bgqa ingest`` takes it. Both subsets run with
pipetask in one process, on a repository made for it; printed is the time that
the execution of the quanta took, without making the graph, as pipetask's log
says: the least of three runs, for a machine that has other things to do. Then
the task runs in this process, and what the judge takes is told as a fraction
of all the rest, in the median of seven runs.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lsst.bgqa.tasks.visit_background_qa as visit_task
from lsst.bgqa import BackgroundModel, standalone
from lsst.bgqa.standalone._regions import polygon
from lsst.bgqa.standalone.ingest import DEFAULT_RUN, ingest
from lsst.bgqa.tasks import VisitBackgroundQaTask
from lsst.bgqa.tasks._campaign import NamedBackground

_PIPELINE = "resource://lsst.bgqa/pipelines/HSC/backgroundQa.yaml"
_STAMP = r"^\S*\s*(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+)\S*.*"


def run(repo: Path, visit: int, subset: str, output: str) -> tuple[float, float]:
    """Run a subset for a visit; return the seconds of pipetask, and from its first quantum on."""
    command = [
        *(str(Path(sys.executable).with_name("pipetask")), "--long-log", "run", "-b", str(repo)),
        *("-i", DEFAULT_RUN, "-o", output, "--register-dataset-types"),
        *("-p", f"{_PIPELINE}#{subset}", "-d", f"instrument='HSC' AND visit={visit}"),
    ]
    start = time.monotonic()
    result = subprocess.run(
        command, env={**os.environ, **standalone.environment()}, capture_output=True, text=True, check=True
    )
    total = time.monotonic() - start
    log = result.stderr + result.stdout
    first = re.search(_STAMP + "Preparing execution of quantum", log, re.MULTILINE)
    last = re.findall(_STAMP + "Executed .* 0 remain", log, re.MULTILINE)
    if first is None or not last:
        raise RuntimeError(f"pipetask's log has no times:\n{log[-2000:]}")
    begin, end = (datetime.fromisoformat(stamp) for stamp in (first[1], last[-1]))
    return total, (end - begin).total_seconds()


def judge_growth(folder: Path, entries: list[dict[str, Any]]) -> float:
    """Return by what fraction judging lengthens a visit's quantum.

    It is the processor time of the judge over that of all else: reading the files,
    their statistics, trend and steps, and making the tables.
    """
    spent = [0.0]

    def timed[**P, R](function: Callable[P, R]) -> Callable[P, R]:
        def wrapper(*arguments: P.args, **keywords: P.kwargs) -> R:
            start = time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                spent[0] += time.process_time() - start

        return wrapper

    backgrounds = []
    for entry in entries:
        path = str(folder / entry["file"])
        corners = zip(entry["ra_corners_deg"], entry["dec_corners_deg"], strict=True)
        backgrounds.append(
            NamedBackground(
                entry["detector"],
                path,
                load=lambda path=path: BackgroundModel.read_fits(path),  # type: ignore[misc]
                region=polygon(corners),
            )
        )
    task = VisitBackgroundQaTask(config=VisitBackgroundQaTask.ConfigClass())
    growths = []
    with ExitStack() as stack:
        for name in ("measure_together", "judge_members"):
            stack.enter_context(patch.object(visit_task, name, timed(getattr(visit_task, name))))
        stack.enter_context(patch.object(visit_task.Bins, "of", timed(visit_task.Bins.of)))
        for _ in range(8):
            spent[0] = 0.0
            start = time.process_time()
            task.run(backgrounds)
            growths.append(spent[0] / (time.process_time() - start - spent[0]))
    # The first imports, and makes the templates.
    return statistics.median(growths[1:])


def main(folder: str, visit: int | None = None) -> None:
    """Print the times of a visit, by default the manifest's first, and their ratio."""
    manifest = Path(folder) / "manifest.json"
    entries = json.loads(manifest.read_text())
    visit = visit if visit is not None else entries[0]["visit"]
    standalone.activate()
    with tempfile.TemporaryDirectory() as scratch:
        repo = Path(scratch) / "repo"
        ingest(str(repo), str(manifest), check=False)
        runs = [
            {subset: run(repo, visit, subset, f"{subset}/{i}") for subset in ("visit", "detector")}
            for i in range(3)
        ]
    times = {
        subset: tuple(min(column) for column in zip(*(run[subset] for run in runs), strict=True))
        for subset in runs[0]
    }
    detectors = sum(entry["visit"] == visit for entry in entries)
    for subset, (total, execution) in times.items():
        print(f"{subset:8}  execution {execution:7.2f} s   with graph and start {total:7.2f} s")
    ratio = times["visit"][1] / times["detector"][1]
    print(f"one visit quantum of {detectors} detectors takes {ratio:.2f} of the detector quanta's time")
    growth = judge_growth(Path(folder), [entry for entry in entries if entry["visit"] == visit])
    print(f"the judge adds {growth:.0%} to what else the visit's task does")


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:]))
