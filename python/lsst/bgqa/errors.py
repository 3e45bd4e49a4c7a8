# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("BackgroundError", "UserError", "fault_of_the_machine")


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


def fault_of_the_machine(error: BaseException) -> str | None:
    """Look for a disk, folder or database behind an error.

    Parameters
    ----------
    error : `BaseException`
        What was raised. What it was raised from is looked at, too: a Butler
        wraps what befalls it.

    Returns
    -------
    reason : `str` or `None`
        What is wrong, in a line, such as that a disk is full; `None` if the
        error has another reason.
    """
    current: BaseException | None = error
    reason = None
    while current is not None:
        if isinstance(current, OSError):
            what = f"{current.filename}: " if current.filename else ""
            if current.strerror is not None:
                return f"{what}{current.strerror}"
            # One that a library made; what it was raised from may tell more.
            reason = reason or " ".join(str(current).split())
        if type(current).__module__.partition(".")[0] in ("sqlite3", "psycopg2"):
            what = " ".join(str(current).split())
            if "readonly database" in what:
                what += " (it is read-only, or a killed process left its journal there: see doc/faults.md)"
            return f"the repository's database: {what}"
        current = current.__cause__
    return reason
