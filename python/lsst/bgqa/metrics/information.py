# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The catalogue in the form of ``lsst.analysis.tools``' thresholds."""

from __future__ import annotations

__all__ = ("metric_information",)

import math
from typing import Any

import yaml

from ._catalogue import Catalogue, MetricDefinition

_DEBUG_GROUP = "Background"

# Where to look for the reason: what measures a group, and what shows it.
_GROUPS = {
    "coverage": ("background_qa.py", "{visit}_image_plot"),
    "level": ("background_qa.py", "{visit}_histogram_plot"),
    "shape": ("background_qa.py", "{visit}_image_plot"),
    "edges": ("background_qa.py", "{visit}_image_plot"),
    "bumps": ("background_qa.py", "{visit}_bumps_plot"),
    "blocks": ("background_qa.py", "{visit}_image_plot"),
    "fit": ("background_qa.py", "{visit}_bumps_plot"),
    "significance": ("background_qa.py", "{visit}_bumps_plot"),
    "context": ("visit_background_qa.py", "{visit}_image_plot"),
    "closure": ("coadd_background_qa.py", "{coadd}_closure_plot"),
    "comparison": ("background_qa.py", "{visit}_difference_plot"),
    "visit": ("visit_background_qa.py", "{visit}_image_plot"),
    "stack": ("stack_backgrounds.py", "{visit}_stack_plot"),
    "tract": ("tract_background_qa.py", "{coadd}_tract_plot"),
    "residual": ("residual_sky.py", "{image}_residual_map_plot"),
}
# Of either sign, with nothing wrong at zero.
_DIVERGENT = {
    "shape_gradientX",
    "shape_gradientY",
    "edges_edgeExcess",
    "edges_cornerExcess",
    "bumps_peakBump",
    "blocks_stepX",
    "blocks_stepY",
    *(
        f"significance_{name}Sigma"
        for name in ("edge", "corner", "segment", "stripe", "spot", "ring", "bin", "bowl")
    ),
    "context_levelDeviation",
    "context_levelSigma",
    "context_levelChange",
    "context_levelChangeSigma",
    "comparison_meanDifference",
    "comparison_medianDifference",
    "visit_radialTerm",
    "residual_mean",
    "residual_median",
    "residual_edgeExcess",
    "residual_edgeExtreme",
    "residual_cornerExcess",
    "residual_stepX",
    "residual_stepY",
    "residual_segmentStep",
    "residual_haloDepth",
    "residual_crowdingSlope",
}


def metric_information(
    catalogue: Catalogue,
    visit_background: str = "calexpBackground",
    coadd_background: str = "deepCoadd_calexp_background",
    visit_image: str = "calexp",
) -> str:
    """Write a catalogue as ``metricInformation.yaml``.

    Parameters
    ----------
    visit_background, coadd_background
        Dataset types of the backgrounds, for the names of pictures; in a
        component's name, an underscore takes the place of the dot.

    Returns
    -------
    text
        YAML: by full name ``lowThreshold``, ``highThreshold``,
        ``divergent``, ``plot``, ``debugGroup``, ``atoolFile`` and
        ``description``.

    Notes
    -----
    An open side is an infinity, as readers compare with both thresholds.
    Some let values pass that equal a threshold, as `lsst.bgqa` does, others
    do not. For the same verdicts by both, a threshold is moved outwards: by
    half a count, or to the next number that a double can be.
    """
    names = {
        "visit": visit_background.replace(".", "_"),
        "coadd": coadd_background.replace(".", "_"),
        "image": visit_image,
    }
    entries: dict[str, dict[str, Any]] = {}
    for full_name, metric in catalogue.items():
        file, plot = _GROUPS.get(metric.group, ("background_qa.py", ""))
        entries[full_name] = {
            "lowThreshold": _outwards(metric, metric.low, -math.inf),
            "highThreshold": _outwards(metric, metric.high, math.inf),
            "divergent": full_name in _DIVERGENT,
            "plot": plot.format_map(names),
            "debugGroup": _DEBUG_GROUP,
            "atoolFile": file,
            "description": metric.description,
        }
    return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=100)


def _outwards(metric: MetricDefinition, bound: float | None, side: float) -> float:
    if bound is None:
        return side
    if metric.unit == "ct":
        return bound + math.copysign(0.5, side)
    return math.nextafter(bound, side)
