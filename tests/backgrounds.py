# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What the tests of backgrounds and their statistics share."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from lsst.bgqa import BackgroundModel
from lsst.bgqa.background import (
    Approximation,
    ApproxStyle,
    Box,
    FieldLayer,
    InterpStyle,
    Layer,
    UndersampleStyle,
)

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "data" / "golden"
# The whole golden set, with every pixel, where it is at hand.
WHOLE_GOLDEN = Path(os.environ.get("BGQA_GOLDEN", os.devnull))

STYLES = tuple(InterpStyle)
MIN_POINTS = {
    InterpStyle.CONSTANT: 1,
    InterpStyle.LINEAR: 2,
    InterpStyle.NATURAL_SPLINE: 3,
    InterpStyle.CUBIC_SPLINE: 3,
    InterpStyle.AKIMA_SPLINE: 5,
}


@dataclass(frozen=True)
class Case:
    """A file that afw wrote, and what afw says of its pixels."""

    folder: Path
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.fits"

    @cached_property
    def said(self) -> dict[str, Any]:
        return json.loads((self.folder / f"{self.name}.json").read_text())

    @cached_property
    def model(self) -> BackgroundModel:
        return BackgroundModel.read_fits(str(self.path))

    def pixels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return local rows and columns, and the pixels where they cross."""
        with np.load(self.folder / f"{self.name}.npz") as arrays:
            if "image" in arrays:
                image = arrays["image"]
                return np.arange(image.shape[0]), np.arange(image.shape[1]), image
            return arrays["rows"], arrays["columns"], arrays["values"]


CASES = [Case(GOLDEN, path.stem) for path in sorted(GOLDEN.glob("*.fits"))]
FULL_CASES = [
    Case(WHOLE_GOLDEN / "cases", path.stem) for path in sorted((WHOLE_GOLDEN / "cases").glob("*.fits"))
]


def case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def make_layer(values: Any, box: Box, style: InterpStyle = InterpStyle.AKIMA_SPLINE, **how: Any) -> Layer:
    values = np.asarray(values, dtype=np.float32)
    how.setdefault("standard_error", np.ones_like(values))
    how.setdefault("mask", np.zeros(values.shape, np.int32))
    return Layer(values=values, bbox=box, interp_style=style, **how)


def make_model(values: Any, box: Box, style: InterpStyle = InterpStyle.AKIMA_SPLINE) -> BackgroundModel:
    return BackgroundModel((make_layer(values, box, style),))


def chebyshev_layer(values: Any, box: Box, order: int, error: Any = None, weighting: bool = True) -> Layer:
    values = np.asarray(values, dtype=np.float32)
    return make_layer(
        values,
        box,
        standard_error=np.ones_like(values) if error is None else np.asarray(error, np.float32),
        approximation=Approximation(ApproxStyle.CHEBYSHEV, order, order, weighting),
    )


def pixels_of(layer: Layer | FieldLayer, box: Box | None = None) -> np.ndarray:
    """Render a layer alone."""
    return BackgroundModel((layer,)).render(box)


def bin_edges(size: int, n: int) -> list[int]:
    """Where afw ends its bins, in Python's integers."""
    return [0] + [min(((i + 1) * size + n // 2) // n, size) for i in range(n)]


def bin_centers(size: int, n: int) -> list[float]:
    edges = bin_edges(size, n)
    return [a + 0.5 * (b - a) - 0.5 for a, b in itertools.pairwise(edges)]


def with_layer(model: BackgroundModel, number: int = 0, **changes: Any) -> BackgroundModel:
    layers = list(model.layers)
    layers[number] = replace(layers[number], **changes)
    return BackgroundModel(tuple(layers), model.unit)


@st.composite
def layers(
    draw: st.DrawFn, box: Box, max_bins: int = 14, styles: tuple[InterpStyle, ...] = STYLES, nan: bool = True
) -> Layer:
    """Draw a layer that a pipeline might write, over a box."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    ny = draw(st.integers(1, min(max_bins, box.height)), label="ny")
    nx = draw(st.integers(1, min(max_bins, box.width)), label="nx")
    level = draw(st.sampled_from([0.0, 0.05, -30.0, 300.0, 1200.0, 40000.0]), label="level")
    noise = draw(st.sampled_from([0.003, 0.3, 3.0]), label="noise") * max(1.0, abs(level) / 300)
    y, x = np.mgrid[-1 : 1 : ny * 1j, -1 : 1 : nx * 1j]
    slope = noise * rng.normal(0, draw(st.sampled_from([0.0, 3.0, 30.0]), label="slope"), 2)
    values = level + slope[0] * y + slope[1] * x + rng.normal(0, noise, (ny, nx))
    if nan and draw(st.booleans(), label="holes"):
        values[rng.random((ny, nx)) < draw(st.sampled_from([0.05, 0.3, 0.7]), label="share")] = np.nan
        values.flat[rng.integers(values.size)] = level
    kinds = ["interpolated"] * 3 + ["chebyshev"] * int(np.isfinite(values).sum() > 12)
    if draw(st.sampled_from(kinds), label="kind") == "chebyshev":
        order = draw(st.integers(0, min(4, ny - 1, nx - 1)), label="order")
        error = np.exp(rng.normal(0, 0.3, (ny, nx)))
        return chebyshev_layer(values, box, order, error, draw(st.booleans(), label="weighting"))
    return make_layer(values, box, draw(st.sampled_from(styles), label="style"))


@st.composite
def boxes(draw: st.DrawFn, smallest: int, largest: int) -> Box:
    sizes = st.integers(smallest, largest)
    corners = st.integers(-5000, 30000)
    return Box(draw(corners), draw(corners), draw(sizes), draw(sizes))


@st.composite
def models(
    draw: st.DrawFn, smallest: int = 1, largest: int = 120, max_layers: int = 3, **how: Any
) -> BackgroundModel:
    box = draw(boxes(smallest, largest))
    n = draw(st.integers(1, max_layers), label="layers")
    return BackgroundModel(tuple(draw(layers(box, **how)) for _ in range(n)))


def undersample(layer: Layer, style: UndersampleStyle) -> Layer:
    return replace(layer, undersample_style=style)
