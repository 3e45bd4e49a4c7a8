# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Run commands, and measure what they take."""

from __future__ import annotations

__all__ = ("Cost", "command", "run")

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lsst.bgqa.standalone import environment

_HERE = Path(__file__).parents[1]
_PAGE = os.sysconf("SC_PAGE_SIZE")
_INTERVAL = 0.05


@dataclass(frozen=True)
class Cost:
    """What a command took: CPU and wall seconds, and MiB.

    ``cpu`` counts what it started, too. ``memory`` is the largest resident set of
    its own process; ``anonymous`` the largest part of it that is no file's, sampled,
    so that a peak of less than a twentieth of a second may be missed.
    """

    cpu: float
    wall: float
    memory: float
    anonymous: float


def command(program: str, *arguments: str) -> list[str]:
    """Return the command line that runs a program of this environment."""
    beside = Path(sys.executable).with_name(program)
    return [str(beside) if beside.exists() else shutil.which(program) or program, *arguments]


def run(command: Sequence[str], log: Path) -> Cost:
    """Run a command; what it prints is added to a log.

    CPU time is the figure to look at: other programs on the machine hardly
    change it, while they change what a clock on the wall says. Numerical
    libraries are kept to one thread.

    Raises
    ------
    RuntimeError
        Raised if it fails; the message has the end of what it printed.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    variables = {**os.environ, **environment(), **threads}
    variables["PYTHONPATH"] = os.pathsep.join([str(_HERE), *filter(None, [variables.get("PYTHONPATH")])])
    start = time.monotonic()
    peak = anonymous = 0
    with log.open("ab") as stream:
        process = subprocess.Popen(command, env=variables, stdout=stream, stderr=subprocess.STDOUT)
        while True:
            # The process is waited for here, not by Popen: that has no rusage.
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            now = _resident(process.pid)
            peak, anonymous = max(peak, now[0]), max(anonymous, now[1])
            time.sleep(_INTERVAL)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        end = log.read_bytes()[-2000:].decode(errors="replace")
        raise RuntimeError(f"{' '.join(command)[:300]} failed:\n{end}")
    return Cost(usage.ru_utime + usage.ru_stime, wall, peak / 2**20, anonymous / 2**20)


def _resident(pid: int) -> tuple[int, int]:
    """Return bytes of the resident set, and those of no file; 0 if unknown."""
    try:
        words = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0, 0
    return int(words[1]) * _PAGE, (int(words[1]) - int(words[2])) * _PAGE
