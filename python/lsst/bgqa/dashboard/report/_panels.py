# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the figures of a page show, as JSON in the page."""

from __future__ import annotations

__all__ = ("FAILING_SHARE", "Panel", "Panels", "Tiles", "dump", "mosaic_panels", "overview_panels", "pack")

import base64
import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from ..campaign import CampaignTable
from ..queries import Metric, Summary, is_relative
from ._tables import band_order

FAILING_SHARE = "verdict_failingShare"
"""What the share of rows that fail is called (`str`)."""

_NIGHT_QUANTILES = 5


@dataclass(frozen=True)
class Panel:
    """A figure of a page: what it shows, in which of the report's figures, and how to read it."""

    kind: str
    figure: str
    caption: str
    text: str = ""
    high: bool = False
    wide: bool = False


@dataclass(frozen=True, eq=False)
class Tiles:
    """The detectors or patches that panels show.

    Outlines are corners in a plane, each of shape (corners, 2), or (0, 2)
    where that is not known; arrows say where north and east are there.
    """

    labels: Sequence[str]
    names: Sequence[str]
    anchors: Sequence[str]
    outlines: Sequence[np.ndarray] | None = None
    arrows: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    pictures: Sequence[Sequence[tuple[str, str]]] = ()

    def json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"label": self.labels, "name": self.names, "anchor": self.anchors}
        if self.outlines is not None:
            data["xs"] = [outline[:, 0] for outline in self.outlines]
            data["ys"] = [outline[:, 1] for outline in self.outlines]
            data["arrows"] = self.arrows
        if any(self.pictures):
            data["pictures"] = self.pictures
        return data


@dataclass(frozen=True)
class Panels:
    """Figures that follow the choice of a metric.

    Attributes
    ----------
    label, card : `str`
        What they are of, and what stands where one tile is shown, before one
        is chosen.
    groups : `list` [`dict`]
        Name and metrics of each group.
    first : `str`
        Metric that is chosen first.
    panels : `list` [`Panel`]
        The figures.
    choices : `list` [`str`]
        Parts of the rows that the map may show: all, a band, a night.
    json : `markupsafe.Markup`
        What they show.
    no_map : `str`
        Why there is no map.
    """

    label: str
    card: str
    groups: list[dict[str, Any]]
    first: str
    panels: list[Panel]
    choices: list[str]
    json: Markup
    no_map: str = ""


def pack(columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Write columns of numbers as short as a page's script can read them."""
    if not columns:
        return {"names": [], "float32": ""}
    values = np.array(list(columns.values()), dtype="<f4")
    return {"names": list(columns), "float32": base64.b64encode(values.tobytes()).decode()}


def dump(value: Any) -> Markup:
    """Write JSON that may stand in a page: no character ends a script, NaN is null."""
    text = _dump(value)
    for character in "<>&'":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _dump(value: Any) -> str:
    if isinstance(value, np.ndarray):
        if value.ndim > 1:
            return f"[{','.join(map(_dump, value))}]"
        if value.dtype.kind != "f":
            return json.dumps(value.tolist())
        finite = np.isfinite(value)
        whole = bool((np.rint(value[finite]) == value[finite]).all())
        text = (("%.15g," if whole else "%.5g,") * len(value)) % tuple(value.tolist())
        if not finite.all():
            text = text.replace("nan", "null").replace("-inf", "null").replace("inf", "null")
        return f"[{text[:-1]}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(key))}:{_dump(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        try:
            # All at once, if there is nothing special.
            return json.dumps(value, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError):
            pass
        return f"[{','.join(map(_dump, value))}]"
    if isinstance(value, Markup):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    return json.dumps(value)


def overview_panels(
    label: str,
    table: CampaignTable,
    summary: Summary,
    tiles: Tiles,
    bands: Mapping[str, Mapping[str, str]],
    no_map: str = "",
) -> Panels:
    """Show what a table amounts to: medians of tiles, nights if there are any, histograms."""
    tile = table.kind
    found = summary.tiles
    totals = (found["pass"] + found["fail"] + found["unknown"]).to_numpy()
    fails = found["fail"].to_numpy()
    failing_share = Metric(FAILING_SHARE, "%", f"Share of rows of a {tile} that fail, whatever for.")
    known = {metric.name: i for i, metric in enumerate(summary.metrics) if metric.name in summary.histograms}
    metrics = [metric for metric in summary.metrics if metric.name in known]
    values = {
        choice: pack({name: medians[:, i] for name, i in known.items()})
        for choice, medians in summary.medians.items()
    }
    failing = {
        name: np.flatnonzero(2 * counts >= totals).tolist()
        for name, counts in summary.failing_tiles.items()
        if name in known
    }
    failing[FAILING_SHARE] = np.flatnonzero(2 * fails >= totals).tolist()
    visits = tile == "detector"
    panels = []
    if not no_map:
        where = "as the pixels lie" if visits else "on the sky"
        text = (
            f"Over its {'visits' if visits else 'bands'}, {where}. Hatched: fails in at least half of them."
        )
        panels.append(
            Panel(
                "map", "map" if visits else "sky", f"Median of each {tile}", f"{text} Choose one.", high=True
            )
        )
    text = "Hatched: those that fail for this metric. The first and the last bin hold what is beyond."
    panels.append(Panel("histogram", "histogram", "All rows", text, high=not no_map))
    if summary.nights:
        text = "Median, 5% to 95% (thick) and extremes (thin); dashed: thresholds."
        panels.append(Panel("series", "series", "By night", text, wide=True))
    data = {
        "title": tile.capitalize(),
        "worst": _worst_tile(summary),
        "failingWord": "fails in at least half of its rows",
        "metrics": [_metric(metric, table) for metric in [failing_share, *metrics]],
        "relative": [name for name in known if is_relative(table, name)],
        "tiles": tiles.json(),
        "share": 100 * fails / totals,
        "values": values,
        "failing": failing,
        "histograms": {
            name: {"first": h.first, "last": h.last, "passing": h.passing, "failing": h.failing}
            for name, h in summary.histograms.items()
        },
        "bands": {
            band: bands.get(band, {}) for band in sorted({key[2] for key in summary.nights}, key=band_order)
        },
        "cells": _cells(summary, metrics),
    }
    # What is red is what one sees first.
    first = FAILING_SHARE if fails.any() or "level_median" not in known else "level_median"
    return Panels(
        label,
        f"Choose a {tile} in the map or in the table to see all its metrics.",
        _grouped([failing_share, *metrics]),
        first,
        panels,
        list(values),
        dump(data),
        no_map,
    )


def mosaic_panels(
    label: str,
    table: CampaignTable,
    columns: Mapping[str, np.ndarray],
    metrics: Sequence[Metric],
    rows: Mapping[str, Any],
    tiles: Tiles | Markup,
    figure: str,
    seams: Mapping[str, Any] | None = None,
    map_text: str = "",
    no_map: str = "",
) -> Panels:
    """Show the rows of a visit, or of a tract in a band."""
    tile = table.kind
    panels = []
    if not no_map:
        caption = "Detectors" if tile == "detector" else "Patches"
        panels.append(Panel("map", figure, caption, map_text, high=True))
    panels.append(Panel("ranking", "ranking", f"By {tile}", "Crosses: fail. Dashed: thresholds.", high=True))
    failing: dict[str, list[int]] = {}
    for row, failed in enumerate(rows["failed"]):
        for name in failed.split(",") if failed else ():
            failing.setdefault(name, []).append(row)
    severity = rows["severity"]
    data: dict[str, Any] = {
        "title": tile.capitalize(),
        "worst": max(range(len(severity)), key=lambda i: severity[i] or 0.0, default=None),
        "failingWord": "fails",
        "metrics": _metrics_json(metrics, table),
        "tiles": tiles if isinstance(tiles, Markup) else tiles.json(),
        "values": {"all": pack(columns)},
        "failing": failing,
        "rows": rows,
        "bands": {},
    }
    if seams is not None and not no_map:
        data["seams"] = seams
    first = max(columns, key=lambda name: len(failing.get(name, ())), default="")
    if not failing and "level_median" in columns:
        first = "level_median"
    text = f"Choose a {tile} to see all its metrics."
    return Panels(label, text, _grouped(metrics), first, panels, ["all"], dump(data), no_map)


def _worst_tile(summary: Summary) -> int | None:
    severity = summary.tiles["severity"].fill_null(0.0)
    return severity.arg_max() if len(severity) else None


_JSON: dict[tuple[Any, ...], Markup] = {}


def _metrics_json(metrics: Sequence[Metric], table: CampaignTable) -> Markup:
    """Write what is known of metrics: pages of one table say the same."""
    key = (table.name, table.root, table.kind, *metrics)
    if key not in _JSON:
        _JSON.clear()
        _JSON[key] = dump([_metric(metric, table) for metric in metrics])
    return _JSON[key]


def _metric(metric: Metric, table: CampaignTable) -> dict[str, Any]:
    rule = "No threshold: for comparison alone."
    if metric.max_z is not None:
        mosaic = "visit" if table.kind == "detector" else "tract"
        rule = f"Passes within {metric.max_z:g} robust standard deviations of the median of its {mosaic}."
    if metric.name == FAILING_SHARE:
        rule = ""
    about = {"name": metric.name, "unit": metric.unit, "description": metric.description}
    return {**about, "low": metric.low, "high": metric.high, "rule": rule, "cyclic": metric.is_angle}


def _grouped(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    groups: dict[str, list[str]] = {}
    for metric in metrics:
        groups.setdefault(metric.group, []).append(metric.name)
    return [{"name": name, "metrics": names} for name, names in groups.items()]


def _cells(summary: Summary, metrics: Sequence[Metric]) -> dict[str, Any]:
    cells = summary.nights
    quantiles: dict[str, Any] = {
        metric.name: np.array([cell["quantiles"][metric.name] for cell in cells.values()], dtype=np.float64)
        .reshape(len(cells), _NIGHT_QUANTILES)
        .T
        for metric in metrics
    }
    shares = np.array([100 * cell["failing"] / cell["count"] for cell in cells.values()])
    quantiles[FAILING_SHARE] = np.stack([shares] * _NIGHT_QUANTILES)
    return {
        "x": [_milliseconds(first) for first, _, _ in cells],
        "night": [str(first) if first == last else f"{first} to {last}" for first, last, _ in cells],
        "band": [band for _, _, band in cells],
        "count": [cell["count"] for cell in cells.values()],
        "failing": [cell["failing"] for cell in cells.values()],
        "quantiles": quantiles,
    }


def _milliseconds(night: int) -> float:
    """Return when a night, such as 20261231, began."""
    try:
        day = datetime.datetime.strptime(str(night), "%Y%m%d").replace(tzinfo=datetime.UTC)
    except ValueError:
        return 0.0
    return day.timestamp() * 1000
