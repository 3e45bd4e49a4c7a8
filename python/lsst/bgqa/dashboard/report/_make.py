# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("Detail", "make_report")

import datetime
import importlib.metadata
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...errors import UserError
from ..campaign import Campaign, CampaignTable
from ._aggregate import Aggregate
from ._blocks import FORMS, family_metrics, read_blocks
from ._datasets import Datasets, Pictures
from ._details import DetailWriter, WholeBlock
from ._overview import FamilyReport, block_table, family_section, run_tables, shown_places, stack_table
from ._runs import count_types, task_times
from ._site import Site, making
from ._sky import align, project, separate
from ._tables import Table, band_order

Detail = Literal["flagged", "all", "none"]
"""Which visits and tracts get a page."""

type Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]

_MOST_STACKS = 24
_STACKS_SHOWN = 6
# Visits that are tried for outlines of all detectors.
_MOST_TRIES = 20
_MOST_WARNINGS = 5


@dataclass(frozen=True)
class _Report:
    """What every page needs to know.

    Attributes
    ----------
    title, collection, repository, made, version : `str`
        What the report is of, when it was made, and by which version.
    navigation : `list` [`dict`]
        Links of the header.
    scripts : `list` [`str`]
        Names of bokeh's scripts.
    """

    title: str
    collection: str
    repository: str
    made: str
    version: str
    navigation: list[dict[str, str]]
    scripts: list[str]


def make_report(
    repo: str,
    collection: str,
    output: Path,
    *,
    detail: Detail = "flagged",
    progress: Progress | None = None,
) -> Path:
    """Make a report of a campaign: a folder of pages that need no network.

    Parameters
    ----------
    repo : `str`
        The repository: a path, URI or label.
    collection : `str`
        The collection with the metrics; several with commas.
    output : `pathlib.Path`
        Folder to write. It appears when the report is complete; a report
        that is there is replaced.
    detail : `str`, optional
        Which visits and tracts get a page: those with a failure (by
        default), ``"all"`` or ``"none"``.
    progress : `~collections.abc.Callable`, optional
        Called with what goes on; returns a context manager whose value is
        called with how much is done, and how much there is.

    Returns
    -------
    path : `pathlib.Path`
        The page to open.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if there is no such repository or collection, if it has no
        metrics, if the folder holds something else, or without bokeh.
    """
    try:
        from . import _figures
    except ModuleNotFoundError as error:
        raise UserError(
            f"a report needs {error.name}, which is not installed; bgqa's extra report brings it "
            "(pip install '.[report]')"
        ) from error
    progress = progress or _no_progress
    with making(output) as folder:
        with progress("Looking for metrics"):
            campaign = Campaign(repo, collection)
        with campaign:
            _Maker(campaign, folder, detail, progress, _figures).make()
    return output / "index.html"


def _no_progress(what: str) -> AbstractContextManager[Callable[[int, int], None]]:
    return nullcontext(lambda done, total: None)


class _Maker:
    """Makes one report."""

    def __init__(
        self, campaign: Campaign, folder: Path, detail: Detail, progress: Progress, figures: Any
    ) -> None:
        self._campaign = campaign
        self._detail = detail
        self._progress = progress
        self._figures = figures
        self._site = Site(folder)
        self._datasets = Datasets(campaign.butler, campaign.collections)
        self._pictures = Pictures(campaign.butler, folder)
        self._backgrounds = [family.name for family in campaign.tables]
        self._warnings: list[str] = []

    def make(self) -> None:
        scripts = self._figures.script_files()
        kinds = {family.kind for family in self._campaign.tables}
        navigation = [{"href": "index.html", "label": "Overview"}]
        navigation += [
            {"href": f"{name}.html", "label": name.capitalize()}
            for kind, name in (("detector", "visits"), ("patch", "tracts"), ("stack", "stacks"))
            if kind in kinds
        ]
        now = datetime.datetime.now(datetime.UTC)
        self._report = _Report(
            f"Backgrounds of {self._campaign.collection}",
            self._campaign.collection,
            self._campaign.repo,
            f"{now:%Y-%m-%d %H:%M} UTC",
            importlib.metadata.version("lsst-bgqa"),
            navigation,
            [path.name for path in scripts],
        )
        self._write_assets(scripts)
        reports = [self._read(family) for family in self._campaign.tables if family.kind in FORMS]
        self._warnings += self._campaign.unreadable.names[:_MOST_WARNINGS]
        self._warn_of_wholes()
        stacks = self._write_stacks()
        bands = {band for report in reports for band in report.aggregate.bands}
        styles = self._figures.band_styles(sorted(bands, key=band_order))
        for section in ("visits", "tracts"):
            mine = [report for report in reports if report.details.section == section]
            if mine:
                tables = [block_table(report, f"blocks-{i}") for i, report in enumerate(mine)]
                self._site.write(
                    f"{section}.html",
                    "list.html",
                    report=self._report,
                    title=section.capitalize(),
                    tables=tables,
                    items=[],
                    views=[],
                )
        with self._progress("Looking at what ran"):
            counts = count_types(self._datasets, self._backgrounds)
            times = task_times(self._datasets, self._backgrounds)
        sections = [family_section(report, i, styles) for i, report in enumerate(reports)]
        self._site.write(
            "index.html",
            "index.html",
            report=self._report,
            families=sections,
            warnings=self._warnings,
            stacks=stacks,
            runs=run_tables(counts, times),
            views=[section["view"].json for section in sections],
        )

    def _write_assets(self, scripts: list[Path]) -> None:
        figures = self._figures
        east, north = "degrees to the east", "degrees to the north"
        self._site.write_assets(
            scripts,
            {
                "map": figures.make_map("map", mirrored=False, x_label="degrees", y_label="degrees"),
                "sky": figures.make_map("sky", mirrored=True, x_label=east, y_label=north),
                "series": figures.make_series("series"),
                "histogram": figures.make_histogram("histogram"),
                "ranking": figures.make_ranking("ranking"),
            },
        )

    def _read(self, family: CampaignTable) -> FamilyReport:
        """Read a family, and write its pages on the way."""
        form, metrics = FORMS[family.kind], family_metrics(family)
        whole = self._read_whole("visit" if family.kind == "detector" else "tract", family)
        aggregate = Aggregate(form, metrics, family.thresholds)
        outlines: dict[tuple[Any, ...], np.ndarray] = {}
        details = DetailWriter(
            self._site,
            self._report,
            family,
            form,
            metrics,
            self._datasets,
            self._pictures,
            whole,
            outlines,
        )
        tries = 0
        what = "detectors" if family.kind == "detector" else "patches"
        with self._progress(f"Reading {what} of {family.name}") as advance:
            for block in read_blocks(family, family.batches(advance), form):
                if family.kind == "detector" and len(block) > len(outlines) and tries < _MOST_TRIES:
                    tries += 1
                    found = self._reference(family, int(block.first("visit")))
                    if len(found) > len(outlines):
                        outlines.clear()
                        outlines.update(found)
                summary = aggregate.add(block)
                other = whole.get(summary.key)
                flagged = summary.counts.get("fail", 0) or (other is not None and other.verdict == "fail")
                if self._detail == "all" or (self._detail == "flagged" and flagged):
                    details.add(block)
            details.finish()
        self._warn(family)
        if family.kind == "patch":
            shown = shown_places(aggregate)
            tracts = sorted({key[0] for key in shown})
            every = self._datasets.patch_corners(family.root, tracts)
            corners = {key: every[key] for key in shown if key in every}
            outlines.update(separate(project(corners)[0]))
        return FamilyReport(family, aggregate, details, outlines, whole)

    def _reference(self, family: CampaignTable, visit: int) -> dict[tuple[Any, ...], np.ndarray]:
        """Return outlines of the detectors, their x to the right."""
        data_id = {"instrument": family.root, "visit": visit}
        corners = self._datasets.table_corners(f"{family.name}_visit_table", data_id)
        if not corners:
            corners = self._datasets.visits(family.name, family.root, [visit])[visit,].corners
        return separate(align(project(corners)[0]))

    def _read_whole(self, kind: str, family: CampaignTable) -> dict[tuple[Any, ...], WholeBlock]:
        """Read the metrics of visits, or tracts, as a whole."""
        blocks: dict[tuple[Any, ...], WholeBlock] = {}
        form = FORMS[family.kind]
        for other in self._campaign.tables:
            if (other.kind, other.name, other.root) != (kind, family.name, family.root):
                continue
            metrics = family_metrics(other)
            with self._progress(f"Reading {kind}s of {other.name}") as advance:
                for block in read_blocks(other, other.batches(advance), form):
                    key = tuple(block.first(name) for name in form.block_keys)
                    blocks[key] = WholeBlock(
                        metrics, block.values[0], block.verdicts[0], block.failed[0], float(block.severity[0])
                    )
            self._warn(other)
        return blocks

    def _write_stacks(self) -> dict[str, Any] | None:
        """Write the page of stacks, and return what the overview shows."""
        tables: list[Table] = []
        items: list[dict[str, str]] = []
        for family in self._campaign.tables:
            if family.kind != "stack":
                continue
            rows: list[dict[str, Any]] = []
            with self._progress(f"Reading stacks of {family.name}") as advance:
                for batch in family.batches(advance):
                    rows += batch.to_pylist()
            self._warn(family)
            rows.sort(key=lambda row: -_size(row))
            wanted = len(rows) if self._detail == "all" else _MOST_STACKS
            refs = {}
            for name in self._datasets.plot_types(family.name, ("instrument", "detector", "physical_filter")):
                numbers = sorted({row["detector"] for row in rows[:wanted]})
                for found in self._datasets.find(name, {"instrument": family.root}, "detector", numbers):
                    refs[found.dataId["detector"], found.dataId["physical_filter"]] = found
            pictures: dict[int, str] = {}
            for i, row in enumerate(rows[:wanted]):
                ref = refs.get((row["detector"], row["physical_filter"]))
                if ref is not None and (path := self._pictures.add(ref)) is not None:
                    pictures[i] = path
                    name = f"{row['detector_name']} ({row['detector']}), {row['physical_filter']}"
                    items.append(
                        {
                            "path": path,
                            "alt": f"Stack of detector {name}",
                            "caption": f"{name}: {_pattern(row, family)}",
                        }
                    )
            tables.append(stack_table(f"stacks-{len(tables)}", family, rows, pictures))
        if not tables:
            return None
        self._site.write(
            "stacks.html",
            "list.html",
            report=self._report,
            title="Stacks",
            tables=tables,
            items=items,
            views=[],
        )
        shown = items[:_STACKS_SHOWN]
        sentence = "The mean over all visits of a detector in a filter, the strongest patterns first."
        return {"sentence": sentence, "pictures": shown}

    def _warn_of_wholes(self) -> None:
        """Tell of visits and tracts whose rows are not there."""
        present = {(family.kind, family.name, family.root) for family in self._campaign.tables}
        for family in self._campaign.tables:
            part = {"visit": "detector", "tract": "patch"}.get(family.kind)
            if part is not None and (part, family.name, family.root) not in present:
                self._warnings.append(
                    f"Of {family.name}, there are metrics of {family.kind}s as a whole but none of a {part}: "
                    "see bgqa export."
                )

    def _warn(self, family: CampaignTable) -> None:
        """Tell of datasets that could not be read."""
        if family.unreadable.count:
            names = family.unreadable.names[:_MOST_WARNINGS]
            more = family.unreadable.count - len(names)
            self._warnings.append(
                f"{family.unreadable.count:,} datasets of {family.name} could not be read: "
                + "; ".join(names)
                + (f"; and {more:,} more" if more else "")
            )
        if family.not_gathered:
            self._warnings.append(
                f"{family.dataset_types[0]} of {family.root} lacks {family.not_gathered:,} of the "
                "backgrounds with metrics: gather them again."
            )


def _size(row: Mapping[str, Any]) -> float:
    value = row.get("stack_patternRms", math.nan)
    return value if math.isfinite(value) else -1.0


def _pattern(row: Mapping[str, Any], family: CampaignTable) -> str:
    value = row.get("stack_patternRms", math.nan)
    if not math.isfinite(value):
        return "no pattern"
    return f"pattern of {value:.3g} {family.units['stack_patternRms']} rms"
