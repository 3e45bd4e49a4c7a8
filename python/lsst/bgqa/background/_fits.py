# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Files of afw's ``BackgroundList``: three HDUs a layer.

The HDUs are image, mask and standard error (which afw calls variance) of the
layer's bins; the image's header
says what box they cover and how they become pixels.
"""

from __future__ import annotations

__all__ = ("read_bytes", "write_bytes")

import enum
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from astropy.io import fits

from ._cards import Image, Value, read_images
from ._errors import BackgroundError
from ._layer import Approximation, ApproxStyle, Box, InterpStyle, Layer, UndersampleStyle

_PARTS = ("image", "mask", "variance")


def read_bytes(data: bytes, name: str) -> tuple[Layer, ...]:
    """Read the layers of a ``BackgroundList`` file, which messages call ``name``."""
    try:
        return _read_layers(read_images(data))
    except BackgroundError as error:
        raise BackgroundError(f"{name}: {error}") from None


def _read_layers(images: Sequence[Image]) -> tuple[Layer, ...]:
    if len(images) % 3:
        raise BackgroundError(f"has {len(images)} HDUs, but a background has three a layer")
    layers = []
    for first in range(0, len(images), 3):
        image, mask, error = images[first : first + 3]
        places = [f"HDU {first + i} ({part} of layer {first // 3 + 1})" for i, part in enumerate(_PARTS)]
        for other, place in ((mask, places[1]), (error, places[2])):
            if other.pixels.shape != image.pixels.shape:
                raise BackgroundError(
                    f"{place}: has shape {other.pixels.shape}, the image has {image.pixels.shape}"
                )
        if mask.pixels.dtype.kind not in "iu":
            raise BackgroundError(f"{places[1]}: has pixels of type {mask.pixels.dtype.name}, not integers")
        with _at(places[1]):
            planes = {key[3:]: _integer(mask.header, key) for key in mask.header if key.startswith("MP_")}
        with _at(places[0]), np.errstate(over="ignore"):
            layers.append(_make_layer(image, mask, error, planes))
    return tuple(layers)


@contextmanager
def _at(place: str) -> Iterator[None]:
    try:
        yield
    except BackgroundError as error:
        raise BackgroundError(f"{place}: {error}") from None


def _make_layer(image: Image, mask: Image, error: Image, mask_planes: dict[str, int]) -> Layer:
    header = image.header
    approximation = Approximation()
    # Files from before fits were possible have no APPROX* keywords.
    if "APPROXSTYLE" in header:
        approximation = Approximation(
            _code(ApproxStyle, header, "APPROXSTYLE"),
            _integer(header, "APPROXORDERX", 1),
            _integer(header, "APPROXORDERY", -1),
            bool(header.get("APPROXWEIGHTING", True)),
        )
    return Layer(
        values=image.pixels.astype(np.float32),
        standard_error=error.pixels.astype(np.float32),
        mask=mask.pixels.astype(np.int32),
        bbox=Box(*(_integer(header, f"BKGD_{key}") for key in ("X0", "Y0", "WIDTH", "HEIGHT"))),
        interp_style=_code(InterpStyle, header, "INTERPSTYLE"),
        undersample_style=_code(UndersampleStyle, header, "UNDERSAMPLESTYLE"),
        approximation=approximation,
        mask_planes=mask_planes,
    )


def _integer(header: Mapping[str, Value], key: str, default: int | None = None) -> int:
    value = header.get(key, default)
    if value is None or value == "":
        raise BackgroundError(f"keyword {key} is missing")
    if isinstance(value, bool) or not isinstance(value, int):
        raise BackgroundError(f"keyword {key} is {value!r}, not an integer")
    if abs(value) >= 2**31:
        raise BackgroundError(f"keyword {key} is {value}, beyond 32 bits")
    return value


def _code[E: enum.IntEnum](kind: type[E], header: Mapping[str, Value], key: str) -> E:
    value = _integer(header, key)
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(f"{member.value} {member.name}" for member in kind)
        raise BackgroundError(f"keyword {key} is {value}; supported: {known}") from None


def write_bytes(layers: Sequence[Layer]) -> bytes:
    """Make the content of a file that ``BackgroundList.readFits`` reads."""
    hdus: list[Any] = []
    for layer in layers:
        for grid, planes in ((layer.values, {}), (layer.mask, layer.mask_planes), (layer.standard_error, {})):
            hdu = fits.ImageHDU(grid) if hdus else fits.PrimaryHDU(grid)
            hdu.header.extend(_cards(layer))
            hdu.header.extend([_card(f"MP_{plane}", bit) for plane, bit in sorted(planes.items())])
            hdus.append(hdu)
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer, output_verify="silentfix")
    return buffer.getvalue()


def _cards(layer: Layer) -> list[fits.Card]:
    fit = layer.approximation
    values = {
        "INTERPSTYLE": int(layer.interp_style),
        "UNDERSAMPLESTYLE": int(layer.undersample_style),
        "APPROXSTYLE": int(fit.style),
        "APPROXORDERX": fit.order_x,
        "APPROXORDERY": fit.order_y,
        "APPROXWEIGHTING": fit.weighting,
        "BKGD_X0": layer.bbox.x0,
        "BKGD_Y0": layer.bbox.y0,
        "BKGD_WIDTH": layer.bbox.width,
        "BKGD_HEIGHT": layer.bbox.height,
    }
    return [_card(key, value) for key, value in values.items()]


def _card(key: str, value: object) -> fits.Card:
    try:
        card = fits.Card(f"HIERARCH {key}" if len(key) > 8 else key, value)
        card.verify("exception")
    except (ValueError, fits.VerifyError):
        raise BackgroundError(f"{key!r} cannot be a keyword of a FITS file") from None
    return card
