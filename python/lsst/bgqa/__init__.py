# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Quality assurance of subtracted sky backgrounds."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .background import BackgroundModel
    from .errors import BackgroundError
    from .judge import measure_background
    from .metrics import measure_residual

__all__ = ("BackgroundError", "BackgroundModel", "measure_background", "measure_residual")

# Imported when first used: the command line need not wait for astropy.
_HOMES = {
    "BackgroundError": "errors",
    "BackgroundModel": "background",
    "measure_background": "judge",
    "measure_residual": "metrics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
