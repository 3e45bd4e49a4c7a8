# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("plot_notebook_row", "plot_residual_map", "plot_rings")

import astropy.units as u
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..background import BackgroundModel
from ..residual import ResidualSky, SkyImage
from ._background import draw_background
from ._histogram import draw_histogram
from ._style import (
    OKABE_ITO,
    add_color_bar,
    in_style,
    label_pixels,
    legend_below,
    new_figure,
    set_title,
    unit_label,
)
from ._subtracted import draw_subtracted


@in_style
def plot_notebook_row(
    image: SkyImage, background: BackgroundModel, title: str = "", *, unit: u.UnitBase | None = None
) -> Figure:
    """Show an image, the background subtracted from it, and its histogram.

    Parameters
    ----------
    image
        The image.
    background
        The background.
    title
        The data ID or file name.
    unit
        Unit of the image, if it does not say it.

    Returns
    -------
    figure
        The figure: the image with an asinh stretch between zscale limits,
        the background on a linear scale.
    """
    figure = new_figure(width=1750, height=560)
    left, middle, right = figure.subplots(1, 3)
    draw_subtracted(left, image.array, image.bbox, unit=image.unit if image.unit is not None else unit)
    left.set_title("Background-subtracted image", fontsize=11)
    draw_background(middle, background)
    middle.set_title("Background", fontsize=11)
    draw_histogram(right, background)
    right.set_box_aspect(image.bbox.height / image.bbox.width)
    right.set_title("Histogram of the background", fontsize=11)
    set_title(figure, str(image.bbox), title)
    return figure


@in_style
def plot_residual_map(residual: ResidualSky, title: str = "") -> Figure:
    """Show the residual sky, averaged over cells.

    Parameters
    ----------
    residual
        The sky.
    title
        The data ID or file name.

    Returns
    -------
    figure
        The figure: white at zero; cells without sky are grey.
    """
    grid = residual.grid
    means = grid.cell_means
    finite = np.abs(means[np.isfinite(means)])
    # What a star leaves in a few cells must not pale the rest.
    limit = (float(np.percentile(finite, 97)) if len(finite) else 0.0) or 1.0
    figure = new_figure()
    axes = figure.subplots()
    axes.set_facecolor("0.85")
    x0, y0 = residual.bbox.x0 - 0.5, residual.bbox.y0 - 0.5
    ny, nx = means.shape
    image = axes.imshow(
        means,
        origin="lower",
        extent=(x0, x0 + nx * grid.cell_size, y0, y0 + ny * grid.cell_size),
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
    )
    label_pixels(axes, residual.bbox)
    add_color_bar(image, axes, f"mean of the sky / {unit_label(residual.unit)}", extend="both")
    if len(finite) < means.size:
        legend_below(axes, [Patch(facecolor="0.85", label="no sky: all pixels are sources, or masked")])
    set_title(axes, f"Residual sky in cells of {grid.cell_size} pixels", title)
    return figure


@in_style
def plot_rings(residual: ResidualSky, title: str = "") -> Figure | None:
    """Show the sky by distance from large sources.

    Parameters
    ----------
    residual
        The sky.
    title
        The data ID or file name.

    Returns
    -------
    figure
        The figure; `None` where there is no such source.
    """
    profile = residual.profile
    if profile is None:
        return None
    figure = new_figure(height=520)
    axes = figure.subplots()
    middle = 0.5 * (profile.radii[1:] + profile.radii[:-1])
    axes.axhline(0, color="0.6", linewidth=1)
    axes.errorbar(
        middle,
        profile.depths,
        yerr=profile.depth_errors,
        xerr=0.5 * np.diff(profile.radii),
        fmt="o",
        color=OKABE_ITO["blue"],
        label="ring minus far sky",
    )
    if (ring := profile.deepest) is not None:
        axes.plot(
            middle[ring],
            profile.depths[ring],
            "o",
            color=OKABE_ITO["vermillion"],
            zorder=3,
            label=f"darkest: {profile.depths[ring] / profile.depth_errors[ring]:+.1f} sigma",
        )
    axes.set(
        xlabel="distance from the edge of large footprints / pixel",
        ylabel=f"residual sky / {unit_label(residual.unit)}",
    )
    axes.legend(fontsize=10)
    set_title(axes, "Sky about large sources; below zero is over-subtraction", title)
    return figure
