# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = (
    "BackgroundQaConfig",
    "BackgroundQaConnections",
    "BackgroundQaTask",
    "BackgroundStatisticsConfig",
    "JudgeConfig",
)

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import astropy.units as u

import lsst.pipe.base.connectionTypes as cT
from lsst.pex.config import Config, ConfigField, DictField, Field, ListField
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
from ..judge import JudgeSettings, Thresholds, measure_significance
from ..metrics import load_catalogue, to_quantities
from ..statistics import StatisticsConfig, background_statistics
from ..statistics.comparison import comparison_statistics
from ._bundles import BundleConfig
from ._inputs import BackgroundInputConfig, describe, follow_component, read_backgrounds


def _are_metrics(values: Mapping[str, float]) -> bool:
    return all(name in load_catalogue() for name in values)


_NONE: Mapping[str, BackgroundModel] = MappingProxyType({})


class BackgroundQaConnections(
    PipelineTaskConnections,
    dimensions=("instrument", "visit", "detector"),
    defaultTemplates={"backgroundName": "calexpBackground"},
):
    """What `BackgroundQaTask` reads and writes."""

    background = cT.Input(
        doc="Background that was subtracted from one detector's image.",
        name="{backgroundName}",
        storageClass="Background",
        dimensions=("instrument", "visit", "detector"),
        # Read by the task, so that its message can name a broken dataset.
        deferLoad=True,
    )
    metrics = cT.Output(
        doc="Metrics of the background.",
        name="{backgroundName}_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=("instrument", "visit", "detector"),
    )

    def __init__(self, *, config: BackgroundQaConfig):
        super().__init__(config=config)
        follow_component(self)


class BackgroundStatisticsConfig(Config):
    """Configuration of the statistics, `lsst.bgqa.statistics.StatisticsConfig`
    for pipelines.
    """

    edge_width = Field[int](
        "Width of the outermost ring, and side of the corners, that the group edges compares with the"
        " interior (pixels).",
        default=128,
        check=lambda value: value >= 1,
    )
    step_width = Field[int](
        "Width of the strips on either side of a mid-line that stepX and stepY compare (pixels).",
        default=128,
        check=lambda value: value >= 1,
    )
    segments = ListField[int](
        "Number of segments (amplifiers) in x and in y, of equal size, that segmentContrast compares;"
        " without them it is not measured.",
        default=None,
        optional=True,
        length=2,
        itemCheck=lambda value: value >= 1,
    )
    bump_threshold = Field[float](
        "How far a bin must stand out from its neighbourhood to count as a bump (robust standard "
        "deviations).",
        default=5.0,
        check=lambda value: value > 0,
    )

    def freeze_statistics(self) -> StatisticsConfig:
        """Return the settings as the statistics take them."""
        return StatisticsConfig(
            edge_width=self.edge_width,
            step_width=self.step_width,
            segments=None if self.segments is None else (self.segments[0], self.segments[1]),
            bump_threshold=self.bump_threshold,
        )


class JudgeConfig(Config):
    """Configuration of the judge, `lsst.bgqa.judge.JudgeSettings` for
    pipelines.
    """

    floor = Field[float](
        "Least noise of an amplitude, as a fraction of the sky. An amplitude below this times the "
        "limit of its significance passes, however significant it is.",
        default=7e-5,
        check=lambda value: value > 0,
    )
    level_floor = Field[float](
        "Least scatter of the detectors' levels, as a fraction of the sky.",
        default=5e-3,
        check=lambda value: value > 0,
    )
    low = DictField[str, float](
        "Least values that pass, by full name of the metric, instead of the catalogue's; None for no limit.",
        default={},
        dictCheck=_are_metrics,
    )
    high = DictField[str, float](
        "Greatest values that pass, by full name of the metric, instead of the catalogue's; None for "
        "no limit.",
        default={},
        dictCheck=_are_metrics,
    )

    def thresholds(self) -> Thresholds:
        """Return what values of metrics pass."""
        return Thresholds(dict(self.low), dict(self.high))


class BackgroundQaConfig(
    PipelineTaskConfig, BackgroundInputConfig, BundleConfig, pipelineConnections=BackgroundQaConnections
):
    """Configuration of `BackgroundQaTask`."""

    statistics = ConfigField[BackgroundStatisticsConfig]("What the statistics depend on.")
    judge = ConfigField[JudgeConfig]("What is judged to be a fault.")

    def judge_settings(self) -> JudgeSettings:
        """Return what the judge's measurements depend on."""
        return JudgeSettings(
            self.statistics.freeze_statistics().segments,
            self.judge.floor,
            self.judge.level_floor,
            dict(self.judge.high),
        )


class BackgroundQaTask(PipelineTask):
    """Measure the background that was subtracted from a detector's image."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = BackgroundQaConfig
    _DefaultName: ClassVar[str] = "backgroundQa"

    config: BackgroundQaConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read a background, measure it, and write its metrics."""
        handle = butlerQC.get(inputRefs.background)
        read = read_backgrounds(handle, self.config.unit, self.config.background_model)
        identity = describe(handle.ref)
        butlerQC.put(self.run(read.judged, identity=identity, differences=read.differences), outputRefs)

    def run(
        self,
        background: BackgroundModel,
        *,
        identity: str = "background",
        differences: Mapping[str, BackgroundModel] = _NONE,
    ) -> Struct:
        """Measure a background.

        Parameters
        ----------
        background
            The background; its pixels have the unit that it says.
        identity
            What is measured, for messages and the metrics' identifiers.
        differences
            What other models of the background differ from it, by name. The
            metrics tell of the one that differs most, the task's metadata of
            each.

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

        Raises
        ------
        lsst.bgqa.BackgroundError
            Raised if the background cannot be evaluated; the message names
            ``identity``.
        """
        values = self.measure(background, differences, identity)
        return self.report(to_quantities(values, background.unit), identity)

    def measure(
        self, background: BackgroundModel, differences: Mapping[str, BackgroundModel], identity: str
    ) -> dict[str, float]:
        """Measure a background, and what other models differ from it.

        Parameters
        ----------
        background
            The background.
        differences
            The differences, by name of the model.
        identity
            What is measured, for messages.

        Returns
        -------
        metrics
            Values by full name, in the catalogue's units.

        Raises
        ------
        lsst.bgqa.BackgroundError
            Raised if the background cannot be evaluated; the message names
            ``identity``.
        """
        try:
            values = background_statistics(background, self.config.statistics.freeze_statistics())
            values |= measure_significance(background, self.config.judge_settings())
            return values | self.compare(differences)
        except BackgroundError as error:
            raise BackgroundError(f"{identity} cannot be measured: {error}") from error

    def compare(self, differences: Mapping[str, BackgroundModel]) -> dict[str, float]:
        """Measure what other models of a background, by name, differ from it.

        Returns
        -------
        metrics
            The comparison group's metrics, by full name, for the model that
            differs most; those of each are in the task's metadata.
        """
        found = {name: comparison_statistics(difference) for name, difference in differences.items()}
        found = {name: metrics for name, metrics in found.items() if metrics}
        if not found:
            return {}
        self.metadata["comparison"] = found
        worst = max(found.values(), key=lambda metrics: metrics["rmsDifference"])
        return {f"comparison_{name}": value for name, value in worst.items()}

    def report(self, quantities: Mapping[str, u.Quantity], identity: str) -> Struct:
        """Log what was measured, and return what `run` does."""
        self.metadata["metrics"] = {name: float(quantity.value) for name, quantity in quantities.items()}
        if (level := quantities.get("level_median")) is None:
            self.log.warning("%s has no finite pixel: its coverage alone is measured.", identity)
        else:
            self.log.info(
                "%s: %d metrics, median level %.6g %s.", identity, len(quantities), level.value, level.unit
            )
        return Struct(metrics=self.config.make_bundle(quantities, identity), quantities=dict(quantities))
