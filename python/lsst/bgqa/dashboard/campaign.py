# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The campaign tables of a collection."""

from __future__ import annotations

__all__ = ("VERDICTS", "Campaign", "CampaignTable")

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lsst.daf.butler import DatasetRef, DatasetType

from ..artifacts import local_artifact
from ..errors import UserError, fault_of_the_machine
from ..repository import dataset_types, find_collections, open_repository
from ..tasks import GatherBackgroundMetricsConfig
from ..tasks._inputs import describe
from ._gathering import Inputs
from ._provenance import gather_config, put_time
from .rows import JUDGED, ROW_KINDS, RowKind, Unreadable
from .table import VERDICTS, CampaignTable, Progress

_BUNDLE = "MetricMeasurementBundle"
_ARROW = ("ArrowTable", "ArrowAstropy", "ArrowNumpy", "ArrowNumpyDict", "DataFrame")

_LOG = logging.getLogger(__name__)


class Campaign:
    """What a collection has of metrics.

    Use it as a context manager, or call `close`.

    Parameters
    ----------
    repo
        The repository: a path, URI or label.
    collection
        The collection; several with commas, glob patterns among them. A
        dataset that is in more than one of them, or of a chain, is taken from
        the first.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if the repository cannot be opened, if there is no such
        collection, or if it has no metrics of backgrounds.
    """

    def __init__(self, repo: str, collection: str) -> None:
        self.repo, self.collection = repo, collection
        self.butler = open_repository(repo)
        """The repository, open for reading."""
        self.unreadable = Unreadable()
        """Campaign tables that cannot be opened (what was gathered is read instead,
        if it is there), and metrics of which none can be read.
        """
        self._files = contextlib.ExitStack()
        try:
            self.collections = find_collections(self.butler, collection)
            self.tables = tuple(self._find())
            """What there is, by kind, name, and instrument or sky map."""
            if not self.tables and self.unreadable.count:
                raise UserError(
                    f"{collection} has no metrics of backgrounds that can be read (see the warnings); "
                    f"the first: {self.unreadable.names[0]}"
                )
            if not self.tables:
                raise UserError(
                    f"{collection} has no metrics of backgrounds; run one of the pipelines into it "
                    f"(bgqa discover {repo} says which)"
                )
        except BaseException as error:
            self.close()
            # A server that goes down meanwhile.
            if isinstance(error, UserError) or (reason := fault_of_the_machine(error)) is None:
                raise
            raise UserError(f"{repo}: {reason}") from error

    def _repr_html_(self) -> str:
        from ._html import campaign_html

        return campaign_html(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the repository, and remove what was gathered to be read."""
        self._files.close()
        self.butler.close()

    def table(self, kind: str, name: str | None = None, root: str | None = None) -> CampaignTable:
        """Return the first table of a kind, name, and instrument or sky map; `KeyError` if there is none."""
        for table in self.tables:
            if table.kind == kind and name in (None, table.name) and root in (None, table.root):
                return table
        raise KeyError((kind, name, root))

    def _find(self) -> Iterator[CampaignTable]:
        types = self._dataset_types()
        for kind in ROW_KINDS:
            tables: dict[tuple[str, str], CampaignTable] = {}
            # Of tables that are out of date: whether they were gathered from bundles, and how.
            stale: dict[tuple[str, str], tuple[bool, GatherBackgroundMetricsConfig | None]] = {}
            for ref, table, config in self._gathered(kind, types):
                key = table.name, table.root
                if key in tables or key in stale:
                    continue
                ending = (kind.bundle, kind.table)[kind.gathered.index(_ending(ref, kind))]
                source = next((t for t in types if t.name == table.name + ending), None)
                if self._is_stale(ref, table, source):
                    _LOG.warning(
                        "%s is older than some of the metrics that it was gathered from: they are gathered "
                        "anew for this; gather them again.",
                        describe(ref),
                    )
                    stale[key] = ending == kind.bundle, config
                else:
                    tables[key] = table
            for name, bundles, of_mosaics in _pairs(kind, types):
                for root in self._roots(kind, bundles, of_mosaics):
                    key = name, root
                    if there := tables.get(key):
                        if bundles is not None:
                            inputs = Inputs(self.butler, self.collections, kind, root, bundles, None)
                            there.not_gathered = max(0, inputs.dataset_count - (there.row_count or 0))
                        continue
                    from_bundles, config = stale.get(key, (False, None))
                    others = None if from_bundles else of_mosaics
                    inputs = Inputs(self.butler, self.collections, kind, root, bundles, others)
                    if (made := self._to_gather(name, inputs, config)) is not None:
                        tables[key] = made
            yield from (tables[key] for key in sorted(tables))

    def _gathered(
        self, kind: RowKind, types: Sequence[DatasetType]
    ) -> Iterator[tuple[DatasetRef, CampaignTable, GatherBackgroundMetricsConfig | None]]:
        """Open the campaign tables of a kind, the preferred first: those gathered from bundles."""
        candidates = [
            dataset_type
            for dataset_type in types
            if kind.gathered
            and set(dataset_type.dimensions.required) == {kind.root}
            and dataset_type.storageClass_name in _ARROW
        ]
        for dataset_type in sorted(candidates, key=lambda t: (t.name.endswith(kind.gathered[1]), t.name)):
            with self.butler.query() as query:
                refs = sorted(query.datasets(dataset_type, self.collections))
            for ref in refs:
                try:
                    yield ref, *self._from_file(kind, ref)
                except Exception as error:
                    # Any other table may have one row an instrument.
                    if dataset_type.name.endswith(kind.gathered):
                        self.unreadable.tell(ref, error)

    def _from_file(
        self, kind: RowKind, ref: DatasetRef
    ) -> tuple[CampaignTable, GatherBackgroundMetricsConfig | None]:
        path = Path(self._files.enter_context(local_artifact(self.butler.getURI(ref))).ospath)
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, int(file.metadata.num_rows)
        known = [*kind.keys, *JUDGED]
        if missing := [name for name in known if name not in schema.names]:
            raise ValueError(f"the table lacks the column(s) {', '.join(missing)}")
        units = {
            field.name: (field.metadata or {}).get(b"unit", b"").decode()
            for field in schema
            if field.name not in known and pa.types.is_floating(field.type)
        }
        config = gather_config(self.butler, ref)
        background = getattr(config and config.connections, "backgroundName", "")
        table = CampaignTable(
            kind,
            background or ref.datasetType.name.removesuffix(_ending(ref, kind)).removesuffix("_table"),
            str(ref.dataId[kind.root]),
            (ref.datasetType.name,),
            units,
            (config or GatherBackgroundMetricsConfig()).thresholds(),
            1,
            rows,
            self.butler,
            gathered=True,
        )
        table._source, table._path = ref, path
        return table, config

    def _to_gather(
        self, name: str, inputs: Inputs, config: GatherBackgroundMetricsConfig | None
    ) -> CampaignTable | None:
        """Make a table that is gathered when it is read, if these are metrics of ours."""
        if (task := inputs.task(config, self.unreadable)) is None:
            return None
        units = {metric: unit.to_string() for metric, unit in task._units().items()}
        table = CampaignTable(
            inputs.kind,
            name,
            inputs.root,
            inputs.dataset_types,
            units,
            task.config.thresholds(),
            inputs.dataset_count,
            inputs.row_count,
            self.butler,
        )

        def gather(progress: Progress | None) -> Path:
            folder = Path(self._files.enter_context(tempfile.TemporaryDirectory(prefix="bgqa-")))
            inputs.write(folder / "table.parquet", task, table.unreadable, progress)
            return folder / "table.parquet"

        table._gather = gather
        return table

    def _is_stale(self, ref: DatasetRef, table: CampaignTable, source: DatasetType | None) -> bool:
        """Whether datasets came that a table should have, or replaced its rows'.

        Rows whose dataset is gone do not count, nor do tables that do not say
        what their rows are from.
        """
        if source is None:
            return False
        gathered = put_time(self.butler, ref.run, ref.datasetType.name) or 0
        runs = [run for run, names in self._runs.items() if source.name in names]
        newest = max((put_time(self.butler, run, source.name, newest=True) or 0 for run in runs), default=0)
        # It takes a dataset that came later to replace one in one RUN.
        if len(runs) == 1 and newest <= gathered:
            return False
        rows = pl.scan_parquet(table.path())
        if "dataset_id" not in rows.collect_schema().names():
            return False
        root = table.row_kind.root
        names = [name for name in source.dimensions.required if name != root]
        found = rows.select(*names, "dataset_id").unique().collect()
        known = dict(zip(found.select(names).rows(), found["dataset_id"].to_list(), strict=True))
        with self.butler.query() as query:
            for one in query.datasets(source, self.collections).where({root: table.root}):
                own = known.get(tuple(one.dataId[name] for name in names), "")
                if (own == "" and newest > gathered) or (own and own != str(one.id)):
                    return True
        return False

    def _dataset_types(self) -> list[DatasetType]:
        """Return the types of metrics that the collections have, by name."""
        infos = self.butler.collections.query_info(
            list(self.collections), flatten_chains=True, include_summary=True
        )
        self._runs = {info.name: frozenset(info.dataset_types or ()) for info in infos}
        names = {name for held in self._runs.values() for name in held}
        ours = [name for name in names if name.endswith(("_metrics", "_table"))]
        return [t for t in dataset_types(self.butler, ours) if t.storageClass_name in (_BUNDLE, *_ARROW)]

    def _roots(self, kind: RowKind, *types: DatasetType | None) -> list[str]:
        roots = set()
        for dataset_type in filter(None, types):
            with self.butler.query() as query:
                ids = query.join_dataset_search(dataset_type, self.collections).data_ids((kind.root,))
                roots |= {str(data_id[kind.root]) for data_id in ids}
        return sorted(roots)


def _ending(ref: DatasetRef, kind: RowKind) -> str:
    """Return how the name of a gathered table ends; of any other, as if it was gathered from bundles."""
    endings = sorted(kind.gathered, key=len, reverse=True)
    return next((end for end in endings if ref.datasetType.name.endswith(end)), kind.gathered[0])


def _pairs(
    kind: RowKind, types: Sequence[DatasetType]
) -> Iterator[tuple[str, DatasetType | None, DatasetType | None]]:
    """Pair the bundles and the tables of each background."""

    def of(suffix: str, dimensions: frozenset[str], *classes: str) -> dict[str, DatasetType]:
        return {
            t.name.removesuffix(suffix): t
            for t in types
            if suffix
            and t.name.endswith(suffix)
            and t.storageClass_name in classes
            and set(t.dimensions.required) == dimensions
        }

    bundles = of(kind.bundle, kind.bundle_dimensions, _BUNDLE)
    tables = of(kind.table, frozenset((kind.root, *kind.mosaic)), *_ARROW)
    for name in sorted(bundles.keys() | tables.keys()):
        yield name, bundles.get(name), tables.get(name)
