# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The residual sky: truth from the real stack, and from simulations."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.stats import truncnorm
from skies import flat_background, make_image, sky_with

from lsst.bgqa import BackgroundError, BackgroundModel, measure_residual, stack
from lsst.bgqa.background import Box
from lsst.bgqa.metrics import load_catalogue
from lsst.bgqa.residual import (
    Apertures,
    CellGrid,
    ResidualConfig,
    ResidualSky,
    SkyImage,
    calibrate,
    crowding_slope,
    limiting_surface_brightness,
    measure_cells,
    measure_residual_sky,
    ring_profile,
    unknown_planes,
)
from lsst.bgqa.standalone._exposure import read_exposure, read_photo_calib, read_wcs

DATA = Path(__file__).parent / "data" / "residual"
MANIFEST: dict[str, dict[str, Any]] = {
    scene["scene"]: scene for scene in json.loads((DATA / "manifest.json").read_text())
}
SEEDS = range(64)
LARGE = Box(0, 0, 1024, 1024)


def load(scene: str) -> tuple[SkyImage, BackgroundModel]:
    path = str(DATA / f"{scene}_calexp.fits")
    exposure = read_exposure(path)
    image = SkyImage.assemble(
        exposure.image, exposure.mask, photo_calib=read_photo_calib(path), wcs=read_wcs(path)
    )
    return image, BackgroundModel.read_fits(DATA / f"{scene}_calexpBackground.fits")


def config_of(scene: str, **settings: Any) -> ResidualConfig:
    return ResidualConfig(planes=tuple(MANIFEST[scene]["planes"]), **settings)


def measured(scene: str, **settings: Any) -> ResidualSky:
    return measure_residual_sky(*load(scene), config_of(scene, **settings))


def metrics_of(residual: ResidualSky) -> dict[str, float]:
    return {name.removeprefix("residual_"): value for name, value in residual.metrics.items()}


# --- Scenes of the real stack --------------------------------------------


@pytest.mark.parametrize("scene", MANIFEST)
def test_levels_of_the_scenes(scene: str) -> None:
    truth, found = MANIFEST[scene], metrics_of(measured(scene))
    assert found["skyFraction"] == pytest.approx(truth["sky_pixel_fraction"], abs=1e-9)
    assert abs(found["mean"] - truth["true_residual_mean_adu"]) < 3 * found["meanUncertainty"]
    assert abs(found["noise"] - truth["pixel_noise_adu"]) < 3 * found["noiseUncertainty"]
    assert found["backgroundLevel"] == pytest.approx(truth["background_mean_adu"], rel=5e-4)
    if scene == "dark_edge":
        return  # the apertures do not reach the edge as the pixels do
    precision = abs(truth["true_residual_mean_adu"]) / truth["background_mean_adu"]
    assert abs(found["skyBrightnessError"] - precision) < 3 * found["skyBrightnessErrorUncertainty"]


@pytest.mark.parametrize("scene", MANIFEST)
def test_cells_of_the_scenes(scene: str) -> None:
    image, background = load(scene)
    residual = measure_residual_sky(image, background, config_of(scene, cell_size=40))
    truth = np.load(DATA / f"{scene}_truth.npz")
    large = truth["sky_pixels"] >= 400
    grid, found = residual.grid, metrics_of(residual)
    # Pixels far from their cell's median are left out: one in a million.
    np.testing.assert_allclose(grid.cell_counts, truth["sky_pixels"], atol=3)
    pulls = (grid.cell_means - truth["residual"]) * np.sqrt(grid.cell_counts) / grid.noise
    assert abs(np.nanmean(pulls)) < 3 / 16 and 0.87 < np.nanstd(pulls) < 1.13
    assert np.nanmax(np.abs(pulls)) < 4.5
    true_rms = np.std(truth["residual"][large], ddof=1)
    assert abs(found["cellExcess"] - true_rms) < 3 * found["cellExcessUncertainty"]
    expected = math.hypot(true_rms, grid.noise / 40 / math.sqrt(found["skyFraction"]))
    assert abs(found["cellRms"] - expected) < 3 * found["cellRmsUncertainty"]


def test_rings_about_the_star_are_those_of_the_truth() -> None:
    truth = MANIFEST["halo"]
    grid = measured("halo").grid
    distance = np.hypot(grid.x - truth["star_x"], grid.y[:, np.newaxis] - truth["star_y"])
    profile = ring_profile(grid, distance, truth["ring_px"][:-1])
    assert profile is not None
    means, errors = np.append(profile.means, profile.far), np.append(profile.errors, profile.far_error)
    beyond = grid.mean_of((distance >= 300) & (distance < 360))
    means[-1], errors[-1] = beyond[:2]
    assert np.all(np.abs(means - truth["ring_residual_adu"]) < 3 * errors)
    assert profile.deepest == truth["ring_px"].index(160)


def test_halo_is_found_with_its_radius() -> None:
    residual = measured("halo")
    found = metrics_of(residual)
    assert found["haloFootprintCount"] == 1
    assert found["haloDepth"] < 0 and found["haloSignificance"] < -5
    assert 100 < found["haloRadius"] < 200
    words = re.fullmatch(r"about x = (\d+), y = (\d+)", residual.places["residual_haloDepth"])
    assert words is not None
    assert abs(int(words[1]) - MANIFEST["halo"]["star_x"]) < 8
    assert abs(int(words[2]) - MANIFEST["halo"]["star_y"]) < 8
    assert residual.profile is not None and residual.profile.depths[0] > 5  # wings that are not masked


def test_step_is_found_with_its_place() -> None:
    residual = measured("amp_step", segments=(2, 1))
    found = metrics_of(residual)
    for name in ("stepX", "segmentStep"):
        error = found[name] / found[f"{name}Significance"]
        assert abs(found[name] - 12) < 3 * error and found[f"{name}Significance"] > 5
        assert residual.places[f"residual_{name}"].startswith("x = 320")
    assert abs(found["stepYSignificance"]) < 3


def test_dark_edge_is_found_with_its_place() -> None:
    residual = measured("dark_edge")
    found = metrics_of(residual)
    truth = np.load(DATA / "dark_edge_truth.npz")["residual"]
    assert found["edgeExcessSignificance"] < -5
    # Cells of the truth are 40 pixels wide, and the ring 32.
    ring = np.ones(truth.shape, dtype=bool)
    ring[1:-1, 1:-1] = False
    assert found["edgeExcess"] < truth[ring].mean() - truth[~ring].mean()
    assert found["edgeExcess"] > -20
    assert residual.places["residual_edgeExtreme"].endswith("edge")


def test_only_the_crowded_background_rises_with_the_sources() -> None:
    crowded, plain = metrics_of(measured("crowded")), metrics_of(measured("plain"))
    assert crowded["crowdingSignificance"] > 4 and crowded["crowdingSlope"] > 5
    assert abs(plain["crowdingSignificance"]) < 2
    for name in ("edgeExcess", "edgeExtreme", "cornerExcess", "stepX", "stepY"):
        assert abs(plain[f"{name}Significance"]) < 3.5


def test_crowding_is_placed_where_most_is_detected() -> None:
    image, _ = load("crowded")
    words = re.fullmatch(r"about x = (\d+), y = (\d+)", measured("crowded").places["residual_crowding"])
    assert words is not None
    x, y = int(words[1]) - image.bbox.x0, int(words[2]) - image.bbox.y0
    detected = np.zeros(image.array.shape)
    detected[read_exposure(str(DATA / "crowded_calexp.fits")).mask.get("DETECTED")] = 1
    inside = uniform_filter(np.ones(detected.shape), 128, mode="constant")
    fraction = uniform_filter(detected, 128, mode="constant") / inside
    assert fraction[y, x] > 0.8 * fraction.max()


def test_depth_comes_from_the_files_own_calibration() -> None:
    path = str(DATA / "plain_calexp.fits")
    calib, wcs = read_photo_calib(path), read_wcs(path)
    assert calib is not None and wcs is not None
    assert calib.getCalibrationMean() == pytest.approx(1.0)  # zero point 31.4
    image, background = load("plain")
    assert image.pixel_scale == pytest.approx(0.2, rel=1e-5)
    found = metrics_of(measure_residual_sky(image, background, config_of("plain")))
    expected = 31.4 - 2.5 * math.log10(3 * MANIFEST["plain"]["pixel_noise_adu"] / (10 * 0.2))
    error = found["limitingSurfaceBrightnessUncertainty"]
    assert abs(found["limitingSurfaceBrightness"] - expected) < 3 * error


# --- Simulations: pulls ----------------------------------------------------


def pulls(
    truth: Callable[[np.random.Generator], tuple[np.ndarray | float, dict[str, float]]],
    names: list[str],
    *,
    masked: float = 0.1,
    noise: float = 10.0,
    **settings: Any,
) -> None:
    """Check that errors are what they say: pulls have mean 0 and width 1."""
    config = ResidualConfig(**settings)
    found: dict[str, list[float]] = {name: [] for name in names}
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        field, expected = truth(rng)
        image = SkyImage.of(sky_with(rng, field, noise, masked))
        metrics = metrics_of(measure_residual_sky(image, flat_background(), config))
        for name in names:
            if f"{name}Uncertainty" in metrics:
                error = metrics[f"{name}Uncertainty"]
            else:
                error = metrics[name] / metrics[f"{name.replace('Slope', '')}Significance"]
            found[name].append((metrics[name] - expected[name]) / error)
    for name, values in found.items():
        check_pulls(name, values)


def check_pulls(name: str, values: list[float] | np.ndarray) -> None:
    """Check that pulls have mean 0 and width 1, within what so many tell."""
    mean, width, n = np.mean(values), np.std(values, ddof=1), np.size(values)
    assert abs(mean) < 3.5 / math.sqrt(n), (name, mean)
    assert abs(width - 1) < 3.5 / math.sqrt(2 * n), (name, width)


@pytest.mark.parametrize("masked", [0.0, 0.3, 0.9])
def test_levels_have_the_errors_that_they_quote(masked: float) -> None:
    level = 2.5
    pulls(
        lambda rng: (level, {"mean": level, "median": level, "noise": 10.0}),
        ["mean", "median", "noise"],
        masked=masked,
    )


def test_brightness_has_the_errors_that_it_quotes() -> None:
    # An over-subtraction of 0.8 % of a sky of 1000.
    # The depth's definition clips the noise at three sigma.
    clipped = float(truncnorm.std(-3, 3))
    depth = 31.4 - 2.5 * math.log10(3 * 10 * clipped / (10 * 0.2))
    apertures = [
        measure_cells(SkyImage.of(sky_with(np.random.default_rng(seed))), ResidualConfig()).apertures
        for seed in SEEDS
    ]
    found = [limiting_surface_brightness(a, 1.0, 0.2) for a in apertures]
    values = [
        (f["limitingSurfaceBrightness"] - depth) / f["limitingSurfaceBrightnessUncertainty"] for f in found
    ]
    check_pulls("limitingSurfaceBrightness", values)
    pulls(lambda rng: (-8.0, {"skyBrightnessError": 0.008}), ["skyBrightnessError"])


def test_background_that_is_not_the_whole_sky_is_no_measure_of_it() -> None:
    names = set(metrics_of(measured("dark_edge")))
    left_out = {name for name in names if "skyBrightness" in name}
    assert len(left_out) == 4
    assert names - set(metrics_of(measured("dark_edge", whole_sky=False))) == left_out


def test_scatter_of_cells_is_told_from_noise() -> None:
    def truth(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, float]]:
        cells = rng.normal(0, 1.0, (8, 8))
        spread = float(np.std(cells, ddof=1))
        return np.kron(cells, np.ones((64, 64))), {"cellExcess": spread}

    # Against the scatter that there is, the error is that of the noise alone.
    config = ResidualConfig()
    excess = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        field, expected = truth(rng)
        metrics = metrics_of(
            measure_residual_sky(SkyImage.of(sky_with(rng, field)), flat_background(), config)
        )
        excess.append((metrics["cellExcess"] ** 2, expected["cellExcess"] ** 2, metrics["cellChi2"]))
    measured_excess, true_excess, chi2 = np.array(excess).T
    difference = measured_excess - true_excess
    assert abs(difference.mean()) < 3.5 * difference.std() / math.sqrt(len(SEEDS))
    assert chi2.min() > 10
    none = [
        metrics_of(
            measure_residual_sky(SkyImage.of(sky_with(np.random.default_rng(s))), flat_background(), config)
        )
        for s in SEEDS
    ]
    chi2 = np.array([m["cellChi2"] for m in none])
    assert abs(chi2.mean() - 1) < 3.5 * math.sqrt(2 / 63 / len(SEEDS))
    assert all(m["cellExcess"] < 4 * m["cellExcessUncertainty"] for m in none)


def test_steps_and_edges_have_the_errors_that_they_quote() -> None:
    x, y = np.arange(512), np.arange(512)[:, np.newaxis]
    ring = (np.minimum(x, y) < 32) | (np.maximum(x, y) >= 480)
    step = 3.0 * (x >= 256) + 0 * y
    corner = 20.0 * ((x < 128) & (y < 128))
    pulls(lambda rng: (step + 0.004 * x, {"stepX": 3.0, "stepY": 0.0}), ["stepX", "stepY"])
    pulls(lambda rng: (-2.0 * ring, {"edgeExcess": -2.0}), ["edgeExcess"])
    pulls(lambda rng: (corner, {"cornerExcess": 20.0}), ["cornerExcess"])
    segment = 4.0 * ((x >= 256) & (y >= 256))
    pulls(lambda rng: (segment, {"stepY": 2.0, "stepX": 2.0}), ["stepX", "stepY"], segments=(2, 2))


def test_step_between_segments_is_placed() -> None:
    x, y = np.arange(512), np.arange(512)[:, np.newaxis]
    image = sky_with(np.random.default_rng(2), 6.0 * ((x >= 384) & (y < 256)))
    residual = measure_residual_sky(SkyImage.of(image), flat_background(), ResidualConfig(segments=(4, 2)))
    assert residual.metrics["residual_segmentStep"] == pytest.approx(6, abs=1.2)
    # In the parent's coordinates; the box begins at (20, -30).
    assert residual.places["residual_segmentStep"] == "x = 404, y = -30 to 225"


def test_halo_has_the_errors_that_it_quotes() -> None:
    x, y = np.arange(1024) - 500.0, np.arange(1024)[:, np.newaxis] - 430.0
    radius = np.hypot(x, y)
    star = radius < 40
    truth = np.where((radius > 90) & (radius < 150), -3.0, 0.0)
    values, significances = [], []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        pixels = rng.normal(0, 10, radius.shape) + truth + 1e4 * star
        image = SkyImage.of(make_image(pixels, star, bbox=LARGE))
        residual = measure_residual_sky(
            image, flat_background(bbox=LARGE), ResidualConfig(halo_radii=(0, 40, 60, 100, 200))
        )
        assert residual.profile is not None and residual.profile.deepest == 2
        values.append(residual.metrics["residual_haloDepth"])
        significances.append(residual.metrics["residual_haloSignificance"])
        # The ring from 60 to 100 pixels of the footprint's edge is in it.
        assert residual.metrics["residual_haloRadius"] == 80
    errors = np.array(values) / np.array(significances)
    ring_pulls = (np.array(values) + 3.0) / errors
    assert np.max(significances) < -10
    check_pulls("haloDepth", ring_pulls)


def test_no_halo_without_over_subtraction() -> None:
    x, y = np.arange(512) - 200.0, np.arange(512)[:, np.newaxis] - 230.0
    star = np.hypot(x, y) < 40
    found = []
    for seed in SEEDS:
        pixels = np.random.default_rng(seed).normal(0, 10, star.shape) + 1e4 * star
        found.append(
            metrics_of(measure_residual_sky(SkyImage.of(make_image(pixels, star)), flat_background()))
        )
    assert min(metrics["haloSignificance"] for metrics in found) > -5
    assert all(metrics["haloFootprintCount"] == 1 for metrics in found)


def grid_of(fraction: np.ndarray) -> CellGrid:
    """Cells of which a fraction is detected, with a noise of 10."""
    parts = np.kron(fraction, np.ones((4, 4)))
    n = np.full(parts.shape, 256.0)
    none = Apertures(np.empty(0), np.empty(0), np.empty(0), 253)
    bbox = Box(0, 0, 64 * fraction.shape[1], 64 * fraction.shape[0])
    return CellGrid(bbox, 64, n, 0 * n, 100 * (n - 1), n * parts, n, 0, 0.0, 0, none)


@pytest.mark.parametrize(("n", "curvature"), [(10, 0.0), (62, 5.0)])
def test_crowding_is_not_found_where_the_sky_is_smooth(n: int, curvature: float) -> None:
    rng = np.random.default_rng(5)
    y, x = np.indices((n, n)) / n - 0.5
    significance, slopes = [], []
    for _ in SEEDS:
        # Sources in clumps, and more of them towards a corner.
        clumps = np.kron(rng.random((n // 2, n // 2)) ** 2, np.ones((2, 2)))
        fraction = 0.4 * clumps + 0.4 * np.exp(-4 * (x + y + 1))
        a, b, c, d, e = rng.normal(0, 1, 5)
        sky = 1000 + 5 * (d * x + e * y) + curvature * (a * x * x + b * y * y + c * x * y)
        sky += rng.normal(0, 10 / 64, (n, n))
        grid = grid_of(fraction)
        significance.append(crowding_slope(grid, sky)["crowdingSignificance"])
        ones = np.ones_like(fraction)
        smooth = gaussian_filter(fraction, 1.0, mode="constant") / gaussian_filter(ones, 1.0, mode="constant")
        found = crowding_slope(grid, sky + 8.0 * smooth)
        error = found["crowdingSlope"] / found["crowdingSignificance"]
        slopes.append((found["crowdingSlope"] - 8.0) / error)
    check_pulls("crowdingSignificance", significance)
    check_pulls("crowdingSlope", slopes)


# --- A real estimator of the background ------------------------------------


def test_what_a_real_estimator_leaves_is_measured() -> None:
    """What photutils' Background2D takes for sky about a bright star."""
    photutils = pytest.importorskip("photutils.background")
    rng = np.random.default_rng(3)
    y, x = np.indices((512, 512))
    radius = np.hypot(x - 250, y - 260)
    sky = 1000.0 + 0.01 * x
    star = 4e4 / (1 + (radius / 6) ** 3)
    pixels = rng.normal(0, 10, sky.shape) + sky + star
    detected = star > 30
    inner = []
    for hidden in (None, star > 0.5):
        estimate = photutils.Background2D(pixels, 64, filter_size=3, mask=hidden, exclude_percentile=100)
        truth = sky + star - estimate.background
        image = make_image(pixels - estimate.background, detected)
        grid = measure_residual_sky(SkyImage.of(image), flat_background()).grid
        mean, error, _ = grid.mean_of(grid.counts > 0)
        assert abs(mean - truth[~detected].mean()) < 3 * error
        distance = np.hypot(grid.x - 250, grid.y[:, np.newaxis] - 260)
        profile = ring_profile(grid, distance, (80, 120, 160, 200))
        assert profile is not None
        for i, (near, far) in enumerate(((80, 120), (120, 160), (160, 200))):
            ring = truth[(radius >= near) & (radius < far)].mean()
            assert abs(profile.means[i] - ring) < 3 * profile.errors[i]
        inner.append(profile.depths[0])
    # The wings of a star that is not hidden become part of the background.
    assert inner[1] - inner[0] > 2


# --- Masks, units, bad input -----------------------------------------------


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.9, 0.99])
def test_sky_is_measured_however_much_is_masked(fraction: float) -> None:
    image = sky_with(np.random.default_rng(1), 1.5, masked=fraction)
    found = measure_residual(image, flat_background())
    assert found["residual_skyFraction"].value == pytest.approx(1 - fraction, abs=0.01)
    error = found["residual_meanUncertainty"]
    assert abs(found["residual_mean"] - 1.5 * u.adu) < 3.5 * error
    assert found["residual_noise"].value == pytest.approx(10, rel=0.03)


def test_metrics_are_those_of_the_catalogue_in_its_order() -> None:
    image = sky_with(np.random.default_rng(1), masked=0.1)
    found = measure_residual(image, flat_background(), ResidualConfig(segments=(2, 2)))
    names = [name for name in load_catalogue() if name.startswith("residual_")]
    assert list(found) == [name for name in names if name in found]
    missing = set(names) - set(found)
    # There is no calibration, and no footprint large enough for a halo.
    assert missing <= {name for name in names if "limiting" in name or "halo" in name}
    assert found["residual_stepX"].unit == u.adu


def test_planes_are_found_by_either_name() -> None:
    planes = ("SATURATED", "COSMIC_RAY", "DETECTION_EDGE", "DETECTED", "MINE")
    image = make_image(np.zeros((512, 512)), planes=planes)
    for i, name in enumerate(planes):
        flags = np.zeros((512, 512), dtype=bool)
        flags[i * 10 : i * 10 + 10] = True
        image.mask.set(name, flags)
    assert measure_residual(image, flat_background())["residual_skyFraction"].value == 1 - 40 / 512
    config = ResidualConfig(planes=("MINE", "SAT"))
    assert measure_residual(image, flat_background(), config)["residual_skyFraction"].value == 1 - 20 / 512


def test_planes_beyond_the_first_byte_count() -> None:
    planes = [f"PLANE{i}" for i in range(20)] + ["DETECTED"]
    detected = np.zeros((512, 512), dtype=bool)
    detected[:128] = True
    image = make_image(np.zeros((512, 512)), detected, planes=planes)
    assert measure_residual(image, flat_background())["residual_skyFraction"].value == 0.75


def test_plane_that_no_release_knows_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assert unknown_planes(("SAT", "COSMIC_RAY", "PARSNIP", "MINE"), ("MINE",)) == ["PARSNIP"]
    image = make_image(np.zeros((512, 512)), planes=("DETECTED",))
    with caplog.at_level(logging.WARNING):
        measure_residual(image, flat_background())
        assert not caplog.records  # a plane that this mask lacks is no error
        measure_residual(image, flat_background(), ResidualConfig(planes=("DETECTED", "PARSNIP")))
    assert "PARSNIP" in caplog.text and len(caplog.records) == 1


def test_boxes_must_agree() -> None:
    image = sky_with(np.random.default_rng(1))
    with pytest.raises(BackgroundError, match=r"image covers 512x512 .* its background 512x500"):
        measure_residual(image, flat_background(bbox=Box(20, -30, 512, 500)))


def test_image_and_mask_must_agree() -> None:
    image = SkyImage.of(sky_with(np.random.default_rng(1)))
    with pytest.raises(BackgroundError, match="image: the mask is of 512x512 pixels, the image of 512x500"):
        SkyImage(image.array[:500], image.mask, Box(0, 0, 512, 500))


@pytest.mark.parametrize("how", ["masked", "nan"])
def test_image_without_sky_has_its_fraction_alone(how: str) -> None:
    pixels = np.zeros((512, 512))
    detected = np.full(pixels.shape, how == "masked")
    if how == "nan":
        pixels[:] = np.nan
    found = measure_residual(make_image(pixels, detected), flat_background())
    assert found == {"residual_skyFraction": 0}


def test_background_without_a_pixel_leaves_out_what_needs_it() -> None:
    found = measure_residual(sky_with(np.random.default_rng(1), masked=0.1), flat_background(math.nan))
    assert "residual_mean" in found and "residual_stepX" in found
    assert not {"residual_skyBrightnessError", "residual_crowdingSlope", "residual_backgroundLevel"} & set(
        found
    )


def test_image_smaller_than_a_cell_is_measured() -> None:
    bbox = Box(0, 0, 30, 21)
    rng = np.random.default_rng(1)
    image = make_image(rng.normal(0, 10, (21, 30)), bbox=bbox)
    found = measure_residual(image, flat_background(bbox=bbox))
    assert found["residual_noise"].value == pytest.approx(10, rel=0.15)
    assert "residual_edgeExcess" not in found and "residual_cellRms" not in found


def test_units_convert_where_the_calibration_is_known(caplog: pytest.LogCaptureFixture) -> None:
    # 2 nJy an electron, a background of 500 electrons: 1000 nJy.
    calibration = calibrate(u.nJy, u.electron, scaling=2 * u.nJy / u.electron)
    assert calibration.background_factor == 2 and calibration.nanojansky == 1
    assert calibrate(u.electron, u.electron, scaling=2 * u.nJy / u.electron).nanojansky == 2
    assert calibrate(u.uJy, u.nJy).background_factor == pytest.approx(1e-3)
    assert math.isnan(calibrate(u.nJy, u.adu).background_factor)
    image = make_image(np.random.default_rng(1).normal(8, 10, (512, 512)), unit=u.nJy)
    electrons = flat_background(500.0).with_unit(u.electron)
    with caplog.at_level(logging.DEBUG, logger="lsst.bgqa"):
        found = measure_residual(image, electrons)
    assert "residual_skyBrightnessError" not in found and found["residual_mean"].unit == u.nJy
    assert "how its background converts to its unit is not known" in caplog.text
    sky_image = SkyImage(**{**vars(SkyImage.of(image)), "scaling": 2 * u.nJy / u.electron})
    assert measure_residual(sky_image, electrons)["residual_skyBrightnessError"].value == pytest.approx(
        0.008, abs=3e-4
    )


def test_outliers_do_not_count() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.normal(0, 10, (512, 512))
    pixels.flat[rng.integers(0, pixels.size, 500)] = 3e4
    found = measure_residual(make_image(pixels), flat_background())
    assert abs(found["residual_mean"].value) < 0.1
    assert found["residual_noise"].value == pytest.approx(10, rel=0.01)
    assert found["residual_skyFraction"].value == 1


def test_sky_that_is_wrong_by_much_is_not_clipped_away() -> None:
    truth = np.zeros((512, 512))
    truth[:200, :300] = 200.0  # twenty times the noise
    image = sky_with(np.random.default_rng(1), truth)
    found = measure_residual(image, flat_background())
    assert found["residual_mean"].value == pytest.approx(truth.mean(), rel=0.05)


def test_correlated_noise_is_part_of_the_errors() -> None:
    means, errors = [], []
    for seed in SEEDS:
        noise = uniform_filter(np.random.default_rng(seed).normal(0, 30, (512, 512)), 3)
        found = measure_residual(make_image(noise), flat_background())
        means.append(found["residual_mean"].value)
        errors.append(found["residual_meanUncertainty"].value)
    assert found["residual_noiseCorrelation"].value == pytest.approx(3, rel=0.15)
    width = np.std(np.array(means) / np.array(errors), ddof=1)
    assert 0.65 < width < 1.35


def test_apertures_lie_on_sky_alone() -> None:
    image = sky_with(np.random.default_rng(1), masked=0.02)
    sky = SkyImage.of(image)
    apertures = measure_cells(sky, ResidualConfig()).apertures
    assert apertures.area == 253 and len(apertures) > 20
    y, x = np.indices((512, 512))
    for i in range(0, len(apertures), 10):
        inside = np.hypot(x - apertures.x[i], y - apertures.y[i]) <= 9
        assert inside.sum() == 253
        assert not image.mask.get("DETECTED")[inside].any()
        assert image.image.array[inside].mean(dtype=float) == pytest.approx(apertures.means[i], abs=1e-5)


def test_no_aperture_no_depth() -> None:
    none = Apertures(np.empty(0), np.empty(0), np.empty(0), 253)
    assert limiting_surface_brightness(none, 1.0, 0.2) == {}


@pytest.mark.parametrize(
    "settings",
    [
        {"cell_size": 30},
        {"edge_width": 0},
        {"segments": (0, 2)},
        {"halo_radii": (5,)},
        {"halo_radii": (5, 5)},
    ],
)
def test_configuration_is_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        ResidualConfig(**settings)


@pytest.mark.skipif(not stack.have_afw(), reason="needs lsst.afw")
def test_exposure_of_afw_is_taken_as_it_is() -> None:
    from lsst.afw.image import ExposureF

    exposure = ExposureF(str(DATA / "halo_calexp.fits"))
    image, background = load("halo")
    assert measure_residual(exposure, background) == measure_residual(image, background)
