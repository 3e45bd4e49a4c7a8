# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What is usual for a detector, from a campaign's other visits."""

from __future__ import annotations

__all__ = ("History",)

import bisect
from array import array
from collections.abc import Hashable, Sequence

import numpy as np

from .field import robust_scale

# Two others that differ by more do not say which of them is usual.
_AGREEMENT = 4.0


class History:
    """Deviations of places, such as a detector in one filter.

    All of a campaign's are added before any is asked for. Memory is eight
    bytes a deviation.
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, array[float]] = {}
        self._medians: dict[Hashable, tuple[list[float], list[float]]] = {}

    def add(self, places: Sequence[Hashable], deviations: np.ndarray) -> None:
        """Take a visit into account.

        Parameters
        ----------
        places : `~collections.abc.Sequence` [`~collections.abc.Hashable`]
            The places.
        deviations : `numpy.ndarray`
            Their deviations, shape (places,); NaN where there is none.
        """
        for place, deviation in zip(places, deviations.tolist(), strict=True):
            if np.isfinite(deviation):
                self._values.setdefault(place, array("d")).append(deviation)

    def changes(
        self, places: Sequence[Hashable], deviations: np.ndarray, floor: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compare a visit's deviations with what is usual.

        Parameters
        ----------
        places : `~collections.abc.Sequence` [`~collections.abc.Hashable`]
            The places.
        deviations : `numpy.ndarray`
            Their deviations, as they were added.
        floor : `float`
            Least scatter of a change.

        Returns
        -------
        changes : `numpy.ndarray`
            Deviations minus the median of the same place's other visits; NaN
            where these are fewer than two.
        sigmas : `numpy.ndarray`
            The same over their robust scatter in this visit.

        Notes
        -----
        Of two others that disagree one may be at fault: the one that is nearer
        to the deviation counts.
        """
        changes = np.array(
            [
                deviation - self._usual(place, deviation, floor)
                for place, deviation in zip(places, deviations.tolist(), strict=True)
            ]
        )
        known = changes[np.isfinite(changes)]
        if len(known):
            # A visit's common change is its surface's.
            changes = changes - np.median(known)
            scale = max(robust_scale(known - np.median(known)), floor)
        else:
            scale = floor
        return changes, changes / scale

    def _usual(self, place: Hashable, deviation: float, floor: float) -> float:
        if not np.isfinite(deviation) or len(self._values.get(place, ())) < 3:
            return np.nan
        if place not in self._medians:
            values = np.sort(np.frombuffer(self._values[place]))
            self._medians[place] = values.tolist(), _medians_of_others(values, floor).tolist()
        ordered, medians = self._medians[place]
        return medians[bisect.bisect_left(ordered, deviation)]


def _medians_of_others(values: np.ndarray, floor: float) -> np.ndarray:
    """Return for each of some sorted values the median of the others."""
    count, own = len(values) - 1, np.arange(len(values))

    def other(rank: int) -> np.ndarray:
        return values[np.where(rank < own, rank, rank + 1)]

    low, high = other((count - 1) // 2), other(count // 2)
    if count == 2:
        nearer = np.where(np.abs(low - values) <= np.abs(high - values), low, high)
        return np.where(high - low > _AGREEMENT * floor, nearer, (low + high) / 2)
    return (low + high) / 2
