# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What tasks and commands say: in a clean run, no more than they should."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from pilots import HSC, PIPELINE, execute, pipetask, run_bgqa

from lsst.bgqa import stack
from lsst.bgqa.standalone.demo import DETECTORS, INPUT_RUN, VISITS, make_repository, visit_background

# A line of pipetask's log. What has no such beginning is a print, a Python
# warning or a traceback, but for the table of quanta that one message has.
LINE = re.compile(r"^(?P<logger>[\w.]+) (?P<level>[A-Z]+): (?P<message>.*)$")
TABLE = re.compile(r"^(Quanta +Tasks *|-+ -+|\s*\d+ +\w+)$")
DARK, MOONLIT = VISITS[1].id, VISITS[-1].id
# Every subset, over a dark visit and a moonlit one, and over three patches;
# pictures of a good detector, a blind one, and a patch that was tampered with.
RUNS = {
    "detector,visit,stack,gatherDetector,gatherVisit": f"instrument='DemoCam' AND visit IN {DARK, MOONLIT}",
    "coadd,tract,gatherCoadd,gatherTract": "skymap='demo' AND patch IN (0, 1, 8) AND band='i'",
    "plotBackground": f"instrument='DemoCam' AND visit={MOONLIT} AND detector IN (0, 8)",
    "plotCoaddBackground": "skymap='demo' AND patch=8 AND band='i'",
}
TASKS = {
    "backgroundQa": 18,
    "visitBackgroundQa": 2,
    "stackBackgrounds": 9,
    "gatherBackgroundQa": 1,
    "gatherVisitBackgroundQa": 1,
    "coaddBackgroundQa": 3,
    "tractBackgroundQa": 1,
    "gatherCoaddBackgroundQa": 1,
    "gatherTractBackgroundQa": 1,
    "plotBackground": 2,
    "plotCoaddBackground": 1,
}
# The faults that are in the demo, each with its data ID: nothing else is to
# be warned of.
FAULTS = {
    ("backgroundQa", rf"calexpBackground \{{.*detector: 8, visit: {MOONLIT}\}} has no finite pixel"),
    ("stackBackgrounds", rf"calexpBackground \{{.*detector: 8, visit: {MOONLIT}\}} is left out: it has no"),
    ("coaddBackgroundQa", r"deepCoadd_calexp_background \{.*patch: 8\}: the closure is not explained"),
}
# Outside an EUPS stack lsst.utils says so, once in a process.
NO_EUPS = "Unable to import eups, so cannot determine package versions from environment"

standalone_only = pytest.mark.skipif(
    stack.have_afw(), reason="the demo's repository is made with the standalone types"
)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str]]:
    """What pipetask logs: logger, level and message of each line."""
    repo = tmp_path_factory.mktemp("logging") / "demo"
    make_repository(repo)
    said = ""
    for number, (subsets, where) in enumerate(RUNS.items()):
        result = execute(
            [
                *(pipetask(), "run", "-b", str(repo), "-p", f"{PIPELINE}#{subsets}", "-i", INPUT_RUN),
                *("-o", f"u/pilot/run{number}", "--register-dataset-types", "-d", where),
                *("-c", "parameters:coaddUnit=nJy"),
            ],
            # Python shows every warning, not only those for developers.
            variables={"PYTHONWARNINGS": "always"},
            apart=True,
        )
        assert result.returncode == 0, result.stderr
        said += result.stderr
    return parse(said)


def parse(log: str) -> list[tuple[str, str, str]]:
    """Return logger, level and message of each line, but for the EUPS's."""
    lines = []
    for line in log.splitlines():
        if TABLE.match(line):
            continue
        match = LINE.match(line)
        assert match, f"this is no log message: {line}"
        if match["message"] != NO_EUPS or importlib.util.find_spec("eups") is not None:
            lines.append((match["logger"], match["level"], match["message"]))
    return lines


@pytest.mark.slow
@standalone_only
def test_nothing_is_warned_of_but_the_faults(lines: list[tuple[str, str, str]]) -> None:
    # Every line is a log message: no print, no Python warning, no traceback.
    found = [line for line in lines if line[1] not in ("INFO", "VERBOSE", "DEBUG")]
    expected = [
        next((label, what) for label, what in FAULTS if re.match(what, message))
        if level == "WARNING" and any(re.match(what, message) for _, what in FAULTS)
        else (logger, level, message)
        for logger, level, message in found
    ]
    assert sorted(map(str, expected)) == sorted(map(str, FAULTS))
    assert {logger for logger, _, _ in found} == {f"lsst.{label}" for label, _ in FAULTS}


@pytest.mark.slow
@standalone_only
def test_a_quantum_has_one_line_at_most(lines: list[tuple[str, str, str]]) -> None:
    messages = [message for _, _, message in lines]
    executed = Counter(
        match[1] for message in messages if (match := re.match(r"Execution of task '(\w+)'.* took", message))
    )
    assert executed == TASKS
    said = Counter(logger.removeprefix("lsst.") for logger, level, _ in lines if level == "INFO")
    for label, count in executed.items():
        # Of the blind detector, a warning takes its place; a picture speaks
        # for itself.
        silent = label == "backgroundQa"
        assert said[label] == (0 if label.startswith("plot") else count - silent), label
    # Nothing else of ours speaks up.
    assert not [logger for logger, _, _ in lines if logger.startswith("lsst.bgqa")]


@pytest.mark.slow
@standalone_only
def test_lines_name_what_they_are_about(lines: list[tuple[str, str, str]]) -> None:
    for logger, _, message in lines:
        if logger.removeprefix("lsst.") in TASKS:
            assert re.match(r"\w+ \{(instrument|skymap|band): '", message), message


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("env",),
        ("metrics",),
        ("metrics", "--format", "json"),
        ("inspect", "background.fits"),
        ("inspect", "--json", "background.fits"),
        ("inspect", "--plot", "background.png", "blind.fits"),
    ],
    ids=" ".join,
)
def test_command_writes_nothing_to_standard_error(arguments: tuple[str, ...], tmp_path: Path) -> None:
    visit_background(VISITS[0], DETECTORS[0]).write_fits(tmp_path / "background.fits")
    visit_background(VISITS[-1], DETECTORS[8]).write_fits(tmp_path / "blind.fits")
    result = run_bgqa(*arguments, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout or arguments[0] == "env"


@pytest.mark.slow
@standalone_only
def test_command_on_a_repository_writes_nothing_to_standard_error(tmp_path: Path) -> None:
    for arguments in (
        ("ingest", "repo", str(HSC / "manifest.json")),
        ("ingest", "repo", str(HSC / "manifest.json")),
        ("discover", "repo"),
        ("discover", "repo", "--json"),
    ):
        result = run_bgqa(*arguments, cwd=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout


@pytest.mark.slow
@standalone_only
def test_demo_writes_nothing_to_standard_error(tmp_path: Path) -> None:
    result = run_bgqa("demo", "demo", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    # As in a log: no bars, no colours.
    assert "\x1b" not in result.stdout and "\r" not in result.stdout


def test_importing_everything_is_silent(tmp_path: Path) -> None:
    modules = (
        "lsst.bgqa, lsst.bgqa.tasks, lsst.bgqa.plots, lsst.bgqa.metrics, lsst.bgqa.discovery, lsst.bgqa.cli"
    )
    result = execute([sys.executable, "-W", "always", "-c", f"import {modules}"], apart=True, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
