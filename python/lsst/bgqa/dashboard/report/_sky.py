# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Outlines of detectors and patches, as a map shows them."""

from __future__ import annotations

__all__ = ("lay_out", "on_focal_plane", "project", "separate", "shared_borders", "unit_vectors")

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from ...statistics.focal_plane import tangent_plane

# Farther from the centre than this, a tangent plane stretches too much.
_MOST_DEGREES = 45.0


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Convert positions on the sky in degrees."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def lay_out[K: Hashable](
    corners: Mapping[K, np.ndarray], as_pixels: bool
) -> tuple[dict[K, np.ndarray], dict[str, tuple[float, float]]]:
    """Return outlines for a map, north up or as the pixels lie, and where north and east are."""
    outlines, arrows = project(corners), {"N": (0.0, 1.0), "E": (1.0, 0.0)}
    if as_pixels:
        outlines, arrows = on_focal_plane(outlines)
    return separate(outlines), arrows


def project[K: Hashable](corners: Mapping[K, np.ndarray]) -> dict[K, np.ndarray]:
    """Lay outlines on the sky out on a plane, in degrees."""
    if not corners:
        return {}
    vectors = _stacked([*corners.values()])
    center = vectors.sum(axis=(0, 1))
    length = float(np.linalg.norm(center))
    if length > 0 and (vectors @ center).min() > length * np.cos(np.radians(_MOST_DEGREES)):
        return dict(zip(corners, tangent_plane(vectors, center / length), strict=True))
    x, y, z = np.moveaxis(vectors, -1, 0)
    middle = np.degrees(np.arctan2(center[1], center[0]))
    # No outline is torn apart at right ascension zero.
    ra = np.degrees(np.arctan2(y, x))
    own = middle + (ra[:, :1] - middle + 180) % 360 - 180
    outlines = np.stack([own + (ra - own + 180) % 360 - 180, np.degrees(np.arcsin(np.clip(z, -1, 1)))], -1)
    return dict(zip(corners, outlines, strict=True))


def on_focal_plane[K: Hashable](
    outlines: Mapping[K, np.ndarray],
) -> tuple[dict[K, np.ndarray], dict[str, tuple[float, float]]]:
    """Turn outlines so that most have their pixels' x to the right, y up.

    Outlines are those of a plane with east along x and north along y, their
    corners in the order of the pixels'. The second value says where north
    and east are then; it is empty, and outlines as they are, if one has not
    four corners.
    """
    if not outlines or any(len(corners) != 4 for corners in outlines.values()):
        return dict(outlines), {}
    stack = np.stack([*outlines.values()])
    stack = stack - stack.mean(axis=(0, 1))
    sides = stack[:, 1] - stack[:, 0]
    # Detectors that are turned by a quarter are fewer than those that are not.
    angles = np.arctan2(sides[:, 1], sides[:, 0])
    apart = np.abs((angles[:, None] - angles + np.pi) % (2 * np.pi) - np.pi)
    best = angles[np.argmin(np.median(apart, axis=1))]
    cos, sin = np.cos(-best), np.sin(-best)
    turn = np.array([[cos, sin], [-sin, cos]])
    if np.median((stack @ turn)[:, 3, 1] - (stack @ turn)[:, 0, 1]) < 0:
        turn[:, 1] *= -1
    (east, north), turned = turn.tolist(), stack @ turn
    return dict(zip(outlines, turned, strict=True)), {"N": tuple(north), "E": tuple(east)}


def separate[K: Hashable](outlines: Mapping[K, np.ndarray]) -> dict[K, np.ndarray]:
    """Make outlines smaller, so that neighbours do not hide each other."""
    if len(outlines) < 2:
        return dict(outlines)
    corners = _stacked([*outlines.values()])
    centers = corners.mean(axis=1)
    distances = np.hypot(*np.moveaxis(centers[:, None] - centers, -1, 0))
    distances[distances == 0] = np.inf
    nearest, distance = distances.argmin(axis=1), distances.min(axis=1)
    direction = (centers[nearest] - centers) / distance[:, None]
    along = np.stack([corners, corners[nearest]]) @ direction[:, :, None]
    with np.errstate(divide="ignore"):
        factors = 0.97 * distance / np.ptp(along, axis=2).mean(axis=0)[:, 0]
    factor = min(1.0, float(np.median(factors)))
    smaller = centers[:, None] + factor * (corners - centers[:, None])
    return dict(zip(outlines, smaller, strict=True))


def shared_borders(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> np.ndarray:
    """Return where neighbours meet, shape (pairs, 2 ends, 2)."""
    # The sides of the first run down, those of the second across.
    a0, b0 = _stacked(first)[:, :, None], _stacked(second)[:, None]
    a1, b1 = np.roll(a0, -1, axis=1), np.roll(b0, -1, axis=2)
    along, middle = a1 - a0, (b0 + b1) / 2
    length2 = (along**2).sum(axis=-1, keepdims=True)
    is_side = (length2[..., 0] > 0) & ((b1 - b0) != 0).any(axis=-1)
    length2 = np.where(length2 > 0, length2, 1)
    # Where the other side's ends are along this one.
    ends = np.sort([((b - a0) * along).sum(axis=-1, keepdims=True) / length2 for b in (b0, b1)], axis=0)
    # Across the gap, or the overlap, half the way to the other.
    normal = along[..., ::-1] * (-1, 1) / length2**0.5
    shift = normal * ((middle - a0) * normal).sum(axis=-1, keepdims=True) / 2
    borders = np.moveaxis(a0 + np.clip(ends, 0, 1) * along + shift, 0, -2)
    apart = np.where(is_side, np.hypot(*np.moveaxis((a0 + a1) / 2 - middle, -1, 0)), np.inf)
    flat = apart.reshape(len(apart), -1)
    return borders.reshape(*flat.shape, 2, 2)[np.arange(len(flat)), flat.argmin(axis=1)]


def _stacked(outlines: Sequence[np.ndarray]) -> np.ndarray:
    """Return outlines as one array; one with fewer corners repeats its last."""
    if len({*map(len, outlines)}) == 1:
        return np.stack(outlines)
    most = np.arange(max(map(len, outlines)))
    return np.stack([corners[np.minimum(most, len(corners) - 1)] for corners in outlines])
