# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Servers as production has them, on loopback, each for as long as a test
needs it: PostgreSQL, an S3 store, a Butler server.

What cannot be had here skips the test, with a word that says what is missing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

_PATIENCE = 60  # seconds


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Iterator[None]:
    """Run a server in a process group of its own, and end it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=env and {**os.environ, **env}, start_new_session=True
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(ready: Callable[[], bool], log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while not ready():
        if time.monotonic() > end:
            raise RuntimeError(f"the server does not come up: {log.read_text()[-2000:]}")
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def _postgres_folder() -> Path:
    found = shutil.which("initdb", path=os.pathsep.join(map(str, Path("/usr/lib/postgresql").glob("*/bin"))))
    found = found or shutil.which("initdb")
    if found is None:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    return Path(found).resolve().parent


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server with an empty database; yields its URL."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("no driver for PostgreSQL is installed (lsst-bgqa[postgres])")
    binaries = _postgres_folder()
    # Not below pytest's folders, which only their owner may enter, and short,
    # as a path of a socket has to be.
    folder = Path(tempfile.mkdtemp(prefix="bgqa-pg-"))
    user: dict[str, str] = {}
    try:
        if os.geteuid() == 0:
            # The server refuses to be root.
            with contextlib.suppress(KeyError):
                owner = pwd.getpwnam("postgres")
                os.chown(folder, owner.pw_uid, owner.pw_gid)
                user = {"user": "postgres"}
            if not user:
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres")

        def run(*command: str) -> None:
            subprocess.run(command, check=True, cwd=folder, capture_output=True, **user)  # type: ignore[call-overload]

        data, port = folder / "data", free_port()
        run(str(binaries / "initdb"), "-D", str(data), "-U", "bgqa", "-A", "trust", "-E", "UTF8", "-N")
        control, log = str(binaries / "pg_ctl"), folder / "log"
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off -c max_connections=200"
        run(control, "-D", str(data), "-l", str(log), "-w", "-o", options, "start")
        try:
            import psycopg

            url = f"postgresql://bgqa@127.0.0.1:{port}"
            with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
                connection.execute("CREATE DATABASE butler")
            with psycopg.connect(f"{url}/butler", autocommit=True) as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
            yield f"{url}/butler"
        finally:
            # By the process id that the server left in its folder.
            run(control, "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def s3(folder: Path, bucket: str = "bgqa") -> Iterator[str]:
    """An S3 store with an empty bucket; yields the bucket's URL.

    The environment leads to it meanwhile.
    """
    for module in ("moto.server", "boto3"):
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            pytest.skip(f"no S3 server is installed ({module})")
    port, log = free_port(), folder / "s3.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    settings = {
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with running(command, log), pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        wait_for(lambda: answers(settings["S3_ENDPOINT_URL"]), log)
        import boto3

        client = boto3.client("s3", endpoint_url=settings["S3_ENDPOINT_URL"])
        client.create_bucket(Bucket=bucket)
        yield f"s3://{bucket}"


@contextlib.contextmanager
def butler_server(repo: str, folder: Path) -> Iterator[Path]:
    """A Butler server of a repository; yields a client's configuration.

    The environment has a token meanwhile. Requests are in ``butler.log``.
    """
    for module in ("uvicorn", "fastapi", "safir", "httpx2"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"no Butler server is installed ({module}; lsst-daf-butler[server,remote])")
    port, log = free_port(), folder / "butler.log"
    command = [
        *(sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port)),
        *("--factory", "lsst.daf.butler.remote_butler.server:create_app"),
    ]
    env = {
        "DAF_BUTLER_SERVER_REPOSITORIES": json.dumps(
            {"dp": {"config_uri": repo, "authorized_groups": ["*"]}}
        ),
        "DAF_BUTLER_SERVER_GAFAELFAWR_URL": "DISABLED",
        "DAF_BUTLER_SERVER_AUTHENTICATION": "rubin_science_platform",
    }
    client = folder / "client" / "butler.yaml"
    client.parent.mkdir()
    client.write_text(
        "cls: lsst.daf.butler.remote_butler.RemoteButler\n"
        f"remote_butler:\n  url: http://127.0.0.1:{port}/api/butler/repo/dp\n"
    )
    with running(command, log, env), pytest.MonkeyPatch.context() as patch:
        patch.setenv("BUTLER_RUBIN_ACCESS_TOKEN", "gt-nobody")
        wait_for(lambda: listens(port), log)
        yield client
