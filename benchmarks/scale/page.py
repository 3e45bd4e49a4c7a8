# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The tables of the page on scale, made of what the benchmark wrote."""

from __future__ import annotations

__all__ = ("TABLES", "render")

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .model import GATHERED, SCENARIOS, CommandModel, GatherModel, models_of, net_execution

_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def render(page: str, results: Mapping[str, Any]) -> str:
    """Put tables into a page, between ``<!-- table: name -->`` and ``<!-- end -->``."""
    return _BLOCK.sub(lambda match: f"{match[1]}\n{TABLES[match[2]](results)}\n\n{match[3]}", page)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float, digits: int = 3) -> str:
    """Write a number with so many digits, and commas."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    if abs(rounded) >= 10 ** (digits - 1):
        return f"{rounded:,.0f}"
    return f"{rounded:.{digits}g}"


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{_number(value)} {unit}"
        value /= 1000
    return f"{_number(value)} TB"


def _of(results: Mapping[str, Any], *subsets: str) -> list[Mapping[str, Any]]:
    """Return measurements of subsets, the small ones first."""
    found = [m for m in results["quanta"] if m["subset"] in subsets]
    return sorted(found, key=lambda m: (subsets.index(m["subset"]), m["quanta"]))


def flatness(results: Mapping[str, Any]) -> str:
    """Make the table of CPU milliseconds per quantum by size."""
    rows = []
    smallest: dict[str, float] = {}
    for m in _of(results, "detector", "visit", "coadd", "tract"):
        quanta, clusters, start = m["quanta"], m["clusters"], m["start"]["cpu"]
        net = net_execution(m) * quanta / m["executed"]["quanta"]
        total = m["graph"]["cpu"] + m["init"]["cpu"] + clusters * start + net + m["final"]["cpu"]
        each = total / quanta
        ratio = each / smallest.setdefault(m["subset"], each)
        rows.append(
            [
                f"`{m['subset']}`",
                f"{quanta:,}",
                *(_number(1e3 * value / quanta) for value in (m["graph"]["cpu"], net)),
                f"{start:.2f}",
                *(
                    _number(1e3 * value / quanta)
                    for value in (clusters * start, m["final"]["cpu"], m["init"]["cpu"], total)
                ),
                f"{ratio:.2f}",
            ]
        )
    header = (
        *("subset", "quanta", "graph", "quantum", "start of a job, s"),
        *("starts", "final job", "init", "total", "ratio"),
    )
    return _table(header, rows)


def memory(results: Mapping[str, Any]) -> str:
    """Make the table of largest resident sets by size."""
    rows = [
        [
            f"`{m['subset']}`",
            f"{m['quanta']:,}",
            *(_number(m[step]["memory"]) for step in ("graph", "execution", "final")),
            _bytes(m["graph_bytes"]),
        ]
        for m in _of(results, "detector", "visit", "coadd", "tract")
    ]
    return _table(("subset", "quanta", "graph", "cluster", "final job", "graph's file"), rows)


def storage(results: Mapping[str, Any]) -> str:
    """Make the table of what a quantum leaves behind."""
    rows = [
        [
            f"`{name}`",
            _number(model.file_count.slope),
            _bytes(model.files.slope),
            _number(model.rows.slope),
            _bytes(model.database.slope),
            _bytes(model.graph_size.slope),
        ]
        for name, model in models_of(results).items()
    ]
    return _table(("subset", "files", "their bytes", "database rows", "SQLite", "graph's file"), rows)


def gathering(results: Mapping[str, Any]) -> str:
    """Make the table of what gathers, reports and exports take."""
    rows = []
    for m in _of(results, "gatherDetector", "gatherVisit"):
        net = max(m["execution"]["cpu"] - m["start"]["cpu"], 0.0)
        rows.append(
            [
                f"`{m['subset']}`",
                f"{m['inputs']:,}",
                f"{m['rows']:,}",
                _number(net),
                _number(1e6 * net / m["rows"]),
                _number(m["execution"]["anonymous"]),
                _number(m["execution"]["memory"]),
                _number(m["graph"]["cpu"]),
                _number(m["graph"]["memory"]),
            ]
        )
    header = (
        *("subset", "datasets", "rows", "CPU s", "µs per row", "memory", "with files", "graph, CPU s"),
        "graph's memory",
    )
    return _table(header, rows)


def commands(results: Mapping[str, Any]) -> str:
    """Make the table of what report and export take."""
    rows = [
        [
            f"`{m['command']}`",
            f"{m['rows']:,}",
            _number(m["cost"]["cpu"]),
            _number(1e6 * m["cost"]["cpu"] / m["rows"]),
            _number(m["cost"]["anonymous"]),
            _number(m["cost"]["memory"]),
            _bytes(m["output_bytes"]),
        ]
        for m in sorted(results["commands"], key=lambda m: (m["command"], m["rows"]))
    ]
    return _table(("command", "rows", "CPU s", "µs per row", "memory", "with files", "output"), rows)


def surveys(results: Mapping[str, Any]) -> str:
    """Make the table of what surveys take."""
    models = models_of(results)
    rows = []
    for scenario in SCENARIOS:
        if (model := models.get(scenario.subset)) is None:
            continue
        graphs = max(1.0, scenario.quanta / scenario.per_graph)
        rows.append(
            [
                scenario.name,
                f"`{scenario.subset}`",
                _number(scenario.quanta),
                _number(graphs),
                _number(model.cpu(scenario.quanta, scenario.per_graph) / 3600),
                _number(model.rows.slope * scenario.quanta),
                _bytes(model.database.slope * scenario.quanta),
                _number(model.file_count.slope * scenario.quanta),
                _bytes(model.files.slope * scenario.quanta),
            ]
        )
    header = (
        *("survey", "subset", "quanta", "graphs", "core-hours", "database rows", "SQLite", "files"),
        "their bytes",
    )
    return _table(header, rows)


def gathered(results: Mapping[str, Any]) -> str:
    """Make the table of what it takes to make one table of a survey."""
    names = dict.fromkeys(m["subset"] for m in results["quanta"] if m["subset"].startswith("gather"))
    gathers = {name: GatherModel.of(_of(results, name)) for name in names}
    reads = {
        name: CommandModel.of([m for m in results["commands"] if m["command"] == name])
        for name in dict.fromkeys(m["command"] for m in results["commands"])
    }
    rows = []
    for name, images in GATHERED.items():
        cells = [name, _number(images)]
        for model in gathers.values():
            memory = max(model.graph_memory(images), model.memory(images))
            cells += [_number(model.cpu * images / 3600), f"{_number(memory / 1024)} GiB"]
        cells += [_bytes(gathers["gatherVisit"].row_bytes * images)]
        cells += [_number(model.cpu(images) / 3600) for model in reads.values()]
        rows.append(cells)
    header = ["survey", "rows"]
    for name in gathers:
        header += [f"`{name}`, core-hours", "its memory"]
    header += ["temporary file", *(f"`{name}`, core-hours" for name in reads)]
    return _table(header, rows)


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "flatness": flatness,
    "memory": memory,
    "storage": storage,
    "gathering": gathering,
    "commands": commands,
    "surveys": surveys,
    "gathered": gathered,
}
"""What makes each table (`dict`)."""
