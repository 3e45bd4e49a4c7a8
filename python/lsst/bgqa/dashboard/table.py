# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""One campaign table: how it is read, and what its values amount to."""

from __future__ import annotations

__all__ = ("VERDICTS", "CampaignTable", "Progress")

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from lsst.daf.butler import Butler, DatasetRef

from ..judge import Thresholds
from ..judge.verdict import _IN_CONTEXT
from ._provenance import visit_begins
from .rows import JUDGED, RowKind, Unreadable, row_schema

_BATCH_ROWS = 8192

VERDICTS = ("unknown", "pass", "fail")
"""What a value or a row may amount to."""

type Progress = Callable[[int, int], None]
"""Called with how much is done, and how much there is."""


@dataclass(eq=False)
class CampaignTable:
    """Metrics of one background, of one instrument or sky map: a row an image."""

    row_kind: RowKind = field(repr=False)
    name: str
    """The background's name, with which the datasets' names begin."""
    root: str
    """Name of the instrument, or of the sky map."""
    dataset_types: tuple[str, ...]
    """What the rows are read from."""
    units: dict[str, str]
    """Unit of each metric, by full name, in the order of the columns."""
    thresholds: Thresholds
    """What passes."""
    dataset_count: int
    """Number of datasets that it is read from."""
    row_count: int | None
    """Number of rows, unreadable datasets among them; `None` where tables of
    visits or tracts would have to be opened.
    """
    _butler: Butler = field(repr=False)
    gathered: bool = False
    """Whether a gather task wrote it; else it is gathered when it is read."""
    differences: bool = False
    """Whether the values are those of another campaign less those of this."""
    unreadable: Unreadable = field(default_factory=Unreadable)
    """Datasets that could not be read, when it was gathered to be read."""
    not_gathered: int = 0
    """By how many the bundles are more than the rows that a gather task wrote:
    those that it could not read, or was not given.
    """
    nights: tuple[int, int] | None = None
    """First and last night to read, YYYYMMDD; by default all."""
    _source: DatasetRef | None = field(default=None, repr=False)
    _path: Path | None = field(default=None, repr=False)
    _gather: Callable[[Progress | None], Path] | None = field(default=None, repr=False)

    @property
    def kind(self) -> str:
        """What a row is of: ``detector``, ``visit``, ``stack`` (a detector in
        a filter), ``patch`` or ``tract`` (both in a band).
        """
        return self.row_kind.name

    @property
    def bundle_type(self) -> str:
        """Name of the dataset type of bundles that have, or would have, these
        metrics.
        """
        return self.name + self.row_kind.bundle

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns that say what a row is of."""
        return tuple(self.row_kind.keys)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Full names of the metrics, which are the last columns."""
        return tuple(self.units)

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of the batches."""
        about = {"kind": self.kind, "name": self.name, "dataset_type": self.bundle_type}
        return row_schema(self.row_kind, self.units, {**about, self.row_kind.root: self.root})

    def _repr_html_(self) -> str:
        from ._html import table_html

        return table_html(self)

    def path(self, progress: Progress | None = None) -> Path:
        """Return the table as a Parquet file, there until the campaign is closed.

        What is not gathered is gathered first; of that ``progress`` tells.
        """
        if self._path is None:
            assert self._gather is not None
            self._path = self._gather(progress)
        return self._path

    def scan(self, progress: Progress | None = None) -> pl.LazyFrame:
        """Open the table for queries: the columns of `batches` without ``visit_begin``."""
        return self._completed(pl.scan_parquet(self.path(progress), low_memory=True))

    def frames(self, progress: Progress | None = None) -> Iterator[pl.DataFrame]:
        """Read the rows, some thousand at a time, in the columns of `batches`.

        Memory does not depend on the number of rows.
        """
        path, done = self.path(progress), 0
        begins = self._begins if "visit" in self.keys else None
        try:
            # Unbuffered, so that a row group is not read as a whole.
            with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16) as file:
                for whole in self._whole_mosaics(file):
                    rows = self._completed(whole.lazy()).collect()
                    if begins is not None:
                        rows = rows.join(begins, on="visit", how="left", maintain_order="left")
                        rows = rows.select(self.schema.names)
                    yield rows
                    done += len(rows)
                    if progress is not None and self.gathered:
                        progress(done, file.metadata.num_rows)
        except (OSError, ValueError) as error:  # which pyarrow's errors are
            if self._source is None:
                raise
            self.unreadable.tell(self._source, error)

    def batches(self, progress: Progress | None = None) -> Iterator[pa.RecordBatch]:
        """Read the rows, some thousand at a time.

        Parameters
        ----------
        progress
            Counts datasets where they have to be gathered, or else rows.

        Yields
        ------
        batch
            Rows in the order of their visits (tracts), those that are judged
            together always in one batch. Columns are the `keys`;
            ``visit_begin`` (of visits and detectors; UTC, null if unknown);
            ``run`` and ``dataset_id`` of the dataset that the row was read
            from; ``kind``, ``verdict``, ``severity``, ``failed`` and
            ``fault`` as in a campaign's table; the metrics, ``float64``, NaN
            where undefined.
        """
        for rows in self.frames(progress):
            yield from rows.to_arrow().cast(self.schema).combine_chunks().to_batches()

    def _whole_mosaics(self, file: pq.ParquetFile) -> Iterator[pl.DataFrame]:
        """Move the beginning of a mosaic to the rows with its end."""
        rest = pl.DataFrame()
        columns = [name for name in file.schema_arrow.names if name in self.schema.names]
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
            rows = pl.concat([rest, pl.DataFrame(batch)]) if len(rest) else pl.DataFrame(batch)
            last = rows.select(pl.struct(self.row_kind.mosaic).rle().last().struct.field("len")).item()
            rest = rows.tail(last)
            if last < len(rows):
                yield rows.head(-last)
        if len(rest):
            yield rest

    def _completed(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Say where rows are from, and leave out those of other nights."""
        names = rows.collect_schema().names()
        run, identifier = (self._source.run, str(self._source.id)) if self._source is not None else ("", "")
        known = pl.col("dataset_id") if "dataset_id" in names else pl.lit(None, pl.String)
        rows = rows.with_columns(
            pl.col("run") if "run" in names else pl.lit(run).alias("run"),
            pl.coalesce(known, pl.lit(identifier)).alias("dataset_id"),
            pl.col("failed", "fault", "kind").fill_null(""),
        )
        if self.nights is not None:
            rows = rows.filter(pl.col("day_obs").is_between(*self.nights))
        return rows.select(*self.keys, "run", "dataset_id", *JUDGED, *self.units)

    @cached_property
    def _begins(self) -> pl.DataFrame:
        visits = self.scan().select("visit").unique().collect().to_series().sort()
        return visit_begins(self._butler, self.root, visits.to_list())

    def judged(self, name: str) -> pl.Expr:
        """Tell whether values of a metric were judged.

        They are where the value is finite and has a bound, or enough peers;
        rows must be complete with those that are judged together.
        """
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
        """Judge each value of some rows, with all those that are judged together.

        Returns
        -------
        codes
            Numbers of ``VERDICTS``, shape (rows, metrics): a value fails if the
            column ``failed`` says so; it passes if it was judged.
        """
        column = {name: i for i, name in enumerate(self.metrics)}
        bounded = [np.isfinite(self.thresholds.bounds(name)).any() for name in self.metrics]
        codes = (np.isfinite(rows[self.metrics].to_numpy()) & bounded).astype(np.int8)
        for name in self.thresholds.max_z.keys() & column.keys():
            codes[:, column[name]] = rows.select(self.judged(name)).to_series().to_numpy()
        failing = np.flatnonzero((rows["failed"] != "").to_numpy())
        for row, failed in zip(failing.tolist(), rows["failed"].gather(failing).to_list(), strict=True):
            for name in failed.split(","):
                if name in column:
                    codes[row, column[name]] = 2
        return codes

    def verdicts(self, batch: pa.RecordBatch) -> np.ndarray:
        """Judge each value of one of `batches`.

        Returns
        -------
        verdicts
            ``"pass"``, ``"fail"`` or ``"unknown"`` (not judged), shape (rows,
            metrics).
        """
        return np.array(VERDICTS)[self.verdict_codes(pl.DataFrame(batch))]
