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
    sides, and sums are multiples of the finest of their steps.

    Attributes
    ----------
    before, after : `tuple` [`float`, ...]
        Constant layers before and after the only one that varies.
    steps : `tuple` [`float`, ...]
        Where several layers vary, the distance of neighbouring numbers at the
        largest value of each.
    exact : `bool`
        Whether pixels are ``float64``, and as good as not rounded.
    """

    before: tuple[float, ...] = ()
    after: tuple[float, ...] = ()
    steps: tuple[float, ...] = ()
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
            largest = [
                float(np.nanmax(np.abs(model.layers[i].values))) for i in varying or range(len(constants))
            ]
            return cls(steps=tuple(_spacing(value) for value in largest))
        at = varying[0]
        before = tuple(c for c in constants[:at] if c is not None)
        return cls(before, tuple(c for c in constants[at + 1 :] if c is not None))

    @property
    def shift(self) -> float:
        """Sum of the constant layers (`float`)."""
        return sum(self.before) + sum(self.after)

    def step(self, value: float) -> float:
        """Return the distance of neighbouring pixels about a value.

        Parameters
        ----------
        value : `float`
            The value.

        Returns
        -------
        step : `float`
            What pixels are multiples of; 0 if they are not rounded.
        """
        if self.exact:
            return 0.0
        return max(_spacing(value), min(self.steps) if self.steps else _spacing(value - self.shift))

    def variance(self, value: float) -> float:
        """Return what rounding adds to the variance of pixels, where they
        scatter over many steps.

        Parameters
        ----------
        value : `float`
            A value of the background.

        Returns
        -------
        variance : `float`
            The sum of the layers' steps squared over 12 (Sheppard 1897).
        """
        steps = self.steps or (self.step(value),)
        return sum(step**2 for step in steps) / 12

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
        if self.steps:
            step = self.step(value)
            return float(np.float32(round(value / step) * step))
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
        if self.steps:
            step = self.step(value)
            return (math.ceil(value / step) - 0.5) * step
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


def _spacing(value: float) -> float:
    return float(np.spacing(np.float32(abs(value))))
