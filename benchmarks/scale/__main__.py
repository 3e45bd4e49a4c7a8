# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Measure what campaigns cost, and write it into the page on scale."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq
from rich.console import Console

from lsst.bgqa.standalone import activate

from .campaign import (
    DETECTOR_COUNT,
    PATCH_COUNT,
    TABLE_RUN,
    ingest_tables,
    make_campaign,
    make_coadd_campaign,
)
from .page import TABLES, render
from .quanta import Payload, measure_quanta
from .reading import COMMANDS, measure_command

_PAGE = Path(__file__).parents[2] / "doc" / "scale.md"
_RESULTS = _PAGE.with_suffix(".json")
_PARTS = ("detector", "visit", "coadd", "tract", "gatherDetector", "gatherVisit", "commands")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure what campaigns cost, from hundreds of quanta to a million rows."""


@main.command
@click.option(
    "--visits",
    default=[1, 11, 106],
    show_default=True,
    multiple=True,
    type=click.IntRange(1),
    help=f"How many visits, of {DETECTOR_COUNT} detectors; repeatable.",
)
@click.option(
    "--detectors",
    default=DETECTOR_COUNT,
    show_default=True,
    type=click.IntRange(1, DETECTOR_COUNT),
    help="How many detectors a visit has.",
)
@click.option(
    "--tracts",
    default=[2, 20],
    show_default=True,
    multiple=True,
    type=click.IntRange(1),
    help=f"How many tracts, of {PATCH_COUNT} patches; repeatable.",
)
@click.option(
    "--table-visits",
    default=[530, 5300],
    show_default=True,
    multiple=True,
    type=click.IntRange(1),
    help="How many visits' tables to gather, report and export; repeatable.",
)
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Jobs at a time.")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    help="Folder for repositories and logs; kept, and gone on with. By default a temporary one.",
)
@click.option(
    "--json",
    "path",
    default=Path("scale.json"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Write the figures to this file; those of other parts that it has are kept.",
)
@click.argument("parts", nargs=-1, type=click.Choice(_PARTS))
def measure(
    visits: tuple[int, ...],
    detectors: int,
    tracts: tuple[int, ...],
    table_visits: tuple[int, ...],
    jobs: int,
    work: Path | None,
    path: Path,
    parts: tuple[str, ...],
) -> None:
    """Measure PARTS, by default all."""
    activate()
    console = Console(width=None if Console().is_terminal else 120)
    with _folder(work) as folder, console.status("") as status:

        def progress(text: str) -> None:
            status.update(f"{text} ...")

        campaign = _Campaign(folder, visits, detectors, tracts, table_visits, jobs, progress)
        results = json.loads(path.read_text()) if path.exists() else {"quanta": [], "commands": []}
        for part in parts or _PARTS:
            key = "commands" if part == "commands" else "quanta"
            kept = [m for m in results[key] if key == "quanta" and m["subset"] != part]
            results[key] = kept + campaign.measure(part)
            results["machine"] = _machine()
            path.write_text(json.dumps(results, indent=1) + "\n")
    for name in ("flatness", "memory", "storage", "gathering", "commands"):
        console.print(TABLES[name](results), soft_wrap=True, markup=False, highlight=False)
        console.print()
    console.print(f"Written to {path}")


@main.command
@click.option(
    "--json",
    "path",
    default=_RESULTS,
    type=click.Path(path_type=Path, exists=True),
    help="What measure wrote; by default that of the documentation.",
)
@click.option(
    "--page", default=_PAGE, type=click.Path(path_type=Path, exists=True), help="The page; it is changed."
)
def page(path: Path, page: Path) -> None:
    """Write the tables of the documentation's page."""
    page.write_text(render(page.read_text(), json.loads(path.read_text())))


class _Campaign:
    """The repositories of a measurement, made when they are needed."""

    def __init__(
        self,
        folder: Path,
        visits: tuple[int, ...],
        detectors: int,
        tracts: tuple[int, ...],
        table_visits: tuple[int, ...],
        jobs: int,
        progress: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._visits, self._tracts, self._table_visits = sorted(visits), sorted(tracts), sorted(table_visits)
        self._detectors, self._jobs, self._progress = detectors, jobs, progress

    def measure(self, part: str) -> list[dict[str, Any]]:
        """Measure a part at all sizes, the small ones first."""
        return getattr(self, f"_measure_{part}")()

    def _measure_detector(self) -> list[dict[str, Any]]:
        return [self._run(self._repo(), Payload.of_visits("detector", n)) for n in self._visits]

    def _measure_visit(self) -> list[dict[str, Any]]:
        return [self._run(self._repo(), Payload.of_visits("visit", n, 10)) for n in self._visits]

    def _measure_coadd(self) -> list[dict[str, Any]]:
        return [self._run(self._coadd_repo(), Payload.of_tracts("coadd", n)) for n in self._tracts]

    def _measure_tract(self) -> list[dict[str, Any]]:
        return [self._run(self._coadd_repo(), Payload.of_tracts("tract", n, 10)) for n in self._tracts]

    def _measure_gatherDetector(self) -> list[dict[str, Any]]:
        return [
            self._gather(self._repo(), "gatherDetector", Payload.of_visits("detector", n).output, n)
            for n in self._visits
        ]

    def _measure_gatherVisit(self) -> list[dict[str, Any]]:
        return [self._gather(self._table_repo(), "gatherVisit", TABLE_RUN, n) for n in self._table_visits]

    def _measure_commands(self) -> list[dict[str, Any]]:
        measured = []
        for name in COMMANDS:
            for n in self._table_visits:
                rows = n * self._detectors
                self._progress(f"bgqa {name}, {rows} rows")
                collection = Payload.of_visits("gatherVisit", n).output
                measured.append(measure_command(self._table_repo(), collection, name, rows))
        return measured

    def _run(self, repo: Path, payload: Payload) -> dict[str, Any]:
        return measure_quanta(repo, payload, self._jobs, self._progress)

    def _gather(self, repo: Path, subset: str, inputs: str, visits: int) -> dict[str, Any]:
        measured = self._run(repo, Payload.of_visits(subset, visits, inputs=inputs))
        per_visit = self._detectors if subset == "gatherDetector" else 1
        (table,) = (repo / Payload.of_visits(subset, visits).output).rglob("*_campaign_table_*.parq")
        # In the file the few distinct values are each stored but once.
        some = next(pq.ParquetFile(table).iter_batches(batch_size=1000))
        return {
            **measured,
            "inputs": visits * per_visit,
            "rows": visits * self._detectors,
            "row_bytes": some.nbytes / some.num_rows,
        }

    def _repo(self) -> Path:
        return self._make("visits", make_campaign, max(self._visits), self._detectors)

    def _coadd_repo(self) -> Path:
        return self._make("coadds", make_coadd_campaign, max(self._tracts))

    def _table_repo(self) -> Path:
        tables: dict[str, list[Path]] = {}
        if not (self._folder / "tables").exists():
            measured = self._folder / "visits" / Payload.of_visits("visit", max(self._visits)).output
            for name in ("calexpBackground_visit_table", "calexpBackground_visit_steps"):
                tables[name] = sorted(measured.rglob(f"{name}_*.parq"))
            if not all(tables.values()):
                raise click.ClickException("measure the part `visit` first: its tables are what is gathered")
        return self._make("tables", ingest_tables, tables, max(self._table_visits))

    def _make(self, name: str, maker: Callable[..., int], *arguments: Any) -> Path:
        repo = self._folder / name
        if not repo.exists():
            self._progress(f"repository of {name}")
            partial = self._folder / f"{name}-partial"
            shutil.rmtree(partial, ignore_errors=True)
            # In a process of its own: what it leaves in memory is in no figure.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=activate) as pool:
                pool.submit(maker, partial, *arguments).result()
            partial.rename(repo)
        return repo


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
        yield work.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="bgqa-scale-") as folder:
        yield Path(folder)


def _machine() -> dict[str, Any]:
    names = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "lsst-pipe-base": version("lsst-pipe-base"),
        "lsst-daf-butler": version("lsst-daf-butler"),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    main()
