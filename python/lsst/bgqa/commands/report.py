# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("report",)

from pathlib import Path

import click

from ._paths import LocalPath


@click.command
@click.argument("repo")
@click.argument("collection")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=LocalPath(),
    required=True,
    help="Folder for the report; a report that is there is replaced.",
)
@click.option(
    "--detail",
    type=click.Choice(["flagged", "all", "none"]),
    default="flagged",
    show_default=True,
    help="Which visits and tracts get a page of their own: those with a failure, all or none.",
)
def report(repo: str, collection: str, output: Path, detail: str) -> None:
    """Make a report of the metrics in COLLECTION of REPO.

    The report is a folder of pages that open from disk, without a network:
    index.html in it is the overview. COLLECTION may be several, with commas,
    such as those of the metrics and of the pictures.
    """
    from rich.markup import escape

    from ..dashboard.report import make_report
    from ._console import make_console, track

    console = make_console()
    path = make_report(
        repo,
        collection,
        output,
        detail=detail,  # type: ignore[arg-type]
        progress=lambda what: track(console, escape(what)),
    )
    console.print(f"Report: {escape(str(path))}", soft_wrap=True)
