# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("measure_residual", "to_quantities")

import math
from collections.abc import Mapping
from typing import Any

import astropy.units as u

from ..background import BackgroundModel
from ..residual import ResidualConfig, SkyImage, measure_residual_sky
from ._catalogue import CatalogueError, load_catalogue


def measure_residual(
    image: Any, background: BackgroundModel, config: ResidualConfig | None = None
) -> dict[str, u.Quantity]:
    """Measure the sky that is left in an image.

    Parameters
    ----------
    image : `lsst.images.MaskedImage`, ``lsst.afw.image.ExposureF`` or \
            `~lsst.bgqa.residual.SkyImage`
        The image, its background subtracted, with its mask. One that does
        not say its unit has that of the background.
    background : `~lsst.bgqa.BackgroundModel`
        The background that was subtracted.
    config : `~lsst.bgqa.residual.ResidualConfig`, optional
        What to measure.

    Returns
    -------
    metrics : `dict` [`str`, `astropy.units.Quantity`]
        Values by full name, in catalogue order and the image's unit;
        undefined ones are left out. An image without a pixel of sky has a
        ``residual_skyFraction`` alone.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if image and background do not cover the same pixels, or the
        background cannot be evaluated.

    Examples
    --------
    >>> measure_residual(image, background)["residual_median"]  # doctest: +SKIP
    <Quantity 0.0648 adu>
    """
    sky_image = image if isinstance(image, SkyImage) else SkyImage.of(image)
    residual = measure_residual_sky(sky_image, background, config)
    return to_quantities(residual.metrics, residual.unit)


def to_quantities(values: Mapping[str, float], unit: u.UnitBase) -> dict[str, u.Quantity]:
    """Give values the units and the order of the catalogue.

    Parameters
    ----------
    values : `~collections.abc.Mapping` [`str`, `float`]
        Values by full name, in the catalogue's units.
    unit : `astropy.units.UnitBase`
        Unit of the background.

    Returns
    -------
    metrics : `dict` [`str`, `astropy.units.Quantity`]
        Values by full name, in catalogue order; those that are NaN or
        infinite are left out.

    Raises
    ------
    CatalogueError
        Raised if the catalogue has no such metric.
    """
    catalogue = load_catalogue()
    if unknown := sorted(values.keys() - catalogue.keys()):
        raise CatalogueError(f"not in the metric catalogue: {', '.join(unknown)}")
    return {
        name: u.Quantity(float(values[name]), metric.unit_for(unit))
        for name, metric in catalogue.items()
        if name in values and math.isfinite(values[name])
    }
