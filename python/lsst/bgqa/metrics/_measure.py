# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("measure_residual",)

from typing import Any

from ..background import BackgroundModel
from ..residual import ResidualConfig, SkyImage, measure_residual_sky
from ._quantities import Quantities, to_quantities


def measure_residual(
    image: Any, background: BackgroundModel, config: ResidualConfig | None = None
) -> Quantities:
    """Measure the residual sky in an image.

    Parameters
    ----------
    image
        The image, its background subtracted, with its mask. One that does
        not say its unit has that of the background.
    background
        The background that was subtracted.
    config
        What to measure.

    Returns
    -------
    metrics
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
