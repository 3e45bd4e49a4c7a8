# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("render", "sum_surfaces")

from collections.abc import Sequence

import numpy as np

from ._layer import Box
from ._surfaces import Surface

# Rows evaluated at a time: few enough for their coefficients to stay in cache.
_BLOCK_ROWS = 1024


def render(surfaces: Sequence[Surface], box: Box, dtype: type[np.floating]) -> np.ndarray:
    """Make the pixels of a box, as what wrote the layers does.

    For afw's ``BackgroundList.getImage``, each layer is evaluated in
    ``float64`` and rounded to ``float32``; the layers are then added in
    ``float32``, one after the other. ``lsst.images`` stays in ``float64``.
    The box is local.
    """
    image = np.empty((box.height, box.width), dtype=dtype)
    y, x = (np.arange(a, b, dtype=np.float64) for a, b in ((box.y0, box.y1), (box.x0, box.x1)))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, box.height, _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            block = image[rows]
            surfaces[0].evaluate(y[rows], x, out=block)
            for surface in surfaces[1:]:
                if (constant := surface.constant) is not None:
                    block += dtype(constant)
                else:
                    block += surface.evaluate(y[rows], x, out=np.empty_like(block))
    return image


def sum_surfaces(
    surfaces: Sequence[Surface], y: np.ndarray, x: np.ndarray, dtype: type[np.floating]
) -> tuple[np.ndarray, np.ndarray]:
    """Make the pixels at some rows and columns, and their sums in ``float64``.

    Rows and columns are local and ascending; the pixels are as `render` makes
    them.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        values = surfaces[0].evaluate(y, x)
        pixels = values.astype(dtype)
        for surface in surfaces[1:]:
            constant = surface.constant
            part = surface.evaluate(y, x) if constant is None else np.float64(constant)
            pixels += part.astype(dtype)
            values += part
    return pixels, values
