# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What a report looks up in the repository beside metrics."""

from __future__ import annotations

__all__ = ("BlockDatasets", "Datasets", "Pictures")

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lsst.daf.butler import Butler, DatasetId, DatasetRef, DatasetType
from lsst.daf.butler.registry import DataIdError
from lsst.sphgeom import ConvexPolygon

from ...artifacts import artifact_name, read_artifact
from ...repository import dataset_types
from .._fetch import Fetcher
from ._sky import unit_vectors
from ._tables import slug

_LOG = logging.getLogger(__name__)
_IMAGES = (".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp")


@dataclass
class BlockDatasets:
    """What the repository has for a block.

    Attributes
    ----------
    ids : `dict` [`tuple`, `tuple` [`str`, `str`]]
        Dataset type and UUID of the background, by detector or patch.
    plots : `dict` [`tuple`, `list` [`lsst.daf.butler.DatasetRef`]]
        Pictures by detector or patch, and those of the block itself under
        the empty tuple.
    corners : `dict` [`tuple`, `numpy.ndarray`]
        Unit vectors of the corners of the regions, by detector or patch.
    """

    ids: dict[tuple[Any, ...], tuple[str, str]] = field(default_factory=dict)
    plots: dict[tuple[Any, ...], list[DatasetRef]] = field(default_factory=dict)
    corners: dict[tuple[Any, ...], np.ndarray] = field(default_factory=dict)


class Datasets:
    """Looks up datasets and regions, for many blocks at once.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    collections : `~collections.abc.Sequence` [`str`]
        Collections to search.
    """

    def __init__(self, butler: Butler, collections: Sequence[str]) -> None:
        self.butler = butler
        self.collections = list(collections)
        infos = butler.collections.query_info(self.collections, flatten_chains=True, include_summary=True)
        self.runs = {info.name: frozenset(info.dataset_types or ()) for info in infos}
        names = {name for names in self.runs.values() for name in names}
        self.types: dict[str, DatasetType] = {kind.name: kind for kind in dataset_types(butler, names)}

    def plot_types(self, background: str, dimensions: Iterable[str]) -> list[str]:
        """Return types of pictures of a background.

        Parameters
        ----------
        background : `str`
            Name that theirs begin with.
        dimensions : `~collections.abc.Iterable` [`str`]
            Their required dimensions.

        Returns
        -------
        names : `list` [`str`]
            Their names.
        """
        return [
            name
            for name, kind in self.types.items()
            if kind.storageClass_name == "Plot"
            and name.startswith(f"{background}_")
            and set(kind.dimensions.required) == set(dimensions)
        ]

    def find(
        self, name: str, root: Mapping[str, str], dimension: str, values: Iterable[int]
    ) -> list[DatasetRef]:
        """Find datasets by the values of one dimension.

        Parameters
        ----------
        name : `str`
            Dataset type.
        root : `~collections.abc.Mapping` [`str`, `str`]
            The instrument or sky map.
        dimension : `str`
            The dimension; its values are numbers.
        values : `~collections.abc.Iterable` [`int`]
            The values.

        Returns
        -------
        refs : `list` [`lsst.daf.butler.DatasetRef`]
            What there is, of datasets with one data ID the first found.
        """
        if name not in self.types:
            return []
        try:
            with self.butler.query() as query:
                refs = query.datasets(self.types[name], self.collections).where(
                    f"{dimension} IN (wanted)", root, bind={"wanted": list(values)}
                )
                return list(refs)
        except DataIdError:
            # The instrument or sky map is not registered.
            return []

    def visits(
        self, background: str, instrument: str, visits: Sequence[int]
    ) -> dict[tuple[Any, ...], BlockDatasets]:
        """Look up what there is for visits.

        Parameters
        ----------
        background : `str`
            Name of the background.
        instrument : `str`
            The instrument.
        visits : `~collections.abc.Sequence` [`int`]
            The visits.

        Returns
        -------
        found : `dict` [`tuple`, `BlockDatasets`]
            By visit, in a tuple; detectors are in tuples, too.
        """
        found: dict[tuple[Any, ...], BlockDatasets] = {(visit,): BlockDatasets() for visit in visits}
        root = {"instrument": instrument}
        for name in _names(background, self.types):
            for ref in self.find(name, root, "visit", visits):
                if "detector" in ref.dataId.dimensions.required:
                    place = (ref.dataId["detector"],)
                    found[ref.dataId["visit"],].ids.setdefault(place, (name, str(ref.id)))
        for name in self.plot_types(background, ("instrument", "visit", "detector")):
            for ref in self.find(name, root, "visit", visits):
                place = (ref.dataId["detector"],)
                found[ref.dataId["visit"],].plots.setdefault(place, []).append(ref)
        for name in self.plot_types(background, ("instrument", "visit")):
            for ref in self.find(name, root, "visit", visits):
                found[ref.dataId["visit"],].plots.setdefault((), []).append(ref)
        for record in self._records("visit_detector_region", root, "visit", visits):
            if (corners := _corners(record.region)) is not None:
                found[record.visit,].corners[record.detector,] = corners
        return found

    def tracts(
        self, background: str, skymap: str, blocks: Sequence[tuple[int, str]]
    ) -> dict[tuple[Any, ...], BlockDatasets]:
        """Look up what there is for tracts in bands.

        Parameters
        ----------
        background : `str`
            Name of the background.
        skymap : `str`
            The sky map.
        blocks : `~collections.abc.Sequence` [`tuple` [`int`, `str`]]
            Tract and band of each.

        Returns
        -------
        found : `dict` [`tuple`, `BlockDatasets`]
            By tract and band; patches are with their tract.
        """
        found: dict[tuple[Any, ...], BlockDatasets] = {block: BlockDatasets() for block in blocks}
        root = {"skymap": skymap}
        tracts = sorted({tract for tract, _ in blocks})

        def blocks_of(refs: Iterable[DatasetRef]) -> Iterator[tuple[BlockDatasets, DatasetRef]]:
            for ref in refs:
                block = ref.dataId["tract"], ref.dataId["band"]
                if block in found:
                    yield found[block], ref

        for name in _names(background, self.types):
            for block, ref in blocks_of(self.find(name, root, "tract", tracts)):
                if "patch" in ref.dataId.dimensions.required:
                    place = ref.dataId["tract"], ref.dataId["patch"]
                    block.ids.setdefault(place, (name, str(ref.id)))
        for name in self.plot_types(background, ("skymap", "tract", "patch", "band")):
            for block, ref in blocks_of(self.find(name, root, "tract", tracts)):
                block.plots.setdefault((ref.dataId["tract"], ref.dataId["patch"]), []).append(ref)
        for name in self.plot_types(background, ("skymap", "tract", "band")):
            for block, ref in blocks_of(self.find(name, root, "tract", tracts)):
                block.plots.setdefault((), []).append(ref)
        corners = self.patch_corners(skymap, tracts)
        for (tract, _), block in found.items():
            block.corners |= {place: vertices for place, vertices in corners.items() if place[0] == tract}
        return found

    def patch_corners(self, skymap: str, tracts: Sequence[int]) -> dict[tuple[Any, ...], np.ndarray]:
        """Return corners of the patches of tracts.

        Parameters
        ----------
        skymap : `str`
            The sky map.
        tracts : `~collections.abc.Sequence` [`int`]
            The tracts.

        Returns
        -------
        corners : `dict` [`tuple`, `numpy.ndarray`]
            Unit vectors of the corners of the regions, by tract and patch.
        """
        return {
            (record.tract, record.id): corners
            for record in self._records("patch", {"skymap": skymap}, "tract", tracts)
            if (corners := _corners(record.region)) is not None
        }

    def read(self, name: str, data_id: Mapping[str, Any]) -> Any:
        """Read a dataset that may be missing or broken.

        Parameters
        ----------
        name : `str`
            Dataset type.
        data_id : `~collections.abc.Mapping`
            Data ID.

        Returns
        -------
        dataset : `object` or `None`
            The dataset; `None` without one. One that cannot be read is
            logged.
        """
        if name not in self.types:
            return None
        try:
            ref = self.butler.find_dataset(self.types[name], dict(data_id), collections=self.collections)
            return None if ref is None else self.butler.get(ref)
        except Exception as error:
            # The datastore and the formatters have errors of their own.
            _LOG.warning("%s of %s is left out: %s", name, dict(data_id), error)
            return None

    def table_corners(self, name: str, data_id: Mapping[str, Any]) -> dict[tuple[Any, ...], np.ndarray]:
        """Return corners of detectors from a visit's table.

        Parameters
        ----------
        name : `str`
            Dataset type of the table.
        data_id : `~collections.abc.Mapping`
            Data ID of the visit.

        Returns
        -------
        corners : `dict` [`tuple`, `numpy.ndarray`]
            Unit vectors in the order of the pixels' corners, shape (4, 3),
            by detector; empty without such a table.
        """
        table = self.read(name, data_id)
        corners: dict[tuple[Any, ...], np.ndarray] = {}
        if table is None or not {"detector", "ra_corners", "dec_corners"} <= set(table.colnames):
            return corners
        for row in table:
            vectors = unit_vectors(np.asarray(row["ra_corners"]), np.asarray(row["dec_corners"]))
            if vectors.shape == (4, 3) and np.isfinite(vectors).all():
                corners[int(row["detector"]),] = vectors
        return corners

    def _records(
        self, element: str, root: Mapping[str, str], dimension: str, values: Sequence[int]
    ) -> list[Any]:
        try:
            with self.butler.query() as query:
                return list(
                    query.dimension_records(element).where(
                        f"{dimension} IN (wanted)", root, bind={"wanted": list(values)}
                    )
                )
        except DataIdError:
            return []


class Pictures:
    """Copies pictures into the report.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    folder : `pathlib.Path`
        The report's folder.
    """

    def __init__(self, butler: Butler, folder: Path) -> None:
        self._butler = butler
        self._folder = folder
        self._fetcher = Fetcher(butler)
        self._fetched: dict[DatasetId, str | Exception] = {}
        self.copied = 0
        """Pictures that were copied (`int`)."""

    def fetch(self, refs: Iterable[DatasetRef]) -> None:
        """Copy pictures that will be added, many at once if they are far.

        Parameters
        ----------
        refs : `~collections.abc.Iterable` [`lsst.daf.butler.DatasetRef`]
            The pictures.
        """
        if self._fetcher.far:
            self._fetched = {ref.id: path for ref, path in self._fetcher.each(refs, self._copy)}

    def add(self, ref: DatasetRef) -> str | None:
        """Copy a picture.

        Parameters
        ----------
        ref : `lsst.daf.butler.DatasetRef`
            The picture.

        Returns
        -------
        path : `str` or `None`
            Where it is in the report; `None` if it cannot be copied, which
            is logged.
        """
        path = self._fetched.pop(ref.id, None)
        try:
            if isinstance(path, Exception):
                raise path
            path = path or self._copy(self._butler, ref)
        except Exception as error:
            # Each kind of store has errors of its own.
            _LOG.warning("%s is left out: %s", ref, error)
            return None
        self.copied += 1
        return path

    def _copy(self, butler: Butler, ref: DatasetRef) -> str:
        uri = butler.getURI(ref)
        suffix = os.path.splitext(artifact_name(uri))[1].lower()
        if suffix not in _IMAGES:
            raise ValueError(f"{uri} is not a picture for a browser")
        name = slug("-".join([ref.datasetType.name, *map(str, ref.dataId.required_values)]))
        path = f"pictures/{slug(ref.datasetType.name)}/{name}{suffix}"
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(read_artifact(uri))
        return path


def _names(background: str, types: Mapping[str, DatasetType]) -> list[str]:
    """Return the types that may stand for a background, the best first.

    One that is a component of an image, as visit_image.backgrounds, is called
    by both names with an underscore.
    """
    candidates = [background, background.removesuffix("_backgrounds"), f"{background}_metrics"]
    return [name for name in dict.fromkeys(candidates) if name in types]


def _corners(region: Any) -> np.ndarray | None:
    if not isinstance(region, ConvexPolygon):
        return None
    return np.array([[v.x(), v.y(), v.z()] for v in region.getVertices()])
