# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What stands out of a grid of bins, taken off cause by cause."""

from __future__ import annotations

__all__ = ("Remainder", "main_cause", "without_causes")

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from .significance import OUTLIER_SIGMAS, Finding, find, sharpen, white_scales
from .templates import TemplateBank

# Correlated noise stands out of that of single bins, too, if not as much.
_SURE = 2.0


@dataclass(frozen=True, eq=False)
class Remainder:
    """Bins of a background, and how much of each template they hold.

    Attributes
    ----------
    bins
        The bins, without missing ones, as fractions of the sky, shape (ny, nx).
    projections
        What they have of each template, shape (templates,).
    sharp
        Each against its neighbours, shape (ny, nx).
    """

    bank: TemplateBank
    bins: np.ndarray
    projections: np.ndarray
    sharp: np.ndarray

    @classmethod
    def of(cls, bank: TemplateBank, bins: np.ndarray) -> list[Self]:
        """Project bins of several backgrounds, shape (backgrounds, ny, nx), onto templates."""
        projections, sharp = bank.project(bins), sharpen(bins)
        return [cls(bank, *parts) for parts in zip(bins, projections, sharp, strict=True)]

    def without(self, finding: Finding, noise: float) -> Remainder:
        """Take a cause off; ``noise`` is that of single bins against their neighbours."""
        left = self.bins - self._model(finding, noise)
        return type(self).of(self.bank, left[np.newaxis])[0]

    def _model(self, finding: Finding, noise: float) -> np.ndarray:
        """Return what a cause adds to the bins."""
        family = finding.template.family
        if family == "bin":
            return np.where(np.abs(self.sharp) > OUTLIER_SIGMAS * noise, self.sharp, 0.0)
        if family == "gradient":
            members = self.bank.families["gradient"]
            return (self.projections[members] @ self.bank.filters[members]).reshape(self.bank.shape)
        return finding.amplitude * self.bank.draw(finding.number)


def main_cause(findings: Mapping[str, Finding], limits: Mapping[str, float]) -> Finding | None:
    """Choose the finding that explains best what stands out, if anything does.

    ``limits`` has the significance from which on a family counts.
    """
    beyond = [
        finding for family, finding in findings.items() if abs(finding.sigma) > limits.get(family, np.inf)
    ]
    # Others have a slope as well, a mere gradient has none of theirs.
    local = [finding for finding in beyond if finding.template.family != "gradient"]
    # The right shape explains the most, and is more significant than its parts.
    return max(local or beyond, key=lambda finding: finding.explained**1.5 * abs(finding.sigma), default=None)


def without_causes(
    remainder: Remainder, limits: Mapping[str, float], formal: float, floor: float, most: int
) -> Remainder:
    """Take off what stands out of the noise of single bins.

    Without peers, a fault would count as the noise that it is judged by.

    Parameters
    ----------
    limits
        Significance from which on a family of templates tells of a fault.
    formal
        Standard error of a bin, as a fraction of the sky.
    floor
        Least noise of an amplitude, as a fraction of the sky.
    most
        How many causes are taken off at most.
    """
    sure = {family: _SURE * limit for family, limit in limits.items()}
    for _ in range(most):
        scales = white_scales(remainder.bank, remainder.sharp, formal, floor)
        cause = main_cause(find(remainder.bank, scales, remainder.projections, remainder.sharp), sure)
        if cause is None:
            break
        remainder = remainder.without(cause, scales.bins)
    return remainder
