# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("requirement", "requirement_table")

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from ..dashboard.requirement import BandPrecision


@click.command
@click.argument("repo")
@click.argument("collection")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def requirement(repo: str, collection: str, as_json: bool) -> None:
    """Verify the sky brightness precision (OSS-REQ-0387) in COLLECTION of REPO.

    Print for each band in how many images the error of the sky brightness and
    its scatter are within 1 percent. COLLECTION has the output of the
    pipeline's subset residual.
    """
    from rich.console import Console

    from ..dashboard import Campaign
    from ..dashboard.requirement import has_precision, sky_brightness_precision
    from ._console import make_console, print_table, track

    # That pandas is not installed is no news here.
    logging.getLogger("lsst.daf.butler._storage_class").setLevel(logging.ERROR)
    with Campaign(repo, collection) as campaign:
        tables = [table for table in campaign.tables if has_precision(table)]
        if not tables:
            raise UserError(
                f"{collection} has no metrics of the residual sky in images; run the pipeline's subset "
                "residual"
            )
        bands = []
        for table in tables:
            with track(Console(stderr=True), "Reading") as progress:
                bands += sky_brightness_precision(table, progress)
    if as_json:
        click.echo(json.dumps([band.row for band in bands], indent=1, allow_nan=False))
        return
    print_table(make_console(), requirement_table(bands))


def requirement_table(bands: Sequence[BandPrecision]) -> Table:
    """Show how well the sky was determined, band by band."""
    from rich.table import Table

    table = Table(
        title=f"Sky brightness precision (OSS-REQ-0387: at most {bands[0].limit:.0%})",
        title_justify="left",
        header_style="bold",
        caption="Median, 95th percentile and greatest of each, as fractions of the sky.",
        caption_justify="left",
    )
    for name in ("images", "band", "verdict"):
        table.add_column(name, no_wrap=True)
    for name in ("known", "met", "unknown", "error", "scatter"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("worst")
    for band in bands:
        style = {"pass": "green", "fail": "red"}.get(band.verdict)
        table.add_row(
            f"{band.dataset.removesuffix('_residual')}, {band.root}",
            band.band,
            band.verdict,
            *(str(count) for count in (band.count, band.met, band.unknown)),
            *(
                " ".join("-" if value != value else f"{value:.2%}" for value in values)
                for values in (band.error, band.scatter)
            ),
            band.worst,
            style=style,
        )
    return table
