# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("JudgeSettings",)

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

from ..metrics import load_catalogue

_PREFIX, _SUFFIX = "significance_", "Sigma"


@dataclass(frozen=True)
class JudgeSettings:
    """What the judge's measurements depend on.

    Attributes
    ----------
    segments
        Number of segments (amplifiers) in x and y; `None` looks for the
        layouts of HSC and LSSTCam.
    floor
        Least noise of an amplitude, as a fraction of the sky: with a limit
        of 6 standard deviations, amplitudes below six times that pass.
    level_floor
        Least scatter of levels, as a fraction of the sky.
    high
        Greatest values that pass, in place of the catalogue's; `None` for
        none.
    """

    segments: tuple[int, int] | None = None
    floor: float = 7e-5
    level_floor: float = 5e-3
    high: Mapping[str, float | None] = field(default_factory=dict)

    @cached_property
    def limits(self) -> dict[str, float]:
        """Significance from which on a family of templates tells of a fault
        (`dict` [`str`, `float`]).
        """
        limits = {
            family: self.high.get(f"{_PREFIX}{family}{_SUFFIX}", limit)
            for family, limit in _catalogue_limits().items()
        }
        return {family: math.inf if limit is None else limit for family, limit in limits.items()}


@cache
def _catalogue_limits() -> dict[str, float]:
    return {
        name.removeprefix(_PREFIX).removesuffix(_SUFFIX): metric.high
        for name, metric in load_catalogue().items()
        if name.startswith(_PREFIX) and name.endswith(_SUFFIX) and metric.high is not None
    }
