# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("ApproxStyle", "Approximation", "Box", "InterpStyle", "Layer", "UndersampleStyle")

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from ._errors import BackgroundError

# afw counts pixels in an int.
_MAX_PIXELS = 2**31 - 1
# Far beyond any use (the pipelines' largest is 6), but the fit stays small.
_MAX_ORDER = 32
# The bit that afw gives the mask plane, unless a file says otherwise.
_NO_DATA = 8
# Terms times bins: a fit's memory is 16 bytes each.
_MAX_FIT = 1 << 26


class InterpStyle(enum.IntEnum):
    """How a grid of bins is interpolated (afw's ``Interpolate::Style``)."""

    CONSTANT = 0
    LINEAR = 1
    NATURAL_SPLINE = 2
    CUBIC_SPLINE = 3
    AKIMA_SPLINE = 5


class UndersampleStyle(enum.IntEnum):
    """What to do where a grid has too few points for its style (afw's codes)."""

    THROW_EXCEPTION = 0
    REDUCE_INTERP_ORDER = 1
    INCREASE_NXNYSAMPLE = 2


class ApproxStyle(enum.IntEnum):
    """What a grid is approximated by (afw's ``ApproximateControl::Style``)."""

    UNKNOWN = -1
    CHEBYSHEV = 0


class Box(NamedTuple):
    """A rectangle of pixels.

    Attributes
    ----------
    x0, y0
        Its first column and row, in the parent's pixel coordinates.
    width, height
        Its size in pixels.
    """

    x0: int
    y0: int
    width: int
    height: int

    @property
    def x1(self) -> int:
        """The column after the last."""
        return self.x0 + self.width

    @property
    def y1(self) -> int:
        """The row after the last."""
        return self.y0 + self.height

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    def contains(self, other: Box) -> bool:
        """Whether ``other`` lies inside this box."""
        return self.x0 <= other.x0 and self.y0 <= other.y0 and other.x1 <= self.x1 and other.y1 <= self.y1

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at ({self.x0}, {self.y0})"


@dataclass(frozen=True)
class Approximation:
    """How a layer's bins are approximated by a polynomial.

    Attributes
    ----------
    style
        `ApproxStyle.CHEBYSHEV` fits the bins; `ApproxStyle.UNKNOWN` leaves
        them to be interpolated.
    order_x, order_y
        Total order of the polynomial; both are equal (afw knows no other).
        A negative ``order_y`` means ``order_x``.
    weighting
        Whether bins are weighted by one over their standard error.
    """

    style: ApproxStyle = ApproxStyle.UNKNOWN
    order_x: int = 1
    order_y: int = -1
    weighting: bool = True

    def __post_init__(self) -> None:
        if self.order_y < 0:
            object.__setattr__(self, "order_y", self.order_x)


@dataclass(frozen=True, eq=False)
class Layer:
    """One grid of bins of a background, and how to make pixels of it.

    Attributes
    ----------
    values
        Value of each bin, ``float32``, shape (ny, nx), in the background's
        unit; NaN where a bin has none.
    standard_error
        Standard error of each value, ``float32``, shape (ny, nx), in the
        background's unit. afw keeps it in the plane that it calls variance.
    mask
        Mask of each bin, ``int32``, shape (ny, nx).
    bbox
        The pixels that the grid covers.
    interp_style
        How the bins are interpolated.
    undersample_style
        What to do if there are too few bins for ``interp_style``.
    approximation
        The fit that takes the place of interpolation, if any.
    mask_planes
        Bit number of each mask plane.

    Raises
    ------
    BackgroundError
        Raised if the arrays' shapes differ or do not fit the box.
    """

    values: np.ndarray = field(repr=False)
    standard_error: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)
    bbox: Box
    interp_style: InterpStyle = InterpStyle.AKIMA_SPLINE
    undersample_style: UndersampleStyle = UndersampleStyle.REDUCE_INTERP_ORDER
    approximation: Approximation = Approximation()
    mask_planes: Mapping[str, int] = field(default_factory=dict, repr=False)

    dtype: ClassVar[type] = np.float32

    def __post_init__(self) -> None:
        shape = self.values.shape
        if len(shape) != 2 or 0 in shape:
            raise BackgroundError(f"its bins are not a two-dimensional grid but have shape {shape}")
        for name, other in (("mask", self.mask), ("standard_error", self.standard_error)):
            if other.shape != shape:
                raise BackgroundError(f"{name} has shape {other.shape}, the bins have {shape}")
        if self.bbox.width <= 0 or self.bbox.height <= 0:
            raise BackgroundError(f"its box is empty: {self.bbox}")
        if self.bbox.area > _MAX_PIXELS:
            raise BackgroundError(
                f"its box has {self.bbox.area} pixels, more than {_MAX_PIXELS}: {self.bbox}"
            )
        if max(abs(self.bbox.x0), abs(self.bbox.y0), abs(self.bbox.x1), abs(self.bbox.y1)) > _MAX_PIXELS:
            raise BackgroundError(f"its box, {self.bbox}, ends beyond 32 bits")
        if shape[1] > self.bbox.width or shape[0] > self.bbox.height:
            raise BackgroundError(
                f"{shape[1]}x{shape[0]} bins are more than the pixels of its box, {self.bbox}"
            )
        approximation = self.approximation
        terms = (approximation.order_x + 1) * (approximation.order_x + 2) // 2
        if approximation.style is not ApproxStyle.UNKNOWN and not (
            0 <= approximation.order_x <= _MAX_ORDER and approximation.order_y == approximation.order_x
        ):
            raise BackgroundError(
                f"orders {approximation.order_x} and {approximation.order_y} are not one order from 0 "
                f"to {_MAX_ORDER}"
            )
        if approximation.style is not ApproxStyle.UNKNOWN and self.values.size * terms > _MAX_FIT:
            raise BackgroundError(f"a fit of {terms} terms to {self.values.size} bins is too large")
        object.__setattr__(self, "values", np.asarray(self.values, dtype=np.float32))
        object.__setattr__(self, "standard_error", np.asarray(self.standard_error, dtype=np.float32))
        object.__setattr__(self, "mask", np.asarray(self.mask, dtype=np.int32))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bins in y and x."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def method(self) -> str:
        """How pixels are made of the bins, in words."""
        fit = self.approximation
        if fit.style is ApproxStyle.UNKNOWN:
            return f"interpolation, {self.interp_style.name.lower().replace('_', ' ')}"
        weighted = ", weighted" if fit.weighting else ""
        return f"{fit.style.name.capitalize()} fit of order {fit.order_x}{weighted}"

    @cached_property
    def x_edges(self) -> np.ndarray:
        """First column of each bin and the end, local."""
        return _bin_edges(self.bbox.width, self.shape[1])

    @cached_property
    def y_edges(self) -> np.ndarray:
        """First row of each bin and the end, local."""
        return _bin_edges(self.bbox.height, self.shape[0])

    def _repr_html_(self) -> str:
        from ._html import layer_html

        return layer_html(self)

    @cached_property
    def bin_centers_x(self) -> np.ndarray:
        """Columns of the bins' centres, in the parent's coordinates
        (`numpy.ndarray` of ``float64``, shape (nx,)).
        """
        return _bin_centers(self.x_edges) + self.bbox.x0

    @cached_property
    def bin_centers_y(self) -> np.ndarray:
        """Rows of the bins' centres, in the parent's coordinates
        (`numpy.ndarray` of ``float64``, shape (ny,)).
        """
        return _bin_centers(self.y_edges) + self.bbox.y0

    @cached_property
    def measured(self) -> np.ndarray:
        """Which bins hold data (`numpy.ndarray` of `bool`, shape (ny, nx)):
        those that have a value, are not masked as ``NO_DATA``, have a finite
        error where any has one, and count in a fit.

        A bin may have a value although nothing was measured there: one that
        its neighbours, or the median of all, gave it.
        """
        measured = np.isfinite(self.values)
        bit = self.mask_planes.get("NO_DATA") if self.mask_planes else _NO_DATA
        if bit is not None:
            measured &= (self.mask & (1 << bit)) == 0
        known = np.isfinite(self.standard_error)
        if known.any():
            measured &= known
        if self.approximation.style is ApproxStyle.CHEBYSHEV:
            measured &= np.isfinite(self.fit_weights)
        return measured

    @cached_property
    def fit_weights(self) -> np.ndarray:
        """Weight of each bin in a fit (`numpy.ndarray` of ``float64``, shape
        (ny, nx)): the ``float32`` quotient 1 / standard error, as afw takes
        the plane for a variance, or 1.
        """
        if not self.approximation.weighting:
            return np.ones(self.shape)
        with np.errstate(divide="ignore", over="ignore"):
            return (np.float32(1) / self.standard_error).astype(np.float64)


def _bin_edges(size: int, n: int) -> np.ndarray:
    """Divide pixels among bins in integers, as afw does."""
    ends = np.minimum((np.arange(1, n + 1) * size + n // 2) // n, size)
    return np.concatenate([[0], ends])


def _bin_centers(edges: np.ndarray) -> np.ndarray:
    return edges[:-1] + 0.5 * np.diff(edges) - 0.5
