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
from typing import TYPE_CHECKING, Any, ClassVar

import astropy.units as u
import numpy as np

import lsst.pipe.base.connectionTypes as cT
from lsst.daf.butler import DeferredDatasetHandle
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
from ..judge import History, Thresholds, add_history, compare_detectors, compare_history, judge_rows
from ..metrics import load_catalogue, quantities_of
from ..statistics.focal_plane import tangent_plane
from ._campaign import (
    PATCH_HIGH,
    PATCH_LOW,
    TABLE_GROUPS,
    kind_of_detector,
    metric_names,
    region_vertices,
)
from ._gather import CampaignBatch, CampaignWriter, Spool, Summary, WorstList
from ._inputs import describe, is_unit, night_of
from ._tables import read_tables

if TYPE_CHECKING:
    import polars as pl

# What is known of a background among others.
_JUDGED = ("significance", "context")


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
    tables = cT.Input(
        doc="Tables that compare a detector with the others of its visit, if they exist.",
        name="{backgroundName}_visit_table",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit"),
        multiple=True,
        minimum=0,
        deferLoad=True,
        deferGraphConstraint=True,
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
        doc="Tables of metrics, one row per detector.",
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
    tables = cT.Input(
        doc="Tables that compare a patch with the others of its tract, if they exist.",
        name="{backgroundName}_tract_table",
        storageClass="ArrowAstropy",
        dimensions=("tract", "band"),
        multiple=True,
        minimum=0,
        deferLoad=True,
        deferGraphConstraint=True,
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
        doc="Tables of metrics, one row per patch.",
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
        "Unit of the measured backgrounds, and of the table's values, for astropy.units.",
        default="adu",
        check=is_unit,
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
    max_z = DictField[str, float](
        "Greatest distance from the median of the peers that passes, by full name of the metric (in "
        "their robust standard deviations). Peers belong to one visit (tract and band) and one kind. "
        "A level is judged so if its place on the sky is not known.",
        default={"level_median": 8.0},
        dictCheck=_are_metrics,
    )
    floor = Field[float](
        "Least noise of an amplitude, as a fraction of the sky, for detectors that were measured by "
        "themselves.",
        default=7e-5,
        check=lambda value: value > 0,
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
        "How many peers a value needs to be judged by them.", default=5, check=lambda value: value >= 3
    )
    kinds = DictField[str, str](
        "Kind of a detector, by the beginning of its full name, such as its raft; the longest match "
        "counts. Detectors are compared with those of their kind. By default all are of one kind.",
        default={},
    )
    worst_count = Field[int](
        "Length of the list of the worst values.", default=100, check=lambda value: value >= 1
    )

    def thresholds(self) -> Thresholds:
        """Return what values of metrics pass."""
        return Thresholds(dict(self.low), dict(self.high), dict(self.max_z), self.min_peers)


def _handles(butlerQC: QuantumContext, refs: Sequence[Any]) -> list[DeferredDatasetHandle]:
    """Return handles of datasets: the Butler, asked for them one by one, looks each up in its database."""
    if not refs:
        return []
    butler = butlerQC.get(refs[0]).butler
    for ref in refs[1:]:
        butlerQC.dataset_provenance.add_input(ref.datasetRef)
    return [DeferredDatasetHandle(butler=butler, ref=ref.datasetRef, parameters=None) for ref in refs]


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

        Raises
        ------
        lsst.bgqa.BackgroundError
            Raised if none of the datasets can be read.
        lsst.pipe.base.NoWorkFound
            Raised if they have no row.
        """
        handles = _handles(butlerQC, inputRefs.metrics)
        unreadable: dict[str, Exception] = {}
        identity = describe(outputRefs.table)
        try:
            tables = _handles(butlerQC, getattr(inputRefs, "tables", []))
            outputs = self.run(self._read(handles, unreadable, tables), identity=identity)
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
        batches
            The rows of one visit (tract and band) after the other. A batch
            is not kept.
        identity
            What is made, for messages.

        Returns
        -------
        outputs
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
                    add_history(history, self._names, batch.values, self._places(batch))
            for batch in spool:
                if self._place_keys:
                    compare_history(
                        history,
                        self._names,
                        batch.values,
                        self._places(batch),
                        self.config.history_floor,
                        self.config.floor,
                    )
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

    def _read(
        self, handles: Sequence[Any], unreadable: dict[str, Exception], tables: Sequence[Any] = ()
    ) -> Iterator[CampaignBatch]:
        """Read the metrics, the rows of each batch in order.

        What cannot be read goes into ``unreadable``, by its name. What
        ``tables`` say of a row among others counts.
        """

        def batch_key(handle: Any) -> tuple[Any, ...]:
            return tuple(handle.dataId[name] for name in self._batch_keys)

        table_of = {batch_key(handle): handle for handle in tables}
        ordered = sorted(handles, key=lambda handle: (batch_key(handle), handle.dataId[self._row_key]))
        units = self._units()
        for key, group in itertools.groupby(ordered, key=batch_key):
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
                yield self._take_judged(batch, table_of.get(key), units)

    def _take_judged(
        self, batch: CampaignBatch, handle: Any, units: Mapping[str, u.UnitBase]
    ) -> CampaignBatch:
        """Take what a visit's (tract's) table says of the rows that it has."""
        if handle is None:
            return batch
        try:
            ((_, read),) = read_tables([handle])
            if isinstance(read, Exception):
                raise read
            table = read[0]
            values = _table_values(table, read[1], units)
            rows = {number: i for i, number in enumerate(table[self._row_key].to_list())}
            said = _known(table)
        except Exception as error:
            # The datastore and the formatter have errors of their own.
            self.log.warning("%s is not used: %s", describe(handle.ref), error)
            return batch
        level = self._names.index(self._level)
        catalogue = load_catalogue()
        judged = [i for i, name in enumerate(self._names) if catalogue[name].group in _JUDGED]
        known = [("", "")] * len(batch.values)
        for i, number in enumerate(batch.keys[self._row_key]):
            row = rows.get(number)
            # A table may be of backgrounds that were made again since.
            if row is not None and np.isclose(
                values[row, level], batch.values[i, level], rtol=1e-6, equal_nan=True
            ):
                batch.values[i, judged] = values[row, judged]
                known[i] = said[row] if said else ("", "")
        return replace(batch, known=known)

    def _places(self, batch: CampaignBatch) -> list[tuple[Any, ...]]:
        return list(zip(*(batch.keys[name] for name in self._place_keys), strict=True))

    def _add_context(self, values: np.ndarray, handles: Sequence[Any]) -> None:
        """Compare detectors that were measured each by itself."""
        if not self._place_keys:
            return
        regions = [region_vertices(getattr(handle.dataId, "region", None)) for handle in handles]
        known = [corners for corners in regions if corners is not None]
        center = np.sum(known, axis=(0, 1)) if known else np.zeros(3)
        compare_detectors(
            self._names,
            values,
            [
                None if corners is None else tangent_plane(corners, center / np.linalg.norm(center))
                for corners in regions
            ],
            self.config.floor,
            self.config.level_floor,
        )

    def _batch(self, keys: Mapping[str, Sequence[Any]], values: Any) -> CampaignBatch:
        names = keys.get("detector_name")
        kinds = [""] * len(values)
        if names is not None and self.config.kinds:
            kinds = [self._kind(name) for name in names]
        return CampaignBatch(keys, np.asarray(values, dtype=np.float64), kinds)

    def _kind(self, name: str) -> str:
        return kind_of_detector(name, self.config.kinds)

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

    def _units(self) -> dict[str, u.UnitBase]:
        """Return the units of the table's metrics, in their order."""
        unit = u.Unit(self.config.unit)
        catalogue = load_catalogue()
        return {name: catalogue[name].unit_for(unit) for name in self._names}


class _TableReader:
    """Reads tables of metrics, each a batch."""

    _table_keys: ClassVar[tuple[str, ...]]

    def _read(
        self: Any, handles: Sequence[Any], unreadable: dict[str, Exception], tables: Sequence[Any] = ()
    ) -> Iterator[CampaignBatch]:
        wanted = self._units()
        ordered = sorted(handles, key=lambda h: tuple(h.dataId[name] for name in self._batch_keys))
        for handle, read in read_tables(ordered):
            try:
                if isinstance(read, Exception):
                    raise read
                table, units = read
                values = _table_values(table, units, wanted)
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
                yield replace(self._batch(keys, values), known=_known(table))


def _in_units(quantities: Mapping[str, u.Quantity], units: Mapping[str, u.UnitBase]) -> list[float]:
    return [
        float(quantities[name].to_value(unit)) if name in quantities else np.nan
        for name, unit in units.items()
    ]


def _table_values(
    table: pl.DataFrame, units: Mapping[str, str], wanted: Mapping[str, u.UnitBase]
) -> np.ndarray:
    """Return the metrics of a table in the units that are wanted, shape (rows, metrics)."""
    columns = {*table.columns}
    there = [name in columns for name in wanted]
    names = [*itertools.compress(wanted, there)]
    # By columns, as they are written.
    values = np.full((len(table), len(wanted)), np.nan, order="F")
    values[:, there] = table[names].to_numpy() * [_factor(units.get(n, ""), wanted[n]) for n in names]
    return values


def _known(table: pl.DataFrame) -> list[tuple[str, str]]:
    """Return by which metrics the rows of a table fail, and the words."""
    if not {"failed", "fault"} <= set(table.columns):
        return []
    return list(zip(table["failed"].to_list(), table["fault"].to_list(), strict=True))


@functools.cache
def _factor(unit: str, wanted: u.UnitBase) -> float:
    return float(u.Unit(unit).to(wanted))


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
        self.low, self.high = PATCH_LOW, PATCH_HIGH  # type: ignore[assignment]


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
    _names = tuple(metric_names((*TABLE_GROUPS, "closure", "comparison"), ()))

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
