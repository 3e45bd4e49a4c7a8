# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What a notebook shows of backgrounds and layers."""

from __future__ import annotations

__all__ = ("background_html", "layer_html")

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .._html import beside, picture, table
from ._errors import BackgroundError
from ._images import FieldLayer
from ._layer import Layer

if TYPE_CHECKING:
    from ._model import BackgroundModel

_CELLS = 90
_LAYER = ("bins", "without value", "pixels by", "least bin", "median bin", "greatest bin")


def background_html(model: BackgroundModel) -> str:
    """Return a small picture of a background, and a table of its layers."""
    box = model.bbox
    try:
        step = max(1.0, max(box.width, box.height) / _CELLS)
        values = model.evaluate(np.arange(0, box.height, step), np.arange(0, box.width, step))
    except BackgroundError as error:
        shown, span = str(error), ""
    else:
        finite = values[np.isfinite(values)]
        shown = picture(values, "the background")
        span = f", {finite.min():.6g} to {finite.max():.6g}" if finite.size else ", no finite pixel"
    rows = ((number, *_facts(layer)) for number, layer in enumerate(model.layers, start=1))
    heading = f"<b>Background</b> of {box}{span} {model.unit}"
    return beside(shown, heading + table(("layer", *_LAYER), rows))


def layer_html(layer: Layer | FieldLayer) -> str:
    """Return a picture of a layer's bins, and a table of what it is."""
    facts = table(("layer", str(layer.bbox)), zip(_LAYER, _facts(layer), strict=True))
    return beside(picture(layer.values, "the bins"), facts) if layer.values.size else facts


def _facts(layer: Layer | FieldLayer) -> Iterator[object]:
    """Yield the cells of a layer's row."""
    finite = layer.values[np.isfinite(layer.values)]
    yield f"{layer.shape[1]}x{layer.shape[0]}" if layer.values.size else "-"
    yield layer.values.size - finite.size
    yield layer.method
    for statistic in (np.min, np.median, np.max):
        yield f"{statistic(finite):.6g}" if finite.size else "-"
