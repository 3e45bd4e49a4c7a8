# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("BackgroundModel",)

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import astropy.units as u
import numpy as np

from lsst.resources import ResourcePathExpression

from ..artifacts import named_file
from ._errors import BackgroundError
from ._images import FieldLayer, differences_of_images, layers_from_images
from ._layer import Box, Layer
from ._render import render, sum_surfaces
from ._surfaces import Surface, make_surface

# Bins of one pixel, for a 4k detector, would come to a fifth of this.
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class BackgroundModel:
    """A background that was subtracted from an image: the sum of its layers.

    Attributes
    ----------
    layers
        The layers, in the order in which they were subtracted: those of afw,
        or the terms of a field of ``lsst.images``.
    unit
        Unit of the pixels. Files in afw's format do not say it.

    Raises
    ------
    BackgroundError
        Raised if there is no layer, layers cover different boxes, or they
        are not of one type.

    Examples
    --------
    >>> background = BackgroundModel.read_fits("background.fits")  # doctest: +SKIP
    >>> background.render().shape  # doctest: +SKIP
    (4000, 4072)
    """

    layers: tuple[Layer | FieldLayer, ...]
    unit: u.UnitBase = u.adu

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise BackgroundError("a background needs at least one layer")
        for number, layer in enumerate(self.layers[1:], start=2):
            if layer.bbox != self.bbox:
                raise BackgroundError(f"layer {number} covers {layer.bbox}, layer 1 covers {self.bbox}")
            if layer.dtype is not self.dtype:
                raise BackgroundError("layers of afw and fields of lsst.images do not mix")

    def _repr_html_(self) -> str:
        from ._html import background_html

        return background_html(self)

    @property
    def bbox(self) -> Box:
        """The pixels that the background covers."""
        return self.layers[0].bbox

    @property
    def dtype(self) -> type[np.floating]:
        """Type of the pixels: `numpy.float32`, as afw makes them,
        or `numpy.float64` for fields of ``lsst.images``.
        """
        return self.layers[0].dtype

    @property
    def grids(self) -> tuple[Layer, ...]:
        """The layers of afw: all, or none where the
        background is a field of ``lsst.images``.
        """
        return tuple(layer for layer in self.layers if isinstance(layer, Layer))

    @cached_property
    def surfaces(self) -> tuple[Surface, ...]:
        """The function of position that each layer stands for.

        Raises
        ------
        BackgroundError
            Raised if a layer has too few bins for its style and forbids a
            lower order.
        """
        return tuple(
            layer.surface if isinstance(layer, FieldLayer) else make_surface(layer) for layer in self.layers
        )

    @property
    def parts(self) -> tuple[BackgroundModel, ...]:
        """Each layer as a background of its own."""
        return tuple(replace(self, layers=(layer,)) for layer in self.layers)

    @cached_property
    def rounding(self) -> float:
        """By how much pixels may be off for being rounded layer by layer."""
        # A spline passes its bins, but hardly by as much again.
        sizes = [
            2 * float(np.abs(layer.values).max(initial=0.0, where=np.isfinite(layer.values)))
            for layer in self.layers
        ]
        return 0.5 * float(sum(np.spacing(self.dtype(size)) for size in [*sizes, sum(sizes)]))

    def with_unit(self, unit: u.UnitBase | str) -> BackgroundModel:
        """Return the same background in the unit that its pixels have.

        Parameters
        ----------
        unit
            The unit; no value is converted.
        """
        return replace(self, unit=u.Unit(unit))

    def render(self, bbox: Box | None = None) -> np.ndarray:
        """Make the pixels, as afw's ``BackgroundList.getImage`` does, or
        ``render`` of a field of ``lsst.images``.

        Parameters
        ----------
        bbox
            The pixels wanted, by default all.

        Returns
        -------
        image
            Of type `dtype`, shape (height, width), in the background's unit.

        Raises
        ------
        BackgroundError
            Raised if ``bbox`` is not inside the background's box, or a layer
            cannot be evaluated.
        """
        whole, box = self.bbox, self.bbox if bbox is None else Box(*bbox)
        if not whole.contains(box):
            raise BackgroundError(f"the background covers {whole}, not all of {box}")
        local = box._replace(x0=box.x0 - whole.x0, y0=box.y0 - whole.y0)
        return render(self.surfaces, local, self.dtype)

    def evaluate(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Evaluate the sum of the layers, not rounded as pixels are.

        Parameters
        ----------
        y, x
            Positions in pixels, counted from the box's first row and column,
            ascending, ``float64``, shapes (ny,) and (nx,).

        Returns
        -------
        values
            ``float64``, shape (ny, nx), in the background's unit.

        Raises
        ------
        BackgroundError
            Raised if a layer cannot be evaluated.
        """
        return self.sample(y, x)[1]

    def sample(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Make the pixels at the crossings of some rows and columns.

        Parameters
        ----------
        y, x
            Positions as in `evaluate`.

        Returns
        -------
        pixels
            As `render` makes them, of type `dtype`, shape (ny, nx).
        values
            As `evaluate` gives them.

        Raises
        ------
        BackgroundError
            Raised if a layer cannot be evaluated.
        """
        return sum_surfaces(self.surfaces, y, x, self.dtype)

    @classmethod
    def read_fits(cls, uri: ResourcePathExpression, unit: u.UnitBase = u.adu) -> BackgroundModel:
        """Read a file that ``lsst.afw.math.BackgroundList`` wrote.

        Parameters
        ----------
        uri
            The file: a path or any URI that `lsst.resources` reads.
        unit
            Unit of the pixels.

        Raises
        ------
        BackgroundError
            Raised if the file cannot be read or is not a background; the
            message names the file, the HDU and the fault.
        """
        try:
            path = named_file(uri)
            # One byte more than any background has tells of another file.
            data = path.read(_MAX_BYTES + 1)
        except Exception as error:
            # Each kind of store has errors of its own.
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise BackgroundError(f"{uri}: cannot be read: {reason}") from error
        if len(data) > _MAX_BYTES:
            raise BackgroundError(f"{uri}: is larger than {_MAX_BYTES} bytes, which no background is")
        return cls.from_bytes(data, str(uri), unit)

    @classmethod
    def from_bytes(cls, data: bytes, name: str, unit: u.UnitBase = u.adu) -> BackgroundModel:
        """Read the content of a file that afw's ``BackgroundList`` wrote.

        Parameters
        ----------
        data
            The file's content.
        name
            What messages call it.
        unit
            Unit of the pixels.

        Raises
        ------
        BackgroundError
            Raised if the content is not a background.
        """
        from ._fits import read_bytes

        layers = read_bytes(data, name)
        try:
            return cls(layers, unit)
        except BackgroundError as error:
            raise BackgroundError(f"{name}: {error}") from None

    def to_bytes(self) -> bytes:
        """Return the content of a file that afw's ``BackgroundList`` reads.

        Raises
        ------
        BackgroundError
            Raised if the background is a field of ``lsst.images``.
        """
        from ._fits import write_bytes

        if not self.grids:
            raise BackgroundError("fields of lsst.images have no form in afw's files")
        return write_bytes(self.grids)

    def write_fits(self, uri: ResourcePathExpression) -> None:
        """Write a file that ``lsst.afw.math.BackgroundList`` reads.

        Parameters
        ----------
        uri
            The file: a path or any URI that `lsst.resources` writes; one
            that exists is replaced.

        Raises
        ------
        BackgroundError
            Raised if the file cannot be written, or the background is a
            field of ``lsst.images``.
        """
        data = self.to_bytes()
        try:
            named_file(uri).write(data)
        except Exception as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise BackgroundError(f"{uri}: cannot be written: {reason}") from error

    @classmethod
    def from_afw(cls, background_list: Any, unit: u.UnitBase = u.adu) -> BackgroundModel:
        """Take over a live ``lsst.afw.math.BackgroundList``.

        Parameters
        ----------
        background_list
            The background.
        unit
            Unit of the pixels.

        Returns
        -------
        background
            The same background; nothing is shared with the original.

        Raises
        ------
        BackgroundError
            Raised if a layer has a style that is not supported.
        """
        from ._afw import layers_from_afw

        return cls(layers_from_afw(background_list), unit)

    @classmethod
    def from_images(
        cls, field_or_background_map: Any, name: str | None = None, unit: u.UnitBase = u.adu
    ) -> BackgroundModel:
        """Take over a background of ``lsst.images``.

        Parameters
        ----------
        field_or_background_map
            A field, or the named fields of an image.
        name
            Which of a map's fields; by default the one that was subtracted.
        unit
            Unit of the pixels, if the field does not say it.

        Returns
        -------
        background
            The background over the field's box, in the field's unit; each
            term of a sum is a layer. Its pixels are ``float64``.

        Raises
        ------
        BackgroundError
            Raised if the map has no such field, or no field was subtracted
            and none is named, or the field is of an unknown type.
        """
        layers, unit = layers_from_images(field_or_background_map, name, unit)
        return cls(layers, unit)

    @classmethod
    def differences_from_images(
        cls, background_map: Any, name: str | None = None, unit: u.UnitBase = u.adu
    ) -> dict[str, BackgroundModel]:
        """Compare the named backgrounds of an image of ``lsst.images``.

        Parameters
        ----------
        background_map
            The named fields of an image.
        name
            Which of them the others are compared with; by default the one
            that was subtracted.
        unit
            Unit of the pixels, if the fields do not say it.

        Returns
        -------
        differences
            Each of the others less that one, by name.

        Raises
        ------
        BackgroundError
            Raised if there is no such field, or two cannot be compared.
        """
        fields = differences_of_images(background_map, name)
        return {other: cls.from_images(field, unit=unit) for other, field in fields.items()}
