# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Campaigns with known faults, made of random numbers.

    python benchmarks/campaigns.py FOLDER --seed 1 [--camera lsst|hsc] [--hsc MANIFEST]

writes background files and a manifest that ``bgqa ingest`` takes. Sky and
camera: a smooth trend over the field, for LSSTCam vignetting at its edge;
a level and a pattern that each detector keeps from visit to visit;
amplifiers' steps; correlated lumps of faint sources; noise with long tails; a
few bins without a value. One detector in five has one fault. HSC's detectors
lie where a manifest of real visits says.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from lsst.bgqa import BackgroundModel
from lsst.bgqa.background import Approximation, ApproxStyle, Box, InterpStyle, Layer

FAULTS = (
    "dark_edge",
    "halo",
    "amp_step",
    "detector_offset",
    "corner",
    "outlier_bins",
    "dead_block",
    "extra_gradient",
    "ring",
    "stripe",
    "bowl",
)
"""Kinds of faults (`tuple` [`str`, ...])."""

_BIN = 128


@dataclass(frozen=True)
class Camera:
    """A camera: its name, the pixels and amplifiers of a detector, and where detectors are.

    ``corners`` has the right ascensions and declinations of each detector's
    corners; ``vignetting`` is what is lost at the edge of the field.
    """

    name: str
    width: int
    height: int
    segments: tuple[int, int]
    corners: dict[int, np.ndarray]
    vignetting: float


def hsc_camera(manifest: Path, visit: int = 1176) -> Camera:
    """Take HSC's detectors from a manifest."""
    rows = [row for row in json.loads(manifest.read_text()) if row["visit"] == visit]
    corners = {
        row["detector"]: np.stack([row["ra_corners_deg"], row["dec_corners_deg"]], axis=1) for row in rows
    }
    return Camera("HSC", rows[0]["width"], rows[0]["height"], (4, 1), corners, 0.0)


def lsst_camera() -> Camera:
    """Return a camera of 21 rafts of nine detectors."""
    pixel = 0.2 / 3600
    corners = {}
    number = 0
    for raft_y in range(5):
        for raft_x in range(5):
            if raft_x in (0, 4) and raft_y in (0, 4):
                continue
            for y in range(3):
                for x in range(3):
                    x0 = ((raft_x - 2) * 12700 + (x - 1) * 4200 - 2036) * pixel
                    y0 = ((raft_y - 2) * 12700 + (y - 1) * 4200 - 2000) * pixel
                    x1, y1 = x0 + 4072 * pixel, y0 + 4000 * pixel
                    # x is to the west, as on the sky.
                    corners[number] = np.array(
                        [[150 - x0, 2 + y0], [150 - x1, 2 + y0], [150 - x1, 2 + y1], [150 - x0, 2 + y1]]
                    )
                    number += 1
    return Camera("LSSTCam", 4072, 4000, (8, 2), corners, 0.35)


def _smooth(rng: np.random.Generator, shape: tuple[int, int], size: float) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.normal(size=(shape[0] + 16, shape[1] + 16)), size)[8:-8, 8:-8]
    return field / field.std()


def _fault(
    kind: str, rng: np.random.Generator, shape: tuple[int, int], segments: tuple[int, int]
) -> np.ndarray:
    """Return the shape of a fault, its peak one; NaN for dead bins."""
    ny, nx = shape
    y, x = np.mgrid[:ny, :nx].astype(float)
    v, u = (2 * y + 1 - ny) / ny, (2 * x + 1 - nx) / nx
    cy, cx = rng.uniform(1, ny - 2), rng.uniform(1, nx - 2)
    squared = (y - cy) ** 2 + (x - cx) ** 2
    values = np.zeros(shape)
    if kind == "dark_edge":
        return np.exp(
            -np.minimum(np.minimum(x, nx - 1 - x), np.minimum(y, ny - 1 - y)) / rng.uniform(0.3, 1.5)
        )
    if kind == "halo":
        return np.exp(-squared / 2 / rng.uniform(1, 3.5) ** 2)
    if kind == "ring":
        scaled = squared / rng.uniform(1.2, 3.2) ** 2
        return (1 - scaled) * np.exp(-scaled / 2)
    if kind == "amp_step":
        column, row = rng.integers(segments[0]), rng.integers(segments[1])
        inside = (np.floor((x + 0.5) * segments[0] / nx) == column) & (
            np.floor((y + 0.5) * segments[1] / ny) == row
        )
        return inside.astype(float)
    if kind == "corner":
        return np.exp(
            -(abs(y - rng.choice([0, ny - 1])) + abs(x - rng.choice([0, nx - 1]))) / rng.uniform(1, 2.5)
        )
    if kind == "outlier_bins":
        values.flat[rng.choice(values.size, rng.integers(3, 12), replace=False)] = 1.0
    elif kind == "dead_block":
        height, width = rng.integers(4, 9), rng.integers(4, 8)
        j, i = rng.integers(ny - height), rng.integers(nx - width)
        values[j : j + height, i : i + width] = np.nan
    elif kind == "extra_gradient":
        angle = rng.uniform(0, 2 * np.pi)
        values = np.cos(angle) * u + np.sin(angle) * v
        values /= abs(values).max()
    elif kind == "stripe":
        if rng.random() < 0.5:
            values[:, rng.integers(nx)] = 1.0
        else:
            values[rng.integers(ny)] = 1.0
    elif kind == "bowl":
        values = (u**2 + v**2) / 2
    elif kind == "detector_offset":
        values += 1.0
    return values


def make_campaign(
    camera: Camera, seed: int, visits: int = 3, sky: float = 2500.0, clean: bool = False
) -> list[dict[str, Any]]:
    """Make a campaign: a row a detector and visit.

    A row has a manifest's fields, and ``values`` and ``errors`` of the bins.
    """
    rng = np.random.default_rng(seed)
    shape = (round(camera.height / _BIN), round(camera.width / _BIN))
    if camera.name == "HSC":
        shape = (33, 17)
    outlines = np.array(list(camera.corners.values()))
    middle = outlines.mean(axis=(0, 1))
    plane = (outlines - middle) * [np.cos(np.radians(middle[1])), 1]
    plane /= np.sqrt((plane**2).sum(axis=-1).max())
    static_level = rng.normal(0, 0.004, len(outlines))
    static = [
        1e-4 * _smooth(rng, shape, 1.2)
        + sum(1e-4 * rng.normal() * _fault("amp_step", rng, shape, camera.segments) for _ in range(4))
        for _ in outlines
    ]
    rows = []
    for number in range(visits):
        level = sky * rng.uniform(0.6, 1.6)
        slopes, bends = rng.normal(0, 0.015, 2), rng.normal(0, 0.008, 3)
        for k, detector in enumerate(camera.corners):
            v, u = ((np.arange(n) + 0.5) / n for n in shape)
            v = v[:, None]
            weights = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], axis=-1)
            x, y = np.moveaxis(weights @ plane[k], -1, 0)
            field = 1 + slopes[0] * x + slopes[1] * y + bends[0] * x**2 + bends[1] * x * y + bends[2] * y**2
            radius = np.hypot(x, y)
            field *= 1 - camera.vignetting * np.clip((radius - 0.75) / 0.25, 0, None) ** 2
            field *= 1 + static_level[k] + rng.normal(0, 0.0015)
            local = float(np.median(field))
            error = 24 / 2250 / 126 * np.sqrt(2250 / level)
            noise = 1.15e-4 * rng.normal(size=shape) + 0.8e-4 * _smooth(rng, shape, 1.3)
            noise += np.where(rng.random(shape) < 0.01, rng.standard_t(5, shape) * 2e-4, 0)
            pattern = static[k] + noise * np.sqrt(2250 / level)
            clean_pattern = pattern.copy()
            kind, strength = "none", 0.0
            if not clean and rng.random() < 0.2:
                kind = str(rng.choice(FAULTS))
                strength = float(np.exp(rng.uniform(np.log(2e-4), np.log(1.6e-2))) * rng.choice([-1, 1]))
                if kind == "detector_offset":
                    strength *= 3
                shape_of = _fault(kind, rng, shape, camera.segments)
                pattern = pattern + (shape_of if kind == "dead_block" else strength * shape_of)
            values = level * (field + local * pattern)
            values[rng.random(shape) < 0.002] = np.nan
            rows.append(
                {
                    "file": f"{camera.name}_{seed}_{number}_{detector:03d}.fits",
                    "instrument": camera.name,
                    "visit": 1000 * (seed % 1000) + number,
                    "detector": detector,
                    "band": "z",
                    "physical_filter": "z",
                    "width": camera.width,
                    "height": camera.height,
                    "ra_corners_deg": camera.corners[detector][:, 0].tolist(),
                    "dec_corners_deg": camera.corners[detector][:, 1].tolist(),
                    "fault": kind,
                    "strength": strength,
                    "model": str(rng.choice(["chebyshev6", "akima"])),
                    "values": values,
                    "errors": np.full(shape, error * level * local) * rng.uniform(0.8, 1.2, shape),
                    "shape": None if kind in ("none", "dead_block") else _free(shape_of, kind),
                    "pattern": clean_pattern,
                }
            )
    _add_snr(rows)
    for row in rows:
        del row["shape"], row["pattern"]
    return rows


def _free(values: np.ndarray, kind: str) -> np.ndarray:
    """Take off what a matched filter may not count on."""
    v, u = ((2 * np.arange(n) + 1 - n) / n for n in values.shape)
    terms = [np.ones(values.size)]
    if kind != "extra_gradient":
        terms += [np.tile(u, len(v)), np.repeat(v, len(u))]
    basis = np.linalg.qr(np.stack(terms, axis=1))[0]
    flat = values.ravel()
    return flat - basis @ (basis.T @ flat)


def _add_snr(rows: list[dict[str, Any]]) -> None:
    """Add the significance that a matched filter has in each visit."""
    for visit in {row["visit"] for row in rows}:
        these = [row for row in rows if row["visit"] == visit]
        clean = np.array([row["pattern"].ravel() for row in these])
        for row in these:
            if row["fault"] in ("none", "detector_offset"):
                row["snr"] = float("nan")
            elif row["fault"] == "dead_block":
                row["snr"] = float("inf")
            else:
                scatter = 1.4826 * np.median(np.abs(clean @ row["shape"]))
                row["snr"] = float(abs(row["strength"]) * (row["shape"] @ row["shape"]) / scatter)


def write_campaign(rows: list[dict[str, Any]], folder: Path) -> Path:
    """Write a campaign's files and manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for row in rows:
        layer = Layer(
            row["values"],
            row["errors"],
            np.zeros(row["values"].shape, dtype=np.int32),
            Box(0, 0, row["width"], row["height"]),
            InterpStyle.AKIMA_SPLINE,
            approximation=Approximation(ApproxStyle.CHEBYSHEV, 6)
            if row["model"] == "chebyshev6"
            else Approximation(),
        )
        BackgroundModel((layer,)).write_fits(str(folder / row["file"]))
        entries.append({name: row[name] for name in row if name not in ("values", "errors")})
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(entries, default=str).replace("NaN", '"nan"').replace("Infinity", '"inf"'))
    return manifest


def main() -> None:
    """Make a campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--visits", type=int, default=3)
    parser.add_argument("--camera", choices=("lsst", "hsc"), default="lsst")
    parser.add_argument("--hsc", type=Path, default=Path("../shared/golden/hsc/manifest.json"))
    options = parser.parse_args()
    camera = lsst_camera() if options.camera == "lsst" else hsc_camera(options.hsc)
    print(write_campaign(make_campaign(camera, options.seed, options.visits), options.folder))


if __name__ == "__main__":
    main()
