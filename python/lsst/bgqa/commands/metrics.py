# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("metrics",)

import json

import click


@click.command
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "json"]),
    default="table",
    show_default=True,
    help="How to print them.",
)
def metrics(form: str) -> None:
    """List the metrics: names, units, thresholds and meanings."""
    from ..metrics import load_catalogue

    catalogue = load_catalogue()
    if form == "markdown":
        click.echo(catalogue.to_markdown(), nl=False)
    elif form == "json":
        click.echo(json.dumps(catalogue.rows(), indent=1))
    else:
        from rich.table import Table

        from ._console import make_console

        table = Table("metric", "unit", "low", "high", "meaning", header_style="bold", box=None)
        for row in catalogue.rows():
            table.add_row(row["metric"], row["unit"], row["low"], row["high"], row["description"])
        make_console().print(table)
