# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("demo",)

import contextlib
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._paths import LocalPath

if TYPE_CHECKING:
    from rich.console import Console

_SUBSETS = ("detector", "visit", "stack", "coadd", "tract", "gather")


@click.command
@click.argument("folder", metavar="DIR", type=LocalPath())
@click.option(
    "--generation",
    type=click.Choice(["dp02", "dp1", "dp2"]),
    default="dp02",
    show_default=True,
    help="The release whose dataset types to use: afw backgrounds of DP0.2 or DP1, lsst.images of DP2.",
)
def demo(folder: Path, generation: str) -> None:
    """Run background QA on a small simulated survey, made in DIR.

    Make a data repository in DIR, run the pipeline on it with pipetask, print
    which detectors and patches are bad, and why, draw the worst of them, and
    make a report for a browser. A second run reuses the repository.
    """
    from ..standalone.demo import (
        DETECTORS,
        FILTERS,
        GENERATIONS,
        INPUT_RUN,
        PATCHES,
        VISITS,
        check_folder,
        make_repository,
    )
    from ._console import make_console, track
    from ._demo_pictures import draw_worst
    from ._demo_report import print_report
    from ._demo_residual import measure_images
    from ._pipetask import print_command, run_pipetask

    check_folder(folder)
    form = GENERATIONS[generation]
    console = make_console()
    console.print(
        f"A simulated survey: {len(VISITS)} visits of {len(DETECTORS)} detectors, {len(PATCHES)} patches in "
        f"{len(FILTERS)} bands",
        soft_wrap=True,
    )
    with track(console, "Making the repository") as progress:
        new = make_repository(folder, progress, generation)
    state = "made" if new else "there already"
    console.print(
        f"Data repository: {folder} ({state}; its input is the collection {INPUT_RUN})", soft_wrap=True
    )

    output = "demo/backgroundQa"
    arguments = [
        *("run", "-b", str(folder), "-p", f"{form.location}#{','.join(_SUBSETS)}"),
        *("-i", INPUT_RUN, "-o", output, "--register-dataset-types"),
    ]
    arguments += form.options
    # A small camera in a flat sky does not tell how its pixels lie. Pictures of
    # stacks are what takes longest.
    arguments += ["-c", "visitBackgroundQa:mirrored=True", "-c", "stackBackgrounds:do_plot=False"]
    print_command(console, arguments)
    with track(console, "Running quanta") as progress:
        summary = run_pipetask(arguments, folder / "pipetask.log", progress)
    console.print(summary)
    console.print()
    worst = print_report(console, folder, output, form)
    console.print()
    faulty = measure_images(console, folder, output, form)
    console.print()
    pictures = draw_worst(console, folder, worst, faulty, form)
    console.print()
    report = _make_report(console, folder, [output, *filter(None, [pictures])])
    console.print()
    _say_what_is_next(console, folder, report)
    console.print()
    _print_next(console, folder, output)


def _print_next(console: Console, folder: Path, collection: str) -> None:
    """Print what a shell needs to look further, whatever it has by now."""
    lines = ['eval "$(bgqa env)"']
    activate = Path(sys.prefix) / "bin" / "activate"
    if shutil.which("bgqa") is None and activate.is_file():
        lines.insert(0, shlex.join(["source", str(activate)]))
    lines.append(
        shlex.join(["butler", "query-datasets", str(folder), "*_metrics", "--collections", collection])
    )
    console.print("To go further, in this or another shell:")
    for line in lines:
        console.print(f"  {line}", soft_wrap=True, markup=False)


def _make_report(console: Console, folder: Path, collections: list[str]) -> Path | None:
    """Make the report; without bokeh, say what is missing."""
    from rich.markup import escape

    from ..dashboard.report import make_report
    from ..errors import UserError
    from ._console import track

    path = folder / "report"
    words = shlex.join(["bgqa", "report", str(folder), ",".join(collections), "-o", str(path)])
    console.print(f"$ {words}", soft_wrap=True, markup=False)
    try:
        index = make_report(
            str(folder), ",".join(collections), path, progress=lambda what: track(console, escape(what))
        )
    except UserError as error:
        console.print(f"No report: {error}", soft_wrap=True, markup=False)
        return None
    console.print(f"Report: {index}", soft_wrap=True, markup=False)
    return index


def _say_what_is_next(console: Console, folder: Path, report: Path | None) -> None:
    """Print where to look, and the command for the user's own data."""
    notebook = Path(__file__).parents[4] / "doc" / "notebooks" / "backgrounds.ipynb"
    console.print("What to look at next:")
    if report is not None:
        console.print(f"  {report}: the report; open it in a browser", soft_wrap=True, markup=False)
    if notebook.is_file():
        with contextlib.suppress(ValueError):
            notebook = notebook.relative_to(Path.cwd())
        console.print(
            f'  {notebook}: the notebook; in its first cell, set REPO = "{folder.absolute()}"',
            soft_wrap=True,
            markup=False,
        )
    console.print(
        "  bgqa discover REPO: lists the backgrounds of your own repository, and how to measure them",
        soft_wrap=True,
        markup=False,
    )
