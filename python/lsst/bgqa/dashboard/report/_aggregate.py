# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What an overview needs to know of rows, block by block."""

from __future__ import annotations

__all__ = (
    "VERDICTS",
    "Aggregate",
    "Block",
    "BlockSummary",
    "Form",
    "Histogram",
    "Metric",
    "NightCell",
    "Place",
    "WorstValue",
)

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...judge.verdict import Judgement, Thresholds, judge_rows
from ._sampling import GroupSample, column_quantiles

VERDICTS = ("pass", "fail", "unknown")
"""What a row may amount to (`tuple`)."""

# Rows of a detector, one a visit, and of a patch, one a band.
_PLACE_SIZES = {"detector": 256, "patch": 16}
_NIGHT_SIZE = 8192
_HISTOGRAM_ROWS = 20_000
_BINS = 40
_NIGHT_QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


@dataclass(frozen=True)
class Metric:
    """A column of values.

    Attributes
    ----------
    name : `str`
        Full name.
    unit : `str`
        Unit, for `astropy.units`; empty for none.
    description : `str`
        What it is.
    low, high : `float`
        Least and greatest value that pass; NaN leaves a side open.
    max_z : `float` or `None`
        Greatest distance from the median of the peers that passes, robust
        standard deviations; `None` if that is not judged.
    """

    name: str
    unit: str = ""
    description: str = ""
    low: float = math.nan
    high: float = math.nan
    max_z: float | None = None

    @property
    def group(self) -> str:
        """The metric's group (`str`)."""
        return self.name.partition("_")[0]


@dataclass(frozen=True)
class Form:
    """What rows are of, and which columns say so.

    Attributes
    ----------
    place, block : `str`
        What a row is of, and what rows are judged together in.
    place_keys, block_keys : `tuple` [`str`, ...]
        Columns that name them.
    name_key : `str` or `None`
        Column with the name of a place.
    night_key : `str` or `None`
        Column with the night.
    """

    place: str
    block: str
    place_keys: tuple[str, ...]
    block_keys: tuple[str, ...]
    name_key: str | None = None
    night_key: str | None = None


@dataclass(frozen=True, eq=False)
class Block:
    """Rows that are judged together: a visit's detectors, a tract's patches.

    Attributes
    ----------
    keys : `~collections.abc.Mapping` [`str`, `~collections.abc.Sequence`]
        Columns that say what each row is of.
    values : `numpy.ndarray`
        Metrics, ``float64``, shape (rows, metrics); NaN where undefined.
    verdicts : `~collections.abc.Sequence` [`str`]
        One of `VERDICTS` for each row.
    severity : `numpy.ndarray`
        How bad each row is, shape (rows,); 0 if it does not fail.
    failed : `~collections.abc.Sequence` [`tuple` [`str`, ...]]
        Full names of the metrics of each row that fail.
    """

    keys: Mapping[str, Sequence[Any]]
    values: np.ndarray
    verdicts: Sequence[str]
    severity: np.ndarray
    failed: Sequence[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.values)

    def first(self, name: str) -> Any:
        """Return what a column holds in the first row; `None` without one."""
        column = self.keys.get(name)
        return None if column is None else column[0]


@dataclass(frozen=True)
class WorstValue:
    """The value for which a row fails most.

    Attributes
    ----------
    metric : `str`
        Full name of the metric.
    value, low, high : `float`
        The value, and what would pass; NaN where that is not known.
    severity : `float`
        How bad it is.
    words : `str`
        What is wrong with the row.
    """

    metric: str
    value: float
    low: float
    high: float
    severity: float
    words: str = ""


@dataclass
class Place:
    """What is known of a detector or patch over all blocks.

    Attributes
    ----------
    key : `tuple`
        Values of the form's ``place_keys``.
    name : `str`
        Its name.
    counts : `collections.Counter`
        Rows by verdict.
    metrics : `collections.Counter`
        Rows that fail, by metric.
    worst : `WorstValue` or `None`
        The worst value.
    where : `tuple`
        Block that has it, as values of the form's ``block_keys``.
    """

    key: tuple[Any, ...]
    name: str
    counts: Counter[str] = field(default_factory=Counter)
    metrics: Counter[str] = field(default_factory=Counter)
    worst: WorstValue | None = None
    where: tuple[Any, ...] = ()


@dataclass(frozen=True)
class BlockSummary:
    """What a visit (tract and band) amounts to.

    Attributes
    ----------
    key : `tuple`
        Values of the form's ``block_keys``.
    columns : `~collections.abc.Mapping` [`str`, `~typing.Any`]
        Its band, filter and night, as far as there are.
    counts : `~collections.abc.Mapping` [`str`, `int`]
        Rows by verdict.
    worst : `WorstValue` or `None`
        The worst value.
    place : `tuple`
        Where that is, as values of the form's ``place_keys``.
    place_name : `str`
        Its name.
    """

    key: tuple[Any, ...]
    columns: Mapping[str, Any]
    counts: Mapping[str, int]
    worst: WorstValue | None
    place: tuple[Any, ...]
    place_name: str

    @property
    def rank(self) -> tuple[float, int]:
        """What to sort by, the worst greatest (`tuple`)."""
        return (self.worst.severity if self.worst else 0.0), self.counts.get("fail", 0)


@dataclass(frozen=True, eq=False)
class NightCell:
    """Values of one night and band.

    Attributes
    ----------
    count : `int`
        Rows.
    failing : `int`
        Rows that fail.
    quantiles : `numpy.ndarray`
        Minimum, 5%, median, 95% and maximum of each metric, shape (5, metrics).
    """

    count: int
    failing: int
    quantiles: np.ndarray

    def merged(self, other: NightCell) -> NightCell:
        """Return both together.

        Parameters
        ----------
        other : `NightCell`
            The other.

        Returns
        -------
        cell : `NightCell`
            Extremes are exact, the quantiles means by number of rows.
        """
        both = np.stack([self.quantiles, other.quantiles])
        weights = np.where(np.isfinite(both), np.array([self.count, other.count])[:, None, None], 0)
        total = weights.sum(axis=0)
        with np.errstate(invalid="ignore"):
            quantiles = (np.nan_to_num(both) * weights).sum(axis=0) / total
        quantiles[0] = np.fmin(both[0, 0], both[1, 0])
        quantiles[-1] = np.fmax(both[0, -1], both[1, -1])
        return NightCell(self.count + other.count, self.failing + other.failing, quantiles)


@dataclass(frozen=True, eq=False)
class Histogram:
    """How the values of a metric are distributed.

    Attributes
    ----------
    edges : `numpy.ndarray`
        Edges of the bins, shape (bins + 1,). The first and the last bin hold
        what is beyond, too.
    passing, failing : `numpy.ndarray`
        Rows that do not, and that do fail for this metric, shape (bins,).
    """

    edges: np.ndarray
    passing: np.ndarray
    failing: np.ndarray


class Aggregate:
    """Aggregates of a stream of blocks.

    Parameters
    ----------
    form : `Form`
        What rows are of.
    metrics : `~collections.abc.Sequence` [`Metric`]
        The metrics, in the order of the columns.
    thresholds : `~lsst.bgqa.judge.Thresholds`, optional
        What passes, to tell how far a value is beyond.
    most_blocks : `int`, optional
        Blocks to keep summaries of, the worst.

    Notes
    -----
    Memory grows with the number of places and of nights, not of rows. The
    medians of a detector are those of 256 of its rows, histograms those of
    20,000 rows, where there are more: a sample, the same on every run.
    """

    def __init__(
        self,
        form: Form,
        metrics: Sequence[Metric],
        thresholds: Thresholds | None = None,
        most_blocks: int = 5000,
    ) -> None:
        self.form = form
        self.metrics = tuple(metrics)
        self._names = tuple(metric.name for metric in metrics)
        self._index = {name: i for i, name in enumerate(self._names)}
        self._thresholds = thresholds or Thresholds()
        self.groups = tuple(dict.fromkeys(metric.group for metric in metrics))
        self._group_of = np.array([self.groups.index(metric.group) for metric in metrics], dtype=np.int64)
        self.counts: Counter[str] = Counter()
        self.bands: dict[str, Counter[str]] = {}
        self.group_counts: dict[tuple[str, str], Counter[str]] = {}
        self.metric_failures: Counter[str] = Counter()
        self.places: dict[tuple[Any, ...], Place] = {}
        self._place_numbers: dict[tuple[Any, ...], int] = {}
        self._place_sample = GroupSample(len(metrics), _PLACE_SIZES[form.place])
        self._most_blocks = most_blocks
        self._blocks: list[tuple[tuple[float, int], int, BlockSummary]] = []
        self._order = itertools.count(0, -1)
        self.block_count = 0
        self.failing_blocks = 0
        self._sample = GroupSample(2 * len(metrics), _HISTOGRAM_ROWS)
        self._night: Any = None
        self._open: dict[str, tuple[GroupSample, list[int], np.ndarray]] = {}
        self._nights: dict[tuple[Any, str], NightCell] = {}

    @property
    def rows(self) -> int:
        """Rows that were added (`int`)."""
        return sum(self.counts.values())

    def add(self, block: Block) -> BlockSummary:
        """Take a block into account.

        Parameters
        ----------
        block : `Block`
            The rows.

        Returns
        -------
        summary : `BlockSummary`
            What it amounts to.
        """
        form = self.form
        kinds = [str(kind) for kind in block.keys.get("kind", [""] * len(block))]
        judgement = judge_rows(self._names, block.values, kinds, self._thresholds)
        failing = np.zeros(block.values.shape, dtype=bool)
        for row, names in enumerate(block.failed):
            for name in names:
                if name in self._index:
                    failing[row, self._index[name]] = True
                    self.metric_failures[name] += 1
        counts = Counter(block.verdicts)
        self.counts += counts
        self._count_bands(block, failing, judgement.judged | failing)
        worst = self._worst_values(block, judgement)
        keys = list(zip(*(block.keys[name] for name in form.place_keys), strict=True))
        place_names: Sequence[Any] = block.keys[form.name_key] if form.name_key else [""] * len(block)
        where = tuple(block.first(name) for name in form.block_keys)
        numbers = np.empty(len(block), dtype=np.int64)
        for row, key in enumerate(keys):
            numbers[row] = self._place_numbers.setdefault(key, len(self._place_numbers))
            place = self.places.get(key)
            if place is None:
                place = self.places[key] = Place(key, str(place_names[row]))
            place.counts[block.verdicts[row]] += 1
            place.metrics.update(block.failed[row])
            value = worst.get(row)
            if value is not None and (place.worst is None or value.severity > place.worst.severity):
                place.worst, place.where = value, where
        self._place_sample.add(numbers, block.values)
        self._sample.add(
            np.zeros(len(block), dtype=np.int64), np.concatenate([block.values, failing], axis=1)
        )
        self._add_night(block)
        summary = self._summarize(block, counts, worst, where, keys, place_names)
        self._keep(summary)
        return summary

    def _worst_values(self, block: Block, judgement: Judgement) -> dict[int, WorstValue]:
        """Return the worst value of each row that fails, by its number."""
        found: dict[int, WorstValue] = {}
        for failure in judgement.failures:
            best = found.get(failure.row)
            if failure.metric in block.failed[failure.row] and (
                best is None or failure.severity > best.severity
            ):
                found[failure.row] = WorstValue(
                    failure.metric, failure.value, failure.low, failure.high, failure.severity
                )
        result = {}
        faults = block.keys.get("fault", [""] * len(block))
        for row, verdict in enumerate(block.verdicts):
            if verdict != "fail":
                continue
            severity = float(block.severity[row])
            if (value := found.get(row)) is not None:
                # What the campaign says counts, should thresholds differ.
                result[row] = replace(value, severity=severity, words=faults[row])
            else:
                metric = next(iter(block.failed[row]), "")
                number = float(block.values[row, self._index[metric]]) if metric in self._index else math.nan
                result[row] = WorstValue(metric, number, math.nan, math.nan, severity, faults[row])
        return result

    def place_medians(self) -> dict[tuple[Any, ...], np.ndarray]:
        """Return the median over the blocks of each metric of each place.

        Returns
        -------
        medians : `dict` [`tuple`, `numpy.ndarray`]
            Shape (metrics,), by the place's key; NaN where undefined.
        """
        return dict(zip(self._place_numbers, self._place_sample.medians(), strict=True))

    def blocks(self) -> list[BlockSummary]:
        """Return summaries of the worst blocks, the worst first.

        Returns
        -------
        blocks : `list` [`BlockSummary`]
            As many as are kept.
        """
        return [item[2] for item in sorted(self._blocks, key=lambda item: item[:2], reverse=True)]

    def nights(self, most: int = 600) -> dict[tuple[str, str, str], NightCell]:
        """Return what is known of each night.

        Parameters
        ----------
        most : `int`, optional
            Most cells to return; more nights are put together until they fit.

        Returns
        -------
        cells : `dict` [`tuple` [`str`, `str`, `str`], `NightCell`]
            By first and last night and band, in order.
        """
        self._close_night()
        span = 1
        nights = sorted({night for night, _ in self._nights})
        bands = {band for _, band in self._nights}
        while len(nights) / span * max(1, len(bands)) > most:
            span += 1
        cells: dict[tuple[str, str, str], NightCell] = {}
        for start in range(0, len(nights), span):
            part = nights[start : start + span]
            for night in part:
                for band in sorted(bands):
                    if (cell := self._nights.get((night, band))) is not None:
                        key = str(part[0]), str(part[-1]), band
                        cells[key] = cells[key].merged(cell) if key in cells else cell
        return cells

    def histograms(self) -> dict[str, Histogram]:
        """Return histograms of all metrics that have a value.

        Returns
        -------
        histograms : `dict` [`str`, `Histogram`]
            By full name.
        """
        rows = self._sample.rows(0)
        number = len(self.metrics)
        low, high = column_quantiles(rows[:, :number], (0.005, 0.995)) if number else ([], [])
        histograms = {}
        for i, name in enumerate(self._names):
            values = rows[:, i].astype(np.float64)
            finite = np.isfinite(values)
            if not finite.any():
                continue
            first, last = float(low[i]), float(high[i])
            if not last > first:
                first, last = float(values[finite].min()), float(values[finite].max())
            if not last > first:
                margin = 0.01 * abs(first) or 0.5
                first, last = first - margin, last + margin
            edges = np.linspace(first, last, _BINS + 1)
            clipped = np.clip(values[finite], first, last)
            fails = rows[finite, number + i] > 0
            failing, _ = np.histogram(clipped[fails], edges)
            every, _ = np.histogram(clipped, edges)
            histograms[name] = Histogram(edges, every - failing, failing)
        return histograms

    def _count_bands(self, block: Block, failing: np.ndarray, judged: np.ndarray) -> None:
        """Count verdicts by band, and by group and band."""
        bands = np.array([str(band) for band in block.keys.get("band", ["-"] * len(block))])
        for band in dict.fromkeys(bands.tolist()):
            here = bands == band
            self.bands.setdefault(band, Counter()).update(
                verdict for verdict, mine in zip(block.verdicts, here, strict=True) if mine
            )
            for number, group in enumerate(self.groups):
                columns = self._group_of == number
                fails = int(failing[np.ix_(here, columns)].any(axis=1).sum())
                known = judged[np.ix_(here, columns)].any(axis=1)
                counts = self.group_counts.setdefault((group, band), Counter())
                counts["fail"] += fails
                counts["pass"] += int(known.sum()) - fails
                counts["unknown"] += int((~known).sum())

    def _add_night(self, block: Block) -> None:
        if self.form.night_key is None:
            return
        night, band = block.first(self.form.night_key), str(block.first("band"))
        # Where it is not known, it is 0.
        if not night:
            return
        if night != self._night:
            self._close_night()
            self._night = night
        if band not in self._open:
            width = len(self.metrics)
            extremes = np.stack([np.full(width, np.nan), np.full(width, np.nan)])
            self._open[band] = GroupSample(width, _NIGHT_SIZE), [0, 0], extremes
        sample, counts, extremes = self._open[band]
        sample.add(np.zeros(len(block), dtype=np.int64), block.values)
        counts[0] += len(block)
        counts[1] += sum(verdict == "fail" for verdict in block.verdicts)
        np.fmin(extremes[0], np.fmin.reduce(block.values, axis=0), out=extremes[0])
        np.fmax(extremes[1], np.fmax.reduce(block.values, axis=0), out=extremes[1])

    def _close_night(self) -> None:
        for band, (sample, counts, extremes) in self._open.items():
            quantiles = column_quantiles(sample.rows(0), _NIGHT_QUANTILES)
            quantiles[0], quantiles[-1] = extremes
            cell = NightCell(counts[0], counts[1], quantiles)
            before = self._nights.get((self._night, band))
            self._nights[self._night, band] = cell if before is None else before.merged(cell)
        self._open.clear()

    def _summarize(
        self,
        block: Block,
        counts: Counter[str],
        worst: Mapping[int, WorstValue],
        where: tuple[Any, ...],
        keys: Sequence[tuple[Any, ...]],
        names: Sequence[Any],
    ) -> BlockSummary:
        columns = {
            name: block.first(name)
            for name in ("band", "physical_filter", "day_obs")
            if name in block.keys and name not in self.form.block_keys
        }
        row = max(worst, key=lambda row: worst[row].severity, default=None)
        return BlockSummary(
            where,
            columns,
            dict(counts),
            None if row is None else worst[row],
            () if row is None else keys[row],
            "" if row is None else str(names[row]),
        )

    def _keep(self, summary: BlockSummary) -> None:
        self.block_count += 1
        self.failing_blocks += summary.counts.get("fail", 0) > 0
        # Of equals, the first stays.
        item = (summary.rank, next(self._order), summary)
        if len(self._blocks) < self._most_blocks:
            heapq.heappush(self._blocks, item)
        elif item[:2] > self._blocks[0][:2]:
            heapq.heapreplace(self._blocks, item)
