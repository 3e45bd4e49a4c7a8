# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The shapes that faults have on a grid of bins, as one list of templates."""

from __future__ import annotations

__all__ = ("DIGITS", "Profiles", "Template", "TemplateBank", "make_bank", "polynomials", "rough_part")

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

# Falls of an edge or a corner, sizes of spots and rings, widths of stripes (bins).
_EDGE_FALLS = (0.5, 1.0, 2.0)
_CORNER_FALLS = (1.0, 2.0, 4.0)
_SPOT_SIZES = (0.8, 1.3, 2.0, 3.0, 4.5)
_RING_SIZES = (1.0, 1.5, 2.2, 3.2)
_STRIPE_WIDTHS = (1, 2)
# Digits of a fraction of the sky that no rounding of sums reaches.
DIGITS = 12
# Terms of a sum that BLAS takes at once: some of OpenBLAS's kernels crash in
# sums over more than about 256.
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
    """Spots, or rings, of some sizes at the same places: sums of a few products of a
    profile in y and one in x.

    Attributes
    ----------
    y, x
        The profiles about each row and column of places, shapes (sizes, rows,
        products, bins) and (sizes, products, bins, columns).
    taken
        Which sizes at which places are taken, as flat indices of (size, row,
        column).
    """

    y: np.ndarray
    x: np.ndarray
    taken: np.ndarray

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        is_ring: bool,
        sizes: np.ndarray,
        rows: np.ndarray,
        columns: np.ndarray,
    ) -> Self:
        """Take all sizes at all places, given by their rows and columns.

        A spot is a Gaussian as wide as its size, in bins; a ring is that less the
        same times the squared distance in units of the size.
        """
        squares = [
            ((np.arange(n) - at[:, None]) / sizes[:, None, None]) ** 2
            for n, at in zip(shape, (rows, columns), strict=True)
        ]
        y, x = (np.exp(-square / 2) for square in squares)
        ys, xs = ([y * (1 - squares[0]), -y], [x, x * squares[1]]) if is_ring else ([y], [x])
        everything = np.arange(len(sizes) * len(rows) * len(columns))
        return cls(np.stack(ys, axis=2), np.stack(xs, axis=1).swapaxes(2, 3).copy(), everything)

    def draw(self, number: int) -> np.ndarray:
        """Return the shape at a place, its peak one, shape (ny, nx)."""
        size, row, column = np.unravel_index(self.taken[number], (*self.y.shape[:2], self.x.shape[3]))
        return np.asarray(np.einsum("sy,sx->yx", self.y[size, row], self.x[size, :, :, column]))

    def products(self, images: np.ndarray) -> np.ndarray:
        """Sum images, shape (k, ny, nx), times each shape; shape (k, taken)."""
        sizes, _, _, columns = self.x.shape
        parts = self.y.reshape(-1, self.y.shape[-1]) @ images
        sums = parts.reshape(len(images), sizes, self.y.shape[1], -1) @ self.x.reshape(sizes, -1, columns)
        return sums.reshape(len(images), -1).take(self.taken, axis=1)

    def squares(self) -> np.ndarray:
        """Sum the squares of each shape; shape (taken,)."""
        y = np.einsum("zjsb,zjtb->zjst", self.y, self.y)
        x = np.einsum("zsbi,ztbi->zist", self.x, self.x)
        return np.asarray(np.einsum("zjst,zist->zji", y, x).ravel()[self.taken])


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
        The others: spots and rings, by their sizes.
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
            if number < len(profiles.taken):
                return profiles.draw(number)
            number -= len(profiles.taken)
        raise IndexError(f"there are {len(self.templates)} templates")

    def project(self, residuals: np.ndarray) -> np.ndarray:
        """Project residuals without missing bins, shape (detectors, ny, nx): (detectors, templates)."""
        first, flat = len(self.filters), residuals.reshape(len(residuals), -1)
        rough = rough_part(self.basis, residuals)
        sums = [profiles.products(rough) for profiles in self.profiles]
        projections = np.concatenate([(_blocks(flat) @ self._blocks).sum(axis=0), *sums], axis=1)
        projections[:, first:] /= self.norms[first:]
        # BLAS rounds as the processor likes; of shapes that fit as well, the first counts.
        return np.round(projections, DIGITS)

    @cached_property
    def _blocks(self) -> np.ndarray:
        """The filters, some bins at a time, shape (blocks, bins, filters)."""
        return _blocks(self.filters).swapaxes(1, 2).copy()


def _blocks(flat: np.ndarray) -> np.ndarray:
    """Cut rows, with zeros appended, into blocks of so many terms as BLAS may sum,
    shape (blocks, rows, terms).
    """
    padded = np.zeros((len(flat), -(-flat.shape[1] // _TERMS) * _TERMS))
    padded[:, : flat.shape[1]] = flat
    return padded.reshape(len(flat), -1, _TERMS).swapaxes(0, 1)


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
    for family, all_sizes in (("spot", _SPOT_SIZES), ("ring", _RING_SIZES)):
        for spacing, sizes in itertools.groupby(all_sizes, _spacing):
            axes = [np.array([*sizes]), *(_places(n, spacing) for n in shape)]
            profiles = Profiles.of(shape, family == "ring", *axes)
            whole = profiles.squares()
            norm = np.sqrt(np.maximum(whole - (profiles.products(images) ** 2).sum(axis=0), 0.0))
            # A spot in a corner is a corner.
            corners = np.logical_and.outer(*(_at_end(at, n) for at, n in zip(axes[1:], shape, strict=True)))
            kept = _tells(norm, np.sqrt(whole)) & ~np.tile(corners.ravel(), len(axes[0]))
            places = itertools.product(*(axis.tolist() for axis in axes))
            templates += [Template(family, *place) for place in itertools.compress(places, kept)]
            norms.append(norm[kept])
            chosen.append(replace(profiles, taken=np.flatnonzero(kept)))
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


def _at_end(places: np.ndarray, n: int) -> np.ndarray:
    return np.minimum(places, n - 1 - places) < 1.5


def _spacing(size: float) -> int:
    """Return at which spacing of places no spot of a size is missed."""
    return max(1, int(size / 1.4))


def _places(n: int, spacing: int) -> np.ndarray:
    count = max(1, -(-n // spacing))
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
