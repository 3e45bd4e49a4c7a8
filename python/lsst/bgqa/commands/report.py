# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("report",)

import datetime
from pathlib import Path
from typing import Any

import click

from ._paths import LocalPath


class _Night(click.ParamType):
    """A night, as 20261231 or 2026-12-31, or the newest."""

    name = "night"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).replace("-", "")
        if text in ("newest", str(NEWEST)):
            return NEWEST
        try:
            return int(datetime.datetime.strptime(text, "%Y%m%d").strftime("%Y%m%d"))
        except ValueError:
            self.fail(f"{value} is no night, such as 20261231 or newest", param, ctx)


NEWEST = -1
NIGHT = _Night()
_NO_END = 99999999


@click.command
@click.argument("repo")
@click.argument("collection")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=LocalPath(),
    required=True,
    help="Folder for the report; replaces a report that is there.",
)
@click.option(
    "--detail",
    type=click.Choice(["flagged", "all", "none"]),
    default="flagged",
    show_default=True,
    help="Which visits and tracts get their own page: the 500 worst with a failure, all, or none.",
)
@click.option("--since", metavar="NIGHT", type=NIGHT, help="First night to report on, YYYYMMDD.")
@click.option("--night", metavar="NIGHT", type=NIGHT, help="The only night to report on, YYYYMMDD or newest.")
def report(
    repo: str, collection: str, output: Path, detail: str, since: int | None, night: int | None
) -> None:
    """Make a report of the metrics in COLLECTION of REPO.

    The report is a folder of web pages that open from disk, without a network;
    begin with index.html. COLLECTION may be several, separated by commas, such
    as those of the metrics and of the pictures.
    """
    if since is not None and night is not None:
        raise click.UsageError("--since and --night exclude each other")
    nights = (since, _NO_END) if since is not None else (night, night) if night is not None else None
    from rich.markup import escape

    from ..dashboard.report import make_report
    from ._console import make_console, track

    console = make_console()
    path = make_report(
        repo,
        collection,
        output,
        detail=detail,  # type: ignore[arg-type]
        nights=nights,
        progress=lambda what: track(console, escape(what)),
    )
    console.print(f"Report: {escape(str(path))}", soft_wrap=True)
