# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The report's figures, empty: each page fills them with its own numbers."""

from __future__ import annotations

__all__ = ("band_styles", "every_figure", "script_files")

from collections.abc import Iterable
from pathlib import Path
from typing import Any

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
from bokeh.models.annotations import ColorBar, Span, Title
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
_CHOSEN = {"selection_line_color": "#E69F00", "selection_line_width": 4}
# As matplotlib names markers, and bokeh does.
_MARKERS = {"o": "circle", "^": "triangle", "v": "inverted_triangle", "s": "square", "*": "star", "p": "hex"}
_OTHERS = ("diamond", "plus", "x", "asterisk", "square_pin", "triangle_pin")
_OTHER_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def script_files() -> list[Path]:
    """Return the scripts that show figures."""
    path = Path(settings.bokehjs_path()) / "js" / "bokeh.min.js"
    if not path.is_file():
        raise UserError(f"{path} is missing: the installation of bokeh is not complete")
    return [path]


def band_styles(bands: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return colours and markers by band."""
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


def every_figure() -> dict[str, Any]:
    """Make each figure once, for ``Bokeh.embed.embed_item``, and the palettes of maps."""
    import matplotlib

    turn = [matplotlib.colors.to_hex(matplotlib.colormaps["twilight"](i)) for i in range(256)]
    plots = [
        _map("map", "degrees", "degrees"),
        _map("sky", "degrees to the east", "degrees to the north"),
        _histogram(),
        *(make(scale) for make in (_series, _ranking) for scale in ("linear", "log")),
    ]
    return {plot.name: json_item(plot) for plot in plots} | {
        "palettes": {"linear": list(Viridis256), "cyclic": turn}
    }


def _figure(name: str, x_label: str = "", y_label: str = "", **options: Any) -> Any:
    plot = figure(
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_drag=None,
        active_scroll=None,
        sizing_mode="stretch_width",
        toolbar_location="above",
        name=name,
        **options,
    )
    # Plain texts: what looks like TeX is not, and nothing is loaded for it.
    plot.xaxis.axis_label = PlainText(text=x_label, name="x_label")
    plot.yaxis.axis_label = PlainText(text=y_label, name="y_label")
    plot.xaxis.axis_label_text_font_style = plot.yaxis.axis_label_text_font_style = "normal"
    plot.toolbar.logo = None
    plot.toolbar.autohide = False
    plot.min_border_left = plot.min_border_right = 6
    return plot


def _scaled(name: str, scale: str, height: int, x_label: str = "", y_label: str = "", **options: Any) -> Any:
    """Make a figure with ranges that a page sets, and thresholds, and an axis of y that may be of powers."""
    ranges = {
        "x_range": Range1d(start=0, end=1, name="x_range"),
        "y_range": Range1d(start=0.5 if scale == "log" else 0, end=1, name="y_range"),
    }
    plot = _figure(name, x_label, y_label, y_axis_type=scale, height=height, **ranges, **options)
    for bound in ("low", "high"):
        style: Any = {"line_color": _FAIL, "line_width": 2, "line_dash": "dashed", "visible": False}
        dimension: Any = "height" if name == "histogram" else "width"
        plot.add_layout(Span(dimension=dimension, location=0, name=bound, **style))
    return plot


def _source(name: str, columns: str) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns.split()}, name=name)


def _add_tooltips(plot: Any, renderer: Any, name: str = "hover", **options: Any) -> None:
    plot.add_tools(HoverTool(renderers=[renderer], tooltips=_TOOLTIP, name=name, **options))


def _map(name: str, x_label: str, y_label: str) -> Any:
    """Make a map: sources ``tiles``, ``seams`` and ``arrows``, the mapper ``colors``."""
    # Right ascension grows to the left on the sky.
    x_range = DataRange1d(flipped=name == "sky", range_padding=0.16)
    y_range = DataRange1d(range_padding=0.16)
    plot = _figure(name, x_label, y_label, x_range=x_range, y_range=y_range, match_aspect=True, height=460)
    colors = LinearColorMapper(palette=Viridis256, low=0, high=1, nan_color="#b0b0b0", name="colors")
    # Without any tile, a map has no range to begin with.
    tiles = ColumnDataSource({column: [value] for column, value in _NOWHERE.items()}, name="tiles")
    shades = {
        "fill_color": {"field": "value", "transform": colors},
        "hatch_color": "#ffffff",
        "hatch_alpha": 0.55,
        "hatch_scale": 10,
        "nonselection_hatch_alpha": 0.55,
        "nonselection_fill_alpha": 1,
        "nonselection_line_alpha": 1,
    }
    by_tile = {"line_color": "edge", "line_width": "width", "hatch_pattern": "hatch"}
    patches = plot.patches("xs", "ys", source=tiles, name="patches", **by_tile, **shades, **_CHOSEN)
    ends = ("x0", "y0", "x1", "y1")
    seams = _source("seams", "x0 y0 x1 y1 size color text")
    borders = plot.segment(*ends, source=seams, line_color="color", line_width="size", name="borders")
    arrows = _source("arrows", "x0 y0 x1 y1 label color")
    plot.segment(*ends, source=arrows, line_color="color", line_width=2)
    middle = {"text": "label", "text_align": "center", "text_baseline": "middle"}
    bold = {"text_color": "color", "text_font_size": "13px", "text_font_style": "bold", "y_offset": -2}
    plot.text("x1", "y1", source=arrows, **middle, **bold)
    box = {"background_fill_color": "#000000", "background_fill_alpha": 0.5, "border_radius": 3, "padding": 2}
    small = {"text_font_size": "11px", "text_color": "#ffffff"}
    labels = plot.text("x", "y", source=tiles, name="labels", **middle, **small, **box)
    labels.nonselection_glyph = labels.glyph
    _add_tooltips(plot, patches)
    _add_tooltips(plot, borders, "seam_hover", line_policy="interp")
    plot.add_tools(TapTool(renderers=[patches]))
    plot.x_range.renderers = plot.y_range.renderers = [patches]
    plot.add_layout(ColorBar(color_mapper=colors, width=12, padding=6, label_standoff=6, name="bar"), "right")
    # The bar's own title would take as much room as it is long.
    plot.add_layout(Title(text="", align="center", text_font_size="12px", name="bar_label"), "right")
    return plot


def _series(scale: str) -> Any:
    """Make a time series by night: sources ``cells`` (x in ms since 1970) and ``lines``."""
    plot = _scaled(_name("series", scale), scale, 340, "night", x_axis_type="datetime")
    lines = _source("lines", "xs ys color")
    plot.multi_line("xs", "ys", source=lines, line_color="color", line_width=1.5, line_alpha=0.6)
    style: Any = {"source": _source("cells", "x median low high min max color marker text")}
    style["line_color"] = "color"
    plot.segment("x", "min", "x", "max", line_alpha=0.45, line_width=1, **style)
    plot.segment("x", "low", "x", "high", line_alpha=0.55, line_width=5, name="whiskers", **style)
    marks: Any = {"marker": "marker", "size": 9, "fill_color": "color", "name": "medians"}
    _add_tooltips(plot, plot.scatter("x", "median", **marks, **style))
    plot.xaxis.formatter = DatetimeTickFormatter(
        hours="%d %b %H:00", days="%d %b %Y", months="%b %Y", years="%Y", boundary_scaling=False
    )
    plot.xaxis.ticker.desired_num_ticks = 5
    return plot


def _histogram() -> Any:
    """Make a histogram: the source is ``bins``."""
    plot = _scaled("histogram", "log", 340, y_label="rows")
    bins = _source("bins", "left right all failing text")
    style: Any = {"left": "left", "right": "right", "bottom": 0.5, "source": bins, "line_width": 0}
    every = plot.quad(top="all", color=_PASS, alpha=0.65, name="every", **style)
    hatch = {"hatch_pattern": "right_diagonal_line", "hatch_color": "#ffffff", "hatch_scale": 6}
    plot.quad(top="failing", color=_FAIL, alpha=0.9, hatch_alpha=0.5, name="failing", **hatch, **style)
    _add_tooltips(plot, every)
    return plot


def _ranking(scale: str) -> Any:
    """Make a plot of a value by tile: the source is ``points``."""
    plot = _scaled(_name("ranking", scale), scale, 460)
    style: Any = {
        "marker": "marker",
        "color": "color",
        "size": 9,
        "line_width": 2.5,
        "nonselection_alpha": 0.8,
    }
    dots = plot.scatter("x", "y", source=_source("points", "x y color marker text"), **style, **_CHOSEN)
    _add_tooltips(plot, dots)
    plot.add_tools(TapTool(renderers=[dots]))
    return plot


def _name(name: str, scale: str) -> str:
    return name if scale == "linear" else f"{name}-{scale}"
