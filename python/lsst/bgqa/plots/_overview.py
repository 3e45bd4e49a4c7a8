# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("plot_overview",)

from matplotlib.figure import Figure

from ..background import BackgroundModel
from ._background import draw_background
from ._bumps import draw_bumps
from ._histogram import draw_histogram
from ._style import in_style, new_figure, set_title


@in_style
def plot_overview(model: BackgroundModel, title: str = "", *, threshold: float | None = None) -> Figure:
    """Show all that a background alone tells: its image, histogram and bumps.

    Parameters
    ----------
    model
        The background.
    title
        The data ID or file name.
    threshold
        How far a bin must stand out to be flagged, in robust standard
        deviations.
    """
    figure = new_figure(width=1200, height=900)
    figure.get_layout_engine().set(w_pad=0.1, wspace=0.05)  # type: ignore[union-attr, call-arg]
    axes = figure.subplot_mosaic([["image", "bumps"], ["histogram", "histogram"]], height_ratios=[3, 2])
    draw_background(axes["image"], model, bin_grid=True)
    axes["image"].set_title("Background and its bins", fontsize=11)
    axes["bumps"].set_title(draw_bumps(axes["bumps"], model, threshold=threshold), fontsize=11)
    draw_histogram(axes["histogram"], model)
    set_title(figure, str(model.bbox), title)
    return figure
