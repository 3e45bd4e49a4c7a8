# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Whether a coadd minus its background is the background-subtracted coadd.

It is not, bit for bit, and the question why is answered pixel by pixel: each
falls into one `ClosureClass`. ``doc/closure.md`` derives the error bound.
"""

from __future__ import annotations

__all__ = ("ClosureClass", "ClosureMap", "ClosureResult", "compare_coadds")

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..background import BackgroundError, BackgroundModel, Box
from .quantization import QuantizationSteps

# Pixels compared at a time: what is held for them is a few MiB.
_BLOCK_PIXELS = 1 << 17


class ClosureClass(enum.IntEnum):
    """Why a pixel of a subtracted coadd has the value that it has.

    Every pixel is in the first class that is true of it; the numbers are
    ascending in how much a pixel should worry.
    """

    NO_DATA = 0
    IDENTICAL_SUMMED = 1
    IDENTICAL_SEQUENTIAL = 2
    ROUNDING = 3
    COMPRESSION = 4
    NAN_MISMATCH = 5
    UNEXPLAINED_EDGE = 6
    UNEXPLAINED_INTERIOR = 7

    @property
    def label(self) -> str:
        """What to call it in a figure or a table."""
        return _LABELS[self]


_LABELS = {
    ClosureClass.NO_DATA: "no data in both",
    ClosureClass.IDENTICAL_SUMMED: "identical, layers summed first",
    ClosureClass.IDENTICAL_SEQUENTIAL: "identical, layer after layer",
    ClosureClass.ROUNDING: "explained by rounding",
    ClosureClass.COMPRESSION: "explained by compression",
    ClosureClass.NAN_MISMATCH: "no data in one only",
    ClosureClass.UNEXPLAINED_EDGE: "unexplained, at the edge",
    ClosureClass.UNEXPLAINED_INTERIOR: "unexplained, inside",
}


@dataclass(frozen=True, eq=False)
class ClosureMap:
    """A closure at the resolution of a figure.

    Attributes
    ----------
    classes
        The most worrying `ClosureClass` of each cell, ``uint8``, shape (ny,
        nx).
    typical
        The most common class of each cell, of the same type and shape.
    residual
        The residual of largest size in each cell, ``float32``, shape (ny,
        nx), in the pixels' unit; NaN in a cell where nothing was compared.
    bbox
        The pixels covered.
    step
        Pixels a side of a cell.
    """

    classes: np.ndarray
    typical: np.ndarray
    residual: np.ndarray
    bbox: Box
    step: int


@dataclass(frozen=True)
class ClosureResult:
    """How a coadd, its subtracted self and the background fit together.

    Attributes
    ----------
    counts
        Pixels in each class; they sum to the pixels of the patch.
    identical_summed
        Pixels that equal the coadd minus the summed layers, in ``float32``.
    identical_sequential
        Pixels that equal the coadd minus one layer after the other, each
        result rounded to ``float32``. Many pixels pass both tests.
    max_abs_residual, rms_residual
        Of coadd - subtracted coadd - background, evaluated in ``float64``
        from the ``float32`` values of the three, over the pixels where all
        have one, in their unit; NaN if there are none.
    max_ulp
        Largest residual in units of the last place of the largest of the
        three; NaN if there are none.
    edge_width
        Rows and columns at each side that count as the edge.
    map
        The closure at the resolution of a figure, if it was asked for.
    """

    counts: Mapping[ClosureClass, int]
    identical_summed: int
    identical_sequential: int
    max_abs_residual: float
    rms_residual: float
    max_ulp: float
    edge_width: tuple[int, int]
    map: ClosureMap | None = field(default=None, repr=False)

    @property
    def pixel_count(self) -> int:
        """Pixels of the patch."""
        return sum(self.counts.values())

    @property
    def compared_count(self) -> int:
        """Pixels with a value in both coadds."""
        return self.pixel_count - self.counts[ClosureClass.NO_DATA] - self.counts[ClosureClass.NAN_MISMATCH]

    @property
    def unexplained_count(self) -> int:
        """Pixels compared whose value nothing explains."""
        return self.counts[ClosureClass.UNEXPLAINED_EDGE] + self.counts[ClosureClass.UNEXPLAINED_INTERIOR]

    @property
    def is_consistent(self) -> bool:
        """Whether every pixel is explained. Nothing explains a value
        that only one of the coadds has.
        """
        return not self.unexplained_count and not self.counts[ClosureClass.NAN_MISMATCH]

    def metrics(self) -> dict[str, float]:
        """Return the closure group of the catalogue by name within it, without undefined ones."""
        compared = self.compared_count
        mismatches = self.counts[ClosureClass.NAN_MISMATCH]
        values: dict[str, float] = {"comparedPixelCount": compared, "nanMismatchCount": mismatches}
        if compared:
            identical = (
                self.counts[ClosureClass.IDENTICAL_SUMMED] + self.counts[ClosureClass.IDENTICAL_SEQUENTIAL]
            )
            values |= {
                "maxAbsResidual": self.max_abs_residual,
                "rmsResidual": self.rms_residual,
                "bitwiseEqualFraction": identical / compared,
                "maxUlp": self.max_ulp,
                "roundingExplainedFraction": self.counts[ClosureClass.ROUNDING] / compared,
                "compressionExplainedFraction": self.counts[ClosureClass.COMPRESSION] / compared,
                "edgeUnexplainedCount": self.counts[ClosureClass.UNEXPLAINED_EDGE],
                "interiorUnexplainedCount": self.counts[ClosureClass.UNEXPLAINED_INTERIOR],
            }
        if compared or mismatches:
            values["consistent"] = float(self.is_consistent)
        return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def compare_coadds(
    before: np.ndarray,
    after: np.ndarray,
    model: BackgroundModel,
    *,
    bbox: Box | None = None,
    before_steps: QuantizationSteps | None = None,
    after_steps: QuantizationSteps | None = None,
    edge_fraction: float = 0.01,
    map_size: int = 0,
) -> ClosureResult:
    """Explain the difference between a coadd and its subtracted self.

    Rows are compared block by block: a few MiB are held beside the two
    images, whatever their size.

    Parameters
    ----------
    before, after
        The coadd (``deepCoadd``) and what it became when the background was
        subtracted (``deepCoadd_calexp``), ``float32``, shape (height,
        width).
    model
        The background that is said to have been subtracted, in their unit.
    bbox
        The pixels that the images cover, by default all of the model's.
    before_steps, after_steps
        The quantisation of an image that was compressed lossily.
    edge_fraction
        The part of width and height that counts as the edge on either side;
        at least a pixel.
    map_size
        Make a map of at most so many cells a side; 0 makes none.

    Raises
    ------
    BackgroundError
        Raised if the images' shapes are not the box's, the box is not the
        background's, or the background cannot be evaluated.
    """
    bbox = model.bbox if bbox is None else Box(*bbox)
    shape = bbox.height, bbox.width
    for name, image in (("coadd", before), ("subtracted coadd", after)):
        if image.shape != shape:
            size = "x".join(str(n) for n in image.shape[::-1])
            raise BackgroundError(f"the {name} has {size} pixels, its box is {bbox}")
    comparison = _Comparison(
        shape,
        (before_steps, after_steps),
        (max(1, round(edge_fraction * shape[0])), max(1, round(edge_fraction * shape[1]))),
        -(-max(shape) // map_size) if map_size > 0 else 0,
        _evaluation_bound(model),
    )
    parts, step = model.parts, max(comparison.step, 1)
    rows = max(step, _BLOCK_PIXELS // bbox.width // step * step)
    for start in range(0, bbox.height, rows):
        stop = min(start + rows, bbox.height)
        box = Box(bbox.x0, bbox.y0 + start, bbox.width, stop - start)
        layers = [part.render(box).astype(np.float32, copy=False) for part in parts]
        with np.errstate(over="ignore", invalid="ignore"):
            comparison.add(
                start,
                np.asarray(before[start:stop], dtype=np.float32),
                np.asarray(after[start:stop], dtype=np.float32),
                layers,
            )
    return comparison.result(bbox)


class _Comparison:
    """What is kept of the blocks of rows compared so far."""

    def __init__(
        self,
        shape: tuple[int, int],
        steps: tuple[QuantizationSteps | None, ...],
        edge: tuple[int, int],
        step: int,
        evaluation_bound: float,
    ):
        self.shape = shape
        self.steps = [image_steps for image_steps in steps if image_steps is not None]
        self.edge = edge
        self.step = step
        self.evaluation_bound = evaluation_bound
        self.counts = np.zeros(len(ClosureClass), dtype=np.int64)
        self.identical_summed = 0
        self.identical_sequential = 0
        self.residuals = 0
        self.max_abs = 0.0
        self.max_ulp = 0.0
        # A row at a time, so that the sum does not depend on the blocks.
        self.squares: list[float] = []
        cells = (-(-shape[0] // step), -(-shape[1] // step)) if step else (0, 0)
        self.map_classes = np.zeros(cells, dtype=np.uint8)
        self.map_typical = np.zeros(cells, dtype=np.uint8)
        self.map_residual = np.full(cells, np.nan, dtype=np.float32)

    def add(self, start: int, before: np.ndarray, after: np.ndarray, layers: list[np.ndarray]) -> None:
        """Compare some rows, from ``start`` on."""
        # These two repeat in float32 what a pipeline may have done.
        total = layers[0].copy()
        for layer in layers[1:]:
            total += layer
        remainder = before.copy()
        for layer in layers:
            remainder -= layer

        has_before, has_after = np.isfinite(before), np.isfinite(after)
        compared = has_before & has_after
        summed = compared & (before - total == after)
        sequential = compared & (remainder == after)
        self.identical_summed += int(np.count_nonzero(summed))
        self.identical_sequential += int(np.count_nonzero(sequential))

        residual = before.astype(np.float64)
        residual -= after
        residual -= total
        residual[~compared] = np.nan

        classes = np.full(before.shape, ClosureClass.NO_DATA, dtype=np.uint8)
        classes[has_before ^ has_after] = ClosureClass.NAN_MISMATCH
        classes[sequential] = ClosureClass.IDENTICAL_SEQUENTIAL
        classes[summed] = ClosureClass.IDENTICAL_SUMMED
        rest = np.nonzero(compared & ~summed & ~sequential)
        if len(rest[0]):
            classes[rest] = self._explain(
                rest[0] + start,
                rest[1],
                np.abs(residual[rest]),
                _rounding_bound(before[rest], after[rest], [layer[rest] for layer in layers])
                + self.evaluation_bound,
            )
        self.counts += np.bincount(classes.ravel(), minlength=len(ClosureClass))

        largest = np.maximum(np.maximum(np.abs(before), np.abs(after)), np.abs(total))
        ulps = np.abs(residual) / np.spacing(largest)
        self.max_ulp = float(np.fmax.reduce(ulps, axis=None, initial=self.max_ulp))
        self.max_abs = float(np.fmax.reduce(np.abs(residual), axis=None, initial=self.max_abs))
        self.residuals += int(np.count_nonzero(np.isfinite(residual)))
        self.squares.extend(np.nansum(np.square(residual), axis=1).tolist())
        if self.step:
            self._add_to_map(start, classes, residual)

    def _explain(self, y: np.ndarray, x: np.ndarray, size: np.ndarray, bound: np.ndarray) -> np.ndarray:
        """Return the class of pixels that are not identical either way."""
        # With or without dithering, compression moves a pixel by half a step.
        lossy = bound + sum((0.5 * steps.at(y, x) for steps in self.steps), np.zeros(len(y)))
        inside = (y >= self.edge[0]) & (y < self.shape[0] - self.edge[0])
        inside &= (x >= self.edge[1]) & (x < self.shape[1] - self.edge[1])
        return np.select(
            [size <= bound, size <= lossy, inside],
            [ClosureClass.ROUNDING, ClosureClass.COMPRESSION, ClosureClass.UNEXPLAINED_INTERIOR],
            ClosureClass.UNEXPLAINED_EDGE,
        )

    def _add_to_map(self, start: int, classes: np.ndarray, residual: np.ndarray) -> None:
        """Reduce rows, of which the first begins a cell, to cells."""
        y, x = (np.arange(0, size, self.step) for size in classes.shape)
        cells = slice(start // self.step, start // self.step + len(y))
        self.map_classes[cells] = np.maximum.reduceat(np.maximum.reduceat(classes, y, axis=0), x, axis=1)
        counts = [
            np.add.reduceat(np.add.reduceat(classes == kind, y, axis=0, dtype=np.int64), x, axis=1)
            for kind in ClosureClass
        ]
        self.map_typical[cells] = np.argmax(counts, axis=0)
        high = np.fmax.reduceat(np.fmax.reduceat(residual, y, axis=0), x, axis=1)
        low = np.fmin.reduceat(np.fmin.reduceat(residual, y, axis=0), x, axis=1)
        self.map_residual[cells] = np.where(high > -low, high, low)

    def result(self, bbox: Box) -> ClosureResult:
        """Conclude."""
        return ClosureResult(
            counts={kind: int(self.counts[kind]) for kind in ClosureClass},
            identical_summed=self.identical_summed,
            identical_sequential=self.identical_sequential,
            max_abs_residual=self.max_abs if self.residuals else math.nan,
            rms_residual=math.sqrt(math.fsum(self.squares) / self.residuals) if self.residuals else math.nan,
            max_ulp=self.max_ulp if self.residuals else math.nan,
            edge_width=self.edge,
            map=(
                ClosureMap(self.map_classes, self.map_typical, self.map_residual, bbox, self.step)
                if self.step
                else None
            ),
        )


def _evaluation_bound(model: BackgroundModel) -> float:
    """Return by how much evaluated pixels may differ from those that were subtracted.

    afw's are repeated to the last bit. ``lsst.images`` rounds to ``float32``
    what it interpolates in y before it interpolates in x: in trials the
    pixels were off by up to 3.4 units in the last place of the largest.
    """
    if model.dtype is np.float32:
        return 0.0
    y, x = (np.linspace(0, size - 1, 64) for size in (model.bbox.height, model.bbox.width))
    return sum(
        4 * float(np.spacing(np.float32(np.abs(surface.evaluate(y, x)).max()))) for surface in model.surfaces
    )


def _rounding_bound(before: np.ndarray, after: np.ndarray, layers: list[np.ndarray]) -> np.ndarray:
    """Return the largest residual that ``float32`` rounding can leave.

    It is half a unit in the last place (ULP) of everything that was rounded: the
    subtracted coadd, each layer, each sum of layers, and either the coadd, if
    the pipeline subtracted in double precision and rounded at the end, or
    what was left of it between two layers, if it subtracted them one after
    the other in ``float32``. An ULP of the largest layer is added, within which
    this package's evaluation of a layer agrees with afw's.
    """

    def ulp(values: np.ndarray) -> np.ndarray:
        return np.spacing(np.abs(values)).astype(np.float64)

    layer_ulps = [ulp(layer) for layer in layers]
    half_ulps = ulp(after) + sum(layer_ulps)
    between = np.zeros(before.shape)
    total, remainder = layers[0], before
    for number, layer in enumerate(layers[1:], start=1):
        remainder = remainder - layers[number - 1]
        between += ulp(remainder)
        total = total + layer
        half_ulps += ulp(total)
    half_ulps += np.maximum(ulp(before), between)
    return 0.5 * half_ulps + np.maximum.reduce(layer_ulps)
