# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What is wrong with a background, in words.

A metric without unit is judged by the catalogue's thresholds. One in the
background's unit has none: on a visit it is compared with the sky's level,
on a coadd, where the level is about zero, with the other coadds of its band.
"""

from __future__ import annotations

__all__ = ("Fault", "find_coadd_faults", "find_visit_faults", "words_for")

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import astropy.units as u
import numpy as np

from ._catalogue import load_catalogue

_LEVEL = "level_median"
_PEER_SIGMAS = 8.0
_LEVEL_SIGMAS = 5.0
_LEVEL_FRACTION = 0.01


@dataclass(frozen=True)
class Fault:
    """Something wrong with a background.

    Attributes
    ----------
    kind : `str`
        What it is about; a background has at most one fault of a kind.
    words : `str`
        What is wrong.
    metric : `str`
        Full name of the metric that shows it.
    value : `astropy.units.Quantity` or `None`
        Its value; `None` if it could not be measured.
    severity : `float`
        The value over what would pass; above 1.
    """

    kind: str
    words: str
    metric: str
    value: u.Quantity | None
    severity: float


@dataclass(frozen=True)
class _Rule:
    """How a metric shows a fault.

    ``low`` and ``high`` are the words for values that are too low or too
    high; `None` if that is no fault. ``fraction`` is the size that passes as
    a fraction of a visit's sky level, for a metric in the background's unit.
    """

    kind: str
    metric: str
    low: str | None
    high: str | None
    fraction: float | None = None


def _left(words: str) -> tuple[str, str]:
    """Return words for what is dark or bright in the sky that is left."""
    return f"{words.format('dark')} left in the image", f"{words.format('bright')} left in the image"


_RULES = (
    _Rule("coverage", "coverage_finiteFraction", "pixels without a value", None),
    _Rule("edges", "edges_edgeExcess", "dark edges", "bright edges", 0.003),
    _Rule("bumps", "bumps_peakBump", "a dip", "a bump: halo or over-subtraction"),
    _Rule("bumps", "bumps_bumpCount", None, "bins that stand out"),
    _Rule("step", "blocks_stepX", "a step in x at the middle", "a step in x at the middle", 0.0005),
    _Rule("step", "blocks_stepY", "a step in y at the middle", "a step in y at the middle", 0.0005),
    _Rule("step", "blocks_segmentContrast", None, "a step between segments", 0.003),
    _Rule("gradient", "shape_gradientAmplitude", None, "a gradient", 0.01),
    _Rule("fit", "fit_maxPull", None, "structure that the fit misses"),
    _Rule("fit", "fit_reducedChi2", None, "structure that the fit misses"),
    _Rule("closure", "closure_nanMismatchCount", None, "pixels with a value in one coadd only"),
    _Rule("closure", "closure_edgeUnexplainedCount", None, "unexplained pixels at the edge"),
    _Rule("closure", "closure_interiorUnexplainedCount", None, "unexplained pixels inside"),
    _Rule("precision", "residual_skyBrightnessError", None, "a sky that is wrong by more than 1 %"),
    _Rule("precision", "residual_skyBrightnessScatter", None, "a sky that is uneven by more than 1 %"),
    _Rule("image edges", "residual_edgeExcessSignificance", *_left("{} edges")),
    _Rule("image edges", "residual_edgeExtremeSignificance", *_left("a {} edge")),
    _Rule("image corner", "residual_cornerExcessSignificance", *_left("a {} corner")),
    _Rule("image step", "residual_stepXSignificance", *_left("a step in x at the middle")),
    _Rule("image step", "residual_stepYSignificance", *_left("a step in y at the middle")),
    _Rule("image step", "residual_segmentStepSignificance", *_left("a step between segments")),
    _Rule("image halo", "residual_haloSignificance", "a dark halo left in the image", None),
    _Rule("crowding", "residual_crowdingSignificance", None, "sources taken for sky where they crowd"),
)


def _level_rule(others: str) -> _Rule:
    """Return how a level shows a fault beside those of others."""
    return _Rule("level", _LEVEL, f"a level below the {others}'", f"a level above the {others}'")


def words_for(metric: str, value: float, low: float, high: float) -> str:
    """Say what a value that does not pass is a sign of.

    Parameters
    ----------
    metric : `str`
        Full name of the metric.
    value : `float`
        The value.
    low, high : `float`
        Least and greatest value that pass; NaN where a side is open.

    Returns
    -------
    words : `str`
        Such as ``"dark edges"``; empty if there are none for this metric.
    """
    if metric == "coverage_finiteFraction" and value == 0:
        return "no good pixel"
    for rule in (*_RULES, _level_rule("others")):
        if rule.metric == metric:
            return (rule.low if value < low else rule.high if value > high else None) or ""
    return ""


def find_visit_faults[K: Hashable](visit: Mapping[K, Mapping[str, u.Quantity]]) -> dict[K, list[Fault]]:
    """Find what is wrong with the backgrounds of one visit.

    Parameters
    ----------
    visit : `~collections.abc.Mapping`
        Metrics of each detector, by full name.

    Returns
    -------
    faults : `dict` [K, `list` [`Fault`]]
        What is wrong with each detector's, the most severe first.
    """
    center, scale = _robust(visit, _LEVEL)
    level_rule = _level_rule("other detectors")
    found = {}
    for key, quantities in visit.items():
        faults = [_general(rule, quantities) for rule in _RULES if rule.fraction is None]
        level = quantities.get(_LEVEL)
        if level is not None:
            for rule in _RULES:
                if rule.fraction is not None and rule.metric in quantities:
                    limit = rule.fraction * abs(level.value)
                    faults.append(_relative(rule, quantities[rule.metric], 0.0, limit))
            limit = max(_LEVEL_SIGMAS * scale, _LEVEL_FRACTION * abs(center))
            faults.append(_relative(level_rule, level, center, limit))
        found[key] = _worst_of_each_kind(faults)
    return found


def find_coadd_faults[K: Hashable](coadds: Mapping[K, Mapping[str, u.Quantity]]) -> dict[K, list[Fault]]:
    """Find what is wrong with the backgrounds of coadds.

    Parameters
    ----------
    coadds : `~collections.abc.Mapping`
        Metrics of each patch in one band, by full name.

    Returns
    -------
    faults : `dict` [K, `list` [`Fault`]]
        What is wrong with each patch's, the most severe first. Metrics in
        the background's unit are compared with the other patches', and so
        with fewer than five patches not at all.
    """
    level_rule = _level_rule("other patches")
    rules = [rule for rule in _RULES if rule.fraction is not None]
    found = {}
    peers = {rule.metric: _robust(coadds, rule.metric) for rule in [*rules, level_rule]}
    for key, quantities in coadds.items():
        faults = [_general(rule, quantities) for rule in _RULES if rule.fraction is None]
        for rule, sigmas in [*((rule, _PEER_SIGMAS) for rule in rules), (level_rule, _LEVEL_SIGMAS)]:
            if rule.metric in quantities and len(coadds) >= 5:
                center, scale = peers[rule.metric]
                faults.append(_relative(rule, quantities[rule.metric], center, sigmas * scale))
        found[key] = _worst_of_each_kind(faults)
    return found


def _robust[K: Hashable](table: Mapping[K, Mapping[str, u.Quantity]], metric: str) -> tuple[float, float]:
    """Return the median of a metric, and its robust standard deviation."""
    values = np.array([row[metric].value for row in table.values() if metric in row])
    if not len(values):
        return np.nan, np.nan
    center = float(np.median(values))
    return center, 1.4826 * float(np.median(abs(values - center)))


def _general(rule: _Rule, quantities: Mapping[str, u.Quantity]) -> Fault | None:
    """Judge a metric by the catalogue's thresholds."""
    value = quantities.get(rule.metric)
    if value is None:
        return None
    metric = load_catalogue()[rule.metric]
    number = float(value.value)
    if rule.metric == "coverage_finiteFraction" and number == 0:
        return Fault(rule.kind, "no good pixel", rule.metric, value, np.inf)
    if rule.low is not None and metric.low is not None and number < metric.low:
        # What a fraction lacks to 1 says more than the fraction.
        severity = number / metric.low if metric.low < 0 else (1 - number) / max(1 - metric.low, 1e-12)
        return Fault(rule.kind, rule.low, rule.metric, value, severity)
    if rule.high is not None and metric.high is not None and number > metric.high:
        severity = number / metric.high if metric.high > 0 else 1 + number
        if rule.metric == "fit_reducedChi2":
            severity = severity**0.5
        return Fault(rule.kind, rule.high, rule.metric, value, severity)
    return None


def _relative(rule: _Rule, value: u.Quantity, center: float, limit: float) -> Fault | None:
    """Judge a metric by its distance from what is usual."""
    deviation = float(value.value) - center
    words = rule.low if deviation < 0 else rule.high
    if words is None or not limit > 0 or abs(deviation) <= limit:
        return None
    return Fault(rule.kind, words, rule.metric, value, abs(deviation) / limit)


def _worst_of_each_kind(faults: list[Fault | None]) -> list[Fault]:
    worst: dict[str, Fault] = {}
    for fault in sorted((fault for fault in faults if fault), key=lambda fault: -fault.severity):
        worst.setdefault(fault.kind, fault)
    return list(worst.values())
