# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("CONFIG_FOLDER", "activate", "environment", "is_needed")

import os
from collections.abc import Mapping
from pathlib import Path

from .. import stack
from ..errors import UserError
from ._recorded import adopt_formatters

CONFIG_FOLDER = Path(__file__).parent / "butler"
"""The folder of Butler configuration (`pathlib.Path`)."""

_VARIABLE = "DAF_BUTLER_CONFIG_PATH"


def is_needed() -> bool:
    """Whether this machine needs the standalone types.

    Returns
    -------
    needed
        `True` if ``lsst.afw`` or another package that the Butler's own types
        need cannot be found. They are looked for, not imported.
    """
    return not stack.have_stack()


def environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment variables that make a Butler standalone.

    Parameters
    ----------
    base
        Environment to add to, by default that of this process.

    Returns
    -------
    variables
        The variables to set; none in the stack. A search
        path that is set already is kept, after the standalone folder.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if this package is where no such variable can lead.
    """
    if not is_needed():
        return {}
    base = os.environ if base is None else base
    folder = str(CONFIG_FOLDER)
    if os.pathsep in folder:
        raise UserError(
            f"{folder}: bgqa cannot be used from a folder with {os.pathsep!r} in its path, which separates "
            f"folders in {_VARIABLE}; install it elsewhere"
        )
    others = [path for path in base.get(_VARIABLE, "").split(os.pathsep) if path and path != folder]
    return {_VARIABLE: os.pathsep.join([folder, *others])}


def activate() -> None:
    """Make Butlers of this process, and of those it starts, standalone.

    Does nothing in the stack. Call it before the first
    Butler is made: the Butler reads its storage classes only once.
    """
    os.environ.update(environment())
    adopt_formatters()
