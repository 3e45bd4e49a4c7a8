# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("VisitBackgroundQaConfig", "VisitBackgroundQaConnections", "VisitBackgroundQaTask")

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import astropy.units as u
import numpy as np

import lsst.pipe.base.connectionTypes as cT
from lsst.pex.config import DictField, Field, ListField
from lsst.pipe.base import (
    InputQuantizedConnection,
    Instrument,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..background import BackgroundError
from ..judge import Member, judge_members, measure_together, order_corners
from ..judge.bins import Bins
from ..metrics import to_quantities
from ..statistics import background_statistics
from ..statistics.focal_plane import fit_trend, robust_scale, tangent_plane, trend_terms, z_scores
from ..statistics.neighbours import EdgeProfiles, Outline, Step, edge_profiles, measure_steps
from ._campaign import (
    LeftOut,
    NamedBackground,
    kind_of_detector,
    load_each,
    metric_names,
    metric_table,
    region_vertices,
)
from ._inputs import describe, follow_component, read_background
from ._precision import read_residuals, visit_precision
from .background_qa import BackgroundQaConfig

_NONE: Mapping[int, Mapping[str, u.Quantity]] = MappingProxyType({})


class VisitBackgroundQaConnections(
    PipelineTaskConnections,
    dimensions=("instrument", "visit"),
    defaultTemplates={"backgroundName": "calexpBackground", "imageName": "calexp"},
):
    """What `VisitBackgroundQaTask` reads and writes."""

    backgrounds = cT.Input(
        doc="Backgrounds that were subtracted from the images of a visit's detectors.",
        name="{backgroundName}",
        storageClass="Background",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
    )
    residuals = cT.Input(
        doc="Metrics of the residual sky in the images, if they exist; no image is read.",
        name="{imageName}_residual_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        minimum=0,
        deferLoad=True,
        deferGraphConstraint=True,
    )
    table = cT.Output(
        doc="Metrics of the background of each detector, one row per detector.",
        name="{backgroundName}_visit_table",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit"),
    )
    steps = cT.Output(
        doc="Steps in level between adjacent detectors, one row per pair of detectors.",
        name="{backgroundName}_visit_steps",
        storageClass="ArrowAstropy",
        dimensions=("instrument", "visit"),
    )
    metrics = cT.Output(
        doc="Metrics of the background over the focal plane.",
        name="{backgroundName}_visit_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=("instrument", "visit"),
    )

    def __init__(self, *, config: Any = None) -> None:
        super().__init__(config=config)
        follow_component(self, "backgrounds")


class VisitBackgroundQaConfig(BackgroundQaConfig, pipelineConnections=VisitBackgroundQaConnections):
    """Configuration of `VisitBackgroundQaTask`."""

    outlier_threshold = Field[float](
        "How far a detector's level must stand out from the visit's trend to be an outlier (robust "
        "standard deviations).",
        default=4.0,
        check=lambda value: value > 0,
    )
    mirrored = Field[bool](
        "Whether the camera's pixel grids are mirrored on the sky (x to the east if y is to the "
        "north). By default it is found from the data: backgrounds should rise as the levels do over "
        "the focal plane.",
        default=None,
        optional=True,
    )
    kinds = DictField[str, str](
        "Kind of a detector, by the beginning of its full name, such as its raft; the longest match "
        "counts. Detectors are compared with those of their kind. By default all are of one kind, "
        "except those with different grids of bins.",
        default={},
    )
    detectors = ListField[int](
        "Numbers of the detectors that a visit should have; by default the science detectors of the "
        "camera that the instrument's class describes. If there is none, missing detectors are not "
        "counted.",
        default=None,
        optional=True,
    )


class VisitBackgroundQaTask(PipelineTask):
    """Measure the backgrounds that were subtracted from a visit's images."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = VisitBackgroundQaConfig
    _DefaultName: ClassVar[str] = "visitBackgroundQa"

    config: VisitBackgroundQaConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read the backgrounds of a visit one by one, and measure them."""
        handles = butlerQC.get(inputRefs.backgrounds)
        backgrounds = [
            NamedBackground(
                int(handle.dataId["detector"]),
                describe(handle.ref),
                # Bound now: each reads its own.
                load=lambda handle=handle: read_background(  # type: ignore[misc]
                    handle, self.config.unit, self.config.background_model
                ),
                name=handle.dataId.records["detector"].full_name,
                region=handle.dataId.region,
            )
            for handle in sorted(handles, key=lambda handle: handle.dataId["detector"])
        ]
        record = handles[0].dataId.records["instrument"]
        expected = self.config.detectors
        if expected is None:
            expected = instrument_detectors(record.class_name)
        butlerQC.put(
            self.run(
                backgrounds,
                expected=expected,
                images=read_residuals(butlerQC.get(inputRefs.residuals)),
                identity=describe(outputRefs.metrics),
            ),
            outputRefs,
        )

    def run(
        self,
        backgrounds: Iterable[NamedBackground],
        *,
        expected: Collection[int] | None = None,
        images: Mapping[int, Mapping[str, u.Quantity]] = _NONE,
        identity: str = "visit",
    ) -> Struct:
        """Measure the backgrounds of a visit.

        Parameters
        ----------
        backgrounds
            The detectors' backgrounds. Each is read once, and not kept.
        expected
            Detectors that there should be; if `None`, missing ones are not
            counted.
        images
            Metrics of the residual sky in the images, by full name, by
            detector.
        identity
            What is measured, for messages and the metrics' identifiers.

        Returns
        -------
        outputs
            Result struct with the attributes:

            ``table``
                Metrics of each detector (`astropy.table.Table`).
            ``steps``
                Steps between neighbours (`astropy.table.Table`).
            ``metrics``
                Bundle of the visit's metrics.
            ``quantities``
                The same by full name
                (`dict` [`str`, `astropy.units.Quantity`]).

        Raises
        ------
        lsst.bgqa.BackgroundError
            Raised if none of the backgrounds can be read, and one is broken.
        lsst.pipe.base.NoWorkFound
            Raised if none of them has a layer, or was subtracted.
        """
        statistics = self.config.statistics.freeze_statistics()
        unit = u.Unit(self.config.unit)
        done: list[NamedBackground] = []
        rows: list[dict[str, float]] = []
        profiles: dict[int, EdgeProfiles] = {}
        grids: list[Bins] = []
        left_out = LeftOut(self.log)
        for background, model in load_each(backgrounds, left_out):
            try:
                row = background_statistics(model, statistics)
                profile = edge_profiles(model)
                bins = Bins.of(model)
            except BackgroundError as error:
                left_out.add(background, BackgroundError(f"it cannot be measured: {error}"))
                continue
            unit = model.unit
            done.append(background)
            rows.append(row)
            grids.append(bins)
            if profile is not None:
                profiles[background.id] = profile
        if not done:
            raise left_out.nothing_left(identity, "read")

        vertices = {item.id: region_vertices(item.region) for item in done}
        outlines, centers = _project(vertices)
        levels = {
            item.id: row["level_median"]
            for item, row in zip(done, rows, strict=True)
            if "level_median" in row
        }
        values, residuals, gradients = _measure_trend(levels, centers)
        missing: list[int] = []
        z = dict(
            zip(
                residuals,
                z_scores(
                    np.array(list(residuals.values())),
                    values.get("visit_levelMedian", 0.0),
                    trend_terms(len(residuals)),
                ),
                strict=True,
            )
        )
        steps, mirrored = measure_steps(outlines, profiles, gradients, self.config.mirrored)
        members, shared = measure_together(
            grids,
            [
                None
                if (outline := outlines.get(item.id)) is None
                else order_corners(outline.vertices, mirrored)
                for item in done
            ],
            [kind_of_detector(item.name, self.config.kinds) for item in done],
            self.config.judge_settings(),
        )
        rows = [row | member.values for row, member in zip(rows, members, strict=True)]
        judged = judge_members(rows, members, metric_names(), self.config.judge.thresholds())
        values |= _visit_verdict(judged["failed"], shared)
        if steps:
            sizes = np.array([step.value for step in steps])
            values["visit_stepRms"] = float(np.sqrt(np.mean(sizes**2)))
            values["visit_stepMax"] = float(np.abs(sizes).max())
        outliers = [detector for detector, score in z.items() if abs(score) > self.config.outlier_threshold]
        present = {item.id for item in done}
        values |= {
            "visit_detectorCount": len(done),
            "visit_outlierDetectorCount": len(outliers),
            "visit_unreadableDetectorCount": len(left_out.ids),
        }
        if expected is not None:
            missing = sorted(set(expected) - present - set(left_out.ids))
            values["visit_missingDetectorCount"] = len(missing)
        precision, imprecise = visit_precision(images)
        values |= precision
        if imprecise:
            self.metadata["imprecise"] = imprecise
        quantities = to_quantities(values, unit)
        self.metadata["metrics"] = {name: float(quantity.value) for name, quantity in quantities.items()}
        self.log.info(
            "%s: %d detectors, %d pairs of neighbours, %d fail, outliers: %s%s.",
            identity,
            len(done),
            len(steps),
            int(np.count_nonzero(judged["verdict"] == "fail")),
            _list(outliers) or "none",
            f"; no background of detectors {_list(missing)}" if missing else "",
        )
        return Struct(
            table=metric_table(
                _columns(done, vertices, centers, levels, residuals, z, steps, mirrored, unit) | judged,
                rows,
                metric_names(),
                unit,
            ),
            steps=_step_table(steps, {item.id: item.name for item in done}, unit),
            metrics=self.config.make_bundle(quantities, identity),
            quantities=quantities,
        )


def instrument_detectors(class_name: str) -> list[int] | None:
    """Return the science detectors of an instrument, given by its class's full name.

    There are none if the class is not installed, or describes no camera. A quantum
    does not see the registry, and the detector records that its inputs bring along
    are those of the detectors that have a background. The class is what the
    records were made from.
    """
    try:
        camera = Instrument.from_string(class_name).getCamera()  # type: ignore[attr-defined]
    except (AttributeError, ImportError, LookupError, RuntimeError, TypeError):
        return None
    return [
        detector.getId()
        for detector in camera
        if getattr(detector.getType(), "name", str(detector.getType())) == "SCIENCE"
    ]


def _visit_verdict(failed: np.ndarray, shared: list[Member]) -> dict[str, float]:
    """Return what tells whether the visit is bad as a whole."""
    sigmas = [
        abs(value) for member in shared for name, value in member.values.items() if name.endswith("Sigma")
    ]
    counts = Counter(metric for metrics in failed for metric in metrics.split(",") if metric)
    return {
        "visit_failedFraction": max(counts.values(), default=0) / len(failed),
        "visit_sharedSigma": max(sigmas, default=0.0),
    }


def _project(
    vertices: Mapping[int, np.ndarray | None],
) -> tuple[dict[int, Outline], dict[int, np.ndarray]]:
    """Return outlines and centres of detectors in the tangent plane."""
    known = {detector: corners for detector, corners in vertices.items() if corners is not None}
    if not known:
        return {}, {}
    center = np.mean([corners.sum(axis=0) for corners in known.values()], axis=0)
    center /= np.linalg.norm(center)
    outlines = {detector: Outline(tangent_plane(corners, center)) for detector, corners in known.items()}
    return outlines, {detector: outline.center for detector, outline in outlines.items()}


def _measure_trend(
    levels: Mapping[int, float], centers: Mapping[int, np.ndarray]
) -> tuple[dict[str, float], dict[int, float], dict[int, np.ndarray]]:
    """Return metrics of the levels, what the trend leaves, and its gradients."""
    if not levels:
        return {}, {}, {}
    all_levels = np.array(list(levels.values()))
    values = {
        "visit_levelMedian": float(np.median(all_levels)),
        "visit_levelScatter": robust_scale(all_levels),
    }
    placed = [detector for detector in levels if detector in centers]
    if not placed:
        return values, {}, {}
    x, y = np.array([centers[detector] for detector in placed]).T
    here = np.array([levels[detector] for detector in placed])
    trend = fit_trend(x, y, here)
    if trend_terms(len(placed)) >= 3:
        values["visit_gradientAmplitude"] = float(np.ptp(trend.plane(x, y)))
        if trend.slope_x or trend.slope_y:
            values["visit_gradientAngle"] = math.degrees(math.atan2(trend.slope_x, trend.slope_y))
    if trend_terms(len(placed)) >= 4:
        values["visit_radialTerm"] = trend.radial
    residuals = dict(zip(placed, (here - trend(x, y)).tolist(), strict=True))
    # Detectors without a level may still have neighbours.
    gradients = {detector: trend.gradient(*center) for detector, center in centers.items()}
    return values, residuals, gradients


def _columns(
    done: list[NamedBackground],
    vertices: Mapping[int, np.ndarray | None],
    centers: Mapping[int, np.ndarray],
    levels: Mapping[int, float],
    residuals: Mapping[int, float],
    z: Mapping[int, float],
    steps: list[Step],
    mirrored: bool,
    unit: u.UnitBase,
) -> dict[str, Any]:
    """Make the columns before the metrics."""
    ra, dec = np.full((2, len(done), 4), np.nan)
    for i, item in enumerate(done):
        corners = vertices[item.id]
        if corners is not None:
            x, y, height = order_corners(corners, mirrored).T
            ra[i] = np.degrees(np.arctan2(y, x)) % 360
            dec[i] = np.degrees(np.arctan2(height, np.hypot(x, y)))
    positions = np.array([centers.get(item.id, np.full(2, np.nan)) for item in done])
    trend = {detector: levels[detector] - residual for detector, residual in residuals.items()}
    largest: dict[int, tuple[float, int]] = {}
    for step in steps:
        for detector, other, value in (
            (step.first, step.second, -step.value),
            (step.second, step.first, step.value),
        ):
            if abs(value) > abs(largest.get(detector, (0.0, -1))[0]):
                largest[detector] = value, other
    return {
        "detector": np.array([item.id for item in done], dtype=np.int64),
        "detector_name": np.array([item.name for item in done], dtype=str),
        "ra_corners": u.Quantity(ra, u.deg),
        "dec_corners": u.Quantity(dec, u.deg),
        "x": u.Quantity(positions[:, 0], u.deg),
        "y": u.Quantity(positions[:, 1], u.deg),
        "trend_level": u.Quantity([trend.get(item.id, math.nan) for item in done], unit),
        "trend_residual": u.Quantity([residuals.get(item.id, math.nan) for item in done], unit),
        "trend_zScore": np.array([z.get(item.id, math.nan) for item in done], dtype=np.float64),
        "neighbour_step": u.Quantity([largest.get(item.id, (math.nan, -1))[0] for item in done], unit),
        "neighbour_detector": np.array(
            [largest.get(item.id, (math.nan, -1))[1] for item in done], dtype=np.int64
        ),
    }


def _step_table(steps: list[Step], names: Mapping[int, str], unit: u.UnitBase) -> Any:
    from astropy.table import Table

    table = Table(
        {
            "detector1": np.array([step.first for step in steps], dtype=np.int64),
            "detector1_name": np.array([names[step.first] for step in steps], dtype=str),
            "edge1": np.array([step.first_edge for step in steps], dtype=str),
            "detector2": np.array([step.second for step in steps], dtype=np.int64),
            "detector2_name": np.array([names[step.second] for step in steps], dtype=str),
            "edge2": np.array([step.second_edge for step in steps], dtype=str),
            "step": np.array([step.value for step in steps], dtype=np.float64),
            "rms": np.array([step.rms for step in steps], dtype=np.float64),
        }
    )
    table["step"].unit = table["rms"].unit = unit
    return table


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)
