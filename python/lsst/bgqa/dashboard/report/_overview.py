# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The overview, and the lists that it leads to."""

from __future__ import annotations

__all__ = ("TableReport", "headline", "mosaic_table", "run_tables", "section", "stack_table")

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..campaign import VERDICTS, CampaignTable
from ..queries import Summary, WorstValue
from ._pages import MosaicPages
from ._panels import Panels, Tiles, overview_panels
from ._runs import TaskTime, TypeCount
from ._tables import Cell, Column, Row, Table, band_order, count, number, share, show_worst

_WORST = 15
_PLURAL = {"detector": "detectors", "patch": "patches"}


@dataclass(frozen=True)
class TableReport:
    """A campaign table, what it amounts to, its pages, and where its tiles are."""

    table: CampaignTable
    summary: Summary
    pages: MosaicPages
    outlines: Mapping[tuple[Any, ...], np.ndarray]
    wholes: Mapping[tuple[Any, ...], Mapping[str, Any]]
    arrows: Mapping[str, tuple[float, float]]

    @property
    def visits(self) -> bool:
        return self.table.kind == "detector"

    @property
    def mosaics(self) -> str:
        return "visits" if self.visits else "tracts and bands"

    def mosaic_count(self, number_: int) -> str:
        one = "visit" if self.visits else "tract and band"
        return count(number_, one, self.mosaics)

    @property
    def tiles(self) -> str:
        return _PLURAL[self.table.kind]

    @property
    def title(self) -> str:
        return f"{self.tiles.capitalize()} of {self.table.root}"

    def verdict_of(self, row: Mapping[str, Any]) -> str:
        return "fail" if row["fail"] else "pass" if row["pass"] else "unknown"

    def worst_of(self, row: Mapping[str, Any]) -> tuple[WorstValue | None, dict[str, Any]]:
        found = self.summary.worst.get(row["worst"], {})
        return found.get("value"), found


def headline(report: TableReport) -> list[str]:
    """Say what a reader must know in ten seconds: how many of how much, what, where, since when."""
    summary = report.summary
    counts, what = summary.counts, "detector images" if report.visits else "patch coadds"
    judged = counts["pass"] + counts["fail"]
    if not judged:
        return [f"None of {count(summary.rows, what[:-1], what)} was judged: no threshold applies."]
    fails = counts["fail"]
    failing = int((summary.mosaics["fail"] > 0).sum())
    if not fails:
        return [f"All {count(judged, what[:-1], what)} in {report.mosaic_count(len(summary.mosaics))} pass."]
    lines = [
        f"{fails:,} of {count(judged, what[:-1], what)} fail ({share(fails, judged)}), "
        f"in {failing:,} of {report.mosaic_count(len(summary.mosaics))}."
    ]
    if summary.faults:
        words, number_ = next(iter(summary.faults.items()))
        lines.append(f"Most common: {words}, in {number_:,} of them ({share(number_, fails)}).")
    lines.append(_where(report))
    return lines


def _where(report: TableReport) -> str:
    """Say where rows fail most, and since when."""
    summary = report.summary
    worst = summary.tiles.sort("fail", descending=True, maintain_order=True).row(0, named=True)
    total = sum(worst[word] for word in VERDICTS)
    name = f" ({worst['name']})" if worst["name"] else ""
    label = f"{report.table.kind} {worst['key'][-1]}{name}"
    text = f"Most often in {label}: {worst['fail']:,} of its {total:,} rows"
    bands = {band: c for band, c in summary.bands.items() if c["fail"] + c["pass"]}
    if len(bands) > 1:
        band = max(bands, key=lambda band: bands[band]["fail"] / (bands[band]["fail"] + bands[band]["pass"]))
        fails, judged = bands[band]["fail"], bands[band]["fail"] + bands[band]["pass"]
        text += f"; of the bands, most in {band} ({share(fails, judged)})"
    nights = [cell for cell in summary.nights if summary.nights[cell]["failing"]]
    if nights:
        first, last = min(cell[0] for cell in nights), max(cell[1] for cell in nights)
        text += f"; in the night {first} alone" if first == last else f"; from night {first} to {last}"
    return f"{text}."


def section(report: TableReport, number_: int, bands: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Make a table's section of the overview: what the template needs."""
    summary, table = report.summary, report.table
    counts = summary.counts
    failing = int((summary.mosaics["fail"] > 0).sum())
    tiles = _tile_table(report, number_)
    judged = counts["pass"] + counts["fail"]
    sentence = (
        f"{count(summary.rows, 'row')}: {count(summary.tile_count, table.kind, report.tiles)} in "
        f"{report.mosaic_count(len(summary.mosaics))}, {failing:,} of them with a failure"
    )
    return {
        "id": f"table-{number_}",
        "title": report.title,
        "source": ", ".join(table.dataset_types),
        "headline": headline(report),
        "counts": counts,
        "failing_share": f"{share(counts['fail'], judged)} fail" if judged else "not judged",
        "sentence": sentence,
        "matrix": _matrix(summary),
        "failures": _failure_table(summary, f"failures-{number_}"),
        "view": _panels(report, number_, bands),
        "tiles": tiles,
        "tables": [tiles, mosaic_table(report, f"mosaics-{number_}", _WORST)],
    }


def mosaic_table(report: TableReport, identifier: str, most: int = 5000) -> Table:
    """List the worst visits, or tracts, the worst first."""
    summary, table = report.summary, report.table
    columns = [Column("visit")] if report.visits else [Column("tract"), Column("band")]
    if report.visits:
        columns += [Column("filter"), Column("band"), Column("night")]
    columns += [
        Column(report.tiles, number=True),
        Column("fail", number=True),
        Column("fails most", wrap=True),
        Column("value", number=True, wrap=True),
        Column("severity", number=True),
        Column(f"in {table.kind}"),
        Column("as a whole", wrap=True),
    ]
    rows = []
    for row in summary.mosaics.head(most).iter_rows(named=True):
        key = tuple(row[name] for name in table.row_kind.mosaic)
        path = report.pages.paths.get(key, "")
        total, fails = sum(row[word] for word in VERDICTS), row["fail"]
        cells = [Cell(str(key[0]), key[0], href=path)]
        if report.visits:
            night = str(row["day_obs"] or "not known")
            cells += [Cell(str(row["physical_filter"])), Cell(str(row["band"])), Cell(night)]
        else:
            cells.append(Cell(str(key[1])))
        worst, where = report.worst_of(row)
        cells += [
            Cell(f"{total:,}", total),
            Cell(f"{fails:,}", fails, soft=f"({share(fails, total)})"),
            *show_worst(worst, table.units),
            _tile_cell(report, where, path),
            Cell(_whole_words(report.wholes.get(key))),
        ]
        rows.append(Row(cells, verdict=report.verdict_of(row)))
    what = "visits" if report.visits else "tracts"
    title = f"Worst {what}" if most == _WORST else f"{what.capitalize()} of {table.root}: {table.name}"
    note = ""
    if len(rows) < len(summary.mosaics):
        note = f"The worst {len(rows):,} of {len(summary.mosaics):,} {report.mosaics}."
    if not report.pages.paths:
        note = f"{note} None has a page; bgqa report --detail all gives each one.".strip()
    return Table(identifier, title, columns, rows, verdicts=True, note=note)


def _tile_cell(report: TableReport, where: Mapping[str, Any], path: str) -> Cell:
    if not where:
        return Cell()
    tile = where[report.table.row_kind.tile[-1]]
    name = where.get("detector_name")
    href = f"{path}#{report.pages.anchor(tile)}" if path else ""
    return Cell(f"{tile} ({name})" if name else str(tile), tile, href=href)


def _whole_words(whole: Mapping[str, Any] | None) -> str:
    if whole is None:
        return ""
    return (
        whole["fault"] or whole["failed"] or {"unknown": "not judged"}.get(whole["verdict"], whole["verdict"])
    )


def stack_table(
    identifier: str, table: CampaignTable, rows: Sequence[Mapping[str, Any]], pictures: Mapping[int, str]
) -> Table:
    """List the stacks of a table, with pictures by number of the row."""
    names = [name for name in table.units if any(math.isfinite(row[name]) for row in rows)]
    columns = [Column("detector"), Column("name"), Column("filter"), Column("verdict")]
    for name in names:
        unit = table.units[name]
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
    return Table(identifier, f"Stacks of {table.root}: {table.name}", columns, table_rows, verdicts=True)


def run_tables(counts: Sequence[TypeCount], times: Sequence[TaskTime]) -> list[Table]:
    """List what ran: the tasks, and the dataset types."""
    tables = []
    if times:
        rows = []
        for time in times:
            cells = [
                Cell(time.label),
                Cell(f"{time.quanta:,}", time.quanta),
                Cell(number(time.seconds, "s"), time.seconds, soft=f"of {time.sample}"),
                *(Cell(f"{when:%Y-%m-%d %H:%M:%S}" if when else "") for when in (time.first, time.last)),
            ]
            rows.append(Row(cells))
        columns = [Column("task"), Column("quanta", number=True), Column("median time", number=True)]
        columns += [Column("first began, UTC"), Column("last ended, UTC")]
        note = "Times are those of the quanta that were looked at."
        tables.append(Table("tasks", "Tasks", columns, rows, filter=False, note=note))
    rows = []
    for kind in counts:
        runs, total = list(kind.counts), sum(kind.counts.values())
        shown = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")
        cells = [Cell(kind.name), Cell(kind.storage_class), Cell(", ".join(kind.dimensions))]
        rows.append(Row([*cells, Cell(f"{total:,}", total), Cell(shown)]))
    columns = [Column("dataset type", wrap=True), Column("storage class"), Column("dimensions", wrap=True)]
    columns += [Column("datasets", number=True), Column("RUN collections", wrap=True)]
    tables.append(Table("types", "Dataset types", columns, rows, tall=True))
    return tables


def _panels(report: TableReport, number_: int, bands: Mapping[str, Any]) -> Panels:
    found = report.summary.tiles
    keys = [tuple(key) for key in found["key"].to_list()]
    known = any(key in report.outlines for key in keys)
    nowhere = np.empty((0, 2))
    tiles = Tiles(
        [str(key[-1]) for key in keys],
        [_tile_name(key, name) for key, name in zip(keys, found["name"], strict=True)],
        [_anchor(report, number_, i) for i in range(len(keys))],
        [report.outlines.get(key, nowhere) for key in keys] if known else None,
        report.arrows,
    )
    no_map = "" if known else f"The repository has no regions of these {report.tiles}: no map."
    return overview_panels(report.title, report.table, report.summary, tiles, bands, no_map)


def _tile_name(key: tuple[Any, ...], name: str) -> str:
    return name or (f"tract {key[0]}" if len(key) > 1 else "")


def _anchor(report: TableReport, number_: int, tile: int) -> str:
    return f"{report.table.kind}-{number_}-{tile}"


def _tile_table(report: TableReport, number_: int) -> Table:
    units, visits, kind = report.table.units, report.visits, report.table.row_kind
    columns = [
        Column(kind.name),
        Column("name" if visits else "in"),
        Column("visits" if visits else "bands", number=True),
        Column("fail", number=True),
        Column("metric", number=True, metric=True),
        Column("fails most", wrap=True),
        Column("value", number=True, wrap=True),
        Column("severity", number=True),
        Column("in visit" if visits else "in band"),
    ]
    rows = []
    found = report.summary.tiles.with_row_index("tile")
    order = ["severity", "fail"]
    for row in found.sort(order, descending=True, nulls_last=True, maintain_order=True).iter_rows(named=True):
        key, i = tuple(row["key"]), row["tile"]
        total, fails = sum(row[word] for word in VERDICTS), row["fail"]
        worst, where = report.worst_of(row)
        mosaic = tuple(where[name] for name in kind.mosaic) if where else ()
        path = report.pages.paths.get(mosaic, "")
        cells = [
            Cell(str(key[-1]), key[-1], choose=True),
            Cell(_tile_name(key, row["name"])),
            Cell(f"{total:,}", total),
            Cell(f"{fails:,}", fails, soft=f"({share(fails, total)})"),
            Cell(),
            *show_worst(worst, units),
            Cell(
                str(mosaic[-1]) if mosaic else "",
                href=f"{path}#{report.pages.anchor(key[-1])}" if path else "",
            ),
        ]
        anchor = _anchor(report, number_, i)
        rows.append(Row(cells, verdict=report.verdict_of(row), anchor=anchor, tile=i))
    note = ""
    if len(found) < report.summary.tile_count:
        note = f"The worst {len(found):,} of {report.summary.tile_count:,} {report.tiles}."
    title = f"{report.tiles.capitalize()}, the worst first"
    return Table(f"tiles-{number_}", title, columns, rows, verdicts=True, tall=True, note=note)


def _failure_table(summary: Summary, identifier: str) -> Table:
    columns = [Column("metric"), Column("rows", number=True), Column("share", number=True)]
    rows = [
        Row([Cell(name), Cell(f"{fails:,}", fails), Cell(share(fails, summary.rows), fails)])
        for name, fails in summary.failures.items()
    ]
    return Table(identifier, "Most common failures", columns, rows, filter=False, tall=True)


def _matrix(summary: Summary) -> dict[str, Any]:
    bands = sorted(summary.bands, key=band_order)
    groups = list(dict.fromkeys(group for group, _ in summary.groups))
    rows = [("all", [summary.bands[band] for band in bands])]
    rows += [(group, [summary.groups[group, band] for band in bands]) for group in groups]
    return {
        "bands": bands,
        "rows": [{"group": group, "cells": [_heat(c) for c in cells]} for group, cells in rows],
    }


def _heat(counts: Mapping[str, int]) -> dict[str, Any]:
    fails, passes = counts["fail"], counts["pass"]
    judged = fails + passes
    return {
        "text": share(fails, judged),
        "share": fails / judged if judged else 0.0,
        "counts": f"{fails:,} of {judged:,}" if judged else "not judged",
        "title": f"{fails:,} fail, {passes:,} pass, {counts['unknown']:,} unknown",
    }
