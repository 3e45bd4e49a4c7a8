# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Butler formatters that read and write the stack's own files without it."""

from __future__ import annotations

__all__ = ("STACK_FORMATTERS", "BackgroundFormatter", "ExposureFormatter")

from typing import TYPE_CHECKING, Any

from lsst.daf.butler import FormatterV2
from lsst.resources import ResourcePath
from lsst.utils import doImportType

from .. import stack
from ..background import BackgroundModel

if TYPE_CHECKING:
    from lsst.images import MaskedImage

STACK_FORMATTERS = {
    "BackgroundFormatter": "lsst.obs.base.formatters.fitsGeneric.FitsGenericFormatter",
    "ExposureFormatter": "lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter",
}
"""The stack's formatters of the same files, by the name of ours (`dict`)."""


class BackgroundFormatter(FormatterV2):
    """Read and write a ``Background``: the file of afw's BackgroundList."""

    default_extension = ".fits"
    supported_extensions = frozenset({".fits", ".fit"})
    can_read_from_uri = True

    def read_from_uri(self, uri: ResourcePath, component: str | None = None, expected_size: int = -1) -> Any:
        """Read a background.

        Raises
        ------
        ~lsst.bgqa.background.BackgroundError
            Raised if the file is not a background.
        """
        return BackgroundModel.read_fits(uri)

    def to_bytes(self, in_memory_dataset: BackgroundModel) -> bytes:
        """Make a file's content of a background, without its unit: the format has none."""
        return in_memory_dataset.to_bytes()


class ExposureFormatter(FormatterV2):
    """Read and write the pixels of an ``ExposureF``: afw's FITS file.

    Its components ``photoCalib`` and ``wcs`` are read as far as the file's
    headers and small tables have them, and not written; what else an afw
    exposure may hold, such as a PSF, is neither.
    """

    default_extension = ".fits"
    supported_extensions = frozenset({".fits", ".fit", ".fits.gz", ".fits.fz", ".fz"})
    can_read_from_local_file = True

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """Read an exposure's pixels, or one component of them.

        A component is ``image``, ``mask``, ``variance``, ``photoCalib`` or ``wcs``. Of
        pixels it may be the part that the ``bbox`` parameter asks for; the calibration
        is `None` where the file has none.

        Raises
        ------
        NotImplementedError
            Raised for a component that needs lsst.afw.
        """
        from ._exposure import read_exposure, read_photo_calib, read_wcs
        from .delegates import subimage

        if component == "photoCalib":
            return read_photo_calib(path)
        if component == "wcs":
            return read_wcs(path)
        if component not in (None, "image", "mask", "variance"):
            raise NotImplementedError(
                f"component {component!r} of an exposure needs lsst.afw, which is not installed"
            )
        return subimage(read_exposure(path, component), self.file_descriptor.parameters)

    def write_local_file(self, in_memory_dataset: MaskedImage, uri: ResourcePath) -> None:
        """Write an exposure that has only pixels."""
        from ._exposure import write_exposure

        write_exposure(in_memory_dataset, uri.ospath)


if stack.have_stack():
    # A datastore records by which formatter a dataset was written. What has
    # one of these names was written without the stack; here the stack reads it.
    globals().update({name: doImportType(home) for name, home in STACK_FORMATTERS.items()})
