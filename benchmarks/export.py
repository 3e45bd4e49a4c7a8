# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What an export costs beyond reading the campaign's table."""

from __future__ import annotations

__all__ = ("export",)

import os
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lsst.bgqa import standalone
from lsst.bgqa.dashboard import Campaign
from lsst.bgqa.dashboard.export import export_points, export_table
from lsst.bgqa.tasks._campaign import metric_names
from lsst.daf.butler import Butler, DatasetType

_DETECTORS = 189
_VISITS = (100, 1000)
_TABLE = "calexpBackground_campaign_table"


def export(repeats: int) -> list[dict[str, Any]]:
    """Time exports of campaigns' tables of two sizes, each at most three times.

    A ratio is to reading the same table with pyarrow alone.
    """
    standalone.activate()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        Butler.makeRepo(folder)
        for visits in _VISITS:
            _put(folder, visits)
            reading = 0.0
            for form, run in _forms(folder, f"visits{visits}").items():
                seconds = statistics.median(_seconds(run) for _ in range(min(repeats, 3)))
                reading = reading or seconds
                rows.append(
                    {
                        "rows": visits * _DETECTORS,
                        "form": form,
                        "s": seconds,
                        "ratio": seconds / reading,
                        "us a value": 1e6 * seconds / (visits * _DETECTORS * len(metric_names())),
                        "peak MiB": _peak_mib(run),
                    }
                )
    return rows


def _forms(folder: str, collection: str) -> dict[str, Callable[[], None]]:
    def read() -> None:
        with Butler.from_config(folder) as butler:
            ref = butler.find_dataset(_TABLE, instrument="Cam", collections=collection)
            assert ref is not None
            with pq.ParquetFile(butler.getURI(ref).ospath, pre_buffer=False, buffer_size=1 << 16) as file:
                for _ in file.iter_batches(8192):
                    pass

    def table(form: str) -> None:
        with Campaign(folder, collection) as campaign, open(os.devnull, "wb") as sink:
            export_table(campaign, campaign.tables, form, sink)

    def points() -> None:
        with Campaign(folder, collection) as campaign, open(os.devnull, "w") as sink:
            export_points(campaign, campaign.tables, [sink.writelines])

    return {
        "pyarrow reads": read,
        "parquet": lambda: table("parquet"),
        "csv": lambda: table("csv"),
        "influx": points,
    }


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _peak_mib(run: Callable[[], None]) -> float:
    """Measure the most that Python has at a time; Arrow's batches are small."""
    tracemalloc.start()
    run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20


def _put(folder: str, visits: int) -> None:
    count = visits * _DETECTORS
    random = np.random.default_rng(visits)
    table = pa.table(
        {
            "instrument": pa.repeat("Cam", count),
            "band": pa.repeat("r", count),
            "physical_filter": pa.repeat("Cam-r", count),
            "day_obs": np.full(count, 20261009),
            "visit": np.repeat(np.arange(1, visits + 1), _DETECTORS),
            "detector": np.tile(np.arange(_DETECTORS), visits),
            "detector_name": pa.repeat("R22_S11", count),
            "kind": pa.repeat("", count),
            "verdict": pa.repeat("pass", count),
            "severity": np.zeros(count),
            "failed": pa.repeat("", count),
            **{name: random.normal(size=count) for name in metric_names()},
        }
    )
    run = f"visits{visits}"
    with Butler.from_config(folder, writeable=True) as butler:
        butler.registry.insertDimensionData(
            "instrument", {"name": "Cam", "class_name": "lsst.obs.none.Cam"}, skip_existing=True
        )
        butler.registry.registerDatasetType(
            DatasetType(_TABLE, ("instrument",), "ArrowTable", universe=butler.dimensions)
        )
        butler.registry.registerRun(run)
        butler.put(table, _TABLE, instrument="Cam", run=run)
