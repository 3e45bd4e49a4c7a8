# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Storage class delegates: components and subimages of images in memory."""

from __future__ import annotations

__all__ = ("ImageDelegate", "MaskedImageDelegate", "subimage")

from collections.abc import Mapping
from typing import Any

from lsst.daf.butler import StorageClassDelegate
from lsst.images import Box, MaskedImage


def subimage(image: Any, parameters: Mapping[str, Any] | None) -> Any:
    """Cut the part of an image that a Butler ``get`` asks for, or return all of it.

    ``bbox`` is the box wanted: `lsst.images.Box`, or x0, y0, width and height.
    ``origin`` may only say that the box is in the parent's coordinates.

    Raises
    ------
    ValueError
        Raised for other parameters or an unknown ``origin``.
    """
    parameters = {key: value for key, value in (parameters or {}).items() if value is not None}
    bbox = parameters.pop("bbox", None)
    origin = parameters.pop("origin", "PARENT")
    if str(origin).rpartition(".")[2] != "PARENT":
        raise ValueError(f"parameter origin is {origin!r}; only PARENT is supported")
    if parameters:
        raise ValueError(f"parameters that standalone images do not support: {sorted(parameters)}")
    if bbox is None:
        return image
    if not isinstance(bbox, Box):
        x0, y0, width, height = bbox
        bbox = Box.from_shape((height, width), start=(y0, x0))
    return image[bbox]


class ImageDelegate(StorageClassDelegate):
    """Handle the parameters of an image or mask in memory."""

    def can_accept(self, inMemoryDataset: Any) -> bool:
        """Whether a dataset has this storage class's type."""
        return isinstance(inMemoryDataset, self.storageClass.pytype)

    def handleParameters(self, inMemoryDataset: Any, parameters: Mapping[str, Any] | None = None) -> Any:
        """Cut the part that ``bbox`` asks for."""
        return subimage(inMemoryDataset, parameters)


class MaskedImageDelegate(ImageDelegate):
    """Take a masked image apart, and put it together."""

    def getComponent(self, composite: MaskedImage, componentName: str) -> Any:
        """Return the image, mask or variance."""
        if componentName not in ("image", "mask", "variance"):
            raise AttributeError(
                f"component {componentName!r} of an exposure needs lsst.afw, which is not installed"
            )
        return getattr(composite, componentName)

    def assemble(self, components: dict[str, Any], pytype: type | None = None) -> MaskedImage:
        """Make a masked image of its image, mask and variance."""
        unknown = components.keys() - {"image", "mask", "variance"}
        if unknown:
            raise ValueError(f"components that a masked image does not have: {sorted(unknown)}")
        return MaskedImage(**components)
