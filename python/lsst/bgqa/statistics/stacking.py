# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What backgrounds of one detector have in common, by coordinate."""

from __future__ import annotations

__all__ = ("BackgroundStack", "StackGrid", "StackResult", "Streaming", "VisitRejectedError")

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..background import BackgroundModel, Box
from ._bins import keeps_bins, primary_layer
from .focal_plane import robust_scale

# Cells a side that the patterns of visits are compared on.
_SIGNATURE = 16
# Patterns that differ by less, as a fraction of the level, do not differ.
_RESOLUTION = 1e-5
# A sky whose median is less than so many of the standard deviations of its own
# pattern is about zero, as after a sky correction: patterns of 20 % are no
# longer fractions of anything.
_LEAST_LEVEL = 5.0
# Side of the cells, in pixels, for a background that keeps no bins.
_DEFAULT_CELL = 128


class VisitRejectedError(ValueError):
    """A background cannot be stacked with the others; the message says why."""


@dataclass(frozen=True)
class StackGrid:
    """The cells that backgrounds are stacked on.

    Attributes
    ----------
    bbox
        The pixels that they cover.
    x, y
        Centres of the cells, local, ``float64``, shapes (nx,) and (ny,).
    cell_size
        Side of a cell in pixels; `None` if the cells are bins.
    """

    bbox: Box
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    cell_size: int | None = None

    @classmethod
    def of(cls, model: BackgroundModel, cell_size: int | None = None) -> StackGrid:
        """Choose the cells for a background, and others like it.

        By default they are the bins of the layer that has the most, or 128 pixels a
        side for a polynomial that keeps no bins, as fields of ``lsst.images`` are. The
        last row and column of cells of a given size may be of fewer pixels.
        """
        bbox = model.bbox
        if cell_size is None:
            if keeps_bins(model):
                layer = primary_layer(model)
                return cls(bbox, layer.bin_centers_x - bbox.x0, layer.bin_centers_y - bbox.y0)
            cell_size = _DEFAULT_CELL
        x, y = (
            0.5
            * (np.arange(0, size, cell_size) + np.minimum(np.arange(0, size, cell_size) + cell_size, size))
            - 0.5
            for size in (bbox.width, bbox.height)
        )
        return cls(bbox, x, y, cell_size)

    def evaluate(self, model: BackgroundModel) -> np.ndarray:
        """Evaluate a background at the centres of the cells, ``float64``, shape (ny, nx).

        Raises
        ------
        VisitRejectedError
            Raised if it covers other pixels, or has a value nowhere.
        lsst.bgqa.BackgroundError
            Raised if a layer cannot be evaluated.
        """
        if model.bbox != self.bbox:
            raise VisitRejectedError(f"it covers {model.bbox}, the first background covers {self.bbox}")
        values = model.evaluate(self.y, self.x)
        if not np.isfinite(values).any():
            raise VisitRejectedError("it has no finite value")
        return values


class Streaming:
    """Mean, standard deviation and extremes of arrays, one at a time.

    Each value updates the running mean and the sum of squared deviations
    from it (B. P. Welford, Technometrics 4, 1962), so that no large numbers
    are subtracted from each other. NaNs are left out, element by element.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = np.zeros(shape, dtype=np.int64)
        self._mean = np.zeros(shape)
        self._squares = np.zeros(shape)
        self._min = np.full(shape, np.inf)
        self._max = np.full(shape, -np.inf)

    def add(self, values: np.ndarray) -> None:
        """Take one array into account."""
        good = np.isfinite(values)
        self.count += good
        deviation = np.where(good, values - self._mean, 0.0)
        self._mean += deviation / np.maximum(self.count, 1)
        self._squares += deviation * np.where(good, values - self._mean, 0.0)
        np.minimum(self._min, values, out=self._min, where=good)
        np.maximum(self._max, values, out=self._max, where=good)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the values; NaN where there is none."""
        return np.where(self.count > 0, self._mean, np.nan)

    @property
    def std(self) -> np.ndarray:
        """Standard deviation, of a sample (n - 1); NaN where there are fewer
        than two values.
        """
        variance = self._squares / np.maximum(self.count - 1, 1)
        return np.where(self.count > 1, np.sqrt(variance), np.nan)

    @property
    def min(self) -> np.ndarray:
        """Least value; NaN where there is none."""
        return np.where(self.count > 0, self._min, np.nan)

    @property
    def max(self) -> np.ndarray:
        """Greatest value; NaN where there is none."""
        return np.where(self.count > 0, self._max, np.nan)


@dataclass(frozen=True, eq=False)
class StackResult:
    """A stack of backgrounds.

    Attributes
    ----------
    mean, std, min, max
        Statistics of each cell over the visits, ``float64``, shape (ny, nx),
        in the background's unit; NaN where they are not defined.
    count
        Number of values of each cell, ``int64``, shape (ny, nx).
    """

    grid: StackGrid
    mean: np.ndarray = field(repr=False)
    std: np.ndarray = field(repr=False)
    min: np.ndarray = field(repr=False)
    max: np.ndarray = field(repr=False)
    count: np.ndarray = field(repr=False)
    level: float
    clipped: tuple[int, ...]

    def metrics(self) -> dict[str, float]:
        """Measure the pattern: metrics of the stack group by full name, without undefined ones."""
        mean = self.mean[np.isfinite(self.mean)]
        std = self.std[np.isfinite(self.std)]
        values = {
            "stack_patternRms": float(np.std(mean)) if len(mean) else math.nan,
            "stack_patternPeakToValley": float(np.ptp(mean)) if len(mean) else math.nan,
            "stack_temporalRms": float(np.sqrt(np.mean(std**2))) if len(std) else math.nan,
        }
        return {name: value for name, value in values.items() if math.isfinite(value)}


class BackgroundStack:
    """A stack that backgrounds are added to one by one.

    Parameters
    ----------
    scale
        Whether each visit is divided by its own median, the results being
        multiplied by the mean of these. It is not done where the sky is about
        zero.
    clip_sigma
        How far from the pattern of the first visits a visit's may be, in
        robust standard deviations; `None` clips none.
    cell_size
        See `StackGrid.of`.

    Attributes
    ----------
    is_about_zero
        Whether the sky is about zero, so that nothing was scaled.
    rejected
        Of the first visits those that turned out not to fit, and why.

    Notes
    -----
    Clipping: the first ``clip_visits`` visits are held back. Their patterns
    (values over the median, on at most 16x16 cells) have a median pattern.
    The distance of a visit is the rms of its pattern minus that one. Visits,
    these and all that follow, are clipped whose distance exceeds the median
    distance of the first ones by more than ``clip_sigma`` times 1.4826 times
    their median absolute deviation, but by at least half of that median and
    at least 1e-5. So one pass suffices, memory does not depend on how many
    visits there are, and a later visit changes nothing about an earlier one.
    With fewer than five visits none is clipped.

    A sky is about zero if the first visits' medians are, in the middle, less
    than five times the robust standard deviation of their patterns. Nothing is
    divided by medians then: patterns are values less the median.
    """

    def __init__(
        self,
        *,
        scale: bool = True,
        clip_sigma: float | None = 8.0,
        clip_visits: int = 9,
        cell_size: int | None = None,
    ) -> None:
        self.scale = scale
        self.clip_sigma = clip_sigma
        self.clip_visits = clip_visits
        self.cell_size = cell_size
        self.count = 0
        self.is_about_zero = False
        self.rejected: dict[int, VisitRejectedError] = {}
        self._is_decided = False
        self._grid: StackGrid | None = None
        self._sums: Streaming | None = None
        self._level = 0.0
        self._clipped: list[int] = []
        self._held: list[tuple[int, np.ndarray, float]] | None = [] if clip_sigma is not None else None
        self._reference: np.ndarray | None = None
        self._limit = math.inf

    def add(self, visit: int, model: BackgroundModel) -> None:
        """Add the background of one visit.

        Raises
        ------
        VisitRejectedError
            Raised if it cannot be stacked with the earlier ones.
        lsst.bgqa.BackgroundError
            Raised if it cannot be evaluated.
        """
        grid = self._grid or StackGrid.of(model, self.cell_size)
        values = grid.evaluate(model)
        median = float(np.nanmedian(values))
        if self._held is None and not self._is_decided:
            self._decide([values], [median])
        if self._is_decided and self.scale and not median > 0:
            raise _not_positive(median)
        self._grid = grid
        if self._held is None:
            self._judge(visit, values, median)
            return
        self._held.append((visit, values, median))
        if len(self._held) >= self.clip_visits:
            self._release()

    def finish(self) -> StackResult | None:
        """Return the stack, if there is a visit in it."""
        self._release()
        if self._grid is None or self._sums is None:
            return None
        factor = self._level if self.scale else 1.0
        sums = self._sums
        return StackResult(
            self._grid,
            factor * sums.mean,
            factor * sums.std,
            factor * sums.min,
            factor * sums.max,
            sums.count,
            self._level,
            tuple(self._clipped),
        )

    def _release(self) -> None:
        """Find the reference from the visits held back, and stack them."""
        held, self._held = self._held, None
        if not held:
            return
        self._decide([values for _, values, _ in held], [median for *_, median in held])
        if self.scale:
            self.rejected = {visit: _not_positive(median) for visit, _, median in held if not median > 0}
            held = [item for item in held if item[2] > 0]
        if self.clip_sigma is not None and len(held) >= 5:
            patterns = np.array([self._signature(values, median) for _, values, median in held])
            reference = np.median(patterns, axis=0)
            distances = np.array([_distance(pattern, reference) for pattern in patterns])
            typical = float(np.median(distances))
            tolerance = max(self.clip_sigma * robust_scale(distances), 0.5 * typical, _RESOLUTION)
            self._reference, self._limit = reference, typical + tolerance
        for item in held:
            self._judge(*item)

    def _decide(self, values: list[np.ndarray], medians: list[float]) -> None:
        """See from the first visits whether the sky is about zero."""
        spreads = [robust_scale(part[np.isfinite(part)]) for part in values]
        self.is_about_zero = float(np.median(medians)) < _LEAST_LEVEL * float(np.median(spreads))
        self.scale = self.scale and not self.is_about_zero
        self._is_decided = True

    def _judge(self, visit: int, values: np.ndarray, median: float) -> None:
        if (
            self._reference is not None
            and _distance(self._signature(values, median), self._reference) > self._limit
        ):
            self._clipped.append(visit)
            return
        self.count += 1
        self._level += (median - self._level) / self.count
        if self._sums is None:
            self._sums = Streaming(values.shape)
        self._sums.add(values / median if self.scale else values)

    def _signature(self, values: np.ndarray, median: float) -> np.ndarray:
        rows, columns = (list(_blocks(n)) for n in values.shape)
        means = np.array([[_mean(values[r, c], median) for c in columns] for r in rows])
        return means - median if self.is_about_zero or not median > 0 else means / median


def _not_positive(median: float) -> VisitRejectedError:
    return VisitRejectedError(
        f"its median, {median:.6g}, is not positive, so it cannot be scaled (scale_by_median=False stacks "
        "visits as they are)"
    )


def _blocks(n: int) -> Iterator[slice]:
    edges = np.linspace(0, n, min(n, _SIGNATURE) + 1).round().astype(int)
    return (slice(*pair) for pair in itertools.pairwise(edges))


def _mean(values: np.ndarray, default: float) -> float:
    good = values[np.isfinite(values)]
    return float(good.mean()) if len(good) else default


def _distance(pattern: np.ndarray, reference: np.ndarray) -> float:
    return float(np.sqrt(np.mean((pattern - reference) ** 2)))
