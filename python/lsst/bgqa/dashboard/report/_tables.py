# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Tables as a page shows them, and how numbers are written."""

from __future__ import annotations

__all__ = (
    "Cell",
    "Column",
    "Table",
    "amount",
    "count",
    "number",
    "share",
    "slug",
)

import functools
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """What a cell shows: a text (a verdict, a button that chooses), what it is sorted by, a link."""

    text: str = ""
    value: float | int | None = None
    href: str = ""
    soft: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Column:
    """A column: what it says of a row, as a `Cell`, a text or a count; and how, "number" or "wrap"."""

    label: str
    of: Callable[[Any], Cell | str | int]
    kind: str = ""

    def cell(self, row: Any) -> Cell:
        shown = self.of(row)
        if isinstance(shown, int):
            return Cell(f"{shown:,}", shown)
        return Cell(shown) if isinstance(shown, str) else shown


@dataclass(frozen=True)
class Table:
    """A table; ``attributes`` are those of a row's element."""

    id: str
    title: str
    columns: list[Column]
    rows: Iterable[Any]
    attributes: Callable[[Any], Mapping[str, Any]] = lambda row: {}
    filter: bool = True
    verdicts: bool = False
    tall: bool = False
    note: str = ""


def amount(value: float | None, unit: str = "", soft: str = "") -> Cell:
    """Show a number, by which its cell is sorted."""
    return Cell(number(value, unit), value if value is not None and math.isfinite(value) else None, soft=soft)


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


@functools.lru_cache(4096)
def slug(text: Any) -> str:
    """Make a name for a file or an anchor."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", str(text)).strip("-")[:60]
    if name != str(text):
        # What was replaced must not make two of them the same.
        name += "-" + hashlib.sha256(str(text).encode()).hexdigest()[:8]
    return name
