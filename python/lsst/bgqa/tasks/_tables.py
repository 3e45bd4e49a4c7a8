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


def read_tables(
    handles: Sequence[Any],
) -> Iterator[tuple[Any, tuple[pl.DataFrame, Mapping[str, str]] | Exception]]:
    """Read tables and the units of their columns, or why one cannot be read.

    A Parquet file on this machine is read as it is: to ask the Butler for
    each takes several times as long.
    """
    for some in itertools.batched(handles, _AT_ONCE):
        uris = _uris(some)
        for handle in some:
            try:
                yield handle, _read(handle, uris.get(handle.ref.id))
            except GeneratorExit:
                raise
            except Exception as error:
                # The datastore and the formatter have errors of their own.
                yield handle, error


def _uris(handles: Sequence[Any]) -> dict[Any, Any]:
    butler = getattr(handles[0], "butler", None)
    if butler is None:
        return {}
    try:
        found = butler.get_many_uris([handle.ref for handle in handles], allow_missing=True)
    except Exception:
        return {}  # each tells why when it is read
    return {ref.id: uris.primaryURI for ref, uris in found.items()}


def _read(handle: Any, uri: Any) -> tuple[pl.DataFrame, Mapping[str, str]]:
    import polars as pl

    if uri is None or not uri.isLocal or uri.fragment or uri.getExtension() not in (".parq", ".parquet"):
        table = handle.get(storageClass="ArrowTable")
        return pl.DataFrame(pl.from_arrow(table)), _units(table.schema)
    about = pl.read_parquet_metadata(uri.ospath).get("ARROW:schema", "")
    return pl.read_parquet(uri.ospath, parallel="none", use_statistics=False), _units_of(about)


def _units(schema: Any) -> dict[str, str]:
    return {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in schema}


@functools.lru_cache(16)
def _units_of(schema: str) -> dict[str, str]:
    import pyarrow as pa

    return _units(pa.ipc.read_schema(pa.py_buffer(base64.b64decode(schema)))) if schema else {}
