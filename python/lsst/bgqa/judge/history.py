# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What is usual for a detector, from a campaign's other visits."""

from __future__ import annotations

__all__ = ("History", "add_history", "compare_history")

from collections.abc import Hashable, Sequence

import numpy as np

from ..metrics import load_catalogue
from .field import robust_scale
from .verdict import Thresholds
from .visit import SMOOTH

# Two others that differ by more do not say which of them is usual.
_AGREEMENT = 4.0
_MOST = 256
# Distance of the quartiles of a normal distribution.
_QUARTILES = 1.349


class History:
    """Deviations of places, such as a detector in one filter.

    All of a campaign's are added before any is asked for. Of a place with more
    than 256 visits a sample is kept, so that memory does not grow with them.
    """

    def __init__(self) -> None:
        self._rows: dict[Hashable, int] = {}
        self._counts = np.zeros(0, dtype=np.intp)
        # A row a place; what is not known comes last when it is sorted.
        self._samples = np.zeros((0, _MOST))
        self._sorted = False
        self._random = np.random.default_rng(0)

    def add(self, places: Sequence[Hashable], deviations: np.ndarray) -> None:
        """Take a visit into account.

        Parameters
        ----------
        places
            The places, each once.
        deviations
            Their deviations, shape (places,); NaN where there is none.
        """
        finite = np.isfinite(deviations)
        rows = np.array([self._rows.setdefault(place, len(self._rows)) for place in places])[finite]
        if (more := len(self._rows) - len(self._counts)) > 0:
            more = max(more, len(self._counts))
            self._counts = np.pad(self._counts, (0, more))
            self._samples = np.pad(self._samples, ((0, more), (0, 0)), constant_values=np.inf)
        counts = self._counts[rows]
        self._counts[rows] += 1
        # Each visit of a place is as likely to be kept (reservoir sampling).
        where = np.where(counts < _MOST, counts, self._random.integers(counts + 1))
        kept = where < _MOST
        self._samples[rows[kept], where[kept]] = deviations[finite][kept]
        self._sorted = False

    def changes(
        self, places: Sequence[Hashable], deviations: np.ndarray, floor: float, own_scatter: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compare a visit's deviations with what is usual.

        Parameters
        ----------
        places
            The places.
        deviations
            Their deviations, as they were added.
        floor
            Least scatter of a change.
        own_scatter
            Whether a place where the other visits scatter more than the visit's
            other places is allowed more.

        Returns
        -------
        changes
            Deviations minus the median of the same place's other visits; NaN
            where these are fewer than two.
        sigmas
            The same over their robust scatter in this visit.

        Notes
        -----
        Of two others that disagree one may be at fault: the one that is nearer
        to the deviation counts.
        """
        usual, scatters = self._usual(places, deviations, floor)
        changes = deviations - usual
        known = changes[np.isfinite(changes)]
        if len(known):
            # A visit's common change is its surface's.
            changes = changes - np.median(known)
            scale = max(robust_scale(known - np.median(known)), floor)
        else:
            scale = floor
        return changes, changes / (np.fmax(scatters, scale) if own_scatter else scale)

    def _usual(
        self, places: Sequence[Hashable], deviations: np.ndarray, floor: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what is usual, and how much the other visits scatter."""
        if not self._sorted:
            self._samples.sort(axis=1)
            self._sorted = True
        rows = np.array([self._rows.get(place, -1) for place in places], dtype=np.intp)
        usual, scatters = np.full((2, len(rows)), np.nan)
        known = np.flatnonzero((rows >= 0) & np.isfinite(deviations))
        known = known[self._counts[rows[known]] >= 3]
        count = np.minimum(self._counts[rows[known]], _MOST) - 1
        values, own = self._samples[rows[known], : count.max(initial=0) + 1], deviations[known]
        rank_of_own = (values < own[:, None]).sum(axis=1)
        each = np.arange(len(known))

        def other(rank: np.ndarray) -> np.ndarray:
            """Return the others' value of a rank."""
            return values[each, rank + (rank >= rank_of_own)]

        scatters[known] = (other(np.minimum(count - 1, 3 * count // 4)) - other(count // 4)) / _QUARTILES
        first, second = other((count - 1) // 2), other(count // 2)
        nearer = np.where(np.abs(first - own) <= np.abs(second - own), first, second)
        disagree = (count == 2) & (second - first > _AGREEMENT * floor)
        usual[known] = np.where(disagree, nearer, (first + second) / 2)
        return usual, scatters


def add_history(
    history: History, names: Sequence[str], values: np.ndarray, places: Sequence[Hashable]
) -> None:
    """Take a visit's level and what is smooth in its detectors into account.

    Parameters
    ----------
    history
        What is usual.
    names
        Full names of the metrics.
    values
        Their values, shape (rows, metrics).
    places
        Place of each row.
    """
    for name in ("context_levelDeviation", *SMOOTH):
        history.add([(name, place) for place in places], values[:, names.index(name)])


def compare_history(
    history: History,
    names: Sequence[str],
    values: np.ndarray,
    places: Sequence[Hashable],
    level_floor: float,
    floor: float,
) -> None:
    """Compare a visit's level and what is smooth in its detectors with what is
    usual.

    Parameters
    ----------
    history
        What is usual.
    names
        Full names of the metrics.
    values
        Their values, shape (rows, metrics); changes are written into it.
    places
        Place of each row.
    level_floor
        Least scatter of a level's change, as a fraction of the sky.
    floor
        Least noise of an amplitude, as a fraction of the sky.
    """

    def changes(name: str, least: float) -> tuple[np.ndarray, np.ndarray]:
        return history.changes(
            [(name, place) for place in places], values[:, names.index(name)], least, name in SMOOTH
        )

    level, level_sigma = changes("context_levelDeviation", level_floor)
    # Where the sky is steep, all visits follow the smooth field less well.
    x, y, bowl = (changes(name, floor) for name in SMOOTH)
    # What a shape explains has a slope, and a bowl, as well.
    catalogue = load_catalogue()
    explained = np.zeros(len(values), dtype=bool)
    for column, name in enumerate(names):
        if name.startswith("significance_") and (high := catalogue[name].high) is not None:
            explained |= np.abs(values[:, column]) > high
    bounds = Thresholds().bounds
    low, high = bounds("context_curvatureChangeSigma")
    bowl_sigma = np.where(explained, np.clip(bowl[1], low, high), bowl[1])
    explained |= np.abs(bowl_sigma) > high
    slope_sigma = np.hypot(x[1], y[1])
    slope_sigma = np.where(
        explained, np.minimum(slope_sigma, bounds("context_slopeChangeSigma")[1]), slope_sigma
    )
    found = {
        "levelChange": level,
        "levelChangeSigma": level_sigma,
        "slopeChange": np.hypot(x[0], y[0]),
        "slopeChangeSigma": slope_sigma,
        "curvatureChange": bowl[0],
        "curvatureChangeSigma": bowl_sigma,
    }
    for name, column_values in found.items():
        values[:, names.index(f"context_{name}")] = column_values
