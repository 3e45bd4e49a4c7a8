# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Files that a user names, and files of datasets that are to be read as files: pictures, large tables.

A Butler may keep a dataset as a member of a zip archive. Its URI then ends in
``archive.zip#zip-path=MEMBER``, and to read the URI would give the archive.
"""

from __future__ import annotations

__all__ = ("artifact_name", "local_artifact", "named_file", "read_artifact")

import contextlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from lsst.resources import ResourcePath, ResourcePathExpression

_MEMBER = "zip-path="


def named_file(uri: ResourcePathExpression) -> ResourcePath:
    """Return the file that a path or URI names; in a path, ``#`` and ``%`` are letters."""
    if isinstance(uri, str | Path) and "://" not in str(uri):
        return ResourcePath("file://" + quote(str(Path(uri).expanduser().absolute())))
    return ResourcePath(uri)


def _member(uri: ResourcePath) -> str | None:
    fragment = uri.unquoted_fragment
    return fragment.removeprefix(_MEMBER) if fragment.startswith(_MEMBER) else None


def artifact_name(uri: ResourcePath) -> str:
    """Return a dataset's file's name without folders: of a member of an archive, the member's."""
    member = _member(uri)
    return uri.basename() if member is None else member.rpartition("/")[2]


def read_artifact(uri: ResourcePath) -> bytes:
    """Read a dataset's file, which may be a member of an archive."""
    if (member := _member(uri)) is None:
        return uri.read()
    with uri.open("rb") as stream, zipfile.ZipFile(stream) as archive:  # type: ignore[arg-type]
        return archive.read(member)


@contextlib.contextmanager
def local_artifact(uri: ResourcePath) -> Iterator[ResourcePath]:
    """Have a dataset's file on this machine; it may be gone afterwards."""
    if _member(uri) is None:
        with uri.as_local() as local:
            yield local
        return
    suffix = os.path.splitext(artifact_name(uri))[1]
    with ResourcePath.temporary_uri(suffix=suffix) as local:
        local.write(read_artifact(uri))
        yield local
