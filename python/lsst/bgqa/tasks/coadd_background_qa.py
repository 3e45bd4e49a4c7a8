# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("CoaddBackgroundQaConfig", "CoaddBackgroundQaConnections", "CoaddBackgroundQaTask")

from collections.abc import Mapping
from typing import Any, ClassVar

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
from ..metrics import to_quantities
from ..statistics.closure import ClosureResult
from ._coadds import (
    CoaddImage,
    CoaddInputs,
    compare,
    follow_cell_coadd,
    is_cell_coadd,
    read_coadd,
    read_input_visits,
    read_restored_coadd,
)
from ._inputs import describe, follow_component, read_backgrounds
from .background_qa import _NONE, BackgroundQaConfig, BackgroundQaTask


class CoaddBackgroundQaConnections(CoaddInputs):
    """What `CoaddBackgroundQaTask` reads and writes."""

    provenance = cT.Input(
        doc="Coadd that may record its input visits; none of its pixels are read.",
        name="{calexpName}",
        storageClass="ExposureF",
        dimensions=("tract", "patch", "band"),
        minimum=0,
        deferLoad=True,
        deferGraphConstraint=True,
    )
    metrics = cT.Output(
        doc="Metrics of the background.",
        name="{backgroundName}_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=("tract", "patch", "band"),
    )

    def __init__(self, *, config: CoaddBackgroundQaConfig):
        super().__init__(config=config)
        is_component = follow_component(self)
        if is_component:
            follow_cell_coadd(self)
        if is_component or not config.doClosure:
            del self.deepCoadd
        if not config.doClosure:
            del self.deepCoadd_calexp
        if not config.doInputVisits:
            del self.provenance


class CoaddBackgroundQaConfig(BackgroundQaConfig, pipelineConnections=CoaddBackgroundQaConnections):
    """Configuration of `CoaddBackgroundQaTask`."""

    doClosure = Field[bool](
        "Compare the coadds before and after subtraction with the background, if both exist. If a "
        "coadd holds its backgrounds, the coadd before subtraction is restored from it.",
        default=True,
    )
    doInputVisits = Field[bool]("Count the coadd's input visits, if the coadd records them.", default=True)


class CoaddBackgroundQaTask(BackgroundQaTask):
    """Measure the background that was subtracted from a patch's coadd, and
    explain how the coadds before and after differ.
    """

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = CoaddBackgroundQaConfig
    _DefaultName: ClassVar[str] = "coaddBackgroundQa"

    config: CoaddBackgroundQaConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read a background and what coadds there are, and write metrics."""
        handles = butlerQC.get(inputRefs)
        identity = describe(handles["background"].ref)
        read = read_backgrounds(handles["background"], self.config.unit, self.config.background_model)
        inputs: dict[str, Any] = {"background": read.judged, "differences": read.differences}
        if is_cell_coadd(handles.get("deepCoadd_calexp")):
            if read.is_subtracted:
                inputs["coadd"], inputs["calexp"] = read_restored_coadd(handles["deepCoadd_calexp"])
        elif "deepCoadd" in handles and "deepCoadd_calexp" in handles:
            inputs["coadd"] = read_coadd(handles["deepCoadd"])
            inputs["calexp"] = read_coadd(handles["deepCoadd_calexp"])
        elif self.config.doClosure:
            self.log.debug("%s: no closure, for not both coadds are there.", identity)
        if "provenance" in handles:
            inputs["input_visits"] = read_input_visits(handles["provenance"])
        butlerQC.put(self.run(**inputs, identity=identity), outputRefs)

    def run(
        self,
        background: BackgroundModel,
        *,
        identity: str = "background",
        differences: Mapping[str, BackgroundModel] = _NONE,
        coadd: CoaddImage | None = None,
        calexp: CoaddImage | None = None,
        input_visits: Mapping[int, int] | None = None,
    ) -> Struct:
        """Measure a background, and compare it with the coadds.

        Parameters
        ----------
        background
            The background; its pixels have the unit that it says.
        identity
            What is measured, for messages and the metrics' identifiers.
        differences
            What other models of the background differ from it, by name.
        coadd, calexp
            The coadd before and after the background was subtracted; without
            both there are no metrics of the closure.
        input_visits
            Number of detectors of each visit that the coadd was made from.

        Returns
        -------
        outputs
            Result struct with the attributes:

            ``metrics``
                The bundle of metrics
                (`~lsst.bgqa.metrics.MetricBundle` or analysis_tools' type).
            ``quantities``
                The same by full name
                (`dict` [`str`, `astropy.units.Quantity`]).
            ``closure``
                The comparison
                (`~lsst.bgqa.statistics.closure.ClosureResult` or `None`).

        Raises
        ------
        lsst.bgqa.BackgroundError
            Raised if the background cannot be evaluated, or the coadds do
            not cover the same pixels, or others than the background; the
            message names what is wrong.
        """
        values = self.measure(background, differences, identity)
        if input_visits is not None:
            values["coverage_inputVisitCount"] = len(input_visits)
            self.metadata["inputVisits"] = {
                "visit": list(input_visits),
                "detectorCount": list(input_visits.values()),
            }
        closure = None
        if coadd is not None and calexp is not None:
            closure = compare(background, coadd, calexp)
            values |= {f"closure_{name}": value for name, value in closure.metrics().items()}
            self._report_closure(closure, identity)
        outputs = self.report(to_quantities(values, background.unit), identity)
        outputs.closure = closure
        return outputs

    def _report_closure(self, closure: ClosureResult, identity: str) -> None:
        self.metadata["closure"] = {
            **{kind.name: count for kind, count in closure.counts.items()},
            "identicalSummed": closure.identical_summed,
            "identicalSequential": closure.identical_sequential,
        }
        found = ", ".join(f"{kind.label}: {count}" for kind, count in closure.counts.items() if count)
        if closure.is_consistent:
            self.log.debug("%s: the closure is explained (%s).", identity, found)
        else:
            self.log.warning("%s: the closure is not explained (%s).", identity, found)
