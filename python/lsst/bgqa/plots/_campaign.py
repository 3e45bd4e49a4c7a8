# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("plot_stack", "plot_tract")

from collections.abc import Mapping

import astropy.units as u
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from matplotlib.path import Path

from ..background import Box
from ._style import (
    add_color_bar,
    extent_of,
    in_style,
    label_pixels,
    legend_below,
    new_figure,
    robust_limits,
    set_title,
    unit_label,
)


@in_style
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


@in_style
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
    image = _draw(axes, values, bbox, "viridis", f"background / {unit_label(unit)}")
    # Cells reach over the borders of patches by half their side.
    outline = [_rectangle(box.x0 - 0.5, box.y0 - 0.5, box.x1 - 0.5, box.y1 - 0.5) for box in patches.values()]
    image.set_clip_path(Path.make_compound_path(*outline), axes.transData)
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
    if np.isnan(values).any():
        legend_below(axes, [Patch(facecolor="0.85", label="no patch, or no value")])
    set_title(axes, "Background of the tract's patches", title)
    return figure


def _rectangle(left: float, low: float, right: float, high: float) -> Path:
    # All in one direction, so that where two overlap is inside, too.
    return Path([(left, low), (right, low), (right, high), (left, high), (left, low)], closed=True)


def _draw(axes: Axes, values: np.ndarray, bbox: Box, cmap: str, label: str) -> AxesImage:
    low, high, extend = robust_limits(values)
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
    add_color_bar(image, axes, label, extend=extend)
    return image
