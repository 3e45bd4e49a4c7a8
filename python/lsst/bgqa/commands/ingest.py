# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("ingest",)

import click

from ..errors import plain

_MODES = ("auto", "copy", "move", "link", "hardlink", "symlink", "direct")


@click.command
@click.argument("repo")
@click.argument("manifest")
@click.option("--run", default="bgqa/ingested", show_default=True, help="RUN collection for the files.")
@click.option(
    "--dataset-type", default="calexpBackground", show_default=True, help="Dataset type of the files."
)
@click.option(
    "-t",
    "--transfer",
    type=click.Choice(_MODES),
    default="copy",
    show_default=True,
    help="How to bring the files into the repository.",
)
@click.option("--check/--no-check", default=True, show_default=True, help="First read every file.")
def ingest(repo: str, manifest: str, run: str, dataset_type: str, transfer: str, check: bool) -> None:
    """Register the background files that MANIFEST lists in REPO.

    MANIFEST is a JSON array with an object for each file: file, instrument,
    visit, detector, band, physical_filter, width, height, ra_corners_deg and
    dec_corners_deg; optional: day_obs, detector_name, instrument_class.
    If REPO is a local folder that does not exist, it is made.
    """
    from ..standalone.ingest import ingest as ingest_files
    from ._console import make_console, track

    console = make_console()
    with track(console, "Reading files") as progress:
        report = ingest_files(
            repo,
            manifest,
            run=run,
            dataset_type=dataset_type,
            transfer=transfer,
            check=check,
            progress=progress,
        )
    files, visits = _count(report.ingested, "file"), _count(report.visits, "visit")
    known = ""
    if report.already_there:
        known = f" ({report.already_there} {'was' if report.already_there == 1 else 'were'} there already)"
    click.echo(
        plain(
            f"Ingested {files} of {visits} ({', '.join(report.instruments)}) into RUN {report.run} "
            f"of {repo}{known}."
        )
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
