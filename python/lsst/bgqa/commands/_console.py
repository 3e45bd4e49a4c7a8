# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("make_console", "print_table", "track")

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ..errors import plain

_LOG_WIDTH = 110
_LEAST_WIDTH = 40
_WIDEST = 1000


def make_console(stderr: bool = False) -> Console:
    """Make the console that commands print to.

    It is coloured and as wide as the window on a terminal, plain and 110 columns
    wide in a log. Control characters in texts are not printed.
    """
    console = _PlainConsole(stderr=stderr, soft_wrap=False, highlight=False)
    # A width that some shells set by mistake is none.
    given = os.environ.get("COLUMNS", "")
    narrow = given.isdecimal() and int(given) < _LEAST_WIDTH
    if narrow or (not console.is_terminal and not given):
        console = _PlainConsole(stderr=stderr, width=_LOG_WIDTH, highlight=False)
    return console


class _PlainConsole(Console):
    """A console to which texts from elsewhere can do nothing."""

    def render_str(self, text: str, **kwargs: Any) -> Text:  # type: ignore[override]
        return super().render_str(plain(text), **kwargs)


def print_table(console: Console, table: Table) -> None:
    """Print a table; columns that do not wrap are never cut, though wider than the window."""
    if not console.is_terminal:
        table.box = None
    window = console.width
    wide = console.options.update(width=_WIDEST)
    least = 1  # the last line
    for column in table.columns:
        widths = [Measurement.get(console, wide, cell).maximum for cell in (column.header, *column.cells)]
        # 3 for the line before a column and the space on either side.
        least += 3 + (max(widths) if column.no_wrap else min(max(widths), _LEAST_WIDTH))
    console.width = max(window, least)
    console.print(table)
    console.width = window


@contextmanager
def track(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal, and nothing in a log.

    It gives a function to be called with how much is done, and how much there is.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
