# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The overview, and the lists that it leads to."""

from __future__ import annotations

__all__ = ("TableReport", "mosaic_table", "section", "stack_table")

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from ..campaign import CampaignTable
from ..queries import Summary, WorstValue
from ._pages import MosaicPages
from ._panels import Tiles, overview_panels
from ._tables import Cell, Column, Table, amount, count, number, share

_WORST = 15


@dataclass(frozen=True)
class TableReport:
    """A campaign table, what it amounts to, its pages, and where its tiles are."""

    table: CampaignTable
    summary: Summary
    pages: MosaicPages
    tiles: Tiles
    wholes: Mapping[tuple[Any, ...], Mapping[str, Any]]

    @property
    def visits(self) -> bool:
        return self.table.kind == "detector"

    @property
    def plural(self) -> str:
        return "detectors" if self.visits else "patches"

    @property
    def title(self) -> str:
        return f"{self.plural.capitalize()} of {self.table.root}"

    @property
    def mosaics(self) -> str:
        one, several = ("visit", "visits") if self.visits else ("tract and band", "tracts and bands")
        return count(len(self.summary.mosaics), one, several)

    def key(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the visit, or the tract and band, of a row."""
        return tuple(row[name] for name in self.table.row_kind.mosaic)

    def page(self, row: Mapping[str, Any], tile: Any = None) -> str:
        """Return a link to the visit or tract of a row, and to a detector or patch in it."""
        path = self.pages.paths.get(self.key(row), "")
        return f"{path}#{self.pages.anchor(tile)}" if path and tile is not None else path

    def rows(self, found: pl.DataFrame) -> list[dict[str, Any]]:
        """Return tiles or mosaics, with the keys and the ``value`` of the worst row of each that has one."""
        return [
            {"value": None, **row, **self.summary.worst.get(row["worst"], {})}
            for row in found.iter_rows(named=True)
        ]

    def columns(self, over: str) -> list[Column]:
        """Show how many images there are and fail, for what most, and how severe that is."""

        def fails(row: Mapping[str, Any]) -> Cell:
            return Cell(f"{row['fail']:,}", row["fail"], soft=f"({share(row['fail'], row['rows'])})")

        def value(worst: WorstValue) -> Cell:
            low, high = number(worst.low), number(worst.high)
            passes = (
                f"{low} to {high}" if low and high else f"\u2265 {low}" if low else high and f"\u2264 {high}"
            )
            return amount(worst.value, self.table.units.get(worst.metric, ""), passes and f"({passes})")

        def of_worst(label: str, show: Callable[[WorstValue], Cell], kind: str) -> Column:
            return Column(label, lambda row: show(row["value"]) if row["value"] else "", kind)

        return [
            Column(over, lambda row: row["rows"], "number"),
            Column("fail", fails, "number"),
            of_worst("fails most", lambda worst: Cell(worst.metric, soft=worst.words), "wrap"),
            of_worst("value", value, "number"),
            of_worst("severity", lambda worst: amount(worst.severity), "number"),
        ]


def _attributes(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"data-verdict": "fail" if row["fail"] else "pass" if row["pass"] else "unknown"}


def section(report: TableReport, number: int, styles: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Make a table's section of the overview: what the template needs."""
    summary = report.summary
    failures = [
        Column("metric", lambda row: row[0]),
        Column("rows", lambda row: row[1], "number"),
        Column("share", lambda row: Cell(share(row[1], summary.rows), row[1]), "number"),
    ]
    rows = list(summary.failures.items())
    return {
        "id": f"table-{number}",
        "report": report,
        "headline": _headline(report),
        "failures": Table(
            f"failures-{number}", "Most common failures", failures, rows, filter=False, tall=True
        ),
        "view": overview_panels(report.title, report.table, summary, report.tiles, styles),
        "tables": [_tile_table(report, number), mosaic_table(report, f"mosaics-{number}", _WORST)],
    }


def _headline(report: TableReport) -> list[str]:
    """Say what a reader must know in ten seconds: how many of how much, what, where, since when."""
    summary = report.summary
    counts, what = summary.counts, "detector images" if report.visits else "patch coadds"
    fails, judged = counts["fail"], counts["pass"] + counts["fail"]
    if not judged:
        return [f"None of {count(summary.rows, what[:-1], what)} was judged: no threshold applies."]
    if not fails:
        return [f"All {count(judged, what[:-1], what)} in {report.mosaics} pass."]
    lines = [
        f"{fails:,} of {count(judged, what[:-1], what)} fail ({share(fails, judged)}), "
        f"in {summary.failing_mosaics:,} of {report.mosaics}."
    ]
    if summary.faults:
        words, common = next(iter(summary.faults.items()))
        lines.append(f"Most common: {words}, in {common:,} of them ({share(common, fails)}).")
    worst = summary.tiles.sort("fail", descending=True, maintain_order=True).row(0, named=True)
    name = f" ({worst['name']})" if worst["name"] else ""
    where = f"Most often in {report.table.kind} {worst['key'][-1]}{name}: "
    where += f"{worst['fail']:,} of its {worst['rows']:,} rows"
    bands = {band: (c["fail"], c["fail"] + c["pass"]) for band, c in summary.bands.items()}
    bands = {band: (fails, judged) for band, (fails, judged) in bands.items() if judged}
    if len({fails / judged for fails, judged in bands.values()}) > 1:
        band = max(bands, key=lambda band: bands[band][0] / bands[band][1])
        where += f"; of the bands, most in {band} ({share(*bands[band])})"
    nights = [cell for cell in summary.nights if summary.nights[cell]["failing"]]
    if nights:
        first, last = min(cell[0] for cell in nights), max(cell[1] for cell in nights)
        where += f"; in the night {first} alone" if first == last else f"; from night {first} to {last}"
    return [*lines, f"{where}."]


def mosaic_table(report: TableReport, identifier: str, most: int = 5000) -> Table:
    """List the worst visits, or tracts, the worst first."""
    summary, table = report.summary, report.table
    mosaic, tile = table.row_kind.mosaic[0], table.row_kind.tile[-1]

    def place(row: Mapping[str, Any]) -> Cell:
        if not row["value"]:
            return Cell()
        name = f" ({row['detector_name']})" if row.get("detector_name") else ""
        return Cell(f"{row[tile]}{name}", row[tile], report.page(row, row[tile]))

    def whole(row: Mapping[str, Any]) -> str:
        if (found := report.wholes.get(report.key(row))) is None:
            return ""
        verdict = "not judged" if found["verdict"] == "unknown" else found["verdict"]
        return str(found["fault"] or found["failed"] or verdict)

    columns = [
        Column(mosaic, lambda row: Cell(str(row[mosaic]), row[mosaic], report.page(row))),
        Column("filter", lambda row: str(row["physical_filter"])),
        Column("band", lambda row: str(row["band"])),
        Column("night", lambda row: str(row["day_obs"] or "not known")),
        *report.columns(report.plural),
        Column(f"in {table.kind}", place),
        Column("as a whole", whole, "wrap"),
    ]
    if not report.visits:
        columns = [column for column in columns if column.label not in ("filter", "night")]
    what = f"{mosaic}s"
    title = f"Worst {what}" if most == _WORST else f"{what.capitalize()} of {table.root}: {table.name}"
    note = f"The worst {most:,} of {report.mosaics}." if most < len(summary.mosaics) else ""
    pages = len(report.pages.paths)
    if not pages or pages < summary.failing_mosaics:
        which = f"The worst {pages:,} have" if pages else "None has"
        note = f"{note} {which} a page; bgqa report --detail all gives each one.".strip()
    rows = report.rows(summary.mosaics.head(most))
    return Table(identifier, title, columns, rows, _attributes, verdicts=True, note=note)


def _tile_table(report: TableReport, number: int) -> Table:
    summary, kind, tiles = report.summary, report.table.row_kind, report.tiles

    def place(row: Mapping[str, Any]) -> Cell:
        return (
            Cell(str(report.key(row)[-1]), href=report.page(row, row["key"][-1])) if row["value"] else Cell()
        )

    columns = [
        Column(kind.name, lambda row: Cell(str(row["key"][-1]), row["key"][-1], kind="choose")),
        Column("name" if report.visits else "in", lambda row: tiles.names[row["tile"]]),
        *report.columns("visits" if report.visits else "bands"),
        Column("in visit" if report.visits else "in band", place),
    ]
    columns.insert(4, Column("metric", lambda row: "", "number metric-value"))
    rows = summary.tiles.with_row_index("tile")
    rows = rows.sort("severity", "fail", descending=True, nulls_last=True, maintain_order=True)
    note = ""
    if len(rows) < summary.tile_count:
        note = f"The worst {len(rows):,} of {summary.tile_count:,} {report.plural}."
    return Table(
        f"tiles-{number}",
        f"{report.plural.capitalize()}, the worst first",
        columns,
        report.rows(rows),
        lambda row: {"id": tiles.anchors[row["tile"]], **_attributes(row), "data-tile": row["tile"]},
        verdicts=True,
        tall=True,
        note=note,
    )


def stack_table(identifier: str, table: CampaignTable, rows: Sequence[Mapping[str, Any]]) -> Table:
    """List the stacks of a table, with their pictures."""
    metrics = [
        Column(f"{name} / {unit}" if unit else name, lambda row, name=name: amount(row[name]), "number")  # type: ignore[misc]
        for name, unit in table.units.items()
        if any(math.isfinite(row[name]) for row in rows)
    ]
    columns = [
        Column("detector", lambda row: Cell(str(row["detector"]), row["detector"])),
        Column("name", lambda row: str(row["detector_name"])),
        Column("filter", lambda row: str(row["physical_filter"])),
        Column("verdict", lambda row: Cell(row["verdict"], kind="verdict")),
        *metrics,
        Column("picture", lambda row: Cell("picture", href=row["picture"]) if "picture" in row else ""),
    ]
    title = f"Stacks of {table.root}: {table.name}"
    return Table(
        identifier, title, columns, rows, lambda row: {"data-verdict": row["verdict"]}, verdicts=True
    )
