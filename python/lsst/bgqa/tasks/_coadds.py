# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the tasks need of coadds: pixels, quantisation, input visits."""

from __future__ import annotations

__all__ = (
    "CoaddImage",
    "CoaddInputs",
    "compare",
    "follow_cell_coadd",
    "is_cell_coadd",
    "read_coadd",
    "read_input_visits",
    "read_restored_coadd",
)

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import astropy.units as u
import numpy as np

import lsst.pipe.base.connectionTypes as cT
from lsst.daf.butler import DeferredDatasetHandle
from lsst.pipe.base import PipelineTaskConnections

from ..artifacts import artifact_name, local_artifact
from ..background import BackgroundError, BackgroundModel, Box
from ..statistics.closure import ClosureResult, compare_coadds
from ..statistics.quantization import QuantizationSteps, read_quantization
from ._inputs import describe

_LOG = logging.getLogger(__name__)


class CoaddInputs(
    PipelineTaskConnections,
    dimensions=("tract", "patch", "band"),
    defaultTemplates={
        "backgroundName": "deepCoadd_calexp_background",
        "coaddName": "deepCoadd",
        "calexpName": "deepCoadd_calexp",
    },
):
    """What tasks read of the background of a patch and of its coadds."""

    background = cT.Input(
        doc="Background that was subtracted from the coadd of one patch.",
        name="{backgroundName}",
        storageClass="Background",
        dimensions=("tract", "patch", "band"),
        deferLoad=True,
    )
    deepCoadd = cT.Input(
        doc="Coadd before background subtraction, if it still exists; only its image is read.",
        name="{coaddName}",
        storageClass="ExposureF",
        dimensions=("tract", "patch", "band"),
        minimum=0,
        deferLoad=True,
        deferGraphConstraint=True,
    )
    deepCoadd_calexp = cT.Input(
        doc="Coadd after background subtraction, if it exists; only its image is read.",
        name="{calexpName}",
        storageClass="ExposureF",
        dimensions=("tract", "patch", "band"),
        minimum=0,
        deferLoad=True,
        deferGraphConstraint=True,
    )


@dataclass(frozen=True, eq=False)
class CoaddImage:
    """The pixels of a coadd.

    Attributes
    ----------
    array
        The pixels, ``float32``, shape (height, width).
    bbox
        What they cover.
    unit
        Their unit, if the image says it.
    steps
        Their quantisation, if the file was compressed lossily.
    name
        What messages call the image.
    """

    array: np.ndarray
    bbox: Box
    unit: u.UnitBase | None = None
    steps: QuantizationSteps | None = None
    name: str = "coadd"


def read_coadd(handle: DeferredDatasetHandle) -> CoaddImage:
    """Read the image of a coadd, and of its file what compression did to it.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if it cannot be read; the message names the dataset.
    """
    name = describe(handle.ref)
    try:
        image = handle.get(component="image")
        array = image.array
        if hasattr(image, "getBBox"):  # afw's, which has no unit
            corner = image.getBBox().getMin()
            origin = corner.getX(), corner.getY()
        else:
            origin = image.bbox.x.start, image.bbox.y.start
    except Exception as error:
        # The datastore and the formatter have errors of their own.
        raise BackgroundError(f"{name} cannot be read: {error}") from error
    bbox = Box(*origin, array.shape[1], array.shape[0])
    return CoaddImage(array, bbox, getattr(image, "unit", None), _read_steps(handle, name), name)


def follow_cell_coadd(connections: PipelineTaskConnections) -> None:
    """Make subtracted coadds of a task's connections ``CellCoadd``, where they hold backgrounds."""
    for label in ("deepCoadd_calexp", "provenance"):
        if (connection := getattr(connections, label, None)) is not None:
            setattr(connections, label, replace(connection, storageClass="CellCoadd"))


def is_cell_coadd(handle: DeferredDatasetHandle | None) -> bool:
    """Whether a dataset's storage class has a component for its backgrounds."""
    return handle is not None and "backgrounds" in handle.ref.datasetType.storageClass.allComponents()


def read_restored_coadd(handle: DeferredDatasetHandle) -> tuple[CoaddImage, CoaddImage]:
    """Read a coadd (``CellCoadd``) that holds its background, and put that back.

    It returns the coadd with the background that was subtracted restored, as its
    own ``apply_background`` does it, and the coadd as it is. Neither says what
    compression did: both come from the same pixels, so that it explains no
    difference.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if it cannot be read; the message names the dataset.
    """
    name = describe(handle.ref)
    try:
        coadd = handle.get()
        after = np.array(coadd.image.array)
        coadd.apply_background(None)
        before = coadd.image.array
        box = Box(coadd.bbox.x.start, coadd.bbox.y.start, coadd.bbox.x.size, coadd.bbox.y.size)
        unit = coadd.unit
    except Exception as error:
        # The datastore, the formatter and the coadd have errors of their own.
        raise BackgroundError(f"{name} cannot be read: {error}") from error
    common: dict[str, Any] = {"bbox": box, "unit": unit, "name": name}
    return CoaddImage(before, **common), CoaddImage(after, **common)


def _read_steps(handle: DeferredDatasetHandle, name: str) -> QuantizationSteps | None:
    try:
        primary, components = handle.butler.getURIs(handle.ref)
        uri = components.get("image", primary)
        if uri is None or ".fits" not in artifact_name(uri):
            return None
        if "zip-path=" not in uri.unquoted_fragment:
            return read_quantization(uri)  # which does not read all of it
        with local_artifact(uri) as local:
            return read_quantization(local)
    except Exception as error:
        _LOG.warning("%s is taken to be compressed without loss: %s", name, error)
        return None


def compare(
    background: BackgroundModel, before: CoaddImage, after: CoaddImage, *, map_size: int = 0
) -> ClosureResult:
    """Explain the difference between a coadd and its subtracted self.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if they do not cover the same pixels.
    """
    if after.bbox != before.bbox:
        raise BackgroundError(f"{before.name} covers {before.bbox}, {after.name} {after.bbox}")
    try:
        return compare_coadds(
            before.array,
            after.array,
            background,
            bbox=before.bbox,
            before_steps=before.steps,
            after_steps=after.steps,
            map_size=map_size,
        )
    except BackgroundError as error:
        raise BackgroundError(f"{before.name} cannot be compared: {error}") from error


def read_input_visits(handle: DeferredDatasetHandle) -> Mapping[int, int] | None:
    """Read how many detectors of each visit a coadd was made from, if it says so.

    The Science Pipelines' exposures tell it in a component ``coaddInputs``,
    whose ``ccds`` have a row for each visit and detector; the coadds of
    `lsst.images` in a component ``provenance``, whose ``inputs`` have.
    """
    name = describe(handle.ref)
    components = handle.ref.datasetType.storageClass.allComponents()
    try:
        if "provenance" in components:
            visits = handle.get(component="provenance").inputs["visit"]
        elif "coaddInputs" in components:
            if (inputs := handle.get(component="coaddInputs")) is None:
                _LOG.debug("%s does not say which visits it was made from.", name)
                return None
            visits = inputs.ccds["visit"]
        else:
            _LOG.debug("%s cannot say which visits it was made from.", name)
            return None
    except Exception as error:
        _LOG.debug("The input visits of %s cannot be read: %s", name, error)
        return None
    return dict(sorted(Counter(int(visit) for visit in visits).items()))
