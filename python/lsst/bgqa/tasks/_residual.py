# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the tasks that read images have in common."""

from __future__ import annotations

__all__ = (
    "ResidualInputConfig",
    "ResidualStatisticsConfig",
    "follow_image",
    "image_and_background",
    "read_sky_image",
    "residual_map",
)

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np

import lsst.pipe.base.connectionTypes as cT
from lsst.daf.butler import DeferredDatasetHandle
from lsst.pex.config import Config, ConfigField, Field, ListField
from lsst.pipe.base import PipelineTaskConnections

from ..background import BackgroundError
from ..residual import SKY_PLANES, ResidualConfig, ResidualSky, SkyImage
from ._inputs import describe, follow_component, is_unit

if TYPE_CHECKING:
    from lsst.images import MaskedImage

_LOG = logging.getLogger(__name__)

_DEFAULT = ResidualConfig()
# Components that say how bright and how large a pixel is, by what
# SkyImage.assemble calls them.
_CALIBRATIONS = {
    "photo_calib": "photoCalib",
    "wcs": "wcs",
    "photometric_scaling": "photometric_scaling",
    "sky_projection": "sky_projection",
}


def _positive(value: float) -> bool:
    return value > 0


class ResidualStatisticsConfig(Config):
    """Configuration of the residual's statistics,
    `lsst.bgqa.residual.ResidualConfig` for pipelines.
    """

    planes = ListField[str](
        "Mask planes whose pixels are not sky. A mask may lack planes. Names of afw and of "
        "lsst.images are equivalent.",
        default=list(SKY_PLANES),
    )
    cell_size = Field[int](
        "Side of a cell of sky, a multiple of 4 (pixels).",
        default=_DEFAULT.cell_size,
        check=lambda value: value >= 4 and value % 4 == 0,
    )
    clip_sigma = Field[float](
        "How far a pixel may be from the median of its cell (robust standard deviations).",
        default=_DEFAULT.clip_sigma,
        check=_positive,
    )
    aperture_radius = Field[int](
        "Radius of the apertures on empty sky (pixels).", default=_DEFAULT.aperture_radius, check=_positive
    )
    edge_width = Field[int](
        "Width of the outermost ring that is compared with the interior (pixels).",
        default=_DEFAULT.edge_width,
        check=_positive,
    )
    corner_width = Field[int](
        "Side of the corners that are compared with the interior (pixels).",
        default=_DEFAULT.corner_width,
        check=_positive,
    )
    step_width = Field[int](
        "Width of the strips on either side of a mid-line, or of a border between segments (pixels).",
        default=_DEFAULT.step_width,
        check=_positive,
    )
    segments = ListField[int](
        "Number of segments (amplifiers) in x and in y, of equal size, between which steps are "
        "measured; without them no steps are measured.",
        default=None,
        optional=True,
        length=2,
        itemCheck=lambda value: value >= 1,
    )
    halo_area = Field[int](
        "Least area of a detected footprint that is searched for a halo (pixels).",
        default=_DEFAULT.halo_area,
        check=_positive,
    )
    halo_radii = ListField[float](
        "Borders of the rings around such footprints, as distances from their edge, ascending (pixels).",
        default=list(_DEFAULT.halo_radii),
        minLength=2,
    )
    whole_sky = Field[bool](
        "Whether the background is the whole sky. It is not in a coadd of images whose sky was "
        "subtracted before. The precision of the sky brightness needs the whole sky.",
        default=_DEFAULT.whole_sky,
    )

    def freeze_statistics(self) -> ResidualConfig:
        """Return the settings as the statistics take them."""
        settings = {name: value for name, value in self.toDict().items() if not isinstance(value, list)}
        return ResidualConfig(
            **settings
            | {
                "planes": tuple(self.planes),
                "segments": None if self.segments is None else (self.segments[0], self.segments[1]),
                "halo_radii": tuple(self.halo_radii),
            }
        )


class ResidualInputConfig(Config):
    """What images do not say of their pixels; part of the configurations of
    tasks that read them.
    """

    image_unit = Field[str](
        "Unit of the image's pixels, for astropy.units, if the image does not say it; by default that"
        " of the background. Calibrated images of afw (DP1) are in nJy.",
        default=None,
        optional=True,
        check=lambda value: value is None or is_unit(value),
    )
    statistics = ConfigField[ResidualStatisticsConfig]("What the statistics depend on.")


def image_and_background(dimensions: tuple[str, ...]) -> tuple[cT.Input, cT.Input]:
    """Declare an image and the background that was subtracted from it as inputs.

    Their names come from the templates ``imageName`` and ``backgroundName``.
    """
    return (
        cT.Input(
            doc="Background-subtracted image; only its image, mask and calibration are read.",
            name="{imageName}",
            storageClass="ExposureF",
            dimensions=dimensions,
            deferLoad=True,
        ),
        cT.Input(
            doc="Background that was subtracted from it.",
            name="{backgroundName}",
            storageClass="Background",
            dimensions=dimensions,
            deferLoad=True,
        ),
    )


def follow_image(connections: PipelineTaskConnections, storage_class: str) -> None:
    """Adapt a task's connections to images that hold their backgrounds.

    Where the background is a component, as ``visit_image.backgrounds``, so is what
    the image is.
    """
    if follow_component(connections):
        image = connections.image  # type: ignore[attr-defined]
        connections.image = replace(image, storageClass=storage_class)  # type: ignore[attr-defined]


def read_sky_image(handle: DeferredDatasetHandle, unit: str | None) -> SkyImage:
    """Read what is needed of an image: pixels, mask and calibration.

    Only these components are read; ``unit`` counts if the image does not say it.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if it cannot be read; the message names the dataset.
    """
    name = describe(handle.ref)
    there = handle.ref.datasetType.storageClass.allComponents()
    calibrations = {}
    try:
        image, mask = handle.get(component="image"), handle.get(component="mask")
    except Exception as error:
        # The datastore and the formatter have errors of their own.
        raise BackgroundError(f"{name} cannot be read: {error}") from error
    for argument, component in _CALIBRATIONS.items():
        if component in there:
            try:
                calibrations[argument] = handle.get(component=component)
            except Exception as error:
                _LOG.debug("%s has no %s that can be read: %s", name, component, error)
    try:
        sky_image = SkyImage.assemble(image, mask, name=name, **calibrations)
    except Exception as error:
        raise BackgroundError(f"{name} is not understood: {error}") from error
    return sky_image if sky_image.unit is not None or unit is None else replace(sky_image, unit=u.Unit(unit))


def residual_map(residual: ResidualSky) -> MaskedImage:
    """Make an image of the residual sky, a pixel a cell.

    It has the mean of each cell's sky, the square of its standard error, and a
    plane ``NO_DATA`` for cells without sky, whose pixels are NaN. Coordinates count
    cells; the metadata tell their size and origin.
    """
    from lsst.images import Box, Image, Mask, MaskedImage, MaskPlane, MaskSchema

    grid = residual.grid
    bbox = Box.from_shape(grid.cell_means.shape)
    mask = Mask(0, schema=MaskSchema([MaskPlane("NO_DATA", "The cell has no pixel of sky.")]), bbox=bbox)
    none = grid.cell_counts == 0
    mask.set("NO_DATA", none)
    variance = np.divide(grid.error_noise**2, grid.cell_counts, out=np.zeros(none.shape), where=~none)
    metadata: dict[str, Any] = {"cell_size": grid.cell_size, "x0": residual.bbox.x0, "y0": residual.bbox.y0}
    return MaskedImage(
        Image(grid.cell_means.astype(np.float32), bbox=bbox, unit=residual.unit),
        mask=mask,
        variance=Image(variance.astype(np.float32), bbox=bbox, unit=residual.unit**2),
        metadata=metadata,
    )
