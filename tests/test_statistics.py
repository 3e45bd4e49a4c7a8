# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Numbers of backgrounds: against afw's pixels, brute force and known answers."""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import subprocess
import sys
import tracemalloc
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from backgrounds import (
    CASES,
    STYLES,
    Case,
    bin_centers,
    case,
    chebyshev_layer,
    make_layer,
    make_model,
    models,
    pixels_of,
    with_layer,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.bgqa import BackgroundError, BackgroundModel, measure_background
from lsst.bgqa.background import ApproxStyle, Box, InterpStyle, Layer, UndersampleStyle
from lsst.bgqa.metrics import load_catalogue
from lsst.bgqa.statistics import StatisticsConfig, background_statistics, pixel_distribution
from lsst.bgqa.statistics._lattice import Axis, quadrature

FRACTIONS = {"p01": 0.01, "p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99}
# Of images that are sampled; smaller ones are taken whole.
RANK_TOLERANCE = 5e-4
HISTOGRAM_TOLERANCE = 1e-3
MEAN_TOLERANCE = 1e-6
STD_TOLERANCE = 1e-5
SIGMA_PER_MAD = 1.482602218505602
FINITE_CASES = [case for case in CASES if "min" in case.said]
MAX_MEMORY = 16 << 20


def ulp(level: float) -> float:
    """Return the distance of neighbouring float32 numbers."""
    return float(np.spacing(np.float32(abs(level))))


def group(metrics: dict[str, float], name: str) -> dict[str, float]:
    return {key.split("_", 1)[1]: value for key, value in metrics.items() if key.startswith(f"{name}_")}


# What afw's pixels say


@pytest.mark.parametrize("case", FINITE_CASES, ids=str)
def test_levels_are_those_of_afw(case: Case) -> None:
    metrics, said = background_statistics(case.model), case.said
    level = ulp(max(abs(said["min"]), abs(said["max"])))
    assert metrics["coverage_pixelCount"] == said["pixel_count"]
    assert metrics["coverage_nanPixelCount"] == said["nan_pixel_count"]
    assert metrics["level_min"] == pytest.approx(said["min"], abs=level, rel=0)
    assert metrics["level_max"] == pytest.approx(said["max"], abs=level, rel=0)
    assert metrics["level_mean"] == pytest.approx(said["mean"], rel=0, abs=MEAN_TOLERANCE * said["std"])
    assert metrics["level_std"] == pytest.approx(said["std"], rel=STD_TOLERANCE, abs=0)
    pixels = np.sort(case.model.render().ravel()).astype(np.float64)
    for expected, (name, fraction) in zip(
        said["percentiles_1_5_25_50_75_95_99"], FRACTIONS.items(), strict=True
    ):
        value = metrics[f"level_{name}"]
        assert abs(value - expected) <= level or rank_error(pixels, value, fraction) <= RANK_TOLERANCE, name


@pytest.mark.parametrize("case", FINITE_CASES, ids=str)
def test_histogram_is_that_of_afw(case: Case) -> None:
    distribution = pixel_distribution(case.model)
    assert distribution is not None
    edges = np.linspace(case.said["min"] - 0.001, case.said["max"] + 0.001, 21)
    counts = distribution.histogram(edges)
    assert counts.sum() == case.said["pixel_count"]
    off = np.abs(counts - np.array(case.said["histogram_20"]))
    assert off.max() <= HISTOGRAM_TOLERANCE * case.said["pixel_count"]


def test_all_nan_has_coverage_alone() -> None:
    metrics = background_statistics(case("all_nan").model)
    assert {name.split("_")[0] for name in metrics} == {"coverage"}
    assert metrics["coverage_nanPixelCount"] == metrics["coverage_pixelCount"] == 517 * 389
    assert metrics["coverage_finiteFraction"] == 0
    assert pixel_distribution(case("all_nan").model) is None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_order_is_the_catalogues_and_nothing_is_nan(case: Case) -> None:
    metrics = background_statistics(case.model, StatisticsConfig(segments=(8, 2)))
    assert all(math.isfinite(value) for value in metrics.values())
    names = [name for name in load_catalogue() if name in metrics]
    assert list(metrics) == names


# Brute force


def rank_error(ordered: np.ndarray, value: float, fraction: float, step: float = 0.0) -> float:
    """Tell how far the rank of a value is from a fraction of the pixels, if
    the value may be off by a step.
    """
    n = len(ordered)
    low = np.searchsorted(ordered, value - step, "left") / n
    high = np.searchsorted(ordered, value + step, "right") / n
    # Between two pixels, any value is as good; numpy's definition runs from
    # the first pixel to the last.
    return max(low - fraction, fraction - high, 0.0) - 1 / n


def is_stepped(layer: Any) -> bool:
    """Tell whether a layer has plateaus, or changes along one axis alone."""
    if layer.approximation.style is ApproxStyle.CHEBYSHEV or layer.values.size == 1:
        return False
    columns = np.isfinite(layer.values).any(axis=0).sum()
    rows = np.isfinite(layer.values).any(axis=1).sum()
    return bool(layer.interp_style is InterpStyle.CONSTANT or min(rows, columns) < 2)


class BruteForce:
    """What the metrics mean, said with all pixels at hand."""

    def __init__(self, model: BackgroundModel, config: StatisticsConfig) -> None:
        self.model, self.config = model, config
        self.image = model.render().astype(np.float64)
        self.height, self.width = self.image.shape
        self.primary = max(model.layers, key=lambda layer: layer.values.size)

    @cached_property
    def slopes(self) -> tuple[float, float]:
        """Slopes of the best plane in x and y, per pixel."""
        deviation = self.image - self.image.mean()
        result = []
        for axis, size in ((1, self.width), (0, self.height)):
            place = np.arange(size) - 0.5 * (size - 1)
            profile = deviation.mean(axis=1 - axis)
            result.append(float(profile @ place / (place @ place)) if size > 1 else 0.0)
        return result[0], result[1]

    @cached_property
    def plane(self) -> np.ndarray:
        y, x = (np.arange(n) - 0.5 * (n - 1) for n in self.image.shape)
        return self.slopes[0] * x + self.slopes[1] * y[:, np.newaxis]

    def shape(self) -> dict[str, float]:
        x, y = self.slopes
        residual = self.image - self.image.mean() - self.plane
        values = self.primary.values.astype(np.float64)
        ny, nx = values.shape
        seconds = [row[i - 1] - 2 * row[i] + row[i + 1] for row in values for i in range(1, nx - 1)]
        seconds += [row[j - 1] - 2 * row[j] + row[j + 1] for row in values.T for j in range(1, ny - 1)]
        known = [second for second in seconds if math.isfinite(second)]
        return {
            "gradientX": 1000 * x,
            "gradientY": 1000 * y,
            "gradientAmplitude": float(np.ptp(self.plane)),
            "residualRms": float(np.sqrt(np.mean(residual**2))),
            "roughness": math.sqrt(np.mean(np.square(known))) if known else math.nan,
        }

    def edges(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return pixels whose medians are compared: those of the ring and of
        each corner, and those of the interior.
        """
        w = self.config.edge_width
        if 2 * w >= min(self.image.shape):
            return {}
        ring = np.ones(self.image.shape, bool)
        ring[w:-w, w:-w] = False
        interior = self.image[w:-w, w:-w].ravel()
        corners = [self.image[r, c].ravel() for r in np.s_[:w, -w:] for c in np.s_[:w, -w:]]
        corner = max(corners, key=lambda pixels: abs(np.median(pixels) - np.median(interior)))
        return {"edgeExcess": (self.image[ring], interior), "cornerExcess": (corner, interior)}

    def overshoot(self) -> float:
        x, y = bin_centers(self.width, self.primary.shape[1]), bin_centers(self.height, self.primary.shape[0])
        columns = [i for i in range(self.width) if x[0] <= i <= x[-1]]
        rows = [j for j in range(self.height) if y[0] <= j <= y[-1]]
        if not rows or not columns:
            return math.nan
        inside = self.image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return max(inside.min() - self.image.min(), self.image.max() - inside.max(), 0.0)

    def blocks(self) -> dict[str, float]:
        result = {}
        flat = self.image - self.plane
        for name, image in (("stepX", flat), ("stepY", flat.T)):
            size = image.shape[1]
            strip, middle = min(self.config.step_width, size // 2), size // 2
            if strip:
                right, left = image[:, middle : middle + strip], image[:, middle - strip : middle]
                result[name] = right.mean() - left.mean()
        if self.config.segments is not None:
            nx, ny = self.config.segments
            if nx <= self.width and ny <= self.height:
                x = [i * self.width // nx for i in range(nx + 1)]
                y = [j * self.height // ny for j in range(ny + 1)]
                rows = [flat[a:b] for a, b in itertools.pairwise(y)]
                means = np.array([[row[:, c:d].mean() for c, d in itertools.pairwise(x)] for row in rows])
                steps = [abs(np.diff(means, axis=axis)).max(initial=0.0) for axis in (0, 1)]
                result["segmentContrast"] = max(steps)
        return result


def assert_median_difference(
    value: float, one: np.ndarray, other: np.ndarray, step: float, ranks: float
) -> None:
    reach = [np.quantile(pixels, [0.5 - ranks, 0.5, 0.5 + ranks]) for pixels in (one, other)]
    slack = sum(float(quantiles[2] - quantiles[0]) for quantiles in reach) + 3 * step
    assert value == pytest.approx(reach[0][1] - reach[1][1], rel=0, abs=slack)


def assert_like_brute_force(model: BackgroundModel, config: StatisticsConfig, *, rough: bool = False) -> None:
    metrics = background_statistics(model, config)
    brute = BruteForce(model, config)
    pixels = np.sort(brute.image.ravel())
    n = len(pixels)
    layered = max(float(np.abs(pixels_of(layer)).max()) for layer in model.layers)
    # Pixels are rounded by as much; what is rounded scatters by step / sqrt(12).
    step = ulp(layered) * len(model.layers)
    # On plateaus, the rounding of pixels does not average out, and ranks jump.
    small = n <= 1 << 18
    stepped = not small and any(is_stepped(layer) for layer in model.grids)
    plateau = 0.5 * step if stepped else 0.0
    # A row or a column of some hundred values has no ranks between them.
    ranks = 1e-6 if small else 2e-3 if stepped else 1.5e-3 if rough else RANK_TOLERANCE

    level = group(metrics, "level")
    std = float(pixels.std())
    assert metrics["coverage_pixelCount"] == n
    assert metrics["coverage_nanPixelCount"] == 0
    assert level["min"] == pytest.approx(pixels[0], rel=0, abs=step)
    assert level["max"] == pytest.approx(pixels[-1], rel=0, abs=step)
    assert level["range"] == level["max"] - level["min"]
    assert level["mean"] == pytest.approx(pixels.mean(), rel=0, abs=MEAN_TOLERANCE * std + step + plateau)
    assert level["std"] == pytest.approx(std, rel=2e-4 if rough else STD_TOLERANCE, abs=step + plateau)
    for name, fraction in FRACTIONS.items():
        assert rank_error(pixels, level[name], fraction, step) <= ranks, name
    distance = np.sort(np.abs(pixels - level["median"]))
    mad = level["sigmaMad"] / SIGMA_PER_MAD
    assert rank_error(distance, mad, 0.5, 3 * step) <= 3 * ranks
    assert level["negativeFraction"] == pytest.approx((pixels < 0).mean(), abs=ranks + 1 / n)

    shape = group(metrics, "shape")
    for name, value in brute.shape().items():
        if math.isnan(value):
            assert name not in shape
        else:
            per = 1000 / max(4, min(brute.image.shape)) if name in ("gradientX", "gradientY") else 1
            slack = (1e-5 * std + step + plateau) * per
            if name == "residualRms":
                # What is left when about all is taken off is less certain.
                slack += 0.3 * step + (2e-4 * std if rough or value < 0.01 * std else 0.0)
            assert shape[name] == pytest.approx(value, rel=1e-5, abs=slack), name
    if shape["gradientAmplitude"] > 1e-3 * std + 10 * step:
        expected = math.atan2(brute.slopes[1], brute.slopes[0])
        turn = math.radians(shape["gradientAngle"]) - expected
        assert abs(math.remainder(turn, 2 * math.pi)) < 1e-3

    edges = group(metrics, "edges")
    for name, (one, other) in brute.edges().items():
        # Of two equal corners on either side, either counts; large ones are
        # thinned out.
        if name == "cornerExcess":
            assert abs(edges[name]) == pytest.approx(
                abs(np.median(one) - np.median(other)), rel=0, abs=(1e-4 if small else 0.03) * std + 3 * step
            )
        else:
            assert_median_difference(edges[name], one, other, step, 10 * ranks)
    if not brute.edges():
        assert not {"edgeExcess", "cornerExcess"} & edges.keys()
    overshoot = brute.overshoot()
    if math.isnan(overshoot):
        assert "extrapolationOvershoot" not in edges
    else:
        assert edges["extrapolationOvershoot"] == pytest.approx(overshoot, rel=0, abs=2 * step)

    blocks = group(metrics, "blocks")
    steps = brute.blocks()
    assert blocks.keys() == steps.keys()
    for name, value in steps.items():
        assert blocks[name] == pytest.approx(value, rel=0, abs=2e-5 * std + step + 2 * plateau), name


CONFIGS = st.builds(
    StatisticsConfig,
    edge_width=st.integers(1, 140),
    step_width=st.integers(1, 140),
    segments=st.none() | st.tuples(st.integers(1, 8), st.integers(1, 4)),
)


@settings(max_examples=60)
@given(models(smallest=1, largest=200), CONFIGS)
def test_small_images_are_exact(model: BackgroundModel, config: StatisticsConfig) -> None:
    assert_like_brute_force(model, config)


def random_model(seed: int) -> BackgroundModel:
    """Return a background of the kind that pipelines write."""
    rng = np.random.default_rng(seed)
    box = Box(
        *(int(n) for n in (rng.integers(-99, 9999), rng.integers(-99, 9999), *rng.integers(530, 900, 2)))
    )
    made = []
    for level in rng.choice([0.0, -30.0, 300.0, 1200.0, 40000.0], rng.integers(1, 4)):
        ny, nx = rng.integers(5, 24, 2)
        noise = rng.choice([0.3, 3.0]) * max(1.0, abs(level) / 300)
        slope = noise * rng.normal(0, 10, 2)
        y, x = np.mgrid[-1 : 1 : ny * 1j, -1 : 1 : nx * 1j]
        values = level + slope[0] * y + slope[1] * x + rng.normal(0, noise, (ny, nx))
        values[rng.random((ny, nx)) < rng.choice([0.0, 0.1])] = np.nan
        if rng.random() < 0.3:
            made.append(chebyshev_layer(values, box, int(rng.integers(0, 5))))
        else:
            made.append(make_layer(values, box, STYLES[rng.integers(1, len(STYLES))]))
    return BackgroundModel(tuple(made))


@pytest.mark.parametrize("seed", range(16))
def test_large_images_are_like_brute_force(seed: int) -> None:
    model = random_model(seed)
    assert_like_brute_force(model, StatisticsConfig(edge_width=60, step_width=99, segments=(8, 2)))

    distribution = pixel_distribution(model)
    assert distribution is not None
    pixels = model.render().ravel().astype(np.float64)
    edges = np.linspace(pixels.min() - 0.001, pixels.max() + 0.001, 21)
    counts = distribution.histogram(edges)
    step = sum(ulp(np.abs(pixels_of(layer)).max()) for layer in model.layers)
    # Rounded pixels may fall on either side of an edge that is near.
    near = [int((np.abs(pixels - edge) < step).sum()) for edge in edges]
    slack = HISTOGRAM_TOLERANCE * len(pixels) + np.add(near[1:], near[:-1])
    assert (np.abs(counts - np.histogram(pixels, edges)[0]) <= slack).all()
    assert abs(int(counts.sum()) - len(pixels)) <= RANK_TOLERANCE * len(pixels)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("bins", [(6, 9), (20, 33), (60, 47)])
def test_every_style_is_like_brute_force(style: InterpStyle, bins: tuple[int, int]) -> None:
    rng = np.random.default_rng(bins[0])
    values = 900 + rng.normal(0, 2, bins)
    values[rng.random(bins) < 0.1] = np.nan
    # A sample tells less of noise from one bin of 17 pixels to the next.
    model = make_model(values, Box(5, 6, 1011, 907), style)
    assert_like_brute_force(model, StatisticsConfig(segments=(8, 2)), rough=True)


@pytest.mark.parametrize("order", [0, 1, 2, 6])
def test_every_order_is_like_brute_force(order: int) -> None:
    values = 900 + np.random.default_rng(order).normal(0, 2, (20, 18))
    model = BackgroundModel((chebyshev_layer(values, Box(5, 6, 1011, 907), order),))
    assert_like_brute_force(model, StatisticsConfig(segments=(8, 2)))
    pedestal = make_layer([[-900]], model.bbox)
    assert_like_brute_force(BackgroundModel((*model.layers, pedestal)), StatisticsConfig(segments=(8, 2)))


# Known answers


def plane_model(level: float, slope_x: float, slope_y: float, size: int = 1000) -> BackgroundModel:
    centers = np.array(bin_centers(size, 10))
    values = level + slope_x * centers + slope_y * centers[:, np.newaxis]
    return make_model(values, Box(0, 0, size, size))


def test_plane_has_its_gradient() -> None:
    metrics = background_statistics(plane_model(500, 0.004, -0.003), StatisticsConfig(segments=(8, 2)))
    assert metrics["shape_gradientX"] == pytest.approx(4, rel=1e-4)
    assert metrics["shape_gradientY"] == pytest.approx(-3, rel=1e-4)
    assert metrics["shape_gradientAngle"] == pytest.approx(math.degrees(math.atan2(-3, 4)), abs=0.01)
    assert metrics["shape_gradientAmplitude"] == pytest.approx(999 * 0.007, rel=1e-4)
    assert metrics["shape_residualRms"] < 1e-3
    assert metrics["shape_roughness"] < 1e-3
    assert metrics["level_mean"] == pytest.approx(500 + 999 * 0.0005, rel=1e-6)
    assert metrics["level_std"] == pytest.approx(math.sqrt((999 * 1001) / 12) * 0.005, rel=1e-4)
    for name in ("blocks_stepX", "blocks_stepY", "blocks_segmentContrast", "edges_extrapolationOvershoot"):
        if name != "edges_extrapolationOvershoot":
            assert abs(metrics[name]) < 1e-3
    assert abs(metrics["edges_edgeExcess"]) < 1e-3
    # Beyond the outermost centres, 50 pixels on either side, it goes on.
    assert metrics["edges_extrapolationOvershoot"] == pytest.approx(49.5 * 0.007, rel=0.02)


def test_flat_background_has_no_angle() -> None:
    metrics = background_statistics(make_model(np.full((8, 8), 7), Box(0, 0, 900, 900)))
    assert "shape_gradientAngle" not in metrics
    assert metrics["shape_gradientAmplitude"] == 0
    assert metrics["level_std"] == 0


@pytest.mark.parametrize("depth", [-3.0, 2.0])
def test_dark_edges_are_found(depth: float) -> None:
    values = np.full((20, 20), 100.0)
    values[[0, -1], :] += depth
    values[:, [0, -1]] += depth
    metrics = background_statistics(make_model(values, Box(0, 0, 2000, 2000)))
    # It goes on beyond the outermost bins' centres, and twice at corners.
    assert 0.7 < metrics["edges_edgeExcess"] / depth < 1.5
    assert 1.5 < metrics["edges_cornerExcess"] / depth < 4
    assert metrics["edges_extrapolationOvershoot"] >= 0


def test_one_dark_corner_is_found() -> None:
    values = np.full((20, 20), 100.0)
    values[:2, -2:] -= 5
    metrics = background_statistics(make_model(values, Box(0, 0, 2000, 2000)))
    assert metrics["edges_cornerExcess"] == pytest.approx(-5, rel=0.1)
    assert abs(metrics["edges_edgeExcess"]) < 0.1


@pytest.mark.parametrize(("height", "place"), [(9.0, (7, 9)), (-9.0, (7, 9)), (9.0, (0, 0)), (9.0, (19, 4))])
def test_one_bump_is_found(height: float, place: tuple[int, int]) -> None:
    rng = np.random.default_rng(8)
    values = 100 + 0.3 * np.arange(20) + rng.uniform(-0.5, 0.5, (20, 20))
    plain = background_statistics(make_model(values, Box(0, 0, 1000, 1000)))
    assert plain["bumps_bumpCount"] == 0
    values[place] += height
    metrics = background_statistics(make_model(values, Box(0, 0, 1000, 1000)))
    assert metrics["bumps_bumpCount"] == 1
    # A uniform scatter of half-width 0.5 has a deviation of 0.25 in median.
    assert metrics["bumps_peakBump"] == pytest.approx(height / 0.37, rel=0.4)
    assert (
        background_statistics(make_model(values, Box(0, 0, 1000, 1000)), StatisticsConfig(bump_threshold=90))[
            "bumps_bumpCount"
        ]
        == 0
    )


@pytest.mark.parametrize("axis", [0, 1])
def test_amplifier_step_is_found(axis: int) -> None:
    values = np.full((64, 64), 100.0)
    values[(slice(None),) * axis + (slice(32, None),)] += 4
    model = make_model(values, Box(0, 0, 2048, 2048), InterpStyle.LINEAR)
    metrics = background_statistics(model, StatisticsConfig(segments=(2, 1) if axis else (1, 2)))
    # The best plane takes its share: 1.5 of the step across the whole.
    share = 1.5 * 4 * 128 / 2048
    own, other = ("stepX", "stepY") if axis else ("stepY", "stepX")
    across = 4 - 4 / 4 * (32 / 128)
    assert metrics[f"blocks_{own}"] == pytest.approx(across - share, rel=0.1)
    assert metrics[f"blocks_{other}"] == pytest.approx(0, abs=1e-3)
    assert metrics["blocks_segmentContrast"] == pytest.approx(4 - 1.5 * 4 / 2, rel=0.05)


def test_one_loud_segment_is_found() -> None:
    values = np.full((40, 64), 100.0)
    values[20:, 24:32] += 6
    metrics = background_statistics(
        make_model(values, Box(0, 0, 2048, 2000), InterpStyle.LINEAR), StatisticsConfig(segments=(8, 2))
    )
    assert metrics["blocks_segmentContrast"] == pytest.approx(6, rel=0.1)
    assert "blocks_segmentContrast" not in background_statistics(make_model(values, Box(0, 0, 2048, 2000)))


def test_fit_has_known_residuals() -> None:
    # A checkerboard is orthogonal to low orders on an even grid, or nearly so.
    sign = np.where(np.add.outer(np.arange(12), np.arange(12)) % 2, 1.0, -1.0)
    layer = chebyshev_layer(100 + 3 * sign, Box(0, 0, 600, 600), 1, error=np.full((12, 12), 2.0))
    metrics = background_statistics(BackgroundModel((layer, make_layer([[5]], layer.bbox))))
    assert metrics["fit_residualRms"] == pytest.approx(3, rel=1e-3)
    assert metrics["fit_maxPull"] == pytest.approx(1.5, rel=0.02)
    assert metrics["fit_reducedChi2"] == pytest.approx(144 * 2.25 / (144 - 3), rel=1e-3)


def test_fit_is_measured_where_it_was_made() -> None:
    rng = np.random.default_rng(2)
    values = 100 + rng.normal(0, 1, (10, 10))
    values[4, 4], values[5, 5] = np.nan, 9000
    error = np.exp(rng.normal(0, 0.2, (10, 10)))
    error[5, 5] = 0  # an infinite weight: not fitted, not measured
    layer = chebyshev_layer(values, Box(3, 4, 400, 500), 2, error)
    metrics = background_statistics(BackgroundModel((layer,)))
    x, y = (np.array(bin_centers(size, 10)) for size in (400, 500))
    residual = (layer.values - BackgroundModel((layer,)).evaluate(y, x))[np.isfinite(values) & (error > 0)]
    pull = residual / layer.standard_error[np.isfinite(values) & (error > 0)]
    assert metrics["fit_residualRms"] == pytest.approx(np.sqrt(np.mean(residual**2)))
    assert metrics["fit_maxPull"] == pytest.approx(np.abs(pull).max())
    assert metrics["fit_reducedChi2"] == pytest.approx((pull**2).sum() / (98 - 6))


def test_interpolated_layers_have_no_fit() -> None:
    assert not group(background_statistics(case("small_akima").model), "fit")


def test_layers_and_bins_are_counted() -> None:
    metrics = background_statistics(case("visit_skycorr_like").model)
    layers = case("visit_skycorr_like").model.layers
    assert metrics["coverage_layerCount"] == 3
    assert metrics["coverage_binCount"] == sum(layer.values.size for layer in layers)
    bad = background_statistics(case("nan_bins").model)["coverage_badBinCount"]
    assert bad == np.isnan(case("nan_bins").model.layers[0].values).sum() > 0


# Cost and steadiness


def two_layers(size: tuple[int, int]) -> BackgroundModel:
    rng = np.random.default_rng(1)
    box = Box(0, 0, *size)
    first = make_layer(1000 + rng.normal(0, 3, (32, 32)), box)
    return BackgroundModel((first, chebyshev_layer(rng.normal(0, 3, (16, 16)), box, 6)))


@pytest.mark.parametrize("size", [(4072, 4000), (12000, 12000)])
@pytest.mark.parametrize("config", [StatisticsConfig(), StatisticsConfig(segments=(8, 2))])
def test_memory_does_not_follow_the_image(size: tuple[int, int], config: StatisticsConfig) -> None:
    background_statistics(two_layers((600, 600)), config)
    model = two_layers(size)
    tracemalloc.start()
    try:
        background_statistics(model, config)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= MAX_MEMORY


@pytest.mark.parametrize("name", ["visit_chebyshev6_pedestal", "patch_akima_constant", "visit_skycorr_like"])
def test_memory_of_files_is_small(name: str) -> None:
    model = BackgroundModel.read_fits(str(case(name).path))
    tracemalloc.start()
    try:
        background_statistics(model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= MAX_MEMORY


PROGRAM = """
import json, sys
from lsst.bgqa import BackgroundModel, measure_background
print(json.dumps([
    {key: value.value.hex() for key, value in measure_background(BackgroundModel.read_fits(path)).items()}
    for path in sys.argv[1:]
]))
"""


def test_bits_are_the_same_whatever_the_threads_and_kernels_of_blas() -> None:
    names = ["visit_chebyshev6_pedestal", "visit_akima128", "visit_skycorr_like", "nan_bins"]
    paths = [str(case(name).path) for name in names]
    said = []
    kernels = ("Haswell", "Prescott") if platform.machine() in ("x86_64", "AMD64") else ("ARMV8",)
    for threads, kernel in (("1", ""), ("2", ""), ("7", kernels[0]), ("2", kernels[-1])):
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        if kernel:
            counts["OPENBLAS_CORETYPE"] = kernel
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *paths],
            env=os.environ | counts | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(json.loads(done.stdout))
    assert "significance_spotSigma" in said[0][0]
    assert all(one == said[0] for one in said)
    again = [
        {key: value.value.hex() for key, value in measure_background(case(name).model).items()}
        for name in names
    ]
    assert again == said[0]


# Odd backgrounds


def assert_sound(metrics: dict[str, float]) -> None:
    """Check what holds for the numbers of any background."""
    assert all(math.isfinite(value) for value in metrics.values())
    ordered = [metrics[f"level_{name}"] for name in ("min", *FRACTIONS, "max")]
    assert ordered == sorted(ordered)
    assert metrics["level_min"] <= metrics["level_mean"] <= metrics["level_max"]
    assert 0 <= metrics["level_negativeFraction"] <= 1


@pytest.mark.parametrize(("amplitude", "constant"), [(0.001, 1200), (1e-6, 1), (0.03, 40000), (1e-6, 1e8)])
def test_nearly_flat_patches_are_exact(amplitude: float, constant: float) -> None:
    box = Box(0, 0, 1100, 1100)
    grid = make_layer(amplitude * np.random.default_rng(2).normal(0, 1, (12, 12)), box)
    model = BackgroundModel((grid, make_layer([[constant]], box, InterpStyle.CONSTANT)))
    pixels, metrics = model.render().astype(np.float64), background_statistics(model)
    assert_sound(metrics)
    assert (metrics["level_min"], metrics["level_max"]) == (pixels.min(), pixels.max())
    assert metrics["level_mean"] == pytest.approx(pixels.mean(), rel=0, abs=0.01 * ulp(constant))
    for name, fraction in FRACTIONS.items():
        assert metrics[f"level_{name}"] == pytest.approx(
            np.quantile(pixels, fraction), rel=0, abs=ulp(constant)
        )


@pytest.mark.parametrize("style", STYLES)
def test_few_bins_that_differ_are_like_brute_force(style: InterpStyle) -> None:
    rng = np.random.default_rng(5)
    values = np.where(rng.random((20, 20)) < 0.05, -0.0047, 0.0)
    model = make_model(values, Box(0, 0, 900, 800), style)
    pixels, metrics = model.render().astype(np.float64), background_statistics(model)
    assert_sound(metrics)
    assert (metrics["level_min"], metrics["level_max"]) == (pixels.min(), pixels.max())
    assert metrics["level_negativeFraction"] == pytest.approx((pixels < 0).mean(), abs=RANK_TOLERANCE)
    ordered = np.sort(pixels, axis=None)
    for name, fraction in FRACTIONS.items():
        assert rank_error(ordered, metrics[f"level_{name}"], fraction, ulp(0.0047)) <= 5 * RANK_TOLERANCE, (
            name
        )


@pytest.mark.parametrize(
    "box", [Box(0, 0, 126_322_567, 17), Box(0, 0, 17, 126_322_567), Box(0, 0, 2**31 - 1, 1)]
)
@pytest.mark.parametrize("style", STYLES)
def test_cost_does_not_follow_the_box(box: Box, style: InterpStyle) -> None:
    values = 1000 + np.random.default_rng(1).normal(0, 1, (min(box.height, 9), min(box.width, 9)))
    model = make_model(values, box, style)
    tracemalloc.start()
    try:
        metrics = background_statistics(model)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= MAX_MEMORY
    assert_sound(metrics)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    style=st.sampled_from(STYLES),
    kind=st.sampled_from(["noise", "integers", "holes", "spike", "tiny", "line", "cancel", "offset"]),
    large=st.booleans(),
)
@pytest.mark.filterwarnings("error")
def test_hostile_numbers_are_sound(seed: int, style: InterpStyle, kind: str, large: bool) -> None:
    rng = np.random.default_rng(seed)
    box = Box(-5, 7, *(int(n) for n in rng.integers(520, 800, 2) // (1 if large else 4)))
    values = rng.normal(0, 1, tuple(rng.integers(5, 20, 2)))
    match kind:
        case "integers":
            values = np.rint(2 * values)
        case "holes":
            values[rng.random(values.shape) < 0.4] = np.nan
        case "spike":
            values[2, 3] = 1e8
        case "tiny":
            values *= 1e-32
        case "line":
            values = values[:1]
        case "offset":
            values = 1e8 + 20 * values
    layers = [make_layer(values, box, style)]
    if kind == "cancel":
        large_values = 1e4 * np.ones((5, 6))
        layers = [
            make_layer(large_values + values[:5, :6] if values.shape[1] > 5 else large_values, box, style)
        ]
        layers.append(make_layer(-large_values + 0.01, box, style))
    model = BackgroundModel(tuple(layers))
    pixels = model.render().astype(np.float64)
    metrics = background_statistics(model)
    if not np.isfinite(pixels).all():
        assert {name.split("_")[0] for name in metrics} == {"coverage"}
        return
    assert_sound(metrics)
    # Layers that cancel leave rounding, and that pixel by pixel.
    doubt = ulp(1e4) if kind == "cancel" else 0.0
    assert metrics["level_min"] == pytest.approx(pixels.min(), rel=0, abs=doubt)
    assert metrics["level_max"] == pytest.approx(pixels.max(), rel=0, abs=doubt)
    largest = max(ulp(float(np.nanmax(np.abs(layer.values)))) for layer in layers)
    std = float(pixels.std())
    assert metrics["level_mean"] == pytest.approx(pixels.mean(), rel=0, abs=1e-5 * std + largest)
    assert metrics["level_std"] == pytest.approx(std, rel=2e-4, abs=largest)


@pytest.mark.parametrize(
    ("size", "bins"),
    [
        ((1, 1), (1, 1)),
        ((2, 3), (1, 1)),
        ((3, 2), (2, 3)),
        ((1, 500), (30, 1)),
        ((500, 1), (1, 30)),
        ((3000, 1), (1, 30)),
        ((2, 200000), (40, 2)),
        ((200000, 2), (2, 40)),
        ((5, 5), (5, 5)),
        ((700, 700), (1, 9)),
        ((700, 700), (9, 1)),
        ((700, 700), (1, 1)),
        ((700, 650), (2, 2)),
    ],
)
def test_odd_shapes_are_like_brute_force(size: tuple[int, int], bins: tuple[int, int]) -> None:
    values = np.random.default_rng(3).normal(50, 2, bins)
    assert_like_brute_force(make_model(values, Box(-3, 9, *size)), StatisticsConfig(segments=(2, 2)))


@pytest.mark.parametrize("level", [1e15, 1e-15, -1e12, 1e-6])
@pytest.mark.parametrize("size", [(90, 80), (900, 800)])
def test_extreme_levels_are_measured(level: float, size: tuple[int, int]) -> None:
    values = level * np.random.default_rng(3).uniform(0.9, 1.1, (9, 8))
    model = make_model(values, Box(0, 0, *size))
    metrics = background_statistics(model)
    pixels = model.render().astype(np.float64)
    for name, value in {
        "min": pixels.min(),
        "max": pixels.max(),
        "mean": pixels.mean(),
        "std": pixels.std(),
        "median": np.median(pixels),
    }.items():
        assert metrics[f"level_{name}"] == pytest.approx(value, rel=2e-5, abs=0), name
    assert all(math.isfinite(value) for value in metrics.values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("level", [1e18, -1e18, 1e-30])
@pytest.mark.parametrize("size", [(90, 80), (900, 800)])
def test_absurd_levels_do_no_harm(level: float, size: tuple[int, int]) -> None:
    values = level * np.random.default_rng(3).uniform(0.9, 1.0, (9, 8))
    metrics = background_statistics(make_model(values, Box(0, 0, *size)))
    assert all(math.isfinite(value) for value in metrics.values())
    assert metrics["coverage_pixelCount"] == size[0] * size[1]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(90, 80), (900, 800)])
def test_constant_background_is_constant(style: InterpStyle, size: tuple[int, int]) -> None:
    level = float(np.float32(1234.5678))
    metrics = background_statistics(make_model(np.full((7, 8), level), Box(0, 0, *size), style))
    for name in ("min", "max", "mean", *FRACTIONS):
        assert metrics[f"level_{name}"] == pytest.approx(level, rel=1e-7), name
    for name in ("std", "sigmaMad", "range"):
        assert metrics[f"level_{name}"] == pytest.approx(0, abs=1e-9)
    assert metrics["shape_residualRms"] == pytest.approx(0, abs=1e-3)
    assert metrics["edges_extrapolationOvershoot"] == 0


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("good", [np.s_[:, 3], np.s_[2, :], np.s_[4, 5]])
def test_few_good_bins_are_like_brute_force(style: InterpStyle, good: tuple) -> None:
    values = np.full((9, 8), np.nan)
    values[good] = np.random.default_rng(5).normal(50, 2, values[good].shape)
    assert_like_brute_force(make_model(values, Box(0, 0, 800, 700), style), StatisticsConfig())


def assert_within_tolerances(model: BackgroundModel, ranks: float = RANK_TOLERANCE) -> None:
    """Compare levels and a histogram with those of the pixels."""
    metrics, distribution = background_statistics(model), pixel_distribution(model)
    assert distribution is not None
    pixels = np.sort(model.render(), axis=None).astype(np.float64)
    mean, std = float(pixels.mean()), float(pixels.std())
    for name, value in (("min", pixels[0]), ("max", pixels[-1])):
        assert metrics[f"level_{name}"] == pytest.approx(value, rel=0, abs=ulp(value)), name
    # About zero, a mean is as exact as what it is the mean of.
    assert metrics["level_mean"] == pytest.approx(mean, rel=1e-6, abs=1e-6 * std if abs(mean) < std else 0)
    level = max(float(np.nanmax(np.abs(layer.values))) for layer in model.grids)
    assert metrics["level_std"] == pytest.approx(std, rel=STD_TOLERANCE, abs=ulp(level))
    for name, fraction in FRACTIONS.items():
        value = metrics[f"level_{name}"]
        near = abs(value - float(np.quantile(pixels, fraction))) <= ulp(value)
        assert near or rank_error(pixels, value, fraction) <= ranks, name
    edges = np.linspace(pixels[0] - 0.001, pixels[-1] + 0.001, 21)
    off = np.abs(distribution.histogram(edges) - np.histogram(pixels, edges)[0])
    # What several layers are rounded by is not known pixel by pixel.
    step = sum(ulp(np.nanmax(np.abs(layer.values))) for layer in model.layers[1:] if layer.values.size > 1)
    doubt = np.array([np.diff(np.searchsorted(pixels, [edge - step, edge + step]))[0] for edge in edges])
    assert (off <= 2 * ranks * len(pixels) + doubt[1:] + doubt[:-1]).all()


def hostile_layers(kind: str, rng: np.random.Generator, box: Box) -> list[Layer]:
    """Make a background that is hard to measure without its pixels."""
    ny, nx = (int(n) for n in rng.integers(12, 26, 2))
    y, x = np.mgrid[-1 : 1 : ny * 1j, -1 : 1 : nx * 1j]
    sky = 1200 + 20 * x - 9 * y + rng.normal(0, 1, (ny, nx))
    match kind:
        case "noise":
            return [make_layer(sky, box)]
        case "creases":  # slopes that stop changing
            return [make_layer(1000 + rng.integers(0, 4, (ny, nx)) + 0.01 * sky, box)]
        case "step":
            return [make_layer(sky + np.where(x > 0.1, 500, 0), box)]
        case "straight step":  # about the same in all rows
            return [make_layer(1000 + x + np.where(x > 0.1, 5, 0) + 0.2 * y, box)]
        case "spikes":
            sky[3, 4], sky[8, 2], sky[-1, -1] = 1e5, -2e4, 3e3
            return [make_layer(sky, box)]
        case "holes":
            sky[rng.random(sky.shape) < 0.3] = np.nan
            return [make_layer(sky, box, STYLES[2])]
        case "waves":
            return [make_layer(500 + 50 * np.sin(9 * x + 2) + 3 * y, box)]
        case "three grids":
            other = rng.normal(-900, 3, (9, 6))
            return [make_layer(sky, box), make_layer(other, box, STYLES[1]), chebyshev_layer(sky, box, 3)]
        case "cancelling":
            return [make_layer(sky, box), chebyshev_layer(-sky, box, 6)]
        case "high order":
            return [chebyshev_layer(sky + rng.normal(0, 5, sky.shape), box, 10), make_layer([[-1200]], box)]
    raise ValueError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "noise",
        "creases",
        "step",
        "straight step",
        "spikes",
        "holes",
        "waves",
        "three grids",
        "cancelling",
        "high order",
    ],
)
def test_hostile_backgrounds_are_within_tolerances(kind: str) -> None:
    for seed, size in enumerate([(1403, 1250), (997, 1600)]):
        rng = np.random.default_rng([seed, len(kind)])
        model = BackgroundModel(tuple(hostile_layers(kind, rng, Box(-7, 90, *size))))
        assert_within_tolerances(model)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "creases", "spikes", "three grids", "high order"])
@pytest.mark.parametrize("size", [(4072, 4000), (3000, 7001)])
def test_hostile_detectors_are_within_tolerances(kind: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(len(kind))
    assert_within_tolerances(BackgroundModel(tuple(hostile_layers(kind, rng, Box(0, 0, *size)))))


def polynomial(
    order: int, seed: int, slope_x: float, slope_y: float, noise: float, bins: int
) -> BackgroundModel:
    """Make a polynomial about a plane, whose slopes are per 100 pixels."""
    box = Box(0, 0, 4072, 4000)
    y, x = (np.array(bin_centers(size, bins)) for size in (box.height, box.width))
    values = 1000 + 0.01 * (slope_x * x + slope_y * y[:, np.newaxis])
    values += np.random.default_rng(seed).normal(0, noise, values.shape)
    return BackgroundModel((chebyshev_layer(values, box, order),))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(polynomial(1, 0, 0.0, 1.0, 0.0, 32), id="contours along rows"),
        # By 4 columns in 7 rows, as many as a stratum has.
        pytest.param(polynomial(2, 1, 0.7, 0.4, 0.05, 8), id="nearly straight"),
        pytest.param(polynomial(2, 2, 0.0, 0.0, 1.0, 8), id="conic sections"),
        pytest.param(polynomial(6, 4, 0.3, 0.3, 3.0, 32), id="as detectors have"),
    ],
)
def test_large_polynomials_are_like_brute_force(model: BackgroundModel) -> None:
    assert_within_tolerances(model)


@given(st.integers(1, 5000), st.sampled_from([2, 4, 6]))
def test_rules_sum_polynomials(k: int, m: int) -> None:
    offsets, weights = quadrature(k, m)
    assert ((offsets >= 0) & (offsets < k) & (offsets == np.rint(offsets))).all()
    assert (np.diff(offsets)[weights[1:] > 0] > 0).all()
    assert (weights >= 0).all()
    pixels, some = (2 * (place + 0.5) / k - 1 for place in (np.arange(k), offsets))
    for degree in range(m):
        assert weights @ some**degree == pytest.approx((pixels**degree).sum(), abs=1e-9 * k), degree


@given(
    size=st.integers(1, 3000),
    cuts=st.lists(st.floats(-10, 3010), max_size=8),
    least=st.integers(1, 100),
)
def test_axes_are_cut_where_they_must_be(size: int, cuts: list[float], least: int) -> None:
    axis = Axis.cut(0, size, cuts, least)
    lengths = np.diff(axis.edges)
    assert axis.edges[0] == 0
    assert axis.edges[-1] == size
    assert (lengths > 0).all()
    assert lengths.max() <= -(-size // least)
    for cut in cuts:
        if 0 < math.ceil(cut) < size:
            assert math.ceil(cut) in axis.edges
    np.testing.assert_allclose(axis.weights.sum(axis=1), lengths, rtol=1e-12)
    assert (axis.pixels >= axis.edges[:-1, np.newaxis]).all()
    assert (axis.pixels < axis.edges[1:, np.newaxis]).all()


def test_few_different_pixels_are_counted() -> None:
    # Some hundred numbers of single precision: rounding is what there is.
    values = 40000 + 0.02 * np.random.default_rng(3).normal(0, 1, (9, 8))
    model = make_model(values, Box(0, 0, 1100, 900))
    pixels = model.render().astype(np.float64)
    metrics = background_statistics(model)
    assert len(np.unique(pixels)) < 200
    assert metrics["level_mean"] == pytest.approx(pixels.mean(), rel=1e-9)
    assert metrics["level_std"] == pytest.approx(pixels.std(), rel=0, abs=0.01 * ulp(40000))
    assert metrics["level_median"] == pytest.approx(np.median(pixels), rel=0, abs=ulp(40000))


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12])
def test_scale_does_not_matter(scale: float) -> None:
    rng = np.random.default_rng(8)
    values = rng.normal(5, 1, (12, 11)).astype(np.float32)
    power = 2.0 ** round(math.log2(scale))
    plain, scaled = (
        background_statistics(make_model(values * factor, Box(0, 0, 900, 800))) for factor in (1.0, power)
    )
    for name in ("min", "max", "mean", "std", "median", "p01", "p95", "sigmaMad"):
        assert scaled[f"level_{name}"] / power == pytest.approx(plain[f"level_{name}"], rel=1e-6), name


def test_many_bins_are_like_brute_force() -> None:
    values = 1000 + np.random.default_rng(6).normal(0, 1, (128, 128))
    model = make_model(values, Box(0, 0, 4072, 4000))
    metrics = background_statistics(model)
    pixels = np.sort(model.render().ravel()).astype(np.float64)
    assert metrics["level_min"] == pytest.approx(pixels[0], rel=0, abs=ulp(1000))
    assert metrics["level_max"] == pytest.approx(pixels[-1], rel=0, abs=ulp(1000))
    assert metrics["level_mean"] == pytest.approx(pixels.mean(), rel=0, abs=ulp(1000))
    assert metrics["level_std"] == pytest.approx(pixels.std(), rel=0, abs=ulp(1000))
    for name, fraction in FRACTIONS.items():
        assert rank_error(pixels, metrics[f"level_{name}"], fraction) <= 2 * RANK_TOLERANCE


def test_steep_background_through_zero_counts_negative_pixels() -> None:
    metrics = background_statistics(plane_model(-0.25, 0.001, 0.0))
    assert metrics["level_negativeFraction"] == pytest.approx(0.25, abs=2e-3)
    assert background_statistics(plane_model(1, 0.001, 0.0))["level_negativeFraction"] == 0
    assert background_statistics(plane_model(-9, 0.001, 0.0))["level_negativeFraction"] == 1


@pytest.mark.parametrize("place", [(3, 4), (0, 0)])
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("visit_akima128", 1e3),
        ("visit_akima128", -1e5),
        ("patch_akima_constant", 10.0),
        ("patch_akima_constant", 1e3),
    ],
)
def test_bin_that_stands_out_spoils_no_number(name: str, place: tuple[int, int], size: float) -> None:
    """Next to a bin of a bright star, and be it in the corner, tiles are
    steep; the least pixel is elsewhere, and most pixels are far away.
    """
    model = case(name).model
    values = model.layers[0].values.copy()
    values[place] += size
    model = with_layer(model, values=values)
    metrics = background_statistics(model)
    pixels = np.sort(model.render().ravel()).astype(np.float64)
    level = ulp(max(-pixels[0], pixels[-1]))
    assert metrics["level_min"] == pytest.approx(pixels[0], rel=0, abs=level)
    assert metrics["level_max"] == pytest.approx(pixels[-1], rel=0, abs=level)
    for metric, fraction in FRACTIONS.items():
        assert rank_error(pixels, metrics[f"level_{metric}"], fraction, level) <= RANK_TOLERANCE, metric
    distance = np.sort(np.abs(pixels - metrics["level_median"]))
    assert rank_error(distance, metrics["level_sigmaMad"] / SIGMA_PER_MAD, 0.5, level) <= 2 * RANK_TOLERANCE


def test_impossible_layers_are_refused() -> None:
    layer = make_layer(
        np.ones((3, 9)), Box(0, 0, 900, 900), undersample_style=UndersampleStyle.THROW_EXCEPTION
    )
    with pytest.raises(BackgroundError, match="too few"):
        background_statistics(BackgroundModel((layer,)))


@pytest.mark.parametrize("wild", [np.inf, -np.inf, 3.4e38, -1e30])
def test_bins_beyond_any_sky_are_refused(wild: float) -> None:
    values = np.ones((6, 7))
    values[2, 3] = wild
    box = Box(0, 0, 900, 900)
    pedestal, layer = make_layer([[1]], box), make_layer(values, box)
    for model in (BackgroundModel((layer,)), BackgroundModel((pedestal, layer))):
        for measure in (background_statistics, pixel_distribution):
            with pytest.raises(BackgroundError, match=rf"layer {len(model.layers)} has 1 bins .* beyond"):
                measure(model)
    fit = BackgroundModel((chebyshev_layer(values, box, 2),))
    if np.isinf(wild):
        assert background_statistics(fit)["level_median"] == 1
    else:
        with pytest.raises(BackgroundError, match="layer 1 has 1 bins"):
            background_statistics(fit)


@pytest.mark.parametrize(
    "wrong",
    [{"edge_width": 0}, {"step_width": -1}, {"segments": (0, 2)}, {"segments": (2,)}, {"bump_threshold": 0}],
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        StatisticsConfig(**wrong)


# What many pixels have alike


def test_plateau_at_the_top_is_counted() -> None:
    values = np.zeros((20, 20))
    values[:3] = -1
    model = make_model(values, Box(0, 0, 1000, 1000), InterpStyle.LINEAR)
    distribution = pixel_distribution(model)
    assert distribution is not None
    edges = np.linspace(-1, 0, 5)
    counts = distribution.histogram(edges)
    assert counts.sum() == 1_000_000
    assert np.abs(counts - np.histogram(model.render(), edges)[0]).max() <= HISTOGRAM_TOLERANCE * 1_000_000
    assert distribution.median == 0


def test_pixels_of_few_values_are_counted() -> None:
    box = Box(0, 0, 1100, 1100)
    grid = make_layer(1e-3 * np.random.default_rng(4).normal(0, 1, (12, 12)), box)
    model = BackgroundModel((grid, make_layer([[40000]], box)))
    pixels = model.render().astype(np.float64)
    distribution = pixel_distribution(model)
    assert distribution is not None
    edges = np.linspace(pixels.min() - 0.001, pixels.max() + 0.001, 21)
    off = np.abs(distribution.histogram(edges) - np.histogram(pixels, edges)[0])
    assert off.max() <= 5 * HISTOGRAM_TOLERANCE * pixels.size


def test_ranks_are_those_of_rounded_pixels_where_layers_cancel() -> None:
    rng = np.random.default_rng(7)
    box = Box(0, 0, 1300, 1100)
    large = 1e4 * rng.normal(0, 1, (12, 13))
    model = BackgroundModel(
        (make_layer(large, box), make_layer(-large + 0.01 * rng.normal(0, 1, (12, 13)), box))
    )
    pixels = np.sort(model.render(), axis=None).astype(np.float64)
    metrics = background_statistics(model)
    for name, fraction in FRACTIONS.items():
        assert rank_error(pixels, metrics[f"level_{name}"], fraction, ulp(1e4)) <= 2e-3, name
