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
    "band_order",
    "circular_mean",
    "metrics_of",
    "mosaics_of",
    "nearest_to_failing",
    "plain_faults",
    "summarize",
)

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from ..judge.verdict import _severity
from ..metrics import load_catalogue
from .table import VERDICTS, CampaignTable, Progress

_AT_ONCE = 8
_MOSAICS_AT_ONCE = 100
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
    """A row a detector or patch, in order: ``key`` and ``name``, ``rows`` by
    verdict, and the row in which it is ``worst``.
    """
    mosaics: pl.DataFrame
    """A row a visit, or tract and band, the worst first: its keys, ``rows`` by
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

    @property
    def failing_mosaics(self) -> int:
        """Number of visits, or tracts and bands, with a row that fails."""
        return int((self.mosaics["fail"] > 0).sum())


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
    """The rows of a visit, or of a tract in a band: columns, and metrics of shape (metrics, rows)."""

    columns: pl.DataFrame
    values: np.ndarray


def mosaics_of(
    table: CampaignTable, keys: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[tuple[Any, ...], MosaicRows]]:
    """Yield the rows of some visits, or tracts and bands, in the order of their keys."""
    mosaic = [*table.row_kind.mosaic]
    metrics = pl.col(table.metrics)
    for some in itertools.batched(sorted(keys), _MOSAICS_AT_ONCE):
        wanted = pl.col(mosaic[0]).is_in(sorted({key[0] for key in some}))
        rows = table.scan().filter(wanted).with_columns(metrics.cast(pl.Float32)).collect()
        parts = rows.partition_by(mosaic, as_dict=True)
        for key in some:
            yield key, MosaicRows(parts[key].drop(table.metrics), parts[key].select(metrics).to_numpy().T)


def summarize(table: CampaignTable, progress: Progress | None = None) -> Summary:
    """Ask a table of detectors or patches for what an overview shows."""
    metrics, kind = metrics_of(table), table.row_kind
    rows = table.scan(progress).with_row_index("row")
    # Which rows fail, and by what.
    columns = {*kind.image, "row", "band", "severity", "failed", "fault"}
    failing = rows.filter(pl.col("verdict") == "fail").select(sorted(columns)).collect()
    failures = failing.select("row", "band", *kind.tile, metric=pl.col("failed").str.split(","))
    failures = failures.explode("metric").with_columns(pl.col("metric").cast(pl.Categorical))
    faults = failing.select(plain_faults("fault")).explode("fault")
    tiles, mosaics = _tiles(table, rows, failing), _mosaics(table, rows, failing)
    summary = Summary(
        metrics,
        _bands(rows),
        _groups(table, rows, failures),
        _most_common(failures, "metric"),
        _most_common(faults.filter(pl.col("fault") != ""), "fault"),
        tiles.sort(_WORST, **_WORST_FIRST).head(_MOST_TILES).sort("key"),
        mosaics.sort(_WORST, **_WORST_FIRST),
        _worst(table, rows, {*tiles["worst"], *mosaics["worst"]} - {None}),
        len(tiles),
    )
    del failing
    parts = list(itertools.batched(metrics, _AT_ONCE))
    steps = _Steps(summary, table, rows, failures)
    for number, some in enumerate(parts, start=1):
        steps.take(some)
        if progress is not None:
            progress(number, len(parts))
    return summary


class _Steps:
    """What is asked of some metrics at a time, so that each is read once."""

    def __init__(
        self, summary: Summary, table: CampaignTable, rows: pl.LazyFrame, failures: pl.DataFrame
    ) -> None:
        self._summary, self._table, self._rows, self._failures = summary, table, rows, failures
        self._tile = [*table.row_kind.tile]
        self._tiles = summary.tiles.select(self._tile).with_row_index("tile")
        names = [*dict.fromkeys([*self._tile, "band", "verdict"])]
        middle = pl.lit(None, pl.Float64)
        if any(is_relative(table, metric.name) for metric in summary.metrics):
            middle = pl.col("level_median").fill_nan(None).median().over("visit")
        dated = "day_obs" in table.keys
        keys = rows.select(*names, *(["day_obs"] if dated else []), middle=middle).collect()
        keys = keys.join(self._tiles, on=self._tile, how="left", maintain_order="left")
        # Of a map: all rows, those of a band, and those of one of the last nights.
        self._choices: dict[str, dict[Any, str]] = {"": {None: "all"}}
        if len(summary.bands) > 1:
            self._choices["band"] = {band: f"band {band}" for band in summary.bands}
        if dated and (nights := _night_spans(rows)) is not None:
            if len(nights) > 1:
                newest = nights["day_obs"].to_list()[: -_NIGHTS_CHOSEN - 1 : -1]
                self._choices["day_obs"] = {night: f"night {night}" for night in newest}
            keys = keys.join(nights, on="day_obs", how="left", maintain_order="left")
            groups = keys.drop_nulls("first").group_by("first", "last", "band")
            cells = groups.agg(pl.len(), (pl.col("verdict") == "fail").sum()).sort("first", "band")
            summary.nights |= {
                (first, last, band): {"count": count, "failing": failing, "quantiles": {}}
                for first, last, band, count, failing in cells.rows()
            }
            cells = cells.select("first", "band").with_row_index("cell")
            keys = keys.join(cells, on=["first", "band"], how="left", maintain_order="left")
        size = len(summary.tiles), len(summary.metrics)
        for labels in self._choices.values():
            summary.medians |= {label: np.full(size, np.nan) for label in labels.values()}
        wanted = ["tile", "band", "day_obs", "cell", "middle"]
        self._keys = keys.select(name for name in wanted if name in keys.columns)

    def take(self, some: Sequence[Metric]) -> None:
        names = [metric.name for metric in some]
        values = self._rows.select(pl.col(names).fill_nan(None)).collect()
        self._histograms(values)
        few = values.hstack(self._keys)
        if self._summary.nights:
            self._by_night(few, some)
        self._medians(few, some)

    def _medians(self, few: pl.DataFrame, some: Sequence[Metric]) -> None:
        """Take medians of tiles; of levels, how far they are from their visit's, in percent."""
        relative = [metric.name for metric in some if is_relative(self._table, metric.name)]
        distances = (((pl.col(name) / pl.col("middle") - 1) * 100).fill_nan(None) for name in relative)
        few = few.with_columns(distances)
        names = [metric.name for metric in some]
        columns = np.array([self._table.metrics.index(name) for name in names])
        for by, labels in self._choices.items():
            rows = few.filter(pl.col(by).is_in([*labels])) if by == "day_obs" else few
            keys = ["tile", by] if by else ["tile"]
            found = rows.group_by(keys).agg(map(_middle, some)).drop_nulls("tile")
            for value, label in labels.items():
                part = found.filter(pl.col(by) == value) if by else found
                where = np.ix_(part["tile"].to_numpy(), columns)
                self._summary.medians[label][where] = part.select(names).to_numpy()

    def _by_night(self, few: pl.DataFrame, some: Sequence[Metric]) -> None:
        spreads = [quantile for metric in some for quantile in _spread(metric)]
        found = few.group_by("cell").agg(spreads).drop_nulls("cell").sort("cell")
        entries = list(self._summary.nights.values())
        for cell in found.iter_rows(named=True):
            for metric in some:
                quantiles = [cell[f"{metric.name} {fraction}"] for fraction in _QUANTILES]
                entries[cell["cell"]]["quantiles"][metric.name] = quantiles

    def _histograms(self, values: pl.DataFrame) -> None:
        for name in values.columns:
            by_it = self._failures.filter(pl.col("metric") == name)
            found = _histogram(values[name].to_numpy(), by_it["row"].to_numpy())
            if found is not None:
                self._summary.histograms[name] = found
            if len(by_it):
                tiles = by_it.join(self._tiles, on=self._tile)["tile"]
                self._summary.failing_tiles[name] = np.bincount(tiles, minlength=len(self._tiles))


def nearest_to_failing(table: CampaignTable, most: int) -> set[tuple[Any, ...]]:
    """Return the visits, or tracts and bands, with the values that come nearest to what fails."""
    ratios = []
    for name in table.metrics:
        value, (low, high) = pl.col(name).fill_nan(None), table.thresholds.bounds(name)
        # As severity is defined, which is 1 at the bound.
        if math.isfinite(low):
            shares = (1 - value) / (1 - low) if 0.5 < low < 1 else 1 + (low - value) / (abs(low) or 1)
            ratios.append(value / low if low < 0 else shares)
        if math.isfinite(high):
            ratios.append(value / high if high > 0 else 1 + (value - high) / (abs(high) or 1))
    mosaic = [*table.row_kind.mosaic]
    nearest = pl.max_horizontal(ratios).max() if ratios else pl.lit(0)
    found = table.scan().group_by(mosaic, maintain_order=True).agg(nearest=nearest)
    order = found.sort("nearest", descending=True, nulls_last=True, maintain_order=True)
    return set(order.head(most).select(mosaic).collect().rows())


def circular_mean(angle: pl.Expr, unit: str) -> pl.Expr:
    """Return the mean direction of angles, from 0 to a turn."""
    radians = angle.radians() if unit == "deg" else angle
    mean = pl.arctan2(radians.sin().mean(), radians.cos().mean()) % (2 * math.pi)
    return mean.degrees() if unit == "deg" else mean


def _middle(metric: Metric) -> pl.Expr:
    value = pl.col(metric.name)
    return circular_mean(value, metric.unit).alias(metric.name) if metric.is_angle else value.median()


def _spread(metric: Metric) -> Iterator[pl.Expr]:
    value = pl.col(metric.name)
    for fraction in _QUANTILES:
        if not metric.is_angle:
            found = value.quantile(fraction, "linear")
        else:  # there is neither a least nor a greatest
            found = circular_mean(value, metric.unit) if fraction == 0.5 else pl.lit(None, pl.Float64)
        yield found.alias(f"{metric.name} {fraction}")


def is_relative(table: CampaignTable, name: str) -> bool:
    """Whether a map shows a level relative to that of its visit."""
    if table.differences or table.kind != "detector":
        return False
    return name in (*_RELATIVE, *_SHARES) and "level_median" in table.units


def band_order(band: str) -> tuple[int, str]:
    """Return what to sort a band by."""
    place = "ugrizy".find(band) if len(band) == 1 else -1
    return (place if place >= 0 else 6), band


def _bands(rows: pl.LazyFrame) -> dict[str, dict[str, int]]:
    bands: dict[str, dict[str, int]] = {}
    counts = rows.group_by("band", "verdict").agg(pl.len()).collect()
    for band, verdict, count in sorted(counts.rows(), key=lambda row: band_order(str(row[0]))):
        bands.setdefault(str(band), dict.fromkeys(VERDICTS, 0))[verdict] += count
    return bands


def _groups(
    table: CampaignTable, rows: pl.LazyFrame, failures: pl.DataFrame
) -> dict[tuple[str, str], dict[str, int]]:
    """Count rows that a group of metrics fails, passes, or does not judge."""
    groups = {}
    for group, some in itertools.groupby(table.metrics, key=lambda name: name.partition("_")[0]):
        names = [*some]
        failing = failures.filter(pl.col("metric").is_in(names)).unique("row")
        fails = dict(failing.group_by("band").len().rows())
        judged = pl.any_horizontal([table.judged(name) for name in names]).alias("judged")
        found = rows.select("band", judged).group_by("band").agg(pl.col("judged").sum(), pl.len())
        for band, known, count in found.collect().rows():
            bad = fails.get(band, 0)
            counts = {"fail": bad, "pass": max(0, known - bad), "unknown": count - max(known, bad)}
            groups[group, str(band)] = counts
    return groups


def _most_common(rows: pl.DataFrame, name: str) -> dict[str, int]:
    counts = rows.group_by(name).len().sort(["len", name], descending=[True, False])
    return {str(value): count for value, count in counts.rows()}


def plain_faults(column: str) -> pl.Expr:
    """List the faults of rows, without how large and how sure they are."""
    words = pl.col(column).str.split("; ").list.eval(pl.element().str.replace(r" \(.*$", ""))
    return words.list.unique(maintain_order=True)


def _counts() -> list[pl.Expr]:
    """Count the rows, and those of each verdict."""
    return [pl.len().alias("rows"), *((pl.col("verdict") == word).sum().alias(word) for word in VERDICTS)]


def _tiles(table: CampaignTable, rows: pl.LazyFrame, failing: pl.DataFrame) -> pl.DataFrame:
    tile = [*table.row_kind.tile]
    name = pl.col("detector_name").first() if "detector_name" in table.keys else pl.lit("")
    found = rows.group_by(tile).agg(name.alias("name"), *_counts()).sort(tile).collect()
    return _with_worst(found, failing, tile).with_columns(pl.concat_list(tile).alias("key"))


def _mosaics(table: CampaignTable, rows: pl.LazyFrame, failing: pl.DataFrame) -> pl.DataFrame:
    mosaic = [*table.row_kind.mosaic]
    about = [n for n in ("band", "physical_filter", "day_obs") if n in table.keys and n not in mosaic]
    grouped = rows.group_by(mosaic, maintain_order=True)
    found = grouped.agg(*(pl.col(n).first() for n in about), *_counts()).collect()
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
    found = []
    for name in row["failed"].split(","):
        value = math.nan if row.get(name) is None else row[name]
        low, high = table.thresholds.bounds(name)
        if not math.isfinite(value):
            own = -1.0
        elif value < low or value > high:
            own = _severity(value, low, high)
        else:
            low, high, own = math.nan, math.nan, 0.0
        found.append((own, WorstValue(name, value, low, high, row["severity"], row["fault"])))
    return max(found, key=lambda pair: pair[0])[1]


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
