# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Images at the resolution of a figure."""

from __future__ import annotations

__all__ = ("average_image", "sample_background")

import numpy as np

from ..background import BackgroundModel
from ._style import MAX_CELLS


def sample_background(model: BackgroundModel, max_cells: int = MAX_CELLS) -> np.ndarray:
    """Evaluate a background at the centres of a figure's cells.

    There are at most ``max_cells`` a side, and never more than pixels.
    """
    y, x = (
        (np.arange(n) + 0.5) * (size / n) - 0.5
        for size in (model.bbox.height, model.bbox.width)
        for n in (min(size, max_cells),)
    )
    return model.evaluate(y, x)


def average_image(image: np.ndarray, max_cells: int = MAX_CELLS) -> np.ndarray:
    """Average the finite pixels of an image over the cells of a figure.

    Where a cell has none it is NaN. The last row and column of cells may be of
    fewer pixels.
    """
    height, width = image.shape
    step = -(-max(height, width) // max_cells)
    if step <= 1:
        return np.where(np.isfinite(image), image, np.nan).astype(np.float32)
    columns = np.arange(0, width, step)
    cells = np.empty((-(-height // step), len(columns)), dtype=np.float32)
    for i, row in enumerate(range(0, height, step)):
        block = np.asarray(image[row : row + step], dtype=np.float64)
        finite = np.isfinite(block)
        total = np.add.reduceat(np.where(finite, block, 0.0).sum(axis=0), columns)
        count = np.add.reduceat(finite.sum(axis=0), columns)
        cells[i] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return cells
