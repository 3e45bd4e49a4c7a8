# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What a report of a large campaign costs."""

from __future__ import annotations

__all__ = ("make_campaign", "report")

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import astropy.time
import astropy.units as u
import numpy as np

from lsst.bgqa.tasks import GatherVisitTablesConfig, GatherVisitTablesTask
from lsst.bgqa.tasks._gather import CampaignBatch
from lsst.daf.butler import Butler, DatasetType, Timespan
from lsst.sphgeom import ConvexPolygon, LonLat, UnitVector3d

DETECTORS = 189
_VISITS_A_NIGHT = 25
_SIDE = 14
_ROWS = (50_000, 200_000)
_SCRIPT = """
import json, resource, sys, time
from pathlib import Path
start = time.perf_counter()
from lsst.bgqa import standalone
standalone.activate()
from lsst.bgqa.dashboard import Campaign
from lsst.bgqa.dashboard.report import make_report
imported = time.perf_counter()
with Campaign(sys.argv[1], "qa") as campaign:
    rows = sum(batch.num_rows for batch in campaign.tables[0].batches())
read = time.perf_counter()
index = make_report(sys.argv[1], "qa", Path(sys.argv[2]))
made = time.perf_counter()
print(json.dumps({
    "rows": rows,
    "pages": len(list(index.parent.glob("visits/*/*.html"))),
    "read s": read - imported,
    "report s": made - read,
    "report / read": (made - read) / (read - imported),
    "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "overview MB": index.stat().st_size / 1e6,
}))
"""


def report(repeats: int) -> list[dict[str, Any]]:
    """Make reports of made-up campaigns, each in a process of its own."""
    rows = []
    for number in _ROWS:
        with tempfile.TemporaryDirectory() as folder:
            repo = Path(folder) / "repo"
            make_campaign(repo, math.ceil(number / DETECTORS))
            command = [sys.executable, "-c", _SCRIPT, str(repo), str(Path(folder) / "report")]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
    return rows


def make_campaign(folder: Path, visits: int) -> None:
    """Make a repository with the gathered table of a made-up campaign, collection ``qa``.

    A visit has 189 detectors; one in two hundred has dark edges.
    """
    Butler.makeRepo(str(folder))
    with Butler.from_config(str(folder), writeable=True) as butler:
        _insert_records(butler, visits)
        config = GatherVisitTablesConfig()
        task = GatherVisitTablesTask(config=config)
        table = task.run(_batches(task, visits)).table
        for name, dataset, dimensions, storage_class in (
            ("calexpBackground_visit_campaign_table", table, ("instrument",), "ArrowTable"),
            ("gatherVisitBackgroundQa_config", config, (), "Config"),
        ):
            butler.registry.registerDatasetType(
                DatasetType(name, dimensions, storage_class, universe=butler.dimensions)
            )
            butler.put(dataset, name, {"instrument": "Cam"} if dimensions else {}, run="qa")


def _night(visit: int) -> astropy.time.Time:
    return astropy.time.Time("2026-01-01T12:00:00", scale="tai") + visit // _VISITS_A_NIGHT * u.day


def _day_obs(visit: int) -> int:
    return int(_night(visit).strftime("%Y%m%d"))


def _band(visit: int) -> str:
    return "ugrizy"[visit % 6]


def _name(detector: int) -> str:
    return f"R{detector // 9:02d}_S{detector % 9 // 3}{detector % 3}"


def _insert_records(butler: Butler, visits: int) -> None:
    registry = butler.registry
    root = {"instrument": "Cam"}
    registry.registerRun("qa")
    with registry.transaction():
        registry.insertDimensionData("instrument", {"name": "Cam", "class_name": "lsst.obs.test.Cam"})
        registry.insertDimensionData(
            "physical_filter", *[{**root, "name": f"Cam-{band}", "band": band} for band in "ugrizy"]
        )
        registry.insertDimensionData(
            "day_obs", *[{**root, "id": day} for day in sorted({_day_obs(v) for v in range(visits)})]
        )
        registry.insertDimensionData(
            "detector",
            *[{**root, "id": d, "full_name": _name(d), "purpose": "SCIENCE"} for d in range(DETECTORS)],
        )
        registry.insertDimensionData(
            "visit",
            *[
                {
                    **root,
                    "id": visit,
                    "name": f"visit-{visit}",
                    "physical_filter": f"Cam-{_band(visit)}",
                    "day_obs": _day_obs(visit),
                    "timespan": Timespan(_night(visit) + 0.5 * u.day, _night(visit) + 0.6 * u.day),
                }
                for visit in range(visits)
            ],
        )
        # Where the detectors are in one visit tells how they lie in all.
        registry.insertDimensionData(
            "visit_detector_region",
            *[{**root, "visit": 0, "detector": d, "region": _region(d)} for d in range(DETECTORS)],
        )


def _region(detector: int) -> ConvexPolygon:
    x, y = detector % _SIDE * 0.23, detector // _SIDE * 0.23
    corners = ((x, y), (x + 0.22, y), (x + 0.22, y + 0.22), (x, y + 0.22))
    return ConvexPolygon([UnitVector3d(LonLat.fromDegrees(10 + a, -b)) for a, b in corners])


def _batches(task: GatherVisitTablesTask, visits: int) -> Iterator[CampaignBatch]:
    names = task._names
    for visit in range(visits):
        random = np.random.default_rng(visit)
        values = random.normal(0, 1, (DETECTORS, len(names)))
        for name, center, scale in (
            ("coverage_pixelCount", 16_288_000, 0.0),
            ("coverage_nanPixelCount", 0.0, 0.0),
            ("coverage_layerCount", 2.0, 0.0),
            ("coverage_binCount", 1024.0, 0.0),
            ("coverage_badBinCount", 3.0, 0.0),
            ("coverage_finiteFraction", 0.9999, 1e-6),
            ("level_median", 1000 + 100 * math.sin(visit), 2.0),
            ("edges_edgeExcess", 0.0, 0.3),
            ("bumps_peakBump", 3.0, 0.5),
            ("bumps_bumpCount", 0.0, 0.0),
            ("fit_reducedChi2", 1.0, 0.1),
            ("fit_maxPull", 3.0, 0.3),
        ):
            values[:, names.index(name)] = random.normal(center, scale, DETECTORS)
        values[random.random(DETECTORS) < 0.005, names.index("edges_edgeExcess")] = -30
        keys: dict[str, list[Any]] = {
            "instrument": ["Cam"] * DETECTORS,
            "band": [_band(visit)] * DETECTORS,
            "physical_filter": [f"Cam-{_band(visit)}"] * DETECTORS,
            "day_obs": [_day_obs(visit)] * DETECTORS,
            "visit": [visit] * DETECTORS,
            "detector": list(range(DETECTORS)),
            "detector_name": [_name(d) for d in range(DETECTORS)],
        }
        yield task._batch(keys, values)
