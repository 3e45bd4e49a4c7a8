# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the tests share that run pipetask, butler and bps as a user does."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pilots import environment

from lsst.bgqa.metrics import quantities_of
from lsst.daf.butler import Butler

PIPELINE = "resource://lsst.bgqa/pipelines/backgroundQa.yaml"
INPUTS = "demo/inputs"
# One visit of nine detectors, and nine patches.
QUERY = "instrument='DemoCam' AND skymap='demo' AND band='r' AND day_obs=20261009"

_MEASURED = ("metrics", "table", "steps", "seams", "summary", "worst")


def run(*command: str, folder: Path | None = None, check: bool = True, **variables: str) -> str:
    """Run a command to its end; return what it printed."""
    # bps takes the folder from the variable.
    where = {"PWD": str(folder)} if folder is not None else {}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment(), **where, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}\n{done.stdout[-4000:]}")
    return done.stdout


def values_of(repo: Path, collection: str) -> dict[tuple[str, str], Any]:
    """Return all values of metrics and tables in a collection.

    Keys are dataset type and data ID; a metric's value is exact.
    """
    values: dict[tuple[str, str], Any] = {}
    with Butler.from_config(str(repo), collections=collection) as butler:
        for ref in butler.query_all_datasets(collection, name=[f"*_{name}" for name in _MEASURED]):
            key = (ref.datasetType.name, str(sorted(ref.dataId.required.items())))
            dataset = butler.get(ref)
            if ref.datasetType.name.endswith("_metrics"):
                values[key] = {
                    name: (quantity.value, str(quantity.unit))
                    for name, quantity in quantities_of(dataset).items()
                }
            else:
                names = getattr(dataset, "colnames", None) or dataset.column_names
                # The identity of what a row was read from is another in every run.
                values[key] = {name: np.asarray(dataset[name]) for name in names if name != "dataset_id"}
    return values


def assert_same_values(a: dict[tuple[str, str], Any], b: dict[tuple[str, str], Any]) -> None:
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].keys() == b[key].keys()
        for name in a[key]:
            np.testing.assert_array_equal(a[key][name], b[key][name], err_msg=f"{key} {name}")


def report_of(repo: Path, *graphs: Path) -> dict[str, Any]:
    """Return what ``pipetask report`` says of graphs that were executed."""
    output = repo.parent / f"report-{graphs[-1].stem}.yaml"
    run("pipetask", "report", str(repo), *map(str, graphs), "--full-output-filename", str(output))
    return yaml.safe_load(output.read_text())
