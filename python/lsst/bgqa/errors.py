# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

import re

__all__ = (
    "BackgroundError",
    "UserError",
    "errno_of",
    "fault_of_the_machine",
    "in_one_line",
    "one_line",
    "plain",
    "reason_of",
)

# Of a terminal: what moves its cursor, changes its title or its colours.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Of a URL; whatever it has in it.
_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):\S*@")

# Packages whose errors say that a database, a store or a server is out of
# reach, and what to call them.
_MACHINES = {
    "sqlite3": "the repository's database",
    "psycopg": "the repository's database",
    "psycopg2": "the repository's database",
    "botocore": "the object store",
    "httpx": "the Butler server",
    "httpx2": "the Butler server",
}
# What brings a module that a repository needs.
_EXTRAS = {"psycopg": "postgres", "psycopg2": "postgres", "httpx": "remote", "httpx2": "remote"}


class UserError(Exception):
    """Something that the user can put right.

    The message is one line that says what is wrong, and where. The command
    line prints it without a traceback.
    """


class BackgroundError(Exception):
    """A background cannot be read, written or evaluated.

    The message is one line that names the file or layer, the HDU where there
    is one, and the fault.
    """


def errno_of(error: OSError) -> int | None:
    """Return the system's number of an error, which Polars has in words alone."""
    words = re.search(r"\(os error (\d+)\)", str(error))
    return int(words[1]) if words else error.errno


def fault_of_the_machine(error: BaseException) -> str | None:
    """Look for a disk, folder or database behind an error.

    Parameters
    ----------
    error
        What was raised. What it was raised from is looked at, too: a Butler
        wraps what befalls it.

    Returns
    -------
    reason
        What is wrong, in a line, such as that a disk is full; `None` if the
        error has another reason.
    """
    current: BaseException | None = error
    reason = None
    while current is not None:
        if isinstance(current, OSError):
            # Of a copy, the second is what is written.
            name = current.filename2 or current.filename
            what = f"{name}: " if name else ""
            if current.strerror is not None:
                return f"{what}{current.strerror}"
            # One that a library made; what it was raised from may tell more.
            reason = reason or one_line(current)
        if isinstance(current, UnicodeEncodeError):
            return f"{current.object!r}: the name is not in UTF-8, as a Butler's names are; give it another"
        if isinstance(current, ModuleNotFoundError) and current.name in _EXTRAS:
            extra = _EXTRAS[current.name]
            return (
                f"{current.name} is not installed; bgqa's extra {extra} brings it (pip install '.[{extra}]')"
            )
        if (machine := _MACHINES.get(type(current).__module__.partition(".")[0])) is not None:
            what = one_line(current)
            if "readonly database" in what:
                what += " (it is read-only, or a killed process left its journal there: see doc/faults.md)"
            return f"{machine}: {what}"
        current = current.__cause__
    return reason


def reason_of(error: BaseException) -> str:
    """Say why something failed, by the deepest cause that is told.

    Parameters
    ----------
    error
        What was raised.

    Returns
    -------
    reason
        A line: the `fault_of_the_machine`, if it is one; otherwise what the
        error says, and what that which caused it says besides.
    """
    if (reason := fault_of_the_machine(error)) is not None:
        return reason
    words = one_line(error)
    deepest: BaseException = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    cause = one_line(deepest)
    return words if cause in words else f"{words}: {cause}"


def one_line(error: BaseException) -> str:
    """Put what an error says, or its type if it says nothing, into one line."""
    return in_one_line(str(error)) or type(error).__name__


def in_one_line(text: str) -> str:
    """Put a text from elsewhere into one line, without passwords of URLs."""
    return " ".join(_PASSWORD.sub(r"\1:***@", plain(text)).split())


def plain(text: str) -> str:
    """Take control characters out of a text from elsewhere, but tabs and line feeds.

    What a server says, or the name of a collection, is then harmless to a terminal.
    """
    return _CONTROL.sub(" ", text)
