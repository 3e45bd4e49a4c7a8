# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The oldest releases that are tested are those that are allowed."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def test_oldest_constraints_are_the_lower_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    # The extra "test" is for developers, who take what is newest.
    lines = [*project["dependencies"], *extras["report"], *extras["bps"]]
    bounds = {}
    for requirement in map(Requirement, lines):
        (bound,) = (part for part in requirement.specifier if part.operator == ">=")
        bounds[requirement.name] = bound.version
    pins = {}
    for line in (ROOT / ".ci" / "oldest.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            # pip reads 7.1.0 as 7.1.
            pins[name] = version
    assert pins.keys() == bounds.keys()
    for name, version in bounds.items():
        assert Requirement(f"{name}=={version}").specifier.contains(pins[name]), name
