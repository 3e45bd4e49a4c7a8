# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Run ``pipetask``, ``butler`` or ``bgqa``, on a Python that cannot seek in
zip files, too.

Before 3.12.9 and 3.13.2, a relative seek in a member of a zip file went astray
after another member was read (CPython's gh-127847). A quantum graph is such a
file: run-qbb of a cluster and aggregate-graph fail with an EOFError as soon as
the graph has more than a few hundred quanta.
"""

from __future__ import annotations

__all__ = ("command", "main", "mend_zipfile")

import importlib
import os
import sys
import zipfile
from typing import Any

_PROGRAMS = {
    "pipetask": ("lsst.ctrl.mpexec.cli.pipetask", "main"),
    "butler": ("lsst.daf.butler.cli.butler", "main"),
    "bgqa": ("lsst.bgqa.cli", "main"),
}


def command(program: str, *arguments: str) -> list[str]:
    """Return the command line that runs a program.

    Parameters
    ----------
    program : `str`
        ``pipetask``, ``butler`` or ``bgqa``.
    *arguments : `str`
        What follows.

    Returns
    -------
    command : `list` [`str`]
        Its words.
    """
    return [sys.executable, "-m", "scale.command", program, *arguments]


def mend_zipfile() -> bool:
    """Let a zip file's members seek relative to where they are themselves.

    Returns
    -------
    mended : `bool`
        Whether this Python needs it.
    """
    if sys.version_info >= (3, 13, 2) or (3, 12, 9) <= sys.version_info < (3, 13):
        return False
    shared: Any = zipfile._SharedFile  # type: ignore[attr-defined]
    seek = shared.seek

    def mended(self: Any, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset, whence = offset + self._pos, os.SEEK_SET
        return seek(self, offset, whence)

    shared.seek = mended
    return True


def main() -> None:
    """Run the program that the arguments name."""
    mend_zipfile()
    program = sys.argv.pop(1)
    module, function = _PROGRAMS[program]
    sys.argv[0] = program
    getattr(importlib.import_module(module), function)()


if __name__ == "__main__":
    main()
