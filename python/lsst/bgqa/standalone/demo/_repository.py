# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The demo's data repository: dimension records and datasets."""

from __future__ import annotations

__all__ = ("INPUT_RUN", "check_folder", "make_repository")

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import astropy.time
import astropy.units as u

from lsst.daf.butler import Butler, DatasetRef, DatasetType, FileDataset, Timespan

from ...background import BackgroundModel
from ...errors import UserError, fault_of_the_machine
from ...repository import check_path
from .._environment import is_needed
from .._exposure import write_exposure
from .._regions import polygon
from ._camera import DETECTORS, FILTERS, DemoCam
from ._coadds import make_coadd
from ._generations import GENERATIONS, DemoGeneration
from ._measure import visit_background
from ._survey import PATCHES, SKYMAP, TRACT, VISITS, DemoVisit, sky_position
from ._visit_images import IMAGE_DETECTORS, IMAGE_VISIT

INPUT_RUN = "demo/inputs"
"""The RUN collection that the demo's datasets are in (`str`)."""

# How the stack's files are written of what the demo makes.
_WRITERS: dict[str, Callable[[Any, str], None]] = {
    "Background": BackgroundModel.write_fits,
    "ExposureF": write_exposure,
}
_VISIT_DIMENSIONS = ("instrument", "visit", "detector")
_COADD_DIMENSIONS = ("skymap", "tract", "patch", "band")


def make_repository(
    folder: Path, progress: Callable[[int, int], None] | None = None, generation: str = "dp02"
) -> bool:
    """Make the demo's repository, or complete one that was begun.

    ``progress`` is called with how many datasets are there, and how many will be.
    ``generation`` is the release whose dataset types to make, one of `GENERATIONS`.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if the folder holds something else or the demo of another
        release, or cannot be written. What was written stays, and is
        completed the next time.
    """
    check_folder(folder)
    if not (folder / "butler.yaml").exists():
        Butler.makeRepo(str(folder))
    try:
        return _complete(folder, GENERATIONS[generation], progress)
    except UserError:
        raise
    except Exception as error:
        # A Butler wraps what befalls disk and database.
        if (reason := fault_of_the_machine(error)) is None:
            raise
        raise UserError(f"{folder}: {reason}") from error


def check_folder(folder: Path) -> None:
    """Check that a demo can be made in a folder, which need not exist.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if it holds something else than a demo, or cannot be one.
    """
    check_path(str(folder))
    if (folder / "butler.yaml").exists() or not folder.exists():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise UserError(f"{folder} exists, and is neither an empty folder nor a demo repository")


def _complete(folder: Path, generation: DemoGeneration, progress: Callable[[int, int], None] | None) -> bool:
    with Butler.from_config(str(folder), writeable=True) as butler:
        collections = butler.collections.query("*")
        if collections and INPUT_RUN not in collections:
            raise UserError(f"{folder} is a data repository, but not the demo's")
        there = {(t.name, t.storageClass_name) for t in butler.registry.queryDatasetTypes()}
        for other in GENERATIONS.values():
            if other.name != generation.name and other.visit_types.items() & there:
                raise UserError(
                    f"{folder} has the demo of generation {other.name}; give {generation.name} another folder"
                )
        butler.collections.register(INPUT_RUN)
        return _fill(butler, generation, progress)


def _fill(butler: Butler, generation: DemoGeneration, progress: Callable[[int, int], None] | None) -> bool:
    types: dict[str, tuple[tuple[str, ...], str]] = {
        name: (_VISIT_DIMENSIONS, kind) for name, kind in generation.visit_types.items()
    }
    types |= {name: (_VISIT_DIMENSIONS, kind) for name, kind in generation.image_types.items()}
    types |= {name: (_COADD_DIMENSIONS, kind) for name, kind in generation.coadd_types.items()}
    for name, (dimensions, storage_class) in types.items():
        butler.registry.registerDatasetType(
            DatasetType(name, dimensions, storage_class, universe=butler.dimensions)
        )
    present = {
        (name, tuple(ref.dataId.required_values))
        for name in types
        for ref in butler.query_datasets(name, INPUT_RUN, limit=None, explain=False)
    }
    total = len(VISITS) * len(DETECTORS) * len(generation.visit_types)
    total += len(IMAGE_DETECTORS) * len(generation.image_types)
    total += len(PATCHES) * len(FILTERS) * len(generation.coadd_types)
    if len(present) >= total:
        return False
    _insert_records(butler)
    done = len(present)
    for names, data_id, make in _datasets(generation):
        key = tuple(
            butler.registry.expandDataId(data_id)
            .subset(butler.dimensions.conform(types[names[0]][0]))
            .required_values
        )
        missing = [name for name in names if (name, key) not in present]
        if missing:
            made = make()
            for name in missing:
                _store(butler, made[name], name, data_id)
            done += len(missing)
        if progress is not None:
            progress(done, total)
    return True


def _store(butler: Butler, dataset: Any, name: str, data_id: dict[str, Any]) -> None:
    """Put a dataset into the repository, or the stack's file of it where the
    Butler has the stack's types.
    """
    dataset_type = butler.get_dataset_type(name)
    write = _WRITERS.get(dataset_type.storageClass_name)
    if write is None or is_needed():
        butler.put(dataset, name, data_id, run=INPUT_RUN)
        return
    ref = DatasetRef(dataset_type, butler.registry.expandDataId(data_id), run=INPUT_RUN)
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "dataset.fits")
        write(dataset, path)
        butler.ingest(FileDataset(path=path, refs=ref), transfer="copy")


def _datasets(
    generation: DemoGeneration,
) -> Iterator[tuple[list[str], dict[str, Any], Callable[[], dict[str, Any]]]]:
    """Yield dataset types, a data ID, and what makes the datasets."""
    for visit in VISITS:
        for detector in DETECTORS:
            yield (
                list(generation.visit_types),
                {"instrument": DemoCam.getName(), "visit": visit.id, "detector": detector.id},
                lambda visit=visit, detector=detector: generation.visit_datasets(  # type: ignore[misc]
                    visit, detector, visit_background(visit, detector)
                ),
            )
    for detector in IMAGE_DETECTORS if generation.image_types else ():
        yield (
            list(generation.image_types),
            {"instrument": DemoCam.getName(), "visit": IMAGE_VISIT.id, "detector": detector.id},
            lambda detector=detector: generation.image_datasets(  # type: ignore[misc]
                IMAGE_VISIT, detector, visit_background(IMAGE_VISIT, detector)
            ),
        )
    for band in FILTERS.values():
        for patch in PATCHES:
            yield (
                list(generation.coadd_types),
                {"skymap": SKYMAP, "tract": TRACT, "patch": patch.id, "band": band},
                lambda patch=patch, band=band: generation.coadd_datasets(  # type: ignore[misc]
                    patch, band, make_coadd(patch, band)
                ),
            )


def _insert_records(butler: Butler) -> None:
    registry = butler.registry
    with registry.transaction():
        DemoCam().register(registry)
        name = DemoCam.getName()
        registry.syncDimensionData("visit_system", {"instrument": name, "id": 0, "name": "one-to-one"})
        for visit in VISITS:
            for element, records in _visit_records(visit).items():
                registry.insertDimensionData(element, *records, skip_existing=True)
        _insert_skymap(butler)


def _visit_records(visit: DemoVisit) -> dict[str, list[dict[str, Any]]]:
    """Make the records of a visit and its one exposure, in the order in
    which they refer to each other.
    """
    instrument = {"instrument": DemoCam.getName()}
    date = str(visit.day_obs)
    noon = astropy.time.Time(f"{date[:4]}-{date[4:6]}-{date[6:]}T12:00:00", format="isot", scale="tai")
    begin = noon + (14 + visit.seq_num / 60) * u.hour
    timespan = Timespan(begin, begin + 30 * u.s)
    obs_id = f"DC_{date}_{visit.seq_num:05d}"
    ra, dec = visit.boresight
    common = {
        **instrument,
        "id": visit.id,
        "physical_filter": visit.physical_filter,
        "day_obs": visit.day_obs,
        "exposure_time": 30.0,
        "seq_num": visit.seq_num,
        "target_name": "demo field",
        "observation_reason": "science",
        "science_program": "demo",
        "azimuth": 80.0,
        "zenith_angle": 30.0,
        "timespan": timespan,
    }
    corners = {
        detector.id: [sky_position(x, y, center=(ra, dec)) for x, y in detector.corners]
        for detector in DETECTORS
    }
    return {
        "day_obs": [{**instrument, "id": visit.day_obs, "timespan": Timespan(noon, noon + 24 * u.hour)}],
        "group": [{**instrument, "name": obs_id}],
        "exposure": [
            {
                **common,
                "obs_id": obs_id,
                "group": obs_id,
                "dark_time": 30.0,
                "observation_type": "science",
                "seq_start": visit.seq_num,
                "seq_end": visit.seq_num,
                "tracking_ra": ra,
                "tracking_dec": dec,
                "sky_angle": 0.0,
                "has_simulated": True,
                "can_see_sky": True,
            }
        ],
        "visit": [
            {
                **common,
                "name": obs_id,
                "region": polygon([corner for four in corners.values() for corner in four]),
            }
        ],
        "visit_definition": [{**instrument, "exposure": visit.id, "visit": visit.id}],
        "visit_system_membership": [{**instrument, "visit_system": 0, "visit": visit.id}],
        "visit_detector_region": [
            {**instrument, "visit": visit.id, "detector": detector, "region": polygon(four)}
            for detector, four in corners.items()
        ],
    }


def _insert_skymap(butler: Butler) -> None:
    registry = butler.registry
    registry.insertDimensionData(
        "skymap",
        {
            "name": SKYMAP,
            "hash": b"bgqa demo sky map",
            "tract_max": TRACT + 1,
            "patch_nx_max": 3,
            "patch_ny_max": 3,
        },
        skip_existing=True,
    )
    registry.insertDimensionData(
        "tract",
        {
            "skymap": SKYMAP,
            "id": TRACT,
            "region": polygon([corner for patch in PATCHES for corner in patch.corners]),
        },
        skip_existing=True,
    )
    registry.insertDimensionData(
        "patch",
        *[
            {
                "skymap": SKYMAP,
                "tract": TRACT,
                "id": patch.id,
                "cell_x": patch.cell_x,
                "cell_y": patch.cell_y,
                "region": polygon(patch.corners),
            }
            for patch in PATCHES
        ],
        skip_existing=True,
    )
