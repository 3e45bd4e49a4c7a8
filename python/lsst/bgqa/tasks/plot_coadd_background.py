# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("PlotCoaddBackgroundConfig", "PlotCoaddBackgroundConnections", "PlotCoaddBackgroundTask")

from collections.abc import Mapping
from typing import ClassVar

import lsst.pipe.base.connectionTypes as cT
from lsst.pex.config import Field
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTaskConfig,
    QuantumContext,
    Struct,
)

from ..background import BackgroundModel
from ._coadds import (
    CoaddImage,
    CoaddInputs,
    compare,
    follow_cell_coadd,
    is_cell_coadd,
    read_coadd,
    read_restored_coadd,
)
from ._inputs import data_id_title, describe, follow_component, read_backgrounds
from .plot_background import _NONE, PlotBackgroundConfig, PlotBackgroundTask, named, put_figures


class PlotCoaddBackgroundConnections(CoaddInputs):
    """What `PlotCoaddBackgroundTask` reads and writes."""

    image = cT.Output(
        doc="The background as an image.",
        name="{backgroundName}_image_plot",
        storageClass="Plot",
        dimensions=("tract", "patch", "band"),
    )
    histogram = cT.Output(
        doc="Histogram of the background's pixels.",
        name="{backgroundName}_histogram_plot",
        storageClass="Plot",
        dimensions=("tract", "patch", "band"),
    )
    bumps = cT.Output(
        doc="Bins of the background that stand out from their neighbourhood.",
        name="{backgroundName}_bumps_plot",
        storageClass="Plot",
        dimensions=("tract", "patch", "band"),
    )
    difference = cT.Output(
        doc="Difference of another background model from the one that is judged; not written if there "
        "is none.",
        name="{backgroundName}_difference_plot",
        storageClass="Plot",
        dimensions=("tract", "patch", "band"),
    )
    subtracted = cT.Output(
        doc="The coadd after the background was subtracted; not written if there is none.",
        name="{backgroundName}_subtracted_plot",
        storageClass="Plot",
        dimensions=("tract", "patch", "band"),
    )
    closure = cT.Output(
        doc="How the coadds before and after differ from the background; not written if one is missing.",
        name="{backgroundName}_closure_plot",
        storageClass="Plot",
        dimensions=("tract", "patch", "band"),
    )

    def __init__(self, *, config: PlotCoaddBackgroundConfig):
        super().__init__(config=config)
        is_component = follow_component(self)
        if is_component:
            follow_cell_coadd(self)
        else:
            del self.difference
        if is_component or not config.doClosure:
            del self.deepCoadd
        if not config.doClosure:
            del self.closure
        if not config.doSubtracted:
            del self.subtracted
        if not config.doClosure and not config.doSubtracted:
            del self.deepCoadd_calexp


class PlotCoaddBackgroundConfig(PlotBackgroundConfig, pipelineConnections=PlotCoaddBackgroundConnections):
    """Configuration of `PlotCoaddBackgroundTask`."""

    doClosure = Field[bool](
        "Compare the coadds before and after subtraction with the background, if both exist.",
        default=True,
    )
    doSubtracted = Field[bool]("Draw the coadd after subtraction, if it exists.", default=True)


class PlotCoaddBackgroundTask(PlotBackgroundTask):
    """Draw the background that was subtracted from a patch's coadd, and what
    became of the coadd.
    """

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = PlotCoaddBackgroundConfig
    _DefaultName: ClassVar[str] = "plotCoaddBackground"

    config: PlotCoaddBackgroundConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read a background and what coadds there are, and write figures."""
        handles = butlerQC.get(inputRefs)
        read = read_backgrounds(handles["background"], self.config.unit, self.config.background_model)
        if is_cell_coadd(handles.get("deepCoadd_calexp")):
            before, after = read_restored_coadd(handles["deepCoadd_calexp"])
            coadds = {"coadd": before, "calexp": after} if read.is_subtracted else {"calexp": after}
        else:
            coadds = {
                name: read_coadd(handles[connection])
                for name, connection in (("coadd", "deepCoadd"), ("calexp", "deepCoadd_calexp"))
                if connection in handles
            }
        title = data_id_title(handles["background"].ref)
        with named(describe(handles["background"].ref)):
            outputs = self.run(
                read.judged, title=title, name=read.label, differences=read.differences, **coadds
            )
        put_figures(butlerQC, outputs, outputRefs)

    def run(
        self,
        background: BackgroundModel,
        *,
        title: str = "",
        name: str = "the background judged",
        differences: Mapping[str, BackgroundModel] = _NONE,
        coadd: CoaddImage | None = None,
        calexp: CoaddImage | None = None,
    ) -> Struct:
        """Draw a background and the coadds.

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
        coadd, calexp
            The coadd before and after the background was subtracted.

        Returns
        -------
        outputs
            Result struct with the attributes ``image``, ``histogram``,
            ``bumps``, with other models ``difference``, ``subtracted`` and
            ``closure``, each a `matplotlib.figure.Figure`; the last two are
            `None` without the coadds that they need, or where they are not
            configured.

        Raises
        ------
        lsst.bgqa.BackgroundError
            Raised if the coadds do not cover the same pixels, or others
            than the background.
        """
        from ..plots import MAX_CELLS, plot_closure, plot_subtracted

        outputs = super().run(background, title=title, name=name, differences=differences)
        outputs.subtracted = outputs.closure = None
        if calexp is not None and self.config.doSubtracted:
            unit = calexp.unit if calexp.unit is not None else background.unit
            outputs.subtracted = plot_subtracted(calexp.array, calexp.bbox, title, unit=unit)
        if coadd is not None and calexp is not None and self.config.doClosure:
            # Its two panels share the width of a figure.
            closure = compare(background, coadd, calexp, map_size=MAX_CELLS // 2)
            outputs.closure = plot_closure(closure, title, unit=background.unit)
        return outputs
