# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The command line ``bgqa``."""

from __future__ import annotations

__all__ = ("main",)

import errno
import logging
import os
import signal
import sys
from typing import Any

import click

from . import standalone
from .commands.compare import compare
from .commands.demo import demo
from .commands.discover import discover
from .commands.env import env
from .commands.export import export
from .commands.ingest import ingest
from .commands.inspect import inspect
from .commands.metrics import metrics
from .commands.report import report
from .commands.requirement import requirement
from .errors import BackgroundError, UserError, errno_of, fault_of_the_machine, in_one_line, one_line

# Without a handler, Python would print the libraries' warnings besides ours.
_QUIET = logging.NullHandler()


class _Warnings(logging.Handler):
    """Prints what is wrong, a line each, where errors are printed, too."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"Warning: {in_one_line(record.getMessage())}", err=True)


_WARNINGS = _Warnings(logging.WARNING)


class _Commands(click.Group):
    """Commands whose user's mistakes end in one line, not in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (UserError, BackgroundError) as error:
            raise click.ClickException(one_line(error)) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and errno_of(error) == errno.EPIPE:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
            # A folder that may not be written, a full disk.
            if (reason := fault_of_the_machine(error)) is None:
                raise
            raise click.ClickException(in_one_line(reason)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lsst-bgqa")
def main() -> None:
    """Quality assurance of subtracted sky backgrounds."""
    # What activate does besides is done when a repository is opened.
    os.environ.update(standalone.environment())
    logging.getLogger("lsst").addHandler(_QUIET)
    logging.getLogger("lsst.bgqa").addHandler(_WARNINGS)
    _end_in_order()


def _end_in_order() -> None:
    """Let a process that is told to end remove what is unfinished."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        # Whoever runs us may have it ignored, as nohup does.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda signum, frame: sys.exit(128 + signum))


for _command in (compare, demo, discover, env, export, ingest, inspect, metrics, report, requirement):
    main.add_command(_command)
