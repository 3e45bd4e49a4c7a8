# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("ResidualSkyConfig", "ResidualSkyConnections", "ResidualSkyTask")

import dataclasses
from typing import ClassVar

import lsst.pipe.base.connectionTypes as cT
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..background import BackgroundError, BackgroundModel
from ..metrics import to_quantities
from ..residual import ResidualSky, SkyImage, measure_residual_sky
from ._bundles import BundleConfig
from ._inputs import BackgroundInputConfig, describe, put_metrics_first, read_background
from ._residual import ResidualInputConfig, follow_image, image_and_background, read_sky_image, residual_map


class ResidualSkyConnections(
    PipelineTaskConnections,
    dimensions=("instrument", "visit", "detector"),
    defaultTemplates={"backgroundName": "calexpBackground", "imageName": "calexp"},
):
    """What `ResidualSkyTask` reads and writes."""

    image, background = image_and_background(("instrument", "visit", "detector"))
    metrics = cT.Output(
        doc="Metrics of the residual sky in the image.",
        name="{imageName}_residual_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=("instrument", "visit", "detector"),
    )
    map = cT.Output(
        doc="Mean of the sky in cells, and its variance.",
        name="{imageName}_residual_map",
        storageClass="MaskedImageV2",
        dimensions=("instrument", "visit", "detector"),
    )

    def __init__(self, *, config: ResidualSkyConfig):
        super().__init__(config=config)
        follow_image(self, "VisitImage")


class ResidualSkyConfig(
    PipelineTaskConfig,
    BackgroundInputConfig,
    ResidualInputConfig,
    BundleConfig,
    pipelineConnections=ResidualSkyConnections,
):
    """Configuration of `ResidualSkyTask`."""


class ResidualSkyTask(PipelineTask):
    """Measure the residual sky in a detector's image."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = ResidualSkyConfig
    _DefaultName: ClassVar[str] = "residualSky"

    config: ResidualSkyConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read an image and its background, measure, and write."""
        handles = butlerQC.get(inputRefs)
        background = read_background(handles["background"], self.config.unit, self.config.background_model)
        image = read_sky_image(handles["image"], self.config.image_unit)
        outputs = self.run(image, background, identity=describe(outputRefs.metrics))
        put_metrics_first(butlerQC, outputs, outputRefs)

    def run(self, image: SkyImage, background: BackgroundModel, *, identity: str = "residual") -> Struct:
        """Measure the residual sky in an image.

        Parameters
        ----------
        image
            The image, its background subtracted.
        background
            The background that was subtracted.
        identity
            What is measured, for messages and the metrics' identifiers.

        Returns
        -------
        outputs
            Result struct with the attributes:

            ``metrics``
                The bundle of metrics
                (`~lsst.bgqa.metrics.MetricBundle` or analysis_tools' type).
            ``map``
                Mean of the sky in cells (`lsst.images.MaskedImage`).
            ``quantities``
                The metrics by full name
                (`dict` [`str`, `astropy.units.Quantity`]).
            ``residual``
                What they were made from
                (`~lsst.bgqa.residual.ResidualSky`).

        Raises
        ------
        lsst.bgqa.BackgroundError
            Raised if image and background do not cover the same pixels, or
            the background cannot be evaluated; the message names them.
        """
        try:
            residual = measure_residual_sky(image, background, self.config.statistics.freeze_statistics())
        except BackgroundError as error:
            raise BackgroundError(f"{identity} cannot be measured: {error}") from error
        self._describe(residual, identity)
        quantities = to_quantities(residual.metrics, residual.unit)
        self.metadata["metrics"] = {name: float(quantity.value) for name, quantity in quantities.items()}
        return Struct(
            metrics=self.config.make_bundle(quantities, identity),
            map=residual_map(residual),
            quantities=quantities,
            residual=residual,
        )

    def _describe(self, residual: ResidualSky, identity: str) -> None:
        """Log what was found, and keep places and rings in the metadata."""
        if (mean := residual.metrics.get("residual_mean")) is None:
            self.log.warning("%s has no pixel of sky.", identity)
            return
        error = residual.metrics["residual_meanUncertainty"]
        fraction = residual.metrics["residual_skyFraction"]
        self.log.info(
            "%s: sky in %.1f %% of the pixels, mean %.3g +- %.2g %s.",
            *(identity, 100 * fraction, mean, error, residual.unit),
        )
        self.metadata["places"] = dict(residual.places)
        if residual.profile is not None:
            columns = dataclasses.asdict(residual.profile)
            self.metadata["rings"] = {
                name: columns[name].tolist() for name in ("radii", "means", "errors")
            } | {"far": residual.profile.far, "farError": residual.profile.far_error}
