# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The overview, and the lists that it leads to."""

from __future__ import annotations

__all__ = ("FamilyReport", "block_table", "family_section", "run_tables", "shown_places", "stack_table")

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..campaign import CampaignTable
from ._aggregate import VERDICTS, Aggregate
from ._details import DetailWriter, WholeBlock
from ._runs import TaskTime, TypeCount
from ._tables import Cell, Column, Row, Table, band_order, count, number, share, show_worst
from ._views import Places, View, overview_view

_WORST = 15
_MOST_PLACES = 400


@dataclass(frozen=True)
class FamilyReport:
    """What is known of a family when all of it was read.

    Attributes
    ----------
    family : `~lsst.bgqa.dashboard.CampaignTable`
        The family.
    aggregate : `Aggregate`
        Its aggregates.
    details : `DetailWriter`
        Its pages.
    outlines : `~collections.abc.Mapping` [`tuple`, `numpy.ndarray`]
        Outlines of its places, by their keys.
    whole : `~collections.abc.Mapping` [`tuple`, `WholeBlock`]
        Metrics of its blocks as a whole.
    """

    family: CampaignTable
    aggregate: Aggregate
    details: DetailWriter
    outlines: Mapping[tuple[Any, ...], np.ndarray]
    whole: Mapping[tuple[Any, ...], WholeBlock]

    @property
    def blocks(self) -> str:
        """What its blocks are, in the plural (`str`)."""
        return "visits" if self.aggregate.form.night_key else "tracts and bands"

    @property
    def title(self) -> str:
        """What its rows are, and where (`str`)."""
        if self.aggregate.form.night_key:
            return f"Detectors of {self.family.root}"
        return f"Patches of {self.family.root}"


def family_section(
    report: FamilyReport, number_: int, bands: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """Make a family's section of the overview.

    Parameters
    ----------
    report : `FamilyReport`
        The family.
    number_ : `int`
        Its place in the overview, from 0.
    bands : `~collections.abc.Mapping`
        Colours and markers by band.

    Returns
    -------
    section : `dict`
        What the template needs.
    """
    aggregate, family = report.aggregate, report.family
    form = aggregate.form
    keys = shown_places(aggregate)
    view = _view(report, number_, keys, bands)
    places = _place_table(report, number_, keys)
    blocks = block_table(report, f"blocks-{number_}", _WORST)
    sentence = (
        f"{count(aggregate.rows, 'row')}: {count(len(aggregate.places), form.place, _plural(form.place))} in "
        f"{aggregate.block_count:,} {report.blocks}, {aggregate.failing_blocks:,} of them with a failure"
    )
    return {
        "id": f"family-{number_}",
        "title": report.title,
        "source": ", ".join(family.dataset_types),
        "counts": {word: aggregate.counts[word] for word in VERDICTS},
        "failing_share": share(aggregate.counts["fail"], aggregate.rows),
        "sentence": sentence,
        "matrix": _matrix(aggregate),
        "failures": _failure_table(aggregate, f"failures-{number_}"),
        "view": view,
        "places": places,
        "tables": [places, blocks],
    }


def shown_places(aggregate: Aggregate) -> list[tuple[Any, ...]]:
    """Return the detectors or patches that the overview shows.

    Parameters
    ----------
    aggregate : `Aggregate`
        Aggregates of their family.

    Returns
    -------
    keys : `list` [`tuple`]
        Keys of all, or of the worst if there are too many, in order.
    """
    keys = sorted(aggregate.places)
    if len(keys) > _MOST_PLACES:
        keys = sorted(sorted(keys, key=lambda key: _place_rank(aggregate, key))[:_MOST_PLACES])
    return keys


def block_table(report: FamilyReport, identifier: str, most: int | None = None) -> Table:
    """List the worst visits, or tracts.

    Parameters
    ----------
    report : `FamilyReport`
        The family.
    identifier : `str`
        Identifier of the table.
    most : `int`, optional
        How many to list; by default all that are known.

    Returns
    -------
    table : `Table`
        A row each, the worst first.
    """
    aggregate, family = report.aggregate, report.family
    form = aggregate.form
    visits = form.night_key is not None
    columns = [Column("visit")] if visits else [Column("tract"), Column("band")]
    if visits:
        columns += [Column("filter"), Column("band"), Column("night")]
    columns += [
        Column(_plural(form.place), number=True),
        Column("fail", number=True),
        Column("share", number=True),
        Column("fails most", wrap=True),
        Column("value", number=True),
        Column("severity", number=True),
        Column(f"in {form.place}"),
        Column("as a whole", wrap=True),
    ]
    rows = []
    every = aggregate.blocks()
    for block in every[:most]:
        path = report.details.paths.get(block.key, "")
        total = sum(block.counts.values())
        fails = block.counts.get("fail", 0)
        cells = [Cell(str(block.key[0]), block.key[0], href=path)]
        if visits:
            cells += [
                Cell(str(block.columns.get("physical_filter", ""))),
                Cell(str(block.columns.get("band", ""))),
                Cell(str(block.columns.get("day_obs", ""))),
            ]
        else:
            cells.append(Cell(str(block.key[1])))
        where = Cell()
        if block.place:
            label = f"{block.place[-1]} ({block.place_name})" if block.place_name else str(block.place[-1])
            target = f"{path}#{report.details.anchor(block.place)}" if path else ""
            where = Cell(label, block.place[-1], href=target)
        whole = report.whole.get(block.key)
        cells += [
            Cell(f"{total:,}", total),
            Cell(f"{fails:,}", fails),
            Cell(share(fails, total), fails / total),
            *show_worst(block.worst, family.units),
            where,
            Cell() if whole is None else Cell(", ".join(whole.failed) or whole.verdict),
        ]
        rows.append(
            Row(cells, verdict="fail" if fails else "pass" if block.counts.get("pass") else "unknown")
        )
    what = "visits" if visits else "tracts"
    title = f"Worst {what}" if most is not None else f"{what.capitalize()} of {family.root}: {family.name}"
    note = ""
    if len(rows) < aggregate.block_count:
        note = f"The worst {len(rows):,} of {aggregate.block_count:,} {report.blocks}."
    if not report.details.paths:
        note = f"{note} None has a page; bgqa report --detail all gives each one.".strip()
    return Table(identifier, title, columns, rows, verdicts=True, note=note)


def stack_table(
    identifier: str, family: CampaignTable, rows: Sequence[Mapping[str, Any]], pictures: Mapping[int, str]
) -> Table:
    """List the stacks of a family.

    Parameters
    ----------
    identifier : `str`
        Identifier of the table.
    family : `~lsst.bgqa.dashboard.CampaignTable`
        The family.
    rows : `~collections.abc.Sequence` [`~collections.abc.Mapping`]
        Its rows.
    pictures : `~collections.abc.Mapping` [`int`, `str`]
        Pictures by number of the row.

    Returns
    -------
    table : `Table`
        A row each.
    """
    names = [name for name in family.units if any(math.isfinite(row[name]) for row in rows)]
    columns = [Column("detector"), Column("name"), Column("filter"), Column("verdict")]
    for name in names:
        unit = family.units[name]
        columns.append(Column(f"{name} / {unit}" if unit else name, number=True))
    columns.append(Column("picture"))
    table_rows = []
    for i, row in enumerate(rows):
        cells = [
            Cell(str(row["detector"]), row["detector"]),
            Cell(str(row["detector_name"])),
            Cell(str(row["physical_filter"])),
            Cell(row["verdict"], verdict=True),
            *(Cell(number(row[name]), row[name] if math.isfinite(row[name]) else None) for name in names),
            Cell(links=[("picture", pictures[i])] if i in pictures else ()),
        ]
        table_rows.append(Row(cells, verdict=row["verdict"]))
    title = f"Stacks of {family.root}: {family.name}"
    return Table(identifier, title, columns, table_rows, verdicts=True)


def run_tables(counts: Sequence[TypeCount], times: Sequence[TaskTime]) -> list[Table]:
    """List what ran.

    Parameters
    ----------
    counts : `~collections.abc.Sequence` [`TypeCount`]
        Datasets by type.
    times : `~collections.abc.Sequence` [`TaskTime`]
        Tasks.

    Returns
    -------
    tables : `list` [`Table`]
        The tasks, and the dataset types.
    """
    tables = []
    if times:
        rows = []
        for time in times:
            cells = [
                Cell(time.label),
                Cell(f"{time.quanta:,}", time.quanta),
                Cell(number(time.seconds, "s"), time.seconds, soft=f"of {time.sample}"),
                Cell(f"{time.first:%Y-%m-%d %H:%M:%S}" if time.first else ""),
                Cell(f"{time.last:%Y-%m-%d %H:%M:%S}" if time.last else ""),
            ]
            rows.append(Row(cells))
        columns = [
            Column("task"),
            Column("quanta", number=True),
            Column("median time", number=True),
            Column("first began, UTC"),
            Column("last ended, UTC"),
        ]
        note = "Times are those of the quanta that were looked at."
        tables.append(Table("tasks", "Tasks", columns, rows, filter=False, note=note))
    rows = []
    for kind in counts:
        runs = list(kind.counts)
        shown = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
        total = sum(kind.counts.values())
        cells = [
            Cell(kind.name),
            Cell(kind.storage_class),
            Cell(", ".join(kind.dimensions)),
            Cell(f"{total:,}", total),
            Cell(shown),
        ]
        rows.append(Row(cells))
    columns = [
        Column("dataset type"),
        Column("storage class"),
        Column("dimensions", wrap=True),
        Column("datasets", number=True),
        Column("RUN collections", wrap=True),
    ]
    tables.append(Table("types", "Dataset types", columns, rows, tall=True))
    return tables


def _view(
    report: FamilyReport, number_: int, keys: Sequence[tuple[Any, ...]], bands: Mapping[str, Any]
) -> View:
    aggregate = report.aggregate
    known = any(key in report.outlines for key in keys)
    nowhere = np.empty((0, 2))
    places = Places(
        [str(key[-1]) for key in keys],
        [_place_name(report, key) for key in keys],
        [_anchor(report, number_, i) for i in range(len(keys))],
        [report.outlines.get(key, nowhere) for key in keys] if known else None,
    )
    no_map = (
        "" if known else f"The repository has no regions of these {_plural(aggregate.form.place)}: no map."
    )
    return overview_view(report.title, aggregate, keys, places, bands, no_map)


def _place_name(report: FamilyReport, key: tuple[Any, ...]) -> str:
    name = report.aggregate.places[key].name
    return name or (f"tract {key[0]}" if len(key) > 1 else "")


def _place_rank(aggregate: Aggregate, key: tuple[Any, ...]) -> tuple[float, int]:
    place = aggregate.places[key]
    return -(place.worst.severity if place.worst else 0.0), -place.counts["fail"]


def _anchor(report: FamilyReport, number_: int, place: int) -> str:
    return f"{report.aggregate.form.place}-{number_}-{place}"


def _place_table(report: FamilyReport, number_: int, keys: Sequence[tuple[Any, ...]]) -> Table:
    aggregate, units = report.aggregate, report.family.units
    form = aggregate.form
    visits = form.night_key is not None
    columns = [
        Column(form.place),
        Column("name" if visits else "in"),
        Column("visits" if visits else "bands", number=True),
        Column("fail", number=True),
        Column("share", number=True),
        Column("metric", number=True, metric=True),
        Column("fails most", wrap=True),
        Column("value", number=True),
        Column("severity", number=True),
        Column("in visit" if visits else "in band"),
    ]
    rows = []
    numbers = {key: i for i, key in enumerate(keys)}
    for key in sorted(keys, key=lambda key: _place_rank(aggregate, key)):
        place = aggregate.places[key]
        total, fails = sum(place.counts.values()), place.counts["fail"]
        path = report.details.paths.get(place.where, "")
        target = f"{path}#{report.details.anchor(key)}" if path else ""
        where = str(place.where[-1]) if place.where else ""
        cells = [
            Cell(str(key[-1]), key[-1], choose=True),
            Cell(_place_name(report, key)),
            Cell(f"{total:,}", total),
            Cell(f"{fails:,}", fails),
            Cell(share(fails, total), fails / total),
            Cell(),
            *show_worst(place.worst, units),
            Cell(where, href=target),
        ]
        verdict = "fail" if fails else "pass" if place.counts["pass"] else "unknown"
        i = numbers[key]
        rows.append(Row(cells, verdict=verdict, anchor=_anchor(report, number_, i), place=i))
    what = _plural(form.place)
    note = ""
    if len(keys) < len(aggregate.places):
        note = f"The worst {len(keys):,} of {len(aggregate.places):,} {what}."
    return Table(
        f"places-{number_}",
        f"{what.capitalize()}, the worst first",
        columns,
        rows,
        verdicts=True,
        tall=True,
        note=note,
    )


def _failure_table(aggregate: Aggregate, identifier: str) -> Table:
    columns = [Column("metric"), Column("rows", number=True), Column("share", number=True)]
    rows = [
        Row([Cell(name), Cell(f"{number_:,}", number_), Cell(share(number_, aggregate.rows), number_)])
        for name, number_ in aggregate.metric_failures.most_common()
    ]
    return Table(identifier, "Most common failures", columns, rows, filter=False, tall=True)


def _matrix(aggregate: Aggregate) -> dict[str, Any]:
    bands = sorted(aggregate.bands, key=band_order)
    rows = [("all", {band: aggregate.bands[band] for band in bands})]
    rows += [
        (group, {band: aggregate.group_counts[group, band] for band in bands}) for group in aggregate.groups
    ]
    matrix = []
    for group, counts in rows:
        cells = []
        for band in bands:
            fails, passes = counts[band]["fail"], counts[band]["pass"]
            judged = fails + passes
            cells.append(
                {
                    "text": share(fails, judged),
                    "share": fails / judged if judged else 0.0,
                    "counts": f"{fails:,} of {judged:,}" if judged else "not judged",
                    "title": f"{fails:,} fail, {passes:,} pass, {counts[band]['unknown']:,} unknown",
                }
            )
        matrix.append({"group": group, "cells": cells})
    return {"bands": bands, "rows": matrix}


def _plural(place: str) -> str:
    return "patches" if place == "patch" else f"{place}s"
