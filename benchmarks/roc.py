# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Draw how many faults a limit finds against how many it invents.

    python benchmarks/roc.py PNG [--seeds 6] [--hsc MANIFEST]

for each kind of fault, on campaigns that ``campaigns.py`` makes of an HSC and
an LSSTCam: the share of clean detectors beyond a limit of the significance,
and that of the faults that a matched filter sees at 7 and at 10 sigma.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from campaigns import hsc_camera, lsst_camera, make_campaign
from power import SHARED

from lsst.bgqa.background import Box
from lsst.bgqa.judge import JudgeSettings, measure_together
from lsst.bgqa.judge.bins import Bins
from lsst.bgqa.statistics.focal_plane import tangent_plane

FAMILIES = {
    "dark_edge": "edge",
    "halo": "spot",
    "amp_step": "segment",
    "corner": "corner",
    "outlier_bins": "bin",
    "extra_gradient": "gradient",
    "ring": "ring",
    "stripe": "stripe",
    "bowl": "bowl",
}
"""Family of templates of each kind of fault (`dict` [`str`, `str`])."""


def measure(rows: list[dict[str, Any]], segments: tuple[int, int]) -> list[dict[str, float]]:
    """Measure a campaign visit by visit, without the pipeline.

    Limits are so high that no cause hides another.
    """
    names = ("edge", "corner", "segment", "stripe", "spot", "ring", "bin", "gradient", "bowl")
    settings = JudgeSettings(segments, high={f"significance_{name}Sigma": np.inf for name in names})
    found: dict[int, dict[str, float]] = {}
    for visit in {row["visit"] for row in rows}:
        these = [i for i, row in enumerate(rows) if row["visit"] == visit]
        ra, dec = (np.radians([rows[i][f"{axis}_corners_deg"] for i in these]) for axis in ("ra", "dec"))
        vectors = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
        center = vectors.mean(axis=(0, 1))
        corners = tangent_plane(vectors, center / np.linalg.norm(center))
        grids = [
            Bins(rows[i]["values"], rows[i]["errors"], Box(0, 0, rows[i]["width"], rows[i]["height"]))
            for i in these
        ]
        members, _ = measure_together(grids, list(corners), [""] * len(these), settings)
        found |= {i: member.values for i, member in zip(these, members, strict=True)}
    return [found[i] for i in range(len(rows))]


def main() -> None:
    """Draw the curves."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("png", type=Path)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--hsc", type=Path, default=SHARED / "hsc" / "manifest.json")
    options = parser.parse_args()
    limits = JudgeSettings().limits
    figure, axes = plt.subplots(3, 3, figsize=(9, 8), sharex=True, sharey=True, layout="constrained")
    rows, values = [], []
    for camera in (hsc_camera(options.hsc), lsst_camera()):
        for seed in range(101, 101 + options.seeds):
            campaign = make_campaign(camera, seed)
            rows += campaign
            values += measure(campaign, camera.segments)
    kinds = np.array([row["fault"] for row in rows])
    snr = np.array([row["snr"] for row in rows])
    for axis, (kind, family) in zip(axes.flat, FAMILIES.items(), strict=True):
        sigma = np.abs([row.get(f"significance_{family}Sigma", 0.0) for row in values])
        clean = sigma[kinds == "none"]
        cuts = np.linspace(0, 15, 301)
        alarms = np.array([np.mean(clean > cut) for cut in cuts])
        for least, color in ((7, "C1"), (10, "C0")):
            faults = sigma[(kinds == kind) & (snr >= least)]
            power = np.array([np.mean(faults > cut) for cut in cuts])
            axis.plot(np.maximum(alarms, 2e-4), power, color=color, label=f"S/N ≥ {least} ({len(faults)})")
            at = np.mean(clean > limits[family]), np.mean(faults > limits[family])
            axis.plot(max(at[0], 2e-4), at[1], "o", color=color)
        axis.set(xscale="log", xlim=(1.5e-4, 1), ylim=(0, 1.03), title=f"{kind}: limit {limits[family]:g}")
        axis.legend(loc="lower right", fontsize=7)
        axis.grid(alpha=0.3)
    figure.supxlabel(
        f"share of {np.sum(kinds == 'none')} clean detectors beyond the limit (none: at the left edge)"
    )
    figure.supylabel("share of faults found by their own template")
    figure.savefig(options.png, dpi=90)


if __name__ == "__main__":
    main()
