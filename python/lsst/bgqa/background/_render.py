# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("render",)

from collections.abc import Sequence

import numpy as np

from ._errors import BackgroundError
from ._images import FieldLayer
from ._layer import Box, Layer

# Rows evaluated at a time: few enough for their coefficients to stay in cache.
_BLOCK_ROWS = 1024


def render(layers: Sequence[Layer | FieldLayer], bbox: Box) -> np.ndarray:
    """Add the pixels of layers, as what wrote them does.

    For afw's ``BackgroundList.getImage``, each layer is evaluated in
    ``float64`` and rounded to ``float32``; the layers are then added in
    ``float32``, one after the other. ``lsst.images`` stays in ``float64``.

    Parameters
    ----------
    layers : `~collections.abc.Sequence` [`Layer` or `FieldLayer`]
        Layers over the same box, at least one.
    bbox : `Box`
        The pixels wanted, inside that box.

    Returns
    -------
    image : `numpy.ndarray`
        ``float32``, or ``float64`` for fields of ``lsst.images``, shape
        (height, width), in the background's unit.

    Raises
    ------
    BackgroundError
        Raised if ``bbox`` is not inside the layers' box, or a layer cannot
        be evaluated.
    """
    whole = layers[0].bbox
    if not whole.contains(bbox):
        raise BackgroundError(f"the background covers {whole}, not all of {bbox}")
    image: np.ndarray = np.empty((bbox.height, bbox.width), dtype=layers[0].dtype)
    x = np.arange(bbox.x0 - whole.x0, bbox.x1 - whole.x0, dtype=np.float64)
    y = np.arange(bbox.y0 - whole.y0, bbox.y1 - whole.y0, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, bbox.height, _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            block = image[rows]
            layers[0].surface.evaluate(y[rows], x, out=block)
            for layer in layers[1:]:
                constant = layer.surface.constant
                if constant is not None:
                    block += image.dtype.type(constant)
                else:
                    block += layer.surface.evaluate(y[rows], x, out=np.empty_like(block))
    return image
