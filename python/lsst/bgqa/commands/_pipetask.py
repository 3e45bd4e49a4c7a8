# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("print_command", "run_pipetask")

import multiprocessing
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from .. import standalone
from ..errors import UserError

# A process that has imported what every run needs, and that runs are forked
# from; elsewhere, a fork may not use the libraries that its parent has used.
_CONTEXT = (
    multiprocessing.get_context("forkserver")
    if sys.platform == "linux"
    else multiprocessing.get_context("spawn")
)
_PRELOADED = ["lsst.ctrl.mpexec.cli.script", "lsst.bgqa.tasks", "lsst.bgqa.plots", "lsst.images"]

_TOTAL = re.compile(r"QuantumGraph contains (\d+) quant")
_DONE = re.compile(r"Execution of task '\w+' on quantum .* took")
_SUMMARY = re.compile(r"(Executed \d+ quant.*)")


def print_command(console: Console, arguments: Sequence[str]) -> None:
    """Print a pipetask command as a user would type it."""
    words = " ".join(_quote(argument) for argument in arguments)
    console.print(f"[bold]$ pipetask {escape(words)}[/bold]", soft_wrap=True)


def _quote(argument: str) -> str:
    """Quote a word for a shell; a query reads best in double quotes."""
    if "'" in argument and not re.search(r'["$`\\!]', argument):
        return f'"{argument}"'
    return shlex.quote(argument)


def run_pipetask(arguments: Sequence[str], log: Path, progress: Callable[[int, int], None]) -> str:
    """Run pipetask in a process of its own; a log takes what it prints.

    ``progress`` is called with how many quanta are done, and how many there are.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if it is not installed, or fails.
    """
    if find_spec("lsst.ctrl.mpexec") is None:
        raise UserError("pipetask is not installed; lsst-ctrl-mpexec (or the Science Pipelines) has it")
    os.environ.update(standalone.environment())
    multiprocessing.set_forkserver_preload(_PRELOADED)
    output, there = _CONTEXT.Pipe(duplex=False)
    # It ends with this process.
    process = _CONTEXT.Process(target=_run, args=(list(arguments), there), daemon=True)
    process.start()
    there.close()
    done, total, summary, last_error = 0, 0, "", ""
    with log.open("w") as stream, open(output.fileno(), errors="replace", closefd=False) as lines:
        for line in lines:
            stream.write(line)
            if match := _TOTAL.search(line):
                total = int(match[1])
            elif _DONE.search(line):
                done += 1
            elif match := _SUMMARY.search(line):
                summary = match[1]
            elif "ERROR" in line or re.match(r"\w*(Error|Exception): ", line):
                last_error = " ".join(line.split())
            if total:
                progress(done, total)
    process.join()
    if process.exitcode:
        reason = f": {last_error}" if last_error else ""
        raise UserError(f"pipetask failed with exit status {process.exitcode}{reason} (see {log})")
    return summary or "Nothing to run."


def _run(arguments: list[str], output: Connection) -> None:
    """Be pipetask, and print into a pipe."""
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    from lsst.ctrl.mpexec.cli.pipetask import main

    sys.argv = ["pipetask", *arguments]
    main()
