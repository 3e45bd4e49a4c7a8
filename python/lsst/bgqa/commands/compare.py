# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("compare",)

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UserError
from ._paths import LocalPath

if TYPE_CHECKING:
    from rich.console import Console

    from ..dashboard.compare import TableComparison

_MOST_METRICS = 12
_REGRESSION = 3


@click.command
@click.argument("repo")
@click.argument("collection_a")
@click.argument("collection_b")
@click.option("--repo-b", metavar="REPO", help="Repository of COLLECTION_B, if it is not REPO.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=LocalPath(),
    help="Make a page with histograms and maps of the differences in this folder.",
)
@click.option(
    "--pixels",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Compare the pixels of the backgrounds for the N images that changed most.",
)
@click.option(
    "--fail-on-regression", is_flag=True, help="Exit with 3 if significantly more rows fail in COLLECTION_B."
)
@click.option(
    "--significance",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.001,
    show_default=True,
    help="Largest probability that a difference arises by chance.",
)
def compare(
    repo: str,
    collection_a: str,
    collection_b: str,
    repo_b: str | None,
    output: Path | None,
    pixels: int,
    fail_on_regression: bool,
    significance: float,
) -> None:
    """Compare the metrics in COLLECTION_B with those in COLLECTION_A of REPO.

    Show how a new processing (B) changed the backgrounds, image by image: new
    and gone faults, flipped verdicts, and metrics that differ.
    """
    from rich.markup import escape

    from ..dashboard import Campaign
    from ..dashboard.compare import compare_campaigns, compare_models
    from ..dashboard.report import make_comparison
    from ._console import make_console, track

    console = make_console()
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Campaign(repo, collection_a))
        second = stack.enter_context(Campaign(repo_b or repo, collection_b))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bgqa-")))
        with track(make_console(stderr=True), "Comparing") as progress:
            comparisons = compare_campaigns(first, second, folder, significance, progress)
        if not comparisons:
            raise UserError(f"{collection_a} and {collection_b} have no metrics of the same background")
        for one in comparisons:
            _show(console, one)
            if pixels and output is None:
                for label, words, _ in compare_models(first, second, one, pixels):
                    console.print(escape(f"{label}: {words}"), soft_wrap=True)
        if output is not None:
            path = make_comparison(first, second, comparisons, output, pixels)
            console.print(f"Report: {escape(str(path))}", soft_wrap=True)
    if fail_on_regression and any(one.regression for one in comparisons):
        raise click.exceptions.Exit(_REGRESSION)


def _show(console: Console, one: TableComparison) -> None:
    """Print what changed."""
    from rich.markup import escape
    from rich.table import Table

    from ._console import print_table

    head, *rest = one.sentences()
    console.print(f"[bold]{escape(head)}[/bold]", soft_wrap=True)
    for sentence in rest:
        console.print(escape(sentence), soft_wrap=True)
    if not one.changed:
        return
    if changed := one.changed_metrics:
        table = Table("metric", title="Metrics that differ: B minus A", title_justify="left")
        for name in ("median", "scatter", "unit", "by chance", "rows"):
            table.add_column(name, justify="left" if name == "unit" else "right", no_wrap=True)
        for metric in changed[:_MOST_METRICS]:
            numbers = f"{metric.median:+.3g}", f"{metric.scatter:.3g}", metric.unit, f"{metric.p_value:.1g}"
            table.add_row(metric.name, *numbers, f"{metric.count:,}")
        print_table(console, table)
    for what, rows in one.most_changed.items():
        if rows:
            table = Table(
                what, title=f"Most changed, by {what}, in units of what passes", title_justify="left"
            )
            table.add_column("change", justify="right")
            for label, change in rows[:5]:
                table.add_row(escape(label), f"{change:.3g}")
            print_table(console, table)
