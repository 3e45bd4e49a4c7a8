# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("make_console", "track")

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_LOG_WIDTH = 110


def make_console() -> Console:
    """Make the console that commands print to.

    Returns
    -------
    console : `rich.console.Console`
        Standard output: coloured and as wide as the window on a terminal,
        plain and 110 columns wide in a log.
    """
    console = Console(soft_wrap=False, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=_LOG_WIDTH, highlight=False)
    return console


@contextmanager
def track(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal, and nothing in a log.

    Parameters
    ----------
    console : `rich.console.Console`
        Where to show it.
    what : `str`
        What is going on.

    Yields
    ------
    advance : `~collections.abc.Callable`
        To be called with how much is done, and how much there is.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
