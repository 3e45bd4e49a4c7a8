# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The report's figures, empty: each page fills them with its own numbers.

A figure is made once, however many pages show it. The page's script sets the
columns of its sources, which it finds by their names.
"""

from __future__ import annotations

__all__ = ("band_styles", "make_histogram", "make_map", "make_ranking", "make_series", "script_files")

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from bokeh.embed import json_item
from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    DatetimeTickFormatter,
    HoverTool,
    LinearColorMapper,
    PlainText,
    Range1d,
    TapTool,
)
from bokeh.models.annotations import ColorBar, Span
from bokeh.palettes import Viridis256
from bokeh.plotting import figure
from bokeh.settings import settings

from ...errors import UserError

_TOOLTIP = '<div style="white-space: pre-line; max-width: 22rem">@text</div>'
_FAIL = "#D55E00"
_PASS = "#0072B2"
_NOWHERE = {
    **{"xs": [0, 1, 1, 0], "ys": [0, 0, 1, 1], "x": 0.5, "y": 0.5, "value": 0.0},
    **{"label": "", "text": "", "edge": "#b0b0b0", "width": 1, "hatch": "blank"},
}
_TOOLS = "pan,box_zoom,wheel_zoom,reset,save"
# As matplotlib names markers, and bokeh does.
_MARKERS = {"o": "circle", "^": "triangle", "v": "inverted_triangle", "s": "square", "*": "star", "p": "hex"}
_OTHERS = ("diamond", "plus", "x", "asterisk", "square_pin", "triangle_pin")
_OTHER_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def script_files() -> list[Path]:
    """Return the scripts that show figures.

    Returns
    -------
    paths : `list` [`pathlib.Path`]
        The files, part of the installed bokeh.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if they are not where bokeh should have them.
    """
    path = Path(settings.bokehjs_path()) / "js" / "bokeh.min.js"
    if not path.is_file():
        raise UserError(f"{path} is missing: the installation of bokeh is not complete")
    return [path]


def band_styles(bands: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return colours and markers by band.

    Parameters
    ----------
    bands : `~collections.abc.Iterable` [`str`]
        Bands; Rubin's have the colours and markers of its publications.

    Returns
    -------
    styles : `dict` [`str`, `dict` [`str`, `str`]]
        ``light`` and ``dark``, the colours on such backgrounds, and
        ``marker``, bokeh's name for it, of each band.
    """
    from lsst.utils.plotting import get_multiband_plot_colors, get_multiband_plot_symbols

    light, dark = get_multiband_plot_colors(), get_multiband_plot_colors(dark_background=True)
    symbols = get_multiband_plot_symbols()
    styles = {}
    for number, band in enumerate(bands):
        color, marker = _OTHER_COLORS[number % 6], _OTHERS[number % 6]
        styles[band] = {
            "light": light.get(band, color),
            "dark": dark.get(band, color),
            "marker": _MARKERS.get(symbols.get(band, ""), marker),
        }
    return styles


def make_map(name: str, *, mirrored: bool, x_label: str, y_label: str) -> Mapping[str, Any]:
    """Make a map of places.

    Parameters
    ----------
    name : `str`
        What figure it is.
    mirrored : `bool`
        Whether x grows to the left, as right ascension does on the sky.
    x_label, y_label : `str`
        Labels of the axes.

    Returns
    -------
    item : `dict`
        The figure, for ``Bokeh.embed.embed_item``.

    Notes
    -----
    The sources are ``places`` (outlines ``xs`` and ``ys``, ``value``,
    ``label``, ``text``, ``edge``, ``width``,
    ``hatch``, and the centre ``x``, ``y``) and ``seams``
    (``x0``, ``y0``, ``x1``, ``y1``, ``size``, ``color``, ``text``); the mapper is ``colors``.
    """
    plot: Any = figure(
        tools=_TOOLS,
        active_drag=None,
        active_scroll=None,
        x_range=DataRange1d(flipped=mirrored, range_padding=0.04),
        y_range=DataRange1d(range_padding=0.04),
        match_aspect=True,
        height=460,
        sizing_mode="stretch_width",
        toolbar_location="above",
        name=name,
    )
    colors = LinearColorMapper(palette=Viridis256, low=0, high=1, nan_color="#b0b0b0", name="colors")
    columns = ("xs", "ys", "x", "y", "value", "label", "text", "edge", "width", "hatch")
    # Without any place, a map has no range to begin with.
    places = ColumnDataSource({column: [_NOWHERE[column]] for column in columns}, name="places")
    patches = plot.patches(
        "xs",
        "ys",
        source=places,
        fill_color={"field": "value", "transform": colors},
        line_color="edge",
        line_width="width",
        hatch_pattern="hatch",
        hatch_color="#ffffff",
        hatch_alpha=0.55,
        hatch_scale=10,
        nonselection_hatch_alpha=0.55,
        nonselection_fill_alpha=1,
        nonselection_line_alpha=1,
        selection_line_color="#E69F00",
        selection_line_width=4,
        name="patches",
    )
    seams = ColumnDataSource(
        {column: [] for column in ("x0", "y0", "x1", "y1", "size", "color", "text")}, name="seams"
    )
    borders = plot.segment(
        "x0", "y0", "x1", "y1", source=seams, line_color="color", line_width="size", name="borders"
    )
    labels = plot.text(
        "x",
        "y",
        text="label",
        source=places,
        text_align="center",
        text_baseline="middle",
        text_font_size="11px",
        text_color="#ffffff",
        background_fill_color="#000000",
        background_fill_alpha=0.5,
        border_radius=3,
        padding=2,
        name="labels",
    )
    labels.nonselection_glyph = labels.glyph
    plot.add_tools(
        HoverTool(renderers=[patches], tooltips=_TOOLTIP, name="hover"),
        HoverTool(renderers=[borders], tooltips=_TOOLTIP, line_policy="interp", name="seam_hover"),
        TapTool(renderers=[patches]),
    )
    plot.x_range.renderers = plot.y_range.renderers = [patches]
    bar = ColorBar(color_mapper=colors, width=12, padding=6, label_standoff=6, name="bar")
    plot.add_layout(bar, "right")
    return _finish(plot, x_label, y_label)


def make_series(name: str) -> Mapping[str, Any]:
    """Make a time series by night.

    Parameters
    ----------
    name : `str`
        What figure it is.

    Returns
    -------
    item : `dict`
        The figure, for ``Bokeh.embed.embed_item``.

    Notes
    -----
    The sources are ``cells`` (``x`` in ms since 1970, ``median``, ``low``,
    ``high``, ``min``, ``max``, ``color``, ``marker``, ``text``) and ``lines``
    (``xs``, ``ys``, ``color``); ``low`` and ``high`` are lines for thresholds.
    """
    plot: Any = figure(
        tools=_TOOLS,
        active_drag=None,
        active_scroll=None,
        x_axis_type="datetime",
        x_range=Range1d(start=0, end=1, name="x_range"),
        y_range=Range1d(start=0, end=1, name="y_range"),
        height=340,
        sizing_mode="stretch_width",
        toolbar_location="above",
        name=name,
    )
    lines = ColumnDataSource({column: [] for column in ("xs", "ys", "color")}, name="lines")
    plot.multi_line("xs", "ys", source=lines, line_color="color", line_width=1.5, line_alpha=0.6)
    columns = ("x", "median", "low", "high", "min", "max", "color", "marker", "text")
    cells = ColumnDataSource({column: [] for column in columns}, name="cells")
    plot.segment("x", "min", "x", "max", source=cells, line_color="color", line_alpha=0.45, line_width=1)
    plot.segment(
        "x",
        "low",
        "x",
        "high",
        source=cells,
        line_color="color",
        line_alpha=0.55,
        line_width=5,
        name="whiskers",
    )
    medians = plot.scatter(
        "x",
        "median",
        marker="marker",
        size=9,
        source=cells,
        color="color",
        line_color="color",
        name="medians",
    )
    plot.add_tools(HoverTool(renderers=[medians], tooltips=_TOOLTIP, name="hover"))
    _add_bounds(plot)
    plot.xaxis.formatter = DatetimeTickFormatter(
        hours="%d %b %H:00", days="%d %b %Y", months="%b %Y", years="%Y", boundary_scaling=False
    )
    plot.xaxis.ticker.desired_num_ticks = 5
    return _finish(plot, "night", "")


def make_histogram(name: str) -> Mapping[str, Any]:
    """Make a histogram.

    Parameters
    ----------
    name : `str`
        What figure it is.

    Returns
    -------
    item : `dict`
        The figure, for ``Bokeh.embed.embed_item``.

    Notes
    -----
    The source is ``bins`` (``left``, ``right``, ``all``, ``failing``,
    ``text``); ``low`` and ``high`` are lines for thresholds.
    """
    plot: Any = figure(
        tools=_TOOLS,
        active_drag=None,
        active_scroll=None,
        x_range=Range1d(start=0, end=1, name="x_range"),
        y_range=Range1d(start=0.5, end=1, name="y_range"),
        y_axis_type="log",
        height=340,
        sizing_mode="stretch_width",
        toolbar_location="above",
        name=name,
    )
    bins = ColumnDataSource({c: [] for c in ("left", "right", "all", "failing", "text")}, name="bins")
    every = plot.quad(
        left="left", right="right", bottom=0.5, top="all", source=bins, color=_PASS, alpha=0.65, line_width=0
    )
    every.name = "every"
    failing = plot.quad(
        left="left",
        right="right",
        bottom=0.5,
        top="failing",
        source=bins,
        color=_FAIL,
        alpha=0.9,
        hatch_pattern="right_diagonal_line",
        hatch_color="#ffffff",
        hatch_alpha=0.5,
        hatch_scale=6,
        line_width=0,
    )
    failing.name = "failing"
    plot.add_tools(HoverTool(renderers=[every], tooltips=_TOOLTIP, name="hover"))
    _add_bounds(plot, "height")
    return _finish(plot, "", "rows")


def make_ranking(name: str) -> Mapping[str, Any]:
    """Make a plot of a value by place.

    Parameters
    ----------
    name : `str`
        What figure it is.

    Returns
    -------
    item : `dict`
        The figure, for ``Bokeh.embed.embed_item``.

    Notes
    -----
    The source is ``points`` (``x``, ``y``, ``color``, ``marker``, ``text``);
    ``low`` and ``high`` are lines for thresholds.
    """
    plot: Any = figure(
        tools=_TOOLS,
        active_drag=None,
        active_scroll=None,
        x_range=Range1d(start=0, end=1, name="x_range"),
        y_range=Range1d(start=0, end=1, name="y_range"),
        height=460,
        sizing_mode="stretch_width",
        toolbar_location="above",
        name=name,
    )
    points = ColumnDataSource({c: [] for c in ("x", "y", "color", "marker", "text")}, name="points")
    dots = plot.scatter(
        "x",
        "y",
        source=points,
        marker="marker",
        size=9,
        color="color",
        line_width=2.5,
        nonselection_alpha=0.8,
        selection_line_color="#E69F00",
        selection_line_width=4,
    )
    plot.add_tools(HoverTool(renderers=[dots], tooltips=_TOOLTIP, name="hover"), TapTool(renderers=[dots]))
    _add_bounds(plot)
    return _finish(plot, "", "")


def _add_bounds(plot: Any, dimension: Literal["width", "height"] = "width") -> None:
    for name in ("low", "high"):
        plot.add_layout(
            Span(
                dimension=dimension,
                location=0,
                line_color=_FAIL,
                line_width=2,
                line_dash="dashed",
                visible=False,
                name=name,
            )
        )


def _finish(plot: Any, x_label: str, y_label: str) -> Mapping[str, Any]:
    # Plain texts: what looks like TeX is not, and nothing is loaded for it.
    plot.xaxis.axis_label = PlainText(text=x_label, name="x_label")
    plot.yaxis.axis_label = PlainText(text=y_label, name="y_label")
    plot.xaxis.axis_label_text_font_style = plot.yaxis.axis_label_text_font_style = "normal"
    plot.toolbar.logo = None
    plot.toolbar.autohide = False
    plot.min_border_left = plot.min_border_right = 6
    return json_item(plot)  # type: ignore[no-any-return]
