# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("discover",)

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..discovery import FoundBackground

_MAX_COLLECTIONS = 4


@click.command
@click.argument("repo")
@click.argument("collections", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def discover(repo: str, collections: tuple[str, ...], as_json: bool) -> None:
    """List the backgrounds in REPO, and how to judge them.

    Look in COLLECTIONS (names or glob patterns; by default all). Print every
    dataset type that is a background, or an image with backgrounds, with the
    pipeline that judges it and the command to run. Only the registry is read,
    no files.
    """
    from ..discovery import discover as search

    names = [name for part in collections for name in part.split(",") if name]
    found = search(repo, names)
    if as_json:
        click.echo(json.dumps([_as_json(item, repo) for item in found], indent=2))
        return
    _print(found, repo)


def _as_json(item: FoundBackground, repo: str) -> dict[str, Any]:
    return {
        "dataset_type": item.name,
        "storage_class": item.storage_class,
        "dimensions": list(item.dimensions),
        "count": item.count,
        "bands": dict(item.bands),
        "collections": dict(item.collections),
        "pipeline": None if item.target is None else item.target.location,
        "command": item.command(repo),
    }


def _print(found: list[FoundBackground], repo: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    from .. import stack
    from ._console import make_console, print_table

    console = make_console()
    if not found:
        console.print("No background here.")
        return
    table = Table(header_style="bold")
    table.add_column("dataset type", no_wrap=True)
    table.add_column("storage class", no_wrap=True)
    table.add_column("dimensions")
    table.add_column("datasets", justify="right", no_wrap=True)
    table.add_column("by band", no_wrap=True)
    table.add_column("by collection", no_wrap=True)
    for item in found:
        table.add_row(
            escape(item.name),
            item.storage_class,
            ", ".join(item.dimensions),
            str(item.count),
            _counts(item.bands),
            escape(_counts(item.collections, _MAX_COLLECTIONS)),
        )
    print_table(console, table)
    if any(item.remote for item in found):
        console.print()
        console.print(
            f"{escape(repo)} is read through a server (RemoteButler), where no quanta run: pipetask and bps "
            "need a direct repository. From here one can read: Butler.get with "
            "lsst.bgqa.measure_background, bgqa report and bgqa export.",
            soft_wrap=True,
        )
    elif not stack.have_afw():
        console.print()
        console.print("Without the Science Pipelines, first set up this shell:")
        console.print('  eval "$(bgqa env)"', soft_wrap=True)
    for item in found:
        console.print()
        command = item.command(repo)
        if item.remote and item.target is not None:
            console.print(
                f"[bold]{escape(item.name)}[/bold] is judged by {escape(item.target.pipeline)}.",
                soft_wrap=True,
            )
        elif command is None:
            console.print(f"[bold]{escape(item.name)}[/bold]: no pipeline judges it.", soft_wrap=True)
        else:
            assert item.target is not None
            console.print(
                f"[bold]{escape(item.name)}[/bold] is judged by {escape(item.target.pipeline)}:",
                soft_wrap=True,
            )
            console.print(f"  {escape(command)}", soft_wrap=True)
            if item.omitted:
                console.print(
                    f"  ({item.omitted} more collections have some: name those that you mean, or a chain.)",
                    soft_wrap=True,
                )


def _counts(counts: Mapping[str, int], most: int = 100) -> str:
    lines = [f"{name}: {count}" for name, count in list(counts.items())[:most]]
    if len(counts) > most:
        rest = sum(list(counts.values())[most:])
        lines.append(f"{len(counts) - most} more: {rest}")
    return "\n".join(lines)
