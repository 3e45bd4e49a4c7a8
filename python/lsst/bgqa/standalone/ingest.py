# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Take existing background files, and what they are of, into a repository."""

from __future__ import annotations

__all__ = ("DEFAULT_RUN", "TRANSFER_MODES", "IngestReport", "ingest")

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsst.daf.butler import Butler, DataCoordinate, DatasetRef, DatasetType, FileDataset
from lsst.resources import ResourcePath, ResourcePathExpression
from lsst.sphgeom import ConvexPolygon

from ..background import BackgroundModel
from ..errors import UserError, reason_of
from ..repository import check_path, is_remote, open_repository
from ._regions import polygon
from .manifest import ManifestEntry, read_manifest

DEFAULT_RUN = "bgqa/ingested"
"""The RUN collection that files go into by default (`str`)."""

TRANSFER_MODES = ("auto", "copy", "move", "link", "hardlink", "symlink", "direct")
"""How a Butler can take over a file (`tuple` [`str`, ...])."""

_LOG = logging.getLogger(__name__)

# A comma or a wildcard in it, and no command could name the collection again.
_COLLECTION = re.compile(r"[\w.+/-]+", re.ASCII)

# Classes that the records of well-known instruments name; the stack needs
# them, nothing here does.
_INSTRUMENT_CLASSES = {
    "HSC": "lsst.obs.subaru.HyperSuprimeCam",
    "LATISS": "lsst.obs.lsst.Latiss",
    "LSSTCam": "lsst.obs.lsst.LsstCam",
    "LSSTCam-imSim": "lsst.obs.lsst.LsstCamImSim",
    "LSSTComCam": "lsst.obs.lsst.LsstComCam",
    "DECam": "lsst.obs.decam.DarkEnergyCamera",
}


@dataclass(frozen=True)
class IngestReport:
    """How many files are new in the repository, and how many the RUN had before."""

    ingested: int
    already_there: int
    run: str
    instruments: tuple[str, ...]
    visits: int


def ingest(
    repo: str,
    manifest: ResourcePathExpression,
    *,
    run: str = DEFAULT_RUN,
    dataset_type: str = "calexpBackground",
    transfer: str = "copy",
    check: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Register the files of a manifest in a repository.

    Parameters
    ----------
    repo
        The repository: a path, a URI or a label. A local folder that does
        not exist, or is empty, becomes a new repository.
    manifest
        The manifest; see `~lsst.bgqa.standalone.manifest.ManifestEntry`.
    run
        RUN collection to put the files into.
    transfer
        How to take over the files, one of `TRANSFER_MODES`.
    check
        Whether to read every file first and compare its size in pixels with
        the manifest's.
    progress
        Called with how many files were checked, and how many there are.

    Returns
    -------
    report
        What was done. Files that the RUN has already are left alone, and
        dimension records that the repository has already are kept.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if the manifest is wrong, a file is missing or not the
        background that the manifest says, or the repository holds something
        else under these names. Nothing is ingested then.
    """
    if not _COLLECTION.fullmatch(run):
        raise UserError(f"--run: {run!r} cannot be the name of a collection (letters, digits and _.+-/ only)")
    entries = read_manifest(manifest)
    for number, entry in enumerate(entries, start=1):
        _check_file(entry, contents=check)
        if progress is not None:
            progress(number, len(entries))
    with _open_repository(repo) as butler:
        try:
            return _ingest(butler, entries, run, dataset_type, transfer)
        except UserError:
            raise
        except Exception as error:
            # What the registry and the datastore refuse has many types.
            raise UserError(f"{repo}: cannot ingest: {reason_of(error)}") from error


def _check_file(entry: ManifestEntry, contents: bool) -> None:
    path = ResourcePath(entry.file)
    if not path.exists():
        raise UserError(f"{path}: the manifest names this file, but it does not exist")
    if not contents:
        return
    bbox = BackgroundModel.read_fits(path).bbox
    if (bbox.width, bbox.height) != (entry.width, entry.height):
        raise UserError(
            f"{path}: covers {bbox.width}x{bbox.height} pixels, the manifest says "
            f"{entry.width}x{entry.height}"
        )


def _open_repository(repo: str) -> Butler:
    check_path(repo)
    root = Butler.get_repo_uri(repo, return_label=True)
    if root.isLocal and root.getExtension() not in (".yaml", ".yml"):
        folder = Path(root.ospath)
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            try:
                Butler.makeRepo(root.ospath)
            except Exception as error:
                # Each kind of file system has errors of its own.
                raise UserError(f"{repo}: a data repository cannot be made: {reason_of(error)}") from error
    try:
        butler = open_repository(repo, writeable=True)
    except UserError as error:
        if root.isLocal or not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise UserError(
            f"{error}; only local folders become one by themselves: butler create --seed-config makes one "
            "there, with the registry in a database server"
        ) from error
    if is_remote(butler):
        butler.close()
        raise UserError(f"{repo}: a server lets one read it (RemoteButler); ingest needs a direct repository")
    return butler


def _ingest(
    butler: Butler, entries: list[ManifestEntry], run: str, dataset_type_name: str, transfer: str
) -> IngestReport:
    dataset_type = DatasetType(
        dataset_type_name, ("instrument", "visit", "detector"), "Background", universe=butler.dimensions
    )
    butler.registry.registerDatasetType(dataset_type)
    butler.collections.register(run)
    _insert_records(butler, entries)
    present = {
        ref.dataId.required_values
        for ref in butler.query_datasets(dataset_type, run, limit=None, explain=False)
    }
    datasets = []
    for entry in entries:
        data_id = DataCoordinate.standardize(
            {"instrument": entry.instrument, "visit": entry.visit, "detector": entry.detector},
            dimensions=dataset_type.dimensions,
            universe=butler.dimensions,
        )
        if data_id.required_values not in present:
            # The Butler's configuration names the formatter: the stack's
            # own, or the standalone one.
            datasets.append(FileDataset(path=entry.file, refs=DatasetRef(dataset_type, data_id, run=run)))
    if datasets:
        butler.ingest(*datasets, transfer=transfer)
    return IngestReport(
        ingested=len(datasets),
        already_there=len(entries) - len(datasets),
        run=run,
        instruments=tuple(sorted({entry.instrument for entry in entries})),
        visits=len({(entry.instrument, entry.visit) for entry in entries}),
    )


def _insert_records(butler: Butler, entries: list[ManifestEntry]) -> None:
    _tell_new_instruments(butler, {entry.instrument for entry in entries})
    records = _Records()
    corners: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for entry in entries:
        records.add_detector(entry)
        corners.setdefault((entry.instrument, entry.visit), []).extend(entry.corners)
    for entry in entries:
        records.add_visit(entry, corners[entry.instrument, entry.visit])
    with butler.registry.transaction():
        for name, rows in records.rows.items():
            if name not in butler.dimensions.elements.names:
                continue  # the repository is of an older dimension universe
            known = butler.dimensions.elements[name].schema.names
            butler.registry.insertDimensionData(
                name,
                *({field: row[field] for field in row.keys() & known} for row in rows.values()),
                skip_existing=True,
            )
    for row in records.rows["visit"].values():
        data_id = butler.registry.expandDataId(instrument=row["instrument"], visit=row["id"])
        if data_id["physical_filter"] != row["physical_filter"]:
            raise UserError(
                f"{row['instrument']} visit {row['id']} was taken with {data_id['physical_filter']} "
                f"according to the repository, with {row['physical_filter']} according to the manifest"
            )


def _tell_new_instruments(butler: Butler, names: set[str]) -> None:
    """Warn of what may be a mistyped name."""
    known = {record.name for record in butler.query_dimension_records("instrument", explain=False)}
    if known and (new := names - known):
        _LOG.warning(
            "%s is a new instrument of this repository, which has %s so far.",
            ", ".join(sorted(new)),
            ", ".join(sorted(known)),
        )


class _Records:
    """The rows of a manifest's dimension records by key, each once, in order of reference."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {
            element: {}
            for element in (
                "instrument",
                "physical_filter",
                "detector",
                "day_obs",
                "visit_system",
                "visit",
                "visit_system_membership",
                "visit_detector_region",
            )
        }

    def _add(self, element: str, *key: Any, **row: Any) -> None:
        self.rows[element].setdefault(key, row)

    def add_detector(self, entry: ManifestEntry) -> None:
        """Add what an entry says of its instrument and detector."""
        name = entry.instrument
        self._add(
            "instrument",
            name,
            name=name,
            class_name=entry.instrument_class or _INSTRUMENT_CLASSES.get(name),
            visit_max=2**62,
            exposure_max=2**62,
            detector_max=1000,
            visit_system=0,
        )
        self._add("visit_system", name, instrument=name, id=0, name="one-to-one")
        self._add(
            "physical_filter",
            name,
            entry.physical_filter,
            instrument=name,
            name=entry.physical_filter,
            band=entry.band,
        )
        self._add(
            "detector",
            name,
            entry.detector,
            instrument=name,
            id=entry.detector,
            full_name=entry.detector_name or f"{entry.detector:03d}",
            purpose="SCIENCE",
        )

    def add_visit(self, entry: ManifestEntry, corners: list[tuple[float, float]]) -> None:
        """Add what an entry says of its visit.

        ``corners`` are those of all the visit's detectors.
        """
        name, visit = entry.instrument, entry.visit
        self._add("day_obs", name, entry.day_obs, instrument=name, id=entry.day_obs)
        if (name, visit) not in self.rows["visit"]:
            self._add(
                "visit",
                name,
                visit,
                instrument=name,
                id=visit,
                name=str(visit),
                physical_filter=entry.physical_filter,
                day_obs=entry.day_obs,
                visit_system=0,  # of the visit itself, in older universes
                region=_region(entry, corners),
            )
        self._add("visit_system_membership", name, visit, instrument=name, visit_system=0, visit=visit)
        self._add(
            "visit_detector_region",
            name,
            visit,
            entry.detector,
            instrument=name,
            visit=visit,
            detector=entry.detector,
            region=_region(entry, entry.corners),
        )


def _region(entry: ManifestEntry, corners: list[tuple[float, float]]) -> ConvexPolygon:
    try:
        return polygon(corners)
    except ValueError as error:
        raise UserError(f"{entry.file}: its corners enclose no area of the sky: {error}") from None
