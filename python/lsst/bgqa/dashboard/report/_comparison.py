# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("make_comparison",)

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..campaign import Campaign
from ..compare import TableComparison, compare_models
from ..queries import band_order, summarize
from ._datasets import Datasets
from ._make import tile_outlines
from ._panels import overview_panels, tiles_of
from ._site import Site, load_figures, making
from ._tables import Cell, Column, Table, amount


def make_comparison(
    first: Campaign, second: Campaign, comparisons: Sequence[TableComparison], output: Path, pixels: int = 0
) -> Path:
    """Make a page of how two campaigns differ: a folder that needs no network.

    Parameters
    ----------
    first, second
        The campaigns.
    comparisons
        What they differ in.
    output
        Folder to write, as that of `make_report`.
    pixels
        Of how many images, those that changed most, to compare the
        backgrounds themselves.

    Returns
    -------
    path
        The page to open.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if the folder holds something else, or without bokeh.
    """
    load_figures()
    with making(output) as folder:
        names = [campaign.collection for campaign in (first, second)]
        if first.repo != second.repo:
            names = [f"{campaign.collection} of {campaign.repo}" for campaign in (first, second)]
        title = f"{names[1]} compared with {names[0]}"
        site = Site(folder, second, title, {"index": "Comparison"}, f"{names[1]} and {names[0]}")
        datasets = Datasets(second.butler, second.collections)
        differences = [one.differences.scan().select("band").unique().collect() for one in comparisons]
        bands = {str(band) for found in differences for band in found["band"]}
        styles = load_figures().band_styles(sorted(bands, key=band_order))
        sections = [
            _section(one, datasets, i, styles, _pictures(first, second, one, pixels, folder))
            for i, one in enumerate(comparisons)
        ]
        views = [section["view"].json for section in sections if section["view"] is not None]
        site.write("index.html", "compare.html", sections=sections, views=views)
    return output / "index.html"


def _pictures(
    first: Campaign, second: Campaign, one: TableComparison, pixels: int, folder: Path
) -> list[dict[str, str]]:
    items = []
    for i, (label, words, figure) in enumerate(compare_models(first, second, one, pixels) if pixels else ()):
        path = ""
        if figure is not None:
            path = f"pictures/{one.second.kind}-{one.second.name}-{i}.png"
            (folder / "pictures").mkdir(exist_ok=True)
            figure.savefig(folder / path)
        alt = f"Difference of the backgrounds of {label}"
        items.append({"caption": f"{label}: {words}", "alt": alt, "path": path})
    return items


def _section(
    one: TableComparison,
    datasets: Datasets,
    number: int,
    styles: Mapping[str, Mapping[str, str]],
    pictures: list[dict[str, str]],
) -> dict[str, Any]:
    table, view = one.differences, None
    if one.rows:
        summary = summarize(table)
        tiles = tiles_of(summary, *tile_outlines(datasets, table, summary), f"{table.kind}-{number}")
        view = overview_panels(table.name, table, summary, tiles, styles)
    return {
        "title": f"{table.name}, {table.kind}s of {table.root}".replace("patchs", "patches"),
        "sentences": one.sentences(),
        "view": view,
        "number": number,
        "tables": list(_tables(one, number)),
        "pictures": pictures,
    }


def _tables(one: TableComparison, number: int) -> Iterator[Table]:
    """List how metrics changed, which faults came and went, and where the change is largest."""
    changed = {metric.name for metric in one.changed_metrics}
    columns = [
        Column("metric", lambda metric: metric.name),
        Column("", lambda metric: "changed" if metric.name in changed else ""),
        Column("median difference", lambda metric: amount(metric.median, metric.unit), "number"),
        Column("scatter", lambda metric: amount(metric.scatter, metric.unit), "number"),
        Column("by chance", lambda metric: Cell(f"{metric.p_value:.2g}", metric.p_value), "number"),
        Column("rows", lambda metric: metric.count, "number"),
    ]
    note = "The second less the first. By chance: how probable it is that the differences are so one-sided."
    metrics = [metric for metric in one.metrics if metric.count]
    yield Table(f"metrics-{number}", "Metrics", columns, metrics, tall=True, note=note)
    faults = [(fault, "new") for fault in one.new_faults] + [(fault, "gone") for fault in one.gone_faults]
    if faults:
        columns = [
            Column("fault", lambda row: row[0].words, "wrap"),
            Column("", lambda row: row[1]),
            Column("rows", lambda row: row[0].rows, "number"),
            Column("first", lambda row: row[0].example, "wrap"),
        ]
        yield Table(f"faults-{number}", "Faults", columns, faults, filter=False)
    note = "The largest change of a metric that is judged, in units of what passes."
    for what, rows in one.most_changed.items():
        if rows:
            columns = [
                Column(what, lambda row: row[0]),
                Column("change", lambda row: amount(row[1]), "number"),
            ]
            identifier = f"changed-{what.replace(' ', '-')}-{number}"
            title = f"Most changed, by {what}"
            yield Table(identifier, title, columns, rows, filter=False, note=note)
