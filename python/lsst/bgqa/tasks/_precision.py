# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""How well the sky of a visit was determined, from its images' metrics."""

from __future__ import annotations

__all__ = ("read_residuals", "visit_precision")

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import astropy.units as u
import numpy as np

from lsst.daf.butler import DeferredDatasetHandle

from ..metrics import load_catalogue, quantities_of
from ._inputs import describe

_LOG = logging.getLogger(__name__)
_ERROR = "residual_skyBrightnessError"
_SCATTER = "residual_skyBrightnessScatter"


def read_residuals(handles: Iterable[DeferredDatasetHandle]) -> dict[int, dict[str, u.Quantity]]:
    """Read the metrics of the residual sky in a visit's images, by detector.

    A bundle that is missing or cannot be read is logged.
    """
    residuals: dict[int, dict[str, u.Quantity]] = {}
    for handle in handles:
        try:
            residuals[int(handle.dataId["detector"])] = quantities_of(handle.get())
        except Exception as error:
            # The datastore and the formatter have errors of their own.
            _LOG.warning("%s is left out: %s", describe(handle.ref), error)
    return residuals


def visit_precision(
    residuals: Mapping[int, Mapping[str, u.Quantity]],
) -> tuple[dict[str, float], dict[str, Any]]:
    """Compare a visit with the sky brightness precision that is required.

    It returns metrics of the group visit by full name, none without an image, and
    for the task's metadata the detectors that do not meet the requirement, the
    worst first, with what they have.
    """
    if not residuals:
        return {}, {}
    metrics: dict[str, float] = {"visit_residualDetectorCount": len(residuals)}
    known = {
        detector: (float(found[_ERROR].value), float(found[_SCATTER].value))
        for detector, found in residuals.items()
        if _ERROR in found and _SCATTER in found
    }
    if not known:
        return metrics, {}
    pairs = np.array(list(known.values()))
    error, scatter = np.median(pairs, axis=0)
    limit = load_catalogue()[_ERROR].high
    bad = sorted(
        (detector for detector, pair in known.items() if limit is not None and max(pair) > limit),
        key=lambda detector: -max(known[detector]),
    )
    metrics |= {
        "visit_skyBrightnessError": float(error),
        "visit_skyBrightnessScatter": float(scatter),
        "visit_impreciseDetectorCount": len(bad),
    }
    return metrics, {"detector": bad, "size": [max(known[detector]) for detector in bad]}
