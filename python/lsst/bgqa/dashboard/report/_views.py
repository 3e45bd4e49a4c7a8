# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What figures show, as JSON in a page."""

from __future__ import annotations

__all__ = ("FAILING_SHARE", "Figure", "Outline", "Places", "View", "block_view", "dump", "overview_view")

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from ._aggregate import Aggregate, Block, Metric
from ._tables import band_order

FAILING_SHARE = "verdict_failingShare"
"""What the share of rows that fail is called (`str`)."""

type Outline = np.ndarray


@dataclass(frozen=True)
class Figure:
    """A figure of a page.

    Attributes
    ----------
    kind, figure : `str`
        What it shows, and which of the report's figures it is.
    caption, text : `str`
        Its title, and how to read it.
    high, wide : `bool`
        Whether it is of the higher ones, and takes a whole line.
    """

    kind: str
    figure: str
    caption: str
    text: str = ""
    high: bool = False
    wide: bool = False


@dataclass(frozen=True, eq=False)
class Places:
    """The detectors or patches that a view shows.

    Attributes
    ----------
    labels, names, anchors : `list` [`str`]
        What they are called, and what links to them end with.
    outlines : `list` or `None`
        Their corners in a plane, each of shape (corners, 2), or (0, 2) where
        that is not known.
    pictures : `list` [`list` [`tuple` [`str`, `str`]]]
        What pictures of them show, and their paths.
    """

    labels: list[str]
    names: list[str]
    anchors: list[str]
    outlines: list[Outline] | None = None
    pictures: list[list[tuple[str, str]]] = field(default_factory=list)


@dataclass(frozen=True)
class View:
    """Figures that follow the choice of a metric.

    Attributes
    ----------
    label : `str`
        What they are of.
    groups : `list` [`dict`]
        Name and metrics of each group.
    first : `str`
        Metric that is chosen first.
    figures : `list` [`Figure`]
        The figures.
    json : `markupsafe.Markup`
        What they show.
    card : `str`
        What stands where one place is shown, before one is chosen.
    no_map : `str`
        Why there is no map.
    """

    label: str
    groups: list[dict[str, Any]]
    first: str
    figures: list[Figure]
    json: Markup
    card: str
    no_map: str = ""


def dump(value: Any) -> Markup:
    """Write JSON that may stand in a page.

    Parameters
    ----------
    value : `object`
        What JSON can hold, and arrays; fractions get five digits in arrays.

    Returns
    -------
    text : `markupsafe.Markup`
        JSON without a character that ends a script; NaN becomes null.
    """
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
        if not len(value):
            return "[]"
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
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    return json.dumps(value)


def overview_view(
    label: str,
    aggregate: Aggregate,
    keys: Sequence[tuple[Any, ...]],
    places: Places,
    bands: Mapping[str, Mapping[str, str]],
    no_map: str = "",
) -> View:
    """Show what a family amounts to.

    Parameters
    ----------
    label : `str`
        What the family is.
    aggregate : `Aggregate`
        Its aggregates.
    keys : `~collections.abc.Sequence` [`tuple`]
        Keys of the places, in their order.
    places : `Places`
        The places.
    bands : `~collections.abc.Mapping`
        Colours and markers by band.
    no_map : `str`, optional
        Why there is no map.

    Returns
    -------
    view : `View`
        The map of medians, nights if there are any, and histograms.
    """
    form = aggregate.form
    medians = aggregate.place_medians()
    table = np.array([medians[key] for key in keys]).reshape(len(keys), len(aggregate.metrics))
    histograms = aggregate.histograms()
    metrics = [metric for metric in aggregate.metrics if metric.name in histograms]
    index = {metric.name: i for i, metric in enumerate(aggregate.metrics)}
    totals = [sum(aggregate.places[key].counts.values()) for key in keys]
    fails = [aggregate.places[key].counts["fail"] for key in keys]
    failing_share = Metric(FAILING_SHARE, "%", f"Share of rows of a {form.place} that fail, whatever for.")
    values: dict[str, Any] = {
        FAILING_SHARE: np.array([100 * f / t for f, t in zip(fails, totals, strict=True)])
    }
    values |= {metric.name: table[:, index[metric.name]] for metric in metrics}
    failing = {
        metric.name: [
            i for i, key in enumerate(keys) if 2 * aggregate.places[key].metrics[metric.name] >= totals[i]
        ]
        for metric in metrics
    }
    failing[FAILING_SHARE] = [i for i in range(len(keys)) if 2 * fails[i] >= totals[i]]
    figures = []
    if not no_map:
        figures.append(
            Figure(
                "map",
                "map" if form.night_key else "sky",
                f"Median of each {form.place}",
                f"Over its {'visits' if form.night_key else 'bands'}. "
                "Hatched: fails in at least half of them. Choose one to see all its metrics.",
                high=True,
            )
        )
    figures.append(
        Figure(
            "histogram",
            "histogram",
            "All rows",
            "Hatched: those that fail for this metric. The first and the last bin hold what is beyond.",
            high=not no_map,
        )
    )
    cells = aggregate.nights()
    if cells:
        figures.append(
            Figure(
                "series",
                "series",
                "By night",
                "Median, 5% to 95% (thick) and extremes (thin); dashed: thresholds.",
                wide=True,
            )
        )
    data = {
        "title": form.place.capitalize(),
        "worst": _worst_place(aggregate, keys),
        "failingWord": "fails in at least half of its rows",
        "metrics": [_metric(metric, form.block) for metric in [failing_share, *metrics]],
        "places": _places(places),
        "values": values,
        "failing": failing,
        "histograms": {
            name: {
                "first": float(f"{h.edges[0]:.6g}"),
                "last": float(f"{h.edges[-1]:.6g}"),
                "passing": h.passing,
                "failing": h.failing,
            }
            for name, h in histograms.items()
        },
        "bands": {band: bands.get(band, {}) for band in sorted({key[2] for key in cells}, key=band_order)},
        "cells": _cells(cells, metrics, index),
    }
    first = max(metrics, key=lambda metric: aggregate.metric_failures[metric.name], default=failing_share)
    if not aggregate.metric_failures:
        first = next((metric for metric in metrics if metric.name == "level_median"), first)
    return View(
        label,
        _groups([failing_share, *metrics]),
        first.name,
        figures,
        dump(data),
        f"Choose a {form.place} in the map or in the table to see all its metrics.",
        no_map,
    )


def block_view(
    label: str,
    place: str,
    figure: str,
    block: Block,
    metrics: Sequence[Metric],
    places: Places,
    seams: Mapping[str, Any] | None = None,
    no_map: str = "",
    map_text: str = "",
) -> View:
    """Show the rows of a block.

    Parameters
    ----------
    label : `str`
        What the block is.
    place : `str`
        What a row is of.
    figure : `str`
        Which of the report's figures its map is.
    block : `Block`
        The rows.
    metrics : `~collections.abc.Sequence` [`Metric`]
        Its metrics, in the order of the columns.
    places : `Places`
        Their places, in the same order.
    seams : `~collections.abc.Mapping`, optional
        Columns of the map's seams.
    no_map : `str`, optional
        Why there is no map.
    map_text : `str`, optional
        How to read the map.

    Returns
    -------
    view : `View`
        The map, and the values by place.
    """
    known = np.isfinite(block.values).any(axis=0)
    shown = [(i, metric) for i, metric in enumerate(metrics) if known[i]]
    failing: dict[str, list[int]] = {}
    for row, names in enumerate(block.failed):
        for name in names:
            failing.setdefault(name, []).append(row)
    figures = []
    if not no_map:
        figures.append(
            Figure("map", figure, "Detectors" if place == "detector" else "Patches", map_text, high=True)
        )
    figures.append(
        Figure("ranking", "ranking", f"By {place}", "Crosses: fail. Dashed: thresholds.", high=True)
    )
    data: dict[str, Any] = {
        "title": place.capitalize(),
        "worst": int(np.argmax(np.nan_to_num(block.severity, posinf=1e300))) if len(block) else None,
        "failingWord": "fails",
        "metrics": [_metric(metric, "visit" if place == "detector" else "tract") for _, metric in shown],
        "places": _places(places),
        "values": {metric.name: block.values[:, i] for i, metric in shown},
        "failing": failing,
        "bands": {},
    }
    if seams is not None and not no_map:
        data["seams"] = seams
    known_names = [metric.name for _, metric in shown]
    first = max(known_names, key=lambda name: len(failing.get(name, ())), default="")
    if not failing and "level_median" in known_names:
        first = "level_median"
    return View(
        label,
        _groups([metric for _, metric in shown]),
        first,
        figures,
        dump(data),
        f"Choose a {place} to see all its metrics.",
        no_map,
    )


def _worst_place(aggregate: Aggregate, keys: Sequence[tuple[Any, ...]]) -> int | None:
    """Return the number of the place with the most severe failure."""
    worst = [aggregate.places[key].worst for key in keys]
    severities = [value.severity if value is not None else 0.0 for value in worst]
    return severities.index(max(severities)) if severities else None


def _metric(metric: Metric, block: str) -> dict[str, Any]:
    rule = "No threshold: for comparison alone."
    if metric.max_z is not None:
        rule = f"Passes within {metric.max_z:g} robust standard deviations of the median of its {block}."
    if metric.name == FAILING_SHARE:
        rule = ""
    return {
        "name": metric.name,
        "unit": metric.unit,
        "description": metric.description,
        "low": metric.low,
        "high": metric.high,
        "rule": rule,
    }


def _places(places: Places) -> dict[str, Any]:
    data: dict[str, Any] = {"label": places.labels, "name": places.names, "anchor": places.anchors}
    if places.outlines is not None:
        data["xs"] = [outline[:, 0] for outline in places.outlines]
        data["ys"] = [outline[:, 1] for outline in places.outlines]
    if any(places.pictures):
        data["pictures"] = places.pictures
    return data


def _groups(metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    groups: dict[str, list[str]] = {}
    for metric in metrics:
        groups.setdefault(metric.group, []).append(metric.name)
    return [{"name": name, "metrics": names} for name, names in groups.items()]


def _cells(
    cells: Mapping[tuple[str, str, str], Any], metrics: Sequence[Metric], index: Mapping[str, int]
) -> dict[str, Any]:
    quantiles: dict[str, Any] = {
        metric.name: np.array([cell.quantiles[:, index[metric.name]] for cell in cells.values()])
        .reshape(len(cells), 5)
        .T
        for metric in metrics
    }
    shares = np.array([100 * cell.failing / cell.count for cell in cells.values()])
    quantiles[FAILING_SHARE] = np.stack([shares] * 5)
    return {
        "x": [_milliseconds(first) for first, _, _ in cells],
        "night": [first if first == last else f"{first} to {last}" for first, last, _ in cells],
        "band": [band for _, _, band in cells],
        "count": [cell.count for cell in cells.values()],
        "failing": [cell.failing for cell in cells.values()],
        "quantiles": quantiles,
    }


def _milliseconds(night: str) -> float:
    """Return when a night, such as 20261231, began."""
    try:
        day = datetime.datetime.strptime(night, "%Y%m%d").replace(tzinfo=datetime.UTC)
    except ValueError:
        return 0.0
    return day.timestamp() * 1000
