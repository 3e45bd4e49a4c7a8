# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Quantiles of streams, in memory that does not grow with them."""

from __future__ import annotations

__all__ = ("GroupSample", "column_quantiles")

from collections.abc import Sequence

import numpy as np


class GroupSample:
    """Rows of values by group: all of a small group, a sample of a large one.

    Parameters
    ----------
    columns : `int`
        Values in a row.
    size : `int`
        Rows that are kept of a group. The sample of a larger one is uniform
        (Vitter 1985, algorithm R), and the same on every run.
    """

    def __init__(self, columns: int, size: int) -> None:
        self._random = np.random.default_rng(0)
        self._size = size
        # Memory that is never written to is not used.
        self._values = np.empty((0, size, columns), dtype=np.float32)
        self.counts = np.zeros(0, dtype=np.int64)
        """Rows of each group that were added (`numpy.ndarray`)."""

    def add(self, groups: np.ndarray, values: np.ndarray) -> None:
        """Add rows.

        Parameters
        ----------
        groups : `numpy.ndarray`
            Group of each row, integers from 0, shape (rows,).
        values : `numpy.ndarray`
            The rows, shape (rows, columns).
        """
        if not len(groups):
            return
        self._grow(int(groups.max()) + 1)
        order = np.argsort(groups, kind="stable")
        ordered = groups[order]
        first = np.searchsorted(ordered, ordered)
        # Which row of its group each is, from 0.
        number = self.counts[ordered] + np.arange(len(ordered)) - first
        slot = np.where(number < self._size, number, self._random.integers(0, number + 1))
        kept = slot < self._size
        # Of rows for the same place the last one stays, as it should.
        self._values[ordered[kept], slot[kept]] = values[order[kept]]
        self.counts += np.bincount(groups, minlength=len(self.counts))

    def rows(self, group: int) -> np.ndarray:
        """Return what is kept of a group.

        Parameters
        ----------
        group : `int`
            The group.

        Returns
        -------
        values : `numpy.ndarray`
            Rows, ``float32``, shape (at most ``size``, columns).
        """
        if group >= len(self.counts):
            return self._values[:0].reshape(0, self._values.shape[2])
        return self._values[group, : min(self._size, self.counts[group])]

    def medians(self) -> np.ndarray:
        """Return the median of each column of each group.

        Returns
        -------
        medians : `numpy.ndarray`
            Shape (groups, columns); NaN where there is no value.
        """
        medians = np.full((len(self.counts), self._values.shape[2]), np.nan)
        for group in range(len(self.counts)):
            medians[group] = column_quantiles(self.rows(group), (0.5,))[0]
        return medians

    def _grow(self, groups: int) -> None:
        if groups > len(self._values):
            values = np.empty((max(groups, 2 * len(self._values)), *self._values.shape[1:]), dtype=np.float32)
            for group, count in enumerate(self.counts):
                values[group, :count] = self._values[group, :count]
            self._values = values
        if groups > len(self.counts):
            self.counts = np.concatenate([self.counts, np.zeros(groups - len(self.counts), dtype=np.int64)])


def column_quantiles(values: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Return quantiles of each column, without its NaNs.

    Parameters
    ----------
    values : `numpy.ndarray`
        Values, shape (rows, columns).
    fractions : `~collections.abc.Sequence` [`float`]
        Which quantiles, from 0 to 1.

    Returns
    -------
    quantiles : `numpy.ndarray`
        ``float64``, shape (fractions, columns), by numpy's linear definition;
        NaN where there is no value.
    """
    if not len(values):
        return np.full((len(fractions), values.shape[1]), np.nan)
    # NaNs come last.
    ordered = np.sort(values.astype(np.float64), axis=0)
    last = np.isfinite(ordered).sum(axis=0) - 1
    position = np.outer(fractions, np.maximum(last, 0))
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(last, 0))
    columns = np.arange(values.shape[1])
    low, high = ordered[below, columns], ordered[above, columns]
    result = low + (position - below) * (high - low)
    result[:, last < 0] = np.nan
    return result
