# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("Detail", "make_report", "tile_outlines")

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from ...errors import UserError
from ..campaign import Campaign, CampaignTable
from ..queries import Summary, band_order, nearest_to_failing, summarize
from ._datasets import Datasets, Pictures
from ._overview import TableReport, mosaic_table, section, stack_table
from ._pages import MosaicPages
from ._panels import tiles_of
from ._runs import run_tables
from ._site import Site, load_figures, making
from ._sky import lay_out
from ._tables import Table

Detail = Literal["flagged", "all", "none"]
"""Which visits and tracts get a page."""

type Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]

_MOST_STACKS = 24
_STACKS_SHOWN = 6
# Visits that are tried for outlines of all detectors.
_MOST_TRIES = 20
# Pages, a hundred megabytes of them, unless all are asked for; and where nothing fails.
_MOST_PAGES = 500
_PAGES_OF_NONE = 10
_MOST_WARNINGS = 5


def make_report(
    repo: str,
    collection: str,
    output: Path,
    *,
    detail: Detail = "flagged",
    nights: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make a report of a campaign: a folder of pages that need no network.

    Parameters
    ----------
    repo
        The repository: a path, URI or label.
    collection
        The collection with the metrics; several with commas.
    output
        Folder to write. It appears when the report is complete; a report
        that is there is replaced.
    detail
        Which visits and tracts get a page: the 500 worst of those with a
        failure (by default; a few where nothing fails), ``"all"`` or
        ``"none"``.
    nights
        First and last night to report on, YYYYMMDD, or -1 for the newest;
        what is not of visits is left out then.
    progress
        Called with what goes on; returns a context manager whose value is
        called with how much is done, and how much there is.

    Returns
    -------
    path
        The page to open.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if there is no such repository or collection, if it has no
        metrics, if the folder holds something else, or without bokeh.
    """
    load_figures()
    progress = progress or (lambda what: nullcontext(lambda done, total: None))
    with making(output) as folder:
        with progress("Looking for metrics"):
            campaign = Campaign(repo, collection)
        with campaign:
            _Maker(campaign, folder, detail, nights, progress).make()
    return output / "index.html"


class _Maker:
    """Makes one report."""

    def __init__(
        self,
        campaign: Campaign,
        folder: Path,
        detail: Detail,
        nights: tuple[int, int] | None,
        progress: Progress,
    ) -> None:
        self._campaign, self._detail, self._progress = campaign, detail, progress
        self._datasets = Datasets(campaign.butler, campaign.collections)
        self._pictures = Pictures(campaign.butler, folder)
        self._tables, self._warnings = campaign.tables, list[str]()
        title = f"Backgrounds of {campaign.collection}"
        if nights is not None:
            self._tables = tuple(table for table in campaign.tables if "day_obs" in table.keys)
            first, last = _choose_nights(campaign, self._tables, nights)
            title += f", night {first}" if first == last else f", nights since {first}"
        lists = {"detector": "visits", "patch": "tracts", "stack": "stacks"}
        kinds = {table.kind for table in self._tables}
        pages = {"index": "Overview"} | {name: name.capitalize() for k, name in lists.items() if k in kinds}
        self._site = Site(folder, campaign, title, pages)

    def make(self) -> None:
        tiled = [table for table in self._tables if table.row_kind.tile]
        reports = [self._read(table, i) for i, table in enumerate(tiled)]
        self._warnings += self._campaign.unreadable.names[:_MOST_WARNINGS]
        for table in self._tables:
            if table.kind in ("visit", "tract") and not any(_is_whole_of(table, one) for one in tiled):
                part = "detector" if table.kind == "visit" else "patch"
                self._warnings.append(
                    f"Of {table.name}, there are metrics of {table.kind}s as a whole but none of a {part}: "
                    "see bgqa export."
                )
        stacks = self._write_stacks()
        for name in ("visits", "tracts"):
            mine = [report for report in reports if report.pages.section == name]
            if tables := [mosaic_table(each, f"mosaics-{i}") for i, each in enumerate(mine)]:
                self._site.write(f"{name}.html", "list.html", title=name.capitalize(), tables=tables)
        with self._progress("Looking at what ran"):
            runs = run_tables(self._datasets, [table.name for table in self._campaign.tables])
        bands = {band for report in reports for band in report.summary.bands}
        styles = load_figures().band_styles(sorted(bands, key=band_order))
        sections = [section(report, i, styles) for i, report in enumerate(reports)]
        self._site.write(
            "index.html",
            "index.html",
            sections=sections,
            warnings=self._warnings,
            stacks=stacks,
            runs=runs,
            views=[section["view"].json for section in sections],
        )

    def _rows(self, table: CampaignTable) -> list[dict[str, Any]]:
        """Read all rows of a table that has few."""
        with self._progress(f"Reading {table.kind}s of {table.name}") as advance:
            rows: list[dict[str, Any]] = table.scan(advance).collect().to_dicts()
        self._warn(table)
        return rows

    def _read(self, table: CampaignTable, number: int) -> TableReport:
        """Ask a table what the overview shows, and write its pages."""
        mosaic = table.row_kind.mosaic
        whole = next((other for other in self._tables if _is_whole_of(other, table)), None)
        rows = self._rows(whole) if whole is not None else []
        wholes = {tuple(row[name] for name in mosaic): row for row in rows}
        what = "detectors" if table.kind == "detector" else "patches"
        with self._progress(f"Gathering {what} of {table.name}") as advance:
            table.path(advance)
        with self._progress(f"Reading {what} of {table.name}") as advance:
            summary = summarize(table, advance)
        outlines, arrows = tile_outlines(self._datasets, table, summary)
        pages = MosaicPages(self._site, table, self._datasets, self._pictures, whole, wholes, outlines)
        if wanted := self._wanted(table, summary.mosaics, wholes):
            with self._progress(f"Writing pages of {table.name}") as advance:
                pages.write(wanted, advance)
        self._warn(table)
        tiles = tiles_of(summary, outlines, arrows, f"{table.kind}-{number}")
        return TableReport(table, summary, pages, tiles, wholes)

    def _wanted(
        self, table: CampaignTable, mosaics: pl.DataFrame, wholes: Mapping[Any, Mapping[str, Any]]
    ) -> set[tuple[Any, ...]]:
        """Return the visits or tracts that get a page."""
        keys = mosaics.select(table.row_kind.mosaic).rows()
        if self._detail != "flagged":
            return set(keys) if self._detail == "all" else set()
        severities: dict[tuple[Any, ...], float] = {}
        for key, fails, severity in zip(keys, mosaics["fail"], mosaics["severity"], strict=True):
            whole = wholes.get(key, {})
            if fails or whole.get("verdict") == "fail":
                severities[key] = max(severity or 0, whole.get("severity") or 0)
        worst = heapq.nlargest(_MOST_PAGES, severities, key=severities.__getitem__)
        return set(worst) or nearest_to_failing(table, _PAGES_OF_NONE)

    def _write_stacks(self) -> dict[str, Any] | None:
        """Write the page of stacks, and return what the overview shows."""
        tables: list[Table] = []
        items: list[dict[str, str]] = []
        for table in self._tables:
            if table.kind != "stack":
                continue
            rows = sorted(self._rows(table), key=lambda row: -_size(row))
            wanted = rows if self._detail == "all" else rows[:_MOST_STACKS]
            refs = {}
            for name in self._datasets.plot_types(table.name, ("instrument", "detector", "physical_filter")):
                numbers = sorted({row["detector"] for row in wanted})
                for found in self._datasets.find(name, {"instrument": table.root}, "detector", numbers):
                    refs[found.dataId["detector"], found.dataId["physical_filter"]] = found
            shown = [(row, refs.get((row["detector"], row["physical_filter"]))) for row in wanted]
            copied = self._pictures.copy(ref for _, ref in shown if ref is not None)
            for row, ref in shown:
                if ref is not None and (path := copied.get(ref.id)):
                    row["picture"] = path
                    name = f"{row['detector_name']} ({row['detector']}), {row['physical_filter']}"
                    size, unit = _size(row), table.units.get("stack_patternRms", "")
                    pattern = f"pattern of {size:.3g} {unit} rms" if size >= 0 else "no pattern"
                    alt = f"Stack of detector {name}"
                    items.append({"path": path, "alt": alt, "caption": f"{name}: {pattern}"})
            tables.append(stack_table(f"stacks-{len(tables)}", table, rows))
        if not tables:
            return None
        self._site.write("stacks.html", "list.html", title="Stacks", tables=tables, items=items)
        sentence = "The mean over all visits of a detector in a filter, the strongest patterns first."
        return {"sentence": sentence, "pictures": items[:_STACKS_SHOWN]}

    def _warn(self, table: CampaignTable) -> None:
        """Tell of datasets that could not be read."""
        if number := table.unreadable.count:
            names = table.unreadable.names[:_MOST_WARNINGS]
            more = f"; and {number - len(names):,} more" if number > len(names) else ""
            noun = "dataset" if number == 1 else "datasets"
            self._warnings.append(
                f"{number:,} {noun} of {table.name} could not be read: {'; '.join(names)}{more}"
            )
        if table.not_gathered:
            self._warnings.append(
                f"{table.dataset_types[0]} of {table.root} lacks {table.not_gathered:,} of the "
                "backgrounds with metrics: gather them again."
            )


def _choose_nights(
    campaign: Campaign, tables: Sequence[CampaignTable], nights: tuple[int, int]
) -> tuple[int, int]:
    """Let tables be read of some nights alone."""
    every = {night for t in tables for night in t.scan().select("day_obs").unique().collect()["day_obs"]}
    known = sorted(every - {0, None})
    if known and -1 in nights:
        nights = known[-1], known[-1]
    if not any(nights[0] <= night <= nights[1] for night in known):
        if not known:
            raise UserError(f"{campaign.collection} does not say of which nights its metrics are")
        raise UserError(
            f"{campaign.collection} has no metrics of night {nights[0]}; it has nights {known[0]} to "
            f"{known[-1]}"
        )
    for table in tables:
        table.nights = nights
    return nights


def tile_outlines(
    datasets: Datasets, table: CampaignTable, summary: Summary
) -> tuple[dict[tuple[Any, ...], np.ndarray], dict[str, tuple[float, float]]]:
    """Return outlines of a table's tiles, and what the arrows in their map are.

    Patches are on the sky; detectors as their pixels lie, as in a visit that
    has the most.
    """
    if table.kind == "patch":
        keys = [tuple(key) for key in summary.tiles["key"].to_list()]
        every = datasets.patch_corners(table.root, sorted({key[0] for key in keys}))
        corners = {key: every[key] for key in keys if key in every}
        return lay_out(corners, as_pixels=False)
    largest = summary.mosaics.sort("rows", descending=True, maintain_order=True).head(_MOST_TRIES)
    best: dict[tuple[Any, ...], np.ndarray] = {}
    tried = datasets.look_up(table.name, table.row_kind, table.root, largest.select("visit").rows())
    for found in tried.values():
        if len(found.corners) > len(best):
            best, _ = lay_out(found.corners, as_pixels=True)
        if len(best) >= largest["rows"][0]:
            break
    return best, {"x": (1.0, 0.0), "y": (0.0, 1.0)}


def _is_whole_of(whole: CampaignTable, table: CampaignTable) -> bool:
    return (whole.kind, whole.name, whole.root) == (table.row_kind.whole, table.name, table.root)


def _size(row: Mapping[str, Any]) -> float:
    value = row.get("stack_patternRms", math.nan)
    return value if math.isfinite(value) else -1.0
