# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("draw_background", "plot_background")

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..background import BackgroundModel
from ..statistics._bins import primary_layer
from ._sampling import sample_background
from ._style import (
    OKABE_ITO,
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
def plot_background(model: BackgroundModel, title: str = "", *, bin_grid: bool = False) -> Figure:
    """Show a background on a linear scale, which a few pixels cannot stretch.

    Parameters
    ----------
    model
        The background.
    title
        The data ID or file name.
    bin_grid
        Whether to draw the borders of the bins of the layer that has the
        most, and to cross out the bins without data.
    """
    figure = new_figure()
    axes = figure.subplots()
    draw_background(axes, model, bin_grid=bin_grid)
    set_title(axes, "Background", title)
    return figure


def draw_background(axes: Axes, model: BackgroundModel, *, bin_grid: bool = False) -> None:
    """Draw a background with its colour bar.

    Parameters
    ----------
    axes
        Where to draw.
    model
        The background.
    bin_grid
        Whether to draw the bins.
    """
    values = sample_background(model)
    low, high, extend = robust_limits(values)
    image = axes.imshow(
        values,
        origin="lower",
        extent=extent_of(model.bbox),
        cmap="viridis",
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    label_pixels(axes, model.bbox)
    add_color_bar(image, axes, f"background / {unit_label(model.unit)}", extend=extend)
    if not np.isfinite(values).any():
        axes.text(
            0.5, 0.5, "no finite pixel", transform=axes.transAxes, ha="center", va="center", fontsize=14
        )
    if bin_grid:
        _draw_bins(axes, model)


def _draw_bins(axes: Axes, model: BackgroundModel) -> None:
    layer = primary_layer(model)
    x0, y0 = layer.bbox.x0 - 0.5, layer.bbox.y0 - 0.5
    style: dict[str, Any] = {"color": "white", "linewidth": 0.5, "alpha": 0.45}
    axes.vlines(layer.x_edges[1:-1] + x0, *axes.get_ylim(), **style)
    axes.hlines(layer.y_edges[1:-1] + y0, *axes.get_xlim(), **style)
    rows, columns = np.nonzero(~layer.measured)
    if len(rows):
        axes.plot(
            layer.bin_centers_x[columns],
            layer.bin_centers_y[rows],
            "x",
            color=OKABE_ITO["vermillion"],
            markersize=5,
            label=f"{len(rows)} {'bin' if len(rows) == 1 else 'bins'} without data",
        )
        legend_below(axes)
