# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""HTML for what notebooks show of objects."""

from __future__ import annotations

__all__ = ("beside", "picture", "table", "verdict")

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

# As in reports: told apart by the colour-blind, and without colour by the sign.
_SIGNS = {"pass": ("✓", "#0072B2"), "fail": ("✕", "#D55E00")}

# Jupyter aligns to the right, and sites in the middle.
_TABLE, _CELL = 'style="margin: 0"', 'style="text-align: left; padding: 0.1em 1em 0.1em 0"'


class Markup(str):
    """Text that is HTML already."""


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; cells are escaped unless they are `Markup`."""
    lines = [f"<table {_TABLE}><thead><tr>"]
    lines += [f"<th {_CELL}>{escape(name)}</th>" for name in header]
    lines.append("</tr></thead><tbody>")
    for row in rows:
        cells = (cell if isinstance(cell, Markup) else escape(str(cell)) for cell in row)
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return "".join([*lines, "</tbody></table>"])


def verdict(word: str) -> Markup:
    """Return a verdict as reports show it."""
    if word not in _SIGNS:
        return Markup("")
    sign, color = _SIGNS[word]
    return Markup(f'<b style="color: {color}">{sign}&nbsp;{word}</b>')


def picture(values: np.ndarray, what: str) -> str:
    """Return a picture of an array, its first row at the bottom."""
    from matplotlib.image import imsave

    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    stream = io.BytesIO()
    imsave(stream, values, vmin=low, vmax=max(high, np.nextafter(low, np.inf)), origin="lower", format="png")
    data = base64.b64encode(stream.getvalue()).decode()
    height, width = values.shape
    scale = 180 / max(height, width)
    return (
        f'<img alt="{escape(what)}" src="data:image/png;base64,{data}" width="{round(width * scale)}" '
        f'height="{round(height * scale)}" style="image-rendering: pixelated">'
    )


def beside(*parts: str) -> str:
    """Return parts that stand side by side, where there is room."""
    inner = "".join(f"<div>{part}</div>" for part in parts)
    return f'<div style="display: flex; flex-wrap: wrap; gap: 1em; align-items: flex-start">{inner}</div>'
