# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A small campaign in a repository of its own, and what it leaves behind."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread

from lsst.bgqa import standalone
from lsst.bgqa.standalone.ingest import DEFAULT_RUN, ingest
from lsst.daf.butler import Butler, DatasetExistence

HSC = Path(__file__).parent / "data" / "hsc"
PIPELINE = "resource://lsst.bgqa/pipelines/backgroundQa.yaml"
# Two detectors in two visits: every task has a quantum, none has many.
PLACES = ((1176, 0), (1176, 1), (17900, 0), (17900, 1))
QUANTA = {
    "backgroundQa": 4,
    "visitBackgroundQa": 2,
    "stackBackgrounds": 2,
    "gatherBackgroundQa": 1,
    "gatherVisitBackgroundQa": 1,
}

# Datasets in which runs differ, for they hold no values.
_NO_VALUES = re.compile(r"_(log|metadata|config)$|^packages$")
# Files of a repository that are no datasets.
_NO_DATASETS = ("butler.yaml", "gen3.sqlite3")
_JOURNAL = "gen3.sqlite3-journal"


# --- Programs ------------------------------------------------------------


def pipetask() -> str:
    """Return the program, that of this environment if it has one."""
    beside = Path(sys.executable).with_name("pipetask")
    return str(beside) if beside.exists() else str(shutil.which("pipetask"))


def environment() -> dict[str, str]:
    """Return a pilot's shell: `bgqa env`, and the programs of this Python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, **standalone.environment(), "PATH": path}


def execute(
    command: str | Sequence[str],
    *,
    variables: Mapping[str, str] | None = None,
    apart: bool = False,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command as a pilot's shell would.

    Standard error is in ``stdout``, in order, unless it is kept ``apart``.
    """
    return subprocess.run(
        command,
        shell=isinstance(command, str),
        env={**environment(), **(variables or {})},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if apart else subprocess.STDOUT,
        text=True,
        timeout=600,
    )


def run_bgqa(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, all warnings on."""
    return execute(
        [sys.executable, "-m", "lsst.bgqa", *arguments],
        variables={"PYTHONWARNINGS": "always"},
        apart=True,
        cwd=cwd,
    )


# --- Repositories --------------------------------------------------------


def make_repository(folder: Path) -> Path:
    """Make a repository with the campaign's backgrounds."""
    entries = json.loads((HSC / "manifest.json").read_text())
    chosen = [entry for entry in entries if (entry["visit"], entry["detector"]) in PLACES]
    assert len(chosen) == len(PLACES)
    for entry in chosen:
        entry["file"] = str(HSC / entry["file"])
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(chosen))
    ingest(str(folder / "repo"), str(manifest))
    manifest.unlink()
    return folder / "repo"


def backgrounds(repo: Path) -> dict[tuple[int, int], Path]:
    """Return the files of the backgrounds by visit and detector."""
    with Butler.from_config(str(repo)) as butler:
        return {
            (int(ref.dataId["visit"]), int(ref.dataId["detector"])): Path(butler.getURI(ref).ospath)
            for ref in butler.query_datasets("calexpBackground", DEFAULT_RUN)
        }


def has_run(repo: Path, run: str) -> bool:
    """Whether the repository has a RUN."""
    with Butler.from_config(str(repo)) as butler:
        return run in butler.collections.query("*")


def _all_refs(butler: Butler, collection: str = "*", find_first: bool = False) -> list[Any]:
    return [
        ref
        for dataset_type in butler.registry.queryDatasetTypes()
        for ref in butler.query_datasets(
            dataset_type, collection, find_first=find_first, explain=False, limit=None
        )
    ]


def strays(repo: Path) -> list[str]:
    """Return the files of a repository that it does not know of."""
    root = repo.resolve()
    with Butler.from_config(str(repo)) as butler:
        known = {Path(butler.getURI(ref).ospath).resolve() for ref in _all_refs(butler) if butler.stored(ref)}
    known |= {root / name for name in _NO_DATASETS}
    files = {path for path in root.rglob("*") if path.is_file()}
    if _is_empty_journal(journal := root / _JOURNAL):
        known.add(journal)
    return sorted(str(path.relative_to(root)) for path in files - known)


def _is_empty_journal(path: Path) -> bool:
    """Whether a journal undoes nothing: it goes with the next transaction.

    SQLite marks its beginning only when the rest of it is on the disk.
    """
    return path.exists() and path.read_bytes()[:1] in (b"", b"\0")


def faults_of(repo: Path) -> list[str]:
    """Return what is wrong with a repository.

    Every dataset that the registry knows must have a file that reads, and
    the database must be whole.
    """
    found = []
    with Butler.from_config(str(repo)) as butler:
        for ref in _all_refs(butler):
            if (existence := butler.exists(ref)) is not DatasetExistence.VERIFIED:
                found.append(f"{ref}: {existence!r}")
                continue
            try:
                if ref.datasetType.storageClass.name == "Plot":  # a Butler only writes these
                    assert imread(butler.getURI(ref).ospath).ndim == 3
                else:
                    butler.get(ref)
            except Exception as error:
                found.append(f"{ref}: cannot be read: {error}")
    database = sqlite3.connect(repo / "gen3.sqlite3")
    found += [row[0] for row in database.execute("PRAGMA integrity_check") if row[0] != "ok"]
    database.close()
    return found


def done(repo: Path, collection: str, before: float = math.inf) -> dict[str, int]:
    """Return how many quanta of each task have succeeded, before a time."""
    with Butler.from_config(str(repo)) as butler:
        if collection not in butler.collections.query("*"):
            return dict.fromkeys(QUANTA, 0)
        known = {dataset_type.name for dataset_type in butler.registry.queryDatasetTypes()}
        return {
            label: sum(
                Path(butler.getURI(ref).ospath).stat().st_mtime < before
                for ref in butler.query_datasets(f"{label}_metadata", collection, explain=False)
            )
            if f"{label}_metadata" in known
            else 0
            for label in QUANTA
        }


def values(repo: Path, collection: str) -> dict[str, bytes]:
    """Return the bytes of every value that a campaign made, by dataset."""
    with Butler.from_config(str(repo)) as butler:
        return {
            f"{ref.datasetType.name} {dict(ref.dataId.required)}": _bytes_of(butler, ref)
            for ref in _all_refs(butler, collection, find_first=True)
            if ref.run != DEFAULT_RUN and not _NO_VALUES.search(ref.datasetType.name)
        }


def _bytes_of(butler: Butler, ref: Any) -> bytes:
    kind = ref.datasetType.storageClass.name
    if kind == "MetricMeasurementBundle":
        return butler.getURI(ref).read()
    if kind == "Plot":
        # Its title names the run: what is drawn is compared, title apart.
        pixels = imread(io.BytesIO(butler.getURI(ref).read()))
        return repr(pixels.shape).encode() + pixels[pixels.shape[0] // 4 :].tobytes()
    dataset = butler.get(ref)
    if kind == "ImageV2":
        return repr((dataset.bbox, dataset.unit, dataset.metadata)).encode() + dataset.array.tobytes()
    if kind == "ArrowTable":
        # The identity of what a row was read from is another in every run.
        names = [name for name in dataset.column_names if name != "dataset_id"]
        return repr({name: dataset.column(name).to_pylist() for name in names}).encode()
    if kind == "ArrowAstropy":
        return b"".join(
            f"{name} {dataset[name].unit}".encode() + np.asarray(dataset[name]).tobytes()
            for name in dataset.colnames
        )
    raise AssertionError(f"{ref}: what are the values of a {kind}?")


def differences(first: Mapping[str, bytes], second: Mapping[str, bytes]) -> list[str]:
    """Return the datasets in which two campaigns differ."""
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
