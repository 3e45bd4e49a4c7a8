# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The command line ``bgqa``."""

from __future__ import annotations

__all__ = ("main",)

import logging
from typing import Any

import click

from . import standalone
from .commands.demo import demo
from .commands.discover import discover
from .commands.env import env
from .commands.export import export
from .commands.ingest import ingest
from .commands.inspect import inspect
from .commands.metrics import metrics
from .commands.report import report
from .commands.requirement import requirement
from .errors import BackgroundError, UserError, fault_of_the_machine

# What a user should know the commands print, or raise. Without a handler,
# Python would print the libraries' warnings besides.
_QUIET = logging.NullHandler()


class _Commands(click.Group):
    """Commands whose user's mistakes end in one line, not in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (UserError, BackgroundError) as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            # A folder that may not be written, a full disk.
            if (reason := fault_of_the_machine(error)) is None:
                raise
            raise click.ClickException(reason) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lsst-bgqa")
def main() -> None:
    """Quality assurance of subtracted sky backgrounds."""
    standalone.activate()
    logging.getLogger("lsst").addHandler(_QUIET)


for _command in (demo, discover, env, export, ingest, inspect, metrics, report, requirement):
    main.add_command(_command)
