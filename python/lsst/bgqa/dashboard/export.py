# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Exports of a campaign, streamed from its tables to their destination."""

from __future__ import annotations

__all__ = ("export_points", "export_table")

from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING

import numpy as np

from . import line_protocol
from .campaign import VERDICTS, Campaign, CampaignTable, Progress
from .rows import ROW_KINDS

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

_KEYS = {name: type_ for kind in ROW_KINDS for name, type_ in kind.keys.items()}
_BEFORE = ("kind", "name", *_KEYS, "visit_begin", "dataset_type", "run")
_COLUMNS = (*_BEFORE, "metric", "value", "unit", "verdict", "fault")
# What makes a text a formula to a spreadsheet, or needs quotes in CSV.
_FORMULA, _SPECIAL = r"^([=+\-@\t\r])", r'[",\r\n]'


def export_table(
    campaign: Campaign,
    tables: Sequence[CampaignTable],
    form: str,
    sink: IO[bytes],
    progress: Progress | None = None,
) -> int:
    """Write metrics as one long table: a row a value that is defined.

    Parameters
    ----------
    campaign : `Campaign`
        The campaign.
    tables : `~collections.abc.Sequence` [`CampaignTable`]
        What to export of it.
    form : `str`
        ``parquet`` or ``csv``. In CSV, a text that begins as a formula does
        (``=``, ``+``, ``-``, ``@``) gets an apostrophe before it.
    sink : file
        Where to write.
    progress : `~collections.abc.Callable`, optional
        Called with how much is done, and how much there is.

    Returns
    -------
    count : `int`
        Number of values.
    """
    about = {"repo": campaign.repo, "collection": campaign.collection}
    write = _write_csv if form == "csv" else _write_parquet
    return write(_batches(tables, progress), sink, about)


def export_points(
    campaign: Campaign,
    tables: Sequence[CampaignTable],
    writers: Sequence[Callable[[pl.Series], None]],
    namespace: str = line_protocol.NAMESPACE,
    progress: Progress | None = None,
) -> int:
    """Write metrics as points of line protocol.

    Parameters
    ----------
    campaign : `Campaign`
        The campaign.
    tables : `~collections.abc.Sequence` [`CampaignTable`]
        What to export of it.
    writers : `~collections.abc.Sequence` [`~collections.abc.Callable`]
        Each is called with some lines (`polars.Series`), again and again.
    namespace : `str`, optional
        What the names of measurements begin with.
    progress : `~collections.abc.Callable`, optional
        Called with how much is done, and how much there is.

    Returns
    -------
    count : `int`
        Number of points.
    """
    count = 0
    for table, rows in _batches(tables, progress):
        points = line_protocol.lines(campaign, table, rows, namespace)
        for write in writers:
            write(points)
        count += len(points)
    return count


def _batches(
    tables: Sequence[CampaignTable], progress: Progress | None
) -> Iterator[tuple[CampaignTable, pl.DataFrame]]:
    import polars as pl

    sizes = [table.row_count or 0 if table.gathered else table.dataset_count for table in tables]
    for number, table in enumerate(tables):
        before, total = sum(sizes[:number]), sum(sizes)

        def advance(done: int, _: int, before: int = before, total: int = total) -> None:
            if progress is not None:
                progress(before + done, total)

        for batch in table.batches(advance):
            if batch.num_rows:
                yield table, pl.DataFrame(pl.from_arrow(batch))


class _Values:
    """The values of some rows that are defined, row by row."""

    def __init__(self, table: CampaignTable, rows: pl.DataFrame) -> None:
        width = len(table.metrics)
        values = np.ascontiguousarray(rows.select(table.metrics).to_numpy()).ravel()
        where = np.flatnonzero(~np.isnan(values))
        self.values = values[where]
        self.rows = (where // width).astype(np.int32)
        self.metrics = (where - self.rows * np.int64(width)).astype(np.int32)
        self.verdicts = table.verdict_codes(rows).ravel()[where].astype(np.int32)


def _constants(table: CampaignTable) -> dict[str, str]:
    return {"kind": table.kind, "name": table.name, "dataset_type": table.bundle_type}


def _write_csv(
    batches: Iterator[tuple[CampaignTable, pl.DataFrame]], sink: IO[bytes], about: dict[str, str]
) -> int:
    import polars as pl

    count = 0
    sink.write((",".join(_COLUMNS) + "\n").encode())
    for table, rows in batches:
        some = _Values(table, rows)
        constants, known = _constants(table), set(rows.columns)
        texts = [pl.lit(constants[name]).alias(name) for name in constants]
        rows = rows.with_columns(texts)
        rows = rows.with_columns(
            _inert(name) for name in (*_BEFORE, "fault") if rows.schema.get(name) == pl.String
        )
        if "visit_begin" in known:
            rows = rows.with_columns(pl.col("visit_begin").dt.strftime("%Y-%m-%d %H:%M:%S%.6fZ"))
        # What is the same for all values of a row is written once, and not quoted again.
        before = rows.select(
            pl.concat_str(
                [
                    pl.col(n).cast(pl.String).fill_null("") if n in rows.columns else pl.lit("")
                    for n in _BEFORE
                ],
                separator=",",
            )
        ).to_series()
        units = [table.units[name] for name in table.metrics]
        after = pl.Series([f"{unit},{verdict}" for unit in units for verdict in VERDICTS])
        pl.DataFrame(
            {
                "before": before.gather(some.rows),
                "metric": pl.Series(table.metrics).gather(some.metrics),
                "value": some.values,
                "after": after.gather(some.metrics * len(VERDICTS) + some.verdicts),
                "fault": rows["fault"].gather(some.rows),
            }
        ).write_csv(sink, include_header=False, quote_style="never")
        count += len(some.values)
    return count


def _inert(name: str) -> pl.Expr:
    """Write a column of texts for CSV, and so that no spreadsheet computes them."""
    import polars as pl

    texts = pl.col(name).str.replace(_FORMULA, "'$1")
    quoted = pl.concat_str(pl.lit('"'), texts.str.replace_all('"', '""', literal=True), pl.lit('"'))
    return pl.when(texts.str.contains(_SPECIAL)).then(quoted).otherwise(texts).alias(name)


def _write_parquet(
    batches: Iterator[tuple[CampaignTable, pl.DataFrame]], sink: IO[bytes], about: dict[str, str]
) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    # Most texts repeat: they are handed over as dictionaries, and are plain texts to who reads them.
    text = pa.dictionary(pa.int32(), pa.string())
    types = dict.fromkeys(_COLUMNS, text) | {n: pa.int64() for n, type_ in _KEYS.items() if type_ is int}
    types |= {"visit_begin": pa.timestamp("us", tz="UTC"), "value": pa.float64()}
    texts = [name for name, type_ in types.items() if type_ == text]
    schema = pa.schema([pa.field(n, types[n], nullable=n not in (*texts, "value")) for n in _COLUMNS])
    # What astropy wants to know of texts.
    longest = dict.fromkeys(texts, 1)

    def repeated(name: str, values: pa.Array, numbers: pa.Array | np.ndarray) -> pa.Array:
        longest[name] = max(longest[name], pc.max(pc.utf8_length(values)).as_py() or 1)
        return pa.DictionaryArray.from_arrays(pa.array(numbers), values)

    count = 0
    options = {"compression": "snappy", "store_schema": False, "write_statistics": ["visit", "tract"]}
    with pq.ParquetWriter(
        sink, schema, use_dictionary=[n for n in _COLUMNS if n != "value"], **options
    ) as writer:
        for table, rows in batches:
            some = _Values(table, rows)
            where, nothing = pa.array(some.rows), np.zeros_like(some.rows)
            known = {
                **{name: ([value], nothing) for name, value in _constants(table).items()},
                "metric": (table.metrics, some.metrics),
                "unit": (list(table.units.values()), some.metrics),
                "verdict": (VERDICTS, some.verdicts),
            }
            columns = {name: repeated(name, pa.array(v, pa.string()), n) for name, (v, n) in known.items()}
            columns["value"] = pa.array(some.values)
            for name in (*_KEYS, "visit_begin", "run", "fault"):
                if name in rows.columns and name in longest:
                    # Without a value it is empty, as not all readers know of missing texts.
                    column = rows[name].fill_null("").to_arrow().cast(pa.string()).dictionary_encode()
                    columns[name] = repeated(name, column.dictionary, column.indices.take(where))
                elif name in rows.columns:
                    columns[name] = rows[name].to_arrow().take(where)
                elif name in longest:
                    columns[name] = repeated(name, pa.array([""]), nothing)
                else:
                    columns[name] = pa.nulls(len(where), types[name])
            writer.write_batch(pa.record_batch([columns[name] for name in _COLUMNS], schema=schema))
            count += len(where)
        lengths = {f"table::len::{name}": str(length) for name, length in longest.items()}
        writer.add_key_value_metadata(about | lengths)
    return count
