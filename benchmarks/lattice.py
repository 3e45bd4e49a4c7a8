# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Draw which pixels of a detector are looked at: ``lattice.py PNG``."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from lsst.bgqa import BackgroundModel
from lsst.bgqa.statistics._lattice import Lattice

_VISIT = Path(__file__).parent.parent / "tests" / "data" / "golden" / "visit_akima128.fits"


def main(path: str) -> None:
    """Draw the lattice of a detector of 4072 x 4000 pixels, and a corner."""
    model = BackgroundModel.read_fits(_VISIT)
    lattice = Lattice.of(model, [128, 3872], [128, 3944])
    y, x = lattice.y.pixels.ravel(), lattice.x.pixels.ravel()
    image = model.evaluate(np.linspace(0, 3999, 500), np.linspace(0, 4071, 500))
    figure, axes = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained")
    for panel, size, area in ((axes[0], 0.1, (4072, 4000)), (axes[1], 9, (400, 400))):
        panel.imshow(image, origin="lower", extent=(-0.5, 4071.5, -0.5, 3999.5), cmap="Greys_r", alpha=0.6)
        panel.set_xlim(0, area[0])
        panel.set_ylim(0, area[1])
        panel.set_xlabel("x (pixels)")
        panel.set_ylabel("y (pixels)")
        for line, edges in ((panel.axhline, lattice.y.edges), (panel.axvline, lattice.x.edges)):
            for edge in edges:
                line(edge, color="#0072b2", linewidth=0.3 if size < 1 else 1)
        columns, rows = np.meshgrid(x[x <= area[0]], y[y <= area[1]])
        weight = np.multiply.outer(
            lattice.y.weights.ravel()[y <= area[1]], lattice.x.weights.ravel()[x <= area[0]]
        )
        panel.scatter(columns, rows, s=size * weight / weight.max(), color="#d55e00", linewidths=0)
    axes[0].set_title(f"{y.size} x {x.size} of {model.bbox.height} x {model.bbox.width} pixels")
    axes[1].set_title("the lower left corner; areas of dots: pixels they stand for")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1])
