# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What lossy compression did to the pixels of a FITS image."""

from __future__ import annotations

__all__ = ("QuantizationSteps", "read_quantization")

from dataclasses import dataclass
from typing import Any

import numpy as np

from lsst.resources import ResourcePathExpression

from ..artifacts import named_file
from ..background import BackgroundError


@dataclass(frozen=True, eq=False)
class QuantizationSteps:
    """The steps that the pixels of a lossily compressed image were rounded to.

    Attributes
    ----------
    steps
        Step of each tile, in the pixels' unit, ``float64``, shape (tiles in
        y, tiles in x); 0 for a tile that was stored without loss.
    tile_shape
        Rows and columns of a tile.
    """

    steps: np.ndarray
    tile_shape: tuple[int, int]

    @property
    def largest(self) -> float:
        """The largest step of all tiles, in the pixels' unit."""
        return float(self.steps.max(initial=0.0))

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the steps of pixels, given by their rows and columns in the image."""
        return self.steps[rows // self.tile_shape[0], columns // self.tile_shape[1]]


def read_quantization(uri: ResourcePathExpression, extension: str = "IMAGE") -> QuantizationSteps | None:
    """Read the quantisation steps of an image from its FITS file.

    Only headers and one column of the compressed image's table are read.
    Known are tiles with a step each (column ``ZSCALE``, as cfitsio and
    astropy write), one step for all (keyword ``ZSCALE``) and scaled integers
    (``BSCALE``), compressed or not.

    Parameters
    ----------
    uri
        The file: a path or any URI that `lsst.resources` reads.
    extension
        Name of the image's HDU. A file that has none of this name is taken
        to hold its image in the first HDU with pixels.

    Returns
    -------
    steps
        The steps, or `None` if the pixels are stored without loss.

    Raises
    ------
    BackgroundError
        Raised if the file cannot be read or holds no image.
    """
    import astropy.io.fits

    try:
        with (
            named_file(uri).open("rb") as stream,
            # mypy: astropy takes any binary stream.
            astropy.io.fits.open(stream, disable_image_compression=True) as hdus,  # type: ignore[arg-type]
        ):
            hdu = _find_image(hdus, extension)
            return None if hdu is None else _steps_of(hdu)
    except Exception as error:
        # Each kind of store, and each kind of damage, has errors of its own.
        raise BackgroundError(f"{uri}: its quantisation cannot be read: {error}") from error


def _find_image(hdus: Any, extension: str) -> Any:
    first = None
    for hdu in hdus:
        axes = hdu.header.get("ZNAXIS", hdu.header.get("NAXIS", 0))
        if hdu.header.get("EXTNAME", "").strip().upper() == extension.upper():
            return hdu
        is_table = hdu.header.get("XTENSION", "").strip() == "BINTABLE"
        if first is None and axes == 2 and (not is_table or hdu.header.get("ZIMAGE", False)):
            first = hdu
    return first


def _steps_of(hdu: Any) -> QuantizationSteps | None:
    header = hdu.header
    prefix = "Z" if header.get("ZIMAGE", False) else ""
    shape = header[f"{prefix}NAXIS2"], header[f"{prefix}NAXIS1"]
    tile = shape
    if header.get(f"{prefix}BITPIX") > 0:
        # Integers: exact, unless they stand for something else.
        scale = abs(float(header.get("BSCALE", 1.0)))
        steps = np.array([[0.0 if scale == 1.0 else scale]])
    elif not prefix:
        return None
    elif "ZSCALE" in hdu.columns.names:
        tile = header.get("ZTILE2", 1), header.get("ZTILE1", shape[1])
        grid = -(-shape[0] // tile[0]), -(-shape[1] // tile[1])
        steps = np.abs(np.asarray(hdu.data["ZSCALE"], dtype=np.float64).reshape(grid))
        # A tile that could not be quantised is stored whole.
        steps = np.where(np.isfinite(steps), steps, 0.0)
    else:
        steps = np.array([[abs(float(header.get("ZSCALE", 0.0)))]])
    return QuantizationSteps(steps, tile) if steps.any() else None
