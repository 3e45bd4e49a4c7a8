# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""How significantly templates stand out of detectors' residuals."""

from __future__ import annotations

__all__ = (
    "OUTLIER_SIGMAS",
    "Finding",
    "Scales",
    "find",
    "fit_scales",
    "largest_hole",
    "sharpen",
    "white_scales",
)

import math
from dataclasses import dataclass

import numpy as np

from ..statistics.robust import SIGMA_PER_MAD, median
from .templates import Template, TemplateBank

# Bins of one sign that are looked at together, and those of them that are
# credited with what they explain, as a fraction of all.
_TOP = 8
_OUTLIERS = 0.02
OUTLIER_SIGMAS = 3.5
# What the mean of the most deviating bins usually is in units of their noise,
# and its scatter, where too few detectors tell.
_USUAL_TOP = (2.9, 0.35)
_FEW = 5
_ABOUT = 0.85
# How far peers are believed, against what the detectors' own bins tell.
_PRIOR_PEERS = 6.0
_MIN_PLACES = 40


@dataclass(frozen=True)
class Finding:
    """What stands out most, of one family of templates.

    Attributes
    ----------
    template
        The shape, and where.
    number
        Its number in the bank; -1 for single bins.
    amplitude
        Its peak, as a fraction of the sky, signed.
    sigma
        Its significance, signed.
    explained
        How much of the residuals' sum of squares it explains.
    """

    template: Template
    number: int
    amplitude: float
    sigma: float
    explained: float


@dataclass(frozen=True, eq=False)
class Scales:
    """How much templates scatter where nothing is wrong.

    Attributes
    ----------
    projections
        Of what bins have of each template, as a fraction of the sky, shape
        (templates,).
    bins
        Of a single bin against its neighbours.
    top
        Usual mean of the most deviating bins in units of ``bins``, and its
        scatter.
    """

    projections: np.ndarray
    bins: float
    top: tuple[float, float]


def sharpen(residuals: np.ndarray) -> np.ndarray:
    """Take its neighbours' median off each bin, shape (detectors, ny, nx), in ``float32``."""
    values = residuals.astype(np.float32)
    # The four that share a side: the nearest tell most of what is smooth.
    above, below = (
        np.concatenate(rows, axis=1)
        for rows in ((values[:, :1], values[:, :-1]), (values[:, 1:], values[:, -1:]))
    )
    left, right = (
        np.concatenate(columns, axis=2)
        for columns in ((values[..., :1], values[..., :-1]), (values[..., 1:], values[..., -1:]))
    )
    # The median of four is the mean of the two in the middle.
    lower = np.maximum(np.minimum(above, below), np.minimum(left, right))
    upper = np.minimum(np.maximum(above, below), np.maximum(left, right))
    return np.asarray(values - (lower + upper) / 2)


def fit_scales(
    bank: TemplateBank, projections: np.ndarray, sharp: np.ndarray, formal: float, floor: float
) -> Scales:
    """Measure the noise of templates from peers.

    Parameters
    ----------
    projections
        What detectors of one kind have of them, from `TemplateBank.project`.
    sharp
        The same detectors' bins against their neighbours, from `sharpen`.
    formal
        Standard error of a bin, as a fraction of the sky.
    floor
        Least noise of an amplitude, as a fraction of the sky.
    """
    count = len(projections)
    sizes = np.abs(projections)
    medians = {group.start: SIGMA_PER_MAD * median(sizes[:, group]) for group in bank.groups}
    # Correlated noise: what many places on the same detectors tell.
    spread = [medians[group.start] for group in bank.groups if group.stop - group.start >= _MIN_PLACES]
    prior = max([formal, *spread])
    sigma = np.empty(len(bank.templates))
    for group in bank.groups:
        # Places that overlap are not independent.
        independent = count * (1 + (group.stop - group.start) / 20) - 1
        weight = independent / (independent + _PRIOR_PEERS)
        sigma[group] = np.sqrt(weight * medians[group.start] ** 2 + (1 - weight) * prior**2)
    noise = np.maximum(np.maximum(sigma, formal), floor * bank.norms)
    # Exactly flat bins have no noise, and nothing that stands out.
    bins = max(SIGMA_PER_MAD * median(np.abs(sharp)), formal, 1e-12)
    if count < _FEW:
        return Scales(noise, max(bins, floor), _USUAL_TOP)
    flat = sharp.reshape(count, -1) / bins
    tops = np.concatenate([_top(flat), _top(-flat)])
    usual = median(tops)
    scatter = SIGMA_PER_MAD * median(np.abs(tops - usual))
    return Scales(noise, max(bins, floor), (max(usual, 2.5), max(scatter, 0.2)))


def white_scales(bank: TemplateBank, sharp: np.ndarray, formal: float, floor: float) -> Scales:
    """Take the noise of all templates to be that of independent bins; see `fit_scales`."""
    bins = max(SIGMA_PER_MAD * median(np.abs(sharp)), formal, 1e-12)
    return Scales(np.maximum(bins, floor * bank.norms), max(bins, floor), _USUAL_TOP)


def _top(values: np.ndarray) -> np.ndarray:
    """Return the mean of the highest values of each row."""
    count = min(_TOP, values.shape[1])
    return np.partition(values, values.shape[1] - count, axis=1)[:, -count:].mean(axis=1)


def find(
    bank: TemplateBank,
    scales: Scales,
    projections: np.ndarray,
    sharp: np.ndarray,
    excess: tuple[float, float] = (1.0, 1.0),
) -> dict[str, Finding]:
    """Find the template of each family that stands out most; ``bin`` is of single bins.

    A gradient's significance is that of both directions together.

    Parameters
    ----------
    projections
        What a detector has of each template, shape (templates,).
    sharp
        Its bins against their neighbours, shape (ny, nx).
    excess
        How much more gradients, and all else, scatter about the detector's
        place than elsewhere.
    """
    sigmas, squares = projections / scales.projections, projections**2
    sizes = np.abs(sigmas)
    families = list(bank.families.values())
    greatest = np.maximum.reduceat(sizes, [members.start for members in families])
    # Of those that are about as sure, the one that explains most fits.
    least = np.repeat(_ABOUT * greatest, [members.stop - members.start for members in families])
    explained = np.where(sizes >= least, squares, -1.0)
    findings = {}
    for (family, members), most in zip(bank.families.items(), greatest.tolist(), strict=True):
        best = members.start + int(explained[members].argmax())
        sigma, square = math.copysign(most, projections[best]), float(squares[best])
        if family == "gradient":
            sigma, square = float(np.hypot.reduce(sigmas[members])), float(squares[members].sum())
        sigma /= excess[0] if family == "gradient" else excess[1]
        amplitude = float(projections[best] / bank.norms[best])
        findings[family] = Finding(bank.templates[best], best, amplitude, sigma, square)
    findings["bin"] = _find_bins(scales, sharp)
    return findings


def _find_bins(scales: Scales, sharp: np.ndarray) -> Finding:
    flat = sharp.ravel() / scales.bins
    credited = max(4, int(_OUTLIERS * flat.size))
    ordered = np.sort(flat)
    above, below = float(ordered[-_TOP:].sum()) / _TOP, float(-ordered[:_TOP].sum()) / _TOP
    if above >= below:
        sign, best, outliers = 1, int(flat.argmax()), ordered[-credited:]
    else:
        sign, best, outliers = -1, int(flat.argmin()), -ordered[:credited]
    usual, scatter = scales.top
    sigma = max((max(above, below) - usual) / scatter, 0.0)
    outliers = outliers[outliers > OUTLIER_SIGMAS] * scales.bins
    row, column = divmod(best, sharp.shape[1])
    return Finding(
        Template("bin", 0, float(row), float(column)),
        -1,
        float(flat[best]) * scales.bins,
        sign * sigma,
        float((outliers**2).sum()),
    )


def largest_hole(missing: np.ndarray) -> int:
    """Count the missing bins of the largest block that touch by their sides."""
    if not missing.any():
        return 0
    # Imported late: most backgrounds have no use for it.
    from scipy import ndimage

    labels, count = ndimage.label(missing)
    return int(np.bincount(labels.ravel())[1:].max()) if count else 0
