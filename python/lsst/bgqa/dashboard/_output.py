# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Files and folders that are there when they are complete, not before."""

from __future__ import annotations

__all__ = ("held", "naming", "output_file", "remove_stale", "whole_file")

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import errno_of

_PART = ".part"
# What processes have open is under these; it is not to be replaced.
_DEVICES = ("/dev/", "/proc/")


@contextlib.contextmanager
def output_file(output: str) -> Iterator[IO[bytes]]:
    """Write a file at a path or URI."""
    from lsst.resources import ResourcePath

    uri = ResourcePath(output, forceAbsolute=False, forceDirectory=False) if "://" in output else None
    if uri is None or uri.isLocal:
        with whole_file(Path(output if uri is None else uri.ospath)) as stream:
            yield stream
        return
    with tempfile.NamedTemporaryFile(suffix=_PART) as file:
        yield file  # type: ignore[misc]
        file.flush()
        try:
            uri.transfer_from(ResourcePath(file.name), transfer="copy", overwrite=True)
        except Exception as error:
            # Each kind of store has errors of its own.
            raise OSError(f"{output}: cannot be written: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name what is written in errors that do not say it, such as a full disk's."""
    try:
        yield
    except OSError as error:
        number = errno_of(error)
        if error.filename is not None or number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that is there when it is complete, and not before."""
    with naming(path), _whole_file(path) as stream:
        yield stream


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    mode = path.stat().st_mode if path.exists() else None
    if (mode is not None and not stat.S_ISREG(mode)) or os.path.abspath(path).startswith(_DEVICES):
        with open(path, "wb") as stream:
            yield stream
        return
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    try:
        remove_stale(place, _PART)
        beside = place.with_name(f".{place.name}-{secrets.token_hex(4)}{_PART}")
        # Not tempfile's, whose files no one else may read.
        stream = open(beside, "xb")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with stream, held(beside):
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if mode is not None:
                os.fchmod(stream.fileno(), stat.S_IMODE(mode))
        os.replace(beside, place)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file or folder, so that others see that it is being written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def remove_stale(place: Path, suffix: str) -> None:
    """Remove what killed processes left beside a file or folder."""
    # Glob has characters of its own, which a name may have.
    prefix = f".{place.name}-"
    for path in place.parent.iterdir() if place.parent.is_dir() else ():
        if not (path.name.startswith(prefix) and path.name.endswith(suffix)):
            continue
        if len(path.name) != len(prefix) + 8 + len(suffix):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if not _lock(descriptor):
                    continue
            finally:
                os.close(descriptor)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _lock(descriptor: int) -> bool:
    """Lock a file for this process; `False` if another has, or none can."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
