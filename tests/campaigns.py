# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Repositories with metrics, as the tasks write them, but made up."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import astropy.time
import astropy.units as u
import numpy as np
from astropy.table import Table

from lsst.bgqa.metrics import load_catalogue, make_bundle
from lsst.bgqa.tasks import GatherBackgroundMetricsConfig, GatherBackgroundMetricsTask
from lsst.bgqa.tasks._campaign import metric_names, metric_table
from lsst.bgqa.tasks._gather import CampaignBatch
from lsst.daf.butler import Butler, DatasetRef, DatasetType, FileDataset, Timespan

NAMES = metric_names()
BACKGROUND = "calexpBackground"


@functools.cache
def _template(visits: int, detectors: int, instrument: str, skymap: str) -> str:
    # To make one takes longer than to copy it.
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = f"{folder}/template"
    Butler.makeRepo(path)
    made = MadeUp(None, visits, detectors, instrument, skymap, path)
    with made.butler.transaction():
        made._insert_records()
    for name, storage_class, *dimensions in (
        (f"{BACKGROUND}_metrics", "MetricMeasurementBundle", "instrument", "visit", "detector"),
        (f"{BACKGROUND}_visit_metrics", "MetricMeasurementBundle", "instrument", "visit"),
        (f"{BACKGROUND}_visit_table", "ArrowAstropy", "instrument", "visit"),
        (f"{BACKGROUND}_campaign_table", "ArrowTable", "instrument"),
    ):
        made._register(name, storage_class, "template", *dimensions)
    made.butler.close()
    return path


class MadeUp:
    """A repository with an instrument, a sky map, and metrics by request.

    Parameters
    ----------
    visits
        How many visits there are, from 1 on; the last has no timespan.
    """

    def __init__(
        self,
        folder: Path | None,
        visits: int = 3,
        detectors: int = 8,
        instrument: str = "Cam",
        skymap: str = "map",
        path: str = "",
    ) -> None:
        self.path = path or str(folder)
        self.instrument, self.skymap = instrument, skymap
        self._registered: set[tuple[str, str]] = set()
        self.visits, self.detectors = range(1, visits + 1), range(detectors)
        if not path:
            shutil.copytree(_template(visits, detectors, instrument, skymap), self.path)
        self.butler = Butler.from_config(self.path, writeable=True)

    def band(self, visit: int) -> str:
        return "gri"[visit % 3]

    def detector_name(self, detector: int) -> str:
        return f"R{detector:02d}_S11"

    def begin(self, visit: int) -> astropy.time.Time:
        return astropy.time.Time("2026-10-09T23:59:59.5", scale="tai") + 40 * visit * u.s

    def day_obs(self, visit: int) -> int:
        return 20261009

    def _insert_records(self) -> None:
        insert = self.butler.registry.insertDimensionData
        root = {"instrument": self.instrument}
        insert("instrument", {"name": self.instrument, "class_name": "lsst.obs.test.Cam"})
        for band in "gri":
            insert("physical_filter", {**root, "name": f"{self.instrument}-{band}", "band": band})
        insert("day_obs", {**root, "id": 20261009})
        insert(
            "detector",
            *[
                {**root, "id": d, "full_name": self.detector_name(d), "purpose": "SCIENCE"}
                for d in self.detectors
            ],
        )
        insert(
            "visit",
            *[
                {
                    **root,
                    "id": visit,
                    "name": f"visit-{visit}",
                    "physical_filter": f"{self.instrument}-{self.band(visit)}",
                    "day_obs": self.day_obs(visit),
                    "timespan": Timespan(self.begin(visit), self.begin(visit) + 30 * u.s)
                    if visit != self.visits[-1]
                    else None,
                }
                for visit in self.visits
            ],
        )
        insert(
            "skymap",
            {"name": self.skymap, "hash": b"x", "tract_max": 9, "patch_nx_max": 3, "patch_ny_max": 3},
        )
        insert("tract", *[{"skymap": self.skymap, "id": tract} for tract in (4, 5)])
        insert(
            "patch",
            *[
                {
                    "skymap": self.skymap,
                    "tract": tract,
                    "id": patch,
                    "cell_x": patch % 3,
                    "cell_y": patch // 3,
                }
                for tract in (4, 5)
                for patch in range(9)
            ],
        )

    def values(self, visit: int, detector: int) -> dict[str, float]:
        """Return metrics of a detector; detector 1 lacks pixels, 2 is bright."""
        rng = np.random.default_rng([visit, detector])
        values = {
            "coverage_pixelCount": 1.6e7,
            "coverage_finiteFraction": 0.5 if detector == 1 else 1.0,
            "level_median": 1000 + 0.1 * rng.normal() + (80 if detector == 2 else 0),
            "shape_gradientX": float(rng.normal()),
        }
        if detector % 2:
            values["fit_reducedChi2"] = float(rng.uniform(0.9, 1.1))
        return values

    def put(self, dataset: Any, name: str, storage_class: str, run: str, **data_id: Any) -> Any:
        self._register(name, storage_class, run, *data_id)
        return self.butler.put(dataset, name, run=run, **data_id)

    def ingest(self, path: Path, name: str, storage_class: str, run: str, **data_id: Any) -> None:
        """Take over a file as a dataset, without a dataset in memory."""
        self._register(name, storage_class, run, *data_id)
        full_id = self.butler.registry.expandDataId(data_id)
        ref = DatasetRef(self.butler.get_dataset_type(name), full_id, run=run)
        self.butler.ingest(FileDataset(path=str(path), refs=ref), transfer="copy")

    def _register(self, name: str, storage_class: str, run: str, *dimensions: str) -> None:
        if (name, run) not in self._registered:
            self.butler.registry.registerDatasetType(
                DatasetType(name, dimensions, storage_class, universe=self.butler.dimensions)
            )
            self.butler.registry.registerRun(run)
            self._registered.add((name, run))

    def bundle(self, values: dict[str, float], unit: u.UnitBase = u.adu, identity: str = "") -> Any:
        catalogue = load_catalogue()
        return make_bundle(
            {name: u.Quantity(value, catalogue[name].unit_for(unit)) for name, value in values.items()},
            identity=identity,
        )

    def put_bundle(
        self, run: str, visit: int, detector: int, values: dict[str, float] | None = None, **settings: Any
    ) -> Any:
        return self.put(
            self.bundle(self.values(visit, detector) if values is None else values, **settings),
            f"{BACKGROUND}_metrics",
            "MetricMeasurementBundle",
            run,
            instrument=self.instrument,
            visit=visit,
            detector=detector,
        )

    def put_bundles(self, run: str, visits: Iterable[int] | None = None) -> None:
        self._register(
            f"{BACKGROUND}_metrics", "MetricMeasurementBundle", run, "instrument", "visit", "detector"
        )
        with self.butler.transaction():
            for visit in self.visits if visits is None else visits:
                for detector in self.detectors:
                    self.put_bundle(run, visit, detector)

    def put_visit_table(self, run: str, visit: int, detectors: Sequence[int] | None = None) -> Any:
        numbers = list(self.detectors if detectors is None else detectors)
        columns = {"detector": numbers, "detector_name": [self.detector_name(d) for d in numbers]}
        table = metric_table(columns, [self.values(visit, d) for d in numbers], NAMES, u.adu)
        return self.put(
            table, f"{BACKGROUND}_visit_table", "ArrowAstropy", run, instrument=self.instrument, visit=visit
        )

    def put_campaign(
        self,
        run: str,
        visits: Iterable[int] | None = None,
        name: str = f"{BACKGROUND}_campaign",
        **settings: Any,
    ) -> Any:
        """Gather as the task does, and keep its configuration, too."""
        config = GatherBackgroundMetricsConfig()
        config.connections.campaignName = name
        for key, value in settings.items():
            setattr(config, key, value)
        task = GatherBackgroundMetricsTask(config=config)
        self.butler.registry.registerRun(run)
        self.put(config, f"gather{name}_config", "Config", run)
        table = task.run(
            self._batch(task, visit) for visit in (self.visits if visits is None else visits)
        ).table
        return self.put(table, f"{name}_table", "ArrowTable", run, instrument=self.instrument)

    def _batch(self, task: GatherBackgroundMetricsTask, visit: int) -> CampaignBatch:
        count = len(self.detectors)
        keys: dict[str, list[Any]] = {
            "instrument": [self.instrument] * count,
            "band": [self.band(visit)] * count,
            "physical_filter": [f"{self.instrument}-{self.band(visit)}"] * count,
            "day_obs": [self.day_obs(visit)] * count,
            "visit": [visit] * count,
            "detector": list(self.detectors),
            "detector_name": [self.detector_name(d) for d in self.detectors],
        }
        values = np.full((count, len(task._names)), np.nan)
        for row, detector in enumerate(self.detectors):
            for name, value in self.values(visit, detector).items():
                values[row, task._names.index(name)] = value
        return task._batch(keys, values)

    def put_patch(self, run: str, tract: int, patch: int, band: str, values: dict[str, float]) -> Any:
        return self.put(
            self.bundle(values, u.nJy),
            "deepCoadd_calexp_background_metrics",
            "MetricMeasurementBundle",
            run,
            skymap=self.skymap,
            tract=tract,
            patch=patch,
            band=band,
        )

    def put_tract_table(self, run: str, tract: int, band: str, patches: Sequence[int]) -> Any:
        table: Table = metric_table(
            {"patch": list(patches)}, [{"level_median": float(patch)} for patch in patches], NAMES, u.nJy
        )
        name = "deepCoadd_calexp_background_tract_table"
        return self.put(table, name, "ArrowAstropy", run, skymap=self.skymap, tract=tract, band=band)

    def put_others(self, run: str) -> None:
        """Put metrics of a visit, of a stack and of a tract."""
        self.put(
            self.bundle(
                {"visit_detectorCount": 8.0, "visit_levelMedian": 1000.0, "visit_unreadableDetectorCount": 2}
            ),
            f"{BACKGROUND}_visit_metrics",
            "MetricMeasurementBundle",
            run,
            instrument=self.instrument,
            visit=1,
        )
        self.put(
            self.bundle({"stack_visitCount": 3.0, "stack_patternRms": 0.25}),
            f"{BACKGROUND}_stack_metrics",
            "MetricMeasurementBundle",
            run,
            instrument=self.instrument,
            detector=2,
            physical_filter=f"{self.instrument}-r",
        )
        self.put(
            self.bundle({"tract_patchCount": 9.0, "tract_seamMax": 0.5}, u.nJy),
            "deepCoadd_calexp_background_tract_metrics",
            "MetricMeasurementBundle",
            run,
            skymap=self.skymap,
            tract=4,
            band="i",
        )

    def chain(self, name: str, *children: str) -> None:
        self.butler.collections.register(name, type=_chained())
        self.butler.collections.redefine_chain(name, children)

    def path_of(self, ref: Any) -> Path:
        return Path(self.butler.getURI(ref).ospath)


def _chained() -> Any:
    from lsst.daf.butler import CollectionType

    return CollectionType.CHAINED
