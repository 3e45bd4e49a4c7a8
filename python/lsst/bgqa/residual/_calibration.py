# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("Calibration", "calibrate")

import math
from dataclasses import dataclass

import astropy.units as u


@dataclass(frozen=True)
class Calibration:
    """What is known of the brightness and size of an image's pixels.

    Attributes
    ----------
    nanojansky
        Flux in nJy of one unit of the image's pixels; NaN if not known.
    background_factor
        What to multiply a background by to have it in the image's unit; NaN
        if not known.
    pixel_scale
        Side of a pixel in arcsec; NaN if not known.
    """

    nanojansky: float = math.nan
    background_factor: float = math.nan
    pixel_scale: float = math.nan


def calibrate(
    image_unit: u.UnitBase,
    background_unit: u.UnitBase,
    *,
    scaling: u.Quantity | None = None,
    pixel_scale: float | None = None,
) -> Calibration:
    """Find how an image and its background convert.

    Parameters
    ----------
    image_unit, background_unit
        Units of their pixels.
    scaling
        Flux of one instrumental unit, such as 1.2 nJy / electron.
    pixel_scale
        Side of a pixel in arcsec.

    Returns
    -------
    calibration
        What is known; NaN for the rest.
    """
    return Calibration(
        _factor(image_unit, u.nJy, scaling),
        _factor(background_unit, image_unit, scaling),
        math.nan if pixel_scale is None else pixel_scale,
    )


def _factor(unit: u.UnitBase, wanted: u.UnitBase, scaling: u.Quantity | None) -> float:
    for path in (unit, *(() if scaling is None else (unit * scaling, unit / scaling))):
        quantity = u.Quantity(1.0, path) if isinstance(path, u.UnitBase) else path
        try:
            return float(quantity.to_value(wanted))
        except u.UnitConversionError:
            continue
    return math.nan
