# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What is usual for a detector, from a campaign's other visits."""

from __future__ import annotations

__all__ = ("History", "add_history", "compare_history")

import random
from array import array
from collections import Counter
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
        self._values: dict[Hashable, array[float]] = {}
        self._counts: Counter[Hashable] = Counter()
        self._random = random.Random(0)
        self._sorted: dict[Hashable, np.ndarray] = {}

    def add(self, places: Sequence[Hashable], deviations: np.ndarray) -> None:
        """Take a visit into account.

        Parameters
        ----------
        places
            The places.
        deviations
            Their deviations, shape (places,); NaN where there is none.
        """
        for place, deviation in zip(places, deviations.tolist(), strict=True):
            if not np.isfinite(deviation):
                continue
            values = self._values.setdefault(place, array("d"))
            self._counts[place] += 1
            if len(values) < _MOST:
                values.append(deviation)
            elif (number := self._random.randrange(self._counts[place])) < _MOST:
                values[number] = deviation

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
        usual = np.array(
            [
                self._usual(place, deviation, floor)
                for place, deviation in zip(places, deviations.tolist(), strict=True)
            ]
        ).reshape(-1, 2)
        changes = deviations - usual[:, 0]
        known = changes[np.isfinite(changes)]
        if len(known):
            # A visit's common change is its surface's.
            changes = changes - np.median(known)
            scale = max(robust_scale(known - np.median(known)), floor)
        else:
            scale = floor
        return changes, changes / (np.fmax(usual[:, 1], scale) if own_scatter else scale)

    def _usual(self, place: Hashable, deviation: float, floor: float) -> tuple[float, float]:
        """Return what is usual, and how much the other visits scatter."""
        if not np.isfinite(deviation) or len(self._values.get(place, ())) < 3:
            return np.nan, np.nan
        if place not in self._sorted:
            self._sorted[place] = np.sort(np.frombuffer(self._values[place]))
        values = self._sorted[place]
        own = int(np.searchsorted(values, deviation))
        count = len(values) - 1

        def other(rank: int) -> float:
            return float(values[rank if rank < own else rank + 1])

        scatter = (other(min(count - 1, 3 * count // 4)) - other(count // 4)) / _QUARTILES
        if count == 2 and other(1) - other(0) > _AGREEMENT * floor:
            return min(other(0), other(1), key=lambda value: abs(value - deviation)), scatter
        return (other((count - 1) // 2) + other(count // 2)) / 2, scatter


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
