# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Count the faults that the judge finds, and those that it invents.

    python benchmarks/power.py [FOLDER ...] [--json FILE]

Each folder has background files and a manifest with ``fault``, ``strength``
and ``snr``, as ``campaigns.py`` makes them; without these all is clean. The
files are ingested, and the pipeline runs: a table a visit, and the campaign's
gathered tables. Printed is, for each, how many faults are found by kind and
significance, by which metrics clean detectors fail, and what faults are
called.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from lsst.bgqa import standalone
from lsst.bgqa.standalone.ingest import DEFAULT_RUN, ingest
from lsst.daf.butler import Butler

SHARED = Path(__file__).parents[1] / ".." / "shared" / "golden"
WORDS = {
    "dark_edge": "edges",
    "halo": "halo",
    "amp_step": "amplifier",
    "detector_offset": "level offset",
    "corner": "corner",
    "outlier_bins": "outlier bins",
    "dead_block": "dead block",
    "extra_gradient": "gradient",
    "ring": "ring",
    "stripe": "stripe",
    "bowl": "bowl",
}
"""What the judge calls each kind of fault (`dict` [`str`, `str`])."""


def run_pipeline(folder: Path, repo: Path, subsets: str) -> str:
    """Ingest a campaign, and run the pipeline on it."""
    ingest(str(repo), str(folder / "manifest.json"))
    instrument = json.loads((folder / "manifest.json").read_text())[0]["instrument"]
    # Of other cameras the layout of the amplifiers is not told.
    camera = "HSC/" if instrument == "HSC" else ""
    pipeline = f"resource://lsst.bgqa/pipelines/{camera}backgroundQa.yaml"
    command = [
        *(str(Path(sys.executable).with_name("pipetask")), "run", "-b", str(repo), "-i", DEFAULT_RUN),
        *("-o", "power", "--register-dataset-types", "-p", f"{pipeline}#{subsets}"),
        *("-d", f"instrument='{instrument}'"),
    ]
    result = subprocess.run(
        command, env={**os.environ, **standalone.environment()}, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise SystemExit(f"pipetask failed:\n{result.stderr[-3000:]}")
    return "power"


def read_rows(repo: Path, collection: str) -> dict[str, list[dict[str, Any]]]:
    """Read the verdicts of visits and campaigns."""
    columns = ("visit", "detector", "verdict", "failed", "fault")
    found: dict[str, list[dict[str, Any]]] = {}
    with Butler.from_config(str(repo), collections=collection) as butler:
        for name in (
            "calexpBackground_visit_table",
            "calexpBackground_visit_campaign_table",
            "calexpBackground_campaign_table",
        ):
            if not butler.registry.queryDatasetTypes(name):
                continue
            rows = found.setdefault(name, [])
            for ref in butler.query_datasets(name, explain=False):
                table = butler.get(ref, storageClass="ArrowTable")
                if "visit" not in table.column_names:
                    table = table.append_column("visit", [[ref.dataId["visit"]] * table.num_rows])
                rows += table.select(columns).to_pylist()
    return found


def count(
    rows: list[dict[str, Any]], manifest: list[dict[str, Any]]
) -> tuple[dict[str, list[int]], Counter[str], int, dict[str, Counter[str]]]:
    """Compare verdicts with what was put in.

    Returns
    -------
    found
        Found, possible and rightly called, by kind and significance.
    alarms
        Clean detectors that fail, by metric, and in ``all``.
    clean
        Clean detectors.
    called
        What found faults of each kind are called.
    """
    truth = {(entry["visit"], entry["detector"]): entry for entry in manifest}
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    alarms: Counter[str] = Counter(all=0)
    called: dict[str, Counter[str]] = defaultdict(Counter)
    clean = 0
    for row in rows:
        entry = truth[row["visit"], row["detector"]]
        kind, fails = entry.get("fault", "none"), row["verdict"] == "fail"
        if kind == "none":
            clean += 1
            if fails:
                alarms.update({"all": 1} | dict.fromkeys(row["failed"].split(","), 1))
            continue
        cell = found[f"{kind:16} {_grade(entry)}"]
        cell[1] += 1
        if fails:
            cell[0] += 1
            words = [word for word in WORDS.values() if word in row["fault"]]
            cell[2] += WORDS[kind] in words
            called[kind].update([row["fault"].partition(" (")[0]])
    return dict(sorted(found.items())), alarms, clean, called


def _grade(entry: dict[str, Any]) -> str:
    if entry["fault"] == "detector_offset":
        size = abs(float(entry["strength"]))
        return ">= 3 %" if size >= 0.03 else ">= 1.2 %" if size >= 0.012 else "< 1.2 %"
    snr = float(entry["snr"])
    return "S/N >= 10" if snr >= 10 else "S/N >= 7" if snr >= 7 else "S/N < 7"


def main() -> None:
    """Run, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, default=[SHARED / "faults", SHARED / "hsc"])
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--subsets", default="detector,visit,gatherVisits", help="What runs of the pipeline (%(default)s)."
    )
    options = parser.parse_args()
    document: dict[str, Any] = {}
    standalone.activate()
    for folder in options.folders:
        manifest = json.loads((folder / "manifest.json").read_text())
        with tempfile.TemporaryDirectory() as scratch:
            repo = Path(scratch) / "repo"
            tables = read_rows(repo, run_pipeline(folder, repo, options.subsets))
        for name, rows in tables.items():
            if not rows:
                continue
            found, alarms, clean, called = count(rows, manifest)
            print(f"\n{folder.resolve().name}: {name}")
            for cell, (hits, possible, right) in found.items():
                print(f"  {cell:28} found {hits:3} of {possible:3}, called so {right:3}")
            print(f"  false alarms: {alarms.pop('all')} of {clean} {dict(alarms)}")
            for kind, words in called.items():
                print(f"  {kind:16} is called {dict(words)}")
            document.setdefault(folder.resolve().name, {})[name] = {
                "found": found,
                "alarms": dict(alarms),
                "clean": clean,
                "called": {kind: dict(words) for kind, words in called.items()},
            }
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
