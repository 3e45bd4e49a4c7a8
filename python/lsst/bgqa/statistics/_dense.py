# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("DenseRows",)

from dataclasses import dataclass
from typing import Self

import numpy as np

from ._axes import LEGENDRE, Columns

# A contour runs along rows where its slope is less, and its radius greater
# than a share of the row, for more than a share of the row.
_FLAT_SLOPE = 0.05
_FLAT_RADIUS = 0.25
_FLAT_LENGTH = 1 / 120
# It is straight where its slope to the columns changes by less than 1 in so
# many rows of pixels; and this may be so for a share of the row.
_STRAIGHT_ROWS = 50
_STRAIGHT_LENGTH = 1 / 20
# It is looked for in so many rows; second derivatives are from rows that are
# so many of these apart.
_PLACES = 128
_APART = 4


@dataclass(frozen=True, eq=False)
class DenseRows:
    """Where few rows do not tell of those between them.

    Where contours run along rows, the count of pixels below a value changes
    from one row to the next; where they are straight, its remainders repeat.

    Attributes
    ----------
    size : `int`
        Number of rows.
    is_dense : `numpy.ndarray`
        Whether that is so, in each of some equal parts of the rows, ``bool``.
    """

    size: int
    is_dense: np.ndarray

    @staticmethod
    def places(size: int) -> np.ndarray:
        """Choose where to look.

        Parameters
        ----------
        size : `int`
            Number of rows.

        Returns
        -------
        rows : `numpy.ndarray`
            The middle of each part of the rows, ``float64``.
        """
        return np.asarray((np.arange(_PLACES) + 0.5) * (size / _PLACES) - 0.5)

    @classmethod
    def find(cls, coefficients: np.ndarray, x: Columns, size: int) -> Self:
        """Find where rows must be dense.

        Parameters
        ----------
        coefficients : `numpy.ndarray`
            Coefficients of the Legendre polynomials of each strip, shape (4,
            strips in a row, `places`).
        x : `Columns`
            The strips of a row.
        size : `int`
            Number of rows.

        Returns
        -------
        dense : `DenseRows`
            Where they must be.
        """
        lengths = x.lengths.astype(np.float32)
        width, unit = lengths.sum(), (2 / lengths)[:, np.newaxis]
        step = size / _PLACES
        level_y, slope_y = np.gradient(coefficients[:2], step, axis=2)
        far = coefficients[0]
        second = (far[:, 2 * _APART :] - 2 * far[:, _APART:-_APART] + far[:, : -2 * _APART]) / (
            _APART * step
        ) ** 2
        yy = np.pad(second, ((0, 0), (_APART, _APART)), mode="edge")
        flat, straight = np.zeros(_PLACES), np.zeros(_PLACES)
        for place, derivatives in _PROBES:
            y = level_y + place * slope_y
            xy = slope_y * unit
            slope, curve = np.tensordot(derivatives, coefficients, axes=1)
            x1, xx = slope * unit, curve * unit**2
            steepness, bend = np.abs(x1), np.abs((xx * y - 2 * xy * x1) * y + yy * x1 * x1)
            is_flat = steepness < _FLAT_SLOPE * np.abs(y)
            is_flat &= np.abs(xx) * (_FLAT_RADIUS * width) < np.abs(y)
            flat += lengths @ is_flat.astype(np.float32)
            is_straight = bend * (_STRAIGHT_ROWS * size) < steepness**3
            straight += lengths @ is_straight.astype(np.float32)
        most = len(_PROBES) * width
        is_dense = (flat > _FLAT_LENGTH * most) | (straight > _STRAIGHT_LENGTH * most)
        return cls(size, is_dense)

    @property
    def edges(self) -> list[int]:
        """The rows where this changes (`list` [`int`])."""
        changes = np.flatnonzero(np.diff(self.is_dense)) + 1
        return [int(-(-part * self.size // len(self.is_dense))) for part in changes]

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Tell whether rows must be dense.

        Parameters
        ----------
        rows : `numpy.ndarray`
            The rows.

        Returns
        -------
        is_dense : `numpy.ndarray`
            Whether they must, ``bool``.
        """
        return np.asarray(self.is_dense[rows * len(self.is_dense) // self.size])


def _derivatives(t: float) -> np.ndarray:
    """Tabulate the first two derivatives of Legendre's polynomials, shape (2,
    4).
    """
    return (np.array([[0, 1, 2 * t, 3 * t**2], [0, 0, 2, 6 * t]]) @ LEGENDRE.T).astype(np.float32)


# Where strips are looked at, from -1 to 1, and the derivatives there.
_PROBES = tuple((np.float32(place), _derivatives(place)) for place in (-0.5, 0.5))
