# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = (
    "MAX_CELLS",
    "NO_VALUE",
    "OKABE_ITO",
    "add_color_bar",
    "extent_of",
    "finite_limits",
    "in_style",
    "label_pixels",
    "legend_below",
    "new_figure",
    "robust_limits",
    "set_title",
    "unit_label",
)

import functools
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Literal

import astropy.units as u
import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from ..background import Box

MAX_CELLS = 640
"""Cells a side that an image is drawn with: those a figure of 800 pixels
has room for (`int`).
"""

NO_VALUE = "#E8D3C9"
"""Colour of what has no value, in pictures in grey (`str`)."""

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
# Of a title, by inch.
_LETTERS = 10
# Percent of the pixels at either end that a colour scale may leave out.
_TAIL = 0.5


class _Picture(Figure):
    """A figure that is saved as it was drawn, whatever the user's style."""

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        with matplotlib.style.context("default"):
            super().savefig(fname, **kwargs)


def in_style[**P, R](plot: Callable[P, R]) -> Callable[P, R]:
    """Let a function draw in matplotlib's own style: a matplotlibrc changes nothing."""

    @functools.wraps(plot)
    def draw(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.style.context("default"):
            return plot(*args, **kwargs)

    return draw


def new_figure(width: int = 800, height: int = 680) -> Figure:
    """Make an empty figure of a size in pixels, as saved."""
    return _Picture(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="compressed")


def set_title(target: Axes | Figure, what: str, title: str) -> None:
    """Write what is shown, and of which data ID or file, if ``title`` has one."""
    text = f"{title}\n{what}" if title else what
    width = int(_LETTERS * target.get_figure(root=True).get_figwidth())  # type: ignore[union-attr]
    text = "\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, width))
    # A dollar sign would begin mathematics.
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


def robust_limits(values: np.ndarray) -> tuple[float, float, Literal["neither", "min", "max", "both"]]:
    """Return limits for a colour scale that a few pixels cannot stretch.

    They are percentiles, or the range where it is hardly larger; then comes on
    which sides of the colour bar values are beyond. NaNs are ignored.
    """
    low, high = finite_limits(values)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return low, high, "neither"
    inner_low, inner_high = np.percentile(finite, [_TAIL, 100 - _TAIL])
    if not inner_high > inner_low or high - low < 1.2 * (inner_high - inner_low):
        return low, high, "neither"
    below, above = bool(low < inner_low), bool(high > inner_high)
    extend: Literal["min", "max", "both"] = "both" if below and above else "min" if below else "max"
    return float(inner_low), float(inner_high), extend


def legend_below(axes: Axes, handles: Sequence[Artist] | None = None) -> None:
    """Explain marks, by default all that have a label, below axes: there it hides no pixel."""
    where: dict[str, Any] = {
        "loc": "upper center",
        "bbox_to_anchor": (0.5, -0.09),
        "ncols": 3,
        "fontsize": 10,
        "frameon": False,
    }
    axes.legend(**where) if handles is None else axes.legend(handles=handles, **where)
