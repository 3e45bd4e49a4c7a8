# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""One verdict, and the same words, wherever a detector is told of."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from lsst.bgqa.cli import main
from lsst.bgqa.commands._demo_report import print_report
from lsst.bgqa.standalone.demo import DETECTORS, GENERATIONS, VISITS, visit_background
from lsst.bgqa.standalone.demo._survey import sky_position
from lsst.bgqa.standalone.ingest import DEFAULT_RUN, ingest
from lsst.daf.butler import Butler, CollectionType
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

# One filter: two other visits tell what is usual.
SOME = [visit for visit in VISITS if visit.physical_filter == VISITS[-1].physical_filter]
# What was put in, by detector. In the last visit nothing is left of the eighth.
PUT_IN = {
    1: "an amplifier step",
    3: "dark edges",
    4: "a halo",
    5: "a ring",
    6: "a level offset",
    8: "no good pixel",
}


@dataclass
class Made:
    """A campaign, where it is, and its rows as gathered."""

    repo: Path
    files: Path
    rows: dict[tuple[int, int], dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("campaign")
    manifest = []
    for visit in SOME:
        for detector in DETECTORS:
            name = f"{visit.id}_{detector.id}.fits"
            visit_background(visit, detector).write_fits(str(folder / name))
            corners = [sky_position(x, y, center=visit.boresight) for x, y in detector.corners]
            manifest.append(
                {
                    "file": name,
                    "instrument": "DemoCam",
                    "visit": visit.id,
                    "detector": detector.id,
                    "band": "i",
                    "physical_filter": visit.physical_filter,
                    "width": 2048,
                    "height": 2048,
                    "ra_corners_deg": [ra for ra, _ in corners],
                    "dec_corners_deg": [dec for _, dec in corners],
                }
            )
    (folder / "manifest.json").write_text(json.dumps(manifest))
    repo = folder / "repo"
    ingest(str(repo), str(folder / "manifest.json"))
    pipeline = Pipeline.from_uri(
        "resource://lsst.bgqa/pipelines/backgroundQa.yaml#detector,visit,gatherVisits"
    )
    pipeline.addConfigOverride("visitBackgroundQa", "mirrored", True)
    butler = SimplePipelineExecutor.prep_butler(str(repo), inputs=[DEFAULT_RUN], output="qa")
    SimplePipelineExecutor.from_pipeline(pipeline, butler=butler).run(register_dataset_types=True)
    table = butler.get("calexpBackground_campaign_table", instrument="DemoCam").to_pylist()
    yield Made(repo, folder, {(row["visit"], row["detector"]): row for row in table})
    butler.close()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_was_put_in_is_told_and_nothing_else(made: Made) -> None:
    assert len(made.rows) == len(SOME) * len(DETECTORS)
    told = {key: row["fault"] for key, row in made.rows.items() if row["verdict"] == "fail"}
    for (visit, detector), words in told.items():
        assert words.startswith(PUT_IN[detector]) and ";" not in words, (visit, detector, words)
    assert {detector for _, detector in told} == set(PUT_IN)
    expected = {(visit.id, detector) for visit in SOME for detector in PUT_IN if detector != 8}
    assert set(told) - {(SOME[-1].id, 8)} == expected
    assert not any(row["fault"] for row in made.rows.values() if row["verdict"] != "fail")


def test_tables_of_visits_and_campaigns_agree(made: Made) -> None:
    with Butler.from_config(str(made.repo), collections="qa") as butler:
        rows = butler.get("calexpBackground_visit_campaign_table", instrument="DemoCam").to_pylist()
        assert {(row["visit"], row["detector"]): (row["verdict"], row["fault"]) for row in rows} == {
            key: (row["verdict"], row["fault"]) for key, row in made.rows.items()
        }
        for visit in SOME:
            table = butler.get("calexpBackground_visit_table", instrument="DemoCam", visit=visit.id)
            for detector, words in zip(table["detector"], table["fault"], strict=True):
                # History adds to what the visit says, and changes none of its words.
                assert made.rows[visit.id, int(detector)]["fault"].startswith(str(words))


@pytest.mark.parametrize("gathered", [True, False])
def test_export_agrees(made: Made, gathered: bool, tmp_path: Path) -> None:
    collection = "qa" if gathered else _without_history(made, tmp_path)
    rows = list(csv.DictReader(io.StringIO(run("export", str(made.repo), collection, "--format", "csv"))))
    told = {(int(r["visit"]), int(r["detector"])): r["fault"] for r in rows if r["kind"] == "detector"}
    failing = {
        (int(r["visit"]), int(r["detector"]))
        for r in rows
        if r["kind"] == "detector" and r["verdict"] == "fail"
    }
    if gathered:
        assert told == {key: row["fault"] for key, row in made.rows.items()}
    else:
        with Butler.from_config(str(made.repo), collections="qa") as butler:
            for visit in SOME:
                table = butler.get("calexpBackground_visit_table", instrument="DemoCam", visit=visit.id)
                for detector, words in zip(table["detector"], table["fault"], strict=True):
                    assert told[visit.id, int(detector)] == words
    assert failing == {key for key, words in told.items() if words}


def _without_history(made: Made, folder: Path) -> str:
    """Return a collection with the visits' tables alone."""
    name = f"tables/{folder.name}"
    with Butler.from_config(str(made.repo), writeable=True) as butler:
        butler.collections.register(name, type=CollectionType.TAGGED)
        refs = butler.query_datasets("calexpBackground_visit_table", "qa")
        butler.registry.associate(name, refs)
    return name


def test_report_agrees(made: Made, tmp_path: Path) -> None:
    run("report", str(made.repo), "qa", "-o", str(tmp_path / "report"))
    for visit in SOME:
        (page,) = (tmp_path / "report").rglob(f"visits/*/{visit.id}.html")
        text = re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8"))
        for (number, _), row in made.rows.items():
            if number == visit.id and row["fault"]:
                assert row["fault"] in text
    overview = re.sub(r"<[^>]+>", " ", (tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    for detector in PUT_IN:
        worst = max((made.rows[visit.id, detector] for visit in SOME), key=lambda row: row["severity"])
        assert worst["fault"] in overview


def test_demo_agrees(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    # There are no coadds here, and nothing was stacked.
    monkeypatch.setattr("lsst.bgqa.commands._demo_report.print_campaign", lambda *arguments: None)
    monkeypatch.setattr(
        "lsst.bgqa.commands._demo_report._read",
        lambda butler, collection, name: (
            []
            if "Coadd" in name
            else butler.get(name, instrument="DemoCam", collections=collection).to_pylist()
        ),
    )
    console = Console(file=io.StringIO(), width=200)
    print_report(console, made.repo, "qa", GENERATIONS["dp02"])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = re.findall(r"^ (\d+)? .*?  +(\w.*?)  +(\d of \d)  +(?:(\S.*?)  +)?\d", text, re.MULTILINE)
    printed = {}
    detector = -1
    for number, *words in lines:
        detector = int(number) if number else detector
        printed[detector] = words
    assert len(lines) == len(PUT_IN)
    for number in PUT_IN:
        rows = [made.rows[visit.id, number] for visit in SOME]
        worst = max(rows, key=lambda row: row["severity"])
        words, count, facts = printed[number]
        assert worst["fault"] == (f"{words} ({facts})" if facts else words)
        assert count == f"{sum(row['verdict'] == 'fail' for row in rows)} of {len(SOME)}"


@pytest.mark.parametrize("detector", [0, 1, 3, 4, 5])
def test_inspect_agrees(made: Made, detector: int) -> None:
    visit = SOME[0].id
    document = json.loads(run("inspect", str(made.files / f"{visit}_{detector}.fits"), "--json"))
    row = made.rows[visit, detector]
    assert document["verdict"] == row["verdict"]
    # Alone, it has another noise: how sure it is differs. A ring as wide as half
    # of the detector, less what is smooth, looks like a halo.
    names = [text.partition(" (")[0] for text in (document["fault"], row["fault"])]
    assert names[0] == names[1] or (names == ["a halo", "a ring about a peak"] and detector == 5)
