# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The campaign tables of a collection."""

from __future__ import annotations

__all__ = ("VERDICTS", "Campaign", "CampaignTable")

import contextlib
import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from astropy.time import Time

from lsst.daf.butler import Butler, DatasetRef, DatasetType, MissingDatasetTypeError
from lsst.daf.butler.time_utils import TimeConverter

from ..artifacts import local_artifact, read_artifact
from ..errors import UserError, fault_of_the_machine
from ..judge.verdict import _IN_CONTEXT, Thresholds
from ..metrics import DEFAULT_PREFIX
from ..repository import dataset_types, find_collections, open_repository
from ..tasks import GatherBackgroundMetricsConfig, GatherBackgroundMetricsTask
from ..tasks._inputs import describe
from ._gathering import Inputs
from .rows import ROW_KINDS, RowKind, Unreadable, row_schema

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH_ROWS = 8192
_BUNDLES_TRIED = 20
_VISITS_AT_ONCE = 500
_BUNDLE = "MetricMeasurementBundle"
_ARROW = ("ArrowTable", "ArrowAstropy", "ArrowNumpy", "ArrowNumpyDict", "DataFrame")
_EPOCH = TimeConverter().epoch
_JUDGED = ("kind", "verdict", "severity", "failed", "fault")

VERDICTS = ("unknown", "pass", "fail")
"""What a value or a row may amount to (`tuple`)."""

_LOG = logging.getLogger(__name__)

type Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BundleSettings:
    """What bundles say of themselves to Sasquatch's dispatcher.

    Attributes
    ----------
    prefix : `str`
        What comes before a group's name in that of its topic.
    dataset_tag : `str`
        The dataset tag.
    """

    prefix: str = DEFAULT_PREFIX
    dataset_tag: str = "Generic"


@dataclass(eq=False)
class CampaignTable:
    """Metrics of one background, of one instrument or sky map: a row an image.

    Attributes
    ----------
    kind : `str`
        What a row is of: ``detector``, ``visit``, ``stack`` (a detector in a
        filter), ``patch`` or ``tract`` (both in a band).
    name : `str`
        The background's name, with which the datasets' names begin.
    root : `str`
        Name of the instrument, or of the sky map.
    dataset_types : `tuple` [`str`, ...]
        What the rows are read from.
    bundle_type : `str`
        Name of the dataset type of bundles that have, or would have, these
        metrics.
    units : `dict` [`str`, `str`]
        Unit of each metric, by full name, in the order of the columns.
    thresholds : `~lsst.bgqa.judge.Thresholds`
        What passes.
    dataset_count : `int`
        Number of datasets that it is read from.
    row_count : `int` or `None`
        Number of rows, unreadable datasets among them; `None` where tables
        of visits or tracts would have to be opened.
    schema : `pyarrow.Schema`
        Columns of the batches.
    row_kind : `RowKind`
        What its rows are of.
    gathered : `bool`
        Whether a gather task wrote it; else it is gathered when it is read.
    differences : `bool`
        Whether the values are those of another campaign less those of this.
    unreadable : `Unreadable`
        Datasets that could not be read, when it was gathered to be read.
    not_gathered : `int`
        By how many the bundles are more than the rows that a gather task
        wrote: those that it could not read, or was not given.
    nights : `tuple` [`int`, `int`] or `None`
        First and last night to read, YYYYMMDD; by default all.
    """

    kind: str
    name: str
    root: str
    dataset_types: tuple[str, ...]
    bundle_type: str
    units: dict[str, str]
    thresholds: Thresholds
    dataset_count: int
    row_count: int | None
    schema: pa.Schema
    row_kind: RowKind = field(repr=False)
    _butler: Butler = field(repr=False)
    gathered: bool = False
    differences: bool = False
    unreadable: Unreadable = field(default_factory=Unreadable)
    not_gathered: int = 0
    nights: tuple[int, int] | None = None
    _source: DatasetRef | None = field(default=None, repr=False)
    _path: Path | None = field(default=None, repr=False)
    _begins: dict[int, int] | None = field(default=None, repr=False)
    _gather: Callable[[Progress | None], Path] | None = field(default=None, repr=False)

    def _repr_html_(self) -> str:
        from ._html import table_html

        return table_html(self)

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns that say what a row is of (`tuple` [`str`, ...])."""
        return tuple(self.row_kind.keys)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Full names of the metrics, which are the last columns (`tuple`)."""
        return tuple(self.units)

    def path(self, progress: Progress | None = None) -> Path:
        """Return the table as a Parquet file on this machine.

        Parameters
        ----------
        progress : `~collections.abc.Callable`, optional
            Called with how many datasets are gathered, and how many there
            are, if they have to be.

        Returns
        -------
        path : `pathlib.Path`
            The file, which is there until the campaign is closed.
        """
        if self._path is None:
            assert self._gather is not None
            self._path = self._gather(progress)
        return self._path

    def scan(self, progress: Progress | None = None) -> pl.LazyFrame:
        """Open the table for queries.

        Parameters
        ----------
        progress : `~collections.abc.Callable`, optional
            As that of `path`.

        Returns
        -------
        rows : `polars.LazyFrame`
            The columns of `batches`, without ``visit_begin``.
        """
        import polars as pl

        rows = pl.scan_parquet(self.path(progress), low_memory=True)
        names = rows.collect_schema().names()
        known = pl.col("dataset_id") if "dataset_id" in names else pl.lit(None, pl.String)
        run, identifier = (self._source.run, str(self._source.id)) if self._source is not None else ("", "")
        rows = rows.with_columns(
            pl.col("run") if "run" in names else pl.lit(run).alias("run"),
            pl.coalesce(known, pl.lit(identifier)).alias("dataset_id"),
            pl.col("failed", "fault", "kind").fill_null(""),
        )
        if self.nights is not None:
            rows = rows.filter(pl.col("day_obs").is_between(*self.nights))
        return rows.select(*self.keys, "run", "dataset_id", *_JUDGED, *self.units)

    def batches(self, progress: Progress | None = None) -> Iterator[pa.RecordBatch]:
        """Read the rows, some thousand at a time.

        Parameters
        ----------
        progress : `~collections.abc.Callable`, optional
            Called with how much is done, and how much there is: datasets
            where they have to be gathered, or else rows.

        Yields
        ------
        batch : `pyarrow.RecordBatch`
            Rows in the order of their visits (tracts), those that are judged
            together always in one batch. Columns are the `keys`;
            ``visit_begin`` (of visits and detectors; UTC, null if unknown);
            ``run`` and ``dataset_id`` of the dataset that the row was read
            from; ``kind``, ``verdict``, ``severity``, ``failed`` and
            ``fault`` as in a campaign's table; the metrics, ``float64``, NaN
            where undefined.

        Notes
        -----
        Memory does not depend on the number of rows.
        """
        import pyarrow.parquet as pq

        path, done = self.path(progress), 0
        if self._begins is None and "visit_begin" in self.schema.names:
            visits = self.scan().select("visit").unique().collect().to_series().sort()
            self._begins = _visit_begins(self._butler, self.root, visits.to_list())
        try:
            # Unbuffered, so that a row group is not read as a whole.
            with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16) as file:
                for rows in self._whole_mosaics(file):
                    yield self._complete(rows)
                    done += rows.num_rows
                    if progress is not None and self.gathered:
                        progress(done, file.metadata.num_rows)
        except (OSError, ValueError) as error:  # which pyarrow's errors are
            if self._source is None:
                raise
            self.unreadable.tell(self._source, error)

    def _whole_mosaics(self, file: pq.ParquetFile) -> Iterator[pa.Table]:
        """Move the beginning of a mosaic to the batch with its end."""
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = [name for name in file.schema_arrow.names if name in self.schema.names]
        rest: list[pa.RecordBatch] = []
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
            table = pa.Table.from_batches([*rest, batch])
            same = np.ones(table.num_rows, dtype=bool)
            for name in self.row_kind.mosaic:
                values = table[name].to_numpy()
                same &= values == values[-1]
            other = np.flatnonzero(~same)
            end = int(other[-1]) + 1 if len(other) else 0
            rest = table.slice(end).to_batches()
            if end:
                yield self._chosen(table.slice(0, end), pc)
        if rest:
            yield self._chosen(pa.Table.from_batches(rest), pc)

    def _chosen(self, rows: pa.Table, pc: Any) -> pa.Table:
        if self.nights is None:
            return rows
        nights = rows["day_obs"]
        first, last = self.nights
        return rows.filter(pc.and_(pc.greater_equal(nights, first), pc.less_equal(nights, last)))

    def _complete(self, rows: pa.Table) -> pa.RecordBatch:
        import pyarrow as pa
        import pyarrow.compute as pc

        columns: dict[str, Any] = {name: rows[name].combine_chunks() for name in rows.column_names}
        if self._source is not None:
            columns.setdefault("run", pa.repeat(self._source.run, len(rows)))
            known = columns.get("dataset_id", pa.nulls(len(rows), pa.string()))
            columns["dataset_id"] = pc.fill_null(known.cast(pa.string()), str(self._source.id))
        if "visit_begin" in self.schema.names:
            visits, where = np.unique(rows["visit"].to_numpy(), return_inverse=True)
            begins = pa.array([(self._begins or {}).get(visit) for visit in visits.tolist()], pa.int64())
            columns["visit_begin"] = begins.take(pa.array(where))
        return pa.record_batch(
            [columns[field.name].cast(field.type) for field in self.schema], schema=self.schema
        )

    def judged(self, name: str) -> pl.Expr:
        """Tell whether values of a metric were judged.

        Parameters
        ----------
        name : `str`
            Full name of the metric.

        Returns
        -------
        judged : `polars.Expr`
            Whether the value is finite and has a bound, or enough peers; of
            rows that are complete with those that are judged together.
        """
        import polars as pl

        finite = pl.col(name).is_finite()
        judged = finite if np.isfinite(self.thresholds.bounds(name)).any() else pl.lit(False)
        if name in self.thresholds.max_z:
            # What is judged in its context is not judged by its raw value.
            if (better := _IN_CONTEXT.get(name)) in self.units:
                finite &= ~pl.col(better).is_finite()
            group = [*self.row_kind.mosaic, "kind"]
            value = pl.when(finite).then(pl.col(name))
            scatter = (value - value.median()).abs().median().over(group)
            enough = value.count().over(group) >= self.thresholds.min_peers
            judged |= (finite & enough & (scatter > 0)).fill_null(False)
        return judged.alias(name)

    def verdict_codes(self, rows: pl.DataFrame) -> np.ndarray:
        """Judge each value of some rows.

        Parameters
        ----------
        rows : `polars.DataFrame`
            Some of its rows, with all those that are judged together.

        Returns
        -------
        codes : `numpy.ndarray`
            Numbers of ``VERDICTS``, shape (rows, metrics): a value fails if the
            column ``failed`` says so; it passes if it was judged.
        """
        codes = np.zeros((len(rows), len(self.metrics)), dtype=np.int8)
        codes[:] = rows.select(self.judged(name) for name in self.metrics).to_numpy()
        column = {name: i for i, name in enumerate(self.metrics)}
        failing = np.flatnonzero((rows["failed"] != "").to_numpy())
        for row, failed in zip(failing.tolist(), rows["failed"].gather(failing).to_list(), strict=True):
            for name in failed.split(","):
                if name in column:
                    codes[row, column[name]] = 2
        return codes

    def verdicts(self, batch: pa.RecordBatch) -> np.ndarray:
        """Judge each value of a batch.

        Parameters
        ----------
        batch : `pyarrow.RecordBatch`
            One of `batches`.

        Returns
        -------
        verdicts : `numpy.ndarray`
            ``"pass"``, ``"fail"`` or ``"unknown"``, shape (rows, metrics): a
            value fails if the column ``failed`` says so; it passes if it was
            judged, by a bound or by its peers, and is ``"unknown"`` if not.
        """
        import polars as pl

        return np.array(VERDICTS)[self.verdict_codes(pl.DataFrame(pl.from_arrow(batch)))]


class Campaign:
    """What a collection has of metrics.

    Use it as a context manager, or call `close`.

    Parameters
    ----------
    repo : `str`
        The repository: a path, URI or label.
    collection : `str`
        The collection; several with commas, glob patterns among them. A
        dataset that is in more than one of them, or of a chain, is taken from
        the first.

    Attributes
    ----------
    repo, collection : `str`
        The parameters.
    butler : `lsst.daf.butler.Butler`
        The repository, open for reading.
    collections : `tuple` [`str`, ...]
        The collections.
    tables : `tuple` [`CampaignTable`, ...]
        What there is, by kind, name, and instrument or sky map.
    unreadable : `Unreadable`
        Campaigns' tables that cannot be opened; what was gathered is read
        instead, if it is there.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if the repository cannot be opened, if there is no such
        collection, or if it has no metrics of backgrounds.
    """

    def __init__(self, repo: str, collection: str) -> None:
        self.repo, self.collection = repo, collection
        self.butler = open_repository(repo)
        self._files = contextlib.ExitStack()
        self.unreadable = Unreadable()
        self._settings: dict[tuple[str, str], BundleSettings] = {}
        self._run_times: dict[tuple[str, str], int] = {}
        try:
            self.collections = find_collections(self.butler, collection)
            self.tables = tuple(self._find())
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

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the repository, and remove what was gathered to be read."""
        self._files.close()
        self.butler.close()

    def table(self, kind: str, name: str | None = None, root: str | None = None) -> CampaignTable:
        """Return one table.

        Parameters
        ----------
        kind : `str`
            Its kind.
        name, root : `str`, optional
            Its name, its instrument or sky map; by default the first.

        Returns
        -------
        table : `CampaignTable`
            The table.

        Raises
        ------
        KeyError
            Raised if there is none.
        """
        for table in self.tables:
            if table.kind == kind and name in (None, table.name) and root in (None, table.root):
                return table
        raise KeyError((kind, name, root))

    def bundle_settings(self, table: CampaignTable) -> BundleSettings:
        """Return what a table's bundles say to Sasquatch's dispatcher.

        Parameters
        ----------
        table : `CampaignTable`
            One of the campaign's tables.

        Returns
        -------
        settings : `BundleSettings`
            What the first bundle that can be read says; the tasks' defaults
            if there is none.
        """
        key = (table.bundle_type, table.root)
        if key not in self._settings:
            self._settings[key] = self._read_settings(table)
        return self._settings[key]

    def _read_settings(self, table: CampaignTable) -> BundleSettings:
        with contextlib.suppress(MissingDatasetTypeError), self.butler.query() as query:
            refs = query.datasets(table.bundle_type, self.collections).where(
                {table.row_kind.root: table.root}
            )
            for ref in refs.limit(_BUNDLES_TRIED):
                try:
                    bundle = self.butler.get(ref)
                except Exception:
                    continue  # named when rows are read
                return BundleSettings(bundle.metricNamePrefix, bundle.dataset_identifier or "Generic")
        return BundleSettings()

    def run_time(self, run: str, table: CampaignTable) -> int:
        """Return the time of a RUN collection.

        Parameters
        ----------
        run : `str`
            The collection.
        table : `CampaignTable`
            A table that has datasets in it.

        Returns
        -------
        time : `int`
            Microseconds since 1970, UTC: what the name ends with, as in
            ``u/me/run/20261124T222025Z``, by which Sasquatch's dispatcher
            goes, too; otherwise, when the first of the table's datasets
            came into it.
        """
        stamp = run.rsplit("/", 1)[-1]
        with contextlib.suppress(ValueError):
            named = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return int(named.timestamp()) * 1_000_000
        key = (run, table.dataset_types[0])
        if key not in self._run_times:
            self._run_times[key] = min(
                (time for name in table.dataset_types if (time := self._put_time(run, name)) is not None),
                default=0,
            )
        return self._run_times[key]

    def _put_time(self, run: str, dataset_type: str, newest: bool = False) -> int | None:
        with self.butler.query() as query:
            rows = (
                query.join_dataset_search(dataset_type, [run])
                .general(
                    self.butler.get_dataset_type(dataset_type).dimensions,
                    dataset_fields={dataset_type: {"ingest_date"}},
                    find_first=False,
                )
                .order_by(f"{'-' if newest else ''}{dataset_type}.ingest_date")
                .limit(1)
            )
            for row in rows:
                return int(_microseconds(row[f"{dataset_type}.ingest_date"]))
        return None

    def _find(self) -> Iterator[CampaignTable]:
        types = self._dataset_types()
        for kind in ROW_KINDS:
            tables: dict[tuple[str, str], CampaignTable] = {}
            # Of tables that are out of date: what they were gathered from, and how.
            stale: dict[tuple[str, str], tuple[bool, GatherBackgroundMetricsConfig | None]] = {}
            for ref, table in self._gathered(kind, types):
                key = table.name, table.root
                if key in tables or key in stale:
                    continue
                config = gather_config(self.butler, ref)
                if name := getattr(config and config.connections, "backgroundName", ""):
                    key = name, table.root
                    table = replace(table, name=name, bundle_type=name + kind.bundle)
                if key in tables or key in stale:
                    continue
                if self._is_stale(ref, table, types):
                    _LOG.warning(
                        "%s is older than some of the metrics that it was gathered from: they are gathered "
                        "anew for this; gather them again.",
                        describe(ref),
                    )
                    stale[key] = not ref.datasetType.name.endswith(kind.gathered[1]), config
                    continue
                table.thresholds = (config or GatherBackgroundMetricsConfig()).thresholds()
                tables[key] = table
            for name, bundles, of_mosaics in _pairs(kind, types):
                for root in self._roots(kind, bundles, of_mosaics):
                    if there := tables.get((name, root)):
                        if bundles is not None:
                            inputs = Inputs(self.butler, self.collections, kind, root, bundles, None)
                            there.not_gathered = max(0, inputs.dataset_count - (there.row_count or 0))
                        continue
                    from_bundles, config = stale.get((name, root), (False, None))
                    others = None if from_bundles else of_mosaics
                    inputs = Inputs(self.butler, self.collections, kind, root, bundles, others)
                    if (task := inputs.task(config)) is not None:
                        tables[name, root] = self._to_gather(kind, name, root, inputs, task)
            yield from (tables[key] for key in sorted(tables))

    def _gathered(
        self, kind: RowKind, types: Sequence[DatasetType]
    ) -> Iterator[tuple[DatasetRef, CampaignTable]]:
        """Open the campaign tables of a kind, the preferred first."""
        if not kind.gathered:
            return
        candidates = [
            dataset_type
            for dataset_type in types
            if set(dataset_type.dimensions.required) == {kind.root}
            and dataset_type.storageClass_name in _ARROW
        ]
        # Of one background, the table that was gathered from bundles counts.
        for dataset_type in sorted(candidates, key=lambda t: (t.name.endswith(kind.gathered[1]), t.name)):
            with self.butler.query() as query:
                refs = sorted(query.datasets(dataset_type, self.collections))
            for ref in refs:
                try:
                    yield ref, self._from_file(kind, ref)
                except Exception as error:
                    # Any other table may have one row an instrument.
                    if dataset_type.name.endswith(kind.gathered):
                        self.unreadable.tell(ref, error)

    def _from_file(self, kind: RowKind, ref: DatasetRef) -> CampaignTable:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(self._files.enter_context(local_artifact(self.butler.getURI(ref))).ospath)
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, int(file.metadata.num_rows)
        known = [*kind.keys, *_JUDGED]
        if missing := [name for name in known if name not in schema.names]:
            raise ValueError(f"the table lacks the column(s) {', '.join(missing)}")
        units = {
            field.name: (field.metadata or {}).get(b"unit", b"").decode()
            for field in schema
            if field.name not in known and pa.types.is_floating(field.type)
        }
        name, root = ref.datasetType.name, str(ref.dataId[kind.root])
        suffixes = (*sorted(kind.gathered, key=len, reverse=True), "_table")
        background = name.removesuffix(next((end for end in suffixes if name.endswith(end)), ""))
        table = self._table(kind, background, root, (name,), units, Thresholds(), 1, rows)
        table.gathered, table._source, table._path = True, ref, path
        return table

    def _to_gather(
        self, kind: RowKind, name: str, root: str, inputs: Inputs, task: GatherBackgroundMetricsTask
    ) -> CampaignTable:
        types = tuple(name for name, count in inputs.counts.items() if count)
        units = {metric: unit.to_string() for metric, unit in task._units().items()}
        table = self._table(
            kind,
            name,
            root,
            types,
            units,
            task.config.thresholds(),
            inputs.dataset_count,
            inputs.row_count,
        )

        def gather(progress: Progress | None) -> Path:
            import pyarrow.parquet as pq

            done = 0

            def advance(count: int) -> None:
                nonlocal done
                done += count
                if progress is not None:
                    progress(done, inputs.dataset_count)

            folder = Path(self._files.enter_context(tempfile.TemporaryDirectory(prefix="bgqa-")))
            pq.write_table(
                inputs.gather(task, table.unreadable, advance), folder / "table.parquet", compression="zstd"
            )
            return folder / "table.parquet"

        table._gather = gather
        return table

    def _table(
        self,
        kind: RowKind,
        name: str,
        root: str,
        types: tuple[str, ...],
        units: dict[str, str],
        thresholds: Thresholds,
        datasets: int,
        rows: int | None,
    ) -> CampaignTable:
        about = {"kind": kind.name, "name": name, "dataset_type": name + kind.bundle, kind.root: root}
        return CampaignTable(
            kind.name,
            name,
            root,
            types,
            name + kind.bundle,
            units,
            thresholds,
            datasets,
            rows,
            row_schema(kind, units, about),
            kind,
            self.butler,
        )

    def _is_stale(self, ref: DatasetRef, table: CampaignTable, types: Sequence[DatasetType]) -> bool:
        """Whether datasets came that a table should have, or replaced its rows'.

        Rows whose dataset is gone do not count, nor do tables that do not say
        what their rows are from.
        """
        import polars as pl

        kind = table.row_kind
        suffix = kind.table if ref.datasetType.name.endswith(kind.gathered[1]) else kind.bundle
        source = next((t for t in types if t.name == table.name + suffix), None)
        if source is None:
            return False
        gathered = self._put_time(ref.run, ref.datasetType.name) or 0
        runs = [run for run, names in self._runs.items() if source.name in names]
        newest = max((self._put_time(run, source.name, newest=True) or 0 for run in runs), default=0)
        # It takes a dataset that came later to replace one in one RUN.
        if len(runs) == 1 and newest <= gathered:
            return False
        names = [name for name in source.dimensions.required if name != kind.root]
        rows = pl.scan_parquet(table.path())
        if "dataset_id" not in rows.collect_schema().names():
            return False
        found = rows.select(*names, "dataset_id").unique().collect()
        known = dict(zip(found.select(names).rows(), found["dataset_id"].to_list(), strict=True))
        inputs = Inputs(self.butler, self.collections, kind, table.root, source, None)
        for ref_ in itertools.chain.from_iterable(bundles for _, bundles in inputs.windows()):
            own = known.get(tuple(ref_.dataId[name] for name in names), "")
            if (own == "" and newest > gathered) or (own and own != str(ref_.id)):
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
        return [
            dataset_type
            for dataset_type in dataset_types(self.butler, ours)
            if dataset_type.storageClass_name in (_BUNDLE, *_ARROW)
        ]

    def _roots(self, kind: RowKind, *types: DatasetType | None) -> list[str]:
        roots = set()
        for dataset_type in types:
            if dataset_type is not None:
                with self.butler.query() as query:
                    ids = query.join_dataset_search(dataset_type, self.collections).data_ids((kind.root,))
                    roots |= {str(data_id[kind.root]) for data_id in ids}
        return sorted(roots)


def gather_config(butler: Butler, ref: DatasetRef) -> GatherBackgroundMetricsConfig | None:
    """Find the configuration of the task that wrote a campaign's table.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    ref : `lsst.daf.butler.DatasetRef`
        The table.

    Returns
    -------
    config : `~lsst.bgqa.tasks.GatherBackgroundMetricsConfig` or `None`
        The configuration; `None` if the table's RUN does not have it.
    """
    info = butler.collections.get_info(ref.run, include_summary=True)
    names = [name for name in info.dataset_types or () if name.endswith("_config")]
    # A RUN may hold the configuration of a whole data release pipeline, but
    # the label of ours most likely begins so.
    for name in sorted(names, key=lambda name: (not name.startswith("gather"), name)):
        for candidate in butler.query_datasets(name, ref.run, explain=False):
            with contextlib.suppress(Exception):
                if b"gather_background_metrics" not in read_artifact(butler.getURI(candidate)):
                    continue
                config = butler.get(candidate)
                if (
                    isinstance(config, GatherBackgroundMetricsConfig)
                    and f"{config.connections.campaignName}_table" == ref.datasetType.name
                ):
                    return config
    return None


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
    tables = of(kind.table, kind.table_dimensions, *_ARROW)
    for name in sorted(bundles.keys() | tables.keys()):
        yield name, bundles.get(name), tables.get(name)


def _visit_begins(butler: Butler, instrument: str, visits: Sequence[int]) -> dict[int, int]:
    """Look up when visits began: microseconds of UTC since 1970, without leap seconds."""
    times: dict[int, int] = {}
    for some in itertools.batched(visits, _VISITS_AT_ONCE):
        with butler.query() as query:
            for record in (
                query.dimension_records("visit")
                .where({"instrument": instrument})
                .where("visit IN (some)", bind={"some": list(some)})
            ):
                span = record.timespan
                if span is not None and not span.isEmpty() and span.begin is not None:
                    # To make a Time of each takes longer than all the rest.
                    times[record.id] = span.nsec[0]
    if not times:
        return {}
    days, rest = np.divmod(np.array(list(times.values())), 86_400_000_000_000)
    begins = Time(_EPOCH.jd1 + days, _EPOCH.jd2 + rest / 86_400e9, format="jd", scale="tai")
    return dict(zip(times, _microseconds(begins).tolist(), strict=True))


def _microseconds(time: Time) -> Any:
    utc = time.utc
    # Two doubles, so that nothing is lost in their sum.
    days, rest = np.asarray(utc.jd1) - 2440587.5, np.asarray(utc.jd2)
    return (np.rint(days * 86_400_000_000) + np.rint(rest * 86_400_000_000)).astype(np.int64)
