# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("PlotBackgroundConfig", "PlotBackgroundConnections", "PlotBackgroundTask")

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import ClassVar

import lsst.pipe.base.connectionTypes as cT
from lsst.pex.config import Field
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
from ._inputs import BackgroundInputConfig, data_id_title, describe, follow_component, read_backgrounds

_NONE: Mapping[str, BackgroundModel] = MappingProxyType({})


class PlotBackgroundConnections(
    PipelineTaskConnections,
    dimensions=("instrument", "visit", "detector"),
    defaultTemplates={"backgroundName": "calexpBackground"},
):
    """What `PlotBackgroundTask` reads and writes."""

    background = cT.Input(
        doc="Background that was subtracted from one detector's image.",
        name="{backgroundName}",
        storageClass="Background",
        dimensions=("instrument", "visit", "detector"),
        deferLoad=True,
    )
    image = cT.Output(
        doc="The background as an image.",
        name="{backgroundName}_image_plot",
        storageClass="Plot",
        dimensions=("instrument", "visit", "detector"),
    )
    histogram = cT.Output(
        doc="Histogram of the background's pixels.",
        name="{backgroundName}_histogram_plot",
        storageClass="Plot",
        dimensions=("instrument", "visit", "detector"),
    )
    bumps = cT.Output(
        doc="Bins of the background that stand out from their neighbourhood.",
        name="{backgroundName}_bumps_plot",
        storageClass="Plot",
        dimensions=("instrument", "visit", "detector"),
    )
    difference = cT.Output(
        doc="Difference of another background model from the one that is judged; not written if there "
        "is none.",
        name="{backgroundName}_difference_plot",
        storageClass="Plot",
        dimensions=("instrument", "visit", "detector"),
    )

    def __init__(self, *, config: PlotBackgroundConfig):
        super().__init__(config=config)
        if not follow_component(self):
            del self.difference


class PlotBackgroundConfig(
    PipelineTaskConfig, BackgroundInputConfig, pipelineConnections=PlotBackgroundConnections
):
    """Configuration of `PlotBackgroundTask`."""

    bin_grid = Field[bool]("Draw the borders of the bins over the image.", default=True)
    histogram_bins = Field[int](
        "Number of bins of the histogram.", default=50, check=lambda value: value >= 1
    )
    bump_threshold = Field[float](
        "How far a bin must stand out from its neighbourhood to be flagged (robust standard deviations).",
        default=5.0,
        check=lambda value: value > 0,
    )


class PlotBackgroundTask(PipelineTask):
    """Draw the background that was subtracted from a detector's image."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = PlotBackgroundConfig
    _DefaultName: ClassVar[str] = "plotBackground"

    config: PlotBackgroundConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read a background, draw it, and write the figures."""
        handle = butlerQC.get(inputRefs.background)
        read = read_backgrounds(handle, self.config.unit, self.config.background_model)
        with named(describe(handle.ref)):
            outputs = self.run(
                read.judged, title=data_id_title(handle.ref), name=read.label, differences=read.differences
            )
        put_figures(butlerQC, outputs, outputRefs)

    def run(
        self,
        background: BackgroundModel,
        *,
        title: str = "",
        name: str = "the background judged",
        differences: Mapping[str, BackgroundModel] = _NONE,
    ) -> Struct:
        """Draw a background.

        Parameters
        ----------
        background
            The background; its pixels have the unit that it says.
        title
            The data ID, for the figures' titles.
        name
            What to call the background beside others.
        differences
            What other models of the background differ from it, by name.

        Returns
        -------
        outputs
            Result struct with the attributes ``image``, ``histogram``,
            ``bumps`` and, with other models, ``difference``, each a
            `matplotlib.figure.Figure`.
        """
        # Imported late: a graph is built without drawing anything.
        from ..plots import plot_background, plot_bumps, plot_differences, plot_histogram

        outputs = Struct(
            image=plot_background(background, title, bin_grid=self.config.bin_grid),
            histogram=plot_histogram(background, title, bins=self.config.histogram_bins),
            bumps=plot_bumps(background, title, threshold=self.config.bump_threshold),
        )
        if differences:
            outputs.difference = plot_differences(differences, title, judged=name)
        return outputs


@contextmanager
def named(identity: str) -> Iterator[None]:
    """Name what was to be drawn in the error of a background that cannot be."""
    try:
        yield
    except BackgroundError as error:
        raise BackgroundError(f"{identity} cannot be drawn: {error}") from error


def put_figures(butlerQC: QuantumContext, outputs: Struct, outputRefs: OutputQuantizedConnection) -> None:
    """Write the figures that were made, by connection."""
    for name, figure in outputs.getDict().items():
        if figure is not None:
            butlerQC.put(figure, getattr(outputRefs, name))
