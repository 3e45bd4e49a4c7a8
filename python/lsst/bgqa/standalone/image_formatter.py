# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A Butler formatter that writes images under names that are not ASCII."""

from __future__ import annotations

__all__ = ("AsciiHeaderFormatter",)

import unicodedata
from typing import Any

from astropy.io.fits import Header

from lsst.images.formatters import GenericFormatter
from lsst.utils.introspection import get_full_type_name


class AsciiHeaderFormatter(GenericFormatter):
    """Writes images of ``lsst.images``, whatever their RUN and filter.

    Their names are in the header, and a FITS header has only ASCII: letters
    are written without their accents, others as Python writes them. The file
    is one of ``lsst.images``, whose formatter is recorded for it.
    """

    @classmethod
    def name(cls) -> str:
        """Return what a datastore records: the name of the formatter of ``lsst.images``."""
        return get_full_type_name(GenericFormatter)

    def _update_header(self, header: Header) -> None:
        ascii_header = _AsciiHeader()
        super()._update_header(ascii_header)
        for key in [key for key in header if key.startswith("LSST BUTLER")]:
            del header[key]
        header.update(ascii_header)


class _AsciiHeader(Header):
    """A header whose texts become ASCII as they are set."""

    def set(self, keyword: str, value: Any = None, *args: Any, **kwargs: Any) -> None:
        super().set(_to_ascii(keyword), _to_ascii(value), *args, **kwargs)


def _to_ascii(value: Any) -> Any:
    if not isinstance(value, str) or value.isascii():
        return value
    letters = (letter for letter in unicodedata.normalize("NFKD", value) if not unicodedata.combining(letter))
    return "".join(letters).encode("ascii", "backslashreplace").decode()
