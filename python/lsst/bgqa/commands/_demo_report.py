# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the demo prints of a campaign's metrics."""

from __future__ import annotations

__all__ = ("WorstPlaces", "print_report")

import shlex
import shutil
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import astropy.units as u
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lsst.daf.butler import Butler

from ..metrics import quantities_of
from ..metrics.faults import Fault, find_coadd_faults, find_visit_faults
from ..standalone.demo import DemoGeneration
from ._demo_campaign import print_campaign

Metrics = Mapping[str, u.Quantity]


@dataclass(frozen=True)
class _Finding:
    """A fault, where it was found (``place``), and in what (``where``)."""

    place: str
    where: str
    fault: Fault


@dataclass(frozen=True)
class WorstPlaces:
    """What deserves a look.

    Attributes
    ----------
    detectors : `list` [`tuple` [`int`, `int`]]
        Visit and detector where a detector is at its worst, the worst first.
    patches : `list` [`tuple` [`int`, `str`]]
        Patch and band where a patch is at its worst, the worst first.
    """

    detectors: list[tuple[int, int]]
    patches: list[tuple[int, str]]


def print_report(console: Console, repo: Path, collection: str, generation: DemoGeneration) -> WorstPlaces:
    """Print the worst visits, detectors and patches, and where the rest is.

    Parameters
    ----------
    console : `rich.console.Console`
        Where to print.
    repo : `pathlib.Path`
        The repository.
    collection : `str`
        Collection with the metrics.
    generation : `~lsst.bgqa.standalone.demo.DemoGeneration`
        What the metrics are called.

    Returns
    -------
    worst : `WorstPlaces`
        What deserves a look.
    """
    with Butler.from_config(str(repo)) as butler:
        visits, names = _read_visits(butler, collection, generation.visit_metrics)
        coadds = _read_coadds(butler, collection, generation.coadd_metrics)
        run = butler.collections.get_info(collection).children[0]
    counts = {visit: len(detectors) for visit, detectors in visits.items()}
    by_visit, by_detector = _split_shared(
        {visit: find_visit_faults(detectors) for visit, detectors in visits.items()}, names
    )
    patches = [
        _Finding(str(patch), band, fault)
        for band, table in coadds.items()
        for patch, faults in find_coadd_faults(table).items()
        for fault in faults
    ]
    if by_visit:
        table = _table("Visits that are bad as a whole", "visit", "detectors")
        for finding, number in by_visit:
            _add_row(table, finding, f"{number} of {counts[finding.place]}", finding.place)
        console.print(table)
    _print_places(console, "Worst detectors", "detector", "visits", by_detector, len(visits))
    _print_places(console, "Worst patches", "patch", "bands", patches, len(coadds))
    with Butler.from_config(str(repo)) as butler:
        print_campaign(console, butler, collection, generation)
    detectors = len({detector for table in visits.values() for detector in table})
    bad = len({finding.place for finding in by_detector})
    all_patches = {patch for table in coadds.values() for patch in table}
    bad_patches = len({finding.place for finding in patches})
    console.print(
        f"Nothing to complain of: {detectors - bad} of {detectors} detectors, "
        f"{len(all_patches) - bad_patches} of {len(all_patches)} patches."
    )
    console.print()
    metrics = f"{generation.visit_metrics}, {generation.coadd_metrics}"
    console.print(f"Metrics: RUN {run} of {repo}: {metrics}", soft_wrap=True)
    console.print(f"Log: {repo / 'pipetask.log'}", soft_wrap=True)
    console.print("To look further in this shell:")
    activate = Path(sys.prefix) / "bin" / "activate"
    if shutil.which("bgqa") is None and activate.is_file():
        console.print(f"  source {shlex.quote(str(activate))}", soft_wrap=True, markup=False)
    console.print('  eval "$(bgqa env)"', soft_wrap=True)
    console.print(
        f"  butler query-datasets {shlex.quote(str(repo))} '*_metrics' --collections {collection}",
        soft_wrap=True,
        markup=False,
    )
    # A place without a good pixel has nothing to look at.
    return WorstPlaces(
        [(_number(finding.where), _number(finding.place)) for finding in _worst_of_each_place(by_detector)],
        [(_number(finding.place), finding.where) for finding in _worst_of_each_place(patches)],
    )


def _worst_of_each_place(findings: list[_Finding]) -> list[_Finding]:
    worst: dict[str, _Finding] = {}
    for finding in sorted(findings, key=lambda finding: -finding.fault.severity):
        if finding.fault.severity < float("inf"):
            worst.setdefault(finding.place, finding)
    return list(worst.values())


def _number(label: str) -> int:
    """Return the number that a label begins with."""
    return int(label.partition(" ")[0])


def _read_visits(
    butler: Butler, collection: str, dataset_type: str
) -> tuple[dict[str, dict[int, Metrics]], dict[int, str]]:
    tables: dict[str, dict[int, Metrics]] = defaultdict(dict)
    names = {}
    refs = butler.query_datasets(dataset_type, collection, with_dimension_records=True)
    for ref in sorted(refs, key=lambda ref: (ref.dataId["visit"], ref.dataId["detector"])):
        visit = f"{ref.dataId['visit']} ({ref.dataId['physical_filter']})"
        detector = int(ref.dataId["detector"])
        tables[visit][detector] = quantities_of(butler.get(ref))
        record: Any = ref.dataId.records["detector"]
        names[detector] = record.full_name
    return tables, names


def _read_coadds(butler: Butler, collection: str, dataset_type: str) -> dict[str, dict[int, Metrics]]:
    tables: dict[str, dict[int, Metrics]] = defaultdict(dict)
    refs = butler.query_datasets(dataset_type, collection)
    for ref in sorted(refs, key=lambda ref: (ref.dataId["band"], ref.dataId["patch"])):
        tables[str(ref.dataId["band"])][int(ref.dataId["patch"])] = quantities_of(butler.get(ref))
    return tables


def _split_shared(
    faults: Mapping[str, Mapping[int, list[Fault]]], names: Mapping[int, str]
) -> tuple[list[tuple[_Finding, int]], list[_Finding]]:
    """Tell what is wrong with most of a visit from what is wrong with a
    detector.
    """
    by_visit, by_detector = [], []
    for visit, detectors in faults.items():
        kinds = defaultdict(list)
        for detector, found in detectors.items():
            for fault in found:
                kinds[fault.kind].append((detector, fault))
        for found_in in kinds.values():
            if 2 * len(found_in) > len(detectors):
                worst = max((fault for _, fault in found_in), key=lambda fault: fault.severity)
                by_visit.append((_Finding(visit, "", worst), len(found_in)))
            else:
                by_detector += [
                    _Finding(f"{detector} ({names[detector]})", visit, fault) for detector, fault in found_in
                ]
    by_visit.sort(key=lambda item: -item[0].fault.severity)
    return by_visit, by_detector


def _print_places(
    console: Console, title: str, place: str, over: str, findings: list[_Finding], number: int
) -> None:
    """Print a row for each place and kind of fault, the worst place first."""
    places: dict[str, dict[str, list[_Finding]]] = defaultdict(lambda: defaultdict(list))
    for finding in findings:
        places[finding.place][finding.fault.kind].append(finding)
    table = _table(title, place, over)

    def severity(kinds: Mapping[str, list[_Finding]]) -> float:
        return max(finding.fault.severity for found in kinds.values() for finding in found)

    for name, kinds in sorted(places.items(), key=lambda item: -severity(item[1])):
        label = name
        rows = [
            (max(found, key=lambda finding: finding.fault.severity), len(found)) for found in kinds.values()
        ]
        # A fit that misses something is mostly a consequence of the rest.
        rows.sort(key=lambda row: (row[0].fault.kind == "fit", -row[0].fault.severity))
        for worst, count in rows:
            _add_row(table, worst, f"{count} of {number}", label)
            label = ""
        table.add_section()
    console.print(table)


def _table(title: str, place: str, over: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column(place, no_wrap=True)
    table.add_column("what is wrong")
    table.add_column(over, no_wrap=True)
    table.add_column("metric at worst", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("x limit", justify="right", no_wrap=True)
    return table


def _add_row(table: Table, finding: _Finding, over: str, label: str) -> None:
    fault = finding.fault
    value = ""
    if fault.value is not None:
        value = f"{fault.value.value:.4g} {fault.value.unit}".strip()
    severity = "-" if fault.severity == float("inf") else f"{fault.severity:.1f}"
    words = f"[red]{escape(fault.words)}[/red]" if fault.severity > 3 else escape(fault.words)
    table.add_row(escape(label), words, over, fault.metric, value, severity)
