# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What a report looks up in the repository beside metrics."""

from __future__ import annotations

__all__ = ("Datasets", "MosaicDatasets", "Pictures", "unit_of")

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lsst.daf.butler import Butler, DatasetId, DatasetRef, DatasetType
from lsst.daf.butler.registry import DataIdError
from lsst.sphgeom import ConvexPolygon

from ...artifacts import artifact_name, read_artifact
from ...repository import dataset_types
from ...tasks._inputs import describe
from .._fetch import Fetcher
from ..rows import RowKind
from ._sky import unit_vectors
from ._tables import slug

_LOG = logging.getLogger(__name__)
_TABLES = ("visit_table", "visit_steps", "tract_seams")
_COLUMNS = ("detector", "patch", "ra_", "dec_", "trend_", "neighbour_", "step", "meanDifference", "rms")
_IMAGES = (".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp")


@dataclass
class MosaicDatasets:
    """What the repository has for a visit, or a tract in a band.

    The type and UUID of the background, pictures and corners, by tile;
    pictures of the mosaic itself are under the empty tuple. Tables are by
    what follows the background in their type's name.
    """

    ids: dict[tuple[Any, ...], tuple[str, str]] = field(default_factory=dict)
    plots: dict[tuple[Any, ...], list[DatasetRef]] = field(default_factory=dict)
    corners: dict[tuple[Any, ...], np.ndarray] = field(default_factory=dict)
    tables: dict[str, DatasetRef] = field(default_factory=dict)
    of_visit: pa.Table | None = None


class Datasets:
    """Looks up datasets and regions, for many visits or tracts at once."""

    def __init__(self, butler: Butler, collections: Sequence[str]) -> None:
        self.butler = butler
        self.collections = list(collections)
        infos = butler.collections.query_info(self.collections, flatten_chains=True, include_summary=True)
        self.runs = {info.name: frozenset(info.dataset_types or ()) for info in infos}
        names = {name for names in self.runs.values() for name in names}
        self.types: dict[str, DatasetType] = {kind.name: kind for kind in dataset_types(butler, names)}

    def plot_types(self, background: str, dimensions: Iterable[str]) -> list[str]:
        """Return types of pictures of a background."""
        return [
            name
            for name, kind in self.types.items()
            if kind.storageClass_name == "Plot"
            and name.startswith(f"{background}_")
            and set(kind.dimensions.required) == set(dimensions)
        ]

    def _ask(
        self, what: Callable[[Any], Any], root: Mapping[str, str], dimension: str, values: Iterable[int]
    ) -> list[Any]:
        """Ask for what has some values of one dimension."""
        try:
            with self.butler.query() as query:
                return list(what(query).where(f"{dimension} IN (wanted)", root, bind={"wanted": [*values]}))
        except DataIdError:
            # The instrument or sky map is not registered.
            return []

    def find(
        self, name: str, root: Mapping[str, str], dimension: str, values: Iterable[int]
    ) -> list[DatasetRef]:
        """Find datasets by the values of one dimension."""
        if (kind := self.types.get(name)) is None:
            return []
        return self._ask(lambda query: query.datasets(kind, self.collections), root, dimension, values)

    def _corners(
        self, element: str, root: Mapping[str, str], dimension: str, values: Iterable[int]
    ) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield records of detectors in visits, or of patches, with the corners of their regions."""
        for record in self._ask(lambda query: query.dimension_records(element), root, dimension, values):
            if isinstance(record.region, ConvexPolygon):
                yield record, np.array([[v.x(), v.y(), v.z()] for v in record.region.getVertices()])

    def look_up(
        self, background: str, kind: RowKind, root: str, keys: Sequence[tuple[Any, ...]]
    ) -> dict[tuple[Any, ...], MosaicDatasets]:
        """Look up what there is for mosaics, by their keys."""
        found: dict[tuple[Any, ...], MosaicDatasets] = {key: MosaicDatasets() for key in keys}
        where = {kind.root: root}, kind.window, sorted({key[0] for key in keys})

        def of(name: str) -> Iterator[tuple[MosaicDatasets, DatasetRef]]:
            for ref in self.find(name, *where):
                if (mine := found.get(tuple(ref.dataId[name] for name in kind.mosaic))) is not None:
                    yield mine, ref

        # The types that may stand for a background, the best first.
        for name in (background, background.removesuffix("_backgrounds"), f"{background}_metrics"):
            if name in self.types and kind.tile[-1] in self.types[name].dimensions.required:
                for mine, ref in of(name):
                    tile = tuple(ref.dataId[name] for name in kind.tile)
                    mine.ids.setdefault(tile, (name, str(ref.id)))
        of_mosaics = kind.bundle_dimensions - {kind.tile[-1]}
        for dimensions, names in ((kind.bundle_dimensions, kind.tile), (of_mosaics, ())):
            for name in self.plot_types(background, dimensions):
                for mine, ref in of(name):
                    mine.plots.setdefault(tuple(ref.dataId[name] for name in names), []).append(ref)
        for name in _TABLES:
            for mine, ref in of(f"{background}_{name}"):
                mine.tables[name] = ref
        element = "visit_detector_region" if kind.name == "detector" else "patch"
        # The table of a visit has the corners of its detectors, where they are known, as the pixels lie.
        bare = set()
        for key, mine in found.items():
            mine.of_visit = self.read(mine.tables.get("visit_table"))
            mine.corners = _table_corners(mine.of_visit)
            if not mine.of_visit or len(mine.corners) < len(mine.of_visit):
                bare.add(key[0])
        for record, corners in self._corners(element, *where[:2], sorted(bare)) if bare else ():
            tile = tuple(record.dataId[name] for name in kind.tile)
            for key in keys if kind.name == "patch" else [(record.visit,)]:
                if key[0] == record.dataId[kind.window]:
                    found[key].corners[tile] = corners
        return found

    def patch_corners(self, skymap: str, tracts: Iterable[int]) -> dict[tuple[Any, ...], np.ndarray]:
        """Return corners of the patches of tracts."""
        found = self._corners("patch", {"skymap": skymap}, "tract", tracts)
        return {(record.tract, record.id): corners for record, corners in found}

    def read(self, ref: DatasetRef | None) -> pa.Table | None:
        """Read what pages show of a table that may be missing or broken."""
        if ref is None:
            return None
        try:
            # The Butler would read all columns, in several threads.
            with pq.ParquetFile(pa.BufferReader(read_artifact(self.butler.getURI(ref)))) as file:
                names = [name for name in file.schema_arrow.names if name.startswith(_COLUMNS)]
                return file.read(names, use_threads=False)
        except Exception as error:
            # The datastore and pyarrow have errors of their own.
            _LOG.warning("%s is left out: %s", ref, error)
            return None


def unit_of(table: pa.Table, name: str) -> str:
    """Return the unit of a column, as astropy writes it."""
    return ((table.schema.field(name).metadata or {}).get(b"unit") or b"").decode()


def _table_corners(table: pa.Table | None) -> dict[tuple[Any, ...], np.ndarray]:
    """Return unit vectors of the corners of detectors from a visit's table, if it has them."""
    four = pl.Array(pl.Float64, 4)
    types = {"detector": pl.Int64, "ra_corners": four, "dec_corners": four}
    if table is None or not types.keys() <= set(table.column_names):
        return {}
    try:
        found = pl.DataFrame(pl.from_arrow(table.select([*types]))).cast(types)  # type: ignore[arg-type]
    except pl.exceptions.PolarsError:
        return {}
    found = found.drop_nulls()
    vectors = unit_vectors(found["ra_corners"].to_numpy(), found["dec_corners"].to_numpy())
    known = np.isfinite(vectors).all(axis=(1, 2))
    return {(found["detector"][row],): vectors[row] for row in np.flatnonzero(known).tolist()}


class Pictures:
    """Copies pictures into the report."""

    def __init__(self, butler: Butler, folder: Path) -> None:
        self._fetcher, self._folder = Fetcher(butler), folder

    def copy(self, refs: Iterable[DatasetRef]) -> dict[DatasetId, str]:
        """Copy pictures, and return the paths of those that could be."""
        paths = {}
        for ref, path in self._fetcher.each(refs, self._copy):
            if isinstance(path, str):
                paths[ref.id] = path
            else:
                _LOG.warning("%s is left out: %s", describe(ref), path)
        return paths

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
