# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A campaign as one long table: a row a value."""

from __future__ import annotations

__all__ = ("tidy_batches", "tidy_schema", "write_csv", "write_parquet")

from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ._kinds import KINDS
from .campaign import MetricFamily

if TYPE_CHECKING:
    import pyarrow as pa

_VERDICTS = ("unknown", "pass", "fail")


def tidy_schema() -> pa.Schema:
    """Return the columns of the long table.

    Returns
    -------
    schema : `pyarrow.Schema`
        ``kind`` and ``name`` of the family; the dimensions of all kinds, null
        where a kind has none; ``visit_begin`` (UTC); ``dataset_type`` of the
        bundles that have the metric; ``run`` of what was read; ``metric``
        (full name), ``value``, ``unit`` and ``verdict``; ``fault``, in words
        what is wrong with what the row is of. Texts are dictionaries, as most
        of them repeat.
    """
    import pyarrow as pa

    text = pa.dictionary(pa.int32(), pa.string())
    keys = {name: type_ for kind in KINDS for name, type_ in kind.keys.items()}
    return pa.schema(
        [
            ("kind", text),
            ("name", text),
            *((name, pa.int64() if type_ is int else text) for name, type_ in keys.items()),
            ("visit_begin", pa.timestamp("us", tz="UTC")),
            ("dataset_type", text),
            ("run", text),
            ("metric", text),
            ("value", pa.float64()),
            ("unit", text),
            ("verdict", text),
            ("fault", text),
        ]
    )


def tidy_batches(family: MetricFamily, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Give each value of a batch a row of its own.

    Parameters
    ----------
    family : `MetricFamily`
        The family.
    batch : `pyarrow.RecordBatch`
        One of its batches.

    Returns
    -------
    tidy : `pyarrow.RecordBatch`
        The values that are defined, row by row, in the order of the metrics.
    """
    import pyarrow as pa

    schema = tidy_schema()
    values = np.column_stack([batch[name].to_numpy(zero_copy_only=False) for name in family.metrics])
    rows, columns = np.nonzero(~np.isnan(values))
    verdicts = family.verdicts(batch)[rows, columns]
    where = pa.array(rows)

    def choose(indices: Any, texts: Iterable[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(texts, pa.string()))

    nothing = np.zeros(len(rows), dtype=np.int32)
    made = {
        "kind": choose(nothing, [family.kind]),
        "name": choose(nothing, [family.name]),
        "dataset_type": choose(nothing, [family.bundle_type]),
        "metric": choose(columns, family.metrics),
        "value": pa.array(values[rows, columns]),
        "unit": choose(columns, [family.units[name] for name in family.metrics]),
        "verdict": choose((verdicts == "pass") + 2 * (verdicts == "fail"), _VERDICTS),
    }
    for field in schema:
        if field.name in made:
            continue
        if field.name not in batch.schema.names:
            made[field.name] = pa.nulls(len(rows), field.type)
        elif pa.types.is_dictionary(field.type):
            made[field.name] = batch[field.name].dictionary_encode().take(where).cast(field.type)
        else:
            made[field.name] = batch[field.name].take(where)
    return pa.record_batch([made[field.name] for field in schema], schema=schema)


def write_parquet(batches: Iterable[pa.RecordBatch], sink: IO[bytes], about: dict[str, str]) -> int:
    """Write batches of the long table as Parquet.

    Parameters
    ----------
    batches : `~collections.abc.Iterable` [`pyarrow.RecordBatch`]
        The batches, each a row group.
    sink : file
        Where to write.
    about : `dict` [`str`, `str`]
        What to say of the table in its metadata.

    Returns
    -------
    count : `int`
        Number of rows.
    """
    import pyarrow.parquet as pq

    count = 0
    with pq.ParquetWriter(sink, tidy_schema().with_metadata(about), compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            count += batch.num_rows
    return count


def _inert(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Put an apostrophe before texts that a spreadsheet would compute."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = []
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            texts = pc.replace_substring_regex(column.dictionary, r"^([=+\-@\t\r])", r"'\1")
            column = pa.DictionaryArray.from_arrays(column.indices, texts)
        columns.append(column)
    return pa.record_batch(columns, schema=batch.schema)


def write_csv(batches: Iterable[pa.RecordBatch], sink: IO[bytes]) -> int:
    """Write batches of the long table as CSV with a header.

    A text that begins as a formula does (``=``, ``+``, ``-``, ``@``) gets an
    apostrophe before it.

    Parameters
    ----------
    batches : `~collections.abc.Iterable` [`pyarrow.RecordBatch`]
        The batches.
    sink : file
        Where to write.

    Returns
    -------
    count : `int`
        Number of rows.
    """
    import pyarrow.csv as pc

    count = 0
    # A header in quotes, as pyarrow has it, is not what other tools write.
    sink.write((",".join(tidy_schema().names) + "\n").encode())
    options = pc.WriteOptions(include_header=False, quoting_style="needed")
    for batch in batches:
        pc.write_csv(_inert(batch), sink, options)
        count += batch.num_rows
    return count
