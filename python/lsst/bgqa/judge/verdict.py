# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Pass, fail or unknown, for rows of metrics."""

from __future__ import annotations

__all__ = ("Failure", "Judgement", "Thresholds", "judge_rows")

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .._html import table
from ..metrics import Verdict, load_catalogue
from ..statistics.robust import SIGMA_PER_MAD
from .words import describe_failure, kind_of

_IN_CONTEXT = {
    "level_median": "context_levelSigma",
    "shape_residualRms": "significance_edgeSigma",
    "edges_edgeExcess": "significance_edgeSigma",
    "blocks_stepX": "significance_edgeSigma",
    "blocks_stepY": "significance_edgeSigma",
}
# The worst failures that a notebook shows.
_SHOWN = 10


@dataclass(frozen=True)
class Thresholds:
    """What values of metrics pass.

    Attributes
    ----------
    low, high
        Least and greatest value that pass, by full name of the metric; they
        take the place of the catalogue's. `None` leaves a side open.
    max_z
        Greatest distance from the median of the peers that passes, in robust
        standard deviations of theirs.
    min_peers
        How many peers a row needs, itself included, for that.
    """

    low: Mapping[str, float | None] = field(default_factory=dict)
    high: Mapping[str, float | None] = field(default_factory=dict)
    max_z: Mapping[str, float] = field(default_factory=dict)
    min_peers: int = 5

    def bounds(self, name: str) -> tuple[float, float]:
        """Return the absolute bounds of a metric.

        Parameters
        ----------
        name
            Full name of the metric.

        Returns
        -------
        low, high
            The bounds; NaN where a side is open.
        """
        if name not in self._bounds:
            metric = load_catalogue().get(name)
            low = self.low.get(name, metric.low if metric is not None else None)
            high = self.high.get(name, metric.high if metric is not None else None)
            self._bounds[name] = math.nan if low is None else low, math.nan if high is None else high
        return self._bounds[name]

    @cached_property
    def _bounds(self) -> dict[str, tuple[float, float]]:
        return {}


@dataclass(frozen=True)
class Failure:
    """A value that does not pass.

    Attributes
    ----------
    row
        Number of the row.
    metric
        Full name of the metric.
    value
        The value.
    low, high
        What would pass; NaN where a side is open.
    severity
        How bad it is; above 1.
    """

    row: int
    metric: str
    value: float
    low: float
    high: float
    severity: float


@dataclass(frozen=True)
class Judgement:
    """What rows of metrics amount to.

    Attributes
    ----------
    verdicts
        Of each row ``"fail"`` if any value fails, ``"pass"`` if some value
        was judged and none failed, else ``"unknown"``.
    failures
        The values that fail, row by row, in the order of the metrics.
    judged
        Which values were judged, ``bool``, shape (rows, metrics): those that
        are finite and had a bound, or enough peers.
    """

    verdicts: list[Verdict]
    failures: list[Failure]
    judged: np.ndarray = field(compare=False)

    def failed(self, row: int) -> list[str]:
        """Return the metrics by which a row fails.

        Parameters
        ----------
        row
            Number of the row.
        """
        return list(dict.fromkeys(failure.metric for failure in self._by_row.get(row, [])))

    def severity(self, row: int) -> float:
        """Return how bad a row is.

        Parameters
        ----------
        row
            Number of the row.

        Returns
        -------
        severity
            That of its worst value; 0 if none fails.
        """
        return max((failure.severity for failure in self._by_row.get(row, [])), default=0.0)

    def fault(
        self,
        row: int,
        values: Mapping[str, float],
        places: Mapping[str, str] | None = None,
        known: tuple[str, str] = ("", ""),
    ) -> str:
        """Say what is wrong with a row.

        Parameters
        ----------
        row
            Number of the row.
        values
            Its metrics by full name.
        places
            Where it is wrong, by full name.
        known
            Metrics, by commas, and words of faults that were found before;
            those that still are keep their words.

        Returns
        -------
        words
            Each fault once, the worst first, separated by semicolons.
        """
        said: dict[str, str] = {}
        failed = self.failed(row)
        before = [metric for metric in known[0].split(",") if metric]
        if known[1] and set(before) <= set(failed):
            said = dict.fromkeys(map(kind_of, before), "")
            said[kind_of(before[0])] = known[1]
        for failure in sorted(self._by_row.get(row, []), key=lambda failure: -failure.severity):
            place = (places or {}).get(failure.metric, "")
            said.setdefault(
                kind_of(failure.metric),
                describe_failure(failure.metric, failure.value, failure.low, failure.high, values, place),
            )
        return "; ".join(filter(None, said.values()))

    def _repr_html_(self) -> str:
        counts = ", ".join(
            f"{self.verdicts.count(word)} {word}" for word in dict.fromkeys(("pass", "fail", *self.verdicts))
        )
        worst = sorted(self.failures, key=lambda failure: -failure.severity)[:_SHOWN]
        rows = (
            (each.row, each.metric, *map("{:.4g}".format, (each.value, each.low, each.high, each.severity)))
            for each in worst
        )
        header = ("row", "metric", "value", "passes from", "to", "x limit")
        return f"<b>Rows</b>: {counts}{table(header, rows)}"

    @cached_property
    def _by_row(self) -> dict[int, list[Failure]]:
        rows: dict[int, list[Failure]] = {}
        for failure in self.failures:
            rows.setdefault(failure.row, []).append(failure)
        return rows


def judge_rows(
    names: Sequence[str], values: np.ndarray, kinds: Sequence[str], thresholds: Thresholds
) -> Judgement:
    """Judge rows of metrics, by themselves and by their peers.

    Parameters
    ----------
    names
        Full names of the metrics.
    values
        Values, shape (rows, metrics); NaN where there is none.
    kinds
        Kind of each row; rows of one kind are peers.
    thresholds
        What passes.

    Notes
    -----
    A value fails by its peers if it is further from their median than
    ``max_z`` times 1.4826 times their median absolute deviation; if that
    deviation is zero, or peers are few, this is not judged. The severity is
    the distance in units of the greatest that passes; beyond an absolute
    bound it is 1 + (excess / size of the bound), the bound 0 counting as 1;
    for a fraction that should be about 1, it is what lacks in units of what
    may.
    """
    column_of = {name: column for column, name in enumerate(names)}
    finite = np.isfinite(values)
    bounds = [thresholds.bounds(name) for name in names]
    low, high = np.array(bounds, dtype=np.float64).reshape(-1, 2).T
    judged = finite & ~(np.isnan(low) & np.isnan(high))
    found: list[tuple[int, int, Failure]] = []
    for row, column in np.argwhere(judged & ((values < low) | (values > high))).tolist():
        value, limits = float(values[row, column]), bounds[column]
        found.append((row, column, Failure(row, names[column], value, *limits, _severity(value, *limits))))
    labels = np.array(kinds, dtype=str)
    for name in thresholds.max_z.keys() & column_of.keys():
        column, max_z = column_of[name], thresholds.max_z[name]
        here, known = values[:, column], finite[:, column]
        # What is judged in its context is not judged by its raw value.
        if (better := column_of.get(_IN_CONTEXT.get(name, ""))) is not None:
            known = known & ~finite[:, better]
        for kind in set(kinds) if known.any() else ():
            members = known & (labels == kind)
            peers = here[members]
            if len(peers) < thresholds.min_peers:
                continue
            center = float(np.median(peers))
            limit = max_z * SIGMA_PER_MAD * float(np.median(np.abs(peers - center)))
            if not limit > 0:
                continue
            judged[:, column] |= members
            for row in np.flatnonzero(members & (np.abs(here - center) > limit)).tolist():
                value = float(here[row])
                severity = abs(value - center) / limit
                found.append(
                    (row, column, Failure(row, name, value, center - limit, center + limit, severity))
                )
    failures = [failure for *_, failure in sorted(found, key=lambda item: item[:2])]
    verdicts: list[Verdict] = ["pass" if known else "unknown" for known in judged.any(axis=1)]
    for failure in failures:
        verdicts[failure.row] = "fail"
    return Judgement(verdicts, failures, judged)


def _severity(value: float, low: float, high: float) -> float:
    if value < low < 0 or value > high > 0:
        return value / low if value < low else value / high
    if value < low:
        if 0.5 < low < 1 and value >= 0:
            return (1 - value) / (1 - low)
        return 1 + (low - value) / (abs(low) or 1.0)
    return 1 + (value - high) / (abs(high) or 1.0)
