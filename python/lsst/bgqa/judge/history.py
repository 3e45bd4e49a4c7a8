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
_STEPS = (128, 64, 32, 16, 8, 4, 2, 1, 1)
# Distance of the quartiles of a normal distribution.
_QUARTILES = 1.349
_COMPARED = ("context_levelDeviation", *SMOOTH)


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
            Their deviations, shape (places,) or (places, quantities), always
            the same quantities; NaN where there is none.
        """
        rows = self._numbers(places, deviations)
        finite = np.isfinite(deviations.ravel())
        rows, counts = rows[finite], self._counts[rows[finite]]
        self._counts[rows] += 1
        # Each visit of a place is as likely to be kept (reservoir sampling).
        where = np.where(counts < _MOST, counts, self._random.integers(counts + 1))
        kept = where < _MOST
        self._samples[rows[kept], where[kept]] = deviations.ravel()[finite][kept]
        self._sorted = False

    def _numbers(self, places: Sequence[Hashable], deviations: np.ndarray) -> np.ndarray:
        """Return the rows of places' quantities, new ones for new places."""
        numbers = np.array([self._rows.setdefault(place, len(self._rows)) for place in places], dtype=np.intp)
        quantities = deviations[:1].size
        if (more := len(self._rows) * quantities - len(self._counts)) > 0:
            more = max(more, len(self._counts))
            self._counts = np.pad(self._counts, (0, more))
            self._samples = np.pad(self._samples, ((0, more), (0, 0)), constant_values=np.inf)
        return (numbers[:, None] * quantities + np.arange(quantities)).ravel()

    def changes(
        self,
        places: Sequence[Hashable],
        deviations: np.ndarray,
        floor: float | Sequence[float],
        own_scatter: bool | Sequence[bool] = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compare a visit's deviations with what is usual.

        Parameters
        ----------
        places
            The places.
        deviations
            Their deviations, as they were added.
        floor
            Least scatter of a change, of each quantity.
        own_scatter
            Whether a place where the other visits scatter more than the visit's
            other places is allowed more, of each quantity.

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
        shape = len(places), -1
        floors = np.broadcast_to(floor, deviations.shape).reshape(shape)
        usual, scatters = self._usual(self._numbers(places, deviations), deviations.ravel(), floors.ravel())
        changes, scatters = (deviations.ravel() - usual).reshape(shape), scatters.reshape(shape)
        scales = np.where(np.broadcast_to(own_scatter, deviations.shape).reshape(shape), scatters, 0.0)
        for change, scale, least in zip(changes.T, scales.T, floors[0], strict=True):
            known = change[np.isfinite(change)]
            if len(known):
                # A visit's common change is its surface's.
                middle = np.median(known)
                change -= middle
                least = max(robust_scale(known - middle), least)
            np.fmax(scale, least, out=scale)
        return changes.reshape(deviations.shape), (changes / scales).reshape(deviations.shape)

    def _usual(
        self, rows: np.ndarray, deviations: np.ndarray, floors: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what is usual, and how much the other visits scatter."""
        if not self._sorted:
            self._samples.sort(axis=1)
            self._sorted = True
        usual, scatters = np.full((2, len(rows)), np.nan)
        known = np.flatnonzero(np.isfinite(deviations) & (self._counts[rows] >= 3))
        rows, own = rows[known], deviations[known]
        count = np.minimum(self._counts[rows], _MOST) - 1
        # A binary search in each row: how many are less.
        rank_of_own = np.zeros(len(known), dtype=np.intp)
        for step in _STEPS:
            rank_of_own += step * (self._samples[rows, rank_of_own + step - 1] < own)

        def other(rank: np.ndarray) -> np.ndarray:
            """Return the others' value of a rank."""
            return self._samples[rows, rank + (rank >= rank_of_own)]

        scatters[known] = (other(np.minimum(count - 1, 3 * count // 4)) - other(count // 4)) / _QUARTILES
        first, second = other((count - 1) // 2), other(count // 2)
        nearer = np.where(np.abs(first - own) <= np.abs(second - own), first, second)
        disagree = (count == 2) & (second - first > _AGREEMENT * floors[known])
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
    history.add(places, values[:, [names.index(name) for name in _COMPARED]])


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
    columns = [names.index(name) for name in _COMPARED]
    # Where the sky is steep, all visits follow the smooth field less well.
    steep = [name in SMOOTH for name in _COMPARED]
    floors = [floor if name in SMOOTH else level_floor for name in _COMPARED]
    changes, sigmas = history.changes(places, values[:, columns], floors, steep)
    (level, x, y, bowl), (level_sigma, x_sigma, y_sigma, bowl_sigma) = changes.T, sigmas.T
    # What a shape explains has a slope, and a bowl, as well.
    highs = {name: metric.high for name, metric in load_catalogue().items() if metric.group == "significance"}
    limits = {column: high for column, name in enumerate(names) if (high := highs.get(name)) is not None}
    explained = (np.abs(values[:, [*limits]]) > [*limits.values()]).any(axis=1)
    bounds = Thresholds().bounds
    low, high = bounds("context_curvatureChangeSigma")
    bowl_sigma = np.where(explained, np.clip(bowl_sigma, low, high), bowl_sigma)
    explained |= np.abs(bowl_sigma) > high
    slope_sigma = np.hypot(x_sigma, y_sigma)
    slope_sigma = np.where(
        explained, np.minimum(slope_sigma, bounds("context_slopeChangeSigma")[1]), slope_sigma
    )
    found = {
        "levelChange": level,
        "levelChangeSigma": level_sigma,
        "slopeChange": np.hypot(x, y),
        "slopeChangeSigma": slope_sigma,
        "curvatureChange": bowl,
        "curvatureChangeSigma": bowl_sigma,
    }
    for name, column_values in found.items():
        values[:, names.index(f"context_{name}")] = column_values
