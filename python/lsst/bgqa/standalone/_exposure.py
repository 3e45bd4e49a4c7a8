# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""An afw exposure's FITS file: its pixels as `lsst.images` types, and what of
its calibration headers and small tables say.
"""

from __future__ import annotations

__all__ = ("PhotoCalib", "read_exposure", "read_photo_calib", "read_wcs", "write_exposure")

import warnings
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from lsst.images import Image, Mask, MaskedImage, MaskPlane

_MASK_PREFIX = "MP_"


def read_exposure(path: str, component: str | None = None) -> Any:
    """Read the pixels of a file that ``lsst.afw.image.ExposureF`` wrote.

    The component is ``image``, ``mask`` or ``variance``, by default all three as
    a `lsst.images.MaskedImage`. Pixels are in the parent's coordinates, and
    mask planes keep afw's names.
    """
    planes = None
    if component in (None, "mask"):
        with fits.open(path) as hdus:
            names = [key.removeprefix(_MASK_PREFIX) for key in hdus[2].header if key.startswith(_MASK_PREFIX)]
        # Without a map lsst.images guesses one, which renames planes and
        # refuses masks with planes that it does not know.
        planes = {name: MaskPlane(name, f"The afw mask plane {name}.") for name in names}
    return MaskedImage.read_legacy(
        path,
        plane_map=planes,
        component=cast(Literal["image", "mask", "variance"] | None, component),
    )


@dataclass(frozen=True)
class PhotoCalib:
    """The photometric calibration of an image, as far as it is constant: a mean, in nJy."""

    calibration_mean: float

    def getCalibrationMean(self) -> float:
        """Return the flux in nJy of one unit of the image, by afw's name for it."""
        return self.calibration_mean


def read_photo_calib(path: str) -> PhotoCalib | None:
    """Read the photometric calibration, if any, of a file that ``ExposureF`` wrote."""
    with fits.open(path) as hdus:
        primary = hdus[0].header
        if not primary.get("PHOTOCALIB_ID") or not primary.get("AR_HDU"):
            return None
        archive = hdus[primary["AR_HDU"] - 1 :]
        for row in archive[0].data:
            if row["id"] == primary["PHOTOCALIB_ID"] and row["name"].strip() == "PhotoCalib":
                table = next(hdu for hdu in archive if hdu.header.get("AR_CATN") == row["cat.archive"])
                return PhotoCalib(float(table.data["calibrationMean"][row["row0"]]))
    return None


def read_wcs(path: str) -> WCS | None:
    """Read the sky coordinates, if any, of a file that ``ExposureF`` wrote.

    They are those of the image's header, exact or an approximation.
    """
    with fits.open(path) as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(hdus[1].header)
    return wcs if wcs.has_celestial else None


def write_exposure(masked_image: MaskedImage, path: str) -> None:
    """Write a file that ``lsst.afw.image.ExposureF`` reads, or replace it.

    Image and variance become ``float32``. HDUs are compressed without loss, as
    those of the stack's own formatter are by default. More mask planes than
    afw's 32 bits hold are a `ValueError`.
    """
    primary = fits.PrimaryHDU()
    # Version 2 of afw's ExposureInfo; there is no archive of components.
    primary.header["HIERARCH EXPINFO_V"] = 2
    mask, planes = _mask_bits(masked_image.mask)
    hdus = [
        primary,
        _hdu("IMAGE", masked_image.image.array.astype(np.float32), masked_image.image),
        _hdu("MASK", mask, masked_image.mask, planes),
        _hdu("VARIANCE", masked_image.variance.array.astype(np.float32), masked_image.variance),
    ]
    fits.HDUList(hdus).writeto(path, overwrite=True)


def _mask_bits(mask: Mask) -> tuple[np.ndarray, dict[str, int]]:
    names = [plane.name for plane in mask.schema if plane is not None]
    if len(names) > 32:
        raise ValueError(f"the mask has {len(names)} planes; afw's masks have room for 32")
    bits = np.zeros(mask.bbox.shape, dtype=np.uint32)
    for bit, name in enumerate(names):
        bits[mask.get(name)] |= np.uint32(1 << bit)
    return bits.view(np.int32), {name: bit for bit, name in enumerate(names)}


def _hdu(name: str, array: np.ndarray, image: Image | Mask, planes: dict[str, int] | None = None) -> Any:
    y0, x0 = image.bbox.start
    header = fits.Header()
    # afw keeps the origin twice: for IRAF (LTV) and as a WCS named "A".
    header["LTV1"] = -float(x0)
    header["LTV2"] = -float(y0)
    header["INHERIT"] = True
    header["EXTTYPE"] = name
    for plane, bit in sorted((planes or {}).items()):
        key = f"{_MASK_PREFIX}{plane}"
        header[f"HIERARCH {key}" if len(key) > 8 else key] = bit
    unit = getattr(image, "unit", None)
    if unit is not None:
        header["BUNIT"] = unit.to_string(format="fits")
    for axis, start in ((1, x0), (2, y0)):
        header[f"CTYPE{axis}A"] = "LINEAR"
        header[f"CRPIX{axis}A"] = 1.0
        header[f"CRVAL{axis}A"] = float(start)
        header[f"CUNIT{axis}A"] = "PIXEL"
    # Both lose nothing; the one for integers is quick.
    compression = "GZIP_2" if planes is None else "RICE_1"
    # A tile costs as much time as two thousand pixels do.
    tile = (max(1, 2048 // array.shape[1]), array.shape[1])
    return fits.CompImageHDU(
        array, header, name=name, compression_type=compression, tile_shape=tile, quantize_level=0.0
    )
