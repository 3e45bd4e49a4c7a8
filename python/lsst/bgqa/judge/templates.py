# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The shapes that faults have on a grid of bins, as one list of templates."""

from __future__ import annotations

__all__ = ("Template", "TemplateBank", "make_bank", "polynomials")

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# Falls of an edge or a corner, sizes of spots and rings, widths of stripes (bins).
_EDGE_FALLS = (0.5, 1.0, 2.0)
_CORNER_FALLS = (1.0, 2.0, 4.0)
_SPOT_SIZES = (0.8, 1.3, 2.0, 3.0, 4.5)
_RING_SIZES = (1.0, 1.5, 2.2, 3.2)
_STRIPE_WIDTHS = (1, 2)
# Layouts of amplifiers that are looked for where none is configured.
_LAYOUTS = ((4, 1), (8, 2))


class Template(NamedTuple):
    """One shape at one place.

    Attributes
    ----------
    family : `str`
        What it is a sign of.
    scale : `float`
        Its size in bins; 0 where it has none.
    row, column : `float`
        Where it is, in bins; -1 for all of them.
    """

    family: str
    scale: float
    row: float
    column: float


@dataclass(frozen=True, eq=False)
class TemplateBank:
    """Templates for one shape of grid, with what is smooth taken off.

    Attributes
    ----------
    shape : `tuple` [`int`, `int`]
        Number of bins in y and x.
    templates : `tuple` [`Template`, ...]
        What each is.
    filters : `numpy.ndarray`
        Templates with the nuisance projected out, of norm one, ``float32``,
        shape (templates, bins).
    norms : `numpy.ndarray`
        Norms before that, of a template whose peak is one, ``float64``,
        shape (templates,).
    smooth : `numpy.ndarray`
        What was projected out, in terms of ``basis``, shape (templates,
        terms).
    groups : `tuple` [`slice`, ...]
        Templates that differ in nothing but their place.
    families : `dict` [`str`, `slice`]
        Templates of each family.
    basis : `numpy.ndarray`
        Orthonormal basis of the nuisance, shape (bins, terms).
    """

    shape: tuple[int, int]
    templates: tuple[Template, ...]
    filters: np.ndarray
    norms: np.ndarray
    smooth: np.ndarray
    groups: tuple[slice, ...]
    families: dict[str, slice]
    basis: np.ndarray

    def draw(self, number: int) -> np.ndarray:
        """Return one template, with what is smooth in it.

        Parameters
        ----------
        number : `int`
            Number of the template.

        Returns
        -------
        values : `numpy.ndarray`
            Its peak is one, shape (ny, nx).
        """
        values = self.norms[number] * self.filters[number] + self.basis @ self.smooth[number]
        return values.reshape(self.shape)


def polynomials(shape: tuple[int, int], order: int) -> np.ndarray:
    """Return an orthonormal basis of the polynomials on a grid.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Number of bins in y and x.
    order : `int`
        Total order.

    Returns
    -------
    basis : `numpy.ndarray`
        Columns are polynomials, the lowest order first, shape (bins, terms).
    """
    y, x = (_coordinates(n) for n in shape)
    terms = [np.outer(y**j, x ** (total - j)).ravel() for total in range(order + 1) for j in range(total + 1)]
    basis, triangle = np.linalg.qr(np.stack(terms, axis=1))
    size = np.abs(np.diag(triangle))
    # Grids of few bins have no higher orders.
    return basis[:, size > 1e-9 * size.max()]


@functools.lru_cache(maxsize=16)
def make_bank(shape: tuple[int, int], segments: tuple[int, int] | None, order: int) -> TemplateBank:
    """Make the templates for a shape of grid; each is made once.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Number of bins in y and x.
    segments : `tuple` [`int`, `int`] or `None`
        Number of segments (amplifiers) in x and y.
    order : `int`
        Total order of the polynomial that is projected out: 1 where the
        visit's own smooth field was taken off before, else higher. Gradients
        and bowls are judged in the former case alone.

    Returns
    -------
    bank : `TemplateBank`
        The templates.
    """
    basis = polynomials(shape, order)
    templates: list[Template] = []
    filters, norms, smooth = [], [], []
    for labels, values in _all_templates(shape, segments, order):
        if not labels:
            continue
        flat = values.reshape(len(labels), -1)
        nuisance = basis[:, :1] if labels[0].family == "gradient" else basis
        part = flat @ nuisance
        projected = flat - part @ nuisance.T
        norm = np.linalg.norm(projected, axis=1)
        # What is smooth itself, on a small grid, tells of nothing.
        kept = norm > np.maximum(0.1 * np.linalg.norm(flat, axis=1), 1e-6)
        templates += itertools.compress(labels, kept)
        filters.append(np.round(projected[kept] / norm[kept, None], 6).astype(np.float32))
        norms.append(norm[kept])
        smooth.append(np.pad(part[kept], ((0, 0), (0, basis.shape[1] - part.shape[1]))))
    return TemplateBank(
        shape,
        tuple(templates),
        np.concatenate(filters),
        np.concatenate(norms),
        np.concatenate(smooth),
        tuple(_runs([(template.family, template.scale) for template in templates]).values()),
        _runs([template.family for template in templates]),
        basis,
    )


def _runs[K](keys: list[K]) -> dict[K, slice]:
    runs: dict[K, slice] = {}
    first = 0
    for key, members in itertools.groupby(keys):
        count = len(list(members))
        runs[key] = slice(first, first + count)
        first += count
    return runs


def _coordinates(n: int) -> np.ndarray:
    """Return the bins' centres in units of half the size, about the middle."""
    return (2 * np.arange(n) + 1 - n) / n


def _all_templates(
    shape: tuple[int, int], segments: tuple[int, int] | None, order: int
) -> Iterator[tuple[list[Template], np.ndarray]]:
    """Yield templates of one family and scale, their peaks one."""
    ny, nx = shape
    y, x = np.arange(ny)[:, None], np.arange(nx)[None, :]
    v, u = _coordinates(ny)[:, None], _coordinates(nx)[None, :]
    if order == 1:
        # An amplitude is half of what it rises from edge to edge.
        yield [Template("gradient", 0, -1, -1)], (u + 0 * v)[None]
        yield [Template("gradient", 1, -1, -1)], (v + 0 * u)[None]
        yield [Template("bowl", 0, -1, -1)], (1 - (u**2 + v**2) / 2)[None]
    distance = np.minimum(np.minimum(x, nx - 1 - x), np.minimum(y, ny - 1 - y))
    for fall in _EDGE_FALLS:
        yield [Template("edge", fall, -1, -1)], np.exp(-distance / fall)[None]
    corners = list(itertools.product((0, ny - 1), (0, nx - 1)))
    for fall in _CORNER_FALLS:
        shapes = [np.exp(-(abs(y - j) + abs(x - i)) / fall) for j, i in corners]
        yield [Template("corner", fall, j, i) for j, i in corners], np.array(shapes)
    yield from _segment_templates(shape, segments)
    for width in _STRIPE_WIDTHS:
        columns = np.arange(nx - width + 1)[:, None, None]
        inside = (x >= columns) & (x < columns + width) & (y >= 0)
        middle = columns.ravel() + (width - 1) / 2
        yield [Template("stripe", width, -1, float(i)) for i in middle], inside.astype(float)
    for width in _STRIPE_WIDTHS:
        rows = np.arange(ny - width + 1)[:, None, None]
        inside = (y >= rows) & (y < rows + width) & (x >= 0)
        middle = rows.ravel() + (width - 1) / 2
        yield [Template("stripe", -width, float(j), -1) for j in middle], inside.astype(float)
    for family, sizes in (("spot", _SPOT_SIZES), ("ring", _RING_SIZES)):
        for size in sizes:
            places_y, places_x = _places(ny, size), _places(nx, size)
            squared_y = ((np.arange(ny) - places_y[:, None]) / size) ** 2
            squared_x = ((np.arange(nx) - places_x[:, None]) / size) ** 2
            squared = squared_y[:, None, :, None] + squared_x[None, :, None, :]
            spots = np.exp(-squared / 2) * ((1 - squared) if family == "ring" else 1)
            labels = [Template(family, size, float(j), float(i)) for j in places_y for i in places_x]
            # A spot in a corner is a corner.
            kept = np.array([not (_at_end(t.row, ny) and _at_end(t.column, nx)) for t in labels])
            yield list(itertools.compress(labels, kept)), spots.reshape(-1, ny, nx)[kept]


def _at_end(place: float, n: int) -> bool:
    return min(place, n - 1 - place) < 1.5


def _places(n: int, size: float) -> np.ndarray:
    """Return places that are dense enough for no spot to be missed."""
    count = max(1, -(-n // max(1, int(size / 1.4))))
    return np.linspace(0, n - 1, count) if count > 1 else np.array([(n - 1) / 2])


def _segment_templates(
    shape: tuple[int, int], segments: tuple[int, int] | None
) -> Iterator[tuple[list[Template], np.ndarray]]:
    """Yield segments higher than the others, one by one, and rows of them."""
    layouts = _LAYOUTS if segments is None else (segments,)
    for number, (count_x, count_y) in enumerate(layouts):
        if count_x * count_y < 2 or count_x > shape[1] or count_y > shape[0]:
            continue
        rows, columns = (_shares(n, count) for n, count in zip(shape, (count_y, count_x), strict=True))
        # Segments are numbered along x first.
        yield (
            [Template("segment", 3 * number, j, i) for j in range(count_y) for i in range(count_x)],
            (rows[:, None, :, None] * columns[None, :, None, :]).reshape(-1, *shape),
        )
        if count_x > 1 and count_y > 1:
            whole = np.ones(shape)
            yield (
                [Template("segment", 3 * number + 1, -1, i) for i in range(count_x)],
                whole * columns[:, None, :],
            )
            yield [Template("segment", 3 * number + 2, count_y - 1, -1)], (whole * rows[-1][:, None])[None]


def _shares(n: int, count: int) -> np.ndarray:
    """Return which share of each of n bins belongs to each of the segments."""
    edges = np.arange(n + 1) / n * count
    segment = np.arange(count)[:, None]
    shared = np.minimum(edges[1:], segment + 1) - np.maximum(edges[:-1], segment)
    return np.clip(shared, 0, None) * n / count
