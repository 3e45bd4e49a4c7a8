# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Reading a detector's image, and measuring the residual sky in it."""

from __future__ import annotations

__all__ = ("residual",)

import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from kernel import GOLDEN, seconds

from lsst.bgqa import BackgroundModel
from lsst.bgqa.residual import ResidualConfig, SkyImage, measure_residual_sky
from lsst.bgqa.standalone._exposure import read_exposure, write_exposure
from lsst.bgqa.standalone.demo import masked_image

_MIB = 1 << 20


def residual(repeats: int) -> list[dict[str, Any]]:
    """Time a detector of 4072 x 4000 pixels, a tenth of them detected.

    The row has seconds to read the image and the mask alone, seconds to
    measure, and the memory that measuring takes beyond them.
    """
    background = BackgroundModel.read_fits(GOLDEN / "visit_chebyshev6_pedestal.fits")
    rng = np.random.default_rng(1)
    shape = background.bbox.height, background.bbox.width
    pixels = np.round(2 * rng.normal(0, 30, shape)).astype(np.float32) / 2
    detected = np.kron(rng.random((shape[0] // 8, shape[1] // 8)) < 0.1, np.ones((8, 8))).astype(bool)
    config = ResidualConfig(segments=(8, 2))
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "calexp.fits")
        write_exposure(masked_image(pixels, {"DETECTED": detected}, 30, u.adu), path)

        def read() -> SkyImage:
            return SkyImage.assemble(read_exposure(path, "image"), read_exposure(path, "mask"))

        reading = seconds(read, repeats)
        image = read()
    measuring = seconds(lambda: measure_residual_sky(image, background, config), repeats)
    tracemalloc.start()
    measure_residual_sky(image, background, config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return [
        {
            "pixels": f"{shape[1]}x{shape[0]}",
            "reading / s": reading,
            "measuring / s": measuring,
            "memory / MiB": peak / _MIB,
        }
    ]
