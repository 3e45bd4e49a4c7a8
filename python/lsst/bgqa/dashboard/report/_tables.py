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

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape

from ._aggregate import WorstValue


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    label : `str`
        Its heading.
    number : `bool`
        Whether it holds numbers.
    metric : `bool`
        Whether it shows the metric that is chosen.
    wrap : `bool`
        Whether its text may be broken into lines.
    """

    label: str
    number: bool = False
    metric: bool = False
    wrap: bool = False


@dataclass(frozen=True)
class Copy:
    """A button that copies a text.

    Attributes
    ----------
    text, what : `str`
        The text, and what it is.
    shown : `bool`
        Whether the text stands beside the button; else what it is does.
    """

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
    """A cell of a table.

    Attributes
    ----------
    text : `str`
        What it shows.
    value : `float`, `int` or `None`
        What to sort by, if not the text.
    href : `str`
        Where it leads to.
    soft : `str`
        What follows, in a softer colour.
    verdict, choose : `bool`
        Whether it is a verdict; whether it chooses its row's place.
    links : `~collections.abc.Sequence` [`tuple` [`str`, `str`]]
        Labels and targets of links that it shows.
    copies : `~collections.abc.Sequence` [`Copy`]
        Buttons that copy.
    """

    text: str = ""
    value: float | int | None = None
    href: str = ""
    soft: str = ""
    verdict: bool = False
    choose: bool = False
    links: Sequence[tuple[str, str]] = ()
    copies: Sequence[Copy] = ()

    def html(self, column: Column, first: bool) -> str:
        """Write the cell.

        Parameters
        ----------
        column : `Column`
            Its column.
        first : `bool`
            Whether it heads its row.

        Returns
        -------
        html : `str`
            The element; every text is escaped.
        """
        text = str(escape(self.text))
        if self.verdict:
            text = f'<span class="verdict {text}">{text}</span>'
        elif self.choose:
            text = f'<button class="link choose" type="button">{text}</button>'
        elif self.href:
            text = f'<a href="{escape(self.href)}">{text}</a>'
        if self.links:
            text += ", ".join(f'<a href="{escape(href)}">{escape(label)}</a>' for label, href in self.links)
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
    """A row of a table.

    Attributes
    ----------
    cells : `list` [`Cell`]
        Its cells.
    verdict, anchor : `str`
        What the row amounts to, and what a link to it ends with.
    place : `int` or `None`
        Number of the place in the figures that it is of.
    """

    cells: list[Cell]
    verdict: str = ""
    anchor: str = ""
    place: int | None = None


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    id, title : `str`
        Its identifier in the page and its title.
    columns : `list` [`Column`]
        Its columns.
    rows : `list` [`Row`]
        Its rows.
    filter, verdicts : `bool`
        Whether rows can be filtered, and by verdict.
    tall : `bool`
        Whether it scrolls in a box of its own.
    note : `str`
        What to know about it.
    """

    id: str
    title: str
    columns: list[Column]
    rows: list[Row] = field(default_factory=list)
    filter: bool = True
    verdicts: bool = False
    tall: bool = False
    note: str = ""

    def body(self) -> Markup:
        """Write the rows (`markupsafe.Markup`).

        A template would do, but tables are most of a report.
        """
        lines = []
        for row in self.rows:
            attributes = f' id="{escape(row.anchor)}"' if row.anchor else ""
            if row.verdict:
                attributes += f' data-verdict="{escape(row.verdict)}"'
            if row.place is not None:
                attributes += f' data-place="{row.place}"'
            cells = [
                cell.html(column, i == 0)
                for i, (column, cell) in enumerate(zip(self.columns, row.cells, strict=True))
            ]
            lines.append(f"<tr{attributes}>{''.join(cells)}</tr>")
        return Markup("\n".join(lines))


def band_order(band: str) -> tuple[int, str]:
    """Return what to sort a band by.

    Parameters
    ----------
    band : `str`
        The band.

    Returns
    -------
    key : `tuple` [`int`, `str`]
        Rubin's bands come first, in the order of their wavelengths.
    """
    number_ = "ugrizy".find(band) if len(band) == 1 else -1
    return (number_ if number_ >= 0 else 6), band


def number(value: float | None, unit: str = "") -> str:
    """Write a number.

    Parameters
    ----------
    value : `float` or `None`
        The number.
    unit : `str`, optional
        Its unit.

    Returns
    -------
    text : `str`
        Four digits, or all of a whole number, and the unit; empty without a
        number.
    """
    if value is None or math.isnan(value):
        return ""
    text = f"{value:.0f}" if abs(value) < 1e9 and value == int(value) else f"{value:.4g}"
    return f"{text} {unit}".strip()


def count(value: int, word: str, plural: str = "") -> str:
    """Write how many there are of something.

    Parameters
    ----------
    value : `int`
        How many.
    word, plural : `str`
        What, of one and of more (by default with an s).

    Returns
    -------
    text : `str`
        Such as ``"1,234 visits"``.
    """
    return f"{value:,} {word if value == 1 else plural or word + 's'}"


def share(part: int, whole: int) -> str:
    """Write a share in percent.

    Parameters
    ----------
    part, whole : `int`
        Of which the quotient is taken.

    Returns
    -------
    text : `str`
        The share; a dash of nothing. What is not all does not read 100%,
        and what is not nothing not 0%.
    """
    if not whole:
        return "-"
    if 0 < part < 0.001 * whole:
        return "< 0.1%"
    if 0.999 * whole < part < whole:
        return "> 99.9%"
    return f"{100 * part / whole:.1f}%"


def show_worst(worst: WorstValue | None, units: dict[str, str]) -> tuple[Cell, Cell, Cell]:
    """Show the value for which something fails most.

    Parameters
    ----------
    worst : `WorstValue` or `None`
        The value.
    units : `dict` [`str`, `str`]
        Units of the metrics.

    Returns
    -------
    metric, value, severity : `Cell`
        The cells.
    """
    if worst is None:
        return Cell(), Cell(), Cell()
    low, high = number(worst.low), number(worst.high)
    if low and high:
        passes = f"({low} to {high})"
    elif low or high:
        passes = f"(\u2265 {low})" if low else f"(\u2264 {high})"
    else:
        passes = ""
    return (
        Cell(worst.metric, soft=worst.words),
        Cell(number(worst.value, units.get(worst.metric, "")), _finite(worst.value), soft=passes),
        Cell(number(worst.severity), _finite(worst.severity)),
    )


def slug(text: Any) -> str:
    """Make a name for a file or an anchor.

    Parameters
    ----------
    text : `object`
        What it is of, such as a name from a repository.

    Returns
    -------
    name : `str`
        Letters, digits, dots, dashes and underscores, the same for the same
        text and another for another.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", str(text)).strip("-")[:60]
    if name != str(text):
        # What was replaced must not make two of them the same.
        name += "-" + hashlib.sha256(str(text).encode()).hexdigest()[:8]
    return name


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
