# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Campaign tables of what was not gathered, made as the gather tasks make them."""

from __future__ import annotations

__all__ = ("Inputs",)

import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import astropy.units as u
import numpy as np

from lsst.daf.butler import (
    Butler,
    CollectionType,
    DataCoordinate,
    DatasetRef,
    DatasetType,
    DeferredDatasetHandle,
    DimensionRecord,
)
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

if TYPE_CHECKING:
    import pyarrow as pa

_RESIDUAL = "residual"
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
        self._butler, self._collections = butler, list(collections)
        self._kind, self._root = kind, {kind.root: root}
        self._bundles, self._tables = bundles, tables
        self._fetcher = Fetcher(butler)
        self._records: dict[str, dict[DataCoordinate, DimensionRecord]] = {}
        runs = butler.collections.query(
            self._collections, collection_types={CollectionType.RUN}, flatten_chains=True
        )
        self._order = {run: i for i, run in enumerate(runs)}
        self.counts = {t.name: self._count(t) for t in (bundles, tables) if t is not None}

    @property
    def dataset_count(self) -> int:
        return sum(self.counts.values())

    @property
    def row_count(self) -> int | None:
        return self.dataset_count if self._tables is None else None

    def _count(self, dataset_type: DatasetType) -> int:
        with self._butler.query() as query:
            return query.datasets(dataset_type, self._collections).where(self._root).count()

    def refs(self, dataset_type: DatasetType, first: int, last: int) -> list[DatasetRef]:
        """Find the datasets between two values of the window's dimension."""
        between = f"{self._kind.window} >= first AND {self._kind.window} <= last"
        bind = {"first": first, "last": last}
        with self._butler.query() as query:
            found = query.datasets(dataset_type, self._collections).where(self._root)
            refs = list(found.where(between, bind=bind))
            # With records, the query would find none whose region is not known.
            records: dict[str, dict[DataCoordinate, DimensionRecord]] = {}
            for element in dataset_type.dimensions.elements:
                if (known := self._records.get(element)) is None:
                    rows = query.dimension_records(element)
                    own = self._butler.dimensions[element].minimal_group.names
                    if self._kind.root in own:
                        rows = rows.where(self._root)
                    if self._kind.window in own:
                        rows = rows.where(between, bind=bind)
                    known = {record.dataId: record for record in rows}
                    if self._kind.window not in own:
                        self._records[element] = known
                records[element] = known
        groups = {element: self._butler.dimensions[element].minimal_group for element in records}
        return [
            ref.expanded(
                ref.dataId.expanded(
                    {name: records[name].get(ref.dataId.subset(groups[name])) for name in records}
                )
            )
            for ref in refs
        ]

    def windows(self) -> Iterator[tuple[list[DatasetRef], list[DatasetRef]]]:
        """Yield tables and bundles part by part: all may be too many to keep."""
        dimension, ids = self._kind.window, set()
        types = [dataset_type for dataset_type in (self._tables, self._bundles) if dataset_type is not None]
        for dataset_type in types:
            with self._butler.query() as query:
                found = query.join_dataset_search(dataset_type, self._collections).data_ids(
                    (self._kind.root, dimension)
                )
                ids |= {int(data_id[dimension]) for data_id in found.where(self._root)}
        for some in itertools.batched(sorted(ids), self._kind.window_size):
            yield (
                self.refs(self._tables, some[0], some[-1]) if self._tables is not None else [],
                self.refs(self._bundles, some[0], some[-1]) if self._bundles is not None else [],
            )

    def task(self, config: GatherBackgroundMetricsConfig | None) -> GatherBackgroundMetricsTask | None:
        """Make the task that gathers them, in the unit that they are in."""
        catalogue = load_catalogue()
        names: dict[str, str] = {}
        unit = None
        for ref in itertools.chain.from_iterable(itertools.chain(*self.windows())):
            try:
                found = _units_of(self._butler.get(ref))
            except Exception:
                continue  # named when rows are read
            names |= {name: text for name, text in found.items() if name in catalogue}
            if not names:
                return None
            unit = next((names[name] for name in names if catalogue[name].unit == "{unit}"), None)
            if unit is not None:
                break
        return _gather_task(self._kind, names, unit or "", config) if names else None

    def gather(
        self,
        task: GatherBackgroundMetricsTask,
        unreadable: Unreadable,
        advance: Callable[[int], None],
    ) -> pa.Table:
        """Gather them into a table, which is a file without a name."""
        try:
            return task.run(self._batches(task, unreadable, advance)).table
        except NoWorkFound:
            return CampaignWriter(task._keys, task._names, u.Unit(task.config.unit)).finish()

    def _batches(
        self, task: Any, unreadable: Unreadable, advance: Callable[[int], None]
    ) -> Iterator[CampaignBatch]:
        mosaic = [name for name in self._kind.mosaic if name not in self._root]
        row = task._row_key
        for windows in self.windows():
            broken: dict[str, Exception] = {}
            tables: dict[Any, CampaignBatch] = {}
            handles = self._handles(windows[0], storageClass="ArrowTable")
            for batch in task.read_tables(handles, broken):
                tables[tuple(batch.keys[name][0] for name in mosaic)] = batch
            known = {
                (*key, number): run
                for key, batch in tables.items()
                for number, run in zip(batch.keys[row], batch.keys["run"], strict=True)
            }

            def comes_first(data_id: Any, run: str, known: dict[Any, str] = known) -> bool:
                """Whether a bundle's RUN is searched before that of its row in a table."""
                other = known.get((*(data_id[name] for name in mosaic), data_id[row]))
                return other is None or self._order.get(run, 0) < self._order.get(other, 0)

            # Tables have all that a detector has, but nothing of closure.
            needed = [
                ref
                for ref in windows[1]
                if "closure_consistent" in task._names or not known or comes_first(ref.dataId, ref.run)
            ]
            batches = task._read(self._handles(needed), broken)
            bundles = {tuple(batch.keys[name][0] for name in mosaic): batch for batch in batches}
            for name, error in broken.items():
                unreadable.add(name, error)
            counts: dict[Any, int] = defaultdict(int)
            for ref in itertools.chain(*windows):
                counts[tuple(ref.dataId[name] for name in mosaic)] += 1
            for key in sorted(counts):
                parts = [part[key] for part in (tables, bundles) if key in part]
                if parts:
                    yield parts[0] if len(parts) == 1 else _merge(parts[0], parts[1], row, self._order)
                advance(counts[key])

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
    residual = any(catalogue[name].group == _RESIDUAL for name in names)
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


def _merge(table: CampaignBatch, bundles: CampaignBatch, row: str, order: Mapping[str, int]) -> CampaignBatch:
    """Put bundles into the rows of a table, and beside them."""
    rows = {number: (table, i) for i, number in enumerate(table.keys[row])}
    values = {number: table.values[i] for number, (_, i) in rows.items()}
    known = {number: table.known[i] if table.known else ("", "") for number, (_, i) in rows.items()}
    for i, number in enumerate(bundles.keys[row]):
        mine = bundles.values[i]
        runs = bundles.keys["run"][i], table.keys["run"][0]
        if number in rows and order.get(runs[0], 0) >= order.get(runs[1], 0):
            # A table compares it with others.
            mine = np.where(np.isnan(values[number]), mine, values[number])
            known[number] = table.known[rows[number][1]] if table.known else ("", "")
        else:
            known[number] = ("", "")
        rows[number], values[number] = (bundles, i), mine
    found = [rows[number] for number in sorted(rows)]
    keys = {name: [batch.keys[name][i] for batch, i in found] for name in table.keys}
    kinds = [batch.kinds[i] for batch, i in found]
    of = [values[number] for number in sorted(rows)]
    return CampaignBatch(keys, np.array(of), kinds, [known[number] for number in sorted(rows)])


def _units_of(dataset: Any) -> dict[str, str]:
    if hasattr(dataset, "colnames"):
        return {name: str(dataset[name].unit or "") for name in dataset.colnames}
    return {name: str(quantity.unit) for name, quantity in quantities_of(dataset).items()}
