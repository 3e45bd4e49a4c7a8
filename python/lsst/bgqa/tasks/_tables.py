# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Reading many small tables."""

from __future__ import annotations

__all__ = ("read_tables",)

import base64
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

_AT_ONCE = 200
_PATH = "path of the file"
_OPTIONS: Any = {"parallel": "none", "use_statistics": False, "glob": False}


def read_tables(
    handles: Sequence[Any],
) -> Iterator[tuple[Any, tuple[pl.DataFrame, Mapping[str, str]] | Exception]]:
    """Read tables and the units of their columns, or why one cannot be read.

    A Parquet file on this machine is read as it is: to ask the Butler for
    each takes several times as long.
    """
    for some in itertools.batched(handles, _AT_ONCE):
        files = _local_files(some)
        frames = _read_together([*files.values()])
        for handle in some:
            path = files.get(handle.ref.id)
            try:
                yield handle, _read(handle, path, frames.get(path))
            except GeneratorExit:
                raise
            except Exception as error:
                # The datastore and the formatter have errors of their own.
                yield handle, error


def _local_files(handles: Sequence[Any]) -> dict[Any, str]:
    """Return the Parquet files that are on this machine, by the datasets' IDs."""
    butler = getattr(handles[0], "butler", None)
    if butler is None:
        return {}
    try:
        found = butler.get_many_uris([handle.ref for handle in handles], allow_missing=True)
    except Exception:
        return {}  # each tells why when it is read
    uris = {ref.id: uris.primaryURI for ref, uris in found.items()}
    return {
        id_: uri.ospath
        for id_, uri in uris.items()
        if uri is not None
        and uri.isLocal
        and not uri.fragment
        and uri.getExtension() in (".parq", ".parquet")
    }


def _read_together(paths: list[str]) -> dict[str | None, pl.DataFrame]:
    """Read files that have the same columns; nothing if any of them has not, or cannot be read."""
    import polars as pl

    if len(paths) < 2:
        return {}
    try:
        rows = pl.read_parquet(paths, include_file_paths=_PATH, **_OPTIONS)
    except Exception:
        return {}  # each tells why when it is read
    lengths = rows[_PATH].rle().struct
    rows, ends = rows.drop(_PATH), lengths.field("len").cum_sum()
    return {
        path: rows.slice(end - length, length)
        for path, length, end in zip(lengths.field("value"), lengths.field("len"), ends, strict=True)
    }


def _read(handle: Any, path: str | None, rows: pl.DataFrame | None) -> tuple[pl.DataFrame, Mapping[str, str]]:
    import polars as pl

    if path is None:
        table = handle.get(storageClass="ArrowTable")
        return pl.DataFrame(pl.from_arrow(table)), _units(table.schema)
    units = _units_of(pl.read_parquet_metadata(path).get("ARROW:schema", ""))
    return pl.read_parquet(path, **_OPTIONS) if rows is None else rows, units


def _units(schema: Any) -> dict[str, str]:
    return {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in schema}


@functools.lru_cache(16)
def _units_of(schema: str) -> dict[str, str]:
    import pyarrow as pa

    return _units(pa.ipc.read_schema(pa.py_buffer(base64.b64decode(schema)))) if schema else {}
