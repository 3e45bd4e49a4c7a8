# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Tables as a page shows them, and how numbers are written."""

from __future__ import annotations

__all__ = ("Cell", "Column", "Row", "Table", "count", "number", "share", "show_worst", "slug")

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
    copies : `~collections.abc.Sequence` [`tuple` [`str`, `str`, `str`]]
        Buttons that copy: text before, what is copied, and what that is.
    """

    text: str = ""
    value: float | int | None = None
    href: str = ""
    soft: str = ""
    verdict: bool = False
    choose: bool = False
    links: Sequence[tuple[str, str]] = ()
    copies: Sequence[tuple[str, str, str]] = ()


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
        Cell(worst.metric),
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
