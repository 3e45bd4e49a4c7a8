# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The little of FITS that a file of images needs.

A general reader follows a header wherever it leads, be it for minutes or into
gigabytes. Here, nothing is allocated and no loop runs but over bytes that the
file has.
"""

from __future__ import annotations

__all__ = ("Image", "Value", "read_images")

import re
from dataclasses import dataclass

import numpy as np

from ._errors import BackgroundError

_CARD, _BLOCK = 80, 2880
_TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([EDed][+-]?\d+)?", re.ASCII)

type Value = bool | int | float | str


@dataclass(frozen=True, eq=False)
class Image:
    """An image HDU.

    Attributes
    ----------
    header
        Values by keyword, the first of each; commentary is left out.
    pixels
        The pixels, of the file's byte order, shape (ny, nx).
    """

    header: dict[str, Value]
    pixels: np.ndarray


def read_images(data: bytes) -> list[Image]:
    """Read a FITS file of nothing but two-dimensional images.

    What is anything else, or not all there, is a `BackgroundError`.
    """
    if not data.startswith(b"SIMPLE  ="):
        raise BackgroundError("not a FITS file")
    images: list[Image] = []
    at = 0
    # Zeros may follow the last HDU, as padding.
    while data[at : at + _CARD].strip(b"\0"):
        try:
            if images and not data.startswith(b"XTENSION=", at):
                raise BackgroundError(f"no extension begins at byte {at}, where the file goes on")
            header, start = _read_header(data, at)
            pixels, at = _read_pixels(data, header, start)
        except BackgroundError as error:
            raise BackgroundError(f"HDU {len(images)}: {error}") from None
        images.append(Image(header, pixels))
    return images


def _read_header(data: bytes, at: int) -> tuple[dict[str, Value], int]:
    header: dict[str, Value] = {}
    for place in range(at, len(data), _CARD):
        card = data[place : place + _CARD].decode("latin-1")
        key = card[:8].rstrip()
        if key == "END" and not card[8:].strip():
            return header, at + -(-(place + _CARD - at) // _BLOCK) * _BLOCK
        text = card[10:] if card[8:10] == "= " else None
        if key == "HIERARCH":
            key, equals, text = card[8:].partition("=")
            text = text if equals else None
        if text is not None:
            header.setdefault(key.strip().upper(), _parse(text))
    raise BackgroundError("its header has no end (truncated?)")


def _parse(text: str) -> Value:
    text = text.strip()
    if text.startswith("'"):
        return text[1:].partition("'")[0].rstrip()
    text = text.partition("/")[0].strip()
    if text in ("T", "F"):
        return text == "T"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(re.sub("[Dd]", "E", text))
    return text


def _read_pixels(data: bytes, header: dict[str, Value], start: int) -> tuple[np.ndarray, int]:
    kind = header.get("XTENSION", "IMAGE")
    if kind != "IMAGE":
        raise BackgroundError(f"is not an image but {kind} (compression is not supported)")
    if _whole(header, "NAXIS") != 2:
        raise BackgroundError(f"is not a two-dimensional image: NAXIS is {header.get('NAXIS')!r}")
    bitpix, nx, ny = (_whole(header, key) for key in ("BITPIX", "NAXIS1", "NAXIS2"))
    if bitpix not in _TYPES:
        raise BackgroundError(f"BITPIX is {header.get('BITPIX')!r}, which is no type of pixels")
    if nx <= 0 or ny <= 0:
        shape = header.get("NAXIS2"), header.get("NAXIS1")
        raise BackgroundError(f"is not a two-dimensional image but has shape {shape}")
    if header.get("PCOUNT", 0) != 0 or header.get("GCOUNT", 1) != 1:
        raise BackgroundError("has PCOUNT or GCOUNT of another kind of data")
    stop = start + ny * nx * abs(bitpix) // 8
    end = start + -(-(stop - start) // _BLOCK) * _BLOCK
    if end > len(data):
        raise BackgroundError(
            f"{nx}x{ny} bins end at byte {end}, but the file has {len(data)} bytes (truncated?)"
        )
    pixels = np.frombuffer(data, _TYPES[bitpix], ny * nx, start).reshape(ny, nx)
    scale, zero = header.get("BSCALE", 1), header.get("BZERO", 0)
    if (scale, zero) != (1, 0):
        raise BackgroundError(f"has scaled pixels (BSCALE {scale!r}, BZERO {zero!r})")
    return pixels, end


def _whole(header: dict[str, Value], key: str) -> int:
    """Return an integer; 0, which is of no use, if there is none."""
    value = header.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
