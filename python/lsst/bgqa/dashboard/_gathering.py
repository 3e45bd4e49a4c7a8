# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Campaign tables of what was not gathered, made as the gather tasks make them."""

from __future__ import annotations

__all__ = ("Inputs",)

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import astropy.units as u
import numpy as np
import pyarrow.parquet as pq

from lsst.daf.butler import Butler, CollectionType, DatasetRef, DatasetType, DeferredDatasetHandle
from lsst.pipe.base import NoWorkFound

from ..metrics import load_catalogue, quantities_of
from ..tasks import (
    GatherBackgroundMetricsConfig,
    GatherBackgroundMetricsTask,
    GatherCoaddMetricsTask,
    GatherCoaddResidualTask,
    GatherResidualTask,
)
from ..tasks._campaign import metric_names
from ..tasks._gather import CampaignBatch, CampaignWriter
from ..tasks.gather_background_metrics import _TableReader
from ._fetch import Fetcher
from .rows import RowKind, Unreadable
from .table import Progress

_TASKS: dict[str, type[GatherBackgroundMetricsTask]] = {
    "detector": GatherBackgroundMetricsTask,
    "patch": GatherCoaddMetricsTask,
}
_RESIDUAL_TASKS = {"detector": GatherResidualTask, "patch": GatherCoaddResidualTask}


class Inputs:
    """What quanta wrote of one background: bundles, and tables of mosaics."""

    def __init__(
        self,
        butler: Butler,
        collections: Sequence[str],
        kind: RowKind,
        root: str,
        bundles: DatasetType | None,
        tables: DatasetType | None,
    ) -> None:
        self.kind, self.root = kind, root
        self._butler, self._collections = butler, list(collections)
        self._where = {kind.root: root}
        self._types = (tables, bundles)
        self._fetcher = Fetcher(butler)
        self._records: dict[str, dict[Any, Any]] = {}
        runs = butler.collections.query(
            self._collections, collection_types={CollectionType.RUN}, flatten_chains=True
        )
        self._order = {run: i for i, run in enumerate(runs)}
        counts = {t.name: self._count(t) for t in (bundles, tables) if t is not None}
        self.dataset_types = tuple(name for name, count in counts.items() if count)
        self.dataset_count = sum(counts.values())
        self.row_count = self.dataset_count if tables is None else None

    def _count(self, dataset_type: DatasetType) -> int:
        with self._butler.query() as query:
            return query.datasets(dataset_type, self._collections).where(self._where).count()

    def _windows(self) -> Iterator[tuple[list[DatasetRef], list[DatasetRef]]]:
        """Yield tables and bundles part by part: all may be too many to keep."""
        dimension, ids = self.kind.window, set()
        for dataset_type in filter(None, self._types):
            with self._butler.query() as query:
                found = query.join_dataset_search(dataset_type, self._collections)
                data_ids = found.data_ids((self.kind.root, dimension)).where(self._where)
                ids |= {int(data_id[dimension]) for data_id in data_ids}
        for some in itertools.batched(sorted(ids), self.kind.window_size):
            tables, bundles = (self._refs(t, some[0], some[-1]) if t else [] for t in self._types)
            yield tables, bundles

    def _refs(self, dataset_type: DatasetType, first: int, last: int) -> list[DatasetRef]:
        """Find the datasets between two values of the window's dimension, with what records are there.

        The Butler, asked for all records, finds no dataset whose region is not known.
        """
        dimension = self.kind.window
        between = f"{dimension} >= first AND {dimension} <= last"
        bind = {"first": first, "last": last}
        groups = {
            element: self._butler.dimensions[element].minimal_group
            for element in dataset_type.dimensions.elements
        }
        with self._butler.query() as query:
            found = query.datasets(dataset_type, self._collections).where(self._where)
            refs = list(found.where(between, bind=bind))
            records = {}
            for element, group in groups.items():
                windowed = dimension in group.names
                if windowed or element not in self._records:
                    rows = query.dimension_records(element)
                    if self.kind.root in group.names:
                        rows = rows.where(self._where)
                    if windowed:
                        rows = rows.where(between, bind=bind)
                    self._records[element] = {record.dataId: record for record in rows}
                records[element] = self._records[element]
        return [
            ref.expanded(
                ref.dataId.expanded(
                    {e: known.get(ref.dataId.subset(groups[e])) for e, known in records.items()}
                )
            )
            for ref in refs
        ]

    def task(
        self, config: GatherBackgroundMetricsConfig | None, unreadable: Unreadable
    ) -> GatherBackgroundMetricsTask | None:
        """Make the task that gathers them, in the unit that they are in; `None` if no metric is ours.

        What cannot be read is told if nothing else is there; otherwise when rows are read.
        """
        catalogue = load_catalogue()
        names: dict[str, str] = {}
        broken: dict[DatasetRef, Exception] = {}
        unit = None
        for ref in (ref for window in self._windows() for refs in window for ref in refs):
            try:
                found = _units_of(self._butler.get(ref))
            except Exception as error:
                broken[ref] = error
                continue
            names |= {name: text for name, text in found.items() if name in catalogue}
            unit = next((names[name] for name in names if catalogue[name].unit == "{unit}"), None)
            # An empty bundle does not say whose it is.
            if unit is not None or (found and not names):
                break
        else:
            if not names:
                for ref, reason in broken.items():
                    unreadable.tell(ref, reason)
        return _gather_task(self.kind, names, unit or "", config) if names else None

    def write(
        self,
        path: Path,
        task: GatherBackgroundMetricsTask,
        unreadable: Unreadable,
        progress: Progress | None,
    ) -> None:
        """Gather them into a Parquet file."""
        try:
            table = task.run(self._batches(task, unreadable, progress)).table
        except NoWorkFound:
            table = CampaignWriter(task._keys, task._names, u.Unit(task.config.unit)).finish()
        pq.write_table(table, path, compression="zstd")

    def _batches(
        self, task: Any, unreadable: Unreadable, progress: Progress | None
    ) -> Iterator[CampaignBatch]:
        mosaic, row = self.kind.mosaic, task._row_key
        done = 0
        for tables, bundles in self._windows():
            broken: dict[str, Exception] = {}
            handles = self._handles(tables, storageClass="ArrowTable")
            rows = {_key(batch, mosaic): batch for batch in task.read_tables(handles, broken)}
            known = {
                (*key, number): run
                for key, batch in rows.items()
                for number, run in zip(batch.keys[row], batch.keys["run"], strict=True)
            }

            def adds(ref: DatasetRef, known: dict[Any, str] = known) -> bool:
                """Whether a bundle has what a table lacks: closure, or a RUN that is searched before."""
                other = known.get((*(ref.dataId[name] for name in mosaic), ref.dataId[row]))
                return (
                    other is None
                    or "closure_consistent" in task._names
                    or self._order.get(ref.run, 0) < self._order.get(other, 0)
                )

            for batch in task._read(self._handles(ref for ref in bundles if adds(ref)), broken):
                key = _key(batch, mosaic)
                rows[key] = _merge(rows[key], batch, row, self._order) if key in rows else batch
            for name, error in broken.items():
                unreadable.add(name, error)
            ids = sorted(tuple(ref.dataId[name] for name in mosaic) for ref in (*tables, *bundles))
            for key, same in itertools.groupby(ids):
                if key in rows:
                    yield rows[key]
                done += len(list(same))
                if progress is not None:
                    progress(done, self.dataset_count)

    def _handles(self, refs: Iterable[DatasetRef], **options: Any) -> list[Any]:
        if not self._fetcher.far:
            return [DeferredDatasetHandle(butler=self._butler, ref=ref, parameters=None) for ref in refs]
        # Several at a time where they are far away.
        return [
            _Fetched(ref, result)
            for ref, result in self._fetcher.each(refs, lambda butler, ref: butler.get(ref, **options))
        ]


class _Fetched:
    """A dataset that was read already, or the error of it."""

    def __init__(self, ref: DatasetRef, result: Any) -> None:
        self.ref, self.dataId, self._result = ref, ref.dataId, result

    def get(self, **options: Any) -> Any:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


def _gather_task(
    kind: RowKind, names: Mapping[str, str], unit: str, config: GatherBackgroundMetricsConfig | None
) -> GatherBackgroundMetricsTask:
    catalogue = load_catalogue()
    residual = any(catalogue[name].group == "residual" for name in names)
    base = (_RESIDUAL_TASKS if residual else _TASKS).get(kind.name, GatherBackgroundMetricsTask)
    own: dict[str, Any] = {"_keys": {**kind.keys, "run": str}, "_batch_keys": kind.mosaic}
    own |= {"_table_keys": tuple({*kind.tile[-1:], "detector_name"} & {*kind.keys})}
    own |= {"read_tables": _TableReader._read}
    if kind.name not in _TASKS:
        # Rows by themselves: without peers, or a history.
        own |= {"_names": tuple(metric_names((kind.name,), ())), "_place_keys": ()}
        own |= {"_row_key": kind.mosaic[0], "_summary_keys": ("band",)}
        own |= {"_level": own["_names"][0]}
    # In the units that bundles have: what is exported is what they say.
    of = {name: names.get(name) for name in own.get("_names", base._names)}
    in_units = {
        name: catalogue[name].unit_for(u.Unit(unit)) if text is None else u.Unit(text)
        for name, text in of.items()
    }
    own["_units"] = lambda self: in_units
    made = type(f"{kind.name.capitalize()}Gatherer", (base,), own)
    if config is None:
        config = cast(GatherBackgroundMetricsConfig, base.ConfigClass())
        config.unit = unit
        if kind.name not in _TASKS:
            config.max_z = {}
    # Under our own name, by which commands show warnings.
    return made(config=config, log=logging.getLogger(__name__))


def _key(batch: CampaignBatch, mosaic: Sequence[str]) -> tuple[Any, ...]:
    return tuple(batch.keys[name][0] for name in mosaic)


def _merge(table: CampaignBatch, bundles: CampaignBatch, row: str, order: Mapping[str, int]) -> CampaignBatch:
    """Put bundles into the rows of a table, and beside them."""
    of_table = order.get(table.keys["run"][0], 0)
    nothing = ("", "")
    rows = {
        number: (table, i, table.values[i], table.known[i] if table.known else nothing)
        for i, number in enumerate(table.keys[row])
    }
    for i, number in enumerate(bundles.keys[row]):
        values, known = bundles.values[i], nothing
        if number in rows and order.get(bundles.keys["run"][i], 0) >= of_table:
            # A table compares it with others.
            _, _, first, known = rows[number]
            values = np.where(np.isnan(first), values, first)
        rows[number] = bundles, i, values, known
    found = [rows[number] for number in sorted(rows)]
    keys = {name: [batch.keys[name][i] for batch, i, _, _ in found] for name in table.keys}
    kinds = [batch.kinds[i] for batch, i, _, _ in found]
    return CampaignBatch(keys, np.array([values for *_, values, _ in found]), kinds, [k for *_, k in found])


def _units_of(dataset: Any) -> dict[str, str]:
    if hasattr(dataset, "colnames"):
        return {name: str(dataset[name].unit or "") for name in dataset.colnames}
    return {name: str(quantity.unit) for name, quantity in quantities_of(dataset).items()}
