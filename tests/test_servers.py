# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Repositories as production has them: PostgreSQL, S3 and a Butler server."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import servers
from click.testing import CliRunner, Result
from test_docs import BLOCK, ROOT

from lsst.bgqa import measure_background, stack
from lsst.bgqa.cli import main
from lsst.bgqa.standalone.demo import INPUT_RUN, make_repository
from lsst.bgqa.tasks import BackgroundQaTask
from lsst.daf.butler import Butler, Config
from lsst.resources import ResourcePath

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(stack.have_stack(), reason="datasets are of the standalone types"),
]
HSC = ROOT / "tests" / "data" / "hsc"
PIPELINE = "resource://lsst.bgqa/pipelines/backgroundQa.yaml"
NJY = ["parameters:coaddUnit=nJy"]


def run(*arguments: str, ok: bool = True) -> Result:
    result = CliRunner().invoke(main, list(arguments), env={"COLUMNS": "110"})
    assert not ok or result.exit_code == 0, result.output
    return result


def pipetask(repo: str, *arguments: str) -> None:
    """Run pipetask in a process of its own, as a user does."""
    command = [str(Path(sys.executable).parent / "pipetask"), "run", "-b", repo, *arguments]
    done = subprocess.run([*command, "--register-dataset-types"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def judge(repo: str, subsets: str, output: str, where: str = "", overrides: list[str] | None = None) -> None:
    arguments = ["-p", f"{PIPELINE}#{subsets}", "-i", INPUT_RUN, "-o", output]
    for override in overrides or []:
        arguments += ["-c", override]
    pipetask(repo, *arguments, *(["-d", where] if where else []))


@dataclass(frozen=True)
class Facility:
    """A repository of PostgreSQL and S3, and the same on this machine."""

    repo: str
    local: str
    bucket: str
    database: str


@pytest.fixture(scope="module")
def facility(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facility]:
    folder = tmp_path_factory.mktemp("facility")
    local = folder / "local"
    make_repository(local)
    with servers.postgres() as database, servers.s3(folder) as bucket:
        repo = f"{bucket}/repo"
        Butler.makeRepo(repo, config=Config({"registry": {"db": database, "namespace": "bgqa"}}))
        with Butler.from_config(str(local)) as source, Butler.from_config(repo, writeable=True) as target:
            refs = source.query_all_datasets(INPUT_RUN, limit=None)
            target.transfer_from(
                source, refs, transfer="copy", register_dataset_types=True, transfer_dimensions=True
            )
        where = "instrument='DemoCam' AND detector IN (1, 4) AND visit IN (2026100900001, 2026102600002)"
        for place in (str(local), repo):
            judge(place, "detector,visit,stack,coadd,tract,gather", "qa", overrides=NJY)
            judge(place, "plotBackground", "plots", where)
            judge(place, "detector,visit", "not-gathered", "instrument='DemoCam' AND visit=2026100900001")
        yield Facility(repo, str(local), bucket, database)


def values(repo: str, collection: str = "qa") -> dict[tuple[str, ...], str]:
    rows = csv.DictReader(io.StringIO(run("export", repo, collection, "--format", "csv").stdout))
    keys = ("kind", "name", "visit", "detector", "physical_filter", "patch", "tract", "band", "metric")
    return {tuple(row[key] for key in keys): f"{row['value']} {row['verdict']}" for row in rows}


def test_values_are_those_of_a_local_repository(facility: Facility) -> None:
    expected = values(facility.local)
    assert len(expected) > 2000
    assert {key[0] for key in expected} == {"detector", "visit", "stack", "patch", "tract"}
    assert values(facility.repo) == expected


def test_values_without_a_gathered_table_are_too(facility: Facility) -> None:
    expected = values(facility.local, "not-gathered")
    assert {key[0] for key in expected} == {"detector", "visit"}
    assert values(facility.repo, "not-gathered") == expected


def test_exports_go_to_the_store(facility: Facility) -> None:
    for form in ("parquet", "csv", "influx"):
        place = f"{facility.bucket}/export.{form}"
        result = run("export", facility.repo, "qa", "--format", form, "-o", place)
        assert place in result.stderr
        data = ResourcePath(place).read()
        if form == "parquet":
            assert pq.read_table(io.BytesIO(data)).num_rows == len(values(facility.local))
        else:
            assert data.decode() == run("export", facility.repo, "qa", "--format", form).stdout
    result = run("export", facility.repo, "qa", "--format", "csv", "-o", "s3://nowhere/a.csv", ok=False)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: s3://nowhere/a.csv: cannot be written: ")


def test_a_report_has_pictures(facility: Facility, tmp_path: Path) -> None:
    result = run("report", facility.repo, "qa,plots", "-o", str(tmp_path / "report"))
    assert result.stderr == ""
    folder = tmp_path / "report" / "pictures"
    assert len(list(folder.glob("calexpBackground_*_plot/*.png"))) >= 12


def test_two_campaigns_at_once(facility: Facility) -> None:
    def campaign(number: int) -> None:
        where = f"instrument='DemoCam' AND visit={(2026100900001, 2026102600002)[number]}"
        judge(facility.repo, "detector,visit", f"at-once/{number}", where)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(campaign, range(2)))
    both = values(facility.repo, "at-once/0,at-once/1")
    assert len({key[2:4] for key in both if key[0] == "detector"}) == 18
    everything = run("export", facility.repo, "at-once/*", "--format", "csv").stdout
    assert everything.count("\n") == len(both) + 1


def test_files_are_ingested(facility: Facility, tmp_path: Path) -> None:
    manifest = str(HSC / "manifest.json")
    for words in ("Ingested 10 files of 3 visits", "(10 were there already)"):
        assert words in run("ingest", facility.repo, manifest, "--run", "hsc").stdout
    run("ingest", str(tmp_path / "repo"), manifest, "--run", "hsc")
    for repo in (facility.repo, str(tmp_path / "repo")):
        pipetask(repo, "-p", f"{PIPELINE}#detector", "-i", "hsc", "-o", "hscQa")
    assert values(facility.repo, "hscQa") == values(str(tmp_path / "repo"), "hscQa")


def test_a_store_does_not_become_a_repository_by_itself(facility: Facility) -> None:
    result = run("ingest", f"{facility.bucket}/new", str(HSC / "manifest.json"), ok=False)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "butler create --seed-config" in line
    assert not ResourcePath(f"{facility.bucket}/new/", forceDirectory=True).exists()


def test_discover_prints_what_works(facility: Facility) -> None:
    result = run("discover", facility.repo, "--json")
    (found,) = [item for item in json.loads(result.stdout) if item["dataset_type"] == "calexpBackground"]
    assert found["collections"][INPUT_RUN] == 54
    assert found["command"].startswith(f"pipetask run -b {facility.repo} ")


# --- Through a server ----------------------------------------------------


@dataclass(frozen=True)
class Remote:
    """A client of a Butler server, and the server's log."""

    repo: str
    log: Path

    def requests(self) -> Counter[str]:
        """Count the requests so far, by endpoint."""
        found = re.findall(r'"(?:GET|POST) /api/butler/repo/dp/v1/([a-z_]+)', self.log.read_text())
        return Counter(found)


@pytest.fixture(scope="module")
def remote(facility: Facility, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    folder = tmp_path_factory.mktemp("remote")
    with servers.butler_server(facility.repo, folder) as client:
        yield Remote(str(client), folder / "butler.log")


def test_discover_says_that_no_quanta_run(remote: Remote) -> None:
    before = remote.requests()
    result = run("discover", remote.repo)
    assert "calexpBackground" in result.stdout
    assert "RemoteButler" in result.stdout and "direct repository" in result.stdout
    assert "pipetask run" not in result.stdout
    assert all(item["command"] is None for item in json.loads(run("discover", remote.repo, "--json").stdout))
    asked = remote.requests() - before
    # One for each of the types that hold backgrounds, not for all.
    assert asked["dataset_type"] <= 2 * 2, asked
    assert asked.total() <= 2 * 30, asked


def test_values_are_the_same_through_a_server(facility: Facility, remote: Remote) -> None:
    before = remote.requests()
    assert values(remote.repo) == values(facility.local)
    asked = remote.requests() - before
    # One for each type of metrics and of tables, residuals included.
    assert asked["dataset_type"] <= 20, asked
    assert asked.total() <= 150, asked
    assert values(remote.repo, "not-gathered") == values(facility.local, "not-gathered")


def test_a_report_through_a_server_is_the_same(facility: Facility, remote: Remote, tmp_path: Path) -> None:
    before = remote.requests()
    run("report", remote.repo, "qa,plots", "-o", str(tmp_path / "far"))
    asked = remote.requests() - before
    run("report", facility.local, "qa,plots", "-o", str(tmp_path / "near"))

    def files(name: str) -> set[str]:
        folder = tmp_path / name
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    assert files("far") == files("near")
    assert asked.total() <= 400, asked


def test_a_background_is_measured_through_a_server(facility: Facility, remote: Remote) -> None:
    data_id = {"instrument": "DemoCam", "visit": 2026100900001, "detector": 4}
    with Butler.from_config(remote.repo, collections="qa") as butler:
        background = butler.get("calexpBackground", data_id)
        quantities = measure_background(background)
        bundle = butler.get("calexpBackground_metrics", data_id)
        task = BackgroundQaTask(config=BackgroundQaTask.ConfigClass())
        made = task.run(background=background).metrics
        for found in (bundle, made):
            levels = {m.metric_name: m.quantity for m in found["level"]}
            assert levels["median"] == quantities["level_median"]


def test_the_notebook_page_works_through_a_server(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAF_BUTLER_REPOSITORIES", json.dumps({"demo": remote.repo}))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = BLOCK.findall((ROOT / "doc" / "notebook.md").read_text())
    assert blocks
    for block in blocks:
        exec(block.replace("demo/backgroundQa", "qa"), names)


def test_ingest_needs_a_direct_repository(remote: Remote) -> None:
    result = run("ingest", remote.repo, str(HSC / "manifest.json"), ok=False)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: {remote.repo}: a server lets one read it (RemoteButler); ingest needs a direct repository\n"
    )


# --- The page ------------------------------------------------------------


def page_commands(section: str) -> list[list[str]]:
    """Return the commands below a heading of the page."""
    text = (ROOT / "doc" / "where.md").read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    text = re.sub(r"(?s)```.*?```", "", text)
    lines = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    lines = re.sub(r"(?m)^(?!bgqa |pipetask | ).*\n?", "", lines)
    return [shlex.split(line) for line in lines.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize(
    ("section", "count"),
    [("On the Rubin Science Platform", 3), ("At a data facility", 4), ("On a laptop", 5)],
)
def test_commands_of_the_page_run(
    section: str,
    count: int,
    facility: Facility,
    remote: Remote,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(
        "DAF_BUTLER_REPOSITORIES", json.dumps({"dp1": remote.repo, "/repo/main": facility.repo})
    )
    shutil.copytree(HSC, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    if section == "At a data facility":
        run("ingest", facility.repo, "manifest.json", "--run", "HSC/runs")
    # In place of names of the facility's.
    names = {"u/somebody/backgroundQa": "qa", "s3://bucket/metrics.parquet": f"{facility.bucket}/metrics"}
    found = page_commands(section)
    assert len(found) == count
    for program, *arguments in found:
        arguments = [names.get(argument, argument) for argument in arguments]
        if program == "bgqa":
            run(*arguments)
        else:
            command = [str(Path(sys.executable).parent / program), *arguments]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "report" / "index.html").is_file()


# --- Servers that are down -----------------------------------------------


def commands(repo: str, folder: Path) -> list[list[str]]:
    return [
        ["discover", repo],
        ["export", repo, "qa", "--format", "csv"],
        ["report", repo, "qa", "-o", str(folder / "report")],
        ["ingest", repo, str(HSC / "manifest.json")],
    ]


def test_a_server_that_is_down_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = servers.free_port()
    client = tmp_path / "butler.yaml"
    client.write_text(
        "cls: lsst.daf.butler.remote_butler.RemoteButler\n"
        f"remote_butler:\n  url: http://127.0.0.1:{port}/api/butler/repo/dp\n"
    )
    monkeypatch.setenv("BUTLER_RUBIN_ACCESS_TOKEN", "gt-nobody")
    for command in commands(str(client), tmp_path)[:3]:
        result = run(*command, ok=False)
        (line,) = result.stderr.splitlines()
        assert result.exit_code == 1
        assert line.startswith("Error: ") and "Butler server: " in line and "refused" in line


def test_a_database_that_is_down_is_said(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    repo = tmp_path / "repo"
    make = run("ingest", str(repo), str(HSC / "manifest.json"))
    assert make.exit_code == 0
    config = Config(str(repo / "butler.yaml"))
    config["registry", "db"] = f"postgresql://nobody@127.0.0.1:{servers.free_port()}/butler"
    config.dumpToUri(ResourcePath(str(repo / "butler.yaml")))
    for command in commands(str(repo), tmp_path):
        result = run(*command, ok=False)
        (line,) = result.stderr.splitlines()
        assert result.exit_code == 1
        assert line.startswith(f"Error: {repo}: ") and "database: " in line and "refused" in line
