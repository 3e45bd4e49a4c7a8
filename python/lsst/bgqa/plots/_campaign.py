# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("plot_stack", "plot_tract")

from collections.abc import Mapping

import astropy.units as u
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..background import Box
from ._style import (
    add_color_bar,
    extent_of,
    finite_limits,
    label_pixels,
    new_figure,
    set_title,
    unit_label,
)


def plot_stack(
    mean: np.ndarray, std: np.ndarray, bbox: Box, title: str = "", *, unit: u.UnitBase | None = None
) -> Figure:
    """Show a stack of backgrounds: its mean, and its scatter by coordinate.

    Parameters
    ----------
    mean, std
        Mean and standard deviation over the visits, shape (ny, nx).
    bbox
        The pixels that they cover.
    title
        The data ID, and how many visits there are.
    unit
        Unit of the values.

    Returns
    -------
    figure
        The figure.
    """
    figure = new_figure(width=1000, height=560)
    left, right = figure.subplots(1, 2)
    _draw(left, mean, bbox, "viridis", f"mean / {unit_label(unit)}")
    left.set_title("mean", fontsize=11)
    _draw(right, std, bbox, "magma", f"standard deviation / {unit_label(unit)}")
    right.set_title("standard deviation from visit to visit", fontsize=11)
    right.set_ylabel("")
    set_title(figure, "Backgrounds of many visits", title)
    return figure


def plot_tract(
    values: np.ndarray,
    bbox: Box,
    patches: Mapping[int, Box],
    title: str = "",
    *,
    unit: u.UnitBase | None = None,
) -> Figure:
    """Show the backgrounds of a tract's patches side by side.

    Parameters
    ----------
    values
        The mosaic, shape (ny, nx); NaN where no patch is.
    bbox
        The pixels that it covers, in the tract's coordinates.
    patches
        Pixels of each patch.
    title
        The data ID.
    unit
        Unit of the values.

    Returns
    -------
    figure
        The figure; where patches overlap, their mean.
    """
    figure = new_figure()
    axes = figure.subplots()
    axes.set_facecolor("0.85")
    _draw(axes, values, bbox, "viridis", f"background / {unit_label(unit)}")
    for patch, box in patches.items():
        axes.add_patch(
            Rectangle(
                (box.x0 - 0.5, box.y0 - 0.5), box.width, box.height, fill=False, edgecolor="white", alpha=0.6
            )
        )
        if len(patches) <= 25:
            axes.annotate(
                str(patch),
                (box.x0 + box.width / 2, box.y0 + box.height / 2),
                color="white",
                ha="center",
                va="center",
            )
    set_title(axes, "Background of the tract's patches", title)
    return figure


def _draw(axes: Axes, values: np.ndarray, bbox: Box, cmap: str, label: str) -> None:
    low, high = finite_limits(values)
    image = axes.imshow(
        values,
        origin="lower",
        extent=extent_of(bbox),
        cmap=cmap,
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    label_pixels(axes, bbox)
    add_color_bar(image, axes, label)
