# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What is wrong with a background, in words."""

from __future__ import annotations

__all__ = ("describe_failure", "kind_of", "words_for")

import math
from collections.abc import Mapping
from typing import NamedTuple


class _Words(NamedTuple):
    """Words for values that are too low or too high; none if that is fine."""

    low: str
    high: str


def _left(words: str) -> _Words:
    """Return words for what is dark or bright in the residual sky."""
    return _Words(f"{words.format('dark')} left in the image", f"{words.format('bright')} left in the image")


# A background that is too high was over-subtracted, and leaves the image dark.
_WORDS = {
    "coverage_pixelCount": _Words("no pixel", ""),
    "coverage_finiteFraction": _Words("pixels without a value", ""),
    "coverage_dataFraction": _Words("mostly extrapolated: too few bins with data", ""),
    "coverage_rangeExcess": _Words("", "pixels far outside the range of the bins"),
    "significance_edgeSigma": _Words("bright edges", "dark edges"),
    "significance_cornerSigma": _Words("a bright corner", "a dark corner"),
    "significance_segmentSigma": _Words("an amplifier step: low", "an amplifier step: high"),
    "significance_stripeSigma": _Words("a low stripe", "a high stripe"),
    "significance_spotSigma": _Words("a halo (under-subtracted)", "a halo (over-subtracted)"),
    "significance_ringSigma": _Words("a ring about a dip", "a ring about a peak"),
    "significance_binSigma": _Words("outlier bins: low", "outlier bins: high"),
    "significance_gradientSigma": _Words("", "an extra gradient"),
    "significance_bowlSigma": _Words("a bowl: the middle is low", "a bowl: the middle is high"),
    "significance_holeFraction": _Words("", "a dead block: bins without a value"),
    "context_levelSigma": _Words(
        "a level offset: below the surroundings", "a level offset: above the surroundings"
    ),
    "context_levelChangeSigma": _Words(
        "a level offset: lower than usual", "a level offset: higher than usual"
    ),
    "context_slopeChangeSigma": _Words("", "an extra gradient: another than usual"),
    "context_curvatureChangeSigma": _Words(
        "a bowl: the middle is lower than usual", "a bowl: the middle is higher than usual"
    ),
    "context_seamSigma": _Words(
        "a level offset: below the patches that overlap", "a level offset: above the patches that overlap"
    ),
    "closure_nanMismatchCount": _Words("", "pixels with a value in one coadd only"),
    "closure_edgeUnexplainedCount": _Words("", "unexplained pixels at the edge"),
    "closure_interiorUnexplainedCount": _Words("", "unexplained pixels inside"),
    "closure_consistent": _Words("coadds that differ by more than the background", ""),
    "level_median": _Words("a level below the others'", "a level above the others'"),
    "edges_edgeExcess": _Words("bright edges", "dark edges"),
    "blocks_stepX": _Words("a step in x at the middle", "a step in x at the middle"),
    "blocks_stepY": _Words("a step in y at the middle", "a step in y at the middle"),
    "shape_residualRms": _Words("", "structure beyond a plane"),
    "residual_skyBrightnessError": _Words("", "a sky that is wrong by more than 1 %"),
    "residual_skyBrightnessScatter": _Words("", "a sky that is uneven by more than 1 %"),
    "residual_edgeExcessSignificance": _left("{} edges"),
    "residual_edgeExtremeSignificance": _left("a {} edge"),
    "residual_cornerExcessSignificance": _left("a {} corner"),
    "residual_stepXSignificance": _left("a step in x at the middle"),
    "residual_stepYSignificance": _left("a step in y at the middle"),
    "residual_segmentStepSignificance": _left("a step between segments"),
    "residual_haloSignificance": _Words("a dark halo left in the image", ""),
    "residual_crowdingSignificance": _Words("", "sources taken for sky where they crowd"),
    "visit_failedFraction": _Words("", "most detectors fail alike"),
    "visit_sharedSigma": _Words("", "a pattern that all detectors share"),
}
# How often a level must be as large as its pixels' scatter to be a sky's.
_MIN_CONTRAST = 3.0
# What one cause does to two metrics is said once.
_KINDS = {
    "coverage_dataFraction": "coverage_finiteFraction",
    "context_levelSigma": "level",
    "context_levelChangeSigma": "level",
    "context_seamSigma": "level",
    "context_slopeChangeSigma": "significance_gradientSigma",
    "context_curvatureChangeSigma": "significance_bowlSigma",
    "level_median": "level",
    "edges_edgeExcess": "significance_edgeSigma",
    "residual_skyBrightnessError": "residual precision",
    "residual_skyBrightnessScatter": "residual precision",
    "residual_edgeExcessSignificance": "residual edges",
    "residual_edgeExtremeSignificance": "residual edges",
    "residual_stepXSignificance": "residual step",
    "residual_stepYSignificance": "residual step",
    "residual_segmentStepSignificance": "residual step",
}


def kind_of(metric: str) -> str:
    """Return what kind of fault a metric tells of.

    Parameters
    ----------
    metric
        Full name of the metric.

    Returns
    -------
    kind
        The same for metrics that tell of the same.
    """
    return _KINDS.get(metric, metric)


def words_for(metric: str, value: float, low: float, high: float) -> str:
    """Say what a value that does not pass is a sign of.

    Parameters
    ----------
    metric
        Full name of the metric.
    value
        The value.
    low, high
        Least and greatest value that pass; NaN where a side is open.

    Returns
    -------
    words
        Such as ``"dark edges"``; empty if there are none for this metric.
    """
    if metric == "coverage_finiteFraction" and value == 0:
        return "no good pixel"
    words = _WORDS.get(metric)
    if words is None:
        return ""
    return words.low if value < low else words.high if value > high else ""


def is_described(metric: str) -> bool:
    """Return whether `describe_failure` looks at a metric where another one fails."""
    return metric.startswith(("context_", "level_")) or metric.endswith("Amplitude")


def describe_failure(
    metric: str, value: float, low: float, high: float, row: Mapping[str, float], place: str = ""
) -> str:
    """Say what is wrong, how large it is and how sure.

    Parameters
    ----------
    metric
        Full name of the metric that fails.
    value
        Its value.
    low, high
        What would pass; NaN where a side is open.
    row
        The background's other metrics.
    place
        Where it is.

    Returns
    -------
    words
        Such as ``"dark edges (0.31 % of the sky, 12 sigma)"``; the metric's
        name where there are no words for it.
    """
    words = words_for(metric, value, low, high) or metric
    facts = []
    if place:
        facts.append(place)
    if metric.endswith("Sigma"):
        if metric.startswith("context_"):
            name = "context_levelDeviation" if metric == "context_levelSigma" else metric[:-5]
            size = row.get(name, math.nan)
        else:
            level = abs(row.get("level_median", math.nan))
            size = (
                row.get(metric.removesuffix("Sigma") + "Amplitude", math.nan) / level if level else math.nan
            )
            # Of a coadd, whose level is about zero, a fraction says nothing.
            if level < _MIN_CONTRAST * row.get("level_std", 0.0):
                size = math.nan
        if math.isfinite(size):
            facts.append(f"{100 * abs(size):.2g} % of the sky")
        facts.append(f"{abs(value):.0f} sigma")
    elif metric.endswith("Fraction") and math.isfinite(value):
        facts.append(f"{100 * value:.3g} %")
    return f"{words} ({', '.join(facts)})" if facts else words
