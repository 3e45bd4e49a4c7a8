# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What is taken from the Science Pipelines where they are installed.

No other module imports ``lsst.afw`` or ``lsst.analysis.tools``, and this one
only when asked.
"""

from __future__ import annotations

__all__ = ("have_afw", "metric_bundle_type")

import functools
import importlib.util
from typing import Any


@functools.cache
def have_afw() -> bool:
    """Whether ``lsst.afw`` is installed.

    Returns
    -------
    have : `bool`
        `True` if it can be found; it is not imported.
    """
    return importlib.util.find_spec("lsst.afw") is not None


@functools.cache
def metric_bundle_type() -> Any:
    """Return the type of a ``MetricMeasurementBundle`` dataset in the stack.

    Returns
    -------
    bundle_type : `type` or `None`
        ``lsst.analysis.tools.interfaces.MetricMeasurementBundle``; `None`
        where it cannot be imported.
    """
    try:
        from lsst.analysis.tools.interfaces import MetricMeasurementBundle
    except ImportError:
        return None
    return MetricMeasurementBundle
