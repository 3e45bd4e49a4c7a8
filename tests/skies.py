# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Images whose residual sky is known."""

from __future__ import annotations

from collections.abc import Sequence

import astropy.units as u
import numpy as np

from lsst.bgqa import BackgroundModel
from lsst.bgqa.background import Box
from lsst.bgqa.standalone.demo._measure import constant_layer
from lsst.images import Box as ImageBox
from lsst.images import Image, Mask, MaskedImage, MaskPlane, MaskSchema

PLANES = ("BAD", "SAT", "CR", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "NO_DATA", "STREAK", "SUSPECT")
BOX = Box(20, -30, 512, 512)


def flat_background(level: float = 1000.0, bbox: Box = BOX) -> BackgroundModel:
    """A background that is the same everywhere."""
    return BackgroundModel((constant_layer(bbox, level),))


def make_image(
    pixels: np.ndarray,
    detected: np.ndarray | None = None,
    *,
    bbox: Box = BOX,
    unit: u.UnitBase | None = None,
    planes: Sequence[str] = PLANES,
) -> MaskedImage:
    """An image of given pixels, with some of them detected."""
    box = ImageBox.from_shape((bbox.height, bbox.width), start=(bbox.y0, bbox.x0))
    mask = Mask(0, schema=MaskSchema([MaskPlane(name, name) for name in planes]), bbox=box)
    if detected is not None:
        mask.set("DETECTED", detected)
    image = Image(pixels.astype(np.float32), bbox=box, unit=unit)
    variance = Image(np.ones(pixels.shape, dtype=np.float32), bbox=box)
    return MaskedImage(image, mask=mask, variance=variance)


def sky_with(
    rng: np.random.Generator, truth: np.ndarray | float = 0.0, noise: float = 10.0, masked: float = 0.0
) -> MaskedImage:
    """A true residual with noise, and sources on a fraction of the pixels,
    in squares of 8 x 8.
    """
    shape = BOX.height, BOX.width
    detected = np.kron(rng.random((shape[0] // 8, shape[1] // 8)) < masked, np.ones((8, 8))).astype(bool)
    pixels = rng.normal(0, noise, shape) + truth
    pixels[detected] += rng.exponential(500.0, int(detected.sum()))
    return make_image(pixels, detected)
