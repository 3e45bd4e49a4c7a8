# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("draw_subtracted", "plot_subtracted")

import astropy.units as u
import numpy as np
from astropy.visualization import AsinhStretch, ImageNormalize, ZScaleInterval
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..background import Box
from ._sampling import average_image
from ._style import (
    NO_VALUE,
    add_color_bar,
    extent_of,
    finite_limits,
    in_style,
    label_pixels,
    legend_below,
    new_figure,
    set_title,
    unit_label,
)


@in_style
def plot_subtracted(
    image: np.ndarray, bbox: Box, title: str = "", *, unit: u.UnitBase | None = None
) -> Figure:
    """Show an image that the background was subtracted from.

    Parameters
    ----------
    image
        The pixels, shape (height, width).
    bbox
        The pixels that they are, in the parent's coordinates.
    title
        The data ID.
    unit
        Unit of the pixels.

    Returns
    -------
    figure
        The figure: in grey with an asinh stretch between zscale limits, as
        afwDisplay shows images.
    """
    figure = new_figure()
    axes = figure.subplots()
    draw_subtracted(axes, image, bbox, unit=unit)
    set_title(axes, "Background-subtracted image", title)
    return figure


def draw_subtracted(axes: Axes, image: np.ndarray, bbox: Box, *, unit: u.UnitBase | None = None) -> None:
    """Draw an image with its colour bar.

    Parameters
    ----------
    axes
        Where to draw.
    image
        The pixels, shape (height, width).
    bbox
        The pixels that they are.
    unit
        Unit of the pixels.
    """
    values = average_image(image)
    finite = values[np.isfinite(values)]
    low, high = ZScaleInterval().get_limits(finite) if len(finite) else (0.0, 1.0)
    if not low < high:
        low, high = finite_limits(values)
    axes.set_facecolor(NO_VALUE)
    step = -(-bbox.width // values.shape[1])
    # The last cells may reach over the border; they are drawn as large as the others.
    cells = Box(bbox.x0, bbox.y0, step * values.shape[1], step * values.shape[0])
    artist = axes.imshow(
        values,
        origin="lower",
        extent=extent_of(cells),
        cmap="gray",
        norm=ImageNormalize(vmin=low, vmax=high, stretch=AsinhStretch(), clip=False),
        interpolation="nearest",
    )
    label_pixels(axes, bbox)
    add_color_bar(artist, axes, f"subtracted image / {unit_label(unit)}", extend="both")
    if len(finite) < values.size:
        legend_below(axes, [Patch(facecolor=NO_VALUE, label="no value")])
