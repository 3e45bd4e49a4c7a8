# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""One table of a campaign, made batch by batch."""

from __future__ import annotations

__all__ = ("CampaignBatch", "CampaignWriter", "Spool", "Summary", "WorstList")

import contextlib
import heapq
import itertools
import math
import mmap
import pickle
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np

from ..judge import Failure, Judgement
from ..judge.words import is_described
from ..metrics import load_catalogue

if TYPE_CHECKING:
    import pyarrow as pa
    from astropy.table import Table


@dataclass(frozen=True, eq=False)
class CampaignBatch:
    """Rows that are judged together: a visit's detectors, a tract's patches."""

    keys: Mapping[str, Sequence[Any]]
    """Columns that say what each row is of; ``dataset_id``, where it is known,
    is the UUID of the dataset that the row was read from.
    """
    values: np.ndarray
    """Metrics, ``float64``, shape (rows, metrics); NaN where undefined."""
    kinds: Sequence[str]
    """Kind of each row; only rows of one kind are compared."""
    known: Sequence[tuple[str, str]] = ()
    """Metrics by which each row was found to fail before, by commas, and the
    words for it; empty if that is not known.
    """


# Rows that are written together. The table has as many chunks, of each column,
# as there were writes, and each takes half a kilobyte: with a chunk a visit
# memory would grow with the campaign after all.
_ROWS_PER_CHUNK = 1 << 12


@contextlib.contextmanager
def _naming_its_folder() -> Iterator[None]:
    """Name the folder for temporary files where one cannot be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"the table cannot be kept in {tempfile.gettempdir()} (TMPDIR): {reason}"
        ) from error


class Spool:
    """Keeps batches in a temporary file, to run through them again."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()

    def add(self, batch: CampaignBatch) -> None:
        """Keep a batch."""
        with _naming_its_folder():
            pickle.dump(batch, self._file, pickle.HIGHEST_PROTOCOL)

    def __iter__(self) -> Iterator[CampaignBatch]:
        with _naming_its_folder():
            end = self._file.tell()
            self._file.seek(0)
        while self._file.tell() < end:
            yield pickle.load(self._file)

    def close(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            self._file.close()


class CampaignWriter:
    """Writes batches into a temporary file, and gives it back as a table.

    What is in memory is a few batches, however many there are: the table's
    columns are the file, mapped. Where the file cannot be written, `OSError`
    names the folder for temporary files.

    Parameters
    ----------
    keys
        Name and type (`int` or `str`) of the columns that say what a row is.
    names
        Full names of the metrics, which are the last columns.
    unit
        Unit of the backgrounds.
    """

    def __init__(self, keys: Mapping[str, type], names: Sequence[str], unit: u.UnitBase) -> None:
        import pyarrow as pa

        catalogue = load_catalogue()
        fields = [pa.field(name, pa.int64() if kind is int else pa.string()) for name, kind in keys.items()]
        fields += [
            pa.field("kind", pa.string()),
            pa.field("verdict", pa.string()),
            pa.field("severity", pa.float64()),
            pa.field("failed", pa.string()),
            pa.field("fault", pa.string()),
            # Of what the row was read from: by it one sees what came later.
            pa.field("dataset_id", pa.string()),
        ]
        for name in names:
            metric = catalogue[name]
            # As the Butler keeps an astropy column's unit and description.
            metadata = {"unit": metric.unit_for(unit).to_string(), "description": metric.description}
            fields.append(
                pa.field(name, pa.float64(), metadata={k: v for k, v in metadata.items() if v != ""})
            )
        self._names = tuple(names)
        self._described = [column for column, name in enumerate(names) if is_described(name)]
        self._keys = tuple(keys)
        self.schema = pa.schema(fields)
        # A file without a name: nothing is left of it, even if the process is
        # killed.
        self._file = tempfile.TemporaryFile()
        with _naming_its_folder():
            self._sink = pa.PythonFile(self._file, "w")
            self._writer = pa.ipc.new_file(self._sink, self.schema)
        self._waiting: defaultdict[str, list[Any]] = defaultdict(list)
        self._values: list[np.ndarray] = []

    def add(self, batch: CampaignBatch, judgement: Judgement) -> None:
        """Write a batch, and what it amounts to."""
        rows = range(len(judgement.verdicts))
        failing = [row for row in rows if judgement.verdicts[row] == "fail"]
        failed, faults, severity = [""] * len(rows), [""] * len(rows), [0.0] * len(rows)
        described = [self._names[column] for column in self._described]
        rows_described = batch.values[np.ix_(failing, self._described)].tolist()
        for row, of_row in zip(failing, rows_described, strict=True):
            values = dict(zip(described, of_row, strict=True))
            known = batch.known[row] if batch.known else ("", "")
            failed[row] = ",".join(judgement.failed(row))
            faults[row] = judgement.fault(row, values, None, known)
            severity[row] = judgement.severity(row)
        judged = {"kind": batch.kinds, "verdict": judgement.verdicts, "severity": severity}
        judged |= {"failed": failed, "fault": faults}
        judged["dataset_id"] = batch.keys.get("dataset_id", [None] * len(rows))
        for name, column in {**{name: batch.keys[name] for name in self._keys}, **judged}.items():
            self._waiting[name].extend(column)
        self._values.append(batch.values)
        if sum(map(len, self._values)) >= _ROWS_PER_CHUNK:
            self._write()

    def _write(self) -> None:
        import pyarrow as pa

        if self._values:
            values = np.concatenate([values.T for values in self._values], axis=1)
            columns = {**self._waiting, **dict(zip(self._names, values, strict=True))}
            batch = pa.record_batch(
                [pa.array(columns[field.name], field.type) for field in self.schema], schema=self.schema
            )
            with _naming_its_folder():
                self._writer.write_batch(batch)
            self._waiting.clear()
            self._values.clear()

    def finish(self) -> pa.Table:
        """Return all batches' rows; the file behind them is gone when the table is."""
        import pyarrow as pa

        self._write()
        with _naming_its_folder(), self._file:
            self._writer.close()
            self._file.flush()
            # The mapping keeps the content, and the table the mapping.
            content = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(content))).read_all()

    def abandon(self) -> None:
        """Remove the file; for when something failed."""
        # What is buffered may not fit on the disk any more.
        with contextlib.suppress(OSError):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()


class _Running:
    """Count, mean and extremes of a stream of values."""

    def __init__(self) -> None:
        self.count, self.mean, self.min, self.max = 0, 0.0, math.inf, -math.inf

    def add(self, values: np.ndarray) -> None:
        values = values[np.isfinite(values)]
        if len(values):
            self.count += len(values)
            self.mean += (float(values.mean()) - self.mean) * len(values) / self.count
            self.min, self.max = min(self.min, float(values.min())), max(self.max, float(values.max()))


class Summary:
    """What campaigns amount to, by some of the columns, such as band and night.

    ``batches`` is what to call the number of batches.
    """

    def __init__(self, by: Sequence[str], batches: str) -> None:
        self._by = tuple(by)
        self._batches = batches
        self._groups: dict[tuple[Any, ...], dict[str, Any]] = {}

    def add(self, batch: CampaignBatch, judgement: Judgement, levels: np.ndarray) -> None:
        """Take a batch, whose rows agree in the columns of the summary, and its levels into account."""
        key = tuple(batch.keys[name][0] for name in self._by)
        group = self._groups.setdefault(
            key, {"batches": 0, "pass": 0, "fail": 0, "unknown": 0, "severity": 0.0, "level": _Running()}
        )
        group["batches"] += 1
        for verdict in judgement.verdicts:
            group[verdict] += 1
        group["severity"] = max([group["severity"], *(failure.severity for failure in judgement.failures)])
        group["level"].add(levels)

    def finish(self, unit: u.UnitBase) -> Table:
        """Return a row for each value of the columns, in their order, with levels in a unit."""
        from astropy.table import Table

        keys = sorted(self._groups)
        groups = [self._groups[key] for key in keys]
        table = Table({name: [key[i] for key in keys] for i, name in enumerate(self._by)})
        table[self._batches] = np.array([group["batches"] for group in groups], dtype=np.int64)
        for verdict in ("pass", "fail", "unknown"):
            table[f"{verdict}Count"] = np.array([group[verdict] for group in groups], dtype=np.int64)
        table["severity"] = np.array([group["severity"] for group in groups], dtype=np.float64)
        for name in ("mean", "min", "max"):
            values = [getattr(group["level"], name) if group["level"].count else math.nan for group in groups]
            table[f"level_{name}"] = np.array(values, dtype=np.float64)
            table[f"level_{name}"].unit = unit
        return table


class WorstList:
    """The failures that are most severe: so many, with columns that say what a row is, and units."""

    def __init__(self, size: int, keys: Mapping[str, type], unit_of: Callable[[str], u.UnitBase]) -> None:
        self._size = size
        self._keys = dict(keys)
        self._unit_of = unit_of
        self._heap: list[tuple[float, int, dict[str, Any], Failure]] = []
        # Of equals, the first stays.
        self._order = itertools.count(0, -1)

    def add(self, batch: CampaignBatch, judgement: Judgement) -> None:
        """Take a batch into account."""
        for failure in judgement.failures:
            order = next(self._order)
            if len(self._heap) >= self._size and (failure.severity, order) <= self._heap[0][:2]:
                continue
            row = {name: batch.keys[name][failure.row] for name in self._keys}
            item = (failure.severity, order, row, failure)
            if len(self._heap) < self._size:
                heapq.heappush(self._heap, item)
            else:
                heapq.heapreplace(self._heap, item)

    def finish(self) -> Table:
        """Return a row for each failure, the most severe first."""
        from astropy.table import Table

        items = sorted(self._heap, key=lambda item: (-item[0], -item[1]))
        table = Table()
        for name, kind in self._keys.items():
            values = [item[2][name] for item in items]
            table[name] = np.array(values, dtype=np.int64 if kind is int else str)
        table["metric"] = np.array([item[3].metric for item in items], dtype=str)
        for name in ("value", "low", "high", "severity"):
            table[name] = np.array([getattr(item[3], name) for item in items], dtype=np.float64)
        # Metrics of several units share these columns, so a text says which.
        table["unit"] = np.array([self._unit_of(item[3].metric).to_string() for item in items], dtype=str)
        return table
