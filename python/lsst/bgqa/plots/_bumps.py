# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("draw_bumps", "plot_bumps")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy import ndimage

from ..background import BackgroundModel
from ..statistics import StatisticsConfig
from ..statistics._bins import bump_significance, keeps_bins, primary_layer
from ._style import OKABE_ITO, add_color_bar, in_style, label_pixels, legend_below, new_figure, set_title

# Bumps that get their number written beside them, and how many bins apart
# two flagged bins must be to be two bumps.
_MAX_NUMBERS = 8
_BUMP_SIZE = 5


@in_style
def plot_bumps(model: BackgroundModel, title: str = "", *, threshold: float | None = None) -> Figure:
    """Show which bins stand out from their neighbourhood.

    Parameters
    ----------
    model
        The background; the bins are those of the layer that has the most.
    title
        The data ID or file name.
    threshold
        How far a bin must stand out to be flagged, in robust standard
        deviations; by default as the metrics have it.
    """
    figure = new_figure()
    axes = figure.subplots()
    what = draw_bumps(axes, model, threshold=threshold)
    set_title(axes, what, title)
    return figure


def draw_bumps(axes: Axes, model: BackgroundModel, *, threshold: float | None = None) -> str:
    """Draw how far each bin stands out, the flagged ones framed.

    Parameters
    ----------
    axes
        Where to draw.
    model
        The background.
    threshold
        How far a bin must stand out to be flagged.
    """
    threshold = StatisticsConfig().bump_threshold if threshold is None else threshold
    layer = primary_layer(model)
    label_pixels(axes, layer.bbox)
    significance = bump_significance(layer.values)
    if significance is None:
        axes.text(
            0.5,
            0.5,
            _why_none(model, layer.values),
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=14,
        )
        return "Bumps: none can be told"
    x_edges = layer.x_edges + layer.bbox.x0 - 0.5
    y_edges = layer.y_edges + layer.bbox.y0 - 0.5
    axes.set_facecolor("0.85")
    bins = axes.pcolormesh(
        x_edges, y_edges, significance, cmap="PuOr_r", vmin=-2 * threshold, vmax=2 * threshold
    )
    add_color_bar(bins, axes, "deviation from the median of 5x5 bins / robust σ", extend="both")
    rows, columns = np.nonzero(np.abs(np.nan_to_num(significance)) > threshold)
    left, right = x_edges[columns], x_edges[columns + 1]
    low, high = y_edges[rows], y_edges[rows + 1]
    corners = np.stack([np.stack([left, right, right, left]), np.stack([low, low, high, high])]).T
    axes.add_collection(
        PolyCollection(list(corners), facecolor="none", edgecolor=OKABE_ITO["black"], linewidth=1.6)
    )
    signs = np.where(np.abs(np.nan_to_num(significance)) > threshold, np.sign(significance), 0)
    for row, column in _peaks(significance, rows, columns):
        _write_beside(axes, signs, x_edges, y_edges, (row, column), f"{significance[row, column]:+.1f}σ")
    handles = [Patch(facecolor="none", edgecolor=OKABE_ITO["black"], label=f"beyond {threshold:g}σ")]
    if missing := int(np.isnan(significance).sum()):
        handles.append(Patch(facecolor="0.85", label=f"no value: {missing} of {significance.size} bins"))
    legend_below(axes, handles)
    return f"Bumps: {len(rows)} of {significance.size} bins beyond {threshold:g}σ"


def _write_beside(
    axes: Axes, signs: np.ndarray, x_edges: np.ndarray, y_edges: np.ndarray, peak: tuple[int, int], text: str
) -> None:
    """Write the number of a bump where it hides none, with a line to its peak:
    on one of the four sides of the flagged bins that hang together, if there
    is room.
    """
    row, column = peak
    labels, _ = ndimage.label(signs == signs[row, column], structure=np.ones((3, 3)))
    rows, columns = np.nonzero(labels == labels[row, column])
    x, y = 0.5 * (x_edges[column] + x_edges[column + 1]), 0.5 * (y_edges[row] + y_edges[row + 1])
    # The room for a number, where the longer side fills the picture.
    width, height = (part * max(np.ptp(x_edges), np.ptp(y_edges)) for part in (0.16, 0.06))
    left, right = x_edges[columns.min()], x_edges[columns.max() + 1]
    low, high = y_edges[rows.min()], y_edges[rows.max() + 1]
    # Where the line ends, the corner of the room that is needed, and on which
    # side of its end the text is.
    sides = [
        ((left, y), (left - width, y - height / 2), (-5, 0), "right", "center"),
        ((right, y), (right, y - height / 2), (5, 0), "left", "center"),
        ((x, high), (x - width / 2, high), (0, 5), "center", "bottom"),
        ((x, low), (x - width / 2, low - height), (0, -5), "center", "top"),
    ]
    flagged = signs != 0
    for end, (x0, y0), offset, horizontal, vertical in sides:
        covered = np.outer(
            (y_edges[1:] > y0) & (y_edges[:-1] < y0 + height),
            (x_edges[1:] > x0) & (x_edges[:-1] < x0 + width),
        )
        is_inside = x_edges[0] <= x0 <= x_edges[-1] - width and y_edges[0] <= y0 <= y_edges[-1] - height
        if is_inside and not (flagged & covered).any():
            axes.plot([x, end[0]], [y, end[1]], color="white", linewidth=1.2)
            axes.annotate(
                text,
                end,
                xytext=offset,
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=10,
                bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
            )
            return


def _why_none(model: BackgroundModel, values: np.ndarray) -> str:
    """Tell why no bin of a background can stand out."""
    if not keeps_bins(model):
        return "a polynomial, which keeps no bins"
    if min(values.shape) < 3 or np.isfinite(values).sum() < 3:
        return "too few bins"
    return "the bins do not scatter"


def _peaks(significance: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> list[tuple[int, int]]:
    """Return the flagged bins that stand out most, but no two of one bump."""
    peaks: list[tuple[int, int]] = []
    for i in np.argsort(-np.abs(significance[rows, columns]), kind="stable"):
        row, column = int(rows[i]), int(columns[i])
        if all(max(abs(row - r), abs(column - c)) > _BUMP_SIZE for r, c in peaks):
            peaks.append((row, column))
    return peaks[:_MAX_NUMBERS]
