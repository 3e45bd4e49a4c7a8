# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("CLOSURE_COLORS", "plot_closure")

import math

import astropy.units as u
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..background import Box
from ..statistics.closure import ClosureClass, ClosureMap, ClosureResult
from ._style import (
    OKABE_ITO,
    add_color_bar,
    extent_of,
    in_style,
    label_pixels,
    new_figure,
    set_title,
    unit_label,
)

CLOSURE_COLORS = {
    ClosureClass.NO_DATA: "#D9D9D9",
    ClosureClass.IDENTICAL_SUMMED: OKABE_ITO["blue"],
    ClosureClass.IDENTICAL_SEQUENTIAL: "#99D3F5",
    ClosureClass.ROUNDING: OKABE_ITO["green"],
    ClosureClass.COMPRESSION: OKABE_ITO["yellow"],
    ClosureClass.NAN_MISMATCH: OKABE_ITO["purple"],
    ClosureClass.UNEXPLAINED_EDGE: OKABE_ITO["orange"],
    ClosureClass.UNEXPLAINED_INTERIOR: OKABE_ITO["black"],
}
"""Colour of each class (`dict`): what is fine is cool, what is not stands out."""

_FAULTS = (ClosureClass.NAN_MISMATCH, ClosureClass.UNEXPLAINED_EDGE, ClosureClass.UNEXPLAINED_INTERIOR)

# Up to so many cells of a faulty class are framed, so that one can be seen.
_MAX_FRAMES = 200


@in_style
def plot_closure(result: ClosureResult, title: str = "", *, unit: u.UnitBase | None = None) -> Figure:
    """Show a closure: the class of each place, and the residual.

    Parameters
    ----------
    result
        A closure that was made with a map.
    title
        The data ID.
    unit
        Unit of the residual.

    Returns
    -------
    figure
        The figure. A cell shows its most common class and its largest
        residual; those with a pixel that nothing explains are ringed, or have
        the colour of that where they are many.

    Raises
    ------
    ValueError
        Raised if the closure has no map.
    """
    closure_map = result.map
    if closure_map is None:
        raise ValueError("this closure has no map to draw; give compare_coadds a map_size")
    figure = new_figure(width=1000, height=580)
    classes, residual = figure.subplots(1, 2)
    cells = Box(
        closure_map.bbox.x0,
        closure_map.bbox.y0,
        *(n * closure_map.step for n in closure_map.classes.shape[::-1]),
    )
    colors = [CLOSURE_COLORS[kind] for kind in ClosureClass]
    classes.imshow(
        _shown_classes(closure_map),
        origin="lower",
        extent=extent_of(cells),
        cmap=ListedColormap(colors),
        norm=BoundaryNorm(np.arange(len(colors) + 1) - 0.5, len(colors)),
        interpolation="nearest",
    )
    label_pixels(classes, closure_map.bbox)
    _frame_faults(classes, closure_map)

    values = closure_map.residual
    limit, linear = _residual_scale(values)
    residual.set_facecolor("0.85")
    artist = residual.imshow(
        values,
        origin="lower",
        extent=extent_of(cells),
        cmap="PuOr_r",
        norm=SymLogNorm(linear, linscale=0.5, vmin=-limit, vmax=limit),
        interpolation="nearest",
    )
    label_pixels(residual, closure_map.bbox)
    residual.set_ylabel("")
    side = f"{closure_map.step} x {closure_map.step} pixels" if closure_map.step > 1 else "one pixel"
    residual.set_title(f"largest residual of each cell of {side}", fontsize=11)
    label = f"coadd − subtracted − background / {unit_label(unit)}"
    add_color_bar(artist, residual, label, ticks=_residual_ticks(limit, linear))
    classes.set_title("most common class of each cell; faults are ringed", fontsize=11)
    figure.legend(
        handles=[
            Patch(facecolor=CLOSURE_COLORS[kind], edgecolor="0.4", label=f"{kind.label}: {count:,}")
            for kind, count in result.counts.items()
            if count
        ],
        loc="outside lower center",
        ncols=2,
        fontsize=10,
        frameon=False,
    )
    verdict = "every pixel is explained" if result.is_consistent else "not every pixel is explained"
    set_title(figure, f"Closure: {verdict}", title)
    return figure


def _shown_classes(closure_map: ClosureMap) -> np.ndarray:
    shown = closure_map.typical.copy()
    for kind in _FAULTS:
        faulty = closure_map.classes == kind
        if faulty.sum() > _MAX_FRAMES:
            shown[faulty] = kind
    return shown


def _frame_faults(axes: Axes, closure_map: ClosureMap) -> None:
    step, bbox = closure_map.step, closure_map.bbox
    for kind in _FAULTS:
        rows, columns = np.nonzero(closure_map.classes == kind)
        if 0 < len(rows) <= _MAX_FRAMES:
            axes.scatter(
                (columns + 0.5) * step + bbox.x0 - 0.5,
                (rows + 0.5) * step + bbox.y0 - 0.5,
                s=70,
                marker="o",
                facecolor="none",
                edgecolor=CLOSURE_COLORS[kind],
                linewidth=1.8,
                clip_on=False,
            )


def _residual_scale(values: np.ndarray) -> tuple[float, float]:
    """Return the limit of the residual's scale, and where it is linear."""
    size = np.abs(values[np.isfinite(values)])
    limit = float(size.max(initial=0.0))
    if limit == 0:
        return 1.0, 0.1
    # What is typical gets colour even where a few residuals are far larger.
    return limit, min(max(float(np.median(size)), 1e-6 * limit), 0.3 * limit)


def _residual_ticks(limit: float, linear: float) -> list[float]:
    """Return zero and at most four powers of ten on either side."""
    last = math.floor(math.log10(limit))
    first = math.ceil(math.log10(linear))
    powers = [10.0**power for power in range(last, first - 1, -max(1, -(-(last - first + 1) // 4)))]
    return [*(-power for power in powers), 0.0, *reversed(powers)]
