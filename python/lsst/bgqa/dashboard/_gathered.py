# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Tables of campaigns, read part by part, and the thresholds behind them."""

from __future__ import annotations

__all__ = ("GatheredReader", "gather_config")

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lsst.daf.butler import Butler, DatasetRef, DatasetType

from ..artifacts import local_artifact, read_artifact
from ..tasks import GatherBackgroundMetricsConfig
from ._kinds import MetricUnits, RowKind, Unreadable, check_columns
from ._pieces import PieceReader, VisitTime, visit_times

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_BATCH_ROWS = 8192
_JUDGED = ("kind", "verdict", "severity", "failed", "fault")


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


class GatheredReader:
    """Reads the table that a gather task wrote.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    kind : `RowKind`
        What the rows are of.
    ref : `lsst.daf.butler.DatasetRef`
        The table.

    Raises
    ------
    Exception
        Raised if it cannot be read: by the datastore, by pyarrow, or by
        itself (`ValueError`) if it is not such a table.
    """

    dataset_count = 1

    def __init__(self, butler: Butler, kind: RowKind, ref: DatasetRef) -> None:
        self._butler = butler
        self._kind = kind
        self._ref = ref
        with self._open() as file:
            schema = file.schema_arrow
            self.row_count = int(file.metadata.num_rows)
        check_columns(schema.names, [*kind.keys, *_JUDGED])
        import pyarrow as pa

        known = {*kind.keys, *_JUDGED}
        self._units = {
            field.name: (field.metadata or {}).get(b"unit", b"").decode()
            for field in schema
            if field.name not in known and pa.types.is_floating(field.type)
        }

    def units(self) -> MetricUnits:
        """Return the metrics and their units.

        Returns
        -------
        units : `dict` [`str`, `str`]
            Units by full name.
        """
        return dict(self._units)

    def is_overtaken(self, pieces: PieceReader, source: DatasetType) -> bool:
        """Whether a row's dataset was replaced since it was gathered.

        Parameters
        ----------
        pieces : `PieceReader`
            Finds the datasets that there are now.
        source : `lsst.daf.butler.DatasetType`
            What the table was gathered from.

        Returns
        -------
        overtaken : `bool`
            Whether one of them has the data ID of a row, and another UUID.
            Rows whose dataset is gone do not count, nor do tables that do
            not say what their rows are from.
        """
        names = [name for name in source.dimensions.required if name != self._kind.root]
        with self._open() as file:
            if "dataset_id" not in file.schema_arrow.names:
                return False
            for batch in file.iter_batches(_BATCH_ROWS, columns=[*names, "dataset_id"], use_threads=False):
                if not batch.num_rows:
                    continue
                rows = zip(*(batch[name].to_pylist() for name in names), strict=True)
                ids = dict(zip(rows, batch["dataset_id"].to_pylist(), strict=True))
                window = batch[self._kind.window].to_numpy()
                for ref in pieces.between(source, int(window.min()), int(window.max())):
                    known = ids.get(tuple(ref.dataId[name] for name in names))
                    if known is not None and known != str(ref.id):
                        return True
        return False

    @contextlib.contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        import pyarrow.parquet as pq

        with local_artifact(self._butler.getURI(self._ref)) as local:
            # Unbuffered, so that a row group is not read as a whole.
            with pq.ParquetFile(local.ospath, pre_buffer=False, buffer_size=1 << 16) as file:
                yield file

    def batches(
        self, schema: pa.Schema, unreadable: Unreadable, advance: Callable[[int], None]
    ) -> Iterator[pa.RecordBatch]:
        """Read the rows; those that were judged together are in one batch.

        Parameters
        ----------
        schema : `pyarrow.Schema`
            The columns.
        unreadable : `Unreadable`
            Takes the table if it cannot be read to its end.
        advance : `~collections.abc.Callable`
            Called with numbers of rows that are done.

        Yields
        ------
        batch : `pyarrow.RecordBatch`
            Some thousand rows.
        """
        columns = [name for name in schema.names if name not in ("visit_begin", "run", "dataset_id")]
        try:
            with self._open() as file:
                for part in _whole_groups(
                    file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False), self._kind.peers
                ):
                    yield self._complete(part, schema)
                    advance(part.num_rows)
        except (OSError, ValueError) as error:  # which pyarrow's errors are
            unreadable.add(self._ref, error)

    def _complete(self, part: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
        import pyarrow as pa

        rows = part.num_rows
        columns: list[Any] = []
        for field in schema:
            match field.name:
                case "visit_begin":
                    columns.append(self._begins(part["visit"].to_numpy(), field.type))
                case "run":
                    columns.append(pa.repeat(pa.scalar(self._ref.run), rows))
                case "dataset_id":
                    columns.append(pa.repeat(pa.scalar(str(self._ref.id)), rows))
                case name:
                    columns.append(part[name].combine_chunks().cast(field.type))
        return pa.record_batch(columns, schema=schema)

    def _begins(self, visits: np.ndarray, type_: pa.DataType) -> pa.Array:
        import pyarrow as pa

        unique, where = np.unique(visits, return_inverse=True)
        times = visit_times(self._butler, str(self._ref.dataId["instrument"]), map(int, unique))
        begins = [times.get(int(visit), VisitTime()).begin for visit in unique]
        values = pa.array(begins, pa.int64()).cast(type_)
        return values.take(pa.array(where))


def _whole_groups(batches: Iterator[pa.RecordBatch], peers: Sequence[str]) -> Iterator[pa.Table]:
    """Move the beginning of a group of peers to the batch with its end."""
    import pyarrow as pa

    rest: list[pa.RecordBatch] = []
    for batch in batches:
        rest.append(batch)
        table = pa.Table.from_batches(rest)
        same = np.ones(table.num_rows, dtype=bool)
        for name in peers:
            values = table[name].to_numpy(zero_copy_only=False)
            same &= values == values[-1]
        other = np.flatnonzero(~same)
        if len(other):
            end = int(other[-1]) + 1
            yield table.slice(0, end)
            rest = table.slice(end).to_batches()
    if rest:
        yield pa.Table.from_batches(rest)
