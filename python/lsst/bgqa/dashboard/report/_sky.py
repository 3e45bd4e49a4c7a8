# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Outlines of detectors and patches, as a map shows them."""

from __future__ import annotations

__all__ = ("on_focal_plane", "project", "separate", "shared_border", "unit_vectors")

from collections.abc import Hashable, Mapping

import numpy as np

from ...statistics.focal_plane import tangent_plane

# Farther from the centre than this, a tangent plane stretches too much.
_MOST_DEGREES = 45.0


def unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Convert positions on the sky."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def project[K: Hashable](corners: Mapping[K, np.ndarray]) -> tuple[dict[K, np.ndarray], bool]:
    """Lay outlines on the sky out on a plane."""
    if not corners:
        return {}, True
    every = np.concatenate(list(corners.values()))
    center = every.sum(axis=0)
    length = float(np.linalg.norm(center))
    if length > 0:
        center = center / length
        if float((every @ center).min()) > np.cos(np.radians(_MOST_DEGREES)):
            return {key: tangent_plane(vectors, center) for key, vectors in corners.items()}, True
    outlines = {}
    middle = np.degrees(np.arctan2(center[1], center[0]))
    for key, vectors in corners.items():
        ra = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0]))
        dec = np.degrees(np.arcsin(np.clip(vectors[:, 2], -1, 1)))
        # No outline is torn apart at right ascension zero.
        own = middle + (ra[0] - middle + 180) % 360 - 180
        outlines[key] = np.stack([own + (ra - own + 180) % 360 - 180, dec], axis=1)
    return outlines, False


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
    stack = np.stack(list(outlines.values()))
    stack = stack - stack.mean(axis=(0, 1))
    sides = stack[:, 1] - stack[:, 0]
    # Detectors that are turned by a quarter are fewer than those that are not.
    angles = np.arctan2(sides[:, 1], sides[:, 0])
    best = angles[np.argmin([np.median(np.abs(np.angle(np.exp(1j * (angles - one))))) for one in angles])]
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
    every = list(outlines.values())
    centers = np.array([corners.mean(axis=0) for corners in every])
    factors = []
    for corners, center in zip(every, centers, strict=True):
        distances = np.hypot(*(centers - center).T)
        distances[distances == 0] = np.inf
        nearest = int(np.argmin(distances))
        if np.isfinite(distances[nearest]):
            direction = (centers[nearest] - center) / distances[nearest]
            reach = float(np.ptp(corners @ direction) + np.ptp(every[nearest] @ direction)) / 2
            factors.append(0.97 * float(distances[nearest]) / reach)
    factor = min(1.0, float(np.median(factors))) if factors else 1.0
    return {
        key: center + factor * (corners - center)
        for (key, corners), center in zip(outlines.items(), centers, strict=True)
    }


def shared_border(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return where two neighbours meet."""
    best: tuple[float, np.ndarray] | None = None
    for a0, a1 in zip(first, np.roll(first, -1, axis=0), strict=True):
        along = a1 - a0
        length2 = float(along @ along)
        if not length2 > 0:
            continue
        for b0, b1 in zip(second, np.roll(second, -1, axis=0), strict=True):
            # Where the other side's ends are along this one.
            t = np.sort([float((point - a0) @ along) / length2 for point in (b0, b1)])
            low, high = np.clip(t, 0, 1)
            apart = float(np.hypot(*((a0 + a1) / 2 - (b0 + b1) / 2)))
            ends = np.stack([a0 + low * along, a0 + high * along])
            # Across the gap, or the overlap, half the way to the other.
            normal = np.array([-along[1], along[0]]) / length2**0.5
            ends = ends + normal * float(((b0 + b1) / 2 - a0) @ normal) / 2
            if best is None or apart < best[0]:
                best = apart, ends
    if best is None:
        return np.stack([first.mean(axis=0), second.mean(axis=0)])
    return best[1]
