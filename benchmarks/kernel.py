# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""`measure_background` against the notebook's recipe, on the same files."""

from __future__ import annotations

__all__ = ("kernel", "render")

import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lsst.bgqa import BackgroundModel, measure_background

GOLDEN = Path(__file__).parent.parent / "tests" / "data" / "golden"

# The whole recipe over its numpy part, measured with the real afw on one core.
_FILES = {"visit_chebyshev6_pedestal": 1.85, "patch_akima_constant": 2.05}


def seconds(function: Callable[[], Any], repeats: int) -> float:
    """Time a function, and take the median."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def peak_mib(function: Callable[[], Any]) -> float:
    """Measure what a function allocates beyond what was there."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def recipe(image: np.ndarray) -> tuple[Any, ...]:
    """Compute the notebook's numbers from an image."""
    pixels = image.flatten().astype(np.float64)
    missing = np.isnan(pixels)
    values = pixels[~missing]
    return (
        missing.sum(),
        values.size,
        values.min(),
        values.max(),
        values.mean(),
        np.median(values),
        values.std(),
        np.histogram(values, 20),
    )


def kernel(repeats: int) -> list[dict[str, Any]]:
    """Compare times and memory."""
    rows = []
    for name, whole in _FILES.items():
        path = GOLDEN / f"{name}.fits"

        def measure(path: Path = path) -> None:
            measure_background(BackgroundModel.read_fits(path))

        image = BackgroundModel.read_fits(path).render()
        measure()
        try:
            from lsst.afw.math import BackgroundList
        except ImportError:
            how = f"{whole} x its numpy part"
            notebook = whole * seconds(lambda image=image: recipe(image), repeats)
        else:
            how = "the real afw"
            live = BackgroundList.readFits(str(path))
            notebook = seconds(lambda live=live: recipe(live.getImage().array), repeats)
        # Models keep what they computed: each time a new one.
        models = iter([BackgroundModel.read_fits(path) for _ in range(repeats + 1)])
        ours = seconds(lambda models=models: measure_background(next(models)), repeats)
        rows.append(
            {
                "file": name,
                "recipe ms": 1e3 * notebook,
                "recipe is": how,
                "measure_background ms": 1e3 * ours,
                "ratio": notebook / ours,
                "recipe peak MiB": peak_mib(lambda image=image: recipe(image)) + image.nbytes / 2**20,
                "our peak MiB": peak_mib(lambda models=models: measure_background(next(models))),
                "with reading ms": 1e3 * seconds(measure, repeats),
            }
        )
    return rows


def render(repeats: int) -> list[dict[str, Any]]:
    """Compare rendering with scipy's separable Akima on the same grid."""
    from scipy.interpolate import Akima1DInterpolator

    background = BackgroundModel.read_fits(GOLDEN / "patch_akima_constant.fits").parts[0]
    layer = background.grids[0]
    y, x = np.arange(float(layer.bbox.height)), np.arange(float(layer.bbox.width))
    centers_y, centers_x = layer.bin_centers_y - layer.bbox.y0, layer.bin_centers_x - layer.bbox.x0

    def with_scipy() -> np.ndarray:
        columns = Akima1DInterpolator(centers_y, layer.values.astype(float), axis=0, extrapolate=True)(y)
        return Akima1DInterpolator(centers_x, columns, axis=1, extrapolate=True)(x).astype(np.float32)

    theirs, ours = seconds(with_scipy, repeats), seconds(background.render, repeats)
    return [
        {
            "image": str(layer.bbox),
            "scipy ms": 1e3 * theirs,
            "render ms": 1e3 * ours,
            "ratio": theirs / ours,
        }
    ]
