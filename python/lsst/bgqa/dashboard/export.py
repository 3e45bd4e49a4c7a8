# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Exports of a campaign, streamed from its tables to their destination."""

from __future__ import annotations

__all__ = ("export_points", "export_table")

from collections.abc import Callable, Iterator, Sequence
from typing import IO

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .campaign import VERDICTS, Campaign, CampaignTable
from .line_protocol import NAMESPACE, Points
from .rows import ROW_KINDS
from .table import Progress

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
    campaign, tables
        The campaign, and what to export of it.
    form
        ``parquet`` or ``csv``. In CSV, a text that begins as a formula does
        (``=``, ``+``, ``-``, ``@``) gets an apostrophe before it.
    sink
        Where to write.
    progress
        Tells of datasets that are gathered, or of rows.

    Returns
    -------
    count
        Number of values.
    """
    values = (_Values(table, rows) for table, rows in _frames(tables, progress))
    if form == "csv":
        return _write_csv(values, sink)
    return _write_parquet(values, sink, {"repo": campaign.repo, "collection": campaign.collection})


def export_points(
    campaign: Campaign,
    tables: Sequence[CampaignTable],
    writers: Sequence[Callable[[pl.Series], None]],
    namespace: str = NAMESPACE,
    progress: Progress | None = None,
) -> int:
    """Write metrics as points of line protocol, and return how many.

    Each of ``writers`` is called with some lines, again and again;
    ``namespace`` is what the names of measurements begin with.
    """
    points = {id(table): Points(campaign, table, namespace) for table in tables}
    count = 0
    for table, rows in _frames(tables, progress):
        lines = points[id(table)].lines(rows)
        for write in writers:
            write(lines)
        count += len(lines)
    return count


def _frames(
    tables: Sequence[CampaignTable], progress: Progress | None
) -> Iterator[tuple[CampaignTable, pl.DataFrame]]:
    sizes = [table.row_count or 0 if table.gathered else table.dataset_count for table in tables]
    for number, table in enumerate(tables):

        def advance(done: int, _: int, before: int = sum(sizes[:number])) -> None:
            if progress is not None:
                progress(before + done, sum(sizes))

        for rows in table.frames(advance):
            if len(rows):
                yield table, rows


class _Values:
    """The values of some rows that are defined, row by row; of each, which row and metric it is of."""

    def __init__(self, table: CampaignTable, rows: pl.DataFrame) -> None:
        self.table, self.of = table, rows
        self.constants = {"kind": table.kind, "name": table.name, "dataset_type": table.bundle_type}
        width = len(table.metrics)
        values = np.ascontiguousarray(rows.select(table.metrics).to_numpy()).ravel()
        where = np.flatnonzero(~np.isnan(values))
        self.values = values[where]
        self.rows = (where // width).astype(np.int32)
        self.metrics = (where - self.rows * np.int64(width)).astype(np.int32)
        self.verdicts = table.verdict_codes(rows).ravel()[where].astype(np.int32)


def _write_csv(parts: Iterator[_Values], sink: IO[bytes]) -> int:
    count = 0
    sink.write((",".join(_COLUMNS) + "\n").encode())
    for some in parts:
        rows = some.of.with_columns(pl.lit(value).alias(name) for name, value in some.constants.items())
        rows = rows.with_columns(
            _inert(name) for name in (*_BEFORE, "fault") if rows.schema.get(name) == pl.String
        )
        if "visit_begin" in rows.columns:
            rows = rows.with_columns(pl.col("visit_begin").dt.strftime("%Y-%m-%d %H:%M:%S%.6fZ"))
        # What is the same for all values of a row is written once, and not quoted again.
        before = pl.concat_str(
            [pl.col(n).cast(pl.String).fill_null("") if n in rows.columns else pl.lit("") for n in _BEFORE],
            separator=",",
        )
        after = pl.Series([f"{unit},{word}" for unit in some.table.units.values() for word in VERDICTS])
        pl.DataFrame(
            {
                "before": rows.select(before).to_series().gather(some.rows),
                "metric": pl.Series(some.table.metrics).gather(some.metrics),
                "value": some.values,
                "after": after.gather(some.metrics * len(VERDICTS) + some.verdicts),
                "fault": rows["fault"].gather(some.rows),
            }
        ).write_csv(sink, include_header=False, quote_style="never")
        count += len(some.values)
    return count


def _inert(name: str) -> pl.Expr:
    """Write a column of texts for CSV, and so that no spreadsheet computes them."""
    texts = pl.col(name).str.replace(_FORMULA, "'$1")
    quoted = pl.concat_str(pl.lit('"'), texts.str.replace_all('"', '""', literal=True), pl.lit('"'))
    return pl.when(texts.str.contains(_SPECIAL)).then(quoted).otherwise(texts).alias(name)


def _write_parquet(parts: Iterator[_Values], sink: IO[bytes], about: dict[str, str]) -> int:
    # Most texts repeat: they are handed over as dictionaries, and are plain texts to who reads them.
    text = pa.dictionary(pa.int32(), pa.string())
    types = dict.fromkeys(_COLUMNS, text) | {n: pa.int64() for n, type_ in _KEYS.items() if type_ is int}
    types |= {"visit_begin": pa.timestamp("us", tz="UTC"), "value": pa.float64()}
    texts = [name for name, type_ in types.items() if type_ == text]
    schema = pa.schema([pa.field(n, types[n], nullable=n not in (*texts, "value")) for n in _COLUMNS])
    # What astropy wants to know of texts.
    longest = dict.fromkeys(texts, 1)
    count = 0
    options = {"compression": "snappy", "store_schema": False, "write_statistics": ["visit", "tract"]}
    with pq.ParquetWriter(
        sink, schema, use_dictionary=[n for n in _COLUMNS if n != "value"], **options
    ) as writer:
        for some in parts:
            rows, where, nothing = some.of, pa.array(some.rows), pa.array(np.zeros_like(some.rows))
            # Parquet's writer gives up dictionaries in which a text is twice.
            units = {unit: i for i, unit in enumerate(dict.fromkeys(some.table.units.values()))}
            unit_of = np.array([units[unit] for unit in some.table.units.values()], dtype=np.int32)
            known = {
                **{name: ([value], nothing) for name, value in some.constants.items()},
                "metric": (some.table.metrics, pa.array(some.metrics)),
                "unit": (list(units), pa.array(unit_of[some.metrics])),
                "verdict": (VERDICTS, pa.array(some.verdicts)),
            }
            columns = {"value": pa.array(some.values)}
            for name in (name for name in _COLUMNS if name != "value"):
                if name not in longest:
                    columns[name] = (
                        rows[name].to_arrow().take(where)
                        if name in rows.columns
                        else pa.nulls(len(where), types[name])
                    )
                    continue
                if name not in known and name in rows.columns:
                    # Without a value it is empty, as not all readers know of missing texts.
                    column = rows[name].fill_null("").to_arrow().cast(pa.string()).dictionary_encode()
                    known[name] = column.dictionary, column.indices.take(where)
                values, numbers = known.get(name, ([""], nothing))
                values = pa.array(values, pa.string())
                longest[name] = max(longest[name], pc.max(pc.utf8_length(values)).as_py() or 1)
                columns[name] = pa.DictionaryArray.from_arrays(numbers, values, safe=False)
            writer.write_batch(pa.record_batch([columns[name] for name in _COLUMNS], schema=schema))
            count += len(where)
        lengths = {f"table::len::{name}": str(length) for name, length in longest.items()}
        writer.add_key_value_metadata(about | lengths)
    return count
