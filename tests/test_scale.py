# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The benchmark of campaigns: it measures what it says, and the page says what it measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lsst.bgqa import BackgroundModel, measure_background
from lsst.bgqa.metrics import quantities_of
from lsst.daf.butler import Butler

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

from scale import campaign  # noqa: E402
from scale.__main__ import main  # noqa: E402
from scale.model import Line, SubsetModel  # noqa: E402
from scale.page import render  # noqa: E402
from scale.processes import run  # noqa: E402
from scale.quanta import Payload  # noqa: E402
from scale.reading import measure_command  # noqa: E402


def test_page_says_what_was_measured() -> None:
    page = (ROOT / "doc" / "scale.md").read_text()
    results = json.loads((ROOT / "doc" / "scale.json").read_text())
    assert render(page, results) == page
    assert "nan" not in page
    # Another figure would be another page.
    results["quanta"][0]["graph"]["cpu"] *= 2
    assert render(page, results) != page


def test_lines_go_through_the_points() -> None:
    line = Line.fit([100, 1000, 10_000], [5 + 0.2 * n for n in (100, 1000, 10_000)])
    assert line(1e6) == pytest.approx(200_005)
    assert Line.fit([10], [5])(20) == 10
    assert Line.fit([10, 20], [4, 3]).slope == 0
    assert Line.fit([10, 20], [1, 3]).start == 0


def made_up(quanta: int, clusters: int) -> dict[str, Any]:
    def cost(cpu: float) -> dict[str, float]:
        return {"cpu": cpu, "wall": cpu, "memory": 200.0, "anonymous": 150.0}

    start = 2 + 1e-5 * quanta
    return {
        "quanta": quanta,
        "clusters": clusters,
        "graph": cost(1 + 0.001 * quanta),
        "init": cost(2),
        "start": cost(start),
        "execution": cost(clusters * start + 0.05 * quanta),
        "executed": {"clusters": clusters, "quanta": quanta},
        "final": cost(2 + 0.003 * quanta),
        "graph_bytes": 50 * quanta,
        "files": {"metrics": {"count": quanta, "bytes": 5000 * quanta}},
        "database_bytes": 3000 * quanta,
        "database_rows": {"dataset": 3 * quanta, "run": 1},
    }


def test_model_gives_back_what_it_was_made_from() -> None:
    model = SubsetModel.of([made_up(200, 1), made_up(2000, 10), made_up(20_000, 100)])
    assert model.execution == pytest.approx(0.05)
    # One graph of 20,000: what such a campaign took.
    one = 1 + 20 + 2 + 100 * 2.2 + 0.05 * 20_000 + 2 + 60
    assert model.cpu(20_000, 20_000) == pytest.approx(one)
    assert model.cpu(200_000, 20_000) == pytest.approx(10 * one)
    assert model.rows.slope == pytest.approx(3)
    assert model.files.slope == pytest.approx(5000)


def test_visits_are_distinct_and_detectors_apart() -> None:
    visits = campaign.visits_of(3000)
    assert len({visit.id for visit in visits}) == 3000
    assert len({visit.day_obs for visit in visits}) == 3
    assert [visit.id for visit in visits] == sorted(visit.id for visit in visits)
    names = campaign.detector_names()
    assert len(set(names)) == len(names) == campaign.DETECTOR_COUNT
    outlines = campaign._outlines()
    assert outlines.shape == (campaign.DETECTOR_COUNT, 4, 2)
    low, high = outlines.min(axis=1), outlines.max(axis=1)
    apart = ((low[:, None] >= high[None]) | (high[:, None] <= low[None])).any(axis=-1)
    assert apart.sum() == campaign.DETECTOR_COUNT * (campaign.DETECTOR_COUNT - 1)


def test_costs_are_those_of_the_command(tmp_path: Path) -> None:
    program = "import time; t = time.process_time()\nwhile time.process_time() < t + 0.3: pass\n"
    program += "x = bytearray(200 << 20); time.sleep(0.3)"
    cost = run([sys.executable, "-c", program], tmp_path / "log")
    assert 0.3 < cost.cpu < 2
    assert cost.wall > 0.6
    assert 200 < cost.anonymous < cost.memory < 300
    with pytest.raises(RuntimeError, match="no such luck"):
        run([sys.executable, "-c", "raise SystemExit('no such luck')"], tmp_path / "log")


@pytest.mark.slow
def test_small_campaign(tmp_path: Path) -> None:
    work = tmp_path / "work"
    arguments = ["measure", "--work", str(work), "--json", str(tmp_path / "scale.json")]
    arguments += ["--visits", "5", "--detectors", "8", "--jobs", "2"]
    result = CliRunner().invoke(main, [*arguments, "detector", "gatherDetector"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    measured, gathered = json.loads((tmp_path / "scale.json").read_text())["quanta"]
    assert (measured["quanta"], measured["clusters"]) == (40, 5)
    assert measured["executed"] == {"clusters": 5, "quanta": 40}
    assert measured["files"]["calexpBackground_metrics"]["count"] == 40
    # Metrics, metadata and logs of 40 quanta, a configuration and packages.
    assert measured["database_rows"]["dataset"] == 3 * 40 + 2
    assert measured["execution"]["cpu"] > 5 * measured["start"]["cpu"] * 0.8
    assert (gathered["quanta"], gathered["inputs"], gathered["rows"]) == (1, 40, 40)

    butler = Butler.from_config(str(work / "visits"))
    output = Payload.of_visits("detector", 5).output
    refs = butler.query_datasets("calexpBackground_metrics", output)
    assert len(refs) == 40
    for ref in refs[::13]:
        data_id = {name: ref.dataId[name] for name in ("instrument", "visit", "detector")}
        uri = butler.getURI("calexpBackground", data_id, collections=campaign.INPUT_RUN)
        expected = measure_background(BackgroundModel.read_fits(uri))
        assert dict(quantities_of(butler.get(ref))) == dict(expected)
    table = butler.get(
        "calexpBackground_campaign_table",
        instrument=campaign.INSTRUMENT,
        collections=Payload.of_visits("gatherDetector", 5).output,
    )
    assert table.num_rows == 40

    # Once more: nothing is done again.
    logs = {path: path.stat().st_size for path in work.glob("*.log")}
    CliRunner().invoke(main, [*arguments, "detector"], catch_exceptions=False)
    assert {path: path.stat().st_size for path in work.glob("*.log")} == logs

    read = measure_command(work / "visits", Payload.of_visits("gatherDetector", 5).output, "export csv", 40)
    assert read["output_bytes"] > 40 * 100
