# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Numbers from a background's bins."""

from __future__ import annotations

__all__ = (
    "bump_significance",
    "bumps_group",
    "coverage_group",
    "fit_group",
    "inner_bounds",
    "keeps_bins",
    "primary_layer",
    "range_excess",
    "roughness",
)

import math

import numpy as np

from ..background import ApproxStyle, BackgroundModel, FieldLayer, Layer
from .robust import SIGMA_PER_MAD, median


def coverage_group(model: BackgroundModel, finite: bool) -> dict[str, float]:
    """Count pixels, of which all are finite or none, layers and bins."""
    fractions = [float(layer.measured.mean()) for layer in model.layers if layer.values.size]
    return {
        "pixelCount": model.bbox.area,
        "nanPixelCount": 0 if finite else model.bbox.area,
        "finiteFraction": float(finite),
        "layerCount": len(model.layers),
        "binCount": sum(layer.values.size for layer in model.layers),
        "badBinCount": sum(int((~np.isfinite(layer.values)).sum()) for layer in model.layers),
        "dataFraction": min(fractions, default=math.nan),
    }


def range_excess(model: BackgroundModel, minimum: float, maximum: float) -> float:
    """Tell how far pixels leave the range of the bins that hold data.

    The layer with the most bins counts, the others' values there added. The unit
    is that range; NaN if no bin holds data.
    """
    layer = primary_layer(model)
    if not layer.measured.any():
        return math.nan
    values = layer.values.astype(np.float64)
    y, x = layer.bin_centers_y - model.bbox.y0, layer.bin_centers_x - model.bbox.x0
    for other, surface in zip(model.layers, model.surfaces, strict=True):
        if other is not layer:
            values += surface.evaluate(y, x)
    values = values[layer.measured]
    excess = max(values.min() - minimum, maximum - values.max())
    # Bins that are all equal have pixels that differ by their rounding.
    return float(excess / max(np.ptp(values), model.rounding)) if excess > model.rounding else 0.0


def roughness(values: np.ndarray) -> float:
    """Return the rms of second differences along both axes; NaN if there is none."""
    values = values.astype(np.float64)
    seconds = np.concatenate([np.diff(values, n=2, axis=axis).ravel() for axis in (0, 1)])
    seconds = seconds[np.isfinite(seconds)]
    return math.sqrt(np.mean(seconds**2)) if len(seconds) else math.nan


def primary_layer(model: BackgroundModel) -> Layer | FieldLayer:
    """Return the layer with the most bins, the first of equals."""
    return max(model.layers, key=lambda layer: layer.values.size)


def keeps_bins(model: BackgroundModel) -> bool:
    """Whether a background keeps the bins that it was made from.

    A polynomial of ``lsst.images`` does not, alone or with a constant.
    """
    return primary_layer(model).values.size > 1 or all(
        surface.constant is not None for surface in model.surfaces
    )


def inner_bounds(model: BackgroundModel) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the rows and the columns between the outermost bin centres.

    Each are the first, local, and the one after the last, of the layer with
    the most bins; both are 0 without bins.
    """
    if not keeps_bins(model):
        return (0, 0), (0, 0)
    layer = primary_layer(model)
    y = layer.bin_centers_y - layer.bbox.y0
    x = layer.bin_centers_x - layer.bbox.x0
    if not len(y) or not len(x):
        return (0, 0), (0, 0)
    return (math.ceil(y[0]), math.floor(y[-1]) + 1), (math.ceil(x[0]), math.floor(x[-1]) + 1)


def bumps_group(model: BackgroundModel, threshold: float) -> dict[str, float]:
    """Find bins that stand out of their neighbourhood.

    The layer with the most bins is searched. A bin counts beyond ``threshold``
    robust standard deviations. Empty if the bins do not scatter.
    """
    significance = bump_significance(primary_layer(model).values)
    if significance is None:
        return {}
    finite = significance[np.isfinite(significance)]
    peak = float(finite[np.argmax(np.abs(finite))])
    return {"peakBump": peak, "bumpCount": int((np.abs(finite) > threshold).sum())}


def bump_significance(values: np.ndarray) -> np.ndarray | None:
    """Tell how far each bin stands out of the median of the 5x5 bins about it.

    The best plane is taken off first: on a slope steeper than the scatter the
    median of a neighbourhood is its middle, whatever that holds. Beyond the
    border the grid is continued by point reflection, so that a gradient does
    not look like a bump there. The unit is the robust standard deviation of
    all deviations; `None` if that is zero.
    """
    values = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if min(values.shape) < 3 or np.isfinite(values).sum() < 3:
        return None
    values -= _plane_through(values)
    padded = values
    for _ in range(2):
        before, after = 2 * padded[:1] - padded[2:0:-1], 2 * padded[-1:] - padded[-2:-4:-1]
        padded = np.concatenate([before, padded, after]).T
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).reshape(*values.shape, 25)
    deviation = values - _medians(windows)
    finite = deviation[np.isfinite(deviation)]
    if not len(finite):
        return None
    sigma = SIGMA_PER_MAD * median(np.abs(finite - median(finite)))
    return deviation / sigma if sigma > 0 else None


def _medians(windows: np.ndarray) -> np.ndarray:
    """Take medians along the last axis, which has an odd length; those of
    some NaN are of the rest.
    """
    middle = windows.shape[-1] // 2
    ordered = np.sort(windows, axis=-1)  # NaN comes last
    medians = ordered[..., middle].copy()
    missing = np.isnan(ordered[..., -1])
    ordered = ordered[missing]
    n = np.isfinite(ordered).sum(axis=-1)
    pair = np.stack([np.maximum(n - 1, 0) // 2, np.maximum(n, 1) // 2], axis=-1)
    pair = np.minimum(pair, 2 * middle)
    medians[missing] = np.take_along_axis(ordered, pair, axis=-1).mean(axis=-1)
    return medians


def _plane_through(values: np.ndarray) -> np.ndarray:
    """Fit a plane to the finite values of a grid by least squares."""
    rows, columns = np.nonzero(np.isfinite(values))
    value = values[rows, columns] - values[rows, columns].mean()
    y, x = rows - rows.mean(), columns - columns.mean()
    # The normal equations of two slopes, solved by Cramer's rule.
    yy, xy, xx = (y * y).sum(), (x * y).sum(), (x * x).sum()
    vy, vx = (value * y).sum(), (value * x).sum()
    determinant = yy * xx - xy * xy
    if determinant <= 1e-12 * yy * xx or determinant == 0:
        slopes = vy / yy if yy else 0.0, vx / xx if xx and not yy else 0.0
    else:
        slopes = (vy * xx - vx * xy) / determinant, (vx * yy - vy * xy) / determinant
    return np.add.outer(slopes[0] * np.arange(values.shape[0]), slopes[1] * np.arange(values.shape[1]))


def fit_group(model: BackgroundModel) -> dict[str, float]:
    """Compare the bins of all Chebyshev layers, if any, with their polynomials."""
    residuals, pulls, freedom = [], [], 0
    for layer, surface in zip(model.layers, model.surfaces, strict=True):
        if isinstance(layer, FieldLayer) or layer.approximation.style is not ApproxStyle.CHEBYSHEV:
            continue  # there are no bins that a polynomial was fitted to
        if not surface.is_finite:
            continue
        y = layer.bin_centers_y - layer.bbox.y0
        x = layer.bin_centers_x - layer.bbox.x0
        residual = layer.values - surface.evaluate(y, x)
        used = np.isfinite(residual) & np.isfinite(layer.fit_weights)
        order = layer.approximation.order_x
        residuals.append(residual[used])
        freedom += int(used.sum()) - (order + 1) * (order + 2) // 2
        known = used & np.isfinite(layer.standard_error) & (layer.standard_error > 0)
        pulls.append(residual[known] / layer.standard_error[known])
    if not residuals:
        return {}
    residual, pull = np.concatenate(residuals), np.concatenate(pulls)
    metrics = {"residualRms": math.sqrt(np.mean(residual**2)) if len(residual) else math.nan}
    if len(pull):
        metrics["reducedChi2"] = float(np.sum(pull**2)) / freedom if freedom > 0 else math.nan
        metrics["maxPull"] = float(np.max(np.abs(pull)))
    return metrics
