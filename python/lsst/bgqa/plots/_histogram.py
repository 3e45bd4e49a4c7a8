# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("draw_histogram", "plot_histogram")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ..background import BackgroundModel
from ..statistics import background_statistics, pixel_distribution
from ._style import OKABE_ITO, in_style, new_figure, set_title, unit_label


@in_style
def plot_histogram(model: BackgroundModel, title: str = "", *, bins: int = 50) -> Figure:
    """Show the distribution of a background's pixels.

    Parameters
    ----------
    model
        The background.
    title
        The data ID or file name.
    bins
        Number of bins, from the least to the greatest pixel.
    """
    figure = new_figure(height=560)
    axes = figure.subplots()
    draw_histogram(axes, model, bins=bins)
    set_title(axes, "Histogram of the background", title)
    return figure


def draw_histogram(axes: Axes, model: BackgroundModel, *, bins: int = 50) -> None:
    """Draw the histogram of a background's pixels, mean and median marked.

    Parameters
    ----------
    axes
        Where to draw.
    model
        The background.
    bins
        Number of bins.
    """
    unit = unit_label(model.unit)
    axes.set(xlabel=f"background / {unit}", ylabel="pixels per bin")
    distribution = pixel_distribution(model)
    if distribution is None:
        axes.text(
            0.5, 0.5, "no finite pixel", transform=axes.transAxes, ha="center", va="center", fontsize=14
        )
        return
    metrics = background_statistics(model)
    low, high = metrics["level_min"], metrics["level_max"]
    margin = 0.0
    if low == high:
        # A constant gets the bin in the middle, as wide as float32 allows.
        bins |= 1
        margin = 0.5 * bins * float(np.spacing(np.float32(max(abs(low), 1e-30))))
    edges = np.linspace(low - margin, high + margin, bins + 1)
    axes.stairs(distribution.histogram(edges), edges, fill=True, color=OKABE_ITO["sky blue"])
    for name, color, style in (("mean", "vermillion", "-"), ("median", "black", "--")):
        value = metrics[f"level_{name}"]
        axes.axvline(
            value, color=OKABE_ITO[color], linestyle=style, linewidth=2, label=f"{name} {value:.6g} {unit}"
        )
    axes.set_xlim(edges[0], edges[-1])
    axes.locator_params(axis="x", nbins=7)
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.legend(fontsize=10)
