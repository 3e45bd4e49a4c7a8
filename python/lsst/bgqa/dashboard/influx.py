# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Posting line protocol to an InfluxDB 1.x server."""

from __future__ import annotations

__all__ = ("InfluxServer",)

import gzip
import re
from collections.abc import Iterable
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from ..errors import UserError, plain

_BATCH_LINES = 5000
# Half a megabyte zipped at most; servers take 25 by default.
_BATCH_BYTES = 4_000_000
_PASSING = (429, 500, 502, 503, 504)
_LONGEST_REASON = 300
_LONGEST_WAIT = 120.0  # seconds
# How many points of a write a server left out.
_DROPPED = re.compile(r"partial write: .*\bdropped=(\d+)")


class InfluxServer:
    """Writes points to a database of an InfluxDB 1.x server.

    Use it as a context manager: at its end, what is left is sent. To send a
    batch again is harmless: a point with the same measurement, tags and time
    takes the place of the earlier one.

    Parameters
    ----------
    url
        The server, with or without ``/write`` at the end.
    database
        The database, which has to be there.
    retention_policy
        The retention policy, by default the database's own.
    user, password
        Who writes.
    token
        A token, where the server takes one instead.
    retries
        How often to try again what may pass: no connection, no answer in
        time, too many requests, a server's own errors.
    backoff
        After how many seconds, which double each time, up to two minutes.
    timeout
        How many seconds to wait for an answer.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised, by all methods, if ``url`` or ``token`` is not one, or if the
        server cannot be reached or refuses points.
    """

    def __init__(
        self,
        url: str,
        database: str,
        *,
        retention_policy: str | None = None,
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        retries: int = 6,
        backoff: float = 0.5,
        timeout: float = 60.0,
    ) -> None:
        try:
            parts = urlsplit(url)
            _ = parts.port  # looked at only when asked for
        except ValueError as error:
            raise UserError(f"{url}: not the URL of a server: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"{url}: not the URL of a server, such as http://HOST:8086")
        if parts.username or parts.password:
            raise UserError(f"the URL of {parts.hostname} must not have a password in it")
        path = parts.path.rstrip("/").removesuffix("/write") + "/write"
        self._url = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        self._parameters = {"db": database, "precision": "ns"}
        if retention_policy:
            self._parameters["rp"] = retention_policy
        self._timeout = timeout
        self._session = requests.Session()
        retry = _PatientRetry(
            total=retries,
            backoff_factor=backoff,
            allowed_methods={"POST"},
            status_forcelist=_PASSING,
            raise_on_status=False,
            redirect=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))
        if user:
            # As bytes: requests would take texts for latin-1.
            self._session.auth = (user.encode(), (password or "").encode())  # type: ignore[assignment]
        else:
            if token:
                self._session.headers["Authorization"] = f"Token {_header_value(token)}"
            # Any is better than what requests finds in ~/.netrc.
            self._session.auth = lambda request: request
        self._waiting: list[bytes] = []
        self._size = 0
        self.count = 0
        """Points that the server has taken."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exception_type: type[BaseException] | None, *_: object) -> None:
        try:
            if exception_type is None:
                self.flush()
        finally:
            self._session.close()

    def write(self, lines: Iterable[str]) -> None:
        """Write points, a line each with its time in nanoseconds, many at once."""
        for line in lines:
            data = line.encode()
            if len(self._waiting) >= _BATCH_LINES or self._size + len(data) > _BATCH_BYTES:
                self.flush()
            self._waiting.append(data)
            self._size += len(data) + 1

    def flush(self) -> None:
        """Send what waits to be sent."""
        if not self._waiting:
            return
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}
        try:
            response = self._session.post(
                self._url,
                params=self._parameters,
                data=gzip.compress(b"\n".join(self._waiting), compresslevel=1),
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            )
        except (requests.RequestException, HTTPError, ValueError) as error:
            raise UserError(f"{self._url}: cannot be reached: {_root_reason(error)}") from error
        if response.status_code != requests.codes.no_content:
            reason = _reason(response)
            written = f"{self.count} points were written before"
            if (dropped := _DROPPED.search(reason)) is not None:
                written += f", and of the {len(self._waiting)} of this write the server left out {dropped[1]}"
            raise UserError(
                f"{self._url}: the server refuses points for the database {self._parameters['db']!r}: "
                f"{_answer(response, reason)}; {written}"
            )
        self.count += len(self._waiting)
        self._waiting, self._size = [], 0


class _PatientRetry(Retry):
    """Obeys ``Retry-After``, up to two minutes."""

    def get_retry_after(self, response: Any) -> float | None:
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, _LONGEST_WAIT)


def _header_value(token: str) -> str:
    if not token.isascii() or not token.isprintable():
        raise UserError("INFLUX_TOKEN has characters that no token has: it is printable ASCII")
    return token


def _reason(response: requests.Response) -> str:
    """Return what a server says in one line."""
    try:
        reason = str(response.json()["error"])
    except (KeyError, TypeError, ValueError):
        reason = response.headers.get("X-Influxdb-Error") or response.text
    return " ".join(plain(reason).split())[:_LONGEST_REASON]


def _answer(response: requests.Response, reason: str) -> str:
    """Return what a server says, and what may help."""
    words = plain(f"{response.status_code} {response.reason}") + (f": {reason}" if reason else "")
    if "max-series-per-database" in reason or "max-values-per-tag" in reason:
        return f"{words} (a limit in the server's configuration, see doc/export.md)"
    if "database not found" in reason:
        return f"{words} (create it first)"
    if response.status_code in (401, 403):
        return f"{words} (--user and INFLUX_PASSWORD, or INFLUX_TOKEN, say who writes)"
    return words


def _root_reason(error: BaseException) -> str:
    """Say in a few words what urllib3 wraps several times."""
    reason: BaseException = error
    while True:
        inner = getattr(reason, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in reason.args if isinstance(arg, BaseException)), None)
        if inner is None:
            break
        reason = inner
    # urllib3 begins with the connection object.
    text = " ".join(plain(str(reason)).split())
    return text.split(">: ", 1)[-1] or type(reason).__name__
