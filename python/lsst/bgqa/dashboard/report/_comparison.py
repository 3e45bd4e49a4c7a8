# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("make_comparison",)

import datetime
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..campaign import Campaign
from ..compare import TableComparison, compare_models
from ..queries import summarize
from ._datasets import Datasets
from ._make import Report, load_figures, tile_outlines
from ._panels import Tiles, overview_panels
from ._site import Site, making
from ._tables import Cell, Column, Row, Table, band_order, number


def make_comparison(
    first: Campaign, second: Campaign, comparisons: Sequence[TableComparison], output: Path, pixels: int = 0
) -> Path:
    """Make a page of how two campaigns differ: a folder that needs no network.

    Parameters
    ----------
    first, second : `~lsst.bgqa.dashboard.Campaign`
        The campaigns.
    comparisons : `~collections.abc.Sequence` [`TableComparison`]
        What they differ in.
    output : `pathlib.Path`
        Folder to write, as that of `make_report`.
    pixels : `int`, optional
        Of how many images, those that changed most, to compare the
        backgrounds themselves.

    Returns
    -------
    path : `pathlib.Path`
        The page to open.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if the folder holds something else, or without bokeh.
    """
    figures = load_figures()
    with making(output) as folder:
        site, scripts = Site(folder), figures.script_files()
        site.write_assets(scripts, figures.every_figure())
        names = [f"{campaign.collection} of {campaign.repo}" for campaign in (first, second)]
        if first.repo == second.repo:
            names = [campaign.collection for campaign in (first, second)]
        report = Report(
            f"{names[1]} compared with {names[0]}",
            f"{names[1]} and {names[0]}",
            second.repo,
            f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
            importlib.metadata.version("lsst-bgqa"),
            [{"href": "index.html", "label": "Comparison"}],
            [path.name for path in scripts],
        )
        datasets = Datasets(second.butler, second.collections)
        bands = sorted({band for one in comparisons for band in _bands(one)}, key=band_order)
        styles = figures.band_styles(bands)
        sections = [
            _section(one, datasets, i, styles, _pictures(first, second, one, pixels, folder))
            for i, one in enumerate(comparisons)
        ]
        views = [section["view"].json for section in sections if section["view"] is not None]
        site.write("index.html", "compare.html", report=report, sections=sections, views=views)
    return output / "index.html"


def _bands(one: TableComparison) -> list[str]:
    return [str(band) for band in one.differences.scan().select("band").unique().collect().to_series()]


def _pictures(
    first: Campaign, second: Campaign, one: TableComparison, pixels: int, folder: Path
) -> list[dict[str, str]]:
    items = []
    for i, (label, words, figure) in enumerate(compare_models(first, second, one, pixels) if pixels else ()):
        item = {
            "caption": f"{label}: {words}",
            "alt": f"Difference of the backgrounds of {label}",
            "path": "",
        }
        if figure is not None:
            item["path"] = f"pictures/{one.second.kind}-{one.second.name}-{i}.png"
            (folder / "pictures").mkdir(exist_ok=True)
            figure.savefig(folder / item["path"])
        items.append(item)
    return items


def _section(
    one: TableComparison,
    datasets: Datasets,
    number_: int,
    styles: Mapping[str, Mapping[str, str]],
    pictures: list[dict[str, str]],
) -> dict[str, Any]:
    table = one.differences
    view = None
    if one.rows:
        summary = summarize(table)
        outlines, arrows = tile_outlines(datasets, table, summary)
        keys = [tuple(key) for key in summary.tiles["key"].to_list()]
        known = any(key in outlines for key in keys)
        tiles = Tiles(
            [str(key[-1]) for key in keys],
            [name or f"tract {key[0]}" for key, name in zip(keys, summary.tiles["name"], strict=True)],
            [f"{table.kind}-{number_}-{i}" for i in range(len(keys))],
            [outlines.get(key, np.empty((0, 2))) for key in keys] if known else None,
            arrows,
        )
        no_map = "" if known else "The repository has no regions of these: no map."
        view = overview_panels(table.name, table, summary, tiles, styles, no_map)
    return {
        "title": f"{table.name}, {table.kind}s of {table.root}".replace("patchs", "patches"),
        "sentences": one.sentences(),
        "view": view,
        "number": number_,
        "tables": [_metric_table(one, number_), *_fault_tables(one, number_), *_changed_tables(one, number_)],
        "pictures": pictures,
    }


def _metric_table(one: TableComparison, number_: int) -> Table:
    changed = {metric.name for metric in one.changed_metrics}
    rows = [
        Row(
            [
                Cell(metric.name),
                Cell("changed" if metric.name in changed else ""),
                Cell(number(metric.median, metric.unit), metric.median),
                Cell(number(metric.scatter, metric.unit), metric.scatter),
                Cell(f"{metric.p_value:.2g}", metric.p_value),
                Cell(f"{metric.count:,}", metric.count),
            ]
        )
        for metric in one.metrics
        if metric.count
    ]
    columns = [Column("metric"), Column(""), Column("median difference", number=True)]
    columns += [Column("scatter", number=True), Column("by chance", number=True), Column("rows", number=True)]
    note = "The second less the first. By chance: how probable it is that the differences are so one-sided."
    return Table(f"metrics-{number_}", "Metrics", columns, rows, tall=True, note=note)


def _fault_tables(one: TableComparison, number_: int) -> list[Table]:
    rows = [
        Row([Cell(fault.words), Cell(word), Cell(f"{fault.rows:,}", fault.rows), Cell(fault.example)])
        for word, faults in (("new", one.new_faults), ("gone", one.gone_faults))
        for fault in faults
    ]
    columns = [
        Column("fault", wrap=True),
        Column(""),
        Column("rows", number=True),
        Column("first", wrap=True),
    ]
    return [Table(f"faults-{number_}", "Faults", columns, rows, filter=False)] if rows else []


def _changed_tables(one: TableComparison, number_: int) -> list[Table]:
    note = "The largest change of a metric that is judged, in units of what passes."
    return [
        Table(
            f"changed-{what.replace(' ', '-')}-{number_}",
            f"Most changed, by {what}",
            [Column(what), Column("change", number=True)],
            [Row([Cell(label), Cell(number(change), change)]) for label, change in rows],
            filter=False,
            note=note,
        )
        for what, rows in one.most_changed.items()
        if rows
    ]
