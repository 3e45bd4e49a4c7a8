# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A task that reads what `BackgroundQaTask` reads and measures nothing."""

from typing import Any

from lsst.bgqa.metrics import MetricBundle
from lsst.bgqa.tasks import BackgroundQaConnections
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, Struct


class EmptyConfig(PipelineTaskConfig, pipelineConnections=BackgroundQaConnections):
    """Configuration of `EmptyTask`."""


class EmptyTask(PipelineTask):
    """Read a background, and write a bundle without a metric."""

    ConfigClass = EmptyConfig
    _DefaultName = "empty"

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:  # noqa: D102
        butlerQC.get(inputRefs.background).get()
        butlerQC.put(Struct(metrics=MetricBundle()), outputRefs)
