# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The demo's survey in the form of one release or another."""

from __future__ import annotations

__all__ = ("GENERATIONS", "DemoGeneration")

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import astropy.units as u
import numpy as np

from ...background import BackgroundModel, ChebyshevSurface
from ._camera import FILTERS, DemoCam, DemoDetector
from ._coadds import DemoCoadd, masked_image
from ._survey import SKYMAP, TRACT, DemoPatch, DemoVisit
from ._visit_images import IMAGE_VISIT, make_visit_pixels

if TYPE_CHECKING:
    from lsst.images.fields import Field

# But for one visit, an image is a cut-out: what counts is the background.
_CUTOUT = 64
# Flux of one electron.
_NANOJANSKY = 2.0
# What lsst.images calls the planes of afw.
_NAMES = {"SAT": "SATURATED"}


@dataclass(frozen=True)
class DemoGeneration:
    """Names and types of one release.

    ``coadd`` is empty if a release has none before subtraction; ``visit_image`` is
    the background-subtracted image of a visit.
    """

    name: str
    pipeline: str
    visit_background: str
    coadd_background: str
    coadd: str
    subtracted_coadd: str
    visit_image: str

    @property
    def has_fields(self) -> bool:
        """Whether backgrounds are fields of ``lsst.images``."""
        return "." in self.visit_background

    @property
    def visit_metrics(self) -> str:
        """Dataset type of the metrics of visits."""
        return self.visit_background.replace(".", "_") + "_metrics"

    @property
    def coadd_metrics(self) -> str:
        """Dataset type of the metrics of coadds."""
        return self.coadd_background.replace(".", "_") + "_metrics"

    @property
    def location(self) -> str:
        """The pipeline as a URI."""
        return f"resource://lsst.bgqa/pipelines/{self.pipeline}"

    @property
    def options(self) -> list[str]:
        """What pipetask has to be told of the datasets (`list` [`str`])."""
        # The simulated coadds are calibrated, unlike those of DP0.2.
        return ["-c", "parameters:coaddUnit=nJy"] if self.name == "dp02" else []

    @property
    def visit_types(self) -> dict[str, str]:
        """Storage class of each dataset type of visits."""
        if self.has_fields:
            return {self.visit_background.partition(".")[0]: "VisitImage"}
        return {self.visit_background: "Background"}

    @property
    def image_types(self) -> dict[str, str]:
        """Storage class of each dataset type of images that one visit has,
        if they do not hold the backgrounds.
        """
        return {} if self.has_fields else {self.visit_image: "ExposureF"}

    @property
    def coadd_types(self) -> dict[str, str]:
        """Storage class of each dataset type of coadds."""
        if self.has_fields:
            return {self.subtracted_coadd: "CellCoadd"}
        return {
            self.coadd: "ExposureF",
            self.subtracted_coadd: "ExposureF",
            self.coadd_background: "Background",
        }

    def visit_datasets(
        self, visit: DemoVisit, detector: DemoDetector, background: BackgroundModel
    ) -> dict[str, Any]:
        """Give a detector's background the release's form."""
        if not self.has_fields:
            return {self.visit_background: background}
        from lsst.images import BackgroundMap
        from lsst.images import Box as ImageBox
        from lsst.images.fields import ChebyshevField

        from ._images import make_visit_image

        backgrounds = BackgroundMap()
        backgrounds.add("subtracted", _field(background, u.electron), is_subtracted=True)
        plane = _plane_field(background, u.electron)
        if plane is not None:
            backgrounds.add("skyCorr", plane)
        pixels: np.ndarray = np.zeros((_CUTOUT, _CUTOUT), dtype=np.float32)
        planes: dict[str, np.ndarray] = {}
        if visit == IMAGE_VISIT:
            made = make_visit_pixels(visit, detector, background)
            pixels, planes = np.float32(_NANOJANSKY) * made.pixels, made.planes
        bounds = ImageBox.from_shape((detector.height, detector.width), start=(0, 0))
        image = make_visit_image(
            pixels,
            ImageBox.from_shape(pixels.shape, start=(0, 0)),
            backgrounds,
            instrument=DemoCam.getName(),
            visit=visit.id,
            detector=detector.id,
            physical_filter=visit.physical_filter,
            band=FILTERS[visit.physical_filter],
            center=visit.boresight,
        )
        scaling = np.array([[_NANOJANSKY]])
        image.photometric_scaling = ChebyshevField(bounds, scaling, unit=u.nJy / u.electron)
        for name, flagged in planes.items():
            image.mask.set(_NAMES.get(name, name), flagged)
        return dict.fromkeys(self.visit_types, image)

    def image_datasets(
        self, visit: DemoVisit, detector: DemoDetector, background: BackgroundModel
    ) -> dict[str, Any]:
        """Give a detector's image the release's form."""
        made = make_visit_pixels(visit, detector, background)
        if self.name == "dp1":
            # Calibrated, as they are there.
            pixels = np.float32(_NANOJANSKY) * made.pixels
            return {self.visit_image: masked_image(pixels, made.planes, _NANOJANSKY * made.noise, u.nJy)}
        return {self.visit_image: masked_image(made.pixels, made.planes, made.noise, u.adu)}

    def coadd_datasets(self, patch: DemoPatch, band: str, coadd: DemoCoadd) -> dict[str, Any]:
        """Give a patch's coadd the release's form."""
        if not self.has_fields:
            return {
                self.coadd: coadd.before,
                self.subtracted_coadd: coadd.after,
                self.coadd_background: coadd.background,
            }
        from lsst.images import BackgroundMap

        from ._images import make_cell_coadd

        backgrounds = BackgroundMap()
        backgrounds.add("object", _field(coadd.background, u.nJy), is_subtracted=True)
        backgrounds.add("pretty", _smooth_field(coadd.background, u.nJy))
        image = make_cell_coadd(
            coadd.after.image.array,
            coadd.after.bbox,
            backgrounds,
            skymap=SKYMAP,
            tract=TRACT,
            patch=patch.id,
            index=(patch.cell_y, patch.cell_x),
            band=band,
            center=patch.corners[0],
        )
        return {self.subtracted_coadd: image}


def _field(background: BackgroundModel, unit: u.UnitBase) -> Field:
    from lsst.images.fields import SumField

    return SumField([_field_of_layer(part, unit) for part in background.parts])


def _field_of_layer(background: BackgroundModel, unit: u.UnitBase) -> Field:
    from lsst.images import Box as ImageBox
    from lsst.images.fields import ChebyshevField, SplineField

    (layer,), (surface,) = background.grids, background.surfaces
    box = ImageBox.from_shape((layer.bbox.height, layer.bbox.width), start=(layer.bbox.y0, layer.bbox.x0))
    if isinstance(surface, ChebyshevSurface):
        return ChebyshevField(box, surface.coefficients.copy(), unit=unit)
    return SplineField(
        box, layer.values.astype(np.float64), y=layer.bin_centers_y, x=layer.bin_centers_x, unit=unit
    )


def _plane_field(background: BackgroundModel, unit: u.UnitBase) -> Field | None:
    """Leave of a polynomial what a sky over the focal plane may have."""
    from lsst.images.fields import ChebyshevField

    whole = _field_of_layer(background.parts[0], unit)
    if not isinstance(whole, ChebyshevField):
        return None
    coefficients = np.zeros((2, 2))
    coefficients[0] = whole.coefficients[0, :2]
    coefficients[1, 0] = whole.coefficients[1, 0]
    return ChebyshevField(whole.bounds, coefficients, unit=unit)


def _smooth_field(background: BackgroundModel, unit: u.UnitBase) -> Field:
    """Fit the bins by a polynomial that follows no galaxy."""
    from lsst.images.fields import ChebyshevField, SplineField

    spline = _field_of_layer(background.parts[0], unit)
    assert isinstance(spline, SplineField)
    return ChebyshevField.fit(spline.bounds, spline.data, 3, y=spline.y, x=spline.x, unit=unit)


GENERATIONS = {
    generation.name: generation
    for generation in (
        DemoGeneration(
            "dp02",
            "backgroundQa.yaml",
            "calexpBackground",
            "deepCoadd_calexp_background",
            "deepCoadd",
            "deepCoadd_calexp",
            "calexp",
        ),
        DemoGeneration(
            "dp1",
            "LSSTComCam/backgroundQa.yaml",
            "visit_image_background",
            "deep_coadd_background",
            "deep_coadd_predetection",
            "deep_coadd",
            "visit_image",
        ),
        DemoGeneration(
            "dp2",
            "LSSTCam/DP2.yaml",
            "visit_image.backgrounds",
            "deep_coadd.backgrounds",
            "",
            "deep_coadd",
            "visit_image",
        ),
    )
}
"""The forms that the demo can have (`dict` [`str`, `DemoGeneration`])."""
