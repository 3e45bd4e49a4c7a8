# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = (
    "Catalogue",
    "CatalogueError",
    "MetricDefinition",
    "MetricGroup",
    "Verdict",
    "judge",
    "load_catalogue",
)

import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal, Self

import astropy.units as u
import yaml

from lsst.resources import ResourcePath, ResourcePathExpression

Verdict = Literal["pass", "fail", "unknown"]

_BUILT_IN = "resource://lsst.bgqa.metrics/catalogue.yaml"
_PLACEHOLDER = "{unit}"
# Names become Sasquatch topics and fields; a group has no "_", so that the
# first one in a full name ends the group.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")


class CatalogueError(ValueError):
    """A metric catalogue is not valid, or has no such metric.

    The message is one line that names the catalogue, the entry and the fault.
    """


@cache
def _parsed(unit: str) -> u.UnitBase:
    """Parse a unit: the catalogue has few, and every quantum wants them."""
    return u.Unit(unit)


@dataclass(frozen=True)
class MetricDefinition:
    """What one metric is.

    Attributes
    ----------
    group
        Group that it belongs to.
    name
        Name within the group.
    unit
        Unit, in which ``{unit}`` stands for that of the background.
    description
        Meaning, in a sentence or two.
    low, high
        Least and greatest value that pass; `None` leaves a side open.
    """

    group: str
    name: str
    unit: str
    description: str
    low: float | None = None
    high: float | None = None

    @property
    def full_name(self) -> str:
        """Group and name, as tables call the metric."""
        return f"{self.group}_{self.name}"

    def unit_for(self, background_unit: u.UnitBase) -> u.UnitBase:
        """Return the metric's unit for a background in some unit.

        Parameters
        ----------
        background_unit
            Unit of the background.

        Returns
        -------
        unit
            Unit of the metric.
        """
        if not self.unit.startswith(_PLACEHOLDER):
            return _parsed(self.unit)
        rest = self.unit.removeprefix(_PLACEHOLDER).strip()
        return background_unit * _parsed(f"1 {rest}") if rest else background_unit

    def judge(self, value: float | u.Quantity | None) -> Verdict:
        """Compare a value with the thresholds.

        Parameters
        ----------
        value
            The value, in the metric's unit.

        Returns
        -------
        verdict
            ``"pass"`` within the thresholds (they pass), ``"fail"`` outside;
            ``"unknown"`` if there are none, or no value.
        """
        if isinstance(value, u.Quantity):
            value = value.value
        if value is None or math.isnan(value) or (self.low is None and self.high is None):
            return "unknown"
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            return "fail"
        return "pass"


@dataclass(frozen=True)
class MetricGroup:
    """Metrics that belong together.

    Attributes
    ----------
    name
        Name of the group.
    description
        What its metrics are about.
    metrics
        The metrics, in order.
    """

    name: str
    description: str
    metrics: tuple[MetricDefinition, ...]


@dataclass(frozen=True)
class Catalogue(Mapping[str, MetricDefinition]):
    """The metrics that there are, by full name, in order.

    Attributes
    ----------
    groups
        The groups, in order.
    """

    groups: tuple[MetricGroup, ...]

    @cached_property
    def _metrics(self) -> dict[str, MetricDefinition]:
        return {metric.full_name: metric for group in self.groups for metric in group.metrics}

    def __getitem__(self, full_name: str) -> MetricDefinition:
        return self._metrics[full_name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    def __hash__(self) -> int:
        return hash(self.groups)

    @classmethod
    def from_yaml(cls, text: str | bytes, name: str) -> Self:
        """Read a catalogue.

        Parameters
        ----------
        text
            The catalogue in YAML.
        name
            What messages call it.

        Raises
        ------
        CatalogueError
            Raised if it is not valid.
        """
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise CatalogueError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
        try:
            entries = _take(document, "the document", groups=list)["groups"]
            groups = tuple(_group(entry, number) for number, entry in enumerate(entries, start=1))
            _refuse_duplicates([group.name for group in groups], "group")
        except CatalogueError as error:
            raise CatalogueError(f"{name}: {error}") from None
        return cls(groups)

    def rows(self) -> list[dict[str, str]]:
        """Return the catalogue as text, a row a metric.

        Returns
        -------
        rows
            Rows of ``metric`` (full name), ``unit``, ``low``, ``high`` and
            ``description``. An open threshold is empty; the background's own
            unit reads ``background``.
        """
        return [
            {
                "metric": metric.full_name,
                "unit": metric.unit.replace(_PLACEHOLDER, "background"),
                "low": _number(metric.low),
                "high": _number(metric.high),
                "description": metric.description,
            }
            for metric in self.values()
        ]

    def to_markdown(self) -> str:
        """Return the catalogue as a Markdown page.

        Returns
        -------
        text
            The page: a heading, a sentence and a table for each group.
        """
        rows = {row["metric"]: row for row in self.rows()}
        lines = [
            "# Metrics",
            "",
            "*For all who read metrics.*",
            "",
            "A metric's full name is `group_name`; the keys of a bundle are the groups. The unit",
            "*background* is that of the background's pixels. A value below *low* or above *high*",
            "fails. A metric without limits never fails by itself; [judging](judging.md) explains how",
            "backgrounds are compared with each other. Undefined values are left out.",
            "`bgqa metrics --format markdown` prints this page.",
            "",
        ]
        for group in self.groups:
            lines += [f"## {group.name}", "", group.description, ""]
            lines += ["| metric | unit | low | high | meaning |", "| --- | --- | --- | --- | --- |"]
            for metric in group.metrics:
                row = rows[metric.full_name]
                cells = [f"`{row['metric']}`", row["unit"], row["low"], row["high"], row["description"]]
                lines.append(f"| {' | '.join(cell.replace('|', r'\|') for cell in cells)} |")
            lines.append("")
        return "\n".join(lines).rstrip() + "\n"


def load_catalogue(uri: ResourcePathExpression | None = None) -> Catalogue:
    """Read a catalogue of metrics; each is read once.

    Parameters
    ----------
    uri
        The catalogue, by default the package's own.

    Raises
    ------
    CatalogueError
        Raised if it cannot be read or is not valid.
    """
    return _load_built_in() if uri is None else _load(ResourcePath(uri))


@functools.cache
def _load_built_in() -> Catalogue:
    # To make a URI takes longer than all that is done with the catalogue.
    return _load(ResourcePath(_BUILT_IN))


@functools.cache
def _load(path: ResourcePath) -> Catalogue:
    try:
        text = path.read()
    except Exception as error:
        # Each kind of store has errors of its own.
        raise CatalogueError(f"{path}: cannot be read: {error}") from error
    return Catalogue.from_yaml(text, str(path))


def judge(full_name: str, value: float | u.Quantity | None) -> Verdict:
    """Compare a value with the thresholds of the package's catalogue.

    Parameters
    ----------
    full_name
        Full name of the metric.
    value
        The value, in the metric's unit.

    Returns
    -------
    verdict
        ``"pass"``, ``"fail"``, or ``"unknown"`` if there is no such metric,
        it has no thresholds, or there is no value.
    """
    metric = load_catalogue().get(full_name)
    return metric.judge(value) if metric is not None else "unknown"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _take(entry: Any, what: str, **types: Any) -> dict[str, Any]:
    """Return an entry's values, all of which must be there, and no other."""
    if not isinstance(entry, dict):
        raise CatalogueError(f"{what} is not a mapping")
    if missing := [key for key in types if key not in entry]:
        raise CatalogueError(f"{what} lacks {', '.join(missing)}")
    if unknown := [str(key) for key in entry if key not in types]:
        raise CatalogueError(f"{what} has unknown {', '.join(unknown)}")
    for key, expected in types.items():
        value = entry[key]
        # YAML's true and false are numbers to Python.
        if not isinstance(value, expected) or isinstance(value, bool):
            raise CatalogueError(f"{what}: {key} cannot be {value!r}")
    return entry


def _refuse_duplicates(names: list[str], what: str) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CatalogueError(f"{what} {', '.join(twice)} is defined twice")


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise CatalogueError(f"{what}: a name has only letters and digits, not {name!r}")


def _group(entry: Any, number: int) -> MetricGroup:
    values = _take(entry, f"group {number}", group=str, description=str, metrics=list)
    name = values["group"]
    _check_name(name, f"group {number}")
    metrics = tuple(
        _metric(metric, name, f"{name}, metric {index}")
        for index, metric in enumerate(values["metrics"], start=1)
    )
    _refuse_duplicates([metric.name for metric in metrics], f"{name}: metric")
    return MetricGroup(name, values["description"], metrics)


def _metric(entry: Any, group: str, what: str) -> MetricDefinition:
    bound = (int, float, type(None))
    values = _take(entry, what, name=str, unit=str, description=str, low=bound, high=bound)
    _check_name(values["name"], what)
    metric = MetricDefinition(group, **values)
    try:
        metric.unit_for(u.adu)
    except ValueError:
        raise CatalogueError(f"{metric.full_name}: {metric.unit!r} is not a unit") from None
    if metric.low is not None and metric.high is not None and metric.low > metric.high:
        raise CatalogueError(f"{metric.full_name}: low {metric.low:g} is above high {metric.high:g}")
    return metric
