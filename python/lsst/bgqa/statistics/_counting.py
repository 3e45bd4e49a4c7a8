# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""How many pixels of strips lie below given values."""

from __future__ import annotations

__all__ = ("StripPixels",)

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .._compiled import Window
from ._strips import StripGrid


@dataclass(frozen=True, eq=False)
class StripPixels:
    """The pixels of strips, as counting needs them.

    Attributes
    ----------
    grid : `StripGrid`
        The strips.
    """

    grid: StripGrid

    @cached_property
    def weight(self) -> np.ndarray:
        """Pixels in each block (`numpy.ndarray` of ``float64``, shape
        (strips in a row, blocks of rows)).
        """
        return np.multiply.outer(self.grid.x.lengths, self.grid.blocks.rows)

    @cached_property
    def _scale(self) -> float:
        """What brings differences of values to the order of 1: squares of them
        are then in the range of ``float32``.
        """
        return 2.0 ** -math.frexp(self.grid.spread)[1]

    @cached_property
    def sample(self) -> np.ndarray:
        """Level of the strip in the middle of each block (`numpy.ndarray` of
        ``float32``, shape (strips in a row, blocks of rows)).
        """
        return np.asarray(self.grid.level[:, self.grid.y.blocks + self.grid.y.block_sizes // 2])

    @cached_property
    def count(self) -> float:
        """Number of pixels (`float`)."""
        return float(self.weight.sum())

    def window(self, low: float, high: float, keep: np.ndarray | None = None) -> Window:
        """Prepare to count pixels below values in a bracket.

        Strips are cut into halves, nearly quadratic about their centres; the
        places where a half reaches a value say how many of its pixels are
        below.

        Parameters
        ----------
        low, high : `float`
            The bracket.
        keep : `numpy.ndarray`, optional
            The blocks of strips that count, ``bool``; by default all.

        Returns
        -------
        window : `~lsst.bgqa._compiled.Window`
            What reaches into the bracket.
        """
        grid, blocks = self.grid, self.grid.blocks
        return Window(
            grid.coefficients,
            grid.x.lengths,
            grid.y.weights,
            grid.y.starts,
            blocks.rows,
            blocks.low,
            blocks.high,
            keep,
            low,
            high,
            self._scale,
        )
