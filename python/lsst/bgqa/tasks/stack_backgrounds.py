# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("StackBackgroundsConfig", "StackBackgroundsConnections", "StackBackgroundsTask")

from collections.abc import Iterable
from typing import Any, ClassVar

import astropy.units as u
import numpy as np

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

from ..background import BackgroundError
from ..metrics import to_quantities
from ..statistics.stacking import BackgroundStack, StackResult, VisitRejectedError
from ._bundles import BundleConfig
from ._campaign import LeftOut, NamedBackground, load_each
from ._inputs import (
    BackgroundInputConfig,
    data_id_title,
    describe,
    follow_component,
    put_metrics_first,
    read_background,
)

_DIMENSIONS = ("instrument", "detector", "physical_filter")
_STATISTICS = ("mean", "std", "min", "max", "count")


class StackBackgroundsConnections(
    PipelineTaskConnections,
    dimensions=_DIMENSIONS,
    defaultTemplates={"backgroundName": "calexpBackground"},
):
    """What `StackBackgroundsTask` reads and writes."""

    backgrounds = cT.Input(
        doc="Backgrounds that were subtracted from one detector's images, of all visits in one filter.",
        name="{backgroundName}",
        storageClass="Background",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
    )
    mean = cT.Output(
        doc="Mean over the visits, by coordinate.",
        name="{backgroundName}_stack_mean",
        storageClass="ImageV2",
        dimensions=_DIMENSIONS,
    )
    std = cT.Output(
        doc="Standard deviation over the visits, by coordinate.",
        name="{backgroundName}_stack_std",
        storageClass="ImageV2",
        dimensions=_DIMENSIONS,
    )
    min = cT.Output(
        doc="Minimum over the visits, by coordinate.",
        name="{backgroundName}_stack_min",
        storageClass="ImageV2",
        dimensions=_DIMENSIONS,
    )
    max = cT.Output(
        doc="Maximum over the visits, by coordinate.",
        name="{backgroundName}_stack_max",
        storageClass="ImageV2",
        dimensions=_DIMENSIONS,
    )
    count = cT.Output(
        doc="Number of visits with a value, by coordinate.",
        name="{backgroundName}_stack_count",
        storageClass="ImageV2",
        dimensions=_DIMENSIONS,
    )
    metrics = cT.Output(
        doc="Metrics of the stack.",
        name="{backgroundName}_stack_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=_DIMENSIONS,
    )
    plot = cT.Output(
        doc="Mean and standard deviation by coordinate, as a picture.",
        name="{backgroundName}_stack_plot",
        storageClass="Plot",
        dimensions=_DIMENSIONS,
    )

    def __init__(self, *, config: Any = None) -> None:
        super().__init__(config=config)
        follow_component(self, "backgrounds")
        if config is not None and not config.do_plot:
            del self.plot


class StackBackgroundsConfig(
    PipelineTaskConfig, BackgroundInputConfig, BundleConfig, pipelineConnections=StackBackgroundsConnections
):
    """Configuration of `StackBackgroundsTask`."""

    scale_by_median = Field[bool](
        "Divide each visit by its own median, and multiply the results by the mean of the medians: "
        "the stack then shows patterns that are proportional to the sky. Otherwise, and if the sky is"
        " about zero, as after a sky correction, visits are stacked as they are.",
        default=True,
    )
    cell_size = Field[int](
        "Side of the cells that are stacked (pixels). By default, cells are the bins of the first "
        "background, or 128 pixels for a polynomial without bins.",
        default=None,
        optional=True,
        check=lambda value: value is None or value >= 1,
    )
    clip_sigma = Field[float](
        "How far a visit's pattern may be from that of the first visits (in their robust standard "
        "deviations). None clips no visit.",
        default=8.0,
        optional=True,
        check=lambda value: value is None or value > 0,
    )
    clip_visits = Field[int](
        "How many visits, in the order of their numbers, define the pattern for clipping.",
        default=9,
        check=lambda value: value >= 5,
    )
    do_plot = Field[bool]("Draw a picture of the stack.", default=True)


class StackBackgroundsTask(PipelineTask):
    """Find what the backgrounds of a detector have in common over visits."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = StackBackgroundsConfig
    _DefaultName: ClassVar[str] = "stackBackgrounds"

    config: StackBackgroundsConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read the backgrounds of all visits one by one, and stack them."""
        handles = butlerQC.get(inputRefs.backgrounds)
        backgrounds = (
            NamedBackground(
                int(handle.dataId["visit"]),
                describe(handle.ref),
                # Called before the generator goes on to the next.
                load=lambda handle=handle: read_background(  # type: ignore[misc]
                    handle, self.config.unit, self.config.background_model
                ),
            )
            for handle in sorted(handles, key=lambda handle: handle.dataId["visit"])
        )
        outputs = self.run(
            backgrounds, identity=describe(outputRefs.metrics), title=data_id_title(outputRefs.metrics)
        )
        put_metrics_first(butlerQC, outputs, outputRefs)

    def run(
        self, backgrounds: Iterable[NamedBackground], *, identity: str = "stack", title: str = ""
    ) -> Struct:
        """Stack backgrounds.

        Parameters
        ----------
        backgrounds
            The backgrounds of all visits, in the order of the visits'
            numbers. Each is read once, and not kept.
        identity
            What is measured, for messages and the metrics' identifiers.
        title
            The data ID, for the picture.

        Returns
        -------
        outputs
            Result struct with the attributes:

            ``mean``, ``std``, ``min``, ``max``, ``count``
                Statistics by coordinate (`lsst.images.Image`).
            ``metrics``
                Bundle of the stack's metrics.
            ``plot``
                Picture (`matplotlib.figure.Figure`), if configured.
            ``quantities``
                The metrics by full name
                (`dict` [`str`, `astropy.units.Quantity`]).
            ``result``
                The stack (`~lsst.bgqa.statistics.stacking.StackResult`).

        Raises
        ------
        lsst.bgqa.BackgroundError
            Raised if no background can be stacked, and one is broken.
        lsst.pipe.base.NoWorkFound
            Raised if none of them has a value to stack.
        """
        stack = BackgroundStack(
            scale=self.config.scale_by_median,
            clip_sigma=self.config.clip_sigma,
            clip_visits=self.config.clip_visits,
            cell_size=self.config.cell_size,
        )
        unit = u.Unit(self.config.unit)
        left_out = LeftOut(self.log)
        first: dict[int, NamedBackground] = {}
        for background, model in load_each(backgrounds, left_out):
            try:
                stack.add(background.id, model)
            except (BackgroundError, VisitRejectedError) as error:
                left_out.add(background, error)
                continue
            unit = model.unit
            if len(first) < self.config.clip_visits:
                first[background.id] = background
        result = stack.finish()
        for visit, reason in stack.rejected.items():
            left_out.add(first[visit], reason)
        if stack.is_about_zero and self.config.scale_by_median:
            self.log.info(
                "%s: the sky is about zero, so that visits are stacked as they are (scale_by_median).",
                identity,
            )
        if result is None:
            raise left_out.nothing_left(identity, "stacked")
        values = result.metrics() | {
            "stack_visitCount": stack.count,
            "stack_clippedVisitCount": len(result.clipped),
            "stack_unreadableVisitCount": len(left_out.ids),
        }
        quantities = to_quantities(values, unit)
        self.metadata["metrics"] = {name: float(quantity.value) for name, quantity in quantities.items()}
        self.metadata["clipped_visits"] = list(result.clipped)
        self.metadata["unreadable_visits"] = left_out.ids
        outputs = Struct(
            metrics=self.config.make_bundle(quantities, identity),
            quantities=quantities,
            result=result,
            **{name: _image(result, name, unit) for name in _STATISTICS},
        )
        if self.config.do_plot:
            # Imported late: a graph is built without drawing anything.
            from ..plots import plot_stack

            outputs.plot = plot_stack(
                result.mean, result.std, result.grid.bbox, f"{title}, {stack.count} visits", unit=unit
            )
        clipped = ", ".join(str(visit) for visit in result.clipped)
        self.log.info(
            "%s: %d visits%s.",
            identity,
            stack.count,
            f"; left out as unlike the others: {clipped}" if clipped else "",
        )
        return outputs


def _image(result: StackResult, name: str, unit: u.UnitBase) -> Any:
    """Make an image, a pixel a cell, that says where its cells are."""
    from lsst.images import Image

    box = result.grid.bbox
    values: np.ndarray = getattr(result, name)
    metadata: dict[str, Any] = {
        "BGQA_X0": box.x0,
        "BGQA_Y0": box.y0,
        "BGQA_WIDTH": box.width,
        "BGQA_HEIGHT": box.height,
    }
    if result.grid.cell_size is not None:
        metadata["BGQA_CELL"] = result.grid.cell_size
    if name == "count":
        return Image(values.astype(np.int32), unit=u.ct, metadata=metadata)
    return Image(values.astype(np.float32), unit=unit, metadata=metadata)
