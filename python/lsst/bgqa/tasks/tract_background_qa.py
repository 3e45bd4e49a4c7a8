# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("TractBackgroundQaConfig", "TractBackgroundQaConnections", "TractBackgroundQaTask")

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import astropy.units as u
import numpy as np

import lsst.pipe.base.connectionTypes as cT
from lsst.pex.config import Field
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    QuantumContext,
    Struct,
)

from ..background import BackgroundError, Box
from ..judge import judge_members, measure_together
from ..judge.bins import Bins
from ..metrics import to_quantities
from ..statistics import background_statistics
from ..statistics.seams import Seam, TractMosaic, seam_deviations, seam_metrics
from ._campaign import (
    PATCH_HIGH,
    PATCH_LOW,
    LeftOut,
    NamedBackground,
    load_each,
    metric_names,
    metric_table,
    region_vertices,
)
from ._inputs import data_id_title, describe, follow_component, read_background
from .background_qa import BackgroundQaConfig


class TractBackgroundQaConnections(
    PipelineTaskConnections,
    dimensions=("tract", "band"),
    defaultTemplates={"backgroundName": "deepCoadd_calexp_background"},
):
    """What `TractBackgroundQaTask` reads and writes."""

    backgrounds = cT.Input(
        doc="Backgrounds that were subtracted from the coadds of a tract's patches.",
        name="{backgroundName}",
        storageClass="Background",
        dimensions=("tract", "patch", "band"),
        multiple=True,
        deferLoad=True,
    )
    table = cT.Output(
        doc="Metrics of the background of each patch, one row per patch.",
        name="{backgroundName}_tract_table",
        storageClass="ArrowAstropy",
        dimensions=("tract", "band"),
    )
    seams = cT.Output(
        doc="How backgrounds differ where patches overlap, one row per pair of patches.",
        name="{backgroundName}_tract_seams",
        storageClass="ArrowAstropy",
        dimensions=("tract", "band"),
    )
    metrics = cT.Output(
        doc="Metrics of the background over the tract.",
        name="{backgroundName}_tract_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=("tract", "band"),
    )
    plot = cT.Output(
        doc="The backgrounds of the tract at reduced resolution, as a picture.",
        name="{backgroundName}_tract_plot",
        storageClass="Plot",
        dimensions=("tract", "band"),
    )

    def __init__(self, *, config: Any = None) -> None:
        super().__init__(config=config)
        follow_component(self, "backgrounds")
        if config is not None and not config.do_plot:
            del self.plot


class TractBackgroundQaConfig(BackgroundQaConfig, pipelineConnections=TractBackgroundQaConnections):
    """Configuration of `TractBackgroundQaTask`."""

    cell_size = Field[int](
        "Distance of the points at which patches are compared and the mosaic is made (pixels).",
        default=16,
        check=lambda value: value >= 1,
    )
    do_plot = Field[bool]("Draw a picture of the tract.", default=True)

    def setDefaults(self) -> None:
        """Leave out limits that do not hold for patches."""
        super().setDefaults()
        self.judge.low, self.judge.high = PATCH_LOW, PATCH_HIGH  # type: ignore[assignment]


class TractBackgroundQaTask(PipelineTask):
    """Compare the backgrounds of a tract's patches where they overlap."""

    ConfigClass: ClassVar[type[PipelineTaskConfig]] = TractBackgroundQaConfig
    _DefaultName: ClassVar[str] = "tractBackgroundQa"

    config: TractBackgroundQaConfig

    def runQuantum(
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Read the backgrounds of a tract one by one, and compare them."""
        handles = butlerQC.get(inputRefs.backgrounds)
        backgrounds = [
            NamedBackground(
                int(handle.dataId["patch"]),
                describe(handle.ref),
                # Bound now: each reads its own.
                load=lambda handle=handle: read_background(  # type: ignore[misc]
                    handle, self.config.unit, self.config.background_model
                ),
                region=handle.dataId.region,
            )
            for handle in sorted(handles, key=lambda handle: handle.dataId["patch"])
        ]
        outputs = self.run(
            backgrounds, identity=describe(outputRefs.metrics), title=data_id_title(outputRefs.metrics)
        )
        butlerQC.put(outputs, outputRefs)

    def run(
        self, backgrounds: Iterable[NamedBackground], *, identity: str = "tract", title: str = ""
    ) -> Struct:
        """Measure and compare the backgrounds of patches.

        Parameters
        ----------
        backgrounds
            The patches' backgrounds. Each is read once, and not kept.
        identity
            What is measured, for messages and the metrics' identifiers.
        title
            The data ID, for the picture.

        Returns
        -------
        outputs
            Result struct with the attributes:

            ``table``
                Metrics of each patch (`astropy.table.Table`).
            ``seams``
                Differences of each pair (`astropy.table.Table`).
            ``metrics``
                Bundle of the tract's metrics.
            ``plot``
                Picture (`matplotlib.figure.Figure`), if configured.
            ``quantities``
                The tract's metrics by full name
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
        mosaic = TractMosaic(self.config.cell_size)
        done: list[NamedBackground] = []
        rows: list[dict[str, float]] = []
        grids: list[Bins] = []
        left_out = LeftOut(self.log)
        for background, model in load_each(backgrounds, left_out):
            try:
                row = background_statistics(model, statistics)
                bins = Bins.of(model)
                mosaic.add(background.id, model)
            except BackgroundError as error:
                left_out.add(background, BackgroundError(f"it cannot be measured: {error}"))
                continue
            unit = model.unit
            done.append(background)
            rows.append(row)
            grids.append(bins)
        if not done:
            raise left_out.nothing_left(identity, "read")
        reference = _reference(grids)
        members, _ = measure_together(
            grids,
            [_corners(bins.bbox) for bins in grids],
            [""] * len(grids),
            self.config.judge_settings(),
            reference,
        )
        rows = [row | member.values for row, member in zip(rows, members, strict=True)]
        seams = mosaic.seams()
        deviations = seam_deviations(seams, self.config.judge.level_floor * reference)
        for background, row in zip(done, rows, strict=True):
            if background.id in deviations:
                deviation, sigma = deviations[background.id]
                row["context_seamDeviation"] = deviation
                row["context_seamSigma"] = self._unexplained(row, sigma)
        judged = judge_members(rows, members, metric_names(), self.config.judge.thresholds())
        values = seam_metrics(seams) | {
            "tract_patchCount": len(done),
            "tract_unreadablePatchCount": len(left_out.ids),
        }
        quantities = to_quantities(values, unit)
        self.metadata["metrics"] = {name: float(quantity.value) for name, quantity in quantities.items()}
        self.log.info("%s: %d patches, %d pairs that overlap.", identity, len(done), len(seams))
        outputs = Struct(
            table=metric_table(
                _columns(done, mosaic, seams, unit) | judged,
                rows,
                metric_names(),
                unit,
            ),
            seams=_seam_table(seams, unit),
            metrics=self.config.make_bundle(quantities, identity),
            quantities=quantities,
        )
        if self.config.do_plot:
            # Imported late: a graph is built without drawing anything.
            from ..plots import plot_tract

            outputs.plot = plot_tract(mosaic, title, unit=unit)
        return outputs

    def _unexplained(self, row: Mapping[str, float], sigma: float) -> float:
        """Bound the significance of a patch's seams if a shape explains them."""
        thresholds = self.config.judge.thresholds()
        for name in row:
            low, high = thresholds.bounds(name)
            if name.startswith("significance_") and (row[name] < low or row[name] > high):
                low, high = thresholds.bounds("context_seamSigma")
                return float(np.fmin(np.fmax(sigma, low), high))
        return sigma


def _corners(bbox: Box) -> np.ndarray:
    """Return a patch's corners in the tract's pixels."""
    return np.array(
        [[bbox.x0, bbox.y0], [bbox.x1, bbox.y0], [bbox.x1, bbox.y1], [bbox.x0, bbox.y1]], dtype=np.float64
    )


def _reference(grids: list[Bins]) -> float:
    """Return how much the patches' bins vary, which amplitudes are compared
    with: a coadd's own level is about zero.
    """
    deviations = [np.abs(bins.values - bins.level)[np.isfinite(bins.values)] for bins in grids]
    return float(np.median(np.concatenate(deviations))) if deviations else 0.0


def _columns(
    done: list[NamedBackground], mosaic: TractMosaic, seams: list[Seam], unit: u.UnitBase
) -> dict[str, Any]:
    """Make the columns before the metrics."""
    worst: dict[int, tuple[float, float, int]] = {}
    for seam in seams:
        for patch, other in ((seam.first, seam.second), (seam.second, seam.first)):
            if seam.rms > worst.get(patch, (-1.0, 0.0, -1))[0]:
                worst[patch] = seam.rms, seam.max, other
    none = (math.nan, math.nan, -1)
    ra, dec = np.full((2, len(done), 4), np.nan)
    for i, item in enumerate(done):
        vertices = region_vertices(item.region)
        if vertices is not None:
            x, y, z = vertices.T
            ra[i] = np.degrees(np.arctan2(y, x)) % 360
            dec[i] = np.degrees(np.arctan2(z, np.hypot(x, y)))
    boxes = [mosaic.patches[item.id].bbox for item in done]
    return {
        "patch": np.array([item.id for item in done], dtype=np.int64),
        **{
            name: np.array([getattr(box, name) for box in boxes], dtype=np.int64)
            for name in ("x0", "y0", "width", "height")
        },
        "ra_corners": u.Quantity(ra, u.deg),
        "dec_corners": u.Quantity(dec, u.deg),
        "seam_rms": u.Quantity([worst.get(item.id, none)[0] for item in done], unit),
        "seam_max": u.Quantity([worst.get(item.id, none)[1] for item in done], unit),
        "seam_patch": np.array([worst.get(item.id, none)[2] for item in done], dtype=np.int64),
    }


def _seam_table(seams: list[Seam], unit: u.UnitBase) -> Any:
    from astropy.table import Table

    table = Table(
        {
            "patch1": np.array([seam.first for seam in seams], dtype=np.int64),
            "patch2": np.array([seam.second for seam in seams], dtype=np.int64),
            "pointCount": np.array([seam.points for seam in seams], dtype=np.int64),
            "meanDifference": np.array([seam.mean for seam in seams], dtype=np.float64),
            "rms": np.array([seam.rms for seam in seams], dtype=np.float64),
            "max": np.array([seam.max for seam in seams], dtype=np.float64),
        }
    )
    for name in ("meanDifference", "rms", "max"):
        table[name].unit = unit
    return table
