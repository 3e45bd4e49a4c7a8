# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("StatisticsConfig",)

from dataclasses import dataclass


@dataclass(frozen=True)
class StatisticsConfig:
    """What the statistics of a background depend on.

    Attributes
    ----------
    edge_width
        Width of the outermost ring, and side of the corners, in pixels.
    step_width
        Width of the strips on either side of a mid-line, in pixels.
    segments
        Number of segments (amplifiers) in x and y, equal in size; `None`
        leaves out their contrast.
    bump_threshold
        How far a bin must stand out of its neighbourhood to be a bump, in
        robust standard deviations.
    """

    edge_width: int = 128
    step_width: int = 128
    segments: tuple[int, int] | None = None
    bump_threshold: float = 5.0

    def __post_init__(self) -> None:
        if self.edge_width < 1 or self.step_width < 1:
            raise ValueError("edge_width and step_width must be at least 1 pixel")
        if self.segments is not None and (len(self.segments) != 2 or min(self.segments) < 1):
            raise ValueError(f"segments must be two positive numbers, not {self.segments}")
        if not self.bump_threshold > 0:
            raise ValueError(f"bump_threshold must be positive, not {self.bump_threshold}")
