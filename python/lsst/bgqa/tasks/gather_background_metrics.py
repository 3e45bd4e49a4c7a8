# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = (
    "GatherBackgroundMetricsConfig",
    "GatherBackgroundMetricsConnections",
    "GatherBackgroundMetricsTask",
    "GatherCoaddMetricsConfig",
    "GatherCoaddMetricsConnections",
    "GatherCoaddMetricsTask",
    "GatherTractTablesConfig",
    "GatherTractTablesConnections",
    "GatherTractTablesTask",
    "GatherVisitTablesConfig",
    "GatherVisitTablesConnections",
    "GatherVisitTablesTask",
)

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import astropy.units as u
import numpy as np

import lsst.pipe.base.connectionTypes as cT
from lsst.pex.config import DictField, Field
from lsst.pipe.base import (
    InputQuantizedConnection,
    NoWorkFound,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..background import BackgroundError
from ..judge import History, Thresholds, judge_rows, level_deviations, soften_by_peers
from ..metrics import load_catalogue, quantities_of
from ..statistics.focal_plane import tangent_plane
from ._campaign import BACKGROUND_GROUPS, TABLE_GROUPS, metric_names, region_vertices
from ._gather import CampaignBatch, CampaignWriter, Spool, Summary, WorstList
from ._inputs import describe, is_unit, night_of
from ._tables import read_tables

_DEVIATION = "context_levelDeviation"
_CHANGES = ("context_levelChange", "context_levelChangeSigma")
_MIN_LEVELS = 4


def _outputs(dimension: str) -> tuple[cT.Output, cT.Output, cT.Output]:
    """Return what every gather task writes: table, summary and worst."""
    return (
        cT.Output(
            doc="Metrics of all backgrounds, with their data IDs and whether they pass.",
            name="{campaignName}_table",
            storageClass="ArrowTable",
            dimensions=(dimension,),
        ),
        cT.Output(
            doc="How many pass and fail.",
            name="{campaignName}_summary",
            storageClass="ArrowAstropy",
            dimensions=(dimension,),
        ),
        cT.Output(
            doc="The worst values that fail.",
            name="{campaignName}_worst",
            storageClass="ArrowAstropy",
            dimensions=(dimension,),
        ),
    )


class GatherBackgroundMetricsConnections(
    PipelineTaskConnections,
    dimensions=("instrument",),
    defaultTemplates={
        "backgroundName": "calexpBackground",
        "campaignName": "calexpBackground_campaign",
    },
):
    """What `GatherBackgroundMetricsTask` reads and writes."""

    metrics = cT.Input(
        doc="Metrics of the background of each detector's image.",
        name="{backgroundName}_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
    )
    table, summary, worst = _outputs("instrument")


class GatherVisitTablesConnections(
    PipelineTaskConnections,
    dimensions=("instrument",),
    defaultTemplates={
        "backgroundName": "calexpBackground",
        "campaignName": "calexpBackground_visit_campaign",
    },
):
    """What `GatherVisitTablesTask` reads and writes."""

    metrics = cT.Input(
        doc="Tables of metrics, a row a detector.",
        name="{backgroundName}_visit_table",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit"),
        multiple=True,
        deferLoad=True,
    )
    table, summary, worst = _outputs("instrument")


class GatherCoaddMetricsConnections(
    PipelineTaskConnections,
    dimensions=("skymap",),
    defaultTemplates={
        "backgroundName": "deepCoadd_calexp_background",
        "campaignName": "deepCoadd_calexp_background_campaign",
    },
):
    """What `GatherCoaddMetricsTask` reads and writes."""

    metrics = cT.Input(
        doc="Metrics of the background of each patch's coadd.",
        name="{backgroundName}_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=("tract", "patch", "band"),
        multiple=True,
        deferLoad=True,
    )
    table, summary, worst = _outputs("skymap")


class GatherTractTablesConnections(
    PipelineTaskConnections,
    dimensions=("skymap",),
    defaultTemplates={
        "backgroundName": "deepCoadd_calexp_background",
        "campaignName": "deepCoadd_calexp_background_tract_campaign",
    },
):
    """What `GatherTractTablesTask` reads and writes."""

    metrics = cT.Input(
        doc="Tables of metrics, a row a patch.",
        name="{backgroundName}_tract_table",
        storageClass="ArrowAstropy",
        dimensions=("tract", "band"),
        multiple=True,
        deferLoad=True,
    )
    table, summary, worst = _outputs("skymap")


def _are_metrics(values: Mapping[str, float]) -> bool:
    return all(name in load_catalogue() for name in values)


class GatherBackgroundMetricsConfig(
    PipelineTaskConfig, pipelineConnections=GatherBackgroundMetricsConnections
):
    """Configuration of `GatherBackgroundMetricsTask`."""

    unit = Field[str](
        "Unit of the backgrounds that were measured, for astropy.units; the table's values are in it.",
        default="adu",
        check=is_unit,
    )
    low = DictField[str, float](
        "Least values that pass, by full name of the metric, in place of the catalogue's; None for none.",
        default={},
        dictCheck=_are_metrics,
    )
    high = DictField[str, float](
        "Greatest values that pass, by full name of the metric, in place of the catalogue's; None for none.",
        default={},
        dictCheck=_are_metrics,
    )
    max_z = DictField[str, float](
        "Greatest distance that passes from the median of the peers, by full name of the metric (robust "
        "standard deviations of theirs). Peers are of one visit (tract and band) and one kind. A level is "
        "judged so where its place on the sky is not known.",
        default={"level_median": 8.0},
        dictCheck=_are_metrics,
    )
    level_floor = Field[float](
        "Least scatter of the detectors' levels, as a fraction of the sky.",
        default=5e-3,
        check=lambda value: value > 0,
    )
    history_floor = Field[float](
        "Least scatter of a detector's level about what is usual for it, as a fraction of the sky.",
        default=2e-3,
        check=lambda value: value > 0,
    )
    min_peers = Field[int](
        "How many peers are needed to judge by them.", default=5, check=lambda value: value >= 3
    )
    kinds = DictField[str, str](
        "Kind of a detector, by the beginning of its full name, such as that of its raft; the longest that "
        "fits counts. Detectors are compared with those of their own kind. By default all are of one kind.",
        default={},
    )
    worst_count = Field[int](
        "How many values the list of the worst has.", default=100, check=lambda value: value >= 1
    )

    def thresholds(self) -> Thresholds:
        """Return what values of metrics pass.

        Returns
        -------
        thresholds : `~lsst.bgqa.judge.Thresholds`
            The thresholds.
        """
        return Thresholds(dict(self.low), dict(self.high), dict(self.max_z), self.min_peers)


class GatherBackgroundMetricsTask(PipelineTask):
    """Make one table of the metrics of a campaign's detectors."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = GatherBackgroundMetricsConfig
    _DefaultName: ClassVar[str] = "gatherBackgroundQa"
    # Columns that name a row, those of the data ID whose rows are peers, and
    # those that the summary is by.
    _keys: ClassVar[dict[str, type]] = {
        "instrument": str,
        "band": str,
        "physical_filter": str,
        "day_obs": int,
        "visit": int,
        "detector": int,
        "detector_name": str,
    }
    _batch_keys: ClassVar[tuple[str, ...]] = ("visit",)
    _row_key: ClassVar[str] = "detector"
    _summary_keys: ClassVar[tuple[str, ...]] = ("band", "day_obs")
    _batch_count: ClassVar[str] = "visitCount"
    _names: ClassVar[tuple[str, ...]] = tuple(metric_names((*TABLE_GROUPS, "comparison")))
    # What makes a place whose history is compared; none for patches.
    _place_keys: ClassVar[tuple[str, ...]] = ("physical_filter", "detector")
    # The metric whose median the summary has.
    _level: ClassVar[str] = "level_median"

    config: GatherBackgroundMetricsConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read metrics batch by batch, and gather them.

        Parameters
        ----------
        butlerQC : `lsst.pipe.base.QuantumContext`
            The Butler, limited to this quantum.
        inputRefs : `lsst.pipe.base.InputQuantizedConnection`
            Datasets to read.
        outputRefs : `lsst.pipe.base.OutputQuantizedConnection`
            Datasets to write.

        Raises
        ------
        lsst.bgqa.BackgroundError
            Raised if none of the datasets can be read.
        lsst.pipe.base.NoWorkFound
            Raised if they have no row.
        """
        handles = butlerQC.get(inputRefs.metrics)
        unreadable: dict[str, Exception] = {}
        identity = describe(outputRefs.table)
        try:
            outputs = self.run(self._read(handles, unreadable), identity=identity)
        except NoWorkFound:
            if not unreadable:
                raise
            name, error = next(iter(unreadable.items()))
            raise BackgroundError(
                f"{identity}: none of {len(handles)} datasets can be read; the first: {name}: {error}"
            ) from error
        self.metadata["unreadable"] = list(unreadable)
        butlerQC.put(outputs, outputRefs)

    def run(self, batches: Iterable[CampaignBatch], *, identity: str = "campaign") -> Struct:
        """Gather metrics, and judge them.

        Parameters
        ----------
        batches : `~collections.abc.Iterable` [`CampaignBatch`]
            The rows of one visit (tract and band) after the other. A batch
            is not kept.
        identity : `str`, optional
            What is made, for messages.

        Returns
        -------
        outputs : `lsst.pipe.base.Struct`
            Result struct with the attributes:

            ``table``
                All rows (`pyarrow.Table`).
            ``summary``
                How many pass and fail (`astropy.table.Table`).
            ``worst``
                The worst values (`astropy.table.Table`).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Raised if there is no batch.
        """
        unit = u.Unit(self.config.unit)
        thresholds = self.config.thresholds()
        catalogue = load_catalogue()
        writer = CampaignWriter(self._keys, self._names, unit)
        summary = Summary(self._summary_keys, self._batch_count)
        worst = WorstList(self.config.worst_count, self._keys, lambda name: catalogue[name].unit_for(unit))
        level = self._names.index(self._level)
        rows = 0
        spool, history = Spool(), History()
        try:
            for batch in batches:
                spool.add(batch)
                if self._place_keys:
                    history.add(self._places(batch), batch.values[:, self._names.index(_DEVIATION)])
            for batch in spool:
                if self._place_keys:
                    deviations = batch.values[:, self._names.index(_DEVIATION)]
                    found = history.changes(self._places(batch), deviations, self.config.history_floor)
                    for name, column in zip(_CHANGES, found, strict=True):
                        batch.values[:, self._names.index(name)] = column
                judgement = judge_rows(self._names, batch.values, batch.kinds, thresholds)
                writer.add(batch, judgement)
                summary.add(batch, judgement, batch.values[:, level])
                worst.add(batch, judgement)
                rows += len(batch.values)
        except BaseException:
            writer.abandon()
            raise
        finally:
            spool.close()
        if not rows:
            writer.abandon()
            raise NoWorkFound(f"{identity}: there are no metrics to gather.")
        self.log.info("%s: gathered %d rows.", identity, rows)
        return Struct(table=writer.finish(), summary=summary.finish(unit), worst=worst.finish())

    def _read(self, handles: Sequence[Any], unreadable: dict[str, Exception]) -> Iterator[CampaignBatch]:
        """Read the metrics, the rows of each batch in order.

        What cannot be read goes into ``unreadable``, by its name.
        """

        def batch_key(handle: Any) -> tuple[Any, ...]:
            return tuple(handle.dataId[name] for name in self._batch_keys)

        ordered = sorted(handles, key=lambda handle: (batch_key(handle), handle.dataId[self._row_key]))
        units = self._units()
        for _, group in itertools.groupby(ordered, key=batch_key):
            rows, values, kept = [], [], []
            for handle in group:
                try:
                    quantities = quantities_of(handle.get())
                    values.append(_in_units(quantities, units))
                except Exception as error:
                    # The datastore and the formatter have errors of their own.
                    self.log.warning("%s is left out: %s", describe(handle.ref), error)
                    unreadable[describe(handle.ref)] = error
                    continue
                keys = {name: self._key_value(handle, name) for name in self._keys}
                rows.append({**keys, "dataset_id": str(handle.ref.id)})
                kept.append(handle)
            if rows:
                batch = self._batch({name: [row[name] for row in rows] for name in rows[0]}, values)
                self._add_context(batch.values, kept)
                yield batch

    def _places(self, batch: CampaignBatch) -> list[tuple[Any, ...]]:
        return list(zip(*(batch.keys[name] for name in self._place_keys), strict=True))

    def _add_context(self, values: np.ndarray, handles: Sequence[Any]) -> None:
        """Compare detectors that were measured each by itself."""
        if not self._place_keys:
            return
        soften_by_peers(self._names, values)
        vertices = [region_vertices(getattr(handle.dataId, "region", None)) for handle in handles]
        levels = values[:, self._names.index(self._level)]
        known = [i for i, corners in enumerate(vertices) if corners is not None and levels[i] > 0]
        if len(known) < _MIN_LEVELS:
            return
        middles = np.array([corners.sum(axis=0) for corners in vertices if corners is not None])
        middles = middles[[levels[i] > 0 for i, corners in enumerate(vertices) if corners is not None]]
        center = middles.sum(axis=0) / np.linalg.norm(middles.sum(axis=0))
        positions = tangent_plane(middles / np.linalg.norm(middles, axis=1)[:, None], center)
        positions = positions / (float(np.hypot(*positions.T).max()) or 1.0)
        found = level_deviations(levels[known], positions, self.config.level_floor)
        for name, column in zip((_DEVIATION, "context_levelSigma"), found, strict=True):
            values[known, self._names.index(name)] = column

    def _batch(self, keys: Mapping[str, Sequence[Any]], values: Any) -> CampaignBatch:
        names = keys.get("detector_name")
        kinds = [""] * len(values) if names is None else [self._kind(name) for name in names]
        return CampaignBatch(keys, np.asarray(values, dtype=np.float64), kinds)

    def _key_value(self, handle: Any, name: str) -> Any:
        match name:
            case "day_obs":
                return night_of(handle.dataId)
            case "detector_name":
                return handle.dataId.records["detector"].full_name
            case "run":
                return handle.ref.run
            case _:
                return handle.dataId[name]

    def _kind(self, name: str) -> str:
        fitting = [prefix for prefix in self.config.kinds if name.startswith(prefix)]
        return self.config.kinds[max(fitting, key=len)] if fitting else ""

    def _units(self) -> dict[str, u.UnitBase]:
        """Return the units of the table's metrics, in their order."""
        unit = u.Unit(self.config.unit)
        catalogue = load_catalogue()
        return {name: catalogue[name].unit_for(unit) for name in self._names}


class _TableReader:
    """Reads tables of metrics, each a batch."""

    _table_keys: ClassVar[tuple[str, ...]]

    def _read(self: Any, handles: Sequence[Any], unreadable: dict[str, Exception]) -> Iterator[CampaignBatch]:
        ordered = sorted(handles, key=lambda h: tuple(h.dataId[name] for name in self._batch_keys))
        for handle, read in read_tables(ordered):
            try:
                if isinstance(read, Exception):
                    raise read
                table, units = read
                names = [name for name in self._names if name in table.columns]
                columns = [self._names.index(name) for name in names]
                values = np.full((len(table), len(self._names)), np.nan)
                values[:, columns] = table.select(names).to_numpy() * _factors(names, units, self._units())
                keys: dict[str, Any] = {
                    name: table[name].to_list()
                    if name in self._table_keys
                    # One value for all rows.
                    else [self._key_value(handle, name)] * len(table)
                    for name in self._keys
                }
                keys["dataset_id"] = [str(handle.ref.id)] * len(table)
            except Exception as error:
                # The datastore and the formatter have errors of their own.
                self.log.warning("%s is left out: %s", describe(handle.ref), error)
                unreadable[describe(handle.ref)] = error
                continue
            if len(values):
                batch = self._batch(keys, values)
                if {"failed", "fault"} <= set(table.columns):
                    batch = replace(batch, known=table.select("failed", "fault").rows())
                yield batch


def _in_units(quantities: Mapping[str, u.Quantity], units: Mapping[str, u.UnitBase]) -> list[float]:
    return [
        float(quantities[name].to_value(unit)) if name in quantities else np.nan
        for name, unit in units.items()
    ]


def _factors(names: Sequence[str], units: Mapping[str, str], wanted: Mapping[str, u.UnitBase]) -> np.ndarray:
    """Return what to multiply columns by."""
    return np.array([_factor(units.get(name, ""), wanted[name].to_string()) for name in names])


@functools.cache
def _factor(unit: str, wanted: str) -> float:
    return 1.0 if unit == wanted else u.Unit(unit).to(u.Unit(wanted))


class GatherVisitTablesConfig(
    GatherBackgroundMetricsConfig, pipelineConnections=GatherVisitTablesConnections
):
    """Configuration of `GatherVisitTablesTask`."""


class GatherVisitTablesTask(_TableReader, GatherBackgroundMetricsTask):
    """Make one table of the tables of a campaign's visits."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = GatherVisitTablesConfig
    _DefaultName: ClassVar[str] = "gatherVisitBackgroundQa"
    _table_keys = ("detector", "detector_name")
    _names = tuple(metric_names())

    config: GatherVisitTablesConfig


class GatherCoaddMetricsConfig(
    GatherBackgroundMetricsConfig, pipelineConnections=GatherCoaddMetricsConnections
):
    """Configuration of `GatherCoaddMetricsTask`."""

    def setDefaults(self) -> None:
        """Compare patches with their peers: a coadd's level is about zero."""
        super().setDefaults()
        self.max_z = {
            "level_median": 8.0,
            "shape_residualRms": 12.0,
            "edges_edgeExcess": 12.0,
            "blocks_stepX": 12.0,
            "blocks_stepY": 12.0,
        }
        # Patches at the edge of a survey have bins without a value.
        self.high = {"significance_holeFraction": None}  # type: ignore[dict-item]


class GatherCoaddMetricsTask(GatherBackgroundMetricsTask):
    """Make one table of the metrics of a campaign's patches."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = GatherCoaddMetricsConfig
    _DefaultName: ClassVar[str] = "gatherCoaddBackgroundQa"
    _keys = {"skymap": str, "tract": int, "patch": int, "band": str}
    _batch_keys = ("tract", "band")
    _row_key = "patch"
    _summary_keys = ("band", "tract")
    _batch_count = "tractCount"
    _place_keys = ()
    _names = tuple(metric_names((*BACKGROUND_GROUPS, "closure", "comparison"), ()))

    config: GatherCoaddMetricsConfig


class GatherTractTablesConfig(GatherCoaddMetricsConfig, pipelineConnections=GatherTractTablesConnections):
    """Configuration of `GatherTractTablesTask`."""


class GatherTractTablesTask(_TableReader, GatherCoaddMetricsTask):
    """Make one table of the tables of a campaign's tracts."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = GatherTractTablesConfig
    _DefaultName: ClassVar[str] = "gatherTractBackgroundQa"
    _table_keys = ("patch",)
    _names = tuple(metric_names())

    config: GatherTractTablesConfig
