# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The numbers of a background, group by group of the metric catalogue."""

from __future__ import annotations

__all__ = (
    "blocks_group",
    "bumps_group",
    "coverage_group",
    "edges_group",
    "fit_group",
    "level_group",
    "shape_group",
)

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .._compiled import sum_moments
from ..background import ApproxStyle, BackgroundModel, FieldLayer, Layer
from ._config import StatisticsConfig
from ._distribution import Distribution
from ._extremes import extremes
from ._strips import StripGrid

# Up to so many different values, pixels are counted one by one.
_MAX_LEVELS = 200
# Ratio of the standard deviation of a normal distribution to its median
# absolute deviation.
_SIGMA_PER_MAD = 1.482602218505602


@dataclass(frozen=True)
class Plane:
    """The best plane through the pixels.

    Attributes
    ----------
    mean : `float`
        Mean of the pixels.
    variance : `float`
        Variance of the pixels.
    slope_x, slope_y : `float`
        Slopes, per pixel.
    x, y : `float`
        Centre of the pixels, local.
    """

    mean: float
    variance: float
    slope_x: float
    slope_y: float
    x: float
    y: float

    @classmethod
    def of(cls, strips: StripGrid) -> Plane:
        """Fit a plane to pixels by least squares.

        Parameters
        ----------
        strips : `StripGrid`
            The strips of the pixels.

        Returns
        -------
        plane : `Plane`
            The plane.
        """
        y, x = strips.y, strips.x
        rows, columns = y.weights, x.lengths.astype(np.float64)
        count = rows.sum() * columns.sum()
        near = float(strips.level[:, ::64].mean())
        sums, squares, first = _moments(strips, near)
        n = len(sums)
        # Of a strip's polynomials those of even degree have a sum.
        even = slice(0, n, 2)
        means = x.products[:, 0, even].T
        by_column = (sums[even] * means).sum(axis=0)
        moment_y = float((first[even] * means).sum(axis=0) @ columns)
        offset = float(by_column @ columns) / count
        moment_x = float(by_column @ (columns * (x.centers - x.middle)))
        for i in range(1, n, 2):
            within = 0.5 * columns * x.products[:, 1, i]  # d is k / 2 of the first polynomial
            moment_x += float(sums[i] @ (columns * within))
        square = sum(
            float(part @ (columns * x.products[:, i, j])) * (1 if i == j else 2)
            for (i, j), part in zip(_products(n), squares, strict=True)
        )
        ny, nx = int(y.lengths.sum()), int(x.lengths.sum())
        return cls(
            strips.reference + near + offset,
            max(square / count - offset**2, 0.0),
            12 * moment_x / (count * (nx**2 - 1)) if nx > 1 else 0.0,
            12 * moment_y / (count * (ny**2 - 1)) if ny > 1 else 0.0,
            x.middle,
            y.middle,
        )


def _moments(strips: StripGrid, near: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum coefficients, their products and first moments in y over rows.

    Returns
    -------
    sums : `numpy.ndarray`
        Sums of the coefficients of each strip of a row, less ``near``, shape
        (4, strips).
    squares : `numpy.ndarray`
        Sums of the products of two coefficients that are not orthogonal, in
        the order of `_products`.
    first : `numpy.ndarray`
        First moments in y, about the middle, as ``sums``.
    """
    n, n_strips, _ = strips.coefficients.shape
    sums, first, squares = (np.empty((m, n_strips)) for m in (n, n, len(_products(n))))
    weights = strips.y.weights
    arms = weights * (strips.y.samples - strips.y.middle)
    sum_moments(strips.coefficients, near, weights, arms, sums, first, squares)
    return sums, squares, first


def _products(n: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(n) for j in range(i, n, 2)]


def coverage_group(model: BackgroundModel, finite: bool) -> dict[str, float]:
    """Count pixels, layers and bins.

    Parameters
    ----------
    model : `BackgroundModel`
        The background.
    finite : `bool`
        Whether its pixels are finite; all are, or none.

    Returns
    -------
    metrics : `dict` [`str`, `float`]
        The metrics, by name within their group.
    """
    return {
        "pixelCount": model.bbox.area,
        "nanPixelCount": 0 if finite else model.bbox.area,
        "finiteFraction": float(finite),
        "layerCount": len(model.layers),
        "binCount": sum(layer.values.size for layer in model.layers),
        "badBinCount": sum(int((~np.isfinite(layer.values)).sum()) for layer in model.layers),
    }


def level_group(strips: StripGrid, distribution: Distribution, plane: Plane) -> dict[str, float]:
    """Describe the distribution of the pixels.

    Parameters
    ----------
    strips : `StripGrid`
        The strips of the pixels.
    distribution : `Distribution`
        Their distribution.
    plane : `Plane`
        Their best plane.

    Returns
    -------
    metrics : `dict` [`str`, `float`]
        The metrics, by name within their group.
    """
    minimum, maximum = extremes(strips)
    if minimum == maximum:
        levels = dict.fromkeys(("p01", "p05", "p25", "median", "p75", "p95", "p99"), minimum)
        return {
            "min": minimum,
            "max": maximum,
            "mean": minimum,
            "median": levels.pop("median"),
            "std": 0.0,
            "sigmaMad": 0.0,
            **levels,
            "range": 0.0,
            "negativeFraction": float(minimum < 0),
        }
    mean, variance = plane.mean, plane.variance
    if not strips.is_exact:
        mean, variance = _rounded_moments(plane, distribution, minimum, maximum)
    p01, p05, p25, median, p75, p95, p99 = distribution.quantiles([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
    return {
        "min": minimum,
        "max": maximum,
        "mean": mean,
        "median": median,
        "std": math.sqrt(variance),
        "sigmaMad": _SIGMA_PER_MAD * distribution.median_absolute_deviation(median),
        "p01": p01,
        "p05": p05,
        "p25": p25,
        "p75": p75,
        "p95": p95,
        "p99": p99,
        "range": maximum - minimum,
        "negativeFraction": _negative_fraction(distribution, minimum, maximum),
    }


def _rounded_moments(
    plane: Plane, distribution: Distribution, minimum: float, maximum: float
) -> tuple[float, float]:
    """Take the mean and the variance of pixels that are rounded."""
    rounding = distribution.rounding
    step = rounding.step(min(abs(minimum), abs(maximum)))
    if step == 0 or maximum - minimum > _MAX_LEVELS * step:
        return plane.mean, plane.variance + rounding.variance(plane.mean)
    # So few different pixels are counted.
    levels = np.arange(round((maximum - minimum) / step) + 1) * step
    edges = [*(levels + minimum).tolist(), maximum + 0.5 * step]
    counts = np.diff(distribution.counts_below(edges))
    mean = float(counts @ levels) / counts.sum()
    return minimum + mean, float(counts @ (levels - mean) ** 2) / counts.sum()


def _negative_fraction(distribution: Distribution, minimum: float, maximum: float) -> float:
    if minimum >= 0:
        return 0.0
    if maximum < 0:
        return 1.0
    return distribution.count_below(0.0) / distribution.count


def shape_group(model: BackgroundModel, plane: Plane) -> dict[str, float]:
    """Describe the large-scale shape, by the best plane, and the roughness.

    Parameters
    ----------
    model : `BackgroundModel`
        The background.
    plane : `Plane`
        The best plane through its pixels.

    Returns
    -------
    metrics : `dict` [`str`, `float`]
        The metrics, by name within their group. Gradients are per 1000
        pixels, the angle is in degrees from x towards y.
    """
    width, height = model.bbox.width, model.bbox.height
    explained = (plane.slope_x**2 * (width**2 - 1) + plane.slope_y**2 * (height**2 - 1)) / 12
    amplitude = abs(plane.slope_x) * (width - 1) + abs(plane.slope_y) * (height - 1)
    metrics = {
        "gradientX": 1000 * plane.slope_x,
        "gradientY": 1000 * plane.slope_y,
        "gradientAmplitude": amplitude,
        "gradientAngle": math.degrees(math.atan2(plane.slope_y, plane.slope_x)) if amplitude else math.nan,
        "residualRms": math.sqrt(max(plane.variance - explained, 0.0)),
    }
    values = primary_layer(model).values.astype(np.float64)
    seconds = np.concatenate([np.diff(values, n=2, axis=axis).ravel() for axis in (0, 1)])
    seconds = seconds[np.isfinite(seconds)]
    metrics["roughness"] = math.sqrt(np.mean(seconds**2)) if len(seconds) else math.nan
    return metrics


def primary_layer(model: BackgroundModel) -> Layer | FieldLayer:
    """Return the layer with the most bins, the first of equals.

    Parameters
    ----------
    model : `BackgroundModel`
        The background.

    Returns
    -------
    layer : `Layer` or `FieldLayer`
        The layer.
    """
    return max(model.layers, key=lambda layer: layer.values.size)


def keeps_bins(model: BackgroundModel) -> bool:
    """Whether a background keeps the bins that it was made from.

    Parameters
    ----------
    model : `BackgroundModel`
        The background.

    Returns
    -------
    keeps_bins : `bool`
        `False` for a polynomial of ``lsst.images``, alone or with a constant.
    """
    return primary_layer(model).values.size > 1 or all(
        layer.surface.constant is not None for layer in model.layers
    )


def edges_group(
    model: BackgroundModel,
    strips: StripGrid,
    distribution: Distribution,
    level: Mapping[str, float],
    width: int,
) -> dict[str, float]:
    """Compare edges and corners with the interior.

    Parameters
    ----------
    model : `BackgroundModel`
        The background.
    strips : `StripGrid`
        Its strips, cut along the ring and the outermost bin centres.
    distribution : `Distribution`
        The distribution of their pixels.
    level : `~collections.abc.Mapping` [`str`, `float`]
        Metrics of the level group.
    width : `int`
        Width of the ring, in pixels.

    Returns
    -------
    metrics : `dict` [`str`, `float`]
        The metrics, by name within their group; those without an interior
        are left out.
    """
    _, _, nx, ny = model.bbox
    metrics = {}
    if 2 * width < min(nx, ny):
        interior = strips.blocks_within((width, ny - width), (width, nx - width))
        inside, ring = distribution.medians([interior, ~interior])
        metrics["edgeExcess"] = ring - inside
        metrics["cornerExcess"] = max((c - inside for c in _corner_medians(strips, width)), key=abs)
    (first_y, last_y), (first_x, last_x) = inner_bounds(model)
    if first_y < last_y and first_x < last_x:
        inner = strips.blocks_within((first_y, last_y), (first_x, last_x))
        low, high = extremes(strips, inner)
        metrics["extrapolationOvershoot"] = max(low - level["min"], level["max"] - high, 0.0)
    return metrics


def _corner_medians(strips: StripGrid, width: int) -> list[float]:
    """Take the medians of the four corners, from their pixels.

    Large corners are thinned out.
    """
    n = min(width, 64)
    near = (np.arange(n) + 0.5) * (width / n) - 0.5
    rows, columns = (np.concatenate([near, a.edges[-1] - width + near]) for a in (strips.y, strips.x))
    pixels = strips.pixels(rows, columns)
    halves = slice(0, n), slice(n, 2 * n)
    corners = np.stack([pixels[y, x].ravel() for y in halves for x in halves])
    return [float(median) for median in np.median(corners, axis=1)]


def inner_bounds(model: BackgroundModel) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the pixels between the outermost bin centres.

    Parameters
    ----------
    model : `BackgroundModel`
        The background; its layer with the most bins counts.

    Returns
    -------
    y, x : `tuple` [`int`, `int`]
        First pixel and the one after the last, local; both 0 without bins.
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

    Parameters
    ----------
    model : `BackgroundModel`
        The background; its layer with the most bins is searched.
    threshold : `float`
        How far a bin must stand out to be counted, in robust standard
        deviations.

    Returns
    -------
    metrics : `dict` [`str`, `float`]
        The metrics, by name within their group; left out if the bins do not
        scatter.
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
    not look like a bump there.

    Parameters
    ----------
    values : `numpy.ndarray`
        The bins, shape (ny, nx); NaN where there is none.

    Returns
    -------
    significance : `numpy.ndarray` or `None`
        Deviation in units of the robust standard deviation of all
        deviations, ``float64``, shape (ny, nx); `None` if that is zero.
    """
    values = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if min(values.shape) < 3 or np.isfinite(values).sum() < 3:
        return None
    values -= _plane_through(values)
    padded = np.pad(values, 2, mode="reflect", reflect_type="odd")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).reshape(*values.shape, 25)
    deviation = values - _medians(windows)
    finite = deviation[np.isfinite(deviation)]
    if not len(finite):
        return None
    sigma = _SIGMA_PER_MAD * float(np.median(np.abs(finite - np.median(finite))))
    return deviation / sigma if sigma > 0 else None


def _medians(windows: np.ndarray) -> np.ndarray:
    """Take medians along the last axis, which has an odd length; those of
    some NaN are of the rest.
    """
    middle = windows.shape[-1] // 2
    ordered = np.sort(windows, axis=-1)  # NaN comes last
    if not np.isnan(ordered[..., -1]).any():
        return np.asarray(ordered[..., middle])
    n = np.isfinite(ordered).sum(axis=-1)
    pair = np.stack([np.maximum(n - 1, 0) // 2, np.maximum(n, 1) // 2], axis=-1)
    return np.asarray(np.take_along_axis(ordered, np.minimum(pair, 2 * middle), axis=-1).mean(axis=-1))


def _plane_through(values: np.ndarray) -> np.ndarray:
    """Fit a plane to the finite values of a grid by least squares."""
    y, x = (g.ravel() - 0.5 * (n - 1) for g, n in zip(np.indices(values.shape), values.shape, strict=True))
    terms = np.stack([np.ones(values.size), y, x], axis=1)
    good = np.isfinite(values.ravel())
    solution = np.linalg.lstsq(terms[good], values.ravel()[good], rcond=None)[0]
    return (terms @ solution).reshape(values.shape)


def blocks_group(strips: StripGrid, plane: Plane, config: StatisticsConfig) -> dict[str, float]:
    """Look for steps between the halves and between segments.

    Parameters
    ----------
    strips : `StripGrid`
        The strips, cut along the mid-lines, the strips and the segments.
    plane : `Plane`
        The best plane, which is no step.
    config : `StatisticsConfig`
        Widths and segments.

    Returns
    -------
    metrics : `dict` [`str`, `float`]
        The metrics, by name within their group.
    """
    height, width = int(strips.y.edges[-1]), int(strips.x.edges[-1])
    metrics = {}
    for name, size, axis, slope in (
        ("stepX", width, 1, plane.slope_x),
        ("stepY", height, 0, plane.slope_y),
    ):
        strip = min(config.step_width, size // 2)
        middle = size // 2
        if strip:
            cuts = [middle - strip, middle, middle + strip]
            sums = _block_means(strips, [0, height], cuts) if axis else _block_means(strips, cuts, [0, width])
            low, high = sums.ravel()
            metrics[name] = float(high - low) - slope * strip
    if config.segments is not None:
        nx, ny = config.segments
        if nx <= width and ny <= height:
            x, y = segment_edges(width, nx), segment_edges(height, ny)
            means = _block_means(strips, y, x)
            means -= plane.slope_y * _middles(y)[:, np.newaxis] + plane.slope_x * _middles(x)
            steps = [np.abs(np.diff(means, axis=axis)).ravel() for axis in (0, 1)]
            metrics["segmentContrast"] = float(np.max(np.concatenate(steps), initial=0.0))
    return metrics


def segment_edges(size: int, n: int) -> list[int]:
    """Divide pixels among equal segments.

    Parameters
    ----------
    size : `int`
        Number of pixels.
    n : `int`
        Number of segments.

    Returns
    -------
    edges : `list` [`int`]
        First pixel of each segment and the end.
    """
    return [i * size // n for i in range(n + 1)]


def _middles(edges: list[int]) -> np.ndarray:
    return 0.5 * (np.array(edges[:-1]) + np.array(edges[1:]) - 1)


def _block_means(strips: StripGrid, y: list[int], x: list[int]) -> np.ndarray:
    """Average over blocks of pixels, relative to the reference, shape (blocks
    in y, blocks in x).
    """
    rows, columns = ([axis.at(edge) for edge in edges] for axis, edges in ((strips.y, y), (strips.x, x)))
    inside = slice(columns[0], columns[-1]), slice(rows[0], rows[-1])
    height, width = strips.y.weights[inside[1]], strips.x.lengths[inside[0]].astype(np.float64)
    first, second = (np.array(part[:-1]) - part[0] for part in (rows, columns))
    by_column = np.add.reduceat(strips.means[inside] * height, first, axis=1)
    sums = np.add.reduceat(by_column * width[:, np.newaxis], second, axis=0)
    return np.asarray(sums.T / np.multiply.outer(np.diff(y), np.diff(x)))


def fit_group(model: BackgroundModel) -> dict[str, float]:
    """Compare the bins with the polynomials fitted to them.

    Parameters
    ----------
    model : `BackgroundModel`
        The background.

    Returns
    -------
    metrics : `dict` [`str`, `float`]
        The metrics, by name within their group, over all Chebyshev layers;
        empty if there is none.
    """
    residuals, pulls, freedom = [], [], 0
    for layer in model.layers:
        if isinstance(layer, FieldLayer) or layer.approximation.style is not ApproxStyle.CHEBYSHEV:
            continue  # there are no bins that a polynomial was fitted to
        if not layer.surface.is_finite:
            continue
        y = layer.bin_centers_y - layer.bbox.y0
        x = layer.bin_centers_x - layer.bbox.x0
        residual = layer.values - layer.surface.evaluate(y, x)
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
