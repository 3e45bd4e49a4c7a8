# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""How the time of `measure_background` grows with what it measures."""

from __future__ import annotations

__all__ = ("growth",)

from collections.abc import Iterator
from typing import Any

import numpy as np
from kernel import peak_mib, seconds

from lsst.bgqa import BackgroundModel, measure_background
from lsst.bgqa.background import Box, Layer

_SIDES = (1024, 2048, 4096, 8192, 16384)
_BINS = (8, 16, 32, 64, 128)
_LAYERS = (1, 2, 4, 8)


def growth(repeats: int) -> list[dict[str, Any]]:
    """Time backgrounds of Akima layers along each axis from a middle one."""
    rows = []
    for what, side, bins, layers in _cases():
        models = iter([_background(side, bins, layers) for _ in range(repeats + 2)])
        measure_background(next(models))
        rows.append(
            {
                "grows": what,
                "side": side,
                "bins a side": bins,
                "layers": layers,
                "ms": 1e3 * seconds(lambda models=models: measure_background(next(models)), repeats),
                "peak MiB": peak_mib(lambda models=models: measure_background(next(models))),
            }
        )
    return rows


def _cases() -> Iterator[tuple[str, int, int, int]]:
    for side in _SIDES:
        yield "image", side, 32, 1
    for bins in _BINS:
        yield "bins", 4096, bins, 1
    for layers in _LAYERS:
        yield "layers", 4096, 32, layers


def _background(side: int, bins: int, layers: int) -> BackgroundModel:
    """Make a sky with a gradient, a wave and the noise of bins."""
    random = np.random.default_rng(side + bins + layers)
    y, x = np.mgrid[0:bins, 0:bins] / bins
    box = Box(0, 0, side, side)
    unit = np.ones((bins, bins), dtype=np.float32)
    return BackgroundModel(
        tuple(
            Layer(
                1000 + 10 * x - 5 * y + 3 * np.sin(5 * (x + y)) + random.normal(0, 0.2, (bins, bins)),
                unit,
                np.zeros((bins, bins)),
                box,
            )
            for _ in range(layers)
        )
    )
