# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Coadds before and after background subtraction."""

from __future__ import annotations

__all__ = ("DemoCoadd", "make_coadd", "masked_image")

from collections.abc import Mapping
from dataclasses import dataclass

import astropy.units as u
import numpy as np

from lsst.images import Box as ImageBox
from lsst.images import Image, Mask, MaskedImage, MaskPlane, MaskSchema

from ...background import BackgroundModel, Layer
from ._measure import constant_layer, measure_bins
from ._sky import coadd_residual
from ._survey import DemoPatch

_BIN_SIZE = 50
_PIXEL_NOISE = 4.0
_NO_DATA_PATCH = 0
_TAMPERED_PATCH = 8
_PLANES = {
    "BAD": "Bad pixel of an input.",
    "DETECTED": "Part of a source.",
    "EDGE": "Near the edge of the patch.",
    "NO_DATA": "No input covers the pixel.",
    "SAT": "Saturated.",
}


@dataclass(frozen=True)
class DemoCoadd:
    """What the pipeline leaves of a patch.

    These are the coadd as assembled (``deepCoadd``), the coadd less its background
    (``deepCoadd_calexp``) and the background (``deepCoadd_calexp_background``).
    """

    before: MaskedImage
    after: MaskedImage
    background: BackgroundModel


def make_coadd(patch: DemoPatch, band: str) -> DemoCoadd:
    """Make a patch's coadd in nJy, measure its background and subtract that.

    As in the pipeline, the second layer (the constant that detection adds)
    is subtracted after the first, each time in ``float32``. One patch has a
    corner without data, and in one patch something else changed a few
    pixels of its first rows.
    """
    rng = np.random.default_rng([patch.id, ord(band)])
    box = patch.bbox

    def sky(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return coadd_residual(patch, band, x, y)

    values, error = measure_bins(sky, box, _BIN_SIZE, _PIXEL_NOISE, rng)
    layer = Layer(values, error, np.zeros(values.shape, dtype=np.int32), box)
    background = BackgroundModel((layer, constant_layer(box, -0.05)), u.nJy)

    x, y = np.meshgrid(np.arange(box.x0, box.x1), np.arange(box.y0, box.y1))
    pixels = sky(x, y) + rng.normal(0, _PIXEL_NOISE, x.shape)
    sources = np.zeros(x.shape)
    for _ in range(40):
        flux = 30 * rng.pareto(1.2)
        source_x, source_y = rng.uniform(box.x0, box.x1), rng.uniform(box.y0, box.y1)
        row, column = (
            np.exp(-(offset**2) / (2 * 2.0**2)) for offset in (x[0] - source_x, y[:, 0] - source_y)
        )
        sources += flux * np.multiply.outer(column, row)
    before = (pixels + sources).astype(np.float32)
    no_data = np.zeros(x.shape, dtype=bool)
    if patch.id == _NO_DATA_PATCH:
        no_data = (x - box.x0) + (y - box.y0) < 60
        before[no_data] = np.nan

    after = before - background.parts[0].render()
    after -= background.parts[1].render()
    if patch.id == _TAMPERED_PATCH:
        after[:2, 100:130] += np.float32(0.5)

    planes = {"DETECTED": sources > 5 * _PIXEL_NOISE, "NO_DATA": no_data}
    origin = box.x0, box.y0
    return DemoCoadd(
        masked_image(before, planes, _PIXEL_NOISE, u.nJy, origin),
        masked_image(after, planes, _PIXEL_NOISE, u.nJy, origin),
        background,
    )


def masked_image(
    pixels: np.ndarray,
    planes: Mapping[str, np.ndarray],
    noise: float,
    unit: u.UnitBase,
    origin: tuple[int, int] = (0, 0),
) -> MaskedImage:
    """Make an image of pixels, and of mask planes of their shape.

    ``noise`` is the standard deviation of a pixel; ``origin`` the column and row of
    the first.
    """
    bbox = ImageBox.from_shape(pixels.shape, start=(origin[1], origin[0]))
    schema = MaskSchema([MaskPlane(name, description) for name, description in _PLANES.items()])
    mask = Mask(0, schema=schema, bbox=bbox)
    for name, flagged in planes.items():
        mask.set(name, flagged)
    variance = np.full(pixels.shape, noise**2, dtype=np.float32)
    return MaskedImage(
        Image(pixels, bbox=bbox, unit=unit), mask=mask, variance=Image(variance, bbox=bbox, unit=unit**2)
    )
