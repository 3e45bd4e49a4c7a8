# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Tables as a page shows them, and how numbers are written."""

from __future__ import annotations

__all__ = (
    "Cell",
    "Column",
    "Copy",
    "Row",
    "Table",
    "band_order",
    "count",
    "number",
    "share",
    "show_worst",
    "slug",
)

import functools
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape

from ..queries import WorstValue


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    label: str
    number: bool = False
    metric: bool = False
    wrap: bool = False


@dataclass(frozen=True)
class Copy:
    """A button that copies a text."""

    text: str
    what: str
    shown: bool = True

    def html(self) -> str:
        """Write the button (`str`)."""
        text, what = escape(self.text), escape(self.what)
        before = f'<span class="mono">{text}</span>' if self.shown else ""
        label = "copy" if self.shown else f"copy {what}"
        return (
            f'{before}<button class="copy" type="button" data-copy="{text}" data-what="{what}" '
            f'aria-label="Copy {what}">{label}</button>'
        )


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str = ""
    value: float | int | None = None
    href: str = ""
    soft: str = ""
    verdict: bool = False
    choose: bool = False
    links: Sequence[tuple[str, str]] = ()
    copies: Sequence[Copy] = ()

    def html(self, column: Column, first: bool) -> str:
        """Write the cell."""
        text = str(escape(self.text))
        if self.verdict:
            text = f'<span class="verdict {text}">{text}</span>'
        elif self.choose:
            text = f'<button class="link choose" type="button">{text}</button>'
        elif self.href:
            text = f'<a href="{escape(self.href)}">{text}</a>'
        if self.links:
            # A picture that might run scripts, as SVG may, is not opened.
            text += ", ".join(
                escape(label) if href.endswith(".svg") else f'<a href="{escape(href)}">{escape(label)}</a>'
                for label, href in self.links
            )
        for copy in self.copies:
            text += copy.html()
        if self.soft:
            text += f' <span class="soft">{escape(self.soft)}</span>'
        kind = "number" if column.number else "ids" if self.copies else "wrap" if column.wrap else ""
        attributes = f' class="{kind}"' if kind else ""
        if self.value is not None:
            attributes += f' data-value="{self.value}"'
        return f'<th scope="row"{attributes}>{text}</th>' if first else f"<td{attributes}>{text}</td>"


@dataclass(frozen=True)
class Row:
    """A row of a table; ``tile`` is the number of that in the figures that it is of."""

    cells: list[Cell]
    verdict: str = ""
    anchor: str = ""
    tile: int | None = None


@dataclass(frozen=True)
class Table:
    """A table."""

    id: str
    title: str
    columns: list[Column]
    rows: list[Row] = field(default_factory=list)
    filter: bool = True
    verdicts: bool = False
    tall: bool = False
    note: str = ""

    def body(self) -> Markup:
        """Write the rows (`markupsafe.Markup`)."""
        lines = []
        for row in self.rows:
            attributes = f' id="{escape(row.anchor)}"' if row.anchor else ""
            if row.verdict:
                attributes += f' data-verdict="{escape(row.verdict)}"'
            if row.tile is not None:
                attributes += f' data-tile="{row.tile}"'
            cells = [
                cell.html(column, i == 0)
                for i, (column, cell) in enumerate(zip(self.columns, row.cells, strict=True))
            ]
            lines.append(f"<tr{attributes}>{''.join(cells)}</tr>")
        return Markup("\n".join(lines))


def band_order(band: str) -> tuple[int, str]:
    """Return what to sort a band by."""
    number_ = "ugrizy".find(band) if len(band) == 1 else -1
    return (number_ if number_ >= 0 else 6), band


def number(value: float | None, unit: str = "") -> str:
    """Write a number."""
    if value is None or math.isnan(value):
        return ""
    text = f"{value:.0f}" if abs(value) < 1e9 and value == int(value) else f"{value:.4g}"
    return f"{text} {unit}".strip()


def count(value: int, word: str, plural: str = "") -> str:
    """Write how many there are of something."""
    return f"{value:,} {word if value == 1 else plural or word + 's'}"


def share(part: int, whole: int) -> str:
    """Write a share in percent."""
    if not whole:
        return "-"
    if 0 < part < 0.001 * whole:
        return "< 0.1%"
    if 0.999 * whole < part < whole:
        return "> 99.9%"
    return f"{100 * part / whole:.1f}%"


def show_worst(worst: WorstValue | None, units: dict[str, str]) -> tuple[Cell, Cell, Cell]:
    """Show the value for which something fails most: the metric, the value, and how severe that is."""
    if worst is None:
        return Cell(), Cell(), Cell()
    low, high = number(worst.low), number(worst.high)
    passes = f"({low} to {high})" if low and high else ""
    if not passes and (low or high):
        passes = f"(\u2265 {low})" if low else f"(\u2264 {high})"
    return (
        Cell(worst.metric, soft=worst.words),
        Cell(number(worst.value, units.get(worst.metric, "")), _finite(worst.value), soft=passes),
        Cell(number(worst.severity), _finite(worst.severity)),
    )


@functools.lru_cache(4096)
def slug(text: Any) -> str:
    """Make a name for a file or an anchor."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", str(text)).strip("-")[:60]
    if name != str(text):
        # What was replaced must not make two of them the same.
        name += "-" + hashlib.sha256(str(text).encode()).hexdigest()[:8]
    return name


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
