# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Manifests: lists of background files and what they are of."""

from __future__ import annotations

__all__ = ("UNKNOWN_NIGHT", "ManifestEntry", "read_manifest")

import json
from pathlib import Path
from typing import Annotated, Any

import pydantic

from lsst.resources import ResourcePath, ResourcePathExpression

from ..artifacts import named_file
from ..errors import UserError

UNKNOWN_NIGHT = 0
"""The ``day_obs`` of visits whose night no manifest tells (`int`)."""

_RightAscension = Annotated[float, pydantic.Field(ge=-360, le=360)]
_Declination = Annotated[float, pydantic.Field(ge=-90, le=90)]
_Name = Annotated[str, pydantic.Field(min_length=1)]


class ManifestEntry(pydantic.BaseModel):
    """One file: the background of one detector in one visit.

    Fields that are not listed here are left alone.
    """

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True, strict=False)

    file: _Name = pydantic.Field(description="The file, relative to the manifest's folder, or a URI.")
    instrument: _Name = pydantic.Field(description="Name of the instrument.")
    visit: int = pydantic.Field(ge=0, description="Number of the visit.")
    detector: int = pydantic.Field(ge=0, description="Number of the detector.")
    band: _Name = pydantic.Field(description="Band, such as z.")
    physical_filter: _Name = pydantic.Field(description="Filter, such as HSC-Z.")
    width: int = pydantic.Field(gt=0, description="Width of the detector in pixels.")
    height: int = pydantic.Field(gt=0, description="Height of the detector in pixels.")
    ra_corners_deg: tuple[_RightAscension, _RightAscension, _RightAscension, _RightAscension] = (
        pydantic.Field(description="Right ascension of the four corners, degrees.")
    )
    dec_corners_deg: tuple[_Declination, _Declination, _Declination, _Declination] = pydantic.Field(
        description="Declination of the four corners, degrees, in the same order."
    )
    day_obs: int = pydantic.Field(
        default=UNKNOWN_NIGHT, ge=0, description="The night, YYYYMMDD; 0 where it is not known."
    )
    detector_name: str | None = pydantic.Field(
        default=None, description="Full name of the detector, by default its number."
    )
    instrument_class: str | None = pydantic.Field(
        default=None, description="Python class of the instrument, for a repository that has none."
    )

    @property
    def corners(self) -> list[tuple[float, float]]:
        """Right ascension and declination of each corner, degrees."""
        return list(zip(self.ra_corners_deg, self.dec_corners_deg, strict=True))


def read_manifest(uri: ResourcePathExpression) -> list[ManifestEntry]:
    """Read and check a manifest.

    Parameters
    ----------
    uri
        The manifest: a JSON array of objects with `ManifestEntry`'s fields.

    Returns
    -------
    entries
        Its entries, ``file`` made absolute.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if it cannot be read, a field is missing or wrong, or entries
        contradict each other.
    """
    path = named_file(uri)
    try:
        content = json.loads(path.read())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{uri}: cannot be read: {reason}") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{uri}: is not JSON: {error}") from error
    if not isinstance(content, list) or not content:
        raise UserError(f"{uri}: is not a list of files (a JSON array with at least one object)")
    entries = [_entry(uri, number, item) for number, item in enumerate(content)]
    _check_consistency(uri, entries)
    folder = path.dirname()
    return [entry.model_copy(update={"file": str(_file_in(folder, entry.file))}) for entry in entries]


def _file_in(folder: ResourcePath, name: str) -> ResourcePath:
    if folder.isLocal and "://" not in name:
        return named_file(Path(folder.ospath) / name)
    return folder.join(name, forceDirectory=False)


def _entry(uri: ResourcePathExpression, number: int, item: Any) -> ManifestEntry:
    try:
        return ManifestEntry.model_validate(item)
    except pydantic.ValidationError as error:
        first, *others = error.errors(include_url=False)
        field = ".".join(str(part) for part in first["loc"])
        more = f" (and {len(others)} more {'fault' if len(others) == 1 else 'faults'})" if others else ""
        where = f"entry {number}" + (f", {field}" if field else "")
        raise UserError(f"{uri}: {where}: {first['msg']}{more}") from None


def _check_consistency(uri: ResourcePathExpression, entries: list[ManifestEntry]) -> None:
    seen: dict[tuple[str, int, int], int] = {}
    facts: dict[tuple[Any, ...], Any] = {}
    for number, entry in enumerate(entries):
        key = (entry.instrument, entry.visit, entry.detector)
        if key in seen:
            raise UserError(
                f"{uri}: entries {seen[key]} and {number} are both of {entry.instrument} visit "
                f"{entry.visit}, detector {entry.detector}"
            )
        seen[key] = number
        claims: dict[tuple[Any, ...], Any] = {
            ("physical_filter of visit", entry.instrument, entry.visit): entry.physical_filter,
            ("day_obs of visit", entry.instrument, entry.visit): entry.day_obs,
            ("band of filter", entry.instrument, entry.physical_filter): entry.band,
            ("name of detector", entry.instrument, entry.detector): entry.detector_name,
        }
        for claim, value in claims.items():
            if facts.setdefault(claim, value) != value:
                raise UserError(
                    f"{uri}: entry {number}: {claim[0]} {claim[2]} is {value!r}, "
                    f"but {facts[claim]!r} in an earlier entry"
                )
