# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Posting to InfluxDB: a real server, and one that misbehaves."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from campaigns import MadeUp
from click.testing import CliRunner
from test_export import parse

from lsst.bgqa.cli import main
from lsst.bgqa.commands.demo import _SUBSETS
from lsst.bgqa.dashboard import influx
from lsst.bgqa.dashboard.influx import InfluxServer
from lsst.bgqa.errors import UserError
from lsst.bgqa.standalone.demo import INPUT_RUN, make_repository
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

# A daemon is often in a folder that is not on a user's path.
_INFLUXD = shutil.which(
    "influxd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/bin", "/usr/sbin"])
)
needs_influxdb = pytest.mark.skipif(
    _INFLUXD is None, reason="there is no influxd here; the Debian package influxdb has it"
)

# Everything that a tag may have to bear.
ODD = "Cam =,\"x'\\ ü<b>&"

# --- A real server -------------------------------------------------------


class RealServer:
    """InfluxDB on loopback, with a folder and ports of its own."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        self.ports = _free_ports(2)
        self.url = f"http://127.0.0.1:{self.ports[0]}"
        self._settings = settings

    def __enter__(self) -> RealServer:
        self.folder.mkdir()
        config = self.folder / "influxdb.conf"
        config.write_text(
            f"""
reporting-disabled = true
bind-address = "127.0.0.1:{self.ports[1]}"
[meta]
  dir = "{self.folder}/meta"
[data]
  dir = "{self.folder}/data"
  wal-dir = "{self.folder}/wal"
  {self._settings}
[http]
  bind-address = "127.0.0.1:{self.ports[0]}"
  log-enabled = false
[monitor]
  store-enabled = false
"""
        )
        assert _INFLUXD is not None
        log = (self.folder / "log").open("w")
        self.process = subprocess.Popen(
            [_INFLUXD, "run", "-config", str(config)],
            stdout=log,
            stderr=subprocess.STDOUT,
            # What is set for another server is not for this one.
            env={"HOME": str(self.folder), "PATH": os.environ.get("PATH", "")},
        )
        log.close()
        for _ in range(600):
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{self.url}/ping", timeout=5).status_code == 204:
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.__exit__()
        raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def __exit__(self, *exception: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def query(self, text: str, **parameters: str) -> list[dict[str, Any]]:
        answer = requests.post(
            f"{self.url}/query", data={"q": text, "epoch": "ns", **parameters}, timeout=60
        ).json()
        assert "error" not in answer["results"][0], answer
        return list(answer["results"][0].get("series", []))

    def points(self, database: str) -> dict[tuple[Any, ...], float]:
        """Return every number: by measurement, tags, time and field."""
        found = {}
        for measurement in self.query("SHOW MEASUREMENTS", db=database)[0]["values"]:
            for series in self.query(f'SELECT * FROM "{measurement[0]}" GROUP BY *', db=database):
                for row in series["values"]:
                    values = dict(zip(series["columns"], row, strict=True))
                    when = values.pop("time")
                    # An empty tag is one that another series has.
                    tags = frozenset((k, v) for k, v in series["tags"].items() if v)
                    for name, value in values.items():
                        if value is not None:
                            found[series["name"], tags, when, name] = float(value)
        return found


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    with RealServer(tmp_path_factory.mktemp("influx") / "server") as server:
        server.query('CREATE DATABASE "lsst.dm"')
        server.query("CREATE DATABASE odd")
        yield server


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    made = MadeUp(tmp_path_factory.mktemp("influx") / "repo", visits=2, detectors=4, instrument=ODD)
    made.put_bundles("u/me/20261122T010203Z")
    made.put_others("u/me/20261122T010203Z")
    return made


def export(made: str, collection: str, *arguments: str, **settings: Any) -> Any:
    command = ["export", made, collection, "--format", "influx", *arguments]
    return CliRunner().invoke(main, command, **settings)


def expected(text: str) -> dict[tuple[Any, ...], float]:
    numbers = {}
    for line in text.splitlines():
        measurement, tags, fields, when = parse(line)
        for name, value in fields.items():
            numbers[measurement, frozenset(tags.items()), when, name] = value
    return numbers


@needs_influxdb
def test_every_number_comes_back(real: RealServer, odd: MadeUp, tmp_path: Path) -> None:
    run = "u/me/20261122T010203Z"
    path = tmp_path / "points"
    result = export(odd.path, run, "-o", str(path), "--url", real.url, "--database", "odd")
    assert result.exit_code == 0, result.output
    numbers = expected(path.read_text())
    assert real.points("odd") == numbers
    assert {dict(tags).get("instrument") for _, tags, _, _ in numbers} == {ODD, None}
    # And what was put into the bundles, by another way.
    by_name = {
        (dict(tags)["visit"], dict(tags)["detector"], measurement.rsplit("_", 1)[1] + "_" + name): value
        for (measurement, tags, _, name), value in real.points("odd").items()
        if ("dataset_type", "calexpBackground_metrics") in tags
    }
    assert by_name == {
        (str(visit), str(detector), name): value
        for visit in odd.visits
        for detector in odd.detectors
        for name, value in odd.values(visit, detector).items()
    }
    # Again is the same.
    assert export(odd.path, run, "--url", real.url, "--database", "odd").exit_code == 0
    assert real.points("odd") == numbers


@needs_influxdb
@pytest.mark.slow
def test_the_demo_comes_back(real: RealServer, tmp_path: Path) -> None:
    repo, points = str(tmp_path / "demo"), str(tmp_path / "points")
    make_repository(tmp_path / "demo")
    subsets = ",".join(_SUBSETS)
    pipeline = Pipeline.from_uri(f"resource://lsst.bgqa/pipelines/backgroundQa.yaml#{subsets}")
    pipeline.addConfigOverride("parameters", "coaddUnit", "nJy")
    butler = SimplePipelineExecutor.prep_butler(repo, inputs=[INPUT_RUN], output="demo/backgroundQa")
    executor = SimplePipelineExecutor.from_pipeline(pipeline, butler=butler)
    executor.run(register_dataset_types=True)
    result = export(repo, "demo/backgroundQa", "--url", real.url, "-o", points)
    assert result.exit_code == 0, result.output
    numbers = expected(Path(points).read_text())
    assert real.points("lsst.dm") == numbers
    result = CliRunner().invoke(main, ["export", repo, "demo/backgroundQa", "--format", "csv"])
    assert len(result.stdout.splitlines()) - 1 == len(numbers) > 2000


@needs_influxdb
def test_a_database_that_is_not_there(real: RealServer, odd: MadeUp) -> None:
    result = export(odd.path, "u/me/20261122T010203Z", "--url", real.url, "--database", "none")
    assert result.exit_code == 1
    assert "database not found" in result.stderr and "create it first" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@needs_influxdb
@pytest.mark.slow
def test_limit_of_a_server_is_told(odd: MadeUp, tmp_path: Path) -> None:
    with RealServer(tmp_path / "limited", "max-series-per-database = 3") as server:
        server.query("CREATE DATABASE small")
        result = export(odd.path, "u/me/20261122T010203Z", "--url", server.url, "--database", "small")
        assert result.exit_code == 1
        assert "partial write" in result.stderr and "doc/export.md" in result.stderr
        # What the server says of the points that it took is passed on.
        assert re.search(
            r"0 points were written before, and of the \d+ of this write the server left out", result.stderr
        )


# --- A server that misbehaves --------------------------------------------


class FakeServer:
    """Answers with one status after the other, and keeps what it is sent."""

    def __init__(self, *answers: tuple[int, str, dict[str, str]]) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, dict[str, str], str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"]))).decode()
                outer.requests.append((self.path, dict(self.headers), body))
                status, text, headers = outer.answers.pop(0) if outer.answers else (204, "", {})
                self.send_response(status)
                for name, value in {"Content-Length": str(len(text)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> FakeServer:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def lines(self) -> list[str]:
        return [line for *_, body in self.requests for line in body.splitlines()]


def test_partial_writes_say_what_was_written_and_what_was_not() -> None:
    text = json.dumps({"error": "partial write: field type conflict: input field x dropped=3"})
    with FakeServer((204, "", {}), (400, text, {"Content-Type": "application/json"})) as fake:
        with pytest.raises(
            UserError, match=r"partial write: .*; 5 points .* before, and of the 10 .* left out 3$"
        ):
            with InfluxServer(fake.url, "db") as server:
                server.write([f"m x={i} {i}" for i in range(5)])
                server.flush()
                server.write([f"m x={i} {i}" for i in range(10)])


def test_points_are_sent_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(influx, "_BATCH_LINES", 10)
    monkeypatch.setattr(influx, "_BATCH_BYTES", 100)
    lines = [f"m x={i}.0 {i}" for i in range(25)] + ["m " + "y" * 90 + "=1 2", "m z=1 3"]
    with FakeServer() as fake:
        with InfluxServer(
            f"{fake.url}/", "a db", retention_policy="long", user="me", password="pw"
        ) as server:
            server.write(lines[:13])
            server.write(lines[13:])
        assert server.count == 27
        assert fake.lines == lines
        assert all(len(body.splitlines()) <= 10 and len(body) <= 100 for *_, body in fake.requests)
        path, headers, _ = fake.requests[0]
        assert path == "/write?db=a+db&precision=ns&rp=long"
        assert headers["Authorization"] == "Basic bWU6cHc="


def test_token_is_sent() -> None:
    with FakeServer() as fake, InfluxServer(fake.url + "/proxy/write", "db", token="abc") as server:
        server.write(["m x=1 1"])
        server.flush()
        path, headers, _ = fake.requests[0]
        assert path.startswith("/proxy/write?")
        assert headers["Authorization"] == "Token abc"


def test_what_may_pass_is_tried_again() -> None:
    answers = [(503, "", {}), (429, "", {"Retry-After": "0"}), (500, "", {}), (204, "", {})]
    with FakeServer(*answers) as fake:
        with InfluxServer(fake.url, "db", backoff=0.001) as server:
            server.write(["m x=1 1"])
        assert server.count == 1
        assert [body for *_, body in fake.requests] == ["m x=1 1"] * 4


@pytest.mark.parametrize(
    ("answer", "words", "tries"),
    [
        (
            (400, json.dumps({"error": "unable to parse 'm x=1':\nbad"}), {}),
            "unable to parse 'm x=1': bad",
            1,
        ),
        ((401, json.dumps({"error": "authorization failed"}), {}), "authorization failed", 1),
        ((403, "<html>Forbidden</html>", {}), "INFLUX_PASSWORD", 1),
        ((404, json.dumps({"error": 'database not found: "db"'}), {}), "create it first", 1),
        ((302, "", {"Location": "http://127.0.0.1:9/login"}), "302", 1),
        ((413, "", {"X-Influxdb-Error": "Request Entity Too Large"}), "Request Entity Too Large", 1),
        ((503, "down", {}), "503", 3),
    ],
)
def test_refusals_are_one_line(answer: tuple[int, str, dict[str, str]], words: str, tries: int) -> None:
    with FakeServer((204, "", {}), *[answer] * 9) as fake:
        server = InfluxServer(fake.url, "db", retries=2, backoff=0.001)
        server.write(["m x=1 1", "m x=2 2"])
        server.flush()
        with pytest.raises(UserError) as caught, server:
            server.write(["m x=1 3"])
        message = str(caught.value)
        assert words in message and fake.url in message and "'db'" in message
        assert "2 points were written before" in message
        assert "\n" not in message and len(message) < 600
        assert len(fake.requests) == 1 + tries


def test_no_server(odd: MadeUp) -> None:
    (port,) = _free_ports(1)
    url = f"http://127.0.0.1:{port}"
    result = export(odd.path, "u/me/20261122T010203Z", "--url", url, "--retries", "0")
    assert result.exit_code == 1
    assert "cannot be reached" in result.stderr and "refused" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert " object at 0x" not in result.stderr


def test_a_server_that_never_answers() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            pytest.raises(UserError, match="timed out"),
            InfluxServer(url, "db", retries=0, timeout=0.1) as server,
        ):
            server.write(["m x=1 1"])


def test_file_is_not_left_half_written_when_the_server_fails(odd: MadeUp, tmp_path: Path) -> None:
    with FakeServer(*[(400, "no", {})] * 9) as fake:
        result = export(odd.path, "u/me/20261122T010203Z", "--url", fake.url, "-o", str(tmp_path / "points"))
    assert result.exit_code == 1
    assert os.listdir(tmp_path) == []


def test_who_writes_comes_from_the_environment(odd: MadeUp) -> None:
    with FakeServer() as fake:
        result = export(
            odd.path,
            "u/me/20261122T010203Z",
            "--url",
            fake.url,
            env={"INFLUX_USERNAME": "me", "INFLUX_PASSWORD": "pw"},
        )
        assert result.exit_code == 0, result.output
        assert {headers["Authorization"] for _, headers, _ in fake.requests} == {"Basic bWU6cHc="}
        assert "pw" not in result.output
