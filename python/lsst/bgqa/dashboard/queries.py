# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What a report asks of a campaign table, from the whole to the single row.

Each question is a query of a few columns of the table's file. Metrics are
asked for some at a time, so that memory stays below that of eight columns.
"""

from __future__ import annotations

__all__ = (
    "Metric",
    "MosaicRows",
    "Summary",
    "WorstValue",
    "circular_mean",
    "metrics_of",
    "mosaics_of",
    "summarize",
)

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from ..judge.verdict import _severity
from ..metrics import load_catalogue
from .table import VERDICTS, CampaignTable, Progress

_AT_ONCE = 8
_MOST_NIGHTS = 600
_NIGHTS_CHOSEN = 7
_MOST_TILES = 400
_BINS = 40
_RANGE_ROWS = 100_000
_QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
_WORST = ["severity", "fail"]
_WORST_FIRST: Any = {"descending": True, "nulls_last": True, "maintain_order": True}
# Levels that are shown relative to their visit's: else, the nights' differences hide the detectors'.
_RELATIVE = ("level_median", "level_mean", "level_min", "level_max")
_SHARES = tuple(f"level_p{percent:02d}" for percent in (1, 5, 25, 75, 95, 99))


@dataclass(frozen=True)
class Metric:
    """A column of values: its name, unit and meaning, and what passes.

    NaN leaves a side open; ``max_z`` is the greatest distance from the
    median of the peers that passes, `None` if that is not judged.
    """

    name: str
    unit: str = ""
    description: str = ""
    low: float = math.nan
    high: float = math.nan
    max_z: float | None = None

    @property
    def group(self) -> str:
        """The metric's group."""
        return self.name.partition("_")[0]

    @property
    def is_angle(self) -> bool:
        """Whether values that differ by a turn are the same."""
        return self.unit in ("deg", "rad")


@dataclass(frozen=True)
class WorstValue:
    """The value for which a row fails most, what would pass, and the words for it."""

    metric: str
    value: float
    low: float
    high: float
    severity: float
    words: str


@dataclass
class Summary:
    """What a campaign table amounts to."""

    metrics: tuple[Metric, ...]
    bands: dict[str, dict[str, int]]
    """Rows by band and verdict."""
    groups: dict[tuple[str, str], dict[str, int]]
    """Rows by group of metrics and band, and what the group says of them."""
    failures: dict[str, int]
    """Rows that fail by a metric, the most common first."""
    faults: dict[str, int]
    """Rows with a fault in words, the most common first."""
    tiles: pl.DataFrame
    """A row a detector or patch, in order: ``key`` and ``name``, rows by
    verdict, and the row in which it is ``worst``.
    """
    mosaics: pl.DataFrame
    """A row a visit, or tract and band, the worst first: its keys, rows by
    verdict, and its ``worst`` row.
    """
    worst: dict[int, dict[str, Any]]
    """Keys and `WorstValue` of the rows that are meant, by their numbers."""
    tile_count: int
    """Detectors or patches, of which the worst are in ``tiles`` where they are too many."""
    nights: dict[tuple[int, int, str], dict[str, Any]] = field(default_factory=dict)
    """By night (or first and last of some) and band: rows, rows that fail and
    quantiles of each metric.
    """
    medians: dict[str, np.ndarray] = field(default_factory=dict)
    """Medians of each tile in all rows, in a band, and in a night, shape
    (tiles, metrics).
    """
    failing_tiles: dict[str, np.ndarray] = field(default_factory=dict)
    """Rows of each tile that fail by a metric."""
    histograms: dict[str, Histogram] = field(default_factory=dict)
    """Distribution of each metric that has values."""

    @property
    def counts(self) -> dict[str, int]:
        """Rows by verdict."""
        return {word: sum(counts[word] for counts in self.bands.values()) for word in VERDICTS}

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(self.counts.values())


@dataclass(frozen=True, eq=False)
class Histogram:
    """Rows that do not, and that do fail, in bins between two values.

    The first and the last bin hold what is beyond, too.
    """

    first: float
    last: float
    passing: np.ndarray
    failing: np.ndarray


def metrics_of(table: CampaignTable) -> tuple[Metric, ...]:
    """Return a table's metrics with what is known of them."""
    catalogue = load_catalogue()
    return tuple(
        Metric(
            name,
            unit,
            catalogue[name].description if name in catalogue else "",
            *table.thresholds.bounds(name),
            table.thresholds.max_z.get(name),
        )
        for name, unit in table.units.items()
    )


@dataclass(frozen=True, eq=False)
class MosaicRows:
    """The rows of a visit, or of a tract in a band: columns, and metrics of shape (rows, metrics)."""

    columns: Mapping[str, Sequence[Any]]
    values: np.ndarray

    def tuples(self, names: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return some columns row by row."""
        return list(zip(*(self.columns[name] for name in names), strict=True))


def mosaics_of(table: CampaignTable) -> Iterator[tuple[tuple[Any, ...], MosaicRows]]:
    """Yield the rows of a table by visit, or tract and band, with their keys."""
    names = [name for name in table.schema.names if name not in table.units]
    for every in table.frames():
        columns = every.select(names).to_dict(as_series=False)
        values = np.ascontiguousarray(every.select(table.metrics).to_numpy())
        first = 0
        for key, some in itertools.groupby(zip(*(columns[n] for n in table.row_kind.mosaic), strict=True)):
            last = first + sum(1 for _ in some)
            mine = {name: column[first:last] for name, column in columns.items()}
            yield key, MosaicRows(mine, values[first:last])
            first = last


def summarize(table: CampaignTable, progress: Progress | None = None) -> Summary:
    """Ask a table of detectors or patches for what an overview shows."""
    metrics, kind = metrics_of(table), table.row_kind
    rows = table.scan(progress).with_row_index("row")
    # Which rows fail, and by what.
    columns = {*kind.mosaic, *kind.tile, "row", "band", "severity", "failed", "fault"}
    failing = rows.filter(pl.col("verdict") == "fail").select(sorted(columns)).collect()
    failures = failing.with_columns(metric=pl.col("failed").str.split(",")).explode("metric")
    tiles, mosaics = _tiles(table, rows, failing), _mosaics(table, rows, failing)
    summary = Summary(
        metrics,
        _bands(rows),
        _groups(table, rows, failures),
        _most_common(failures, "metric"),
        _most_common(_fault_words(failing), "fault"),
        tiles.sort(_WORST, **_WORST_FIRST).head(_MOST_TILES).sort("key"),
        mosaics.sort(_WORST, **_WORST_FIRST),
        _worst(table, rows, {*tiles["worst"], *mosaics["worst"]} - {None}),
        len(tiles),
    )
    parts = list(itertools.batched(metrics, _AT_ONCE))
    steps = _steps(summary, table, rows, failures)
    for number, (some, step) in enumerate(itertools.product(parts, steps)):
        step(some)
        if progress is not None:
            progress(number + 1, len(parts) * len(steps))
    return summary


def _steps(
    summary: Summary, table: CampaignTable, rows: pl.LazyFrame, failures: pl.DataFrame
) -> list[Callable[[Sequence[Metric]], None]]:
    """Return the questions that are asked of some metrics at a time."""
    tile = [*table.row_kind.tile]
    tiles = pl.DataFrame({name: [key[i] for key in summary.tiles["key"]] for i, name in enumerate(tile)})
    nights = _night_spans(rows) if "day_obs" in table.keys else None
    width = len(summary.metrics)
    index = {metric.name: i for i, metric in enumerate(summary.metrics)}
    choices: dict[str, pl.Expr] = {"all": pl.lit(True)}
    if len(summary.bands) > 1:
        choices |= {f"band {band}": pl.col("band") == band for band in summary.bands}
    if nights is not None and 1 < len(nights):
        newest = nights["day_obs"].to_list()[-_NIGHTS_CHOSEN:]
        choices |= {f"night {night}": pl.col("day_obs") == night for night in reversed(newest)}
    summary.medians |= {choice: np.full((len(tiles), width), np.nan) for choice in choices}

    def by_tile(some: Sequence[Metric]) -> None:
        keys = [*dict.fromkeys([*tile, "band", *(["day_obs"] if nights is not None else [])])]
        few = rows.select(*keys, *_shown(table, some)).collect()
        names = [metric.name for metric in some]
        for choice, condition in choices.items():
            found = few.filter(condition).group_by(tile).agg(_middle(metric) for metric in some)
            values = tiles.join(found, on=tile, how="left", maintain_order="left").select(names).to_numpy()
            summary.medians[choice][:, [index[name] for name in names]] = values

    def by_night(some: Sequence[Metric]) -> None:
        if nights is None:
            return
        few = rows.select("day_obs", "band", "verdict", *(metric.name for metric in some)).collect()
        few = few.join(nights, on="day_obs")
        found = few.group_by("first", "last", "band").agg(
            pl.len().alias("count"),
            (pl.col("verdict") == "fail").sum().alias("failing"),
            *(quantile for metric in some for quantile in _spread(metric)),
        )
        for cell in found.sort("first", "band").iter_rows(named=True):
            key = cell["first"], cell["last"], cell["band"]
            entry = summary.nights.setdefault(
                key, {"count": cell["count"], "failing": cell["failing"], "quantiles": {}}
            )
            for metric in some:
                entry["quantiles"][metric.name] = [cell[f"{metric.name} {q}"] for q in _QUANTILES]

    def histograms(some: Sequence[Metric]) -> None:
        few = rows.select(metric.name for metric in some).collect()
        for metric in some:
            by_it = failures.filter(pl.col("metric") == metric.name)
            found = _histogram(few[metric.name].to_numpy(), by_it["row"].to_numpy())
            if found is not None:
                summary.histograms[metric.name] = found
            if len(by_it):
                counts = tiles.join(by_it.group_by(tile).len(), on=tile, how="left", maintain_order="left")
                summary.failing_tiles[metric.name] = counts["len"].fill_null(0).to_numpy()

    return [by_tile, by_night, histograms]


def circular_mean(angle: pl.Expr, unit: str) -> pl.Expr:
    """Return the mean direction of angles, from 0 to a turn."""
    radians = angle.radians() if unit == "deg" else angle
    mean = pl.arctan2(radians.sin().mean(), radians.cos().mean()) % (2 * math.pi)
    return mean.degrees() if unit == "deg" else mean


def _middle(metric: Metric) -> pl.Expr:
    value = pl.col(metric.name).fill_nan(None)
    return circular_mean(value, metric.unit).alias(metric.name) if metric.is_angle else value.median()


def _spread(metric: Metric) -> Iterator[pl.Expr]:
    value = pl.col(metric.name).fill_nan(None)
    for fraction in _QUANTILES:
        if not metric.is_angle:
            found = value.quantile(fraction, "linear")
        else:  # there is neither a least nor a greatest
            found = circular_mean(value, metric.unit) if fraction == 0.5 else pl.lit(None, pl.Float64)
        yield found.alias(f"{metric.name} {fraction}")


def _shown(table: CampaignTable, some: Sequence[Metric]) -> Iterator[pl.Expr]:
    """Return what a map shows of metrics: of levels, how far they are from their visit's, in percent."""
    for metric in some:
        value = pl.col(metric.name)
        if is_relative(table, metric.name):
            middle = pl.col("level_median").fill_nan(None).median().over("visit")
            value = (100 * (value / middle - 1)).alias(metric.name)
        yield value


def is_relative(table: CampaignTable, name: str) -> bool:
    """Whether a map shows a level relative to that of its visit."""
    if table.differences or table.kind != "detector":
        return False
    return name in (*_RELATIVE, *_SHARES) and "level_median" in table.units


def _bands(rows: pl.LazyFrame) -> dict[str, dict[str, int]]:
    bands: dict[str, dict[str, int]] = {}
    for band, verdict, count in rows.group_by("band", "verdict").agg(pl.len()).collect().rows():
        bands.setdefault(str(band), dict.fromkeys(VERDICTS, 0))[verdict] += count
    return bands


def _groups(
    table: CampaignTable, rows: pl.LazyFrame, failures: pl.DataFrame
) -> dict[tuple[str, str], dict[str, int]]:
    """Count rows that a group of metrics fails, passes, or does not judge."""
    group_of = pl.col("metric").str.split("_").list.first().alias("group")
    failed = failures.select("row", "band", group_of).unique().group_by("group", "band").len()
    fails = {(group, str(band)): count for group, band, count in failed.rows()}
    groups = {}
    for group, names in itertools.groupby(table.metrics, key=lambda name: name.partition("_")[0]):
        judged = pl.any_horizontal([table.judged(name) for name in names]).alias("judged")
        found = rows.select("band", judged).group_by("band").agg(pl.col("judged").sum(), pl.len())
        for band, known, count in found.collect().rows():
            bad = fails.get((group, str(band)), 0)
            counts = {"fail": bad, "pass": max(0, known - bad), "unknown": count - max(known, bad)}
            groups[group, str(band)] = counts
    return groups


def _most_common(rows: pl.DataFrame, name: str) -> dict[str, int]:
    counts = rows.group_by(name).len().sort(["len", name], descending=[True, False])
    return {str(value): count for value, count in counts.rows()}


def _fault_words(failing: pl.DataFrame) -> pl.DataFrame:
    """Return the faults of rows, without how large and how sure they are."""
    words = pl.col("fault").str.split("; ").list.eval(pl.element().str.replace(r" \(.*$", ""))
    return failing.select(fault=words.list.unique()).explode("fault").filter(pl.col("fault") != "")


def _verdict_counts() -> Iterator[pl.Expr]:
    return ((pl.col("verdict") == word).sum().alias(word) for word in VERDICTS)


def _tiles(table: CampaignTable, rows: pl.LazyFrame, failing: pl.DataFrame) -> pl.DataFrame:
    tile = [*table.row_kind.tile]
    name = pl.col("detector_name").first() if "detector_name" in table.keys else pl.lit("")
    found = rows.group_by(tile).agg(name.alias("name"), *_verdict_counts()).sort(tile).collect()
    return _with_worst(found, failing, tile).with_columns(pl.concat_list(tile).alias("key"))


def _mosaics(table: CampaignTable, rows: pl.LazyFrame, failing: pl.DataFrame) -> pl.DataFrame:
    mosaic = [*table.row_kind.mosaic]
    about = [n for n in ("band", "physical_filter", "day_obs") if n in table.keys and n not in mosaic]
    grouped = rows.group_by(mosaic, maintain_order=True)
    found = grouped.agg(*(pl.col(n).first() for n in about), *_verdict_counts()).collect()
    return _with_worst(found, failing, mosaic)


def _with_worst(found: pl.DataFrame, failing: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Add the number and severity of the worst row; of equals, the first."""
    worst = (
        failing.sort("severity", **_WORST_FIRST)
        .unique(keys, keep="first", maintain_order=True)
        .select(*keys, "severity", worst="row")
    )
    return found.join(worst, on=keys, how="left", maintain_order="left")


def _worst(table: CampaignTable, rows: pl.LazyFrame, numbers: set[int]) -> dict[int, dict[str, Any]]:
    bounded = [name for name in table.metrics if np.isfinite(table.thresholds.bounds(name)).any()]
    names = dict.fromkeys([*bounded, *(name for name in table.thresholds.max_z if name in table.units)])
    keys = [name for name in table.keys if name != table.row_kind.root]
    found = rows.filter(pl.col("row").is_in(sorted(numbers))).select(
        "row", *keys, "severity", "failed", "fault", *names
    )
    return {
        row["row"]: {name: row[name] for name in keys} | {"value": worst_value(table, row)}
        for row in found.collect().iter_rows(named=True)
    }


def worst_value(table: CampaignTable, row: Mapping[str, Any]) -> WorstValue:
    """Find the value of a row by which it fails most.

    Where a value is within its bounds, its peers said so; what they allow is
    not known any more.
    """
    best = WorstValue("", math.nan, math.nan, math.nan, row["severity"], row["fault"])
    for name in row["failed"].split(","):
        value = row.get(name)
        low, high = table.thresholds.bounds(name)
        if value is None or not math.isfinite(value):
            own = -1.0
        elif value < low or value > high:
            own = _severity(value, low, high)
        else:
            low, high, own = math.nan, math.nan, 0.0
        if not best.metric or own > best.severity:
            best = WorstValue(name, math.nan if value is None else value, low, high, own, row["fault"])
    return WorstValue(best.metric, best.value, best.low, best.high, row["severity"], best.words)


def _night_spans(rows: pl.LazyFrame) -> pl.DataFrame | None:
    """Put nights together until they fit, each with the first and the last of its span."""
    known = rows.filter(pl.col("day_obs") > 0)
    nights = known.select("day_obs").unique().sort("day_obs").collect()
    bands = known.select(pl.col("band").n_unique()).collect().item()
    if not len(nights):
        return None
    span = math.ceil(len(nights) * max(1, bands) / _MOST_NIGHTS)
    number = pl.int_range(pl.len()) // span
    return nights.with_columns(
        first=pl.col("day_obs").first().over(number), last=pl.col("day_obs").last().over(number)
    )


def _histogram(values: np.ndarray, failing: np.ndarray) -> Histogram | None:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    # Of many rows, some tell the range well enough.
    first, last = np.quantile(finite[:: max(1, len(finite) // _RANGE_ROWS)], (0.005, 0.995)).tolist()
    if not last > first:
        first, last = float(finite.min()), float(finite.max())
    if not last > first:
        margin = 0.01 * abs(first) or 0.5
        first, last = first - margin, last + margin

    def count(some: np.ndarray) -> np.ndarray:
        bins = (np.clip((some - first) / (last - first), 0, 1) * _BINS).astype(np.intp)
        return np.bincount(np.minimum(bins, _BINS - 1), minlength=_BINS)

    bad = values[failing]
    fails = count(bad[np.isfinite(bad)])
    return Histogram(first, last, count(finite) - fails, fails)
