# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("CoaddResidualSkyConfig", "CoaddResidualSkyConnections", "CoaddResidualSkyTask")

from typing import ClassVar

import lsst.pipe.base.connectionTypes as cT
from lsst.pipe.base import PipelineTaskConfig, PipelineTaskConnections

from ._residual import follow_image, image_and_background
from .residual_sky import ResidualSkyConfig, ResidualSkyTask


class CoaddResidualSkyConnections(
    PipelineTaskConnections,
    dimensions=("tract", "patch", "band"),
    defaultTemplates={"backgroundName": "deepCoadd_calexp_background", "imageName": "deepCoadd_calexp"},
):
    """What `CoaddResidualSkyTask` reads and writes."""

    image, background = image_and_background(("tract", "patch", "band"))
    metrics = cT.Output(
        doc="Metrics of the residual sky in the coadd.",
        name="{imageName}_residual_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=("tract", "patch", "band"),
    )
    map = cT.Output(
        doc="Mean of the sky in cells, and its variance.",
        name="{imageName}_residual_map",
        storageClass="MaskedImageV2",
        dimensions=("tract", "patch", "band"),
    )

    def __init__(self, *, config: CoaddResidualSkyConfig):
        super().__init__(config=config)
        follow_image(self, "CellCoadd")


class CoaddResidualSkyConfig(ResidualSkyConfig, pipelineConnections=CoaddResidualSkyConnections):
    """Configuration of `CoaddResidualSkyTask`."""

    def setDefaults(self) -> None:
        """Take a coadd's background for what it is: what was left."""
        super().setDefaults()
        self.statistics.whole_sky = False


class CoaddResidualSkyTask(ResidualSkyTask):
    """Measure the residual sky in a patch's coadd."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = CoaddResidualSkyConfig
    _DefaultName: ClassVar[str] = "coaddResidualSky"

    config: CoaddResidualSkyConfig
