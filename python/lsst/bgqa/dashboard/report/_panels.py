# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the figures of a page show, as JSON in the page."""

from __future__ import annotations

__all__ = (
    "FAILING_SHARE",
    "Panels",
    "Tiles",
    "describe",
    "dump",
    "mosaic_panels",
    "overview_panels",
    "tiles_of",
)

import base64
import datetime
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from ..campaign import CampaignTable
from ..queries import Metric, Summary, band_order, is_relative

FAILING_SHARE = "verdict_failingShare"
"""What the share of rows that fail is called."""

_NIGHT_QUANTILES = 5


@dataclass(frozen=True, eq=False)
class Tiles:
    """The detectors or patches that panels show.

    Outlines are corners in a plane, each of shape (corners, 2), or (0, 2)
    where that is not known; arrows say where north and east are there, the
    text how to read the map, and the figure whether it is one of the sky.
    """

    labels: Sequence[str]
    names: Sequence[str]
    anchors: Sequence[str]
    outlines: Sequence[np.ndarray] | None = None
    arrows: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    pictures: Sequence[Sequence[tuple[str, str]]] = ()
    text: str = ""
    figure: str = "map"

    def data(self) -> dict[str, Any]:
        """Return what a page's script reads."""
        data: dict[str, Any] = {"label": self.labels, "name": self.names, "anchor": self.anchors}
        if self.outlines is not None:
            for name, every in zip(("xs", "ys"), _listed(np.concatenate(self.outlines).T), strict=True):
                values = iter(every)
                data[name] = [list(itertools.islice(values, len(outline))) for outline in self.outlines]
            data["arrows"] = self.arrows
        if any(self.pictures):
            data["pictures"] = self.pictures
        return data


@dataclass(frozen=True)
class Panels:
    """Figures that follow the choice of a metric: what they are of, and what they show.

    The choices are parts of the rows that the map may show, all, a band, a
    night; of the rows of one visit or tract there are none.
    """

    label: str
    tile: str
    tiles: Tiles
    nights: bool
    choices: list[str]
    json: Markup

    @property
    def plural(self) -> str:
        return "detectors" if self.tile == "detector" else "patches"


def tiles_of(
    summary: Summary,
    outlines: Mapping[tuple[Any, ...], np.ndarray],
    arrows: Mapping[str, tuple[float, float]],
    prefix: str,
) -> Tiles:
    """Return the detectors or patches of a summary; anchors begin with the prefix."""
    keys = [tuple(key) for key in summary.tiles["key"].to_list()]
    names = summary.tiles["name"].to_list()
    nowhere = np.empty((0, 2))
    sky = "N" in arrows
    return Tiles(
        [str(key[-1]) for key in keys],
        [name or (f"tract {key[0]}" if len(key) > 1 else "") for key, name in zip(keys, names, strict=True)],
        [f"{prefix}-{i}" for i in range(len(keys))],
        [outlines.get(key, nowhere) for key in keys] if any(key in outlines for key in keys) else None,
        arrows,
        text=f"Over its {'bands, on the sky' if sky else 'visits, as the pixels lie'}. "
        "Hatched: fails in at least half of them. Choose one.",
        figure="sky" if sky else "map",
    )


def dump(value: Any) -> Markup:
    """Write JSON that may stand in a page: no character ends a script, NaN is null."""
    try:
        text = json.dumps(value, default=_listed, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return dump(_finite(value))
    for character in "<>&'":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _finite(value: Any) -> Any:
    """Put nothing in the place of what is no number."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _listed(array: np.ndarray) -> list[Any]:
    """Leave out digits that no figure shows."""
    if array.dtype.kind != "f":
        return array.tolist()  # type: ignore[no-any-return]
    known = np.isfinite(array)
    size = np.abs(np.where(known & (array != 0), array, 1))
    # Powers of ten up to the 22nd are exact, so that what is rounded has a short decimal.
    power = np.clip(4 - np.floor(np.log10(size)), -22, 22)
    up, down = 10 ** np.maximum(power, 0), 10 ** np.maximum(-power, 0)
    short = np.where(array == np.rint(array), array, np.rint(array / down * up) * down / up)
    return np.where(known, short, None).tolist()  # type: ignore[call-overload, no-any-return]


def _pack(names: Sequence[str], values: np.ndarray) -> dict[str, Any]:
    """Write values of shape (names, rows) as short as a page's script can read them."""
    text = base64.b64encode(values.astype("<f4").tobytes()).decode()
    return {"names": names, "float32": text}


def overview_panels(
    label: str,
    table: CampaignTable,
    summary: Summary,
    tiles: Tiles,
    styles: Mapping[str, Mapping[str, str]],
) -> Panels:
    """Show what a table amounts to: medians of tiles, nights if there are any, histograms."""
    tile, found = table.kind, summary.tiles
    totals = (found["pass"] + found["fail"] + found["unknown"]).to_numpy()
    fails = found["fail"].to_numpy()
    failing_share = Metric(FAILING_SHARE, "%", f"Share of rows of a {tile} that fail, whatever for.")
    shown = [i for i, metric in enumerate(summary.metrics) if metric.name in summary.histograms]
    metrics = [summary.metrics[i] for i in shown]
    names = [metric.name for metric in metrics]
    failing = {FAILING_SHARE: fails, **summary.failing_tiles}
    data = _data(
        table,
        tiles,
        # What is red is what one sees first.
        first=FAILING_SHARE if fails.any() or "level_median" not in names else "level_median",
        worst=found["severity"].fill_null(0.0).arg_max() if len(found) else None,
        failingWord="fails in at least half of its rows",
        metrics=describe([failing_share, *metrics], table),
        relative=[name for name in names if is_relative(table, name)],
        share=100 * fails / totals,
        values={choice: _pack(names, medians[:, shown].T) for choice, medians in summary.medians.items()},
        failing={name: np.flatnonzero(2 * counts >= totals) for name, counts in failing.items()},
        histograms={name: vars(histogram) for name, histogram in summary.histograms.items()},
        bands={
            band: styles.get(band, {}) for band in sorted({key[2] for key in summary.nights}, key=band_order)
        },
        cells=_cells(summary, metrics),
    )
    return Panels(label, tile, tiles, bool(summary.nights), list(summary.medians), data)


def mosaic_panels(
    label: str,
    table: CampaignTable,
    metrics: Sequence[Metric],
    values: np.ndarray,
    rows: Mapping[str, Any],
    tiles: Tiles,
    seams: Mapping[str, Any] | None,
) -> Panels:
    """Show the rows of a visit, or of a tract in a band; values have the shape (metrics, rows)."""
    names = [metric.name for metric in metrics]
    failing: dict[str, list[int]] = {}
    for row, failed in enumerate(rows["failed"]):
        for name in failed.split(",") if failed else ():
            failing.setdefault(name, []).append(row)
    severity = rows["severity"]
    worst = max(range(len(severity)), key=lambda row: severity[row] or 0.0, default=None)
    # Of what the worst fails by, that by which most do.
    red = [name for name in names if worst in failing.get(name, ())] or [n for n in names if n in failing]
    first = max(red, key=lambda name: len(failing[name]), default="level_median")
    data = _data(
        table,
        tiles,
        first=first if first in names else "".join(names[:1]),
        worst=worst,
        failingWord="fails",
        metrics=describe(metrics, table),
        values={"all": _pack(names, values)},
        failing=failing,
        rows=rows,
        bands={},
        **({} if seams is None or tiles.outlines is None else {"seams": seams}),
    )
    return Panels(label, table.kind, tiles, False, [], data)


def _data(table: CampaignTable, tiles: Tiles, **data: Any) -> Markup:
    return dump({"title": table.kind.capitalize(), "tiles": tiles.data(), **data})


def describe(metrics: Sequence[Metric], table: CampaignTable) -> list[dict[str, Any]]:
    """Return what is known of metrics."""
    return [_metric(metric, table) for metric in metrics]


def _metric(metric: Metric, table: CampaignTable) -> dict[str, Any]:
    rule = "No threshold: for comparison alone."
    if metric.max_z is not None:
        mosaic = "visit" if table.kind == "detector" else "tract"
        rule = f"Passes within {metric.max_z:g} robust standard deviations of the median of its {mosaic}."
    if metric.name == FAILING_SHARE:
        rule = ""
    about = {"name": metric.name, "unit": metric.unit, "description": metric.description}
    low, high = (bound if math.isfinite(bound) else None for bound in (metric.low, metric.high))
    return {**about, "low": low, "high": high, "rule": rule, "cyclic": metric.is_angle}


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
