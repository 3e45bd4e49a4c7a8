# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("CONFIG_FOLDER", "activate", "environment", "is_needed")

import os
from collections.abc import Mapping
from pathlib import Path

from .. import stack
from ..errors import UserError
from ._recorded import adopt_formatters
from .startup.sitecustomize import is_faulty, mend

CONFIG_FOLDER = Path(__file__).parent / "butler"
"""The folder of Butler configuration (`pathlib.Path`)."""

_VARIABLE = "DAF_BUTLER_CONFIG_PATH"
_STARTUP = Path(__file__).parent / "startup"


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
    """Return the environment variables that programs need to run the pipelines.

    Parameters
    ----------
    base
        Environment to add to, by default that of this process.

    Returns
    -------
    variables
        The variables to set. Without the stack, one that makes a Butler
        standalone; with a Python that cannot read large quantum graphs, one
        that lets it. Search paths that are set already are kept, after ours.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if this package is where no such variable can lead.
    """
    base = os.environ if base is None else base
    variables = {}
    if is_needed():
        variables[_VARIABLE] = _prepend(CONFIG_FOLDER, _VARIABLE, base)
    if is_faulty():
        variables["PYTHONPATH"] = _prepend(_STARTUP, "PYTHONPATH", base)
    return variables


def _prepend(path: Path, variable: str, base: Mapping[str, str]) -> str:
    """Put a folder in front of a search path."""
    folder = str(path)
    if os.pathsep in folder:
        raise UserError(
            f"{folder}: bgqa cannot be used from a folder with {os.pathsep!r} in its path, which separates "
            f"folders in {variable}; install it elsewhere"
        )
    others = [other for other in base.get(variable, "").split(os.pathsep) if other and other != folder]
    return os.pathsep.join([folder, *others])


def activate() -> None:
    """Make Butlers of this process, and of those it starts, standalone.

    In the stack it does no more than to let quantum graphs be read, where
    Python cannot. Call it before the first Butler is made: the Butler reads
    its storage classes only once.
    """
    os.environ.update(environment())
    if is_faulty():
        mend()
    adopt_formatters()
