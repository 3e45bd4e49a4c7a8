# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("plot_stack", "plot_tract")

from collections.abc import Iterable

import astropy.units as u
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ..background import Box
from ..statistics.seams import PatchSamples, TractMosaic
from ._style import (
    MAX_CELLS,
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
def plot_tract(mosaic: TractMosaic, title: str = "", *, unit: u.UnitBase | None = None) -> Figure:
    """Show the backgrounds of a tract's patches side by side.

    Parameters
    ----------
    mosaic
        The patches.
    title
        The data ID.
    unit
        Unit of the values.

    Returns
    -------
    figure
        The figure. Where patches overlap, each is drawn as far as the middle
        of the overlap, as the inner regions of a skymap are.
    """
    figure = new_figure()
    axes = figure.subplots()
    axes.set_facecolor("0.85")
    boxes = [samples.bbox for samples in mosaic.patches.values()]
    x0, y0 = min(box.x0 for box in boxes), min(box.y0 for box in boxes)
    whole = Box(x0, y0, max(box.x1 for box in boxes) - x0, max(box.y1 for box in boxes) - y0)
    thin = -(-max(whole.width, whole.height) // (mosaic.step * MAX_CELLS))
    cells = [
        _cells(samples, _inner(samples.bbox, boxes), mosaic.step, thin) for samples in mosaic.patches.values()
    ]
    low, high, extend = robust_limits(np.concatenate([values.ravel() for _, _, values in cells]))
    norm = Normalize(low, high)
    for x_edges, y_edges, values in cells:
        axes.pcolormesh(x_edges, y_edges, values, norm=norm, cmap="viridis")
    label_pixels(axes, whole)
    add_color_bar(ScalarMappable(norm, "viridis"), axes, f"background / {unit_label(unit)}", extend=extend)
    for patch, samples in mosaic.patches.items():
        box = samples.bbox
        axes.add_patch(
            Rectangle(
                (box.x0 - 0.5, box.y0 - 0.5), box.width, box.height, fill=False, edgecolor="white", alpha=0.6
            )
        )
        if len(boxes) <= 25:
            axes.annotate(
                str(patch),
                (box.x0 + box.width / 2, box.y0 + box.height / 2),
                color="white",
                ha="center",
                va="center",
            )
    covered = sum(np.outer(np.diff(y), np.diff(x))[np.isfinite(values)].sum() for x, y, values in cells)
    if covered < 0.999 * whole.width * whole.height:
        legend_below(axes, [Patch(facecolor="0.85", label="no patch, or no value")])
    set_title(axes, "Background of the tract's patches", title)
    return figure


def _inner(box: Box, others: Iterable[Box]) -> tuple[float, float, float, float]:
    """Return the borders, left, right, bottom and top, within which a patch is
    drawn: its own, or the middle of what it shares with a patch beside it.
    """
    left, right, bottom, top = extent_of(box)
    for other in others:
        dx, dy = other.x0 + other.x1 - box.x0 - box.x1, other.y0 + other.y1 - box.y0 - box.y1
        if abs(dx) > abs(dy) and dx > 0:
            right = min(right, 0.5 * (other.x0 + box.x1) - 0.5)
        elif abs(dx) > abs(dy):
            left = max(left, 0.5 * (other.x1 + box.x0) - 0.5)
        elif abs(dy) > abs(dx) and dy > 0:
            top = min(top, 0.5 * (other.y0 + box.y1) - 0.5)
        elif abs(dy) > abs(dx):
            bottom = max(bottom, 0.5 * (other.y1 + box.y0) - 0.5)
    return left, right, bottom, top


def _cells(
    samples: PatchSamples, inner: tuple[float, float, float, float], step: int, thin: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut a patch's samples into cells within borders: their edges in x and
    y, and their values.
    """
    edges, used = [], []
    for number, count, low, high in (
        (samples.column, samples.values.shape[1], *inner[:2]),
        (samples.row, samples.values.shape[0], *inner[2:]),
    ):
        points = step * (number + np.arange(0, count, thin))
        between = points[:-1] + step * thin / 2
        part = slice(np.sum(between <= low), np.sum(between < high) + 1)
        used.append(part)
        edges.append(np.array([low, *between[part.start : part.stop - 1], high]))
    return edges[0], edges[1], samples.values[::thin, ::thin][used[1], used[0]]


def _draw(axes: Axes, values: np.ndarray, bbox: Box, cmap: str, label: str) -> None:
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
