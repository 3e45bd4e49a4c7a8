# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("env",)

import os
import shlex
from pathlib import Path

import click

from .. import standalone

_PACKAGE = Path(__file__).parents[1]


@click.command
def env() -> None:
    """Print what a shell needs to run butler, pipetask and bps.

    Use it as: eval "$(bgqa env)". It sets BGQA_DIR, the folder with pipelines
    and config, unless EUPS has set it. With the Science Pipelines the Butler
    needs nothing else, and a comment says so. If this Python cannot read large
    quantum graphs, it also sets PYTHONPATH.
    """
    variables = standalone.environment()
    if not standalone.is_needed():
        click.echo("# lsst.afw is installed: the Butler needs no help from bgqa")
    if "BGQA_DIR" not in os.environ:
        variables["BGQA_DIR"] = str(_PACKAGE)
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
