# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("print_command", "run_pipetask")

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from .. import standalone
from ..errors import UserError

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
    command = [_find(), *arguments]
    environment = {**os.environ, **standalone.environment()}
    done, total, summary, last_error = 0, 0, "", ""
    with (
        log.open("w") as stream,
        subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
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
        except BaseException:
            # It ends with this process.
            process.terminate()
            raise
    if process.returncode:
        reason = f": {last_error}" if last_error else ""
        raise UserError(f"pipetask failed with exit status {process.returncode}{reason} (see {log})")
    return summary or "Nothing to run."


def _find() -> str:
    beside = Path(sys.executable).parent / "pipetask"
    found = str(beside) if beside.exists() else shutil.which("pipetask")
    if found is None:
        raise UserError("pipetask is not installed; lsst-ctrl-mpexec (or the Science Pipelines) has it")
    return found
