# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The overview, and the lists that it leads to."""

from __future__ import annotations

__all__ = ("TableReport", "mosaic_table", "section", "stack_table")

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..campaign import VERDICTS, CampaignTable
from ..queries import Summary
from ._pages import MosaicPages
from ._panels import Tiles, overview_panels
from ._tables import Cell, Column, Table, amount, band_order, count, share, worst_columns

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

    def mosaics(self, number_: int) -> str:
        one, several = ("visit", "visits") if self.visits else ("tract and band", "tracts and bands")
        return count(number_, one, several)

    def page(self, key: Sequence[Any], tile: Any = None) -> str:
        """Return a link to a visit or tract, and to a detector or patch in it."""
        path = self.pages.paths.get(tuple(key), "")
        return f"{path}#{self.pages.anchor(tile)}" if path and tile is not None else path

    def worst(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return self.summary.worst.get(row["worst"], {})

    def columns(self, over: str) -> list[Column]:
        """Show how many rows there are and fail, and for what most."""

        def fails(row: Mapping[str, Any]) -> Cell:
            return Cell(f"{row['fail']:,}", row["fail"], soft=f"({share(row['fail'], _total(row))})")

        return [
            Column(over, _total, "number"),
            Column("fail", fails, "number"),
            *worst_columns(self.table.units, lambda row: self.worst(row).get("value")),
        ]


def _total(row: Mapping[str, Any]) -> int:
    return sum(row[word] for word in VERDICTS)


def _verdict(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"data-verdict": "fail" if row["fail"] else "pass" if row["pass"] else "unknown"}


def section(report: TableReport, number: int, styles: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Make a table's section of the overview: what the template needs."""
    summary, table = report.summary, report.table
    counts = summary.counts
    judged = counts["pass"] + counts["fail"]
    tiles = _tile_table(report, number)
    failing = int((summary.mosaics["fail"] > 0).sum())
    failures = [
        Column("metric", lambda row: row[0]),
        Column("rows", lambda row: row[1], "number"),
        Column("share", lambda row: Cell(share(row[1], summary.rows), row[1]), "number"),
    ]
    return {
        "id": f"table-{number}",
        "title": report.title,
        "source": ", ".join(table.dataset_types),
        "headline": _headline(report),
        "counts": counts,
        "failing_share": f"{share(counts['fail'], judged)} fail" if judged else "not judged",
        "sentence": f"{count(summary.rows, 'row')}: "
        f"{count(summary.tile_count, table.kind, report.plural)} in "
        f"{report.mosaics(len(summary.mosaics))}, {failing:,} of them with a failure",
        "bands": sorted(summary.bands, key=band_order),
        "matrix": {
            "all": summary.bands,
            **{
                group: {band: summary.groups[group, band] for band in summary.bands}
                for group in dict.fromkeys(group for group, _ in summary.groups)
            },
        },
        "failures": Table(
            f"failures-{number}",
            "Most common failures",
            failures,
            list(summary.failures.items()),
            filter=False,
            tall=True,
        ),
        "view": overview_panels(report.title, table, summary, report.tiles, styles),
        "tiles": tiles,
        "tables": [tiles, mosaic_table(report, f"mosaics-{number}", _WORST)],
    }


def _headline(report: TableReport) -> list[str]:
    """Say what a reader must know in ten seconds: how many of how much, what, where, since when."""
    summary = report.summary
    counts, what = summary.counts, "detector images" if report.visits else "patch coadds"
    fails, judged = counts["fail"], counts["pass"] + counts["fail"]
    mosaics = report.mosaics(len(summary.mosaics))
    if not judged:
        return [f"None of {count(summary.rows, what[:-1], what)} was judged: no threshold applies."]
    if not fails:
        return [f"All {count(judged, what[:-1], what)} in {mosaics} pass."]
    failing = int((summary.mosaics["fail"] > 0).sum())
    lines = [
        f"{fails:,} of {count(judged, what[:-1], what)} fail ({share(fails, judged)}), "
        f"in {failing:,} of {mosaics}."
    ]
    if summary.faults:
        words, common = next(iter(summary.faults.items()))
        lines.append(f"Most common: {words}, in {common:,} of them ({share(common, fails)}).")
    worst = summary.tiles.sort("fail", descending=True, maintain_order=True).row(0, named=True)
    name = f" ({worst['name']})" if worst["name"] else ""
    where = f"Most often in {report.table.kind} {worst['key'][-1]}{name}: "
    where += f"{worst['fail']:,} of its {_total(worst):,} rows"
    bands = {band: (c["fail"], c["fail"] + c["pass"]) for band, c in summary.bands.items()}
    bands = {band: (fails, judged) for band, (fails, judged) in bands.items() if judged}
    if len(bands) > 1:
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
    mosaic = table.row_kind.mosaic

    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in mosaic)

    def first(row: Mapping[str, Any]) -> Cell:
        return Cell(str(row[mosaic[0]]), row[mosaic[0]], report.page(key(row)))

    def place(row: Mapping[str, Any]) -> Cell:
        if not (where := report.worst(row)):
            return Cell()
        tile, name = where[table.row_kind.tile[-1]], where.get("detector_name")
        return Cell(f"{tile} ({name})" if name else str(tile), tile, report.page(key(row), tile))

    def whole(row: Mapping[str, Any]) -> str:
        if (found := report.wholes.get(key(row))) is None:
            return ""
        verdict = "not judged" if found["verdict"] == "unknown" else found["verdict"]
        return str(found["fault"] or found["failed"] or verdict)

    columns = [Column(mosaic[0], first)]
    if report.visits:
        columns.append(Column("filter", lambda row: str(row["physical_filter"])))
    columns.append(Column("band", lambda row: str(row["band"])))
    if report.visits:
        columns.append(Column("night", lambda row: str(row["day_obs"] or "not known")))
    columns += [
        *report.columns(report.plural),
        Column(f"in {table.kind}", place),
        Column("as a whole", whole, "wrap"),
    ]
    what, total = f"{mosaic[0]}s", len(summary.mosaics)
    title = f"Worst {what}" if most == _WORST else f"{what.capitalize()} of {table.root}: {table.name}"
    note = f"The worst {most:,} of {report.mosaics(total)}." if most < total else ""
    pages, failing = len(report.pages.paths), int((summary.mosaics["fail"] > 0).sum())
    if not pages or pages < failing:
        which = f"The worst {pages:,} have" if pages else "None has"
        note = f"{note} {which} a page; bgqa report --detail all gives each one.".strip()
    rows = list(summary.mosaics.head(most).iter_rows(named=True))
    return Table(identifier, title, columns, rows, _verdict, verdicts=True, note=note)


def _tile_table(report: TableReport, number: int) -> Table:
    summary, kind, tiles = report.summary, report.table.row_kind, report.tiles

    def place(row: Mapping[str, Any]) -> Cell:
        if not (where := report.worst(row)):
            return Cell()
        mosaic = [where[name] for name in kind.mosaic]
        return Cell(str(mosaic[-1]), href=report.page(mosaic, row["key"][-1]))

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
        list(rows.iter_rows(named=True)),
        lambda row: {"id": tiles.anchors[row["tile"]], **_verdict(row), "data-tile": row["tile"]},
        verdicts=True,
        tall=True,
        note=note,
    )


def stack_table(
    identifier: str, table: CampaignTable, rows: Sequence[Mapping[str, Any]], pictures: Mapping[int, str]
) -> Table:
    """List the stacks of a table, with pictures by number of the row."""

    def picture(row: Mapping[str, Any]) -> Cell:
        path = pictures.get(row["number"], "")
        return Cell("picture" if path else "", href=path)

    columns = [
        Column("detector", lambda row: Cell(str(row["detector"]), row["detector"])),
        Column("name", lambda row: str(row["detector_name"])),
        Column("filter", lambda row: str(row["physical_filter"])),
        Column("verdict", lambda row: Cell(row["verdict"], kind="verdict")),
        *(
            Column(f"{name} / {unit}" if unit else name, lambda row, name=name: amount(row[name]), "number")  # type: ignore[misc]
            for name, unit in table.units.items()
            if any(math.isfinite(row[name]) for row in rows)
        ),
        Column("picture", picture),
    ]
    return Table(
        identifier,
        f"Stacks of {table.root}: {table.name}",
        columns,
        [{**row, "number": number} for number, row in enumerate(rows)],
        lambda row: {"data-verdict": row["verdict"]},
        verdicts=True,
    )
