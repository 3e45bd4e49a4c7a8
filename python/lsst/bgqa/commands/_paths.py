# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Paths on the command line."""

from __future__ import annotations

__all__ = ("LocalPath",)

import re
from pathlib import Path
from typing import Any

import click

from ..errors import UserError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class LocalPath(click.Path):
    """A file or folder on this machine as a `pathlib.Path`; a URI of another place is refused."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(path_type=Path, **kwargs)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Make a path of a value, which may be a ``file://`` URI."""
        text = str(value)
        if text.startswith("file://"):
            from lsst.resources import ResourcePath

            value = ResourcePath(text).ospath
        elif _SCHEME.match(text):
            raise UserError(
                f"{text}: is not on this machine; name a local path here, and copy what is there then"
            )
        return super().convert(value, param, ctx)
