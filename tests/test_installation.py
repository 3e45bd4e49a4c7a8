# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The Pythons that it runs on, and what make does about them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from batch import run
from pilots import environment

from lsst.bgqa import standalone
from lsst.bgqa.standalone import _environment
from lsst.bgqa.standalone.demo import INPUT_RUN, make_repository
from lsst.bgqa.standalone.startup.sitecustomize import is_faulty
from lsst.pipe.base.quantum_graph import PredictedQuantumGraph

ROOT = Path(__file__).parents[1]
STARTUP = Path(_environment.__file__).with_name("startup")
PYTHONS = sorted({Path(sys.executable), *Path.home().glob(".pyenv/versions/3.1[2-9]*/bin/python3")})

SEEK = """
import io, multiprocessing, os, zipfile

def seek():
    stream = io.BytesIO()
    first, second = os.urandom(100_000), os.urandom(100_000)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("first", first)
        archive.writestr("second", second)
    with zipfile.ZipFile(stream) as archive, archive.open("first") as one, archive.open("second") as other:
        assert one.read(10) == first[:10]
        assert other.read(10) == second[:10]
        one.seek(50_000)
        assert one.read(10) == first[50_000:50_010]
        other.seek(90_000)
        assert other.read(10) == second[90_000:90_010]

if __name__ == "__main__":
    seek()
    child = multiprocessing.get_context("spawn").Process(target=seek)
    child.start()
    child.join()
    assert child.exitcode == 0
"""


# A Python that says that it is of another version.
VERSIONED = """#!/bin/sh
exec {python} -c 'import sys; sys.version_info = {version}; exec(sys.argv[2])' "$@"
"""


def chosen(tmp_path: Path, *goals: str, **versions: tuple[int, int, int]) -> subprocess.CompletedProcess[str]:
    """Run make where only some Pythons are to be found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("sh", "touch", "echo"):
        (folder / program).symlink_to(f"/bin/{program}")
    for name, version in versions.items():
        path = folder / name.replace("_", ".")
        path.write_text(VERSIONED.format(python=sys.executable, version=version))
        path.chmod(0o755)
    show = "show:; @echo $(PYTHON)"
    return subprocess.run(
        [
            str(shutil.which("make")),
            "-C",
            str(ROOT),
            "--no-print-directory",
            "--eval",
            show,
            f"VENV={tmp_path}",
            *goals,
        ],
        env={"PATH": str(folder), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


# --- make ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({"python3_13": (3, 13, 0), "python3_12": (3, 12, 9)}, "python3.12"),
        ({"python3_13": (3, 13, 2), "python3_12": (3, 12, 9)}, "python3.13"),
        ({"python3_13": (3, 13, 1), "python3": (3, 14, 0)}, "python3"),
        ({"python3_12": (3, 12, 8), "python3": (3, 11, 9)}, "python3.12"),
        ({"python3": (3, 11, 9)}, ""),
    ],
)
def test_make_prefers_a_python_without_the_zipfile_fault(
    versions: dict[str, tuple[int, int, int]], expected: str, tmp_path: Path
) -> None:
    assert chosen(tmp_path, "show", **versions).stdout.strip() == expected


def test_make_warns_in_one_line_of_the_zipfile_fault(tmp_path: Path) -> None:
    for name, version in (("sound", (3, 12, 9)), ("faulty", (3, 12, 1))):
        (tmp_path / name).mkdir()
        done = chosen(tmp_path / name, f"{tmp_path / name}/.runs", python3_12=version)
        lines = [line for line in done.stderr.splitlines() if "zipfile" in line]
        assert len(lines) == (name == "faulty"), done.stderr
        # What it says can be typed.
        assert all('eval "$(bgqa env)"' in line for line in lines)


def test_make_help_says_what_it_takes() -> None:
    """Time of the tests, and how much is installed."""
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("test", "test-all"):
        assert re.search(rf"make {target} .*\(\d+ minutes", done.stdout)
    assert re.search(r"\.venv is \d\.\d+ GB", done.stdout)


# --- Pythons whose zipfile cannot seek -----------------------------------


@pytest.mark.parametrize("python", PYTHONS, ids=str)
def test_zipfile_seeks_also_in_a_faulty_python(python: Path, tmp_path: Path) -> None:
    """Its own process, and those that it spawns."""
    program = tmp_path / "seek.py"
    program.write_text(SEEK)
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    check = f"import sys; sys.path.append({str(STARTUP)!r}); from sitecustomize import is_faulty; "
    said = subprocess.run([python, "-c", f"{check} sys.exit(is_faulty())"], env=bare, check=False)
    as_it_is = subprocess.run([python, program], env=bare, capture_output=True, check=False)
    # The fault is where we say that it is, and nowhere else.
    assert (as_it_is.returncode != 0) == (said.returncode != 0), as_it_is.stderr
    mended = bare | {"PYTHONPATH": str(STARTUP)}
    done = subprocess.run([python, program], env=mended, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_zipfile_is_mended_where_a_shell_has_what_env_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    for faulty in (False, True):
        monkeypatch.setattr(_environment, "is_faulty", lambda faulty=faulty: faulty)
        for before, after in (("", ""), ("/a:/b", ":/a:/b"), (f"/a:{STARTUP}", ":/a")):
            expected = f"{STARTUP}{after}" if faulty else None
            assert standalone.environment({"PYTHONPATH": before}).get("PYTHONPATH") == expected


def test_zipfile_is_mended_before_a_site_customizes_python(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os.environ['SITE'] = 'customized'\n")
    path = os.pathsep.join([str(STARTUP), str(tmp_path)])
    show = "import os; print(os.environ['SITE'])"
    done = subprocess.run(
        [sys.executable, "-c", show], env=os.environ | {"PYTHONPATH": path}, capture_output=True
    )
    assert done.stdout.split() == [b"customized"], done.stderr


@pytest.mark.slow
def test_zipfile_reads_graphs_of_more_than_a_hundred_quanta(tmp_path: Path) -> None:
    """A cluster of BPS, and its final job."""
    repo, graph = tmp_path / "demo", tmp_path / "graph.qg"
    make_repository(repo)
    pipeline = "resource://lsst.bgqa/pipelines/backgroundQa.yaml#detector,visit,stack,coadd,coaddResidual"
    options = ("-b", str(repo), "-i", INPUT_RUN, "-o", "u/pilot/bgqa", "--output-run", "u/pilot/bgqa/run")
    run(
        "pipetask",
        "qgraph",
        *options,
        "-p",
        pipeline,
        "--save-qgraph",
        str(graph),
        "--qgraph-datastore-records",
    )
    with PredictedQuantumGraph.open(str(graph)) as reader:
        reader.read_thin_graph()
        tasks = reader.finish().quanta_by_task
    assert sum(map(len, tasks.values())) > 100
    quanta = list(tasks["coaddBackgroundQa"].values())
    run("pipetask", "pre-exec-init-qbb", str(repo), str(graph))
    cluster = (
        "pipetask",
        "run-qbb",
        str(repo),
        str(graph),
        "--qgraph-node-id",
        ",".join(map(str, quanta[:4])),
    )
    final = ("butler", "aggregate-graph", str(graph), str(repo), "-j", "2", "--register-dataset-types")
    if is_faulty():
        faulty = environment() | {"PYTHONPATH": ""}
        done = subprocess.run(cluster, env=faulty, capture_output=True, text=True, check=False)
        assert done.returncode != 0 and "EOFError" in done.stderr
    assert "Executed 4 quanta successfully" in run(*cluster)
    assert "EOFError" not in run(*final)
