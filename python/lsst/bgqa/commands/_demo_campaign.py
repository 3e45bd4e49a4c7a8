# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the demo prints of visits, stacks and the campaign as a whole."""

from __future__ import annotations

__all__ = ("print_campaign",)

from collections import defaultdict

from rich.console import Console
from rich.table import Table

from lsst.daf.butler import Butler

from ..metrics import quantities_of
from ..standalone.demo import DemoGeneration
from ._console import print_table

_ROWS = 4


def print_campaign(console: Console, butler: Butler, collection: str, generation: DemoGeneration) -> None:
    """Print steps between detectors, static patterns, and pass and fail."""
    name = generation.visit_metrics.removesuffix("_metrics")
    steps: dict[tuple[str, str], list[float]] = defaultdict(list)
    for ref in butler.query_datasets(f"{name}_visit_steps", collection):
        levels = butler.get(f"{name}_visit_table", ref.dataId, collections=collection)
        level = float(levels["trend_level"].mean())
        for row in butler.get(ref):
            steps[str(row["detector1_name"]), str(row["detector2_name"])].append(row["step"] / level)
    table = _table("Steps between neighbours", "detectors", "visits", "largest / level")
    worst = sorted(steps.items(), key=lambda item: -max(map(abs, item[1])))[:_ROWS]
    for (first, second), values in worst:
        table.add_row(f"{first} - {second}", str(len(values)), f"{max(values, key=abs):+.1%}")
    print_table(console, table)

    patterns = []
    for ref in butler.query_datasets(f"{name}_stack_metrics", collection):
        metrics = quantities_of(butler.get(ref))
        mean = butler.get(f"{name}_stack_mean", ref.dataId, collections=collection)
        if "stack_patternRms" in metrics:
            size = metrics["stack_patternRms"].value / float(mean.array.mean())
            patterns.append((size, ref.dataId["detector"], ref.dataId["physical_filter"], metrics))
    table = _table("Patterns that visits have in common", "detector, filter", "visits", "rms / level")
    for size, detector, physical_filter, metrics in sorted(patterns, key=lambda item: -item[0])[:_ROWS]:
        table.add_row(
            f"{detector}, {physical_filter}", f"{metrics['stack_visitCount'].value:.0f}", f"{size:.2%}"
        )
    print_table(console, table)

    table = _table("Campaign", "band, night", "visits", "detectors that pass", "fail", "unknown")
    for ref in butler.query_datasets(f"{name}_campaign_summary", collection):
        for row in butler.get(ref):
            counts = (str(row[name]) for name in ("visitCount", "passCount", "failCount", "unknownCount"))
            table.add_row(f"{row['band']}, {row['day_obs']}", *counts)
    print_table(console, table)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column(columns[0], no_wrap=True)
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table
