# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("PixelRounding",)

import math
from dataclasses import dataclass

import numpy as np

from ..background import BackgroundModel

_UP, _DOWN = np.float32(np.inf), np.float32(-np.inf)


@dataclass(frozen=True)
class PixelRounding:
    """How ``float32`` pixels come of sums that are not rounded.

    A layer is rounded, and constant layers are added to it in ``float32``: a
    monotone staircase, so that counting pixels is counting sums at the edges
    of its steps. Where several layers vary, their roundings scatter to both
    sides, and the steps are those of the layer with the coarsest numbers.

    Attributes
    ----------
    before, after : `tuple` [`float`, ...]
        Constant layers before and after the only one that varies.
    step : `float` or `None`
        Where several layers vary, the distance of their coarsest numbers.
    exact : `bool`
        Whether pixels are ``float64``, and as good as not rounded.
    """

    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()
    step: float | None = None
    exact: bool = False

    @classmethod
    def of(cls, model: BackgroundModel) -> PixelRounding:
        """Find how a background is rounded.

        Parameters
        ----------
        model : `BackgroundModel`
            The background.

        Returns
        -------
        rounding : `PixelRounding`
            The rounding of its pixels.
        """
        if model.dtype is np.float64:
            return cls(exact=True)
        constants = [layer.surface.constant for layer in model.layers]
        varying = [i for i, constant in enumerate(constants) if constant is None]
        if len(varying) != 1:
            largest = max(float(np.nanmax(np.abs(layer.values))) for layer in model.layers)
            return cls(step=float(np.spacing(np.float32(largest))))
        at = varying[0]
        before = tuple(c for c in constants[:at] if c is not None)
        return cls(before, tuple(c for c in constants[at + 1 :] if c is not None))

    @property
    def shift(self) -> float:
        """Sum of the constant layers (`float`)."""
        return sum(self.before) + sum(self.after)

    def pixel(self, value: float) -> float:
        """Return the pixel that a sum becomes.

        Parameters
        ----------
        value : `float`
            The sum of the layers, not rounded.

        Returns
        -------
        pixel : `float`
            A number as pixels have it.
        """
        if self.exact:
            return value
        if self.step is not None:
            return float(np.float32(round(value / self.step) * self.step))
        return float(self._add(np.float32(value - self.shift)))

    def edge(self, value: float) -> float:
        """Return the sum from which on pixels reach a value.

        Parameters
        ----------
        value : `float`
            What pixels are compared with.

        Returns
        -------
        edge : `float`
            Sums below give pixels below ``value``, those above do not.
        """
        if self.exact:
            return value
        if self.step is not None:
            return (math.ceil(value / self.step) - 0.5) * self.step
        part = np.float32(value - self.shift)
        while float(self._add(part)) < value:
            part = np.nextafter(part, _UP)
        while float(self._add(previous := np.nextafter(part, _DOWN))) >= value:
            part = previous
        return 0.5 * (float(part) + float(previous)) + self.shift

    def _add(self, part: np.float32) -> np.float32:
        total = np.float32(0)
        for constant in self.before:
            total = total + np.float32(constant)
        total = total + part
        for constant in self.after:
            total = total + np.float32(constant)
        return total
