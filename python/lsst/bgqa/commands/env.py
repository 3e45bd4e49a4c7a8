# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("env",)

import shlex

import click

from .. import standalone


@click.command
def env() -> None:
    """Print what a shell needs to run butler and pipetask without the stack.

    Use it as: eval "$(bgqa env)". Where the Science Pipelines are installed
    there is nothing to set, and it prints a comment.
    """
    variables = standalone.environment()
    if not variables:
        click.echo("# lsst.afw is installed: the Butler needs no help from bgqa")
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
