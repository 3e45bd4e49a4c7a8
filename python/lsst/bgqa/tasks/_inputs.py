# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""From a Butler's datasets to what the tasks' ``run`` methods take."""

from __future__ import annotations

__all__ = (
    "BackgroundInputConfig",
    "Backgrounds",
    "data_id_title",
    "describe",
    "follow_component",
    "is_unit",
    "night_of",
    "put_metrics_first",
    "read_background",
    "read_backgrounds",
)

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import astropy.units as u

from lsst.daf.butler import DataCoordinate, DatasetRef, DeferredDatasetHandle
from lsst.pex.config import Config, Field
from lsst.pipe.base import (
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..background import BackgroundError, BackgroundModel

_LOG = logging.getLogger(__name__)

# What the Science Pipelines call the model that was subtracted from a visit's
# image.
_SUBTRACTED = "subtracted"


def describe(ref: DatasetRef) -> str:
    """Name a dataset, by type and required data ID: the same in every run."""
    data_id = ", ".join(f"{key}: {value!r}" for key, value in ref.dataId.required.items())
    return f"{ref.datasetType.name} {{{data_id}}}"


def data_id_title(ref: DatasetRef) -> str:
    """Title a figure: ``"tract 1, patch 3, band i"``, then a line with the run.

    Of a visit, that line has the filter and the night, too.
    """
    data_id = ref.dataId
    facts = []
    if "visit" in data_id.dimensions and data_id.hasFull():
        facts.append(f"filter {data_id['physical_filter']}")
        if data_id.hasRecords() and (night := night_of(data_id)):
            facts.append(f"night {night}")
    if ref.run:
        facts.append(ref.run)
    title = ", ".join(f"{key} {value}" for key, value in data_id.required.items())
    return f"{title}\n{', '.join(facts)}".rstrip()


def put_metrics_first(butlerQC: QuantumContext, outputs: Struct, refs: OutputQuantizedConnection) -> None:
    """Write a quantum's outputs, metrics before images.

    What cannot be written then, such as an image whose header cannot hold the name
    of the RUN, takes no metrics with it.
    """
    butlerQC.put(outputs.metrics, refs.metrics)
    for name, ref in refs:
        if name != "metrics":
            butlerQC.put(getattr(outputs, name), ref)


def night_of(data_id: DataCoordinate) -> int:
    """Return the night of a visit, YYYYMMDD; 0 if its record does not say it.

    Before version 6 of the dimension universe, as in DP0.2, the night is a field of
    the visit's record and no dimension.
    """
    if "day_obs" in data_id.dimensions:
        return int(data_id["day_obs"])
    record = data_id.records["visit"]
    return int(getattr(record, "day_obs", None) or 0)


def is_unit(text: str) -> bool:
    """Whether a text is a unit, for the check of a configuration field."""
    try:
        u.Unit(text)
    except ValueError:
        return False
    return True


class BackgroundInputConfig(Config):
    """What datasets do not say of their backgrounds; part of the
    configurations of tasks that read them.
    """

    unit = Field[str](
        "Unit of the background's pixels, for astropy.units, if the dataset does not say it; afw's "
        "background files do not.",
        default="adu",
        check=is_unit,
    )
    background_model = Field[str](
        "Name of the background to read, if an image has several; by default the one that was subtracted.",
        default=None,
        optional=True,
    )


def follow_component(connections: PipelineTaskConnections, label: str = "background") -> bool:
    """Adapt a task's connections to a background that is a component of an image.

    A background named like ``visit_image.backgrounds`` has the storage class
    ``BackgroundMap``, and an underscore takes the place of the dot in the names of
    the outputs.
    """
    background = getattr(connections, label)
    if "." not in background.name:
        return False
    setattr(connections, label, replace(background, storageClass="BackgroundMap"))
    for output in connections.outputs:
        connection = getattr(connections, output)
        setattr(connections, output, replace(connection, name=connection.name.replace(".", "_")))
    return True


@dataclass(frozen=True)
class Backgrounds:
    """What there is of an image's backgrounds.

    Attributes
    ----------
    name
        Its name; empty if the image has but one.
    is_subtracted
        Whether it is the one that was subtracted.
    differences
        Each other named model less that one.
    """

    judged: BackgroundModel
    name: str = ""
    is_subtracted: bool = True
    differences: Mapping[str, BackgroundModel] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What to call the one to be judged in a figure (`str`)."""
        says_so = self.name == _SUBTRACTED
        return f"{self.name}, which was subtracted" if self.is_subtracted and not says_so else self.name


def read_background(
    handle: DeferredDatasetHandle, unit: str | u.UnitBase, model: str | None = None
) -> BackgroundModel:
    """Read a background dataset, of whichever type the Butler gives.

    The unit counts if the dataset does not say it. Of several models it is the one
    named, by default the one that was subtracted.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if it cannot be read; the message names the dataset.
    lsst.pipe.base.NoWorkFound
        Raised if it has no layer, or none was subtracted.
    """
    return read_backgrounds(handle, unit, model, differences=False).judged


def read_backgrounds(
    handle: DeferredDatasetHandle,
    unit: str | u.UnitBase,
    model: str | None = None,
    *,
    differences: bool = True,
) -> Backgrounds:
    """Read a background dataset with all its named models, and how the others differ.

    Unit and model are those of `read_background`; a ``Background`` has one model.

    Raises
    ------
    lsst.bgqa.BackgroundError
        Raised if it cannot be read; the message names the dataset.
    lsst.pipe.base.NoWorkFound
        Raised if it has no layer, no such model, or none was subtracted.
    """
    name = describe(handle.ref)
    unit = u.Unit(unit)
    try:
        background = handle.get()
        if isinstance(background, BackgroundModel):
            return Backgrounds(background.with_unit(unit))
        if isinstance(background, Mapping):
            subtracted = background.subtracted  # type: ignore[attr-defined]
            wanted = model if model is not None else subtracted and subtracted.name
            if wanted in background:
                if model is None and wanted != _SUBTRACTED and _SUBTRACTED in background:
                    _LOG.warning(
                        "%s marks %r as what was subtracted, beside one that is called %r; configure "
                        "background_model to choose.",
                        name,
                        wanted,
                        _SUBTRACTED,
                    )
                return Backgrounds(
                    BackgroundModel.from_images(background, wanted, unit),
                    wanted,
                    subtracted is not None and wanted == subtracted.name,
                    BackgroundModel.differences_from_images(background, wanted, unit) if differences else {},
                )
        elif len(background):
            return Backgrounds(BackgroundModel.from_afw(background, unit))
    except Exception as error:
        # The datastore, the formatter and the adapter have errors of their own.
        raise BackgroundError(f"{name} cannot be read: {error}") from error
    if isinstance(background, Mapping):
        names = ", ".join(background) or "none"
        missing = "no background that was subtracted" if model is None else f"no background {model!r}"
        raise NoWorkFound(f"{name} has {missing} (it has: {names}).")
    raise NoWorkFound(f"{name} has no layer.")
