# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The axes of an image, cut into pieces that are summed by few samples."""

from __future__ import annotations

__all__ = ("LEGENDRE", "Columns", "Rows", "cut_at", "divide")

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from .._compiled import ROWS_PER_BLOCK

# Coefficients of the powers 0 to 3 in Legendre's first polynomials.
LEGENDRE = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [-0.5, 0.0, 1.5, 0.0], [0.0, -1.5, 0.0, 2.5]]
)
# Where the rows of a stratum are taken, as shares of it from its centre.
_NODES = (0.16, 0.44)


@dataclass(frozen=True, eq=False)
class _Axis:
    """One axis of pixels cut into pieces.

    Attributes
    ----------
    edges : `numpy.ndarray`
        First pixel of each piece and the end, ``int64``, shape (n + 1,).
    """

    edges: np.ndarray

    @cached_property
    def lengths(self) -> np.ndarray:
        """Pixels in each piece (`numpy.ndarray` of ``int64``)."""
        return np.diff(self.edges)

    @cached_property
    def centers(self) -> np.ndarray:
        """Centre of each piece, in pixels (`numpy.ndarray`)."""
        return self.edges[:-1] + 0.5 * (self.lengths - 1)

    @property
    def middle(self) -> float:
        """Centre of the axis, in pixels (`float`)."""
        return 0.5 * float(self.edges[0] + self.edges[-1] - 1)

    @property
    def is_exact(self) -> bool:
        """Whether each piece is one pixel (`bool`)."""
        return len(self.lengths) == self.edges[-1] - self.edges[0]

    @property
    def _starts(self) -> np.ndarray:
        """Where `at` looks, ascending, shape (n,)."""
        return self.edges

    def at(self, pixel: int) -> int:
        """Return the piece of columns, or the sample of rows, from which on
        the axis is at or after a pixel.

        Parameters
        ----------
        pixel : `int`
            The pixel, where the axis was cut.

        Returns
        -------
        index : `int`
            Index of the piece or the sample.
        """
        return int(np.searchsorted(self._starts, pixel))


@dataclass(frozen=True, eq=False)
class Columns(_Axis):
    """The columns of pixels, cut into strips."""

    @cached_property
    def products(self) -> np.ndarray:
        """Means of the products of two Legendre polynomials over the pixels
        of each strip (`numpy.ndarray` of ``float64``, shape (n, 4, 4)).
        """
        k2 = self.lengths.astype(np.float64) ** 2
        powers = np.zeros((7, len(k2)))
        powers[0] = 1
        powers[2] = (k2 - 1) / (3 * k2)
        powers[4] = powers[2] * (3 * k2 - 7) / (5 * k2)
        powers[6] = powers[2] * (3 * k2**2 - 18 * k2 + 31) / (7 * k2**2)
        of_powers = powers[np.add.outer(np.arange(4), np.arange(4))]
        return np.einsum("ip,pqn,jq->nij", LEGENDRE, of_powers, LEGENDRE)

    @cached_property
    def nodes(self) -> np.ndarray:
        """Where to sample, from each strip's centre, ascending
        (`numpy.ndarray` of ``float64``, shape (n, 4)).
        """
        k2 = self.lengths.astype(np.float64) ** 2
        middle = np.maximum(3 * k2 - 13, 0) / 28
        spread = np.sqrt(np.maximum(middle**2 - 3 * (k2 - 1) * (k2 - 9) / 560, 0))
        inner, outer = np.sqrt(np.maximum(middle - spread, 0)), np.sqrt(middle + spread)
        pair = self.lengths == 2
        inner[pair] = outer[pair] = 0.5
        single = self.lengths == 1
        inner[single] = outer[single] = 0.0
        return np.stack([-outer, -inner, inner, outer], axis=1)

    @cached_property
    def weights(self) -> np.ndarray:
        """What turns samples into coefficients (`numpy.ndarray` of
        ``float64``, shape (n, coefficient, sample)).
        """
        kinds, which = np.unique(self.lengths, return_index=True)
        t = 2 * self.nodes[which] / kinds[:, np.newaxis]
        design = t[:, :, np.newaxis] ** np.arange(4) @ LEGENDRE.T
        # Few pixels have fewer polynomials.
        design *= (np.arange(4) < kinds[:, np.newaxis])[:, np.newaxis, :]
        return np.asarray(np.linalg.pinv(design)[np.searchsorted(kinds, self.lengths)])


@dataclass(frozen=True, eq=False)
class Rows(_Axis):
    """The rows of pixels, in strata of which four are looked at, or one.

    Attributes
    ----------
    samples : `numpy.ndarray`
        The rows that are looked at, ascending, ``float64``, shape (k,).
    weights : `numpy.ndarray`
        Rows that each stands for, ``float64``, shape (k,).
    blocks : `numpy.ndarray`
        First sample of each block of rows, ``int64``, shape (m,).
    """

    samples: np.ndarray
    weights: np.ndarray
    blocks: np.ndarray

    @classmethod
    def cut(cls, size: int, cuts: Sequence[int], breaks: Sequence[float], length: float) -> Self:
        """Cut rows into strata.

        Parameters
        ----------
        size : `int`
            Number of rows.
        cuts : `~collections.abc.Sequence` [`int`]
            Rows that strata begin at.
        breaks : `~collections.abc.Sequence` [`float`]
            Rows that no stratum may span.
        length : `float`
            About how many rows a stratum is to have: 1, or at least 4.

        Returns
        -------
        rows : `Rows`
            The rows.
        """
        edges = np.arange(size + 1)
        samples, weights = edges[:-1].astype(np.float64), np.ones(size)
        if length > 1:
            corners = cut_at(size, [*cuts, *breaks])
            # What is greatest or least may be so at an end.
            corners = np.unique(np.clip(np.add.outer(corners, [-1, 0, 1]), 0, size))
            edges = divide(corners, np.where(np.diff(corners) < 4, 1, length))
            samples, weights = _sample(edges)
        at = np.searchsorted(samples, sorted({0, *(cut for cut in cuts if 0 < cut < size)}))
        starts = [np.arange(a, b, ROWS_PER_BLOCK) for a, b in itertools.pairwise([*at, len(samples)])]
        return cls(edges, samples, weights, np.concatenate(starts))

    @cached_property
    def starts(self) -> np.ndarray:
        """First sample of each block and the end (`numpy.ndarray` of
        ``int64``, shape (m + 1,)).
        """
        return np.append(self.blocks, len(self.samples))

    @property
    def block_sizes(self) -> np.ndarray:
        """Samples in each block (`numpy.ndarray` of ``int64``)."""
        return np.diff(self.starts)

    @property
    def _starts(self) -> np.ndarray:
        return self.samples

    def rows_of(self, samples: np.ndarray) -> np.ndarray:
        """Return the rows that samples stand for.

        Parameters
        ----------
        samples : `numpy.ndarray`
            Indices of samples.

        Returns
        -------
        rows : `numpy.ndarray`
            The rows, ascending, ``int64``.
        """
        strata = np.unique(np.searchsorted(self.edges, self.samples[samples], side="right") - 1)
        return np.concatenate([np.arange(self.edges[i], self.edges[i + 1]) for i in strata])


def _sample(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose four rows of each stratum, one where it has but one; return them
    and how many rows each stands for.
    """
    k = np.diff(edges).astype(np.float64)[:, np.newaxis]
    single = k[:, 0] == 1
    half = 0.5 * ((k + 1) % 2)
    inner, outer = (half + np.rint(share * k - half) for share in _NODES)
    with np.errstate(invalid="ignore"):
        weight = 0.5 * k * ((k**2 - 1) / 12 - inner**2) / (outer**2 - inner**2)
    weights = np.hstack([weight, 0.5 * k - weight])[:, [0, 1, 1, 0]]
    samples = edges[:-1, np.newaxis] + 0.5 * (k - 1) + np.hstack([-outer, -inner, inner, outer])
    samples[single, 0], weights[single, 0] = edges[:-1][single], 1
    chosen = ~single[:, np.newaxis] | (np.arange(4) == 0)
    return samples[chosen], weights[chosen]


def cut_at(size: int, at: Iterable[float]) -> np.ndarray:
    """Cut an axis at places.

    Parameters
    ----------
    size : `int`
        Number of pixels.
    at : `~collections.abc.Iterable` [`float`]
        The places; a pixel on one comes after it.

    Returns
    -------
    edges : `numpy.ndarray`
        First pixel of each piece and the end, ``int64``.
    """
    places = np.ceil(np.asarray(list(at), dtype=np.float64))
    places = places[(places > 0) & (places < size)]
    return np.unique(np.concatenate([[0, size], places])).astype(np.int64)


def divide(corners: np.ndarray, length: float | np.ndarray) -> np.ndarray:
    """Divide pieces of an axis.

    Parameters
    ----------
    corners : `numpy.ndarray`
        First pixel of each piece and the end, ``int64``, shape (n + 1,).
    length : `float` or `numpy.ndarray`
        About how long the parts of each are to be, shape (n,).

    Returns
    -------
    edges : `numpy.ndarray`
        First pixel of each part and the end, ``int64``.
    """
    lengths = np.diff(corners)
    parts = np.clip(np.rint(lengths / length), 1, lengths).astype(np.int64)
    piece = np.repeat(np.arange(len(lengths)), parts)
    within = np.arange(len(piece)) - np.repeat(np.cumsum(parts) - parts, parts)
    starts = corners[piece] + within * lengths[piece] // parts[piece]
    return np.concatenate([starts, corners[-1:]])
