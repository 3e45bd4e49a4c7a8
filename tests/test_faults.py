# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Campaigns that something befalls: nothing is lost, nothing half-written.

What is typed are the commands of ``doc/faults.md``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pilots import (
    HSC,
    PLACES,
    QUANTA,
    backgrounds,
    differences,
    done,
    environment,
    execute,
    faults_of,
    has_run,
    make_repository,
    run_bgqa,
    strays,
    values,
)

from lsst.bgqa import stack
from lsst.bgqa.standalone.ingest import DEFAULT_RUN
from lsst.daf.butler import Butler, CollectionType

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(stack.have_afw(), reason="datasets are of the standalone types"),
]

PAGE = Path(__file__).parents[1] / "doc" / "faults.md"
OUTPUT = "u/pilot/bgqa"
RUN = f"{OUTPUT}/run1"
MOMENTS = 20
TEMPORARY = re.compile(r"\.tmp\.\w+$")


def _commands() -> dict[str, str]:
    """Return the page's commands by the heading that they are under."""
    text = PAGE.read_text()
    blocks = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    found: dict[str, str] = {heading: block for heading, block in blocks}
    broken = text[text.index("## Broken inputs") :]
    again, without = re.findall(r"^```sh\n(.*?)^```$", broken, re.MULTILINE | re.DOTALL)[:2]
    return found | {"Make again": again, "Gather without": without}


COMMANDS = _commands()


@dataclass(frozen=True)
class Pilot:
    """Somebody who types what the page says, for a repository.

    ``folder`` is where the graphs go.
    """

    repo: Path
    folder: Path
    output: str = OUTPUT

    def command(self, heading: str) -> str:
        return (
            COMMANDS[heading]
            .replace("REPO", str(self.repo))
            .replace("INPUT", DEFAULT_RUN)
            .replace(OUTPUT, self.output)
        )

    def type(self, heading: str, more: str = "") -> subprocess.CompletedProcess[str]:
        return execute(self.command(heading).rstrip("\n") + more, cwd=self.folder)

    def start(self, heading: str, more: str = "") -> subprocess.Popen[str]:
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            self.command(heading).rstrip("\n") + more,
            shell=True,
            env=environment(),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def go_on(self) -> list[str]:
        """Go on, and do what the page says to each answer, until all is done.

        Returns what was answered.
        """
        heading = "Resume"
        answers: list[str] = []
        for _ in range(6):
            result = self.type(heading)
            if result.returncode == 0:
                assert " 0 failed and 0 remain " in result.stdout
                return answers
            (answer,) = (words for words in ANSWERS if words in result.stdout)
            answers.append(answer)
            if "does not exist" in answer:
                assert not has_run(self.repo, RUN)
                heading = "Start so that you can resume"
            elif "same sequence" in answer:
                assert self.type("Fill the collection").returncode == 0
            elif "readonly" in answer:
                rolled = self.type("Roll back")
                assert (rolled.returncode, rolled.stdout) == (0, "('ok',)\n")
            else:
                assert "previously succeeded and skipped" in result.stdout
                return answers
        raise AssertionError(answers)


# How the page's table knows what pipetask says.
ANSWERS = (
    f"output collection '{RUN}' does not exist",
    "does not include the same sequence of (flattened) input collections",
    "attempt to write a readonly database",
    "QuantumGraph was empty",
)


@dataclass(frozen=True)
class Undisturbed:
    """A campaign that nothing befell.

    ``life`` are the seconds at which its lines appeared, the last its end.
    """

    template: Path
    values: dict[str, bytes]
    life: list[float]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    repo = make_repository(folder)
    template = folder / "template"
    shutil.copytree(repo, template)
    begin = time.monotonic()
    process = Pilot(repo, folder).start("Start so that you can resume")
    assert process.stdout is not None
    life, said = [], []
    for line in process.stdout:
        life.append(time.monotonic() - begin)
        said.append(line)
    assert process.wait() == 0, "".join(said)
    life.append(time.monotonic() - begin)
    assert (done(repo, RUN), faults_of(repo), strays(repo)) == (QUANTA, [], [])
    made = values(repo, OUTPUT)
    assert len(made) == 4 + 2 * 3 + 2 * 7 + 2 * 3
    return Undisturbed(template, made, life)


@pytest.fixture
def pilot(undisturbed: Undisturbed, tmp_path: Path) -> Pilot:
    shutil.copytree(undisturbed.template, tmp_path / "repo")
    return Pilot(tmp_path / "repo", tmp_path)


def check_nothing_is_lost(pilot: Pilot, undisturbed: Undisturbed, collection: str = OUTPUT) -> None:
    """Nothing is lost or half-written, and the values are those that they
    would have been.
    """
    assert done(pilot.repo, collection) == QUANTA
    assert faults_of(pilot.repo) == []
    assert strays(pilot.repo) == []
    found = differences(values(pilot.repo, collection), undisturbed.values)
    assert found == [], found


def check_what_a_kill_left(pilot: Pilot) -> dict[str, int]:
    """What is known is whole; what is not is temporary, or will be.

    Returns how many quanta of each task have succeeded.
    """
    # Look at a copy: to look rolls back.
    copy = pilot.folder / "copy"
    shutil.copytree(pilot.repo, copy)
    there = Pilot(copy, pilot.folder)
    rolled = there.type("Roll back")
    assert (rolled.returncode, rolled.stdout) == (0, "('ok',)\n")
    assert faults_of(copy) == []
    left = strays(copy)
    assert all(path.startswith(f"{RUN}/") for path in left), left
    counts = done(copy, RUN)
    shutil.rmtree(copy)
    return counts


def lines_until(process: subprocess.Popen[str], words: str) -> str:
    """Read what a process says until a line has these words."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if re.search(words, line):
            return said
    raise AssertionError(f"it never said {words!r}: {said}")


# --- Killed --------------------------------------------------------------


def kill_at(process: subprocess.Popen[str], life: list[float], fraction: float, how: signal.Signals) -> None:
    """Kill a process, and all that it started, when a fraction of its life
    is over.

    The moment is measured in lines that it has written, and the seconds that
    the undisturbed campaign took from there on: it is the same in the run,
    however busy the machine is.
    """
    moment = fraction * life[-1]
    lines = sum(second <= moment for second in life)
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    time.sleep(moment - (life[lines - 1] if lines else 0.0))
    with contextlib.suppress(ProcessLookupError):  # it was quicker this time
        os.killpg(process.pid, how)
    process.stdout.close()
    process.wait()


@pytest.mark.parametrize("number", range(MOMENTS))
def test_killed_at_any_moment(number: int, undisturbed: Undisturbed, pilot: Pilot) -> None:
    fraction = (number + random.Random(number).random()) / MOMENTS
    kill_at(pilot.start("Start so that you can resume"), undisturbed.life, fraction, signal.SIGKILL)
    before = check_what_a_kill_left(pilot)
    began = time.time()
    answers = pilot.go_on()
    # What had succeeded was not executed again.
    assert done(pilot.repo, RUN, before=began) == before
    print(f"killed at {fraction:.2f} with {sum(before.values())} quanta done; answers: {answers}")
    temporary = strays(pilot.repo)
    assert all(TEMPORARY.search(path) for path in temporary), temporary
    assert pilot.type("Clean up after a killed process").returncode == 0
    check_nothing_is_lost(pilot, undisturbed)


COMMITTER = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")  # write before the transaction's end
database.execute("BEGIN IMMEDIATE")
database.execute("CREATE TABLE half (content BLOB)")
for _ in range(100):
    database.execute("INSERT INTO half VALUES (zeroblob(10000))")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_while_committing(undisturbed: Undisturbed, pilot: Pilot) -> None:
    command = [sys.executable, "-c", COMMITTER, str(pilot.repo / "gen3.sqlite3")]
    assert execute(command).returncode == -signal.SIGKILL
    assert (pilot.repo / "gen3.sqlite3-journal").exists()
    said = run_bgqa("discover", str(pilot.repo), cwd=pilot.folder)
    assert said.returncode == 1
    assert re.fullmatch(r"Error: .*readonly database .*killed process.* doc/faults\.md\)\n", said.stderr)
    assert pilot.go_on() == [ANSWERS[2], ANSWERS[0]]
    check_nothing_is_lost(pilot, undisturbed)


@pytest.mark.parametrize("has_the_run", [True, False])
def test_killed_before_the_collection_is_filled(
    has_the_run: bool, undisturbed: Undisturbed, pilot: Pilot
) -> None:
    # The order in which pipetask makes them.
    with Butler.from_config(str(pilot.repo), writeable=True) as butler:
        butler.collections.register(OUTPUT, CollectionType.CHAINED)
        if has_the_run:
            butler.collections.register(RUN)
    assert pilot.go_on() == ([ANSWERS[1]] if has_the_run else [ANSWERS[1], ANSWERS[0]])
    check_nothing_is_lost(pilot, undisturbed)
    with Butler.from_config(str(pilot.repo)) as butler:
        assert butler.collections.get_info(OUTPUT).children == (RUN, DEFAULT_RUN)


# Kill at the most delicate moments: as a file is moved to its name, and as
# it has been. A stage is the how-manyth file, and whether it has been moved.
KILLER = """
import os, signal, sys
from lsst.resources.file import FileResourcePath
from lsst.ctrl.mpexec.cli.pipetask import main
after, name, original = sys.argv.pop(1) == "after", sys.argv.pop(1), FileResourcePath.transfer_from
def transfer_from(self, *args, **kwargs):
    if name not in self.ospath:
        return original(self, *args, **kwargs)
    if after:
        original(self, *args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
FileResourcePath.transfer_from = transfer_from
sys.argv[0] = "pipetask"
main()
"""
STAGES = [
    (when, dataset)
    for dataset in ("calexpBackground_metrics", "calexpBackground_stack_max")
    for when in ("before", "after")
]


@pytest.mark.parametrize(("when", "dataset"), STAGES)
def test_killed_while_writing(when: str, dataset: str, undisturbed: Undisturbed, pilot: Pilot) -> None:
    script = pilot.folder / "killer.py"
    script.write_text(KILLER)
    command = pilot.command("Start so that you can resume").replace(
        "pipetask run", f"exec {sys.executable} {script} {when} {dataset} run", 1
    )
    assert execute(command, cwd=pilot.folder).returncode == -signal.SIGKILL
    check_what_a_kill_left(pilot)
    (left,) = [path for path in strays(pilot.repo) if dataset in path]
    assert bool(TEMPORARY.search(left)) == (when == "before")
    # Without the last option the page's command does not go on where a
    # quantum had written something.
    stubborn = execute(
        pilot.command("Resume").replace(" --clobber-outputs", ""),
        cwd=pilot.folder,
    )
    partial = dataset != "calexpBackground_metrics"
    assert ("already exists in the output run" in stubborn.stdout) == partial
    assert (stubborn.returncode != 0) == partial, stubborn.stdout
    pilot.go_on()
    assert [path for path in strays(pilot.repo) if dataset in path] == ([left] if when == "before" else [])
    assert pilot.type("Clean up after a killed process").returncode == 0
    check_nothing_is_lost(pilot, undisturbed)


def test_a_log_that_a_kill_lost_is_lost_alone(undisturbed: Undisturbed, pilot: Pilot) -> None:
    """Between a quantum's metadata and its log: the page says so."""
    script = pilot.folder / "killer.py"
    script.write_text(KILLER)
    command = pilot.command("Start so that you can resume").replace(
        "pipetask run", f"exec {sys.executable} {script} before backgroundQa_log run", 1
    )
    assert execute(command, cwd=pilot.folder).returncode == -signal.SIGKILL
    pilot.go_on()
    assert pilot.type("Clean up after a killed process").returncode == 0
    check_nothing_is_lost(pilot, undisturbed)
    with Butler.from_config(str(pilot.repo), collections=RUN) as butler:
        counts = {name: len(butler.query_datasets(f"backgroundQa_{name}")) for name in ("metadata", "log")}
    assert counts["log"] == counts["metadata"] - 1
    assert "its log is lost for good" in " ".join(PAGE.read_text().split())


# --- Killed for time -----------------------------------------------------


def test_terminated(undisturbed: Undisturbed, pilot: Pilot) -> None:
    process = pilot.start("Start so that you can resume")
    lines_until(process, "Executed 5 quanta")
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate()
    check_what_a_kill_left(pilot)
    assert 5 <= sum(done(pilot.repo, RUN).values()) < sum(QUANTA.values())
    pilot.go_on()
    assert pilot.type("Clean up after a killed process").returncode == 0
    check_nothing_is_lost(pilot, undisturbed)


def test_quantum_that_hangs_is_killed_alone(undisturbed: Undisturbed, pilot: Pilot) -> None:
    # Each quantum takes the start of a process.
    seconds = max(15, math.ceil(2 * undisturbed.life[-1]))
    process = pilot.start("Start so that you can resume", f" -j 2 --timeout {seconds}")
    said = lines_until(process, "Constructing task and executing quantum")
    os.kill(busiest_child(process.pid), signal.SIGSTOP)
    said += process.communicate()[0]
    assert process.returncode == 1
    # It is named; so is what waited for it, and what a busy machine did not
    # bring to its end in these seconds. Everything else has been executed.
    stopped = Counter(re.findall(r"ERROR:   - TIMED_OUT: <(\w+) dataId=\{instrument: 'HSC', ", said))
    waited = Counter(re.findall(r"ERROR:   - FAILED_DEP: <(\w+) dataId=\{instrument: 'HSC'", said))
    assert stopped
    named = re.findall(rf"Timeout \({seconds} sec\) for task <\w+ dataId=", said)
    assert len(named) == stopped.total()
    assert Counter(done(pilot.repo, RUN)) >= Counter(QUANTA) - stopped - waited
    check_what_a_kill_left(pilot)
    pilot.go_on()
    assert pilot.type("Clean up after a killed process").returncode == 0
    check_nothing_is_lost(pilot, undisturbed)


def busiest_child(leader: int) -> int:
    """Return the process of a group that works on a quantum: of those that
    pipetask started, the one that has used the processor most.
    """
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()[2:]
            if int(fields[0]) == leader and "spawn_main" in (entry / "cmdline").read_text():
                found.append((int(fields[9]) + int(fields[10]), int(entry.name)))
    return max(found)[1]


# --- Broken inputs -------------------------------------------------------


def test_truncated_and_missing_inputs(undisturbed: Undisturbed, pilot: Pilot) -> None:
    files = backgrounds(pilot.repo)
    truncated, missing = files[PLACES[0]], files[PLACES[3]]
    contents = truncated.read_bytes(), missing.read_bytes()
    truncated.write_bytes(contents[0][:9000])
    missing.unlink()

    result = pilot.type("Start so that you can resume")
    assert result.returncode == 1
    names = [f"calexpBackground {{instrument: 'HSC', detector: {d}, visit: {v}}}" for v, d in PLACES]
    for name in (names[0], names[3]):
        assert f"{name} cannot be read: " in result.stdout
        for label in ("visitBackgroundQa", "stackBackgrounds"):
            assert re.search(rf"lsst.{label} WARNING: {re.escape(name)} .*it is left out\.", result.stdout)
    for name in (names[1], names[2]):
        assert f"{name} cannot" not in result.stdout
    assert "Executed 7 quanta successfully, 3 failed and 0 remain" in result.stdout
    # The others complete, and what is there is whole.
    assert done(pilot.repo, RUN) == QUANTA | {"backgroundQa": 2, "gatherBackgroundQa": 0}
    assert strays(pilot.repo) == []
    made = values(pilot.repo, RUN)
    assert sum("calexpBackground_metrics" in name for name in made) == 2
    touched = ("visit", "stack", "campaign")
    assert all(
        any(word in name for word in touched)
        for name in differences(made, undisturbed.values)
        if name in made
    )
    with Butler.from_config(str(pilot.repo), collections=RUN) as butler:
        for visit, detector in ((1176, 1), (17900, 0)):
            table = butler.get("calexpBackground_visit_table", instrument="HSC", visit=visit)
            assert table["detector"].tolist() == [detector]

    report = pilot.type("Check the result")
    assert report.returncode == 0
    for visit, detector in (PLACES[0], PLACES[3]):
        assert re.search(rf"'instrument': 'HSC', 'detector': {detector}, 'visit': {visit}", report.stdout)
    words = " ".join(re.sub(r"['\"]", "", report.stdout).split())
    assert "cannot be read" in words and "does not match size recorded in registry" in words
    assert re.search(r"gatherBackgroundQa +\[\] +1 +0 +1", report.stdout)

    # Gather without them.
    assert pilot.type("Gather without").returncode == 0
    with Butler.from_config(str(pilot.repo), collections=OUTPUT) as butler:
        table = butler.get("calexpBackground_campaign_table", instrument="HSC")
        assert table["detector"].to_pylist() == [1, 0]

    # Or put them back.
    truncated.write_bytes(contents[0])
    missing.write_bytes(contents[1])
    pilot.go_on()
    assert done(pilot.repo, RUN) == QUANTA
    result = pilot.type("Make again")
    assert result.returncode == 0, result.stdout
    check_nothing_is_lost(pilot, undisturbed)


# --- Places that cannot be written ---------------------------------------


def mount(*arguments: str) -> None:
    if shutil.which("mount") is None:
        pytest.skip("there is no mount")
    result = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"mounting takes root, and a machine that lets it: {result.stderr.strip()}")


@contextlib.contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[Path]:
    place.mkdir()
    mount(*arguments, str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def small_disk(undisturbed: Undisturbed, tmp_path: Path) -> Iterator[Pilot]:
    """A repository on a disk of its own, with a few megabytes to spare."""
    size = sum(path.stat().st_size for path in undisturbed.template.rglob("*") if path.is_file())
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={size + (4 << 20)}", "tmpfs") as disk:
        shutil.copytree(undisturbed.template, disk / "repo")
        yield Pilot(disk / "repo", tmp_path)


def fill(disk: Path, leave: int = 0) -> Callable[[], None]:
    """Fill a disk, and return what makes room again."""
    hog = disk / "hog"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with hog.open("wb", buffering=0) as stream:
        with contextlib.suppress(OSError):
            stream.write(bytes(max(free - leave, 0)))
            while not leave:
                stream.write(bytes(1))
    return hog.unlink


FULL = re.compile(r"No space left on device|database or disk is full")


def test_disk_fills_while_writing(small_disk: Pilot, undisturbed: Undisturbed) -> None:
    disk = small_disk.repo.parent
    process = small_disk.start("Start so that you can resume")
    said = lines_until(process, "Executed 2 quanta")
    os.killpg(process.pid, signal.SIGSTOP)
    make_room = fill(disk)
    os.killpg(process.pid, signal.SIGCONT)
    said += process.communicate()[0]
    assert process.returncode == 1
    assert FULL.search(said)
    # Every failure has this reason, and says so.
    failures = re.findall(r"on quantum .* failed\. Exception (.*)", said)
    assert failures
    assert all(FULL.search(text) or "Failed to serialize dataset" in text for text in failures)
    make_room()
    counts = done(small_disk.repo, RUN)
    assert 2 <= sum(counts.values()) < sum(QUANTA.values())
    assert (faults_of(small_disk.repo), strays(small_disk.repo)) == ([], [])
    small_disk.go_on()
    check_nothing_is_lost(small_disk, undisturbed)


@pytest.mark.parametrize("leave", [16 << 10, 64 << 10])
def test_disk_is_full_from_the_start(leave: int, small_disk: Pilot, undisturbed: Undisturbed) -> None:
    make_room = fill(small_disk.repo.parent, leave)
    result = small_disk.type("Start so that you can resume")
    assert result.returncode == 1
    assert FULL.search(result.stdout)
    make_room()
    if "is missing from database schema" in small_disk.type("Resume").stdout:
        assert small_disk.type("Dataset types without tables").returncode == 0
    small_disk.go_on()
    check_nothing_is_lost(small_disk, undisturbed)


def test_dataset_types_in_use_are_not_removed(undisturbed: Undisturbed, pilot: Pilot) -> None:
    pilot.go_on()
    pilot.type("Dataset types without tables")
    check_nothing_is_lost(pilot, undisturbed)


def test_temporary_folder_is_full(pilot: Pilot, undisturbed: Undisturbed, tmp_path: Path) -> None:
    with mounted(tmp_path / "tmp", "-t", "tmpfs", "-o", "size=64k", "tmpfs") as folder:
        # Where not a byte is free Python takes another folder.
        fill(folder, leave=8 << 10)
        result = execute(
            pilot.command("Start so that you can resume"),
            cwd=pilot.folder,
            variables={"TMPDIR": str(folder)},
        )
        assert result.returncode == 1
        reason = rf"the table cannot be kept in {folder} \(TMPDIR\): No space left on device"
        for label in ("gatherBackgroundQa", "gatherVisitBackgroundQa"):
            assert re.search(rf"Execution of task '{label}' .*{reason}", result.stdout)
        assert done(pilot.repo, RUN) == QUANTA | {"gatherBackgroundQa": 0, "gatherVisitBackgroundQa": 0}
        assert [path.name for path in folder.iterdir()] == ["hog"]
    pilot.go_on()
    check_nothing_is_lost(pilot, undisturbed)


def test_read_only_repository(undisturbed: Undisturbed, pilot: Pilot, tmp_path: Path) -> None:
    # Permissions do not keep root from writing; a mount does.
    with mounted(tmp_path / "mounted", "--bind", str(pilot.repo)) as place:
        mount("-o", "remount,bind,ro", str(place))
        result = Pilot(place, pilot.folder).type("Start so that you can resume")
        assert result.returncode == 1
        assert "attempt to write a readonly database" in result.stdout
        for arguments in (("ingest", str(place), str(HSC / "manifest.json")), ("demo", str(place))):
            said = run_bgqa(*arguments, cwd=tmp_path)
            assert said.returncode == 1
            assert re.fullmatch(
                rf"Error: {place}: .*attempt to write a readonly database \(it is read-only, or .*\)\n",
                said.stderr,
            ), said.stderr
        said = run_bgqa("demo", str(place / "demo"), cwd=tmp_path)
        assert re.fullmatch(rf"Error: {place}/demo/?: Read-only file system\n", said.stderr), said.stderr
        said = run_bgqa("discover", "--json", str(place), cwd=tmp_path)
        assert (said.returncode, said.stderr) == (0, "")
        assert json.loads(said.stdout)[0]["count"] == len(PLACES)
    for path in undisturbed.template.rglob("*"):
        if path.is_file():
            assert (pilot.repo / path.relative_to(undisturbed.template)).read_bytes() == path.read_bytes()
    assert strays(pilot.repo) == []


# --- Two at once ---------------------------------------------------------


def test_two_campaigns_at_once(undisturbed: Undisturbed, pilot: Pilot) -> None:
    pilots = []
    for name in ("one", "two"):
        folder = pilot.folder / name
        folder.mkdir()
        pilots.append(Pilot(pilot.repo, folder, f"u/{name}/bgqa"))
    processes = [each.start("Start so that you can resume") for each in pilots]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    for each in pilots:
        check_nothing_is_lost(each, undisturbed, each.output)
