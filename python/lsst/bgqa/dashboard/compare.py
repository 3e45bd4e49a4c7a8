# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Two campaigns compared row by row, to see whether a new processing changed the backgrounds."""

from __future__ import annotations

__all__ = ("FaultChange", "MetricChange", "TableComparison", "compare_campaigns", "compare_models")

import contextlib
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np
import polars as pl

from lsst.daf.butler import DeferredDatasetHandle

from ..background import BackgroundModel
from ..errors import one_line
from ..judge import Thresholds
from ..statistics.robust import SIGMA_PER_MAD
from ..tasks._inputs import read_background
from .campaign import Campaign
from .queries import plain_faults
from .table import CampaignTable, Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AT_ONCE = 8
# With fewer visits (tracts), rows are what is tested.
_LEAST_MOSAICS = 10
# A median difference below this part of the scatter of the rows says nothing, however sure it is.
_LEAST_EFFECT = 0.1
# By how much of its limit a value has to change for a fault to be new: noise takes others over the limit.
_LEAST_JUMP = 0.5
_MOST_CHANGED = 10


@dataclass(frozen=True)
class MetricChange:
    """How a metric of the same images differs, the second campaign's less the first's."""

    name: str
    unit: str
    count: int
    """Rows in which both have it."""
    median: float
    scatter: float
    """Robust standard deviation of the differences."""
    p_value: float
    """Probability of differences so one-sided by chance, by Wilcoxon's signed-rank
    test: of the visits' (tracts') medians where they are ten or more, or else
    of the rows'; ties are split between the sides.
    """
    relevant: bool
    """Whether the median is more than a tenth of the metric's own scatter."""


@dataclass(frozen=True)
class FaultChange:
    """A fault that rows of one campaign alone have: its words, how many rows, and the first of them."""

    words: str
    rows: int
    example: str


@dataclass
class TableComparison:
    """What two campaigns' tables of the same images differ in."""

    first: CampaignTable
    second: CampaignTable
    differences: CampaignTable
    """A row an image that both have: the second's values less the first's; a
    row fails by what it fails by in the second alone.
    """
    rows: int
    """Images that both have."""
    only_first: dict[str, int]
    """Images that the first has alone, by visit, or tract and band."""
    only_second: dict[str, int]
    now_failing: int
    """Rows that pass in the first and fail in the second."""
    now_passing: int
    p_value: float
    """Probability of so many more rows that fail by chance: an exact sign test
    of those that flipped (McNemar's).
    """
    significance: float
    """Below which probability a difference is significant, of all metrics
    together (Holm's correction).
    """
    metrics: list[MetricChange]
    """Of each metric, those of the significant ones first."""
    changed_metrics: list[MetricChange]
    """Metrics whose difference is significant and relevant."""
    new_faults: list[FaultChange]
    """Faults that came, beyond what noise does at a limit."""
    gone_faults: list[FaultChange]
    most_changed: Mapping[str, list[tuple[str, float]]]
    """Visits (tracts and bands), and detectors (patches), that changed most:
    what they are, and by how much, in units of what passes.
    """

    @property
    def regression(self) -> bool:
        """Whether significantly more rows fail."""
        return self.now_failing > self.now_passing and self.p_value < self.significance

    @property
    def changed(self) -> bool:
        """Whether there is more than noise."""
        flipped = _sign_test(self.now_failing, self.now_passing) < self.significance
        return bool(self.changed_metrics or self.new_faults or self.gone_faults or flipped)

    def sentences(self) -> list[str]:
        """Say what changed, the most important first."""
        what = {"detector": "detector images", "patch": "patch coadds"}.get(
            self.second.kind, f"{self.second.kind}s"
        )
        lines = [f"{'Changed' if self.changed else 'No change'}: {self.rows:,} {what} of {self.second.name}."]
        for verb, faults in (("New", self.new_faults), ("Gone", self.gone_faults)):
            lines += [f"{verb}: {f.words}, in {f.rows:,} ({f.example})." for f in faults]
        if self.now_failing or self.now_passing:
            surely = "significantly more fail" if self.regression else "not significantly more"
            lines.append(
                f"{self.now_failing:,} fail that passed, {self.now_passing:,} pass that failed: {surely}."
            )
        if changed := self.changed_metrics:
            names = ", ".join(f"{m.name} ({m.median:+.3g} {m.unit}".rstrip() + ")" for m in changed[:3])
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            lines.append(f"Metrics that differ: {names}{more}.")
        for side, only in (("first", self.only_first), ("second", self.only_second)):
            if only:
                some = ", ".join(itertools.islice(only, 3)) + (", ..." if len(only) > 3 else "")
                lines.append(f"{sum(only.values()):,} are in the {side} alone: {some}.")
        return lines


def compare_campaigns(
    first: Campaign,
    second: Campaign,
    folder: Path,
    significance: float = 0.001,
    progress: Progress | None = None,
) -> list[TableComparison]:
    """Compare the detectors and patches of two campaigns, in one repository or two.

    Parameters
    ----------
    folder
        Where to keep tables of differences, which are read when they are
        shown.
    significance
        Below which probability a difference is significant.

    Returns
    -------
    comparisons
        One for each table that both have: of the same kind, instrument or
        sky map, and background; or the only one of its kind on both sides.
    """
    pairs = list(_pairs(first, second))
    comparisons = []
    for number, (one, other) in enumerate(pairs):
        comparisons.append(_compare(one, other, folder / f"differences-{number}.parquet", significance))
        if progress is not None:
            progress(number + 1, len(pairs))
    return comparisons


def _pairs(first: Campaign, second: Campaign) -> Iterator[tuple[CampaignTable, CampaignTable]]:
    for kind, root in dict.fromkeys((t.kind, t.root) for t in first.tables if t.row_kind.tile):
        ones, others = (
            {t.name: t for t in campaign.tables if (t.kind, t.root) == (kind, root)}
            for campaign in (first, second)
        )
        if len(ones) == len(others) == 1:
            (one,), (other,) = ones.values(), others.values()
            yield one, other
        else:
            yield from ((ones[name], others[name]) for name in ones if name in others)


def _compare(first: CampaignTable, second: CampaignTable, path: Path, significance: float) -> TableComparison:
    factors = _factors(first, second)
    keys = second.row_kind.image
    rows = _paired(first, second, keys, factors)
    table = _differences(second, rows, factors, path)
    verdicts = rows.select(
        now_failing=((pl.col("verdict") == "fail") & (pl.col("verdict_a") != "fail")).sum(),
        now_passing=((pl.col("verdict") != "fail") & (pl.col("verdict_a") == "fail")).sum(),
        rows=pl.len(),
    )
    counts = verdicts.collect().row(0, named=True)
    parts = itertools.batched(factors, _AT_ONCE)
    metrics = [metric for some in parts for metric in _metric_changes(second, table, some)]
    metrics.sort(key=lambda metric: (metric.p_value, not metric.relevant))
    # Holm's: the smallest has to stand all tests, the next all but one ...
    tested = itertools.takewhile(
        lambda pair: pair[0] * pair[1].p_value < significance,
        zip(range(len(metrics), 0, -1), metrics, strict=True),
    )
    return TableComparison(
        first,
        second,
        table,
        counts["rows"],
        _alone(first, second, keys),
        _alone(second, first, keys),
        counts["now_failing"],
        counts["now_passing"],
        _sign_test(counts["now_failing"], counts["now_passing"], "greater"),
        significance,
        metrics,
        [metric for _, metric in tested if metric.relevant],
        _fault_changes(second, rows, factors, "", "_a"),
        _fault_changes(second, rows, factors, "_a", ""),
        _most_changed(table),
    )


def _factors(first: CampaignTable, second: CampaignTable) -> dict[str, float]:
    """Return metrics that both have, and what to multiply the first's by."""
    factors = {}
    for name, unit in second.units.items():
        if name in first.units:
            # Units that do not convert are no difference to speak of.
            with contextlib.suppress(u.UnitConversionError):
                factors[name] = u.Unit(first.units[name]).to(u.Unit(unit))
    return factors


def _paired(
    first: CampaignTable, second: CampaignTable, keys: list[str], factors: Mapping[str, float]
) -> pl.LazyFrame:
    """Join rows by data ID; the first's columns end in ``_a``."""
    judged = ["verdict", "severity", "failed", "fault"]
    values = ((pl.col(name) * factor).alias(name) for name, factor in factors.items())
    one = first.scan().select(*keys, *judged, *values)
    return second.scan().join(one, on=keys, how="inner", suffix="_a", maintain_order="left")


def _alone(one: CampaignTable, other: CampaignTable, keys: list[str]) -> dict[str, int]:
    mosaic = list(one.row_kind.mosaic)
    rows = one.scan().select(keys).join(other.scan().select(keys), on=keys, how="anti")
    counts = rows.group_by(mosaic).len().sort(mosaic).collect()
    return {_label(mosaic, row): row[-1] for row in counts.rows()}


def _label(keys: Sequence[str], values: Sequence[Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip(keys, values, strict=False))


def _differences(
    second: CampaignTable, rows: pl.LazyFrame, names: Collection[str], path: Path
) -> CampaignTable:
    """Make a campaign table of the differences, which shows as others do."""
    jumps = [jump.fill_nan(0.0) for jump in _jumps(second, names).values()]
    new = pl.col("failed").str.split(",").list.set_difference(pl.col("failed_a").str.split(","))
    failed = new.list.join(",")
    worse = (pl.col("verdict") == "fail") & (failed != "")
    unknown = (pl.col("verdict") == "unknown") & (pl.col("verdict_a") == "unknown")
    verdict = pl.when(worse).then(pl.lit("fail")).when(unknown).then(pl.lit("unknown"))
    rows.select(
        *second.keys,
        "run",
        "dataset_id",
        kind=pl.lit(""),
        verdict=verdict.otherwise(pl.lit("pass")),
        severity=pl.when(worse).then("severity").otherwise(0.0),
        failed=pl.when(worse).then(failed).otherwise(pl.lit("")),
        fault=pl.when(worse).then("fault").otherwise(pl.lit("")),
        change=pl.max_horizontal(jumps) if jumps else pl.lit(0.0),
        **{name: pl.col(name) - pl.col(f"{name}_a") for name in names},
    ).sink_parquet(path)
    free = dict.fromkeys(names)
    return replace(
        second,
        units={name: unit for name, unit in second.units.items() if name in names},
        thresholds=Thresholds(free, free, {}, second.thresholds.min_peers),
        differences=True,
        gathered=True,
        not_gathered=0,
        _path=path,
    )


def _jumps(table: CampaignTable, names: Iterable[str]) -> dict[str, pl.Expr]:
    """Return how far metrics with bounds changed, in units of what passes."""
    jumps = {}
    for name in names:
        bounds = [bound for bound in table.thresholds.bounds(name) if math.isfinite(bound)]
        if sizes := [1 - bound if 0.5 < bound < 1 else abs(bound) or 1.0 for bound in bounds]:
            jumps[name] = (pl.col(name) - pl.col(f"{name}_a")).abs() / min(sizes)
    return jumps


def _metric_changes(
    second: CampaignTable, table: CampaignTable, names: Sequence[str]
) -> Iterator[MetricChange]:
    mosaic = list(table.row_kind.mosaic)
    few = table.scan().select(*mosaic, pl.col(names).fill_nan(None)).collect()
    medians = few.group_by(mosaic).agg(pl.col(names).median())
    scatters = few.select(map(_scatter, names)).row(0, named=True)
    own = second.scan().select(map(_scatter, names)).collect().row(0, named=True)
    for name in names:
        values, by_mosaic = few[name].drop_nulls(), medians[name].drop_nulls()
        tested = by_mosaic if len(by_mosaic) >= _LEAST_MOSAICS else values
        middle = float(values.median() or 0.0)  # type: ignore[arg-type]
        relevant = abs(middle) > _LEAST_EFFECT * (own[name] or 0.0)
        p_value = _signed_rank_test(tested.to_numpy())
        scatter = scatters[name] or 0.0
        yield MetricChange(name, table.units[name], len(values), middle, scatter, p_value, relevant)


def _scatter(name: str) -> pl.Expr:
    value = pl.col(name).fill_nan(None)
    return ((value - value.median()).abs().median() * SIGMA_PER_MAD).alias(name)


def _signed_rank_test(differences: np.ndarray) -> float:
    """Return how probable differences so one-sided are; equal values split between the sides."""
    from scipy.stats import wilcoxon

    differences = differences[np.isfinite(differences)]
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, zero_method="zsplit").pvalue)


def _sign_test(more: int, fewer: int, alternative: str = "two-sided") -> float:
    from scipy.stats import binomtest

    return float(binomtest(more, more + fewer, 0.5, alternative).pvalue) if more + fewer else 1.0


def _fault_changes(
    table: CampaignTable, rows: pl.LazyFrame, names: Iterable[str], with_: str, without: str
) -> list[FaultChange]:
    """Find faults of rows that have them on one side alone, by more than noise."""
    failed, known = (pl.col(f"failed{end}").str.split(",") for end in (with_, without))
    new, jumps = failed.list.set_difference(known), _jumps(table, names)
    # Of a value that one side alone has, the change is not known; NaN is greater than any number.
    far = [new.list.contains(name) & (jump > _LEAST_JUMP).fill_null(True) for name, jump in jumps.items()]
    # What is judged by its peers has to be far off.
    by_peers = new.list.set_difference([*jumps]).list.len() > 0
    far.append(by_peers & (pl.col(f"severity{with_}") > 1 + _LEAST_JUMP))
    keys = table.row_kind.image
    columns = [f"{name}{end}" for name in (*jumps, "failed", "fault", "severity") for end in ("", "_a")]
    others = rows.filter((pl.col(f"failed{with_}") != "") & (pl.col("failed") != pl.col("failed_a")))
    faults = (
        others.select(*keys, *columns)
        .collect()
        .filter(pl.any_horizontal(far))
        .select(*keys, words=plain_faults(f"fault{with_}"), known=plain_faults(f"fault{without}"))
        .explode("words")
        .filter(pl.col("words") != "", ~pl.col("known").list.contains(pl.col("words")))
        .group_by("words", maintain_order=True)
        .agg(pl.len(), pl.col(keys).first())
        .sort("len", descending=True, maintain_order=True)
    )
    return [FaultChange(words, count, _label(keys, row)) for words, count, *row in faults.rows()]


def _most_changed(table: CampaignTable) -> dict[str, list[tuple[str, float]]]:
    changes = {}
    mosaic, tile = map(list, (table.row_kind.mosaic, table.row_kind.tile))
    for what, keys in ((" and ".join(mosaic), mosaic), (tile[-1], tile)):
        rows = pl.scan_parquet(table.path()).group_by(keys).agg(pl.col("change").max())
        top = rows.filter(pl.col("change") > 0).sort(-pl.col("change"), *keys).head(_MOST_CHANGED)
        changes[what] = [(_label(keys, row), row[-1]) for row in top.collect().rows()]
    return changes


def compare_models(
    first: Campaign, second: Campaign, comparison: TableComparison, most: int
) -> Iterator[tuple[str, str, Figure | None]]:
    """Compare backgrounds of the images that changed most, model against model.

    The campaigns' collections, or what they are chained with, have the
    backgrounds.

    Yields
    ------
    label, words
        Which image, and how the pixels differ, or why that is not known.
    figure
        The difference, the second less the first.
    """
    from ..plots import plot_model_difference

    table, kind = comparison.differences, comparison.second.row_kind
    rows = pl.scan_parquet(table.path()).sort("change", descending=True, maintain_order=True).head(most)
    for row in rows.select(kind.image).collect().iter_rows(named=True):
        label = _label(kind.image, [*row.values()])
        data_id = {kind.root: table.root, **row}
        try:
            models = [
                _model(campaign, side, data_id)
                for campaign, side in ((first, comparison.first), (second, comparison.second))
            ]
            difference = models[1].render().astype(np.float64) - models[0].render()
        except Exception as error:
            # The datastore, the formatter and the adapter have errors of their own.
            yield label, f"cannot be compared: {one_line(error)}", None
            continue
        finite = difference[np.isfinite(difference)]
        unit = comparison.second.units.get("level_median", "")
        words = (
            f"median {np.median(finite):+.3g}, rms {np.sqrt(np.mean(finite**2)):.3g}, up to "
            f"{np.abs(finite).max():.3g} {unit}".strip()
            if len(finite)
            else "no pixel has a value in both"
        )
        yield label, words, plot_model_difference(difference, models[1], f"{label}: second less first", words)


def _model(campaign: Campaign, table: CampaignTable, data_id: Mapping[str, Any]) -> BackgroundModel:
    unit = table.units.get("level_median", "adu")
    for name in (table.name, table.name.removesuffix("_backgrounds")):
        with contextlib.suppress(LookupError):
            ref = campaign.butler.find_dataset(name, dict(data_id), collections=campaign.collections)
            if ref is not None:
                if name != table.name:
                    ref = ref.makeComponentRef("backgrounds")
                handle = DeferredDatasetHandle(butler=campaign.butler, ref=ref, parameters=None)
                return read_background(handle, unit)
    raise LookupError(f"no {table.name} in {campaign.collection}")
