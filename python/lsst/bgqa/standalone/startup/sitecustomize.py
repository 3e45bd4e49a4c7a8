# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Let members of zip files seek, in a Python that cannot.

Before 3.12.9 and 3.13.2, a relative seek in a member of a zip file went astray
after another member was read (CPython's gh-127847). A quantum graph is such a
file: jobs of BPS and their final job ended with an EOFError as soon as the
graph had more than about a hundred quanta. The processes that read graphs,
and those that they spawn, are not ours; but any Python imports a module of
this name as it starts.
"""

from __future__ import annotations

__all__ = ("is_faulty", "mend")

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any


def is_faulty() -> bool:
    """Whether this Python has the fault.

    Returns
    -------
    faulty
        `True` if graphs cannot be read without `mend`.
    """
    return sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2)


def mend() -> None:
    """Let a zip file's members seek relative to where they are themselves."""
    import zipfile

    shared = zipfile._SharedFile  # type: ignore[attr-defined]
    seek = shared.seek

    def mended(self: Any, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_CUR:
            offset, whence = offset + self._pos, os.SEEK_SET
        return seek(self, offset, whence)

    shared.seek = mended


if __name__ == "sitecustomize":
    if is_faulty():
        mend()
    # The one that this one hides, of a distribution or of a site.
    others = [path for path in sys.path if path != os.path.dirname(__file__)]
    if (spec := PathFinder.find_spec(__name__, others)) is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))
