# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Bundles of measurements, in the form that Sasquatch's dispatcher takes.

The JSON is that of ``lsst.analysis.tools``' ``MetricMeasurementBundle``, which
holds ``lsst.verify`` measurements. Where that package is installed, its own
type is used; elsewhere `MetricBundle` reads and writes the same files.
"""

from __future__ import annotations

__all__ = ("DEFAULT_PREFIX", "Measurement", "MetricBundle", "make_bundle", "quantities_of")

import functools
import json
import math
import reprlib
import uuid
from collections import UserDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import astropy.units as u
import numpy as np

from .. import stack
from ._quantities import Quantities

DEFAULT_PREFIX = "backgroundQa_"
"""What comes before a group's name in that of its Sasquatch topic (`str`)."""

# Namespace of the measurements' identifiers.
_NAMESPACE = uuid.UUID("8a4c3a6e-3a0c-4f0b-9b0a-6f9b1d2f7c11")


# A campaign has few units, but each value of each bundle has the text of one.
@functools.lru_cache(maxsize=256)
def _unit(text: str) -> u.UnitBase:
    return u.Unit(text)


@functools.lru_cache(maxsize=256)
def _unit_name(text: str) -> str:
    return str(_unit(text))


class MetricName(str):
    """Name of a metric, as ``lsst.verify.Name`` has it."""

    __slots__ = ()

    @property
    def metric(self) -> str:
        """The name itself."""
        return str(self)


@dataclass(frozen=True)
class Measurement:
    """One value of one metric, as ``lsst.verify.Measurement`` stores it.

    Attributes
    ----------
    metric
        Name of the metric, within its group.
    identifier
        Identifier of the measurement, 32 hexadecimal digits.
    value
        The value; NaN if the file has none.
    unit
        Its unit, for `astropy.units`.
    blob_refs
        Identifiers of attached data; bgqa attaches none.
    """

    metric: str
    identifier: str
    value: float
    unit: str
    blob_refs: tuple[str, ...] = ()

    @property
    def metric_name(self) -> MetricName:
        """Name of the metric, by ``lsst.verify``'s name for it."""
        return MetricName(self.metric)

    @property
    def notes(self) -> dict[str, Any]:
        """Notes on the measurement, in which Sasquatch's dispatcher looks for
        tags (`dict`); there are none.
        """
        return {}

    @property
    def quantity(self) -> u.Quantity:
        """The value with its unit."""
        return u.Quantity(self.value, _unit(self.unit))

    @property
    def json(self) -> dict[str, Any]:
        """What JSON has of it (`dict`); a value that is not finite is null."""
        return {
            "metric": self.metric,
            "identifier": self.identifier,
            "value": self.value if math.isfinite(self.value) else None,
            "unit": self.unit,
            "blob_refs": list(self.blob_refs),
        }

    @classmethod
    def deserialize(cls, entry: Any) -> Self:
        """Take a measurement from parsed JSON.

        Parameters
        ----------
        entry
            The measurement.

        Raises
        ------
        ValueError
            Raised if ``entry`` is not a measurement.
        """
        try:
            value = entry["value"]
            return cls(
                str(entry["metric"]),
                str(entry["identifier"]),
                math.nan if value is None else float(value),
                _unit_name(entry["unit"]),
                tuple(entry.get("blob_refs") or ()),
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            # An entry may be as long as its file.
            raise ValueError(f"not a measurement: {reprlib.repr(entry)}: {error}") from error


class MetricBundle(UserDict[str, list[Measurement]]):
    """Measurements by group.

    It has the attributes and methods of ``lsst.analysis.tools``'
    ``MetricMeasurementBundle``, and those of a pydantic model by which the
    Butler's JSON formatter reads and writes.

    Parameters
    ----------
    *args
        What a `dict` takes.
    reference_package, timestamp_version, dataset_identifier
        What the Sasquatch dispatcher is to use as reference package, time of
        the measurements and dataset tag.
    metricNamePrefix
        What it is to put before a group's name to make a topic's.
    """

    _ATTRIBUTES = ("reference_package", "timestamp_version", "dataset_identifier")

    def __init__(
        self,
        *args: Any,
        reference_package: str | None = None,
        timestamp_version: str | None = None,
        dataset_identifier: str | None = None,
        metricNamePrefix: str = "",
    ) -> None:
        self.reference_package = reference_package
        self.timestamp_version = timestamp_version
        self.dataset_identifier = dataset_identifier
        self.metricNamePrefix = metricNamePrefix
        super().__init__(*args)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MetricBundle):
            return NotImplemented
        return self._as_dict() == other._as_dict()

    __hash__ = None  # type: ignore[assignment]

    def _as_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = {
            group: [measurement.json for measurement in measurements] for group, measurements in self.items()
        }
        for name in self._ATTRIBUTES:
            if (value := getattr(self, name)) is not None:
                document[f"__{name}"] = value
        document["__metricNamePrefix"] = self.metricNamePrefix
        return document

    def _repr_html_(self) -> str:
        return quantities_of(self)._repr_html_()

    def json(self) -> str:
        """Return the bundle as JSON."""
        return json.dumps(self._as_dict(), allow_nan=False)

    def model_dump_json(self) -> str:
        """Return the bundle as JSON, by pydantic's name for it."""
        return self.json()

    @classmethod
    def parse_obj(cls, data: Mapping[str, Any]) -> Self:
        """Take a bundle from parsed JSON.

        Parameters
        ----------
        data
            What `json` gave.

        Raises
        ------
        ValueError
            Raised if ``data`` is not a bundle.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"a bundle of metrics is a JSON object, not a {type(data).__name__}")
        bundle = cls(
            metricNamePrefix=data.get("__metricNamePrefix", ""),
            **{name: data.get(f"__{name}") for name in cls._ATTRIBUTES},
        )
        for group, entries in data.items():
            if group.startswith("__"):
                continue
            if not isinstance(entries, list):
                raise ValueError(f"group {group!r} of a bundle of metrics is not a list")
            bundle[group] = [Measurement.deserialize(entry) for entry in entries]
        return bundle

    @classmethod
    def model_validate(cls, data: Mapping[str, Any]) -> Self:
        """Take a bundle from parsed JSON, by pydantic's name for it.

        Parameters
        ----------
        data
            What `json` gave.
        """
        return cls.parse_obj(data)

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """Read a bundle.

        Parameters
        ----------
        text
            JSON.

        Raises
        ------
        ValueError
            Raised if it is not JSON, or not a bundle.
        """
        try:
            return cls.parse_obj(json.loads(text))
        except RecursionError:
            raise ValueError("a bundle of metrics is not nested so deep") from None


def make_bundle(
    quantities: Mapping[str, u.Quantity],
    *,
    identity: str = "",
    prefix: str = DEFAULT_PREFIX,
    reference_package: str | None = None,
    timestamp_version: str | None = None,
    dataset_identifier: str | None = None,
) -> Any:
    """Make a bundle of metrics.

    Parameters
    ----------
    quantities
        Values by full name; those that are not finite are left out, because
        a dispatch would fail on them.
    identity
        What was measured, such as a dataset type and data ID.
    prefix
        What comes before a group's name in the name of a Sasquatch topic.
    reference_package, timestamp_version, dataset_identifier
        See `MetricBundle`.

    Returns
    -------
    bundle
        The bundle; of the first type where that can be imported.

    Raises
    ------
    ValueError
        Raised if a full name is not of the form ``group_name``.

    Notes
    -----
    Identifiers are digests of the measurement and of ``identity``. Like
    ``lsst.verify``'s random ones they are unique among datasets, but running
    again gives the same file.
    """
    bundle = MetricBundle(
        metricNamePrefix=prefix,
        reference_package=reference_package,
        timestamp_version=timestamp_version,
        dataset_identifier=dataset_identifier,
    )
    for full_name, quantity in quantities.items():
        group, separator, name = full_name.partition("_")
        if not (group and separator and name):
            raise ValueError(f"the full name of a metric is group_name, not {full_name!r}")
        value, unit = float(quantity.value), str(quantity.unit)
        if not np.isfinite(value):
            continue
        content = json.dumps([identity, prefix, full_name, value, unit])
        identifier = uuid.uuid5(_NAMESPACE, content).hex
        bundle.setdefault(group, []).append(Measurement(name, identifier, value, unit))
    real = stack.metric_bundle_type()
    return bundle if real is None else real.parse_obj(bundle._as_dict())


def quantities_of(bundle: Mapping[str, Any]) -> Quantities:
    """Return what a bundle holds.

    Parameters
    ----------
    bundle
        The bundle.

    Returns
    -------
    quantities
        Values by full name, in the bundle's order.
    """
    return Quantities(
        (f"{group}_{measurement.metric_name}", measurement.quantity)
        for group, measurements in bundle.items()
        for measurement in measurements
    )
