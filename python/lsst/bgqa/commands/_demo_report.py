# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the demo prints of a campaign's metrics."""

from __future__ import annotations

__all__ = ("print_report",)

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lsst.daf.butler import Butler

from ..judge import Thresholds, describe_failure
from ..metrics import load_catalogue, quantities_of
from ..standalone.demo import DemoGeneration
from ._console import print_table
from ._demo_campaign import print_campaign

# Such a background has no picture.
_NOTHING_TO_SEE = ("no good pixel", "pixels without a value")
_WHOLE = ("visit_failedFraction", "visit_sharedSigma")


@dataclass(frozen=True)
class _Finding:
    """A fault, where it was found (``place``), and in what (``where``)."""

    place: str
    where: str
    words: str
    facts: str
    severity: float


def print_report(
    console: Console, repo: Path, collection: str, generation: DemoGeneration
) -> list[tuple[int, str]]:
    """Print the worst visits, detectors and patches, and where the rest is.

    It returns patch and band where a patch is at its worst, the worst first.
    """
    with Butler.from_config(str(repo)) as butler:
        rows = _read(butler, collection, _campaign(generation.visit_metrics, "_visit"))
        patch_rows = _read(butler, collection, _campaign(generation.coadd_metrics, "_tract"))
        # What coadds before and after have to say, their own quanta know.
        patch_rows += [
            row | {"fault": "; ".join(words for words in row["fault"].split("; ") if "pixels" in words)}
            for row in _read(butler, collection, _campaign(generation.coadd_metrics, ""))
            if "closure_" in row["failed"]
        ]
        bad_visits = _read_bad_visits(butler, collection, generation.visit_metrics)
        run = butler.collections.get_info(collection).children[0]
    by_detector = _findings(
        rows,
        lambda row: f"{row['detector']} ({row['detector_name']})",
        lambda row: f"{row['visit']} ({row['physical_filter']})",
    )
    patches = _findings(patch_rows, lambda row: str(row["patch"]), lambda row: str(row["band"]))
    visits = {row["visit"] for row in rows}
    coadds = {row["band"] for row in patch_rows}
    if bad_visits:
        table = Table(
            "visit",
            "what is wrong",
            title="Visits that are bad as a whole",
            title_justify="left",
            title_style="bold",
            header_style="bold",
        )
        for visit, words in bad_visits:
            table.add_row(visit, words)
        print_table(console, table)
    _print_places(console, "Worst detectors", "detector", "visits", by_detector, len(visits))
    _print_places(console, "Worst patches", "patch", "bands", patches, len(coadds))
    with Butler.from_config(str(repo)) as butler:
        print_campaign(console, butler, collection, generation)
    detectors = len({row["detector"] for row in rows})
    bad = len({finding.place for finding in by_detector})
    all_patches = {row["patch"] for row in patch_rows}
    bad_patches = len({finding.place for finding in patches})
    console.print(
        f"Without a fault: {detectors - bad} of {detectors} detectors, "
        f"{len(all_patches) - bad_patches} of {len(all_patches)} patches."
    )
    console.print()
    metrics = f"{generation.visit_metrics}, {generation.coadd_metrics}"
    console.print(f"Metrics: RUN {run} of {repo}: {metrics}", soft_wrap=True)
    console.print(f"Log: {repo / 'pipetask.log'}", soft_wrap=True)
    # A place without a good pixel has nothing to look at.
    return [(int(finding.place), finding.where) for finding in _worst_of_each_place(patches)]


def _worst_of_each_place(findings: list[_Finding]) -> list[_Finding]:
    worst: dict[str, _Finding] = {}
    for finding in sorted(findings, key=lambda finding: -finding.severity):
        if finding.words not in _NOTHING_TO_SEE:
            worst.setdefault(finding.place, finding)
    return list(worst.values())


def _campaign(metrics: str, kind: str) -> str:
    return f"{metrics.removesuffix('_metrics')}{kind}_campaign_table"


def _read(butler: Butler, collection: str, dataset_type: str) -> list[dict[str, Any]]:
    """Read the rows of a campaign's table."""
    rows: list[dict[str, Any]] = []
    for ref in butler.query_datasets(dataset_type, collection, explain=False):
        rows += butler.get(ref, storageClass="ArrowTable").to_pylist()
    return rows


def _findings(
    rows: list[dict[str, Any]], place: Callable[[dict[str, Any]], str], where: Callable[[dict[str, Any]], str]
) -> list[_Finding]:
    findings = []
    for row in rows:
        for number, fault in enumerate(filter(None, row["fault"].split("; "))):
            words, _, facts = fault.rpartition(" (") if fault.endswith(")") else (fault, "", "")
            if words.count("(") != words.count(")"):
                words, _, more = words.partition(" (")
                facts = f"{more} ({facts}"
            severity = row["severity"] if number == 0 else min(1.0, row["severity"])
            findings.append(_Finding(place(row), where(row), words, facts.removesuffix(")"), severity))
    return findings


def _read_bad_visits(butler: Butler, collection: str, metrics: str) -> list[tuple[str, str]]:
    """Return the visits that are bad as a whole, and why."""
    catalogue = load_catalogue()
    bad = []
    name = metrics.removesuffix("_metrics") + "_visit_metrics"
    for ref in sorted(butler.query_datasets(name, collection, explain=False)):
        for metric, quantity in quantities_of(butler.get(ref)).items():
            if metric in _WHOLE and catalogue[metric].judge(quantity) == "fail":
                low, high = Thresholds().bounds(metric)
                words = describe_failure(metric, float(quantity.value), low, high, {})
                bad.append((str(ref.dataId["visit"]), words))
    return bad


def _print_places(
    console: Console, title: str, place: str, over: str, findings: list[_Finding], number: int
) -> None:
    """Print a row for each place and kind of fault, the worst place first."""
    places: dict[str, dict[str, list[_Finding]]] = defaultdict(lambda: defaultdict(list))
    for finding in findings:
        places[finding.place][finding.words].append(finding)
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column(place, no_wrap=True)
    table.add_column("what is wrong")
    table.add_column(over, no_wrap=True)
    table.add_column("at worst")
    table.add_column("x limit", justify="right", no_wrap=True)

    def severity(found: Mapping[str, list[_Finding]]) -> float:
        return max(finding.severity for each in found.values() for finding in each)

    for name, found in sorted(places.items(), key=lambda item: -severity(item[1])):
        label = name
        for words, each in sorted(found.items(), key=lambda item: -max(f.severity for f in item[1])):
            worst = max(each, key=lambda finding: finding.severity)
            size = f"{worst.severity:.1f}" if 1 < worst.severity < np.inf else ""
            style = f"[red]{escape(words)}[/red]" if worst.severity > 3 else escape(words)
            table.add_row(escape(label), style, f"{len(each)} of {number}", escape(worst.facts), size)
            label = ""
        table.add_section()
    print_table(console, table)
