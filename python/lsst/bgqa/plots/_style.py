# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = (
    "MAX_CELLS",
    "OKABE_ITO",
    "add_color_bar",
    "extent_of",
    "finite_limits",
    "label_pixels",
    "new_figure",
    "set_title",
    "unit_label",
)

from typing import Any

import astropy.units as u
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from ..background import Box

MAX_CELLS = 640
"""Cells a side that an image is drawn with: those a figure of 800 pixels
has room for (`int`).
"""

OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky blue": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}
"""Colours that the colour-blind tell apart, after M. Okabe and K. Ito (`dict`)."""

_DPI = 100


def new_figure(width: int = 800, height: int = 680) -> Figure:
    """Make an empty figure of a size in pixels."""
    return Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="compressed")


def set_title(target: Axes | Figure, what: str, title: str) -> None:
    """Write what is shown, and of which data ID or file, if ``title`` has one."""
    # A dollar sign would begin mathematics.
    text = f"{title}\n{what}" if title else what
    text = text.replace("$", r"\$")
    if isinstance(target, Figure):
        target.suptitle(text, fontsize=12)
    else:
        target.set_title(text, fontsize=12)


def unit_label(unit: u.UnitBase | None) -> str:
    """Return what a label calls a unit: "no unit" for a pure number or none."""
    return (unit.to_string() if unit is not None else "") or "no unit"


def extent_of(bbox: Box) -> tuple[float, float, float, float]:
    """Return the borders of a box, left, right, bottom and top, for ``imshow``."""
    return bbox.x0 - 0.5, bbox.x1 - 0.5, bbox.y0 - 0.5, bbox.y1 - 0.5


def label_pixels(axes: Axes, bbox: Box) -> None:
    """Label axes with the parent's pixel coordinates, as they are."""
    left, right, bottom, top = extent_of(bbox)
    axes.set(xlabel="x / pixel", ylabel="y / pixel", xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.ticklabel_format(style="plain", useOffset=False)
    axes.locator_params(nbins=6)


def add_color_bar(artist: Any, axes: Axes, label: str, **kwargs: Any) -> None:
    """Draw a colour bar beside axes, as high as they are.

    Other arguments go to `matplotlib.figure.Figure.colorbar`.
    """
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(artist, cax=axes.inset_axes((1.02, 0.0, 0.04, 1.0)), label=label, **kwargs)
    if isinstance(bar.formatter, ScalarFormatter):
        bar.formatter.set_useOffset(False)


def finite_limits(values: np.ndarray) -> tuple[float, float]:
    """Return limits of a colour scale, low < high, that show a constant as well."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    largest = max(abs(low), abs(high))
    # float32 has no more than seven digits to show.
    if high - low > 1e-6 * largest:
        return low, high
    margin = 0.01 * largest or 1.0
    return low - margin, high + margin
