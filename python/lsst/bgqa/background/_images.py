# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Backgrounds that are fields of ``lsst.images``, evaluated as it does.

The surfaces repeat the definitions of ``lsst.images.fields`` in a form that
can be evaluated block by block, anywhere on a grid; ``SplineField`` is not
the spline of afw: it follows scipy's Akima interpolation, which continues the
outermost cubics beyond the outermost points.
"""

from __future__ import annotations

__all__ = ("FieldLayer", "differences_of_images", "layers_from_images")

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any, ClassVar

import astropy.units as u
import numpy as np

from ._errors import BackgroundError
from ._layer import Box, InterpStyle
from ._surfaces import SplineSurface, Surface

if TYPE_CHECKING:
    from lsst.images import BackgroundMap
    from lsst.images.fields import Field

# Changes of slope less than this share of the largest are none to scipy.
_AKIMA_CUTOFF = 1e-9
_MAX_ROWS = 1 << 15


@dataclass(frozen=True, eq=False)
class FieldLayer:
    """A term of a background that is a field of ``lsst.images``.

    Attributes
    ----------
    surface
        The function of position.
    bbox
        The pixels that it covers.
    values
        The points that a spline interpolates, ``float64``, shape (ny, nx),
        in the background's unit, NaN where one is missing; of shape (0, 0)
        where nothing is interpolated.
    bin_centers_x, bin_centers_y
        Where those points are, in the parent's coordinates, ``float64``,
        shapes (nx,) and (ny,).
    kind
        Name of the field's type.
    """

    surface: Surface = field(repr=False)
    bbox: Box
    values: np.ndarray = field(repr=False)
    bin_centers_x: np.ndarray = field(repr=False)
    bin_centers_y: np.ndarray = field(repr=False)
    kind: str

    dtype: ClassVar[type] = np.float64

    @property
    def shape(self) -> tuple[int, int]:
        """Number of points in y and x."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def measured(self) -> np.ndarray:
        """Which points hold data (`numpy.ndarray` of `bool`, shape (ny,
        nx)).
        """
        return np.isfinite(self.values)

    @property
    def method(self) -> str:
        """How pixels are made, in words."""
        return self.kind

    def _repr_html_(self) -> str:
        from ._html import layer_html

        return layer_html(self)

    @property
    def x_edges(self) -> np.ndarray:
        """Where columns of points meet half-way, and the borders, local."""
        return _edges_between(self.bin_centers_x - self.bbox.x0, self.bbox.width)

    @property
    def y_edges(self) -> np.ndarray:
        """Where rows of points meet half-way, and the borders, local."""
        return _edges_between(self.bin_centers_y - self.bbox.y0, self.bbox.height)


def _edges_between(centers: np.ndarray, size: int) -> np.ndarray:
    # As for bins, the edge before a pixel is called by its number.
    return np.concatenate([[0.0], 0.5 * (centers[1:] + centers[:-1]) + 0.5, [float(size)]])


def layers_from_images(
    background: Field | BackgroundMap, name: str | None, unit: u.UnitBase
) -> tuple[tuple[FieldLayer, ...], u.UnitBase]:
    """Take over a field of ``lsst.images``, or one out of a map.

    Without a name it is the map's field that was subtracted. The unit is the
    field's, or the given one where it has none; each term of a sum is a layer.
    """
    chosen = _choose(background, name)
    if chosen.unit is not None:
        unit = chosen.unit
    bounds = chosen.bounds.bbox
    bbox = Box(bounds.x.start, bounds.y.start, bounds.x.size, bounds.y.size)
    return tuple(_layer(term, bbox, unit) for term in _terms(chosen)), unit


def differences_of_images(background: BackgroundMap, name: str | None) -> dict[str, Field]:
    """Subtract one background of a map from each of the others, by name.

    Without a name it is the one that was subtracted from the image. Fields
    without a common unit or pixel are a `BackgroundError`.
    """
    from lsst.images.fields import SumField

    chosen = _choose(background, name)
    differences: dict[str, Field] = {}
    for other, entry in background.items():
        if entry.field is not chosen:
            try:
                differences[other] = SumField([chosen * -1.0, entry.field])
            except Exception as error:
                raise BackgroundError(f"background {other!r} cannot be compared: {error}") from error
    return differences


def _choose(background: Any, name: str | None) -> Any:
    if not isinstance(background, Mapping):
        if name is not None:
            raise BackgroundError(f"{type(background).__name__} is one background, none is named {name!r}")
        if not hasattr(background, "bounds"):
            raise BackgroundError(f"{type(background).__name__} is not a field of lsst.images")
        return background
    names = ", ".join(background) or "none"
    if name is not None:
        if name not in background:
            raise BackgroundError(f"there is no background {name!r} (there are: {names})")
        return background[name].field
    subtracted = background.subtracted  # type: ignore[attr-defined]
    if subtracted is None:
        raise BackgroundError(f"no background was subtracted (there are: {names})")
    return subtracted.field


def _terms(chosen: Any) -> list[Any]:
    if type(chosen).__name__ == "SumField":
        return [term for operand in chosen.operands for term in _terms(operand)]
    return [chosen]


def _layer(term: Any, bbox: Box, unit: u.UnitBase) -> FieldLayer:
    # Within a sum, units may differ, as long as they convert.
    factor = 1.0 if term.unit is None else float(term.unit.to(unit))
    surface = _surface(term, bbox)
    if factor != 1.0:
        surface = ProductSurface((surface, _constant(factor)))
    x, y, missing = _points(term, bbox)
    if len(x) and len(y):
        values = np.where(missing, np.nan, surface.evaluate(y, x))
    else:
        x, y, values = np.empty(0), np.empty(0), np.empty((0, 0))
    return FieldLayer(surface, bbox, values, x + bbox.x0, y + bbox.y0, type(term).__name__)


def _points(term: Any, bbox: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the first spline's points that lie in the box, local."""
    match type(term).__name__:
        case "SplineField":
            x, y = (np.asarray(a, dtype=np.float64) for a in (term.x, term.y))
            x, y = x - bbox.x0, y - bbox.y0
            inside_x = (x >= -0.5) & (x <= bbox.width - 0.5)
            inside_y = (y >= -0.5) & (y <= bbox.height - 0.5)
            missing = ~np.isfinite(term.data)[np.ix_(inside_y, inside_x)]
            return x[inside_x], y[inside_y], missing
        case "ProductField" | "SumField":
            found = [points for operand in term.operands if len((points := _points(operand, bbox))[0])]
            if found:
                return found[0]
    return np.empty(0), np.empty(0), np.empty((0, 0), dtype=bool)


def _surface(term: Any, bbox: Box) -> Surface:
    """Return the function that a field stands for, in local pixels."""
    match type(term).__name__:
        case "ChebyshevField":
            bounds = term.bounds.bbox
            return PolynomialSurface(
                np.asarray(term.coefficients, dtype=np.float64),
                y0=bounds.y.start + 0.5 * bounds.y.size - 0.5 - bbox.y0,
                x0=bounds.x.start + 0.5 * bounds.x.size - 0.5 - bbox.x0,
                height=bounds.y.size,
                width=bounds.x.size,
            )
        case "SplineField":
            return AkimaSurface(
                np.asarray(term.data, dtype=np.float64),
                y=np.asarray(term.y, dtype=np.float64) - bbox.y0,
                x=np.asarray(term.x, dtype=np.float64) - bbox.x0,
                height=bbox.height,
            )
        case "ProductField":
            return ProductSurface(tuple(_surface(operand, bbox) for operand in term.operands))
        case "SumField":
            parts = []
            for operand in term.operands:
                part = _surface(operand, bbox)
                factor = 1.0 if operand.unit is None else float(operand.unit.to(term.unit))
                parts.append(part if factor == 1.0 else ProductSurface((part, _constant(factor))))
            return SumSurface(tuple(parts))
    raise BackgroundError(f"{type(term).__name__} is not a known field of lsst.images")


class _Sampled:
    """A surface that is computed in double precision."""

    def evaluate(self, y: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        values = self._values(y, x)
        if out is None:
            return values
        out[...] = values
        return out

    def _values(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class PolynomialSurface(_Sampled):
    """A ``ChebyshevField``: Chebyshev polynomials of the first kind.

    Attributes
    ----------
    coefficients
        Coefficient of T_j(y') T_i(x') at [j, i], ``float64``.
    y0, x0
        Centre of the field's box, in local pixels.
    height, width
        Size of the field's box, over which y' and x' run from -1 to 1.
    """

    coefficients: np.ndarray
    y0: float
    x0: float
    height: int
    width: int

    x_breaks = np.empty(0)
    y_breaks = np.empty(0)

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.coefficients).all())

    @property
    def constant(self) -> float | None:
        return float(self.coefficients[0, 0]) if self.coefficients.size == 1 else None

    def _values(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        my, mx = (y - self.y0) * (2.0 / self.height), (x - self.x0) * (2.0 / self.width)
        return np.array(np.polynomial.chebyshev.chebgrid2d(my, mx, self.coefficients))


def _constant(value: float) -> PolynomialSurface:
    return PolynomialSurface(np.array([[value]]), 0.0, 0.0, 1, 1)


@dataclass(frozen=True, eq=False)
class AkimaSurface(_Sampled):
    """A ``SplineField``: scipy's Akima splines in y, and then in x.

    Attributes
    ----------
    data
        The points, ``float64``, shape (ny, nx); those that are not finite
        are skipped.
    y, x
        Where they are, in local pixels, shapes (ny,) and (nx,).
    height
        Number of rows that are made when the whole field is rendered.
    """

    data: np.ndarray
    y: np.ndarray
    x: np.ndarray
    height: int

    @cached_property
    def _good(self) -> np.ndarray:
        return np.isfinite(self.data)

    @cached_property
    def _good_columns(self) -> np.ndarray:
        return np.flatnonzero(self._good.any(axis=0))

    @cached_property
    def _columns(self) -> list[tuple[np.ndarray, np.ndarray, Any]]:
        """Columns that miss the same points, those rows, and their curves."""
        good = self._good[:, self._good_columns]
        patterns, owner = np.unique(good, axis=1, return_inverse=True)
        groups = []
        for i, keep in enumerate(patterns.T):
            members = np.flatnonzero(owner.ravel() == i)
            values = self.data[np.ix_(keep, self._good_columns[members])]
            groups.append((members, self.y[keep], _akima(self.y[keep], values)))
        return groups

    @property
    def is_finite(self) -> bool:
        return len(self._good_columns) > 0

    @property
    def constant(self) -> float | None:
        first = float(self.data[0, 0])
        return first if np.isfinite(first) and (self.data == first).all() else None

    @cached_property
    def _twin(self) -> SplineSurface:
        """The spline of afw through the same points: its pieces are the same,
        but for the borders.
        """
        values = np.where(self._good, self.data, np.nan)
        return SplineSurface(InterpStyle.AKIMA_SPLINE, self.x, self.y, values)

    @property
    def x_breaks(self) -> np.ndarray:
        return self._twin.x_breaks

    @property
    def y_breaks(self) -> np.ndarray:
        return self._twin.y_breaks

    @cached_property
    def _floor(self) -> float:
        """What scipy takes for no change of slope in the whole image: there
        it is given all rows at once.
        """
        x = self.x[self._good_columns]
        if len(x) < 3:
            return 0.0
        # Of an image too tall to be rendered, some rows do.
        rows = np.linspace(0, self.height - 1, min(self.height, _MAX_ROWS))
        nodes = self._nodes(np.rint(rows))
        return _AKIMA_CUTOFF * float(_slope_changes(_slopes(x, nodes)).max())

    def _nodes(self, y: np.ndarray) -> np.ndarray:
        """Interpolate the columns, shape (columns, rows)."""
        nodes = np.empty((len(self._good_columns), len(y)))
        for members, _, curves in self._columns:
            nodes[members] = curves(y).T
        return nodes

    def _values(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        if not self.is_finite:
            return np.full((len(y), len(x)), np.nan)
        rows = _akima(self.x[self._good_columns], self._nodes(y), self._floor)
        return np.ascontiguousarray(rows(x).T)


def _slopes(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Slopes between points, and two more beyond each end."""
    m = np.empty((len(x) + 3, values.shape[1]))
    m[2:-2] = np.diff(values, axis=0) / np.diff(x)[:, np.newaxis]
    m[1] = 2.0 * m[2] - m[3]
    m[0] = 2.0 * m[1] - m[2]
    m[-2] = 2.0 * m[-3] - m[-4]
    m[-1] = 2.0 * m[-2] - m[-3]
    return m


def _slope_changes(m: np.ndarray) -> np.ndarray:
    """Changes of slope to the left and right of each point, summed."""
    change = np.abs(np.diff(m, axis=0))
    return change[2:] + change[:-2]


def _akima(x: np.ndarray, values: np.ndarray, floor: float | None = None) -> Any:
    """Interpolate curves as scipy's ``Akima1DInterpolator`` does.

    The values have the shape (n, curves); what is returned makes values of
    shape (k, curves) of k positions. Changes of slope up to ``floor`` are none;
    by default that is a share of each curve's largest, as if each were
    interpolated alone.
    """
    if len(x) == 1:
        # lsst.images falls back to the nearest neighbour.
        return lambda at: np.broadcast_to(values, (len(at), values.shape[1]))
    from scipy.interpolate import CubicHermiteSpline

    if len(x) == 2:
        slope = np.broadcast_to(np.diff(values, axis=0) / (x[1] - x[0]), values.shape)
    else:
        m = _slopes(x, values)
        change = np.abs(np.diff(m, axis=0))
        total = change[2:] + change[:-2]
        least = _AKIMA_CUTOFF * total.max(axis=0) if floor is None else floor
        defined = total > least
        weight = np.divide(change[:-2], total, out=np.zeros_like(total), where=defined)
        leaning = m[1:-2] + weight * (m[2:-1] - m[1:-2])
        slope = np.where(defined, leaning, 0.5 * (m[3:] + m[:-3]))
    return CubicHermiteSpline(x, values, slope, extrapolate=True)


@dataclass(frozen=True, eq=False)
class _Combination(_Sampled):
    """Surfaces that are combined at each position."""

    operands: Sequence[Surface]

    @property
    def x_breaks(self) -> np.ndarray:
        return np.unique(np.concatenate([operand.x_breaks for operand in self.operands]))

    @property
    def y_breaks(self) -> np.ndarray:
        return np.unique(np.concatenate([operand.y_breaks for operand in self.operands]))

    @property
    def is_finite(self) -> bool:
        return all(operand.is_finite for operand in self.operands)

    @property
    def _constants(self) -> list[float] | None:
        constants = [operand.constant for operand in self.operands]
        known = [constant for constant in constants if constant is not None]
        return known if len(known) == len(constants) else None

    def _parts(self, y: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
        return [operand.evaluate(y, x) for operand in self.operands]


class ProductSurface(_Combination):
    """A ``ProductField``: the product of other surfaces."""

    @property
    def constant(self) -> float | None:
        constants = self._constants
        return None if constants is None else reduce(lambda a, b: a * b, constants)

    def _values(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return reduce(np.multiply, self._parts(y, x))


class SumSurface(_Combination):
    """A ``SumField`` inside a product: the sum of other surfaces."""

    @property
    def constant(self) -> float | None:
        constants = self._constants
        return None if constants is None else sum(constants)

    def _values(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        return reduce(np.add, self._parts(y, x))
