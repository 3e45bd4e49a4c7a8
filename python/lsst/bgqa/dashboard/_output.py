# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("whole_file",)

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that is there when it is complete, and not before.

    Parameters
    ----------
    path : `pathlib.Path`
        The file; one that exists is replaced.

    Yields
    ------
    stream : file
        To be written to. It is a file beside; on an error, it is removed.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    # Not tempfile's, whose files no one else may read.
    with open(beside, "xb") as stream:
        try:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        except BaseException:
            stream.close()
            beside.unlink(missing_ok=True)
            raise
    try:
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
