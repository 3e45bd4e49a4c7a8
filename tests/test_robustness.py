# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Outputs that are killed, odd files, hostile texts: what is left, and said."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from campaigns import MadeUp
from click.testing import CliRunner, Result
from test_ingest import HSC

from lsst.bgqa import stack
from lsst.bgqa.cli import main
from lsst.bgqa.commands._console import make_console
from lsst.bgqa.dashboard._output import held, output_file, remove_stale, whole_file
from lsst.bgqa.dashboard.influx import InfluxServer
from lsst.bgqa.dashboard.report._site import MARKER, making
from lsst.bgqa.errors import UserError, plain
from lsst.bgqa.metrics import MetricBundle, load_catalogue, quantities_of
from lsst.bgqa.standalone import _environment, environment
from lsst.bgqa.standalone.manifest import read_manifest
from lsst.bgqa.tasks._inputs import put_metrics_first
from lsst.daf.butler import Butler
from lsst.pipe.base import Pipeline, Struct
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor
from lsst.resources import ResourcePath

BACKGROUND = HSC / "calexpBackground_HSC_HSC-Z_1176_000.fits"


def run(*arguments: str, columns: str = "110") -> Result:
    return CliRunner().invoke(main, list(arguments), env={"COLUMNS": columns})


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    made = MadeUp(tmp_path / "repo", visits=1, detectors=4)
    made.put_bundles("run")
    return made


def export(made: MadeUp, *arguments: str) -> Result:
    return run("export", made.path, "run", "--format", "csv", *arguments)


@pytest.mark.parametrize("form", ["csv", "influx"])
def test_a_reader_that_stops_is_no_error(form: str, made: MadeUp) -> None:
    command = [sys.executable, "-m", "lsst.bgqa", "export", made.path, "run", "--format", form]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert "Error" not in done.stderr and "Traceback" not in done.stderr


def test_a_disk_that_is_full_is_named(made: MadeUp) -> None:
    result = export(made, "-o", "/dev/full")
    assert result.exit_code == 1
    assert result.stderr == "Error: /dev/full: No space left on device\n"


# --- Warnings ------------------------------------------------------------


def test_warnings_that_the_summary_speaks_of_are_shown(made: MadeUp, tmp_path: Path) -> None:
    clean = export(made, "-o", str(tmp_path / "a.csv"))
    assert "Warning" not in clean.stderr and len(clean.stderr.splitlines()) == 1
    made.path_of(made.put_bundle("later", 1, 0)).write_text("nonsense")
    for command in (["export", "--format", "csv"], ["report", "-o", str(tmp_path / "report")]):
        result = run(command[0], made.path, "later,run", *command[1:])
        assert result.exit_code == 0
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
        assert "calexpBackground_metrics {instrument: 'Cam', detector: 0, visit: 1} is left out" in line


def test_a_clean_report_says_nothing_on_stderr(made: MadeUp, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lsst.bgqa", "report", made.path, "run", "-o", str(tmp_path / "report")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# --- Files that are written ----------------------------------------------


def test_links_are_followed_and_modes_kept(made: MadeUp, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "real.csv"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o640)
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    assert export(made, "-o", str(link)).exit_code == 0
    assert link.is_symlink()
    assert target.read_text().startswith("kind,")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    dangling = tmp_path / "dangling.csv"
    dangling.symlink_to(tmp_path / "deep" / "new.csv")
    assert export(made, "-o", str(dangling)).exit_code == 0
    assert (tmp_path / "deep" / "new.csv").read_text() == target.read_text()
    assert sorted(path.name for path in target.parent.iterdir()) == ["new.csv", "real.csv"]


def test_pipes_and_devices_are_written_directly(made: MadeUp, tmp_path: Path) -> None:
    expected = export(made).stdout
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    assert export(made, "-o", str(pipe)).exit_code == 0
    reader.join(10)
    assert read == [expected]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert export(made, "-o", "/dev/null").exit_code == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    command = f'"{sys.executable}" -m lsst.bgqa export "{made.path}" run --format csv -o'
    for words in (f"{command} /dev/fd/1 | cat", f"{command} >(cat) | cat"):
        done = subprocess.run(["bash", "-c", words], capture_output=True, text=True)
        assert done.stdout == expected, done.stderr


def test_an_output_that_cannot_be_written_is_named(made: MadeUp, tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "folder.csv", tmp_path / "loop.csv"):
        if path.name == "loop.csv":
            path.symlink_to(path)
        result = export(made, "-o", str(path))
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: {path}: ") and len(result.stderr.splitlines()) == 1


def test_nothing_is_left_of_an_output_that_failed(tmp_path: Path) -> None:
    for manager in (whole_file(tmp_path / "a"), output_file((tmp_path / "a").as_uri())):
        with pytest.raises(KeyboardInterrupt), manager as stream:
            stream.write(b"half")
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    place = tmp_path / "out[1].csv"
    stale = tmp_path / ".out[1].csv-0123abcd.part"
    others = [tmp_path / ".out[1].csv-longer-than-that.part", tmp_path / ".other.csv-0123abcd.part"]
    live = tmp_path / ".out[1].csv-89abcdef.part"
    for path in (stale, live, *others):
        path.write_text("half")
    script = (
        "import sys, time; from pathlib import Path; from lsst.bgqa.dashboard._output import held\n"
        "with held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(live)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        with whole_file(place) as stream:
            stream.write(b"whole")
        assert not stale.exists() and live.exists() and all(path.exists() for path in others)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    remove_stale(place, ".part")
    assert not live.exists()
    with held(place):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_killed_report_leaves_nothing_for_the_next(number: int, made: MadeUp, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    script = (
        "import sys, time\n"
        "from lsst.bgqa.dashboard.report import _make\n"
        "_make._Maker.make = lambda self: (print('making', flush=True), time.sleep(60))\n"
        "from lsst.bgqa.cli import main\n"
        "main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", script, "report", made.path, "run", "-o", str(folder / "report")]
    # Under nohup, a hangup is ignored, and by children, too.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)
    )
    assert process.stdout is not None and process.stdout.readline() == b"making\n"
    process.send_signal(number)
    process.wait(20)
    process.stdout.close()
    left = [path.name for path in folder.iterdir()]
    assert len(left) == (1 if number == signal.SIGKILL else 0)
    assert run("report", made.path, "run", "-o", str(folder / "report")).exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["report"]


# --- A report's folder ---------------------------------------------------


def write_report(folder: Path, *names: str) -> None:
    with making(folder) as new:
        for name in names:
            (new / name).parent.mkdir(exist_ok=True)
            (new / name).write_text("page")


def test_a_report_replaces_what_reports_wrote(tmp_path: Path) -> None:
    target = tmp_path / "report"
    write_report(target, "index.html", "visits/1.html")
    write_report(target, "index.html")
    assert {path.name for path in target.iterdir()} == {"index.html", MARKER}


@pytest.mark.parametrize("name", ["notes.txt", "visits/notes.txt"])
def test_a_report_keeps_what_a_user_put_beside(name: str, tmp_path: Path) -> None:
    target = tmp_path / "report"
    write_report(target, "index.html", "visits/1.html")
    (target / name).write_text("mine")
    with pytest.raises(UserError, match=f"holds {name}, which no report wrote"):
        write_report(target, "index.html")
    assert (target / name).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("kind", ["empty folder", "link to a folder", "link to a file", "page made a link"])
def test_a_report_keeps_folders_and_links_of_a_user(kind: str, tmp_path: Path) -> None:
    target, mine = tmp_path / "report", tmp_path / "mine"
    write_report(target, "index.html", "visits/1.html")
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    path = target / "visits" / ("1.html" if kind == "page made a link" else "here")
    if kind == "empty folder":
        path.mkdir()
    else:
        path.unlink(missing_ok=True)
        path.symlink_to(mine if kind == "link to a folder" else mine / "notes.txt")
    with pytest.raises(UserError, match=f"holds visits/{path.name}, which no report wrote"):
        write_report(target, "index.html")
    assert path.is_symlink() or path.is_dir()
    assert (mine / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"files": 3}', "nonsense"])
def test_a_marker_alone_makes_no_report(content: str, tmp_path: Path) -> None:
    target = tmp_path / "report"
    target.mkdir()
    (target / MARKER).write_text(content)
    (target / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="not a report"):
        write_report(target, "index.html")
    assert (target / "thesis.tex").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(made: MadeUp, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("report", made.path, "run", "-o", str(tmp_path / "file" / "report"))
    assert result.exit_code == 1
    expected = f"Error: {tmp_path / 'file' / 'report'} cannot be made: {tmp_path / 'file'} is not a folder\n"
    assert result.stderr == expected


def test_links_to_a_report(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    write_report(link, "index.html")
    assert link.is_symlink() and (tmp_path / "real" / "index.html").is_file()
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(UserError, match="circle"):
        write_report(loop, "index.html")


# --- InfluxDB ------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://host:port", "http://host:99999", "ftp://host", "http://", "http://a b:1x"]
)
def test_what_is_no_url_is_said(url: str) -> None:
    with pytest.raises(UserError, match="not the URL of a server"):
        InfluxServer(url, "db")


@pytest.mark.parametrize("token", ["schl\u00fcssel\u20ac", "two\nlines", "esc\x1b[2J"])
def test_a_token_that_no_header_can_have_is_said(token: str) -> None:
    with pytest.raises(UserError, match="INFLUX_TOKEN"):
        InfluxServer("http://127.0.0.1:1", "db", token=token)


def test_a_netrc_does_not_replace_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login thief password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for settings, expected in (
        ({"token": "mine"}, "Token mine"),
        ({}, None),
        ({"user": "m\u00fcller", "password": "p"}, "Basic bcO8bGxlcjpw"),
    ):
        server = InfluxServer("http://127.0.0.1:1", "db", **settings)  # type: ignore[arg-type]
        import requests

        request = server._session.prepare_request(requests.Request("POST", "http://127.0.0.1:1/write"))
        assert request.headers.get("Authorization") == expected


def test_a_server_cannot_make_one_wait_for_long() -> None:
    from urllib3 import HTTPResponse

    adapter = InfluxServer("http://127.0.0.1:1", "db")._session.get_adapter("http://127.0.0.1:1")
    response = HTTPResponse(headers={"Retry-After": "86400"}, status=503)
    assert adapter.max_retries.get_retry_after(response) == 120  # type: ignore[attr-defined]


# --- Texts from elsewhere ------------------------------------------------


def test_texts_cannot_command_a_terminal() -> None:
    assert plain("a\x1b]0;title\x07b\x9b2Jc\td\n") == "a ]0;title b 2Jc\td\n"
    stream = io.StringIO()
    console = make_console()
    console.file = stream
    console.print("evil \x1b[2J name")
    assert "\x1b" not in stream.getvalue()


def test_a_warning_cannot_command_a_terminal(made: MadeUp) -> None:
    made.path_of(made.put_bundle("later", 1, 0)).write_text('{"level": [{"metric": "\\u001b[2J"}]}')
    result = run("export", made.path, "later,run", "--format", "csv")
    assert "Warning: " in result.stderr and "\x1b" not in result.stderr


# --- Bundles -------------------------------------------------------------


def overwrite(made: MadeUp, path: Path, text: str) -> None:
    """Write another content into a dataset's file, which the Butler does not know by its size."""
    path.write_text(text)
    with contextlib.closing(sqlite3.connect(f"{made.path}/gen3.sqlite3")) as registry, registry:
        registry.execute("UPDATE file_datastore_records SET file_size = -1")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"level": ' + "[" * 100_000,
        '{"level": [{"metric": "m", "identifier": "i", "unit": "", "value": 1' + "0" * 400 + "}]}",
    ],
    ids=["list", "object", "integer"],
)
def test_a_bundle_that_breaks_its_reader_is_one_that_cannot_be_read(text: str, made: MadeUp) -> None:
    with pytest.raises(ValueError) as caught:
        MetricBundle.model_validate_json(text)
    assert len(str(caught.value)) < 400
    overwrite(made, made.path_of(made.put_bundle("later", 1, 0)), text)
    result = run("export", made.path, "later,run", "--format", "csv")
    assert result.exit_code == 0
    assert "detector: 0, visit: 1} is left out: Failure from formatter" in result.stderr


def test_an_empty_bundle_hides_no_other(made: MadeUp) -> None:
    empty, *_ = sorted(Path(made.path).rglob("*_metrics_*.json"))
    overwrite(made, empty, "{}")
    result = export(made, "-o", f"{made.path}/out.csv")
    assert result.exit_code == 0 and "detector, Cam" in result.stderr
    with open(f"{made.path}/out.csv") as stream:
        assert len({row["detector"] for row in csv.DictReader(stream)}) == 3


@pytest.mark.parametrize("command", ["export", "report"])
def test_a_campaign_of_which_nothing_can_be_read_says_why(command: str, made: MadeUp, tmp_path: Path) -> None:
    for path in Path(made.path).rglob("*_metrics_*.json"):
        overwrite(made, path, "[")
    arguments = ["--format", "csv"] if command == "export" else ["-o", str(tmp_path / "report")]
    result = run(command, made.path, "run", *arguments)
    assert result.exit_code == 1
    *warnings, error = result.stderr.splitlines()
    assert len(warnings) == 4 and all("is left out: " in warning for warning in warnings)
    assert error.startswith("Error: run has no metrics of backgrounds that can be read")
    assert "Expecting value" in error


# --- Tables --------------------------------------------------------------


def test_no_cell_of_csv_is_a_formula(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=1, detectors=4, instrument="=Cam()")
    made.put_bundles("run")
    rows = list(csv.DictReader(io.StringIO(export(made).stdout)))
    assert {row["instrument"] for row in rows} == {"'=Cam()"}
    assert {row["physical_filter"] for row in rows} == {"'=Cam()-r"}
    assert {row["run"] for row in rows} == {"run"}


def test_limits_are_numbers() -> None:
    rows = {row["metric"]: row for row in json.loads(run("metrics", "--format", "json").stdout)}
    for name, metric in load_catalogue().items():
        for bound, value in (("low", metric.low), ("high", metric.high)):
            assert rows[name][bound] == (None if value is None or value != value else value)


@pytest.mark.parametrize("columns", ["0", "20", "40", "80", "110"])
def test_no_name_is_cut(columns: str, tmp_path: Path, made: MadeUp) -> None:
    text = run("metrics", columns=columns).stdout
    assert "…" not in text
    words = set(text.split())
    assert set(load_catalogue()) <= words
    repo = str(tmp_path / "hsc")
    assert run("ingest", repo, str(HSC / "manifest.json")).exit_code == 0
    text = run("discover", repo, columns=columns).stdout
    assert "calexpBackground" in text.split("pipetask")[0] and "bgqa/ingested: 10" in text
    assert run("inspect", str(BACKGROUND), columns=columns).stdout.count("coverage_finiteFraction ") == 1


def test_tables_of_a_log_have_no_lines(tmp_path: Path) -> None:
    repo = str(tmp_path / "hsc")
    assert run("ingest", repo, str(HSC / "manifest.json")).exit_code == 0
    for command in (["discover", repo], ["metrics"], ["inspect", str(BACKGROUND)]):
        assert not set(run(*command).stdout) & set("│┃━┏┓"), command


# --- As a new user -------------------------------------------------------


def test_a_new_instrument_of_a_repository_is_said(tmp_path: Path) -> None:
    shutil.copytree(HSC, tmp_path / "hsc")
    repo = str(tmp_path / "repo")
    manifest = tmp_path / "hsc" / "manifest.json"
    assert run("ingest", repo, str(manifest)).stderr == ""
    entries = json.loads(manifest.read_text())
    manifest.write_text(json.dumps([{**entries[0], "instrument": "HCS"}]))
    result = run("ingest", repo, str(manifest))
    assert result.stdout.startswith("Ingested 1 file of 1 visit (HCS) ")
    assert result.stderr == "Warning: HCS is a new instrument of this repository, which has HSC so far.\n"
    again = run("ingest", repo, str(manifest))
    assert again.stdout.startswith("Ingested 0 files of 1 visit") and "(1 was there already)" in again.stdout
    assert again.stderr == ""


def test_a_folder_that_no_variable_can_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_environment, "is_needed", lambda: True)
    monkeypatch.setattr(_environment, "CONFIG_FOLDER", Path("/opt/a:b/butler"))
    with pytest.raises(UserError, match=r"/opt/a:b/butler: .* install it elsewhere"):
        environment()
    result = run("env")
    assert result.exit_code == 1 and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["a#1.fits", "100%20.fits", "é ?.fits", "a.fits#1"])
def test_a_name_with_a_hash_is_a_name(name: str, tmp_path: Path) -> None:
    shutil.copy(BACKGROUND, tmp_path / "a.fits")  # another file
    path = tmp_path / name
    missing = run("inspect", "--json", str(path))
    assert missing.exit_code == 1 and "No such file" in missing.stderr
    shutil.copy(BACKGROUND, path)
    result = run("inspect", "--json", str(path))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["file"] == str(path)


@pytest.mark.parametrize("absolute", [False, True])
def test_names_in_a_manifest_are_names(absolute: bool, tmp_path: Path) -> None:
    (tmp_path / "p#q").mkdir()
    path = tmp_path / "p#q" / "a#%20.fits"
    path.touch()
    entry = json.loads((HSC / "manifest.json").read_text())[0]
    manifest = path.with_name("m#.json")
    manifest.write_text(json.dumps([entry | {"file": str(path) if absolute else path.name}]))
    (read,) = read_manifest(str(manifest))
    assert ResourcePath(read.file).ospath == str(path)


@pytest.mark.parametrize("name", ["re#po", "re%20po", "re?po"])
def test_a_repository_that_no_butler_would_find_is_refused(name: str, tmp_path: Path) -> None:
    repo = str(tmp_path / name)
    for arguments in (["demo", repo], ["ingest", repo, str(HSC / "manifest.json")], ["discover", repo]):
        result = run(*arguments)
        assert result.exit_code == 1 and "in it; rename it" in result.stderr
    assert not list(tmp_path.iterdir())


# --- Names that are not ASCII --------------------------------------------


@pytest.mark.skipif(stack.have_stack(), reason="the stack's own formatter writes images")
def test_a_run_and_a_filter_that_are_not_ascii_lose_nothing(tmp_path: Path) -> None:
    """Images have both in their headers, which hold only ASCII."""
    repo = tmp_path / "repo"
    shutil.copytree(HSC, tmp_path / "hsc")
    manifest = tmp_path / "hsc" / "manifest.json"
    entries = json.loads(manifest.read_text())
    entries = [entry | {"physical_filter": "Zeta-ζé"} for entry in entries if entry["detector"] == 0]
    manifest.write_text(json.dumps(entries))
    assert run("ingest", str(repo), str(manifest)).exit_code == 0
    pipeline = Pipeline.fromFile("resource://lsst.bgqa/pipelines/backgroundQa.yaml#stack")
    butler = SimplePipelineExecutor.prep_butler(str(repo), inputs=["bgqa/ingested"], output="u/josé/bgqa")
    executor = SimplePipelineExecutor.from_pipeline(pipeline, butler=butler)
    executor.run(register_dataset_types=True)
    data_id = {"instrument": "HSC", "detector": 0, "physical_filter": "Zeta-ζé"}
    with Butler.from_config(str(repo), collections="u/josé/bgqa") as reader:
        assert (
            quantities_of(reader.get("calexpBackground_stack_metrics", data_id))["stack_visitCount"].value
            == 2
        )
        mean = reader.get("calexpBackground_stack_mean", data_id)
        assert np.isfinite(mean.array).all()
        with fits.open(reader.getURI("calexpBackground_stack_mean", data_id).ospath) as hdus:
            header = hdus[0].header
            assert header["LSST BUTLER RUN"].startswith("u/jose/bgqa/")
            assert header["LSST BUTLER DATAID PHYSICAL_FILTER"] == r"Zeta-\u03b6e"
    # The stack reads it by its own formatter: that is what is recorded.
    with sqlite3.connect(repo / "gen3.sqlite3") as database:
        recorded = {row[0] for row in database.execute("SELECT formatter FROM file_datastore_records")}
    assert "lsst.images.formatters.GenericFormatter" in recorded
    assert not any("image_formatter" in name for name in recorded)


def test_metrics_are_written_before_images() -> None:
    """An image that cannot be written takes no metrics with it."""
    written = []

    class Context:
        def put(self, dataset: object, ref: str) -> None:
            if ref == "mean":
                raise ValueError("FITS header values must contain standard printable ASCII characters")
            written.append(ref)

    refs = {"mean": "mean", "metrics": "metrics"}
    outputs = Struct(mean=1, metrics=2)

    class Refs(SimpleNamespace):
        def __iter__(self) -> Any:
            return iter(refs.items())

    with pytest.raises(ValueError, match="FITS"):
        put_metrics_first(Context(), outputs, Refs(**refs))  # type: ignore[arg-type]
    assert written == ["metrics"]
