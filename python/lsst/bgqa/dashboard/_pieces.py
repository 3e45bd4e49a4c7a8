# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Rows of bundles, and of the tables of visits and tracts, part by part."""

from __future__ import annotations

__all__ = ("PieceReader", "VisitTime", "visit_times")

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
from astropy.time import Time

from lsst.daf.butler import Butler, CollectionType, DatasetRef, DatasetType, Timespan

from ..metrics import load_catalogue
from ._fetch import Fetcher
from ._kinds import MetricUnits, RowKind, Rows, Unreadable, check_columns, microseconds

if TYPE_CHECKING:
    from astropy.table import Table

_TABLE_WINDOW = 200
_VISITS_AT_ONCE = 500
_NOTHING = ("", "")


class PieceReader:
    """Reads what a campaign's quanta wrote, in the order of its windows.

    Where a visit (tract and band) has a table, its rows are the table's, and
    bundles add what it lacks; a bundle in a RUN that comes before the table's
    takes the place of its row.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    collections : `~collections.abc.Sequence` [`str`]
        Where to look, first find first.
    kind : `RowKind`
        What the rows are of.
    root : `str`
        The instrument or sky map.
    bundles, tables : `lsst.daf.butler.DatasetType` or `None`
        What to read.
    """

    def __init__(
        self,
        butler: Butler,
        collections: Sequence[str],
        kind: RowKind,
        root: str,
        bundles: DatasetType | None,
        tables: DatasetType | None,
    ) -> None:
        self._butler = butler
        self._collections = list(collections)
        self._kind = kind
        self._root = {kind.root: root}
        self._bundles = bundles
        self._tables = tables
        self._times: dict[int, VisitTime] = {}
        self._fetcher = Fetcher(butler)
        runs = butler.collections.query(
            self._collections, collection_types={CollectionType.RUN}, flatten_chains=True
        )
        self._order = {run: i for i, run in enumerate(runs)}
        self.counts = {
            dataset_type.name: self._count(dataset_type)
            for dataset_type in (bundles, tables)
            if dataset_type is not None
        }

    @property
    def dataset_count(self) -> int:
        """Number of datasets (`int`)."""
        return sum(self.counts.values())

    @property
    def row_count(self) -> int | None:
        """Number of rows if every dataset is a row (`int`), else `None`."""
        return self.dataset_count if self._tables is None else None

    def _count(self, dataset_type: DatasetType) -> int:
        with self._butler.query() as query:
            return query.datasets(dataset_type, self._collections).where(self._root).count()

    def between(self, dataset_type: DatasetType, first: int, last: int) -> list[DatasetRef]:
        """Find the datasets of a part of the campaign.

        Parameters
        ----------
        dataset_type : `lsst.daf.butler.DatasetType`
            Their type.
        first, last : `int`
            The first and the last value of the window's dimension.

        Returns
        -------
        refs : `list` [`lsst.daf.butler.DatasetRef`]
            Of each data ID the first that is found.
        """
        return self._refs(dataset_type, first - 1, last)

    def units(self) -> MetricUnits | None:
        """Return the metrics and their units, by the first dataset that tells.

        Returns
        -------
        units : `dict` [`str`, `str`] or `None`
            Units by full name; `None` if the first dataset that can be read
            has no metric of the catalogue: then the datasets are not ours.
        """
        seen: dict[str, str] = {}
        for tables, bundles in self._windows():
            for ref in [*tables, *bundles]:
                try:
                    found = self._units_of(self._butler.get(ref))
                except Exception:
                    continue  # named when rows are read
                known = {name: unit for name, unit in found.items() if name in load_catalogue()}
                if not known and not seen:
                    return None
                seen |= known
                if (unit := _background_unit(seen)) is not None:
                    return self._complete(seen, unit)
        # No dataset has a metric in the unit of the background.
        return self._complete(seen, u.dimensionless_unscaled) if seen else None

    def _units_of(self, dataset: Any) -> dict[str, str]:
        if hasattr(dataset, "colnames"):
            return {
                name: str(dataset[name].unit or "") for name in dataset.colnames if name in load_catalogue()
            }
        return {name: str(quantity.unit) for name, quantity in _measurements(dataset)}

    def _complete(self, seen: Mapping[str, str], unit: u.UnitBase) -> MetricUnits:
        catalogue = load_catalogue()
        return {
            name: seen.get(name, catalogue[name].unit_for(unit).to_string())
            for name in self._kind.metric_names(seen)
        }

    def groups(
        self, units: MetricUnits, unreadable: Unreadable, advance: Callable[[int], None]
    ) -> Iterator[Rows]:
        """Read rows, those that are judged together at a time.

        Parameters
        ----------
        units : `dict` [`str`, `str`]
            Units that the values are to have.
        unreadable : `Unreadable`
            Takes the datasets that cannot be read.
        advance : `~collections.abc.Callable`
            Called with numbers of datasets that are done.

        Yields
        ------
        rows : `Rows`
            The rows.
        """
        columns = {name: (i, u.Unit(unit)) for i, (name, unit) in enumerate(units.items())}
        peers = [name for name in self._kind.peers if name not in self._root]
        for tables, bundles in self._windows():
            if self._kind.has_begin:
                self._times = visit_times(
                    self._butler,
                    self._root["instrument"],
                    {int(ref.dataId["visit"]) for ref in tables + bundles},
                )
            by_group: dict[tuple[Any, ...], tuple[list[DatasetRef], list[DatasetRef]]]
            by_group = defaultdict(lambda: ([], []))
            for index, refs in enumerate((tables, bundles)):
                for ref in refs:
                    by_group[tuple(ref.dataId[name] for name in peers)][index].append(ref)
            keys = sorted(by_group)
            # From far away, all of the window's datasets are fetched at once.
            for some in itertools.batched(keys, len(keys) if self._fetcher.far else 1):
                yield from self._read_groups([by_group[key] for key in some], columns, unreadable)
                advance(sum(len(refs) for key in some for refs in by_group[key]))

    def _read_groups(
        self,
        groups: Sequence[tuple[list[DatasetRef], list[DatasetRef]]],
        columns: Mapping[str, tuple[int, u.UnitBase]],
        unreadable: Unreadable,
    ) -> Iterator[Rows]:
        # Of each row: its keys, its values, and the dataset that it is from.
        found: list[dict[Any, tuple[dict[str, Any], np.ndarray, DatasetRef]]] = [{} for _ in groups]
        group_of = {
            ref.id: rows for rows, group in zip(found, groups, strict=True) for refs in group for ref in refs
        }
        tables = [ref for group, _ in groups for ref in group]
        for ref, read in self._fetcher.each(
            tables, lambda butler, ref: self._table_rows(ref, butler.get(ref), columns)
        ):
            if isinstance(read, Exception):
                unreadable.add(ref, read)
            else:
                group_of[ref.id].update(read)
        # Tables have all that a detector has, but nothing of closure.
        bundles = [
            ref
            for _, group in groups
            for ref in group
            if self._row_of(ref) not in group_of[ref.id]
            or "closure" in self._kind.groups
            or self._comes_before(ref, group_of[ref.id][self._row_of(ref)][2])
        ]
        for ref, values in self._fetcher.each(
            bundles, lambda butler, ref: _bundle_values(butler.get(ref), columns)
        ):
            if isinstance(values, Exception):
                unreadable.add(ref, values)
                continue
            rows, row = group_of[ref.id], self._row_of(ref)
            known = _NOTHING
            if row in rows and not self._comes_before(ref, rows[row][2]):
                # A table compares it with others.
                values = np.where(np.isnan(rows[row][1]), values, rows[row][1])
                known = rows[row][0]["known"]
            rows[row] = ({**self._keys_of(ref), "known": known}, values, ref)
        yield from (self._make_rows(rows, columns) for rows in found if rows)

    def _comes_before(self, ref: DatasetRef, other: DatasetRef) -> bool:
        """Whether a dataset is in a RUN that is searched before another's."""
        return self._order.get(ref.run, 0) < self._order.get(other.run, 0)

    def _row_of(self, ref: DatasetRef) -> Any:
        return ref.dataId[self._kind.row] if self._kind.row else ()

    def _make_rows(
        self,
        found: Mapping[Any, tuple[dict[str, Any], np.ndarray, DatasetRef]],
        columns: Mapping[str, tuple[int, u.UnitBase]],
    ) -> Rows:
        rows = [found[row] for row in sorted(found)]
        return Rows(
            {name: [keys[name] for keys, _, _ in rows] for name in self._kind.keys},
            np.array([values for _, values, _ in rows]).reshape(len(rows), len(columns)),
            [self._time(ref).begin if self._kind.has_begin else None for *_, ref in rows],
            [ref.run for *_, ref in rows],
            [str(ref.id) for *_, ref in rows],
            [keys["known"] for keys, _, _ in rows],
        )

    def _table_rows(
        self, ref: DatasetRef, table: Table, columns: Mapping[str, tuple[int, u.UnitBase]]
    ) -> dict[Any, tuple[dict[str, Any], np.ndarray, DatasetRef]]:
        own = [name for name in (self._kind.row, "detector_name") if name in self._kind.keys]
        check_columns(table.colnames, own)
        values = np.full((len(table), len(columns)), np.nan)
        for name, (column, unit) in columns.items():
            if name in table.colnames:
                quantity = u.Quantity(np.asarray(table[name], dtype=np.float64), table[name].unit or u.one)
                values[:, column] = quantity.to_value(unit)
        common = self._keys_of(ref, own)
        names = {name: table[name].tolist() for name in own}
        has_words = {"failed", "fault"} <= set(table.colnames)
        known = (
            list(zip(table["failed"], table["fault"], strict=True)) if has_words else [_NOTHING] * len(table)
        )
        return {
            row: (
                {**common, **{name: names[name][i] for name in own}, "known": tuple(map(str, known[i]))},
                values[i],
                ref,
            )
            for i, row in enumerate(names[self._kind.row])
        }

    def _keys_of(self, ref: DatasetRef, exclude: Sequence[str] = ()) -> dict[str, Any]:
        return {
            name: self._detector_names.get(int(ref.dataId["detector"]))
            if name == "detector_name"
            else self._time(ref).night
            if name == "day_obs"
            else ref.dataId.get(name)
            for name in self._kind.keys
            if name not in exclude
        }

    def _time(self, ref: DatasetRef) -> VisitTime:
        return self._times.get(int(ref.dataId["visit"]), VisitTime())

    @cached_property
    def _detector_names(self) -> dict[int, str]:
        with self._butler.query() as query:
            return {d.id: d.full_name for d in query.dimension_records("detector").where(self._root)}

    def _windows(self) -> Iterator[tuple[list[DatasetRef], list[DatasetRef]]]:
        """Look up some datasets after the other, as a campaign's references
        alone may be too many to keep.
        """
        types = [dataset_type for dataset_type in (self._tables, self._bundles) if dataset_type is not None]
        size = _TABLE_WINDOW if self._bundles is None else self._kind.window_size
        last = -1
        while True:
            ends = []
            any_left = False
            for dataset_type in types:
                ids = self._next_ids(dataset_type, last, size)
                any_left |= bool(ids)
                # A full list may go on; beyond a short one there is nothing.
                if len(ids) == size:
                    ends.append(ids[-1])
            if not any_left:
                return
            end = min(ends) if ends else None
            refs = {dataset_type.name: self._refs(dataset_type, last, end) for dataset_type in types}
            yield (
                refs[self._tables.name] if self._tables is not None else [],
                refs[self._bundles.name] if self._bundles is not None else [],
            )
            if end is None:
                return
            last = end

    def _next_ids(self, dataset_type: DatasetType, last: int, size: int) -> list[int]:
        dimension = self._kind.window
        with self._butler.query() as query:
            ids = (
                query.join_dataset_search(dataset_type, self._collections)
                .data_ids((self._kind.root, dimension))
                .where(self._root)
                .where(f"{dimension} > last_id", bind={"last_id": last})
                .order_by(dimension)
                .limit(size)
            )
            return [int(data_id[dimension]) for data_id in ids]

    def _refs(self, dataset_type: DatasetType, last: int, end: int | None) -> list[DatasetRef]:
        dimension = self._kind.window
        with self._butler.query() as query:
            refs = (
                query.datasets(dataset_type, self._collections)
                .where(self._root)
                .where(f"{dimension} > last_id", bind={"last_id": last})
            )
            if end is not None:
                refs = refs.where(f"{dimension} <= end_id", bind={"end_id": end})
            return list(refs)


@dataclass(frozen=True)
class VisitTime:
    """What the record of a visit says of its time.

    Attributes
    ----------
    begin : `int` or `None`
        Its begin in microseconds of UTC since 1970, without leap seconds, as
        computers count them.
    night : `int` or `None`
        The night, YYYYMMDD. It is a field of the record in every version of
        the dimension universe, and a dimension since version 6.
    """

    begin: int | None = None
    night: int | None = None


def visit_times(butler: Butler, instrument: str, visits: Iterable[int]) -> dict[int, VisitTime]:
    """Look up the times of visits.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        The repository.
    instrument : `str`
        Name of the instrument.
    visits : `~collections.abc.Iterable` [`int`]
        Numbers of the visits.

    Returns
    -------
    times : `dict` [`int`, `VisitTime`]
        The times, by visit.
    """
    times: dict[int, VisitTime] = {}
    for some in itertools.batched(sorted(visits), _VISITS_AT_ONCE):
        with butler.query() as query:
            for record in (
                query.dimension_records("visit")
                .where({"instrument": instrument})
                .where("visit IN (some)", bind={"some": list(some)})
            ):
                times[record.id] = VisitTime(_begin_of(record.timespan), getattr(record, "day_obs", None))
    return times


def _begin_of(timespan: Timespan | None) -> int | None:
    if timespan is None or timespan.isEmpty() or timespan.begin is None:
        return None
    assert isinstance(timespan.begin, Time)
    return microseconds(timespan.begin)


def _bundle_values(bundle: Any, columns: Mapping[str, tuple[int, u.UnitBase]]) -> np.ndarray:
    """Return a bundle's metrics as a row; those that it lacks are NaN."""
    values = np.full(len(columns), np.nan)
    for name, quantity in _measurements(bundle):
        if name in columns:
            column, unit = columns[name]
            # To compare units takes longer than to see that they are one.
            same = quantity.unit is unit or quantity.unit == unit
            values[column] = quantity.value if same else quantity.to_value(unit)
    return values


def _measurements(bundle: Any) -> Iterator[tuple[str, u.Quantity]]:
    for group, measurements in bundle.items():
        for measurement in measurements:
            yield f"{group}_{measurement.metric_name}", measurement.quantity


def _background_unit(units: Mapping[str, str]) -> u.UnitBase | None:
    """Find the unit of the background from that of a metric that has it."""
    for name, unit in units.items():
        if load_catalogue()[name].unit == "{unit}":
            return u.Unit(unit)
    return None
