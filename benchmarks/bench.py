# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Measure how fast bgqa is, as ratios within one run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# One core, and no threads but one: set before numpy loads its libraries.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import click
from export import export
from growth import growth
from kernel import kernel, render
from quantum import imports, quantum
from report import report
from residual import residual
from rich.console import Console
from rich.table import Table

_PARTS: dict[str, tuple[str, Callable[[int], list[dict[str, Any]]]]] = {
    "kernel": ("The notebook's recipe against measure_background", kernel),
    "render": ("scipy's separable Akima against render", render),
    "growth": ("Growth of measure_background", growth),
    "export": ("Exports of a campaign against reading its table", export),
    "imports": ("What importing the tasks adds to pipetask", imports),
    "residual": ("An image read, and the sky left in it measured", residual),
    "report": ("A report against reading its rows", report),
    "quantum": ("A quantum under pipetask against one that measures nothing", quantum),
}


@click.command
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the figures to this file, too.")
@click.option(
    "--repeats", default=7, show_default=True, type=click.IntRange(1), help="How often to time each."
)
@click.argument("parts", nargs=-1, type=click.Choice(list(_PARTS)))
def main(path: Path | None, repeats: int, parts: tuple[str, ...]) -> None:
    """Measure PARTS, by default all. Times are medians, on one core."""
    console = Console(width=None if Console().is_terminal else 120)
    results = {}
    for name in parts or _PARTS:
        title, function = _PARTS[name]
        with console.status(f"{title} ..."):
            results[name] = function(repeats)
        table = Table(*results[name][0], title=title)
        for row in results[name]:
            table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
        console.print(table)
    if path is not None:
        path.write_text(json.dumps(results, indent=1) + "\n")
        console.print(f"Written to {path}")


if __name__ == "__main__":
    main()
