# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("export",)

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING

import click

from ..errors import UserError

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

    from ..dashboard import Campaign, CampaignTable
    from ..dashboard.influx import InfluxServer

_KINDS = ("detector", "visit", "stack", "patch", "tract")


@click.command
@click.argument("repo")
@click.argument("collection")
@click.option(
    "--format",
    "form",
    type=click.Choice(["parquet", "csv", "influx"]),
    required=True,
    help="A table with one row per value, or InfluxDB's line protocol.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="File or URI to write. Without it, or with -, csv and influx go to standard output.",
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(_KINDS),
    multiple=True,
    help="Export only these rows (may be repeated); by default all.",
)
@click.option("--url", help="Post to this InfluxDB 1.x server, such as http://HOST:8086.")
@click.option("--database", default="lsst.dm", show_default=True, help="Database to post to.")
@click.option("--retention-policy", help="Retention policy to post to; by default the database's own.")
@click.option(
    "--user",
    envvar="INFLUX_USERNAME",
    help="User name; set the password in INFLUX_PASSWORD. Without a user, set a token in INFLUX_TOKEN.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=6,
    show_default=True,
    help="How often to try again if the server does not answer, after 0.5 s, 1 s, 2 s and so on.",
)
@click.option(
    "--namespace",
    default="lsst.dm",
    show_default=True,
    help="Beginning of the measurements' names: a Sasquatch namespace.",
)
def export(
    repo: str,
    collection: str,
    form: str,
    output: str | None,
    kinds: tuple[str, ...],
    url: str | None,
    database: str,
    retention_policy: str | None,
    user: str | None,
    retries: int,
    namespace: str,
) -> None:
    """Export the metrics in COLLECTION of REPO.

    Write every value of every detector, visit, stack, patch and tract, with its
    data ID, unit and verdict. The output is streamed: a survey needs no more
    memory than a night.
    """
    if url is not None and form != "influx":
        raise click.UsageError("--url goes with --format influx")
    to_output = output == "-"
    if form == "parquet" and (output is None or to_output):
        raise click.UsageError("Parquet is no text; name a file with -o")
    from ..dashboard import Campaign
    from ..dashboard.export import export_points, export_table
    from ._console import make_console, track

    # That pandas is not installed is no news here.
    logging.getLogger("lsst.daf.butler._storage_class").setLevel(logging.ERROR)
    # Standard output may be the file.
    console = make_console(stderr=True)
    with Campaign(repo, collection) as campaign:
        tables = [table for table in campaign.tables if not kinds or table.kind in kinds]
        if not tables:
            raise UserError(f"{collection} has no metrics of the kind {' or '.join(kinds)}")
        with contextlib.ExitStack() as stack:
            sink = None
            if url is None or output is not None:
                sink = stack.enter_context(_open(None if to_output else output))
            server = None
            if url is not None:
                server = stack.enter_context(_server(url, database, retention_policy, user, retries))
            progress = stack.enter_context(track(console, "Exporting"))
            if form == "influx":
                count = export_points(campaign, tables, _writers(sink, server), namespace, progress)
            else:
                assert sink is not None
                count = export_table(campaign, tables, form, sink, progress)
        places = [output] if output is not None and not to_output else []
        if not places and url is None:
            places = ["standard output"]
        places += [f"{url}, database {database}"] if url is not None else []
        what = "points" if form == "influx" else "values"
        _tell(console, campaign, tables, f"{count} {what}", places)


@contextlib.contextmanager
def _open(output: str | None) -> Iterator[IO[bytes]]:
    from ..dashboard._output import output_file

    if output is None:
        stream = sys.stdout.buffer
        yield stream
        stream.flush()
    else:
        with output_file(output) as file:
            yield file


def _server(
    url: str, database: str, retention_policy: str | None, user: str | None, retries: int
) -> InfluxServer:
    from ..dashboard.influx import InfluxServer

    return InfluxServer(
        url,
        database,
        retention_policy=retention_policy,
        user=user,
        password=os.environ.get("INFLUX_PASSWORD"),
        token=os.environ.get("INFLUX_TOKEN"),
        retries=retries,
    )


def _writers(sink: IO[bytes] | None, server: InfluxServer | None) -> list[Callable[[pl.Series], None]]:
    writers: list[Callable[[pl.Series], None]] = []
    if sink is not None:
        writers.append(
            lambda lines: lines.to_frame().write_csv(sink, include_header=False, quote_style="never")
        )
    if server is not None:
        writers.append(server.write)
    return writers


def _tell(
    console: Console, campaign: Campaign, tables: Sequence[CampaignTable], count: str, places: list[str]
) -> None:
    """Say what was exported, and what was not."""
    from rich.markup import escape

    for place in places:
        names = ", ".join(f"{table.name} ({table.kind}, {table.root})" for table in tables)
        console.print(escape(f"{count} of {names}: {place}"), soft_wrap=True)
    for table in tables:
        if table.not_gathered:
            console.print(
                escape(
                    f"{table.name} ({table.kind}, {table.root}): {table.dataset_types[0]} lacks "
                    f"{table.not_gathered} of the backgrounds with metrics; gather them again"
                ),
                soft_wrap=True,
            )
    unreadable = campaign.unreadable.count + sum(table.unreadable.count for table in tables)
    if unreadable:
        noun = "dataset" if unreadable == 1 else "datasets"
        console.print(f"[bold]{unreadable} {noun} could not be read, see the warnings[/bold]", soft_wrap=True)
