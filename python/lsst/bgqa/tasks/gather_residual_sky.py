# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = (
    "GatherCoaddResidualConfig",
    "GatherCoaddResidualConnections",
    "GatherCoaddResidualTask",
    "GatherResidualConfig",
    "GatherResidualConnections",
    "GatherResidualTask",
)

from typing import ClassVar

import lsst.pipe.base.connectionTypes as cT
from lsst.pipe.base import PipelineTaskConfig, PipelineTaskConnections

from ._campaign import metric_names
from .gather_background_metrics import (
    GatherBackgroundMetricsConfig,
    GatherBackgroundMetricsTask,
    GatherCoaddMetricsConfig,
    GatherCoaddMetricsTask,
    _outputs,
)


class GatherResidualConnections(
    PipelineTaskConnections,
    dimensions=("instrument",),
    defaultTemplates={"imageName": "calexp", "campaignName": "calexp_residual_campaign"},
):
    """What `GatherResidualTask` reads and writes."""

    metrics = cT.Input(
        doc="Metrics of the residual sky in each detector's image.",
        name="{imageName}_residual_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
    )
    table, summary, worst = _outputs("instrument")


class GatherCoaddResidualConnections(
    PipelineTaskConnections,
    dimensions=("skymap",),
    defaultTemplates={"imageName": "deepCoadd_calexp", "campaignName": "deepCoadd_calexp_residual_campaign"},
):
    """What `GatherCoaddResidualTask` reads and writes."""

    metrics = cT.Input(
        doc="Metrics of the residual sky in each patch's coadd.",
        name="{imageName}_residual_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=("tract", "patch", "band"),
        multiple=True,
        deferLoad=True,
    )
    table, summary, worst = _outputs("skymap")


class GatherResidualConfig(GatherBackgroundMetricsConfig, pipelineConnections=GatherResidualConnections):
    """Configuration of `GatherResidualTask`; the unit is that of the images."""


class GatherResidualTask(GatherBackgroundMetricsTask):
    """Make one table of the residual sky of a campaign's detectors."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = GatherResidualConfig
    _DefaultName: ClassVar[str] = "gatherResidualSky"
    _names = tuple(metric_names(("residual",)))
    _level = "residual_backgroundLevel"
    _place_keys = ()

    config: GatherResidualConfig


class GatherCoaddResidualConfig(GatherCoaddMetricsConfig, pipelineConnections=GatherCoaddResidualConnections):
    """Configuration of `GatherCoaddResidualTask`; the unit is that of the
    coadds.
    """


class GatherCoaddResidualTask(GatherCoaddMetricsTask):
    """Make one table of the residual sky of a campaign's patches."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = GatherCoaddResidualConfig
    _DefaultName: ClassVar[str] = "gatherCoaddResidualSky"
    _names = tuple(metric_names(("residual",)))
    _level = "residual_backgroundLevel"

    config: GatherCoaddResidualConfig
