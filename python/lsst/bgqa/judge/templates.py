# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The shapes that faults have on a grid of bins, as one list of templates."""

from __future__ import annotations

__all__ = ("Profiles", "Template", "TemplateBank", "make_bank", "polynomials", "rough_part")

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

# Falls of an edge or a corner, sizes of spots and rings, widths of stripes (bins).
_EDGE_FALLS = (0.5, 1.0, 2.0)
_CORNER_FALLS = (1.0, 2.0, 4.0)
_SPOT_SIZES = (0.8, 1.3, 2.0, 3.0, 4.5)
_RING_SIZES = (1.0, 1.5, 2.2, 3.2)
_STRIPE_WIDTHS = (1, 2)
# Digits of a projection, a fraction of the sky, which no rounding reaches.
_DIGITS = 12
# Terms of a sum that BLAS takes at once.
_TERMS = 128
# Layouts of amplifiers that are looked for where none is configured.
_LAYOUTS = ((4, 1), (8, 2))


class Template(NamedTuple):
    """One shape at one place.

    Attributes
    ----------
    family
        What it is a sign of.
    scale
        Its size in bins; 0 where it has none.
    row, column
        Where it is, in bins; -1 for all of them.
    """

    family: str
    scale: float
    row: float
    column: float


@dataclass(frozen=True, eq=False)
class Profiles:
    """Spots, or rings, of one size at many places: sums of a few products of a
    profile in y and one in x.

    Attributes
    ----------
    y, x
        The profiles about each row and column of places, shape (products,
        places, bins).
    places
        Which of the places in y times those in x are taken, as flat indices.
    """

    y: np.ndarray
    x: np.ndarray
    places: np.ndarray

    @classmethod
    def of(
        cls, shape: tuple[int, int], size: float, is_ring: bool
    ) -> tuple[Profiles, list[tuple[float, float]]]:
        """Choose places on a grid that are dense enough for none to be missed.

        A spot is a Gaussian as wide as its size, in bins; a ring is that less the
        same times the squared distance in units of the size. It also returns
        the row and the column of each place.
        """
        rows, columns = (_places(n, size) for n in shape)
        squares = [
            ((np.arange(n) - at[:, None]) / size) ** 2 for n, at in zip(shape, (rows, columns), strict=True)
        ]
        y, x = (np.exp(-square / 2) for square in squares)
        if is_ring:
            ys, xs = np.stack([y * (1 - squares[0]), -y]), np.stack([x, x * squares[1]])
        else:
            ys, xs = y[np.newaxis], x[np.newaxis]
        places = list(itertools.product(rows.tolist(), columns.tolist()))
        # A spot in a corner is a corner.
        kept = [i for i, (j, k) in enumerate(places) if not (_at_end(j, shape[0]) and _at_end(k, shape[1]))]
        return cls(ys, xs, np.array(kept, dtype=np.int64)), [places[i] for i in kept]

    def take(self, kept: np.ndarray) -> Profiles:
        """Return some of the places: those ``kept``, ``bool``, shape (places,)."""
        return replace(self, places=self.places[kept])

    def draw(self, number: int) -> np.ndarray:
        """Return the shape at a place, its peak one, shape (ny, nx)."""
        j, i = divmod(int(self.places[number]), self.x.shape[1])
        return np.asarray(np.einsum("sy,sx->yx", self.y[:, j], self.x[:, i]))

    def products(self, images: np.ndarray) -> np.ndarray:
        """Sum images, shape (k, ny, nx), times each shape; shape (k, places)."""
        parts = self.y @ images[:, np.newaxis]
        sums = (parts @ self.x.swapaxes(1, 2)).sum(axis=1)
        return np.asarray(sums.reshape(len(images), -1)[:, self.places])

    def squares(self) -> np.ndarray:
        """Sum the squares of each shape; shape (places,)."""
        y, x = (np.einsum("spb,tpb->stp", axis, axis) for axis in (self.y, self.x))
        return np.asarray(np.einsum("stj,sti->ji", y, x).ravel()[self.places])


@dataclass(frozen=True, eq=False)
class TemplateBank:
    """Templates for one shape of grid, with what is smooth taken off.

    Attributes
    ----------
    shape
        Number of bins in y and x.
    filters
        The first templates, all but spots and rings, with the nuisance
        projected out and of norm one, shape (filters, bins).
    profiles
        The others: spots and rings, size by size.
    norms
        Norms before that, of a template whose peak is one, ``float64``,
        shape (templates,).
    smooth
        What was projected out of ``filters``, in terms of ``basis``, shape
        (filters, terms).
    groups
        Templates that differ in nothing but their place.
    basis
        Orthonormal basis of the nuisance, shape (bins, terms).
    """

    shape: tuple[int, int]
    templates: tuple[Template, ...]
    filters: np.ndarray
    profiles: tuple[Profiles, ...]
    norms: np.ndarray
    smooth: np.ndarray
    groups: tuple[slice, ...]
    families: dict[str, slice]
    basis: np.ndarray

    def draw(self, number: int) -> np.ndarray:
        """Draw one template with what is smooth in it, its peak one, shape (ny, nx)."""
        if number < len(self.filters):
            values = self.norms[number] * self.filters[number] + self.basis @ self.smooth[number]
            return values.reshape(self.shape)
        number -= len(self.filters)
        for profiles in self.profiles:
            if number < len(profiles.places):
                return profiles.draw(number)
            number -= len(profiles.places)
        raise IndexError(f"there are {len(self.templates)} templates")

    def project(self, residuals: np.ndarray) -> np.ndarray:
        """Project residuals without missing bins, shape (detectors, ny, nx): (detectors, templates)."""
        flat = residuals.reshape(len(residuals), -1)
        rough = rough_part(self.basis, residuals)
        local = np.concatenate([profiles.products(rough) for profiles in self.profiles], axis=1)
        local /= self.norms[len(self.filters) :]
        # BLAS rounds as the processor likes; of shapes that fit as well, the first counts.
        return np.round(np.concatenate([_products(flat, self.filters), local], axis=1), _DIGITS)


def _products(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a @ b.T, summed over few terms at a time: some of OpenBLAS's
    kernels crash in sums over more.
    """
    steps = range(0, a.shape[1], _TERMS)
    return np.asarray(sum(a[:, i : i + _TERMS] @ b[:, i : i + _TERMS].T for i in steps))


def polynomials(shape: tuple[int, int], order: int) -> np.ndarray:
    """Return an orthonormal basis of polynomials, the lowest order first, shape (bins, terms)."""
    y, x = (_coordinates(n) for n in shape)
    terms = [np.outer(y**j, x ** (total - j)).ravel() for total in range(order + 1) for j in range(total + 1)]
    basis, triangle = np.linalg.qr(np.stack(terms, axis=1))
    size = np.abs(np.diag(triangle))
    # Grids of few bins have no higher orders.
    return basis[:, size > 1e-9 * size.max()]


def rough_part(basis: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Take off what a basis, shape (bins, terms), has of bins.

    The bins are those of several backgrounds, shape (backgrounds, bins) or
    (backgrounds, ny, nx).
    """
    flat = values.reshape(len(values), -1)
    # BLAS would round sums over so many bins by its threads and the processor.
    smooth = np.einsum("dt,bt->db", np.einsum("db,bt->dt", flat, basis), basis)
    return np.asarray(flat - smooth).reshape(values.shape)


@functools.lru_cache(maxsize=16)
def make_bank(shape: tuple[int, int], segments: tuple[int, int] | None, order: int) -> TemplateBank:
    """Make the templates for a shape of grid; each is made once.

    Parameters
    ----------
    shape
        Number of bins in y and x.
    segments
        Number of segments (amplifiers) in x and y.
    order
        Total order of the polynomial that is projected out: 1 where the
        visit's own smooth field was taken off before, else higher. Gradients
        and bowls are judged in the former case alone.
    """
    basis = polynomials(shape, order)
    templates: list[Template] = []
    filters, norms, smooth = [], [], []
    for labels, values in _dense_templates(shape, segments, order):
        if not labels:
            continue
        flat = values.reshape(len(labels), -1)
        nuisance = basis[:, :1] if labels[0].family == "gradient" else basis
        part = np.einsum("tb,bk->tk", flat, nuisance)
        projected = flat - np.einsum("tk,bk->tb", part, nuisance)
        norm = np.linalg.norm(projected, axis=1)
        kept = _tells(norm, np.linalg.norm(flat, axis=1))
        templates += itertools.compress(labels, kept)
        filters.append(np.round(projected[kept] / norm[kept, None], 6))
        norms.append(norm[kept])
        smooth.append(np.pad(part[kept], ((0, 0), (0, basis.shape[1] - part.shape[1]))))
    images = basis.T.reshape(-1, *shape)
    chosen = []
    for family, sizes in (("spot", _SPOT_SIZES), ("ring", _RING_SIZES)):
        for size in sizes:
            profiles, places = Profiles.of(shape, size, family == "ring")
            whole = profiles.squares()
            norm = np.sqrt(np.maximum(whole - (profiles.products(images) ** 2).sum(axis=0), 0.0))
            kept = _tells(norm, np.sqrt(whole))
            templates += [Template(family, size, *place) for place in itertools.compress(places, kept)]
            norms.append(norm[kept])
            chosen.append(profiles.take(kept))
    return TemplateBank(
        shape,
        tuple(templates),
        np.concatenate(filters),
        tuple(chosen),
        np.concatenate(norms),
        np.concatenate(smooth),
        tuple(_runs([(template.family, template.scale) for template in templates]).values()),
        _runs([template.family for template in templates]),
        basis,
    )


def _tells(norm: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Tell which templates are not smooth themselves, as on a small grid."""
    return np.asarray(norm > np.maximum(0.1 * whole, 1e-6))


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


def _dense_templates(
    shape: tuple[int, int], segments: tuple[int, int] | None, order: int
) -> Iterator[tuple[list[Template], np.ndarray]]:
    """Yield all but spots and rings, by family and scale, their peaks one."""
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
