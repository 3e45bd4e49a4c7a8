# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The metrics that a collection has, as rows."""

from __future__ import annotations

__all__ = ("Campaign", "MetricFamily")

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lsst.daf.butler import DatasetRef, DatasetType, MissingDatasetTypeError

from ..errors import UserError, fault_of_the_machine
from ..judge.verdict import Thresholds, judge_rows
from ..metrics import DEFAULT_PREFIX
from ..repository import dataset_types, find_collections, open_repository
from ..tasks import GatherBackgroundMetricsConfig, GatherCoaddMetricsConfig
from ..tasks._inputs import describe
from ._gathered import GatheredReader, gather_config
from ._kinds import KINDS, MetricUnits, RowKind, Rows, Unreadable, microseconds, row_schema
from ._pieces import PieceReader

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 4096
_BUNDLES_TRIED = 20
_BUNDLE = "MetricMeasurementBundle"
_ARROW = ("ArrowTable", "ArrowAstropy", "ArrowNumpy", "ArrowNumpyDict", "DataFrame")

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
class MetricFamily:
    """Metrics of one kind, of one background, of one instrument or sky map.

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
    gathered : `bool`
        Whether they are read from a campaign's table.
    keys : `tuple` [`str`, ...]
        Columns that say what a row is of: the data ID with what it implies.
    units : `dict` [`str`, `str`]
        Unit of each metric, by full name, in the order of the columns.
    thresholds : `~lsst.bgqa.judge.Thresholds`
        What passes: those that the table was gathered with; of detectors and
        patches that were not gathered, the gather tasks' defaults; otherwise
        the catalogue's.
    schema : `pyarrow.Schema`
        Columns of the batches.
    dataset_count : `int`
        Number of datasets.
    row_count : `int` or `None`
        Number of rows, unreadable datasets among them; `None` where tables
        of visits or tracts would have to be opened.
    unreadable : `Unreadable`
        Datasets that could not be read, as of the last time that `batches`
        was run through.
    not_gathered : `int`
        By how many the bundles are more than the rows of the campaign's
        table: those that came later, or could not be read.
    kinds : `~collections.abc.Mapping` [`str`, `str`]
        Kind of a detector, by the beginning of its name, where rows are
        judged here as a gather task would.
    """

    kind: str
    name: str
    root: str
    dataset_types: tuple[str, ...]
    bundle_type: str
    gathered: bool
    keys: tuple[str, ...]
    units: MetricUnits
    thresholds: Thresholds
    schema: pa.Schema
    dataset_count: int
    row_count: int | None
    _kind: RowKind = field(repr=False)
    _reader: GatheredReader | PieceReader = field(repr=False)
    unreadable: Unreadable = field(default_factory=Unreadable)
    not_gathered: int = 0
    kinds: Mapping[str, str] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        from ._html import family_html

        return family_html(self)

    @property
    def root_dimension(self) -> str:
        """``instrument`` or ``skymap`` (`str`)."""
        return self._kind.root

    @property
    def metrics(self) -> tuple[str, ...]:
        """Full names of the metrics, which are the last columns (`tuple`)."""
        return tuple(self.units)

    def batches(self, progress: Progress | None = None) -> Iterator[pa.RecordBatch]:
        """Read the rows, some thousand at a time.

        Parameters
        ----------
        progress : `~collections.abc.Callable`, optional
            Called with how much is done, and how much there is: rows of a
            campaign's table, or else datasets.

        Yields
        ------
        batch : `pyarrow.RecordBatch`
            Rows in the order of their visits (tracts), those that are judged
            together always in one batch. Columns are the `keys`;
            ``visit_begin`` (of visits and detectors; UTC, null if unknown);
            ``run`` and ``dataset_id`` of the dataset that the row was read
            from; ``kind``, ``verdict``, ``severity`` and ``failed`` as in a
            campaign's table; the metrics, ``float64``, NaN where undefined.

        Notes
        -----
        Memory does not depend on the number of rows.
        """
        self.unreadable = Unreadable()
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(done, total)

        if isinstance(self._reader, GatheredReader):
            total = self._reader.row_count
            yield from self._reader.batches(self.schema, self.unreadable, advance)
            return
        total = self.dataset_count
        waiting: list[pa.RecordBatch] = []
        for rows in self._reader.groups(self.units, self.unreadable, advance):
            waiting.append(self._judge(rows))
            if sum(batch.num_rows for batch in waiting) >= _BATCH_ROWS:
                yield _join(waiting)
                waiting = []
        if waiting:
            yield _join(waiting)

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
        values = _matrix(batch, self.metrics)
        kinds = batch["kind"].to_pylist()
        judged = np.zeros(values.shape, dtype=bool)
        for first, last in _runs_of_equals(batch, self._kind.peers):
            judgement = judge_rows(self.metrics, values[first:last], kinds[first:last], self.thresholds)
            judged[first:last] = judgement.judged
        verdicts = np.where(judged, "pass", "unknown")
        column = {name: i for i, name in enumerate(self.metrics)}
        for row, failed in enumerate(batch["failed"].to_pylist()):
            for name in failed.split(",") if failed else ():
                if name in column:
                    verdicts[row, column[name]] = "fail"
        return verdicts

    def _kind_of(self, name: str) -> str:
        fitting = [prefix for prefix in self.kinds if name.startswith(prefix)]
        return self.kinds[max(fitting, key=len)] if fitting else ""

    def _judge(self, rows: Rows) -> pa.RecordBatch:
        import pyarrow as pa

        names = rows.keys.get("detector_name", [""] * len(rows))
        kinds = [self._kind_of(name or "") for name in names]
        judgement = judge_rows(self.metrics, rows.values, kinds, self.thresholds)
        numbers = range(len(rows))
        columns: dict[str, Any] = {
            **rows.keys,
            "run": rows.runs,
            "dataset_id": rows.ids,
            "kind": kinds,
            "verdict": judgement.verdicts,
            "severity": [judgement.severity(i) for i in numbers],
            "failed": [",".join(judgement.failed(i)) for i in numbers],
            "fault": [
                judgement.fault(
                    i, dict(zip(self.metrics, rows.values[i].tolist(), strict=True)), known=rows.known[i]
                )
                for i in numbers
            ],
            **{name: np.ascontiguousarray(rows.values[:, i]) for i, name in enumerate(self.metrics)},
        }
        if "visit_begin" in self.schema.names:
            columns["visit_begin"] = pa.array(rows.begins, pa.int64()).cast(
                self.schema.field("visit_begin").type
            )
        return pa.record_batch(
            [pa.array(columns[field.name], field.type) for field in self.schema], schema=self.schema
        )


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
    families : `tuple` [`MetricFamily`, ...]
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
        self.unreadable = Unreadable()
        self._settings: dict[tuple[str, str], BundleSettings] = {}
        self._run_times: dict[tuple[str, str], int] = {}
        try:
            self.collections = find_collections(self.butler, collection)
            self.families = tuple(self._find())
            if not self.families:
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
        """Close the repository."""
        self.butler.close()

    def family(self, kind: str, name: str | None = None, root: str | None = None) -> MetricFamily:
        """Return one family.

        Parameters
        ----------
        kind : `str`
            Its kind.
        name, root : `str`, optional
            Its name, its instrument or sky map; by default the first.

        Returns
        -------
        family : `MetricFamily`
            The family.

        Raises
        ------
        KeyError
            Raised if there is none.
        """
        for family in self.families:
            if family.kind == kind and name in (None, family.name) and root in (None, family.root):
                return family
        raise KeyError((kind, name, root))

    def bundle_settings(self, family: MetricFamily) -> BundleSettings:
        """Return what a family's bundles say to Sasquatch's dispatcher.

        Parameters
        ----------
        family : `MetricFamily`
            One of the campaign's families.

        Returns
        -------
        settings : `BundleSettings`
            What the first bundle that can be read says; the tasks' defaults
            if there is none.
        """
        key = (family.bundle_type, family.root)
        if key not in self._settings:
            self._settings[key] = self._read_settings(family)
        return self._settings[key]

    def _read_settings(self, family: MetricFamily) -> BundleSettings:
        with contextlib.suppress(MissingDatasetTypeError), self.butler.query() as query:
            refs = query.datasets(family.bundle_type, self.collections).where(
                {family.root_dimension: family.root}
            )
            for ref in refs.limit(_BUNDLES_TRIED):
                try:
                    bundle = self.butler.get(ref)
                except Exception:
                    continue  # named when rows are read
                return BundleSettings(bundle.metricNamePrefix, bundle.dataset_identifier or "Generic")
        return BundleSettings()

    def run_time(self, run: str, family: MetricFamily) -> int:
        """Return the time of a RUN collection.

        Parameters
        ----------
        run : `str`
            The collection.
        family : `MetricFamily`
            A family that has datasets in it.

        Returns
        -------
        time : `int`
            Microseconds since 1970, UTC: what the name ends with, as in
            ``u/me/run/20261124T222025Z``, by which Sasquatch's dispatcher
            goes, too; otherwise, when the first of the family's datasets
            came into it.
        """
        stamp = run.rsplit("/", 1)[-1]
        with contextlib.suppress(ValueError):
            named = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return int(named.timestamp()) * 1_000_000
        key = (run, family.dataset_types[0])
        if key not in self._run_times:
            self._run_times[key] = min(
                (time for name in family.dataset_types if (time := self._put_time(run, name)) is not None),
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
                return microseconds(row[f"{dataset_type}.ingest_date"])
        return None

    def _find(self) -> Iterator[MetricFamily]:
        types = self._dataset_types()
        for kind in KINDS:
            families: dict[tuple[str, str], MetricFamily] = {}
            overtaken: dict[tuple[str, str], GatherBackgroundMetricsConfig] = {}
            from_bundles: set[tuple[str, str]] = set()
            for ref, name, table, config in self._gathered(kind, types):
                root = str(ref.dataId[kind.root])
                if (name, root) in families or (name, root) in overtaken:
                    continue
                config = config or GatherBackgroundMetricsConfig()
                if self._is_overtaken(kind, ref, name, table, types):
                    _LOG.warning(
                        "%s is older than some of the metrics that it was gathered from: they are read one "
                        "by one; gather them again.",
                        describe(ref),
                    )
                    overtaken[name, root] = config
                    if not ref.datasetType.name.endswith(kind.gathered[1]):
                        from_bundles.add((name, root))
                    continue
                families[name, root] = self._family(
                    kind, name, root, (ref.datasetType.name,), table, table.units(), config.thresholds()
                )
            default = GatherCoaddMetricsConfig if kind.root == "skymap" else GatherBackgroundMetricsConfig
            thresholds = default().thresholds() if kind.gathered else Thresholds()
            for name, bundles, tables in _pieces(kind, types):
                for root in self._roots(kind, bundles, tables):
                    if family := families.get((name, root)):
                        if bundles is not None and family.row_count is not None:
                            pieces = PieceReader(self.butler, self.collections, kind, root, bundles, None)
                            family.not_gathered = max(0, pieces.dataset_count - family.row_count)
                        continue
                    others = None if (name, root) in from_bundles else tables
                    pieces = PieceReader(self.butler, self.collections, kind, root, bundles, others)
                    if (units := pieces.units()) is not None:
                        names = tuple(name for name, count in pieces.counts.items() if count)
                        config = overtaken.get((name, root))
                        limits = config.thresholds() if config is not None else thresholds
                        family = self._family(kind, name, root, names, pieces, units, limits)
                        families[name, root] = family
                        if config is not None:
                            family.kinds = dict(config.kinds)
            yield from (families[key] for key in sorted(families))

    def _is_overtaken(
        self,
        kind: RowKind,
        ref: DatasetRef,
        name: str,
        table: GatheredReader,
        types: Sequence[DatasetType],
    ) -> bool:
        """Whether a table has rows of datasets that were replaced."""
        from_tables = ref.datasetType.name.endswith(kind.gathered[1])
        wanted = name + (kind.table if from_tables else kind.bundle)
        source = next((t for t in types if t.name == wanted), None)
        if source is None:
            return False
        runs = [run for run, names in self._runs.items() if wanted in names]
        if len(runs) == 1:
            # It takes a dataset that came later to replace one in one RUN.
            gathered = self._put_time(ref.run, ref.datasetType.name)
            newest = self._put_time(runs[0], wanted, newest=True)
            if gathered is None or newest is None or newest <= gathered:
                return False
        pieces = PieceReader(self.butler, self.collections, kind, str(ref.dataId[kind.root]), source, None)
        return table.is_overtaken(pieces, source)

    def _family(
        self,
        kind: RowKind,
        name: str,
        root: str,
        dataset_types: tuple[str, ...],
        reader: GatheredReader | PieceReader,
        units: MetricUnits,
        thresholds: Thresholds,
    ) -> MetricFamily:
        bundle_type = name + kind.bundle
        about = {"kind": kind.name, "name": name, "dataset_type": bundle_type, kind.root: root}
        return MetricFamily(
            kind.name,
            name,
            root,
            dataset_types,
            bundle_type,
            isinstance(reader, GatheredReader),
            tuple(kind.keys),
            units,
            thresholds,
            row_schema(kind, units, about),
            reader.dataset_count,
            reader.row_count,
            kind,
            reader,
        )

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

    def _gathered(
        self, kind: RowKind, types: Sequence[DatasetType]
    ) -> Iterator[tuple[DatasetRef, str, GatheredReader, GatherBackgroundMetricsConfig | None]]:
        """Open the campaigns' tables of a kind, the preferred first."""
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
            for ref in self._refs(dataset_type):
                try:
                    reader = GatheredReader(self.butler, kind, ref)
                except Exception as error:
                    if dataset_type.name.endswith(kind.gathered):
                        self.unreadable.add(ref, error)
                    continue  # any other table may have one row an instrument
                config = gather_config(self.butler, ref)
                name = str(config.connections.backgroundName) if config is not None else ""
                yield ref, name or _without_suffix(dataset_type.name, kind.gathered), reader, config

    def _refs(self, dataset_type: DatasetType) -> list[DatasetRef]:
        with self.butler.query() as query:
            return sorted(query.datasets(dataset_type, self.collections))

    def _roots(self, kind: RowKind, *types: DatasetType | None) -> list[str]:
        roots = set()
        for dataset_type in types:
            if dataset_type is not None:
                with self.butler.query() as query:
                    ids = query.join_dataset_search(dataset_type, self.collections).data_ids((kind.root,))
                    roots |= {str(data_id[kind.root]) for data_id in ids}
        return sorted(roots)


def _pieces(
    kind: RowKind, types: Sequence[DatasetType]
) -> Iterator[tuple[str, DatasetType | None, DatasetType | None]]:
    """Pair the bundles and the tables of each background."""
    bundles = {
        t.name.removesuffix(kind.bundle): t
        for t in types
        if t.name.endswith(kind.bundle)
        and t.storageClass_name == _BUNDLE
        and set(t.dimensions.required) == kind.bundle_dimensions
    }
    tables = {
        t.name.removesuffix(kind.table): t
        for t in types
        if kind.table
        and t.name.endswith(kind.table)
        and t.storageClass_name in _ARROW
        and set(t.dimensions.required) == kind.table_dimensions
    }
    for name in sorted(bundles.keys() | tables.keys()):
        yield name, bundles.get(name), tables.get(name)


def _without_suffix(name: str, suffixes: Sequence[str]) -> str:
    for suffix in sorted(suffixes, key=len, reverse=True):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name.removesuffix("_table")


def _join(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    import pyarrow as pa

    (joined,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return joined


def _matrix(batch: pa.RecordBatch, names: Sequence[str]) -> np.ndarray:
    values = np.empty((batch.num_rows, len(names)))
    for i, name in enumerate(names):
        values[:, i] = batch[name].to_numpy(zero_copy_only=False)
    return values


def _runs_of_equals(batch: pa.RecordBatch, names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Return where rows that agree in some columns begin and end."""
    if not batch.num_rows:
        return
    new = np.zeros(batch.num_rows, dtype=bool)
    for name in names:
        values = batch[name].to_numpy(zero_copy_only=False)
        new[1:] |= values[1:] != values[:-1]
    starts = [0, *np.flatnonzero(new).tolist(), batch.num_rows]
    yield from itertools.pairwise(starts)
