# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Read what was gathered: ``bgqa report`` and ``bgqa export``."""

from __future__ import annotations

__all__ = ("COMMANDS", "measure_command")

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .processes import command, run

COMMANDS = {
    "report": ("report",),
    "export parquet": ("export", "--format", "parquet"),
    "export csv": ("export", "--format", "csv"),
    "export influx": ("export", "--format", "influx"),
}
"""What follows ``bgqa``, but for the repository, the collection and ``-o``
(`dict`)."""


def measure_command(repo: Path, collection: str, name: str, rows: int) -> dict[str, Any]:
    """Run one of `COMMANDS` on a gathered campaign; return its cost and the bytes it wrote."""
    words = COMMANDS[name]
    label = name.replace(" ", "-")
    output = repo.parent / f"{label}-{rows}"
    _remove(output)
    cost = run(
        command("bgqa", words[0], str(repo), collection, *words[1:], "-o", str(output)),
        repo.parent / f"{label}-{rows}.log",
    )
    written = [path for path in (output.rglob("*") if output.is_dir() else [output]) if path.is_file()]
    measured = {
        "command": name,
        "rows": rows,
        "cost": asdict(cost),
        "output_bytes": sum(path.stat().st_size for path in written),
        "output_files": len(written),
    }
    # A million rows may be ten gigabytes.
    _remove(output)
    return measured


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
