# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What is taken from the Science Pipelines where they are installed.

No other module imports ``lsst.afw`` or ``lsst.analysis.tools``, and this one
only when asked.
"""

from __future__ import annotations

__all__ = ("have_afw", "have_stack", "metric_bundle_type")

import functools
import importlib.util
from typing import Any


@functools.cache
def have_afw() -> bool:
    """Whether ``lsst.afw`` can be found; it is not imported."""
    return _can_find("lsst.afw")


@functools.cache
def have_stack() -> bool:
    """Whether the packages can be found that a Butler's own types need.

    These are ``lsst.afw`` (the type of a ``Background``), ``lsst.obs.base`` (its
    formatter) and ``lsst.analysis.tools`` (the type of a
    ``MetricMeasurementBundle``). None is imported.
    """
    return all(_can_find(package) for package in ("lsst.afw", "lsst.obs.base", "lsst.analysis.tools"))


def _can_find(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False  # nor is there the package that it would be in


@functools.cache
def metric_bundle_type() -> Any:
    """Return the type of a ``MetricMeasurementBundle`` dataset in the stack.

    It is `None` where the stack is not whole: a Butler then has the standalone type.
    """
    if not have_stack():
        return None
    try:
        from lsst.analysis.tools.interfaces import MetricMeasurementBundle
    except ImportError:
        return None
    return MetricMeasurementBundle
