# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("plot_differences", "plot_model_difference")

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..background import BackgroundModel
from ..statistics.comparison import comparison_statistics
from ._sampling import average_image, sample_background
from ._style import add_color_bar, extent_of, in_style, label_pixels, new_figure, set_title, unit_label

_MAX_MODELS = 4


@in_style
def plot_differences(
    differences: Mapping[str, BackgroundModel], title: str = "", *, judged: str = "the background judged"
) -> Figure:
    """Show what other models of a background differ from the one judged.

    Parameters
    ----------
    differences
        Each other model minus the one judged, by name, at least one; the
        first four are drawn.
    title
        The data ID.
    judged
        What to call the background that is judged.

    Returns
    -------
    figure
        The figure: a panel for each model, with its numbers, and one colour
        scale for all that is white at zero.
    """
    shown = list(differences.items())[:_MAX_MODELS]
    values = [sample_background(difference) for _, difference in shown]
    finite = np.abs(np.concatenate([part[np.isfinite(part)] for part in values]))
    limit = float(finite.max(initial=0.0)) or 1.0
    figure = new_figure(width=800 + 500 * (len(shown) - 1))
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (name, difference), part in zip(panels, shown, values, strict=True):
        image = axes.imshow(
            part,
            origin="lower",
            extent=extent_of(difference.bbox),
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            interpolation="nearest",
        )
        label_pixels(axes, difference.bbox)
        set_title(axes, _numbers(difference), name if len(shown) > 1 else "")
        add_color_bar(image, axes, f"difference / {unit_label(difference.unit)}")
    set_title(figure, f"{', '.join(name for name, _ in shown)} minus {judged}", title)
    return figure


@in_style
def plot_model_difference(
    difference: np.ndarray, model: BackgroundModel, title: str = "", words: str = ""
) -> Figure:
    """Show how two models of one image differ.

    Parameters
    ----------
    difference
        One model's pixels less the other's, shape (height, width).
    model
        One of them, for its box and unit.
    title, words
        What it is of, and how large it is.

    Returns
    -------
    figure
        The figure, on a colour scale that is white at zero.
    """
    values = average_image(difference)
    limit = float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0
    figure = new_figure()
    axes = figure.subplots()
    scale: Any = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    image = axes.imshow(values, origin="lower", extent=extent_of(model.bbox), **scale)
    label_pixels(axes, model.bbox)
    set_title(axes, words, title)
    add_color_bar(image, axes, f"difference / {unit_label(model.unit)}")
    return figure


def _numbers(difference: BackgroundModel) -> str:
    found = comparison_statistics(difference)
    if not found:
        return "no finite pixel"
    unit = unit_label(difference.unit)
    median, rms, largest = (found[f"{name}Difference"] for name in ("median", "rms", "maxAbs"))
    return f"median {median:+.3g}, rms {rms:.3g}, up to ±{largest:.3g} {unit}"
