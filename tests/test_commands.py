# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The shell commands of the documentation run as they are written.

What stands for something of the reader's own, or needs a site, is replaced by
what is here; `REPLACED` says what by what. Each page has a copy of a folder
with a repository of HSC's backgrounds, ``repo``, and the demo's, ``demo``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pilots import environment, execute
from test_influx import FakeServer

from lsst.bgqa import stack
from lsst.bgqa.standalone.demo import make_repository

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "doc").glob("*.md")), ROOT / "pipelines" / "README.md"]
PROGRAMS = r"bgqa|pipetask|butler|bps|make|source|eval|mkdir|find|python|-c [a-zA-Z]+:|[A-Z_]+=\S+ bgqa"
INPUT = "bgqa/ingested"

# test_faults.py types what that page says, after the faults that it is for;
# test_demo.py compares what the README shows of the demo with the demo.
ELSEWHERE = re.compile(r"pipetask run -b demo|bgqa (report|requirement) demo")
# What only a site has.
NOT_HERE = {
    "bps report --id ID": "Parsl keeps no record of jobs",
    "bps restart --id ID": "the form for HTCondor and PanDA; that for Parsl follows, and runs",
    "bgqa report REPO COLLECTION -o newest --night newest": "it knows no nights; test_report.py does",
    "bgqa report REPO COLLECTION -o report --since 20261018": "it knows no nights; test_report.py does",
    "bash submit/.../final_job.bash submit/.../*.qg REPO": "test_bps.py runs it",
}
REPLACED: dict[str, dict[str, str]] = {
    "*": {
        "REPO": "repo",
        "INPUT": INPUT,
        "OUTPUT": "u/you/output",
        "detector=50": "detector=0",
        "/repo/main": "repo",
        "HSC/runs": INPUT,
    },
    "README.md": {
        "COLLECTION": INPUT,
        ".venv/bin/activate": f"{sys.prefix}/bin/activate",
        "tests/data": f"{ROOT}/tests/data",
    },
    "doc/contributing.md": {
        "COLLECTION": INPUT,
        "doc/metrics.md": "metrics.md",
        "tests/data": f"{ROOT}/tests/data",
    },
    "doc/bps.md": {
        "htcondor.yaml": "parsl.yaml",
        "LSSTCam/runs/DRP/20261009": INPUT,
        "LSSTCam/backgroundQa.yaml#visit": "HSC/backgroundQa.yaml#visit,gatherVisit",
        "-d \"instrument='LSSTCam' AND day_obs=20261009\"": "-d \"instrument='HSC' AND visit=1176\"",
        "pipetask report REPO submit/...": "pipetask report REPO submit/u/you/backgroundQa/*",
        "--id submit/...": "--id $(ls -d submit/u/you/backgroundQa/* | head -n 1)",
    },
    "doc/campaigns.md": {"COLLECTION": INPUT},
    "doc/export.md": {
        "COLLECTION": "u/you/bgqa",
        "http://HOST:8086": "SERVER",
        "https://HOST:8086": "SERVER",
    },
    "doc/generations.md": {"my_background": "calexpBackground"},
    "doc/notebook.md": {
        "bgqa demo demo": "bgqa demo --help",
        "REPO": "demo",
        "INPUT": "demo/inputs",
        "pipelines/": f"{ROOT}/pipelines/",
    },
    "doc/compare.md": {
        "u/ci/main u/ci/branch": "u/you/bgqa u/you/bgqa",
    },
    "doc/report.md": {"COLLECTION": "u/you/bgqa", "-o DIR": "-o pages"},
    "doc/residual.md": {
        "REPO": "demo",
        "COLLECTION": "demo/inputs",
        "instrument='HSC'": "instrument='DemoCam'",
    },
    "doc/sasquatch.md": {
        # Its datastore is in lsst.analysis.tools.
        "-b sasquatch.yaml": "-b repo",
        "COLLECTION": INPUT,
    },
    "doc/where.md": {
        " dp1": " repo",
        "u/somebody/backgroundQa": "u/you/bgqa",
        "s3://bucket/metrics.parquet": "metrics.parquet",
    },
}


def commands_of(page: Path) -> list[str]:
    """Return the commands of a page: blocks of a shell, indented lines, and
    those in a line of text that begin with bps or bash.
    """
    commands = []
    fence: str | None = None
    lines = iter(page.read_text().splitlines())
    for line in lines:
        if line.startswith("```"):
            fence = None if fence is not None else line[3:]
            continue
        found: list[str] = []
        if fence == "sh" or (fence == "" and line.startswith("$ ")):
            found = [line.removeprefix("$ ")]
        elif fence is None and line.startswith("    "):
            found = [line.strip()] if re.match(PROGRAMS, line.strip()) else []
        elif fence is None:
            found = re.findall(r"`((?:bps|bash) \S[^`]*--?[^`]*|bash \S[^`]*)`", line)
        for command in found:
            while command.endswith("\\"):
                command = f"{command[:-1].rstrip()} {next(lines).strip()}"
            commands.append(command)
    return [command for command in commands if command]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def replaced(command: str, page: Path) -> str:
    own = REPLACED.get(name_of(page), {})
    for old, new in {**own, **{old: new for old, new in REPLACED["*"].items() if old not in own}}.items():
        command = command.replace(old, new)
    if command.startswith("make "):
        # The goals are there; what they do runs by itself.
        return f"make -C {ROOT} -n {command.removeprefix('make ')}"
    if command.startswith("-c "):
        # A part of a command; a pipeline is built with it.
        return f"pipetask build -p resource://lsst.bgqa/pipelines/backgroundQa.yaml#detector {command}"
    return command


def typed(page: Path) -> list[str]:
    """Return what of a page is run here."""
    if page.name == "faults.md":
        return []
    return [
        command for command in commands_of(page) if command not in NOT_HERE and not ELSEWHERE.match(command)
    ]


def test_commands_are_found_on_their_pages() -> None:
    found = {page: commands_of(page) for page in PAGES}
    assert sum(map(len, found.values())) > 50
    everything = [command for commands in found.values() for command in commands]
    for command in NOT_HERE:
        assert command in everything, command
    for page in PAGES:
        for old in REPLACED.get(name_of(page), {}):
            assert any(old in command for command in found[page]), (name_of(page), old)


def test_packages_are_not_said_to_be_on_an_index() -> None:
    for page in PAGES:
        for command in re.findall(r"pip install[^`\n]*", page.read_text()):
            assert "lsst-bgqa" not in command, (page.name, command)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    shutil.copytree(ROOT / "tests" / "data" / "hsc", folder, dirs_exist_ok=True)
    for name in ("calexp", "calexpBackground"):
        shutil.copy(ROOT / "tests" / "data" / "residual" / f"halo_{name}.fits", folder / f"{name}.fits")
    make_repository(folder / "demo")
    pipeline = "resource://lsst.bgqa/pipelines/backgroundQa.yaml#"
    run = f"pipetask run -b repo -i {INPUT} --register-dataset-types -o"
    for command in (
        "bgqa ingest repo manifest.json",
        f"{run} u/you/bgqa -p {pipeline}detector,visit,gatherDetector,gatherVisit",
        f"{run} u/you/plots -p {pipeline}plotBackground "
        "-d \"instrument='HSC' AND visit=1176 AND detector=1\"",
    ):
        done = execute(command, cwd=folder)
        assert done.returncode == 0, done.stdout
    return folder


@pytest.mark.slow
@pytest.mark.skipif(stack.have_stack(), reason="the repositories have the standalone types")
@pytest.mark.parametrize("page", [page for page in PAGES if typed(page)], ids=name_of)
def test_commands_run_as_written(page: Path, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    shutil.copytree(base, folder)
    if page.name == "bps.md":
        blocks = re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        (campaign,) = [block for block in blocks if "payloadName: backgroundQa-" in block]
        campaign = replaced(campaign, page).replace(
            "instrument='LSSTCam' AND day_obs=20261009", "visit=17900"
        )
        (folder / "campaign.yaml").write_text(campaign.replace("cores: 16", "cores: 2"))
    with FakeServer() as server:
        for command in typed(page):
            line = replaced(command, page).replace("SERVER", server.url)
            done = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", f'eval "$(bgqa env)"\n{line}'],
                cwd=folder,
                env={**environment(), "PWD": str(folder)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}"
