# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Make synthetic campaigns: many datasets in a real Butler, few files.

A campaign has the dimension records that a real one has, and a real
``BackgroundList`` file behind every dataset. Distinct files are few: a
thousand datasets may be hard links to one. What a quantum costs does not
depend on that, as no file is kept in memory from one to the next.
"""

from __future__ import annotations

__all__ = (
    "DETECTOR_COUNT",
    "INPUT_RUN",
    "INSTRUMENT",
    "PATCH_COUNT",
    "SKYMAP",
    "TABLE_RUN",
    "Visit",
    "ingest_tables",
    "make_campaign",
    "make_coadd_campaign",
    "visits_of",
)

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import astropy.time
import astropy.units as u
import numpy as np

from lsst.bgqa.background import (
    Approximation,
    ApproxStyle,
    BackgroundModel,
    Box,
    InterpStyle,
    Layer,
)
from lsst.daf.butler import Butler, DataCoordinate, DatasetRef, DatasetType, FileDataset, Timespan
from lsst.sphgeom import ConvexPolygon, UnitVector3d

INSTRUMENT = "ScaleCam"
"""Name of the instrument (`str`)."""

INPUT_RUN = "scale/inputs"
"""The RUN collection of the backgrounds (`str`)."""

TABLE_RUN = "scale/tables"
"""The RUN collection of tables that were not measured but linked (`str`)."""

DETECTOR_COUNT = 189
"""Science detectors of the camera, as many as LSSTCam has (`int`)."""

SKYMAP = "scale"
"""Name of the sky map (`str`)."""

PATCH_COUNT = 100
"""Patches of a tract (`int`)."""

FILTERS = {"u_24": "u", "g_6": "g", "r_57": "r", "i_39": "i", "z_20": "z", "y_10": "y"}

VISITS_PER_NIGHT = 1000

# LSSTCam's: 21 rafts of nine detectors, pixels, bins and degrees.
_WIDTH, _HEIGHT, _BINS = 4072, 4000, 32
_PIXEL = 0.2 / 3600
_RAFT_PITCH, _DETECTOR_PITCH = 0.7056, 0.2352
_CORNER_RAFTS = {(0, 0), (0, 4), (4, 0), (4, 4)}
_TEMPLATES = 24
# The patches of LSST's sky maps: 10 x 10 in a tract, with a border.
_PATCHES_A_SIDE, _PATCH_INNER, _PATCH_BORDER, _PATCH_BINS = 10, 4000, 100, 33
# A transaction's worth of datasets.
_CHUNK = 50_000


@dataclass(frozen=True)
class Visit:
    """One visit; its number is its place in the campaign, from 0."""

    number: int

    @property
    def day_obs(self) -> int:
        """The night, YYYYMMDD (`int`)."""
        night = datetime.date(2026, 1, 1) + datetime.timedelta(days=self.number // VISITS_PER_NIGHT)
        return int(night.strftime("%Y%m%d"))

    @property
    def id(self) -> int:
        """Its number in data IDs, as LSST makes them (`int`)."""
        return self.day_obs * 100_000 + self.number % VISITS_PER_NIGHT + 1

    @property
    def physical_filter(self) -> str:
        """Its filter (`str`)."""
        return list(FILTERS)[self.number // 10 % len(FILTERS)]

    @property
    def boresight(self) -> tuple[float, float]:
        """Right ascension and declination, radians
        (`tuple` [`float`, `float`]); spread over the southern sky.
        """
        golden = (5**0.5 - 1) / 2
        ra = 2 * np.pi * (self.number * golden % 1)
        dec = -np.arcsin(0.03 + 0.9 * ((self.number * golden * golden + 0.5) % 1))
        return float(ra), float(dec)


def visits_of(count: int) -> list[Visit]:
    """Return the first visits of a campaign, in the order of their numbers."""
    return [Visit(number) for number in range(count)]


def detector_names() -> list[str]:
    """Return the full names of the camera's detectors, by their number."""
    return [
        f"R{row}{column}_S{y}{x}"
        for row in range(5)
        for column in range(5)
        if (row, column) not in _CORNER_RAFTS
        for y in range(3)
        for x in range(3)
    ]


def make_campaign(
    repo: Path,
    visits: int,
    detectors: int = DETECTOR_COUNT,
    *,
    dataset_type: str = "calexpBackground",
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Make a repository with the backgrounds of a campaign, where there is nothing yet.

    Files are hard links to a few in the folder ``templates`` in it.
    """
    Butler.makeRepo(str(repo))
    templates = _write_templates(repo / "templates", dataset_type)
    total = visits * detectors
    with Butler.from_config(str(repo), writeable=True) as butler:
        kind = _register(butler, INPUT_RUN, dataset_type, ("instrument", "visit", "detector"), "Background")
        step = max(1, _CHUNK // detectors)
        for first in range(0, visits, step):
            some = [Visit(number) for number in range(first, min(first + step, visits))]
            _insert_records(butler, some, detectors)
            datasets = [
                _dataset(kind, INPUT_RUN, templates[_template(visit, detector)], visit, detector)
                for visit in some
                for detector in range(detectors)
            ]
            butler.ingest(*datasets, transfer="hardlink", record_validation_info=False)
            if progress is not None:
                progress((first + len(some)) * detectors, total)
    return total


def make_coadd_campaign(repo: Path, tracts: int, band: str = "r") -> int:
    """Make a repository with the backgrounds of a sky map's coadds, where there is nothing yet.

    A tract has `PATCH_COUNT` patches; a patch's file is a hard link to the one of
    the same patch in another tract.
    """
    Butler.makeRepo(str(repo))
    templates = _write_patches(repo / "templates")
    with Butler.from_config(str(repo), writeable=True) as butler:
        kind = _register(
            butler,
            INPUT_RUN,
            "deepCoadd_calexp_background",
            ("skymap", "tract", "patch", "band"),
            "Background",
        )
        _insert_skymap(butler, tracts)
        # No record tells the bands but those of filters.
        _insert_records(butler, [], 0)
        datasets = []
        for tract in range(tracts):
            for patch, path in enumerate(templates):
                values: dict[str, Any] = {"skymap": SKYMAP, "tract": tract, "patch": patch, "band": band}
                data_id = DataCoordinate.from_required_values(
                    kind.dimensions, tuple(values[name] for name in kind.dimensions.required)
                )
                datasets.append(FileDataset(path=str(path), refs=DatasetRef(kind, data_id, run=INPUT_RUN)))
        butler.ingest(*datasets, transfer="hardlink", record_validation_info=False)
    return len(datasets)


def ingest_tables(repo: Path, tables: Mapping[str, Sequence[Path]], visits: int) -> int:
    """Make a repository with the tables of a campaign's visits, where there is nothing yet.

    Each visit links to one of the files given for each dataset type.
    """
    Butler.makeRepo(str(repo))
    some = visits_of(visits)
    with Butler.from_config(str(repo), writeable=True) as butler:
        _insert_records(butler, some, 0)
        for name, paths in tables.items():
            kind = _register(butler, TABLE_RUN, name, ("instrument", "visit"), "ArrowAstropy")
            datasets = [
                _dataset(kind, TABLE_RUN, paths[visit.number % len(paths)], visit, None) for visit in some
            ]
            butler.ingest(*datasets, transfer="hardlink", record_validation_info=False)
    return visits


def _register(
    butler: Butler, run: str, name: str, dimensions: tuple[str, ...], storage_class: str
) -> DatasetType:
    kind = DatasetType(name, dimensions, storage_class, universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    butler.registry.registerRun(run)
    return kind


def _dataset(kind: DatasetType, run: str, path: Path, visit: Visit, detector: int | None) -> FileDataset:
    values: dict[str, Any] = {"instrument": INSTRUMENT, "visit": visit.id, "detector": detector}
    data_id = DataCoordinate.from_required_values(
        kind.dimensions, tuple(values[name] for name in kind.dimensions.required)
    )
    return FileDataset(path=str(path), refs=DatasetRef(kind, data_id, run=run))


def _template(visit: Visit, detector: int) -> int:
    # Neither neighbours nor following visits share a file.
    return (7 * visit.number + detector) % _TEMPLATES


def _write_templates(folder: Path, name: str) -> list[Path]:
    """Write a few backgrounds as LSSTCam's are: a weighted Chebyshev fit of
    order 6 to bins of 128 pixels, and a pedestal.
    """
    folder.mkdir()
    box = Box(0, 0, _WIDTH, _HEIGHT)
    y, x = np.mgrid[0:_BINS, 0:_BINS] / _BINS - 0.5
    paths = []
    for number in range(_TEMPLATES):
        rng = np.random.default_rng(number)
        slope_x, slope_y = rng.normal(0, 4, 2)
        level = 1000 + 2 * number
        error = np.sqrt(level) / 128
        values = level + slope_x * x + slope_y * y + 3 * np.exp(-8 * ((x - 0.1) ** 2 + y**2))
        values += rng.normal(0, error, values.shape)
        if number % 8 == 3:  # wings of a bright star
            values += 40 * np.exp(-200 * ((x + 0.2) ** 2 + (y - 0.25) ** 2))
        errors = np.full(values.shape, error)
        hidden = rng.integers(0, values.size, 3)
        values.flat[hidden] = errors.flat[hidden] = np.nan
        sky = Layer(
            values.astype(np.float32),
            errors.astype(np.float32),
            np.zeros(values.shape, dtype=np.int32),
            box,
            approximation=Approximation(ApproxStyle.CHEBYSHEV, 6, 6, weighting=True),
        )
        one = np.ones((1, 1), dtype=np.float32)
        pedestal = Layer(
            0.3 * one, 0 * one, np.zeros((1, 1), dtype=np.int32), box, interp_style=InterpStyle.CONSTANT
        )
        paths.append(folder / f"{name}_{number:02d}.fits")
        BackgroundModel((sky, pedestal)).write_fits(paths[-1])
    return paths


def _patch_box(patch: int) -> Box:
    y, x = divmod(patch, _PATCHES_A_SIDE)
    side = _PATCH_INNER + 2 * _PATCH_BORDER
    return Box(x * _PATCH_INNER, y * _PATCH_INNER, side, side)


def _write_patches(folder: Path) -> list[Path]:
    """Write the backgrounds of a tract's patches: Akima, and a constant."""
    folder.mkdir()
    paths = []
    for patch in range(PATCH_COUNT):
        box = _patch_box(patch)
        rng = np.random.default_rng(patch)
        y, x = np.mgrid[0:_PATCH_BINS, 0:_PATCH_BINS] / _PATCH_BINS
        values = 0.3 * np.sin(4 * (x + box.x0 / 4000)) * np.cos(3 * (y + box.y0 / 4000))
        values += rng.normal(0, 0.02, values.shape)
        no_mask = np.zeros(values.shape, dtype=np.int32)
        sky = Layer(values.astype(np.float32), np.full(values.shape, 4e-4, dtype=np.float32), no_mask, box)
        one = np.ones((1, 1), dtype=np.float32)
        tweak = Layer(
            -0.05 * one, 0 * one, np.zeros((1, 1), dtype=np.int32), box, interp_style=InterpStyle.CONSTANT
        )
        paths.append(folder / f"deepCoadd_calexp_background_{patch:02d}.fits")
        BackgroundModel((sky, tweak)).write_fits(paths[-1])
    return paths


def _insert_skymap(butler: Butler, tracts: int) -> None:
    registry = butler.registry
    side = _PATCHES_A_SIDE * _PATCH_INNER + 2 * _PATCH_BORDER
    outlines = []
    for patch in range(PATCH_COUNT):
        box = _patch_box(patch)
        outlines.append([(box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)])
    whole = np.array([(0, 0), (side, 0), (side, side), (0, side)])
    with registry.transaction():
        registry.insertDimensionData(
            "skymap",
            {
                "name": SKYMAP,
                "hash": b"bgqa scale sky map",
                "tract_max": max(tracts, 20_000),
                "patch_nx_max": _PATCHES_A_SIDE,
                "patch_ny_max": _PATCHES_A_SIDE,
            },
        )
        for tract in range(tracts):
            center = Visit(tract).boresight
            region = _polygon(_on_sky((whole - side / 2) * _PIXEL, *center))
            registry.insertDimensionData("tract", {"skymap": SKYMAP, "id": tract, "region": region})
            corners = _on_sky((np.array(outlines) - side / 2) * _PIXEL, *center)
            registry.insertDimensionData(
                "patch",
                *(
                    {
                        "skymap": SKYMAP,
                        "tract": tract,
                        "id": patch,
                        "cell_x": patch % _PATCHES_A_SIDE,
                        "cell_y": patch // _PATCHES_A_SIDE,
                        "region": _polygon(corners[patch]),
                    }
                    for patch in range(PATCH_COUNT)
                ),
            )


def _insert_records(butler: Butler, visits: list[Visit], detectors: int) -> None:
    """Insert the records of visits; ``detectors`` is 0 if their regions are
    not needed.
    """
    registry = butler.registry
    common: dict[str, Any] = {"instrument": INSTRUMENT}
    with registry.transaction():
        registry.insertDimensionData(
            "instrument",
            {
                "name": INSTRUMENT,
                "class_name": None,
                "detector_max": 1000,
                "visit_max": 10**13,
                "exposure_max": 10**13,
                "visit_system": 0,
            },
            skip_existing=True,
        )
        registry.insertDimensionData(
            "physical_filter",
            *({**common, "name": name, "band": band} for name, band in FILTERS.items()),
            skip_existing=True,
        )
        registry.insertDimensionData(
            "detector",
            *(
                {
                    **common,
                    "id": number,
                    "full_name": name,
                    "raft": name[:3],
                    "name_in_raft": name[4:],
                    "purpose": "SCIENCE",
                }
                for number, name in enumerate(detector_names())
            ),
            skip_existing=True,
        )
        registry.insertDimensionData(
            "day_obs",
            *({**common, "id": night} for night in sorted({visit.day_obs for visit in visits})),
            skip_existing=True,
        )
        if visits:
            registry.insertDimensionData("visit", *map(_visit_record, visits))
        if visits and detectors:
            registry.insertDimensionData("visit_detector_region", *_detector_records(visits, detectors))


def _visit_record(visit: Visit) -> dict[str, Any]:
    begin = astropy.time.Time("2026-01-01T18:00:00", scale="tai") + 40 * visit.number * u.s
    ra, dec = visit.boresight
    radius = 1.75
    corners = np.array([(-radius, -radius), (radius, -radius), (radius, radius), (-radius, radius)])
    return {
        "instrument": INSTRUMENT,
        "id": visit.id,
        "name": f"SC_{visit.id}",
        "physical_filter": visit.physical_filter,
        "day_obs": visit.day_obs,
        "seq_num": visit.id % 100_000,
        "exposure_time": 30.0,
        "target_name": "survey",
        "observation_reason": "science",
        "science_program": "scale",
        "zenith_angle": 30.0,
        "azimuth": 80.0,
        "timespan": Timespan(begin, begin + 30 * u.s),
        "region": _polygon(_on_sky(corners, ra, dec)),
    }


def _detector_records(visits: list[Visit], detectors: int) -> Iterator[dict[str, Any]]:
    outlines = _outlines()[:detectors]
    for visit in visits:
        corners = _on_sky(outlines, *visit.boresight)
        for detector in range(detectors):
            yield {
                "instrument": INSTRUMENT,
                "visit": visit.id,
                "detector": detector,
                "region": _polygon(corners[detector]),
            }


def _outlines() -> np.ndarray:
    """Return the corners of the detectors in the focal plane, degrees, shape
    (detectors, 4, 2).
    """
    middles = [
        (
            (column - 2) * _RAFT_PITCH + (x - 1) * _DETECTOR_PITCH,
            (row - 2) * _RAFT_PITCH + (y - 1) * _DETECTOR_PITCH,
        )
        for row in range(5)
        for column in range(5)
        if (row, column) not in _CORNER_RAFTS
        for y in range(3)
        for x in range(3)
    ]
    half = np.array([_WIDTH, _HEIGHT]) / 2 * _PIXEL
    signs = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    return np.array(middles)[:, np.newaxis, :] + signs * half


def _on_sky(points: np.ndarray, ra: float, dec: float) -> np.ndarray:
    """Return unit vectors of points in the tangent plane at (ra, dec)."""
    center = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    east = np.array([-np.sin(ra), np.cos(ra), 0.0])
    north = np.cross(center, east)
    x, y = np.moveaxis(np.radians(points), -1, 0)[..., np.newaxis]
    vectors = center + x * east + y * north
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _polygon(vectors: np.ndarray) -> ConvexPolygon:
    return ConvexPolygon([UnitVector3d(*vector) for vector in vectors.tolist()])
