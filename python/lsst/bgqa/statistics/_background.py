# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("background_statistics", "pixel_distribution")

import numpy as np

from ..background import ApproxStyle, BackgroundError, BackgroundModel, FieldLayer
from ._bins import (
    bumps_group,
    coverage_group,
    fit_group,
    inner_bounds,
    primary_layer,
    range_excess,
    roughness,
)
from ._config import StatisticsConfig
from ._distribution import Distribution
from ._extremes import extremes
from ._groups import Plane, blocks_group, edges_group, level_group, segment_edges, shape_group
from ._lattice import Lattice

# Beyond any sky, and yet float32 holds its square.
_MAX_VALUE = 1e18
_MAX_SUM = 1e24


def background_statistics(model: BackgroundModel, config: StatisticsConfig | None = None) -> dict[str, float]:
    """Measure a background without making its pixels.

    Parameters
    ----------
    model
        The background.
    config
        What to measure.

    Returns
    -------
    metrics
        Values by full name, ``group_name``, in the catalogue's order and in
        its units; undefined ones are left out. A background without a
        finite pixel has a coverage alone.

    Raises
    ------
    BackgroundError
        Raised if a layer cannot be evaluated.
    """
    config = config or StatisticsConfig()
    _refuse_wild_bins(model)
    finite = _is_finite(model)
    groups: dict[str, dict[str, float]] = {"coverage": coverage_group(model, finite)}
    if finite:
        inner = inner_bounds(model)
        lattice = Lattice.of(model, *_cuts(model, inner, config))
        if not np.abs(lattice.values).max() <= _MAX_SUM:
            raise BackgroundError(f"it has pixels beyond {_MAX_SUM:g} in size")
        distribution, plane = Distribution.of(lattice), Plane.of(lattice)
        all_pixels, inside = extremes(lattice, _rectangle(*inner))
        groups["coverage"]["rangeExcess"] = range_excess(model, *all_pixels)
        groups["level"] = level_group(lattice, distribution, all_pixels, plane)
        groups["shape"] = shape_group(plane, roughness(primary_layer(model).values))
        groups["edges"] = edges_group(lattice, distribution, config.edge_width, all_pixels, inside)
        groups["bumps"] = bumps_group(model, config.bump_threshold)
        groups["blocks"] = blocks_group(lattice, plane, config)
        groups["fit"] = fit_group(model)
    return {
        f"{group}_{name}": value
        for group, metrics in groups.items()
        for name, value in metrics.items()
        if np.isfinite(value)
    }


def pixel_distribution(model: BackgroundModel) -> Distribution | None:
    """Return the distribution of a background's pixels.

    Parameters
    ----------
    model
        The background.

    Returns
    -------
    distribution
        Histograms and quantiles of the pixels; `None` if none is finite.

    Raises
    ------
    BackgroundError
        Raised if a layer cannot be evaluated.
    """
    _refuse_wild_bins(model)
    return Distribution.of(Lattice.of(model, [], [])) if _is_finite(model) else None


def _is_finite(model: BackgroundModel) -> bool:
    # A bin without a value is bridged; only a layer of none has no pixels.
    return all(surface.is_finite for surface in model.surfaces)


def _rectangle(rows: tuple[int, int], columns: tuple[int, int]) -> tuple[slice, slice] | None:
    y, x = slice(*rows), slice(*columns)
    return (y, x) if y.start < y.stop and x.start < x.stop else None


def _refuse_wild_bins(model: BackgroundModel) -> None:
    for number, layer in enumerate(model.layers, start=1):
        if isinstance(layer, FieldLayer):
            continue
        wild = np.abs(layer.values) > _MAX_VALUE
        if layer.approximation.style is ApproxStyle.CHEBYSHEV:
            wild &= np.isfinite(layer.values)  # infinite bins are as good as none
        if count := int(wild.sum()):
            raise BackgroundError(
                f"layer {number} has {count} bins that are infinite or beyond {_MAX_VALUE:g} in size"
            )


def _cuts(
    model: BackgroundModel, inner: tuple[tuple[int, int], tuple[int, int]], config: StatisticsConfig
) -> tuple[list[int], list[int]]:
    """Return the rows and columns where what is measured begins or ends."""
    segments_x, segments_y = config.segments or (1, 1)
    return (
        _axis_cuts(model.bbox.height, inner[0], segments_y, config),
        _axis_cuts(model.bbox.width, inner[1], segments_x, config),
    )


def _axis_cuts(size: int, inner: tuple[int, int], segments: int, config: StatisticsConfig) -> list[int]:
    strip, middle = min(config.step_width, size // 2), size // 2
    return [
        *(config.edge_width, size - config.edge_width),
        *(middle - strip, middle, middle + strip),
        *inner,
        *segment_edges(size, segments),
    ]
