# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = (
    "PlotCoaddResidualConfig",
    "PlotCoaddResidualConnections",
    "PlotCoaddResidualTask",
    "PlotResidualConfig",
    "PlotResidualConnections",
    "PlotResidualTask",
)

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

from ..background import BackgroundModel
from ..residual import SkyImage, measure_residual_sky
from ._inputs import BackgroundInputConfig, data_id_title, describe, read_background
from ._residual import ResidualInputConfig, follow_image, image_and_background, read_sky_image
from .plot_background import named, put_figures


def _figures(dimensions: tuple[str, ...]) -> tuple[cT.Output, cT.Output, cT.Output]:
    """Return the pictures: image and background, cells, rings."""
    return (
        cT.Output(
            doc="The image, the background and its histogram, side by side.",
            name="{imageName}_residual_image_plot",
            storageClass="Plot",
            dimensions=dimensions,
        ),
        cT.Output(
            doc="The residual sky, averaged over cells.",
            name="{imageName}_residual_map_plot",
            storageClass="Plot",
            dimensions=dimensions,
        ),
        cT.Output(
            doc="The residual sky by distance from large sources; not written if there is none.",
            name="{imageName}_residual_halo_plot",
            storageClass="Plot",
            dimensions=dimensions,
        ),
    )


class PlotResidualConnections(
    PipelineTaskConnections,
    dimensions=("instrument", "visit", "detector"),
    defaultTemplates={"backgroundName": "calexpBackground", "imageName": "calexp"},
):
    """What `PlotResidualTask` reads and writes."""

    image, background = image_and_background(("instrument", "visit", "detector"))
    row, map, rings = _figures(("instrument", "visit", "detector"))

    def __init__(self, *, config: PlotResidualConfig):
        super().__init__(config=config)
        follow_image(self, "VisitImage")


class PlotResidualConfig(
    PipelineTaskConfig,
    BackgroundInputConfig,
    ResidualInputConfig,
    pipelineConnections=PlotResidualConnections,
):
    """Configuration of `PlotResidualTask`."""


class PlotResidualTask(PipelineTask):
    """Draw a detector's image, its background, and the residual sky."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = PlotResidualConfig
    _DefaultName: ClassVar[str] = "plotResidualSky"

    config: PlotResidualConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read an image and its background, and draw."""
        handles = butlerQC.get(inputRefs)
        background = read_background(handles["background"], self.config.unit, self.config.background_model)
        image = read_sky_image(handles["image"], self.config.image_unit)
        ref = handles["image"].ref
        with named(describe(ref)):
            outputs = self.run(image, background, title=data_id_title(ref))
        put_figures(butlerQC, outputs, outputRefs)

    def run(self, image: SkyImage, background: BackgroundModel, *, title: str = "") -> Struct:
        """Draw an image and the residual sky in it.

        Parameters
        ----------
        image
            The image, its background subtracted.
        background
            The background that was subtracted.
        title
            The data ID, for the figures' titles.

        Returns
        -------
        outputs
            Result struct with the attributes ``row``, ``map`` and ``rings``,
            each a `matplotlib.figure.Figure`; the last is `None` without a
            large source.
        """
        # Imported late: a graph is built without drawing anything.
        from ..plots import plot_notebook_row, plot_residual_map, plot_rings

        residual = measure_residual_sky(image, background, self.config.statistics.freeze_statistics())
        return Struct(
            row=plot_notebook_row(image, background, title, unit=residual.unit),
            map=plot_residual_map(residual, title),
            rings=plot_rings(residual, title),
        )


class PlotCoaddResidualConnections(
    PipelineTaskConnections,
    dimensions=("tract", "patch", "band"),
    defaultTemplates={"backgroundName": "deepCoadd_calexp_background", "imageName": "deepCoadd_calexp"},
):
    """What `PlotCoaddResidualTask` reads and writes."""

    image, background = image_and_background(("tract", "patch", "band"))
    row, map, rings = _figures(("tract", "patch", "band"))

    def __init__(self, *, config: PlotCoaddResidualConfig):
        super().__init__(config=config)
        follow_image(self, "CellCoadd")


class PlotCoaddResidualConfig(PlotResidualConfig, pipelineConnections=PlotCoaddResidualConnections):
    """Configuration of `PlotCoaddResidualTask`."""


class PlotCoaddResidualTask(PlotResidualTask):
    """Draw a patch's coadd, its background, and the residual sky."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = PlotCoaddResidualConfig
    _DefaultName: ClassVar[str] = "plotCoaddResidualSky"

    config: PlotCoaddResidualConfig
