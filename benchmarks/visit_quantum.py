# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Time one visit quantum against the quanta of its detectors.

    python benchmarks/visit_quantum.py FOLDER [VISIT]

FOLDER has a manifest as ``bgqa ingest`` takes it. Both subsets run with
pipetask in one process, on a repository made for it; printed is the time that
the execution of the quanta took, without making the graph, as pipetask's log
says: the least of three runs, for a machine that has other things to do.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from lsst.bgqa import standalone
from lsst.bgqa.standalone.ingest import DEFAULT_RUN, ingest

_PIPELINE = "resource://lsst.bgqa/pipelines/HSC/backgroundQa.yaml"
_STAMP = r"^\S*\s*(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+)\S*.*"


def run(repo: Path, visit: int, subset: str, output: str) -> tuple[float, float]:
    """Run a subset for a visit, and time it.

    Parameters
    ----------
    repo : `pathlib.Path`
        The repository.
    visit : `int`
        The visit.
    subset : `str`
        The subset.
    output : `str`
        Collection to write to.

    Returns
    -------
    total, execution : `float`
        Seconds that pipetask took, and from its first quantum to the end.
    """
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


def main(folder: str, visit: int | None = None) -> None:
    """Print the times, and their ratio.

    Parameters
    ----------
    folder : `str`
        Folder with a manifest.
    visit : `int`, optional
        The visit, by default the first of the manifest.
    """
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


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:]))
