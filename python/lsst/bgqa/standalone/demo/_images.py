# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Images of ``lsst.images`` around given pixels, as DP2 has them.

What is not asked for, such as the PSF or the camera's geometry, is there but
says nothing.
"""

from __future__ import annotations

__all__ = ("make_cell_coadd", "make_visit_image")

from typing import TYPE_CHECKING

import astropy.units as u
import astropy.wcs
import numpy as np

from lsst.images import YX, DetectorFrame, Image, MaskPlane, MaskSchema, SkyProjection, TractFrame, VisitImage
from lsst.images import Box as ImageBox
from lsst.images.cells import CellCoadd, CellGrid, CellGridBounds, CellPointSpreadFunction, PatchDefinition
from lsst.images.psfs import GaussianPointSpreadFunction

if TYPE_CHECKING:
    from lsst.images import BackgroundMap
    from lsst.images.cameras import Detector

_PIXEL_SCALE = 0.2 / 3600
_PLANES = (
    MaskPlane("BAD", "Bad pixel."),
    MaskPlane("DETECTED", "Part of a source."),
    MaskPlane("SATURATED", "Saturated."),
)
# A camera of one detector, in AST's own notation: the focal plane in mm, the
# field angle in radian, pixels of 10 micron.
_CAMERA = """ Begin FrameSet
    Nframe = 3
    Currnt = 3
    Lnk2 = 1
    Lnk3 = 1
    Frm1 =
       Begin Frame
          Ident = "FOCAL_PLANE"
       IsA Object
          Naxes = 2
          Ax1 =
             Begin Axis
                Unit = "mm"
             End Axis
          Ax2 =
             Begin Axis
                Unit = "mm"
             End Axis
       End Frame
    Frm2 =
       Begin Frame
          Ident = "FIELD_ANGLE"
       IsA Object
          Naxes = 2
          Ax1 =
             Begin Axis
                Unit = "rad"
             End Axis
          Ax2 =
             Begin Axis
                Unit = "rad"
             End Axis
       End Frame
    Frm3 =
       Begin Frame
          Ident = "DETECTOR_{detector}"
       IsA Object
          Naxes = 2
          Ax1 =
             Begin Axis
             End Axis
          Ax2 =
             Begin Axis
             End Axis
       End Frame
    Map2 =
       Begin ZoomMap
          Nin = 2
       IsA Mapping
          Zoom = 0.0001
       End ZoomMap
    Map3 =
       Begin ZoomMap
          Nin = 2
       IsA Mapping
          Zoom = 100
       End ZoomMap
 End FrameSet
"""


def make_visit_image(
    pixels: np.ndarray,
    bbox: ImageBox,
    backgrounds: BackgroundMap,
    *,
    instrument: str,
    visit: int,
    detector: int,
    physical_filter: str,
    band: str,
    unit: u.UnitBase = u.nJy,
    center: tuple[float, float] = (0.0, 0.0),
) -> VisitImage:
    """Make a detector's image of a visit from ``float32`` pixels, shape (height, width).

    ``center`` is the right ascension and declination of the middle, in degrees.
    """
    from astro_metadata_translator import ObservationInfo

    frame = DetectorFrame(instrument=instrument, visit=visit, detector=detector, bbox=bbox)
    return VisitImage(
        Image(pixels, bbox=bbox, unit=unit),
        mask_schema=MaskSchema(list(_PLANES)),
        variance=Image(np.ones_like(pixels), bbox=bbox, unit=unit**2),
        sky_projection=_projection(frame, bbox, center),
        obs_info=ObservationInfo(
            instrument=instrument, detector_num=detector, physical_filter=physical_filter
        ),
        psf=GaussianPointSpreadFunction(2.0, stamp_size=21, bounds=bbox),
        detector=_detector(instrument, visit, detector, bbox),
        backgrounds=backgrounds,
        band=band,
    )


def make_cell_coadd(
    pixels: np.ndarray,
    bbox: ImageBox,
    backgrounds: BackgroundMap,
    *,
    skymap: str,
    tract: int,
    patch: int,
    index: tuple[int, int] = (0, 0),
    band: str,
    unit: u.UnitBase = u.nJy,
    cell: int = 50,
    center: tuple[float, float] = (0.0, 0.0),
) -> CellCoadd:
    """Make a patch's coadd from ``float32`` pixels, shape (height, width).

    ``index`` is the row and column of the patch in the tract; ``cell`` the side of
    a cell in pixels, of which the box has a whole number; ``center`` the right
    ascension and declination of the middle, in degrees.
    """
    grid = CellGrid(bbox=bbox, cell_shape=YX(cell, cell))
    frame = TractFrame(skymap=skymap, tract=tract, bbox=bbox)
    kernel = np.zeros((grid.grid_size.i, grid.grid_size.j, 5, 5))
    kernel[..., 2, 2] = 1.0
    return CellCoadd(
        Image(pixels, bbox=bbox, unit=unit),
        mask_schema=MaskSchema(list(_PLANES)),
        variance=Image(np.ones_like(pixels), bbox=bbox, unit=unit**2),
        sky_projection=_projection(frame, bbox, center),
        band=band,
        psf=CellPointSpreadFunction(kernel, CellGridBounds(grid=grid, bbox=bbox)),
        patch=PatchDefinition(id=patch, index=YX(*index), inner_bbox=bbox, cells=grid),
        backgrounds=backgrounds,
    )


def _projection[F: (DetectorFrame, TractFrame)](
    frame: F, bbox: ImageBox, center: tuple[float, float]
) -> SkyProjection[F]:
    header = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRPIX1": 0.5 * (1 + bbox.x.size),
        "CRPIX2": 0.5 * (1 + bbox.y.size),
        "CRVAL1": center[0],
        "CRVAL2": center[1],
        "CDELT1": -_PIXEL_SCALE,
        "CDELT2": _PIXEL_SCALE,
    }
    return SkyProjection.from_fits_wcs(
        astropy.wcs.WCS(header), frame, pixel_bounds=bbox, x0=bbox.x.start, y0=bbox.y.start
    )


def _detector(instrument: str, visit: int, detector: int, bbox: ImageBox) -> Detector:
    from lsst.images.cameras import (
        CameraFrameSetSerializationModel,
        Detector,
        DetectorAttributes,
        DetectorType,
        Orientation,
    )

    camera = CameraFrameSetSerializationModel(
        instrument=instrument, ast=_CAMERA.replace("{detector}", str(detector))
    )
    attributes = DetectorAttributes(
        name=f"D{detector}",
        id=detector,
        type=DetectorType.SCIENCE,
        serial="none",
        bbox=bbox,
        orientation=Orientation(focal_plane_x=0.0, focal_plane_y=0.0, focal_plane_z=0.0),
        pixel_size=0.01,
        physical_type="simulated",
    )
    # No part of it is stored anywhere else, so that no archive is needed.
    return Detector(attributes, [], camera.deserialize(None), visit)  # type: ignore[arg-type]
