# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("metrics",)

import json

import click


@click.command
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "json", "metricInformation"]),
    default="table",
    show_default=True,
    help="Output format; metricInformation is the file of thresholds that analysis_tools reads.",
)
@click.option(
    "--visit-background",
    default="calexpBackground",
    show_default=True,
    help="For metricInformation: type of the visits' backgrounds.",
)
@click.option(
    "--coadd-background",
    default="deepCoadd_calexp_background",
    show_default=True,
    help="For metricInformation: type of the coadds' backgrounds.",
)
@click.option(
    "--visit-image",
    default="calexp",
    show_default=True,
    help="For metricInformation: type of the visits' images.",
)
def metrics(form: str, visit_background: str, coadd_background: str, visit_image: str) -> None:
    """List the metrics: names, units, thresholds and meanings."""
    from ..metrics import load_catalogue
    from ..metrics.information import metric_information

    catalogue = load_catalogue()
    if form == "markdown":
        click.echo(catalogue.to_markdown(), nl=False)
    elif form == "json":
        rows = [
            {**row, **{bound: float(row[bound]) if row[bound] else None for bound in ("low", "high")}}
            for row in catalogue.rows()
        ]
        click.echo(json.dumps(rows, indent=1))
    elif form == "metricInformation":
        click.echo(metric_information(catalogue, visit_background, coadd_background, visit_image), nl=False)
    else:
        from rich.table import Table

        from ._console import make_console, print_table

        table = Table("metric", "unit", "low", "high", "meaning", header_style="bold", box=None)
        for column in table.columns[:-1]:
            column.no_wrap = True
        for row in catalogue.rows():
            table.add_row(row["metric"], row["unit"], row["low"], row["high"], row["description"])
        print_table(make_console(), table)
