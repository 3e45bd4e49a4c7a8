# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("SkyImage",)

import math
from dataclasses import dataclass
from typing import Any, Self

import astropy.units as u
import numpy as np

from ..background import BackgroundError, Box
from ._mask import PlaneMask


@dataclass(frozen=True, eq=False)
class SkyImage:
    """An image that a background was subtracted from.

    Attributes
    ----------
    array
        The pixels, floating point, shape (height, width).
    mask
        Their mask.
    bbox
        What they cover.
    unit
        Their unit, if the image says it.
    scaling
        Flux of one instrumental unit (nJy / adu), if the image says it.
        Where its pixels have no unit, theirs is the instrumental one.
    pixel_scale
        Side of a pixel in arcsec, if the image says it.
    name
        What messages call it.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if image and mask have not the same shape.
    """

    array: np.ndarray
    mask: PlaneMask
    bbox: Box
    unit: u.UnitBase | None = None
    scaling: u.Quantity | float | None = None
    pixel_scale: float | None = None
    name: str = "image"

    def __post_init__(self) -> None:
        if self.mask.array.shape[:2] != self.array.shape:
            shapes = ("x".join(map(str, a.shape[1::-1])) for a in (self.mask.array, self.array))
            raise BackgroundError(f"{self.name}: the mask is of {' pixels, the image of '.join(shapes)}")

    @classmethod
    def of(cls, image: Any) -> Self:
        """Take over an image; its pixels are shared.

        Parameters
        ----------
        image
            The image, or one of a type derived from it.
        """
        if hasattr(image, "getBBox"):
            return cls.assemble(
                image.image,
                image.mask,
                photo_calib=image.getPhotoCalib() if hasattr(image, "getPhotoCalib") else None,
                wcs=image.getWcs() if hasattr(image, "getWcs") else None,
            )
        return cls.assemble(
            image.image,
            image.mask,
            photometric_scaling=getattr(image, "photometric_scaling", None),
            sky_projection=getattr(image, "sky_projection", None),
        )

    @classmethod
    def assemble(
        cls,
        image: Any,
        mask: Any,
        *,
        photo_calib: Any = None,
        wcs: Any = None,
        photometric_scaling: Any = None,
        sky_projection: Any = None,
        name: str = "image",
    ) -> Self:
        """Put an image together from components that were read alone.

        Parameters
        ----------
        image, mask
            Pixels and mask, of `lsst.images` or of ``lsst.afw.image``.
        photo_calib
            Photometric calibration.
        wcs
            Sky coordinates.
        photometric_scaling
            Photometric calibration.
        sky_projection
            Sky coordinates.
        name
            What messages call the image.
        """
        if hasattr(image, "getBBox"):
            corner = image.getBBox().getMin()
            x0, y0 = corner.getX(), corner.getY()
        else:
            y0, x0 = image.bbox.start
        array = image.array
        bbox = Box(int(x0), int(y0), array.shape[1], array.shape[0])
        scaling: u.Quantity | float | None = None
        if photo_calib is not None:
            scaling = float(photo_calib.getCalibrationMean())
        elif photometric_scaling is not None:
            scaling = _at_center(photometric_scaling, image.bbox)
        pixel_scale = None
        if wcs is not None:
            pixel_scale = _scale_of(wcs)
        elif sky_projection is not None:
            pixel_scale = _scale_at(sky_projection, bbox)
        return cls(array, PlaneMask.of(mask), bbox, getattr(image, "unit", None), scaling, pixel_scale, name)

    def scaling_from(self, unit: u.UnitBase) -> u.Quantity | None:
        """Return the flux of one instrumental unit.

        Parameters
        ----------
        unit
            Unit of the image's pixels, which a photometric calibration of afw
            takes.

        Returns
        -------
        scaling
            nJy per instrumental unit. Not known (`None`) for calibrated
            images of afw: their calibration is that of nJy.
        """
        if self.scaling is None or isinstance(self.scaling, u.Quantity):
            return self.scaling
        if unit.is_equivalent(u.nJy) or not math.isfinite(self.scaling):
            return None
        return u.Quantity(self.scaling, u.nJy / unit)


def _at_center(field: Any, bbox: Any) -> u.Quantity | None:
    """Evaluate a field of lsst.images in the middle of a box."""
    if field.unit is None:
        return None
    x, y = np.array([bbox.x.center]), np.array([bbox.y.center])
    return u.Quantity(float(np.asarray(field(x=x, y=y)).ravel()[0]), field.unit)


def _scale_of(wcs: Any) -> float:
    """Return the side of a pixel in arcsec, from coordinates of any kind."""
    if hasattr(wcs, "getPixelScale"):
        return float(wcs.getPixelScale().asArcseconds())
    return float(np.sqrt(wcs.celestial.proj_plane_pixel_area().to_value(u.arcsec**2)))


def _scale_at(sky_projection: Any, bbox: Box) -> float:
    """Measure the side of a pixel in arcsec in the middle of a box."""
    x = bbox.x0 + 0.5 * (bbox.width - 1) + np.array([-0.5, 0.5, -0.5])
    y = bbox.y0 + 0.5 * (bbox.height - 1) + np.array([-0.5, -0.5, 0.5])
    sky = sky_projection.pixel_to_sky(x=x, y=y)
    sides = sky[0].separation(sky[1:]).to_value(u.arcsec)
    return float(math.sqrt(sides[0] * sides[1]))
