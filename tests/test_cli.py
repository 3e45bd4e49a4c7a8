# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The command line: what it prints, and how it fails."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lsst.bgqa import stack, standalone
from lsst.bgqa.cli import main
from lsst.bgqa.errors import fault_of_the_machine
from lsst.bgqa.metrics import load_catalogue

HSC = Path(__file__).parent / "data" / "hsc"
RESIDUAL = Path(__file__).parent / "data" / "residual"
PLAIN = str(RESIDUAL / "plain_calexp.fits")
BACKGROUND = sorted(HSC.glob("*.fits"))[0]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"COLUMNS": "110"})


def test_inspect_prints_layers_and_metrics() -> None:
    result = run("inspect", str(BACKGROUND))
    assert result.exit_code == 0, result.output
    assert "2048x4176 at (0, 0), adu" in result.output
    assert "Chebyshev fit of order 6, weighted" in result.output
    assert "level_median" in result.output


def test_inspect_gives_json_to_programs() -> None:
    result = run("inspect", "--json", "--unit", "electron", str(BACKGROUND))
    document = json.loads(result.stdout)
    assert document["bbox"] == [0, 0, 2048, 4176]
    assert document["unit"] == "electron"
    assert document["layers"][0]["approximation"] == {"style": "CHEBYSHEV", "order": 6, "weighted": True}
    level = document["metrics"]["level_median"]
    assert level["unit"] == "electron"
    assert level["value"] == pytest.approx(3121, rel=0.01)
    assert list(document["metrics"]) == [name for name in load_catalogue() if name in document["metrics"]]


def test_inspect_measures_the_image_too() -> None:
    background, image = (str(RESIDUAL / f"amp_step_calexp{what}.fits") for what in ("Background", ""))
    document = json.loads(run("inspect", "--json", background, "--image", image).stdout)
    assert document["metrics"]["residual_stepX"]["value"] == pytest.approx(12, abs=2)
    assert document["places"]["residual_stepX"] == "x = 320"
    assert document["metrics"]["residual_limitingSurfaceBrightness"]["unit"] == "mag / arcsec2"
    result = run("inspect", background, "--image", image, "--image-unit", "nJy")
    assert result.exit_code == 0 and "left edge" in result.output
    document = json.loads(
        run("inspect", "--json", background, "--image", image, "--image-unit", "nJy").stdout
    )
    assert document["metrics"]["residual_mean"]["unit"] == "nJy"
    assert "residual_skyBrightnessError" not in document["metrics"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--image", "nowhere.fits"), "nowhere.fits: cannot be read as an image"),
        (("--image", str(BACKGROUND)), "cannot be read as an image of the stack"),
        (("--image", str(RESIDUAL / "plain_calexp.fits")), "covers 640x640"),
        (
            ("--image", str(RESIDUAL / "plain_calexp.fits"), "--image-unit", "parsnip"),
            "'parsnip' is not a unit",
        ),
        (("--image-unit", "nJy"), "--image-unit goes with --image"),
    ],
)
def test_inspect_says_what_is_wrong_with_an_image(arguments: tuple[str, ...], message: str) -> None:
    result = run("inspect", str(BACKGROUND), *arguments)
    assert result.exit_code in (1, 2) and message in result.stderr
    assert "Traceback" not in result.stderr


def test_inspect_describes_a_background_without_a_finite_bin(tmp_path: Path) -> None:
    from lsst.bgqa.standalone.demo import DETECTORS, VISITS, visit_background

    path = tmp_path / "empty.fits"
    visit_background(VISITS[-1], DETECTORS[8]).write_fits(path)
    document = json.loads(run("inspect", "--json", str(path)).stdout)
    assert document["layers"][0]["bin_median"] is None
    assert document["layers"][0]["bad_bins"] == 256
    assert document["metrics"]["coverage_finiteFraction"]["value"] == 0
    assert run("inspect", str(path)).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "nowhere.fits"], "nowhere.fits: cannot be read"),
        (["inspect", __file__], "not a FITS file"),
        (["inspect", "--unit", "furlong", str(BACKGROUND)], "'furlong' is not a unit"),
        (["ingest", "repo", "nowhere.json"], "nowhere.json: cannot be read"),
        (["demo", __file__], "neither an empty folder nor a demo repository"),
    ],
)
def test_mistakes_end_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line


@pytest.mark.parametrize(
    "arguments",
    [["inspect"], ["nonsense"], ["metrics", "--format", "xml"], ["ingest", "repo", "m", "-t", "post"]],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


@pytest.mark.skipif(
    "sys.platform == 'win32' or __import__('os').geteuid() == 0", reason="root may write anywhere"
)
def test_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    result = run("demo", str(tmp_path / "demo"))
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_a_fault_of_the_machine_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*arguments: object) -> None:
        # As a Butler wraps what its datastore meets.
        raise RuntimeError("Failed to serialize") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lsst.bgqa.standalone.demo._repository._fill", fail)
    result = run("demo", str(tmp_path / "demo"))
    assert (result.exit_code, result.stderr) == (1, f"Error: {tmp_path / 'demo'}: No space left on device\n")


def test_a_fault_of_the_program_is_none_of_the_machine() -> None:
    assert fault_of_the_machine(ValueError("no")) is None
    error = ValueError("no")
    error.__context__ = OSError(errno.ENOENT, "No such file or directory")  # it was dealt with
    assert fault_of_the_machine(error) is None
    assert fault_of_the_machine(PermissionError(errno.EACCES, "Permission denied", "f")) == (
        "f: Permission denied"
    )
    copied = OSError(errno.ENOSPC, "No space left on device", "source", None, "copy")
    assert fault_of_the_machine(copied) == "copy: No space left on device"
    assert fault_of_the_machine(OSError("Header missing END card.")) == "Header missing END card."
    error.__cause__ = sqlite3.OperationalError("database or disk is full")
    assert fault_of_the_machine(error) == "the repository's database: database or disk is full"


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "s3://somebody:{}@bucket/demo"],
        ["report", "repo", "run", "-o", "s3://somebody:{}@bucket/report"],
        ["inspect", "nowhere://somebody:{}@bucket/background.fits"],
    ],
)
@pytest.mark.parametrize("password", ["secret", "se/cr@et"])
def test_passwords_of_urls_are_never_printed(
    arguments: list[str], password: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*(argument.format(password) for argument in arguments))
    assert result.exit_code == 1
    assert "somebody:***@" in result.stderr
    for part in (password, "et@"):
        assert part not in result.output


def test_names_that_are_not_utf8_are_said(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    for arguments in (
        ["discover", name],
        ["ingest", name, str(HSC / "manifest.json")],
        ["ingest", "repo", name],
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert "the name is not in UTF-8" in result.stderr and len(result.stderr.splitlines()) == 1


def test_metrics_lists_the_catalogue() -> None:
    rows = json.loads(run("metrics", "--format", "json").stdout)
    assert [row["metric"] for row in rows] == list(load_catalogue())
    assert "| `level_median` |" in run("metrics", "--format", "markdown").stdout
    table = run("metrics").stdout
    assert "edges_edgeExcess" in table


@pytest.mark.skipif(stack.have_stack(), reason="nothing is set in the stack")
def test_env_prints_what_a_shell_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAF_BUTLER_CONFIG_PATH", "/my folder")
    monkeypatch.delenv("BGQA_DIR", raising=False)
    lines = run("env").stdout
    script = f'{lines}\nprintf "%s\\n" "$DAF_BUTLER_CONFIG_PATH" "$BGQA_DIR"'
    value = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    path, folder = value.splitlines()
    assert path == f"{standalone.CONFIG_FOLDER}:/my folder"
    for file in ("pipelines/backgroundQa.yaml", "config/bps/bgqa.yaml"):
        assert (Path(folder) / file).is_file()


def test_env_sets_nothing_in_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standalone, "environment", dict)
    monkeypatch.setenv("BGQA_DIR", "/eups/bgqa")
    output = run("env").stdout
    assert all(line.startswith("#") for line in output.splitlines())


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from lsst.bgqa.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('lsst.daf.butler', 'lsst.pipe.base', 'matplotlib', 'pyarrow', 'scipy.stats')"
        " if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "ingest" in output
    assert output.splitlines()[-1] == "[]"


def test_ingest_says_what_it_did(tmp_path: Path) -> None:
    for expected in ("Ingested 10 files of 3 visits (HSC)", "(10 were there already)"):
        result = run("ingest", str(tmp_path / "repo"), str(HSC / "manifest.json"))
        assert result.exit_code == 0, result.output
        assert expected in result.output
