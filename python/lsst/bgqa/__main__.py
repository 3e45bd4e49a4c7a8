# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

from .cli import main

main(prog_name="bgqa")
