# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("ResidualSky", "measure_residual_sky")

import logging
import math
from dataclasses import dataclass, field, replace

import astropy.units as u
import numpy as np

from ..background import BackgroundError, BackgroundModel, Box
from ._apertures import (
    Apertures,
    excess_root,
    limiting_surface_brightness,
    sky_brightness_precision,
)
from ._blocks import Contrast, corner_contrast, edge_contrast, step_across, steps_between_segments
from ._calibration import Calibration, calibrate
from ._cells import CellGrid, measure_cells
from ._config import ResidualConfig
from ._crowding import crowding_slope, densest_place
from ._halo import RingProfile, find_footprints, ring_profile
from ._image import SkyImage
from ._mask import unknown_planes

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ResidualSky:
    """The residual sky in an image.

    Attributes
    ----------
    metrics
        The metrics by full name, in the catalogue's units; NaN or left out
        where not defined.
    unit
        Unit of the image's pixels, which is that of the metrics.
    bbox
        What the image covers.
    grid
        Its sky, cell by cell.
    profile
        The sky about large sources, if there are any.
    places
        Where an edge, corner or step was found, by name of the metric, in
        the parent's coordinates.
    """

    metrics: dict[str, float]
    unit: u.UnitBase
    bbox: Box
    grid: CellGrid
    profile: RingProfile | None = None
    places: dict[str, str] = field(default_factory=dict)


def measure_residual_sky(
    image: SkyImage, background: BackgroundModel, config: ResidualConfig | None = None
) -> ResidualSky:
    """Measure the residual sky in an image.

    Parameters
    ----------
    image
        The image, its background subtracted. One that does not say its unit
        has that of the background.
    background
        The background that was subtracted.
    config
        What to measure.

    Returns
    -------
    residual
        The metrics, and what they were made from. Without a pixel of sky
        there is only ``residual_skyFraction``.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if image and background do not cover the same pixels, or the
        background cannot be evaluated.
    """
    config = config or ResidualConfig()
    if image.bbox != background.bbox:
        raise BackgroundError(f"{image.name} covers {image.bbox}, its background {background.bbox}")
    if unknown := unknown_planes(config.planes, image.mask.bits):
        _LOG.warning("%s has no mask plane %s, nor has any release.", image.name, ", ".join(unknown))
    unit = image.unit if image.unit is not None else background.unit
    calibration = calibrate(
        unit,
        background.unit,
        scaling=image.scaling_from(unit),
        pixel_scale=image.pixel_scale,
    )
    grid = measure_cells(image, config)
    metrics: dict[str, float] = {"skyFraction": grid.sky_count / image.array.size}
    residual = ResidualSky({}, unit, image.bbox, grid)
    if not grid.counts.any():
        return _named(residual, metrics)
    metrics |= _level(grid) | _cells(grid)
    metrics |= _brightness(grid, background, calibration, image.name, config.whole_sky)
    contrasts = _contrasts(grid, config)
    for name, contrast in contrasts.items():
        metrics |= {name: contrast.value, f"{name}Significance": contrast.significance}
    places = {name: contrast.place for name, contrast in contrasts.items()}
    if "crowdingSlope" in metrics:
        column, row = densest_place(grid)
        places["crowding"] = f"about x = {column + image.bbox.x0}, y = {row + image.bbox.y0}"
    footprints = find_footprints(grid, config.halo_area)
    metrics["haloFootprintCount"] = 0 if footprints is None else footprints.count
    profile = None
    if footprints and (profile := ring_profile(grid, footprints.distance, config.halo_radii)):
        metrics |= profile.metrics()
        x, y = footprints.x + image.bbox.x0, footprints.y + image.bbox.y0
        places["haloDepth"] = f"about x = {x:.0f}, y = {y:.0f}" + (", the largest" * (footprints.count > 1))
    return _named(ResidualSky({}, unit, image.bbox, grid, profile, places), metrics)


def _named(residual: ResidualSky, metrics: dict[str, float]) -> ResidualSky:
    return replace(
        residual,
        metrics={f"residual_{name}": value for name, value in metrics.items()},
        places={f"residual_{name}": place for name, place in residual.places.items()},
    )


def _level(grid: CellGrid) -> dict[str, float]:
    mean, error, _ = grid.mean_of(grid.counts > 0)
    # Of the median of a normal distribution, from the sample that it is of.
    extra = math.sqrt(0.5 * math.pi / grid.sample_size) * grid.noise
    return {
        "mean": mean,
        "meanUncertainty": error,
        "median": grid.median,
        "medianUncertainty": math.hypot(extra, error),
        "noise": grid.noise,
        "noiseUncertainty": grid.noise / math.sqrt(2 * max(float(grid.counts.sum()), 1.0)),
        "noiseCorrelation": grid.error_noise / grid.noise if grid.noise > 0 else math.nan,
    }


def _cells(grid: CellGrid) -> dict[str, float]:
    used = grid.cell_counts >= 0.25 * grid.cell_size**2
    n = int(used.sum())
    if n < 2:
        return {}
    means, explained = grid.cell_means[used], grid.noise**2 / grid.cell_counts[used]
    variance = float(np.var(means, ddof=1))
    deviations = means - np.average(means, weights=1 / explained) if explained.all() else means * np.nan
    excess, error = excess_root(variance - float(explained.mean()), variance * math.sqrt(2 / (n - 1)))
    return {
        "cellRms": math.sqrt(variance),
        "cellRmsUncertainty": math.sqrt(0.5 * variance / (n - 1)),
        "cellExcess": excess,
        "cellExcessUncertainty": error,
        "cellChi2": float(np.sum(deviations**2 / explained)) / (n - 1),
    }


def _brightness(
    grid: CellGrid, background: BackgroundModel, calibration: Calibration, name: str, whole_sky: bool
) -> dict[str, float]:
    """Measure what needs the background's brightness, or the image's."""
    from scipy.ndimage import map_coordinates

    level = _in_cells(grid, background)
    metrics = crowding_slope(grid, level * calibration.background_factor)
    if math.isnan(calibration.background_factor):
        _LOG.debug("%s: how its background converts to its unit is not known.", name)
    elif np.isfinite(level).any():
        metrics["backgroundLevel"] = float(np.nanmean(level)) * calibration.background_factor
        apertures = grid.apertures
        if whole_sky:
            at = (np.stack([apertures.y, apertures.x]) + 0.5) / grid.cell_size - 0.5
            below = map_coordinates(level, at, order=1, mode="nearest") * calibration.background_factor
            metrics |= sky_brightness_precision(apertures, below, grid.noise, _error(grid, apertures))
    return metrics | limiting_surface_brightness(
        grid.apertures, calibration.nanojansky, calibration.pixel_scale
    )


def _in_cells(grid: CellGrid, background: BackgroundModel) -> np.ndarray:
    """Return the background in the middle of each cell."""
    centers = (
        np.minimum(np.arange(count) * grid.cell_size + grid.cell_size // 2, size - 1).astype(np.float64)
        for count, size in zip(
            grid.cell_counts.shape, (background.bbox.height, background.bbox.width), strict=True
        )
    )
    return background.evaluate(*centers)


def _error(grid: CellGrid, apertures: Apertures) -> float:
    """Return the standard error of the mean of all apertures."""
    n = len(apertures)
    if not n:
        return math.nan
    cells = (apertures.y // grid.cell_size) * grid.cell_counts.shape[1] + apertures.x // grid.cell_size
    shares = np.unique(cells, return_counts=True)[1] / n
    noise = grid.error_noise**2 / (n * apertures.area)
    return math.sqrt(noise + grid.cell_scatter**2 * float(np.sum(shares**2)))


def _contrasts(grid: CellGrid, config: ResidualConfig) -> dict[str, Contrast]:
    edges = edge_contrast(grid, config.edge_width)
    found = {
        "edgeExcess": edges and edges[0],
        "edgeExtreme": edges and edges[1],
        "cornerExcess": corner_contrast(grid, config.corner_width),
        "stepX": step_across(grid, "x", grid.width // 2, config.step_width),
        "stepY": step_across(grid, "y", grid.height // 2, config.step_width),
        "segmentStep": config.segments and steps_between_segments(grid, config.segments, config.step_width),
    }
    return {name: contrast for name, contrast in found.items() if contrast}
