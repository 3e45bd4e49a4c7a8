# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""OSS-REQ-0387: whether the sky brightness is right to 1 percent, by band."""

from __future__ import annotations

__all__ = ("BandPrecision", "has_precision", "sky_brightness_precision")

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..metrics import load_catalogue
from .campaign import MetricFamily, Progress

_ERROR = "residual_skyBrightnessError"
_SCATTER = "residual_skyBrightnessScatter"


@dataclass(frozen=True)
class BandPrecision:
    """How well the sky of one band was determined.

    Attributes
    ----------
    dataset : `str`
        What the images' metrics are called, such as ``calexp_residual``.
    root : `str`
        The instrument or sky map.
    band : `str`
        The band.
    count : `int`
        Images whose precision is known.
    unknown : `int`
        Images whose precision is not: without empty sky, or a background
        whose unit does not convert to the image's.
    met : `int`
        Images in which both error and scatter are within the limit.
    limit : `float`
        What the requirement allows, a fraction of the sky.
    error, scatter : `tuple` [`float`, `float`, `float`]
        Median, 95th percentile and greatest of both, fractions of the sky.
    worst : `str`
        Data ID of the image whose error or scatter is the greatest.
    """

    dataset: str
    root: str
    band: str
    count: int
    unknown: int
    met: int
    limit: float
    error: tuple[float, float, float]
    scatter: tuple[float, float, float]
    worst: str

    @property
    def verdict(self) -> str:
        """``"pass"`` if all that are known meet the requirement, ``"fail"`` if
        some do not, ``"unknown"`` if none is known (`str`).
        """
        if not self.count:
            return "unknown"
        return "pass" if self.met == self.count else "fail"

    @property
    def row(self) -> dict[str, Any]:
        """The numbers by name, for JSON (`dict`)."""
        row: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("dataset", "root", "band", "verdict", "count", "met", "unknown", "limit")
        }
        for name, values in (("error", self.error), ("scatter", self.scatter)):
            for word, value in zip(("Median", "P95", "Max"), values, strict=True):
                row[f"{name}{word}"] = value if np.isfinite(value) else None
        return row | {"worst": self.worst}


def has_precision(family: MetricFamily) -> bool:
    """Whether metrics tell of the precision of the sky brightness.

    Parameters
    ----------
    family : `MetricFamily`
        The metrics.

    Returns
    -------
    has_precision : `bool`
        Whether they are of the residual sky of visits.
    """
    return family.kind == "detector" and "residual_skyFraction" in family.units


def sky_brightness_precision(family: MetricFamily, progress: Progress | None = None) -> list[BandPrecision]:
    """Compare the images of a campaign with the requirement, by band.

    Parameters
    ----------
    family : `MetricFamily`
        Metrics of the residual sky.
    progress : `~collections.abc.Callable`, optional
        Called with how much is done, and how much there is.

    Returns
    -------
    bands : `list` [`BandPrecision`]
        The bands, by name.
    """
    limit = load_catalogue()[_ERROR].high
    assert limit is not None
    values: dict[str, list[tuple[float, float]]] = defaultdict(list)
    worst: dict[str, tuple[float, str]] = {}
    for batch in family.batches(progress):
        columns = [
            batch[name].to_pylist() if name in batch.schema.names else [np.nan] * batch.num_rows
            for name in (_ERROR, _SCATTER)
        ]
        keys = {name: batch[name].to_pylist() for name in family.keys}
        for i, pair in enumerate(zip(*columns, strict=True)):
            band = str(keys["band"][i])
            values[band].append(pair)
            size = max(pair)
            if np.isfinite(size) and size > worst.get(band, (-1.0, ""))[0]:
                worst[band] = size, _name({name: column[i] for name, column in keys.items()})
    return [
        _summarize(family, band, np.array(values[band]), limit, worst.get(band, (0.0, ""))[1])
        for band in sorted(values)
    ]


def _name(keys: Mapping[str, Any]) -> str:
    names = [name for name in ("visit", "detector", "tract", "patch") if name in keys]
    return ", ".join(f"{name} {keys[name]}" for name in names)


def _summarize(family: MetricFamily, band: str, pairs: np.ndarray, limit: float, worst: str) -> BandPrecision:
    known = pairs[np.isfinite(pairs).all(axis=1)]
    figures = [
        tuple(float(value) for value in np.percentile(column, (50, 95, 100)))
        if len(column)
        else (np.nan,) * 3
        for column in known.T
    ]
    met = int((known <= limit).all(axis=1).sum())
    error, scatter = figures
    return BandPrecision(
        family.name,
        family.root,
        band,
        len(known),
        len(pairs) - len(known),
        met,
        limit,
        error,  # type: ignore[arg-type]
        scatter,  # type: ignore[arg-type]
        worst,
    )
