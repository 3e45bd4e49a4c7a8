# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""From a live afw background to layers, by afw's public getters alone."""

from __future__ import annotations

__all__ = ("layers_from_afw",)

from typing import Any

import numpy as np

from ._errors import BackgroundError
from ._layer import Approximation, ApproxStyle, Box, InterpStyle, Layer, UndersampleStyle


def layers_from_afw(background_list: Any) -> tuple[Layer, ...]:
    """Copy the layers of a ``lsst.afw.math.BackgroundList``, as its file has them."""
    return tuple(_layer(number, entry) for number, entry in enumerate(background_list, start=1))


def _layer(number: int, entry: Any) -> Layer:
    background, interp_style, undersample_style, approx_style, order_x, order_y, weighting = entry
    stats = background.getStatsImage()
    box = background.getImageBBox()
    control = background.getBackgroundControl()
    if approx_style is None:
        fit = control.getApproximateControl()
        approx_style, order_x, order_y = fit.getStyle(), fit.getOrderX(), fit.getOrderY()
        weighting = fit.getWeighting()
    # Unknown, too, if it was appended without styles and never made an image.
    if interp_style is None or int(interp_style) < 0:
        interp_style, undersample_style = control.getInterpStyle(), control.getUndersampleStyle()
    mask = stats.getMask()
    try:
        return Layer(
            values=np.array(stats.getImage().getArray(), dtype=np.float32),
            standard_error=np.array(stats.getVariance().getArray(), dtype=np.float32),
            mask=np.array(mask.getArray(), dtype=np.int32),
            bbox=Box(box.getMinX(), box.getMinY(), box.getWidth(), box.getHeight()),
            interp_style=InterpStyle(int(interp_style)),
            undersample_style=UndersampleStyle(int(undersample_style)),
            approximation=Approximation(
                ApproxStyle(int(approx_style)), int(order_x), int(order_y), bool(weighting)
            ),
            mask_planes=dict(mask.getMaskPlaneDict()),
        )
    except (ValueError, BackgroundError) as error:
        raise BackgroundError(f"layer {number}: {error}") from error
