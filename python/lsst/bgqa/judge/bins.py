# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The bins of a background, as the judge looks at them."""

from __future__ import annotations

__all__ = ("Bins",)

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..background import BackgroundModel, Box, Layer
from ..statistics.robust import median

# Side of the cells where a background has no bins (pixels), and how many
# bins an axis may have; finer grids are averaged.
_CELL = 128
_MAX_BINS = 64
# How much steps between the points of a grid may differ.
_IRREGULAR = 0.5


@dataclass(frozen=True, eq=False)
class Bins:
    """A background on a grid of bins.

    Attributes
    ----------
    values
        All layers' sum at the bins' centres, ``float64``, shape (ny, nx);
        NaN where the bin holds no data.
    errors
        Standard errors, the same shape; zero where they are not known.
    bbox
        The pixels that the grid covers.
    """

    values: np.ndarray
    errors: np.ndarray
    bbox: Box

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bins in y and x (`tuple` [`int`, `int`])."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def level(self) -> float:
        """Median of the bins; NaN if none has a value (`float`)."""
        good = self.values[np.isfinite(self.values)]
        return median(good) if good.size else np.nan

    @classmethod
    def of(cls, model: BackgroundModel) -> Self:
        """Take the bins of the layer that has most, with the other layers' values there added.

        For a field of ``lsst.images`` they are the points that a spline interpolates;
        without any, cells of about 128 pixels.

        Raises
        ------
        lsst.bgqa.BackgroundError
            Raised if a layer cannot be evaluated.
        """
        bbox = model.bbox
        finest = max(filter(_is_regular, model.layers), key=lambda layer: layer.values.size, default=None)
        if finest is None:
            ny, nx = (max(1, min(_MAX_BINS, round(size / _CELL))) for size in (bbox.height, bbox.width))
            y, x = (
                (np.arange(n) + 0.5) * size / n - 0.5 for n, size in ((ny, bbox.height), (nx, bbox.width))
            )
            values, errors = np.zeros((ny, nx)), np.zeros((ny, nx))
        else:
            y, x = finest.bin_centers_y - bbox.y0, finest.bin_centers_x - bbox.x0
            values = finest.values.astype(np.float64)
            values[~finest.measured] = np.nan
            errors = np.zeros(values.shape)
            if isinstance(finest, Layer):
                known = np.isfinite(finest.standard_error)
                errors[known] = np.abs(finest.standard_error[known])
        for layer, surface in zip(model.layers, model.surfaces, strict=True):
            if layer is not finest:
                values = values + surface.evaluate(y, x)
        while max(values.shape) > _MAX_BINS:
            values, errors = _halve(values), _halve(errors) / 2
        return cls(values, errors, bbox)


def _is_regular(layer: Any) -> bool:
    """Whether a layer has bins, or points on a grid of equal steps."""
    if isinstance(layer, Layer):
        return layer.values.size >= 4
    steps = [np.diff(centers) for centers in (layer.bin_centers_y, layer.bin_centers_x)]
    return layer.values.size >= 4 and all(
        np.ptp(step) <= _IRREGULAR * np.mean(step) for step in steps if len(step)
    )


def _halve(values: np.ndarray) -> np.ndarray:
    """Average two by two; what is over at the end is left out."""
    my, mx = (min(n, 2) for n in values.shape)
    ny, nx = values.shape[0] // my, values.shape[1] // mx
    return np.asarray(values[: my * ny, : mx * nx].reshape(ny, my, nx, mx).mean(axis=(1, 3)))
