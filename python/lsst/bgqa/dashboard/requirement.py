# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""OSS-REQ-0387: whether the sky brightness is right to 1 percent, by band."""

from __future__ import annotations

__all__ = ("BandPrecision", "has_precision", "sky_brightness_precision")

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ..metrics import load_catalogue
from .table import CampaignTable, Progress

_ERROR = "residual_skyBrightnessError"
_SCATTER = "residual_skyBrightnessScatter"


@dataclass(frozen=True)
class BandPrecision:
    """How well the sky of one band was determined."""

    dataset: str
    """What the images' metrics are called, such as ``calexp_residual``."""
    root: str
    """The instrument or sky map."""
    band: str
    count: int
    """Images whose precision is known."""
    unknown: int
    """Images whose precision is not: without empty sky, or a background whose
    unit does not convert to the image's.
    """
    met: int
    """Images in which both error and scatter are within the limit."""
    limit: float
    """What the requirement allows, a fraction of the sky."""
    error: tuple[float, float, float]
    """Median, 95th percentile and greatest, fractions of the sky."""
    scatter: tuple[float, float, float]
    """The same of the scatter."""
    worst: str
    """Data ID of the image whose error or scatter is the greatest."""

    @property
    def verdict(self) -> str:
        """``"pass"`` if all that are known meet the requirement, ``"fail"`` if
        some do not, ``"unknown"`` if none is known.
        """
        if not self.count:
            return "unknown"
        return "pass" if self.met == self.count else "fail"

    @property
    def row(self) -> dict[str, Any]:
        """The numbers by name, for JSON."""
        names = ("dataset", "root", "band", "verdict", "count", "met", "unknown", "limit")
        row: dict[str, Any] = {name: getattr(self, name) for name in names}
        for name, values in (("error", self.error), ("scatter", self.scatter)):
            for word, value in zip(("Median", "P95", "Max"), values, strict=True):
                row[f"{name}{word}"] = value if np.isfinite(value) else None
        return row | {"worst": self.worst}


def has_precision(table: CampaignTable) -> bool:
    """Whether metrics are of the residual sky of visits, and tell of the precision of the brightness."""
    return table.kind == "detector" and "residual_skyFraction" in table.units


def sky_brightness_precision(table: CampaignTable, progress: Progress | None = None) -> list[BandPrecision]:
    """Compare the images of a campaign, by its metrics of the residual sky, with the requirement, by band."""
    limit = load_catalogue()[_ERROR].high
    assert limit is not None
    both = [_ERROR, _SCATTER]
    keys = [name for name in ("visit", "detector", "tract", "patch") if name in table.keys]
    rows = table.scan(progress).select("band", *keys, pl.col(both).fill_nan(None)).collect()
    bands = []
    for (band,), every in sorted(rows.group_by("band", maintain_order=True)):
        known = every.drop_nulls(both)
        size = known.select(pl.max_horizontal(both)).to_series()
        worst = known.row(size.arg_max() or 0, named=True) if len(known) else {}
        bands.append(
            BandPrecision(
                table.name,
                table.root,
                str(band),
                len(known),
                len(every) - len(known),
                known.filter(pl.all_horizontal(pl.col(both) <= limit)).height,
                limit,
                _figures(known[_ERROR]),
                _figures(known[_SCATTER]),
                ", ".join(f"{name} {worst[name]}" for name in keys if worst),
            )
        )
    return bands


def _figures(values: pl.Series) -> tuple[float, float, float]:
    if not len(values):
        return np.nan, np.nan, np.nan
    return tuple(values.quantile(fraction, "linear") for fraction in (0.5, 0.95, 1.0))  # type: ignore
