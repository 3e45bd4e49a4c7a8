# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Which backgrounds each generation of releases has, and what judges them."""

from __future__ import annotations

__all__ = ("KNOWN_BACKGROUNDS", "KnownBackground", "Target", "find_target")

from collections.abc import Collection
from dataclasses import dataclass

_VISIT = ("instrument", "visit", "detector")
_COADD = ("skymap", "tract", "patch", "band")


@dataclass(frozen=True)
class KnownBackground:
    """A dataset type of a release.

    Attributes
    ----------
    dataset_type
        Its name; ``parent.component`` for a component.
    unit
        Unit of its pixels, for astropy.
    pipeline
        The pipeline that judges it, in the package's ``pipelines``.
    """

    release: str
    instrument: str
    dataset_type: str
    storage_class: str
    unit: str
    pipeline: str
    subset: str

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Its required dimensions (`tuple` [`str`, ...])."""
        return _COADD if self.subset == "coadd" else _VISIT


def _known(
    release: str, instrument: str, pipeline: str, storage_class: str, *types: tuple[str, str, str]
) -> tuple[KnownBackground, ...]:
    return tuple(
        KnownBackground(release, instrument, name, storage_class, unit, pipeline, subset)
        for name, unit, subset in types
    )


KNOWN_BACKGROUNDS = (
    *_known(
        "HSC",
        "HSC",
        "HSC/backgroundQa.yaml",
        "Background",
        ("calexpBackground", "adu", "detector"),
        ("skyCorr", "adu", "skyCorr"),
        ("deepCoadd_calexp_background", "nJy", "coadd"),
    ),
    *_known(
        "DP0.2",
        "LSSTCam-imSim",
        "LSSTCam-imSim/backgroundQa.yaml",
        "Background",
        ("calexpBackground", "adu", "detector"),
        ("deepCoadd_calexp_background", "adu", "coadd"),
    ),
    *_known(
        "DP1",
        "LSSTComCam",
        "LSSTComCam/backgroundQa.yaml",
        "Background",
        ("preliminary_visit_image_background", "electron", "preliminary"),
        ("visit_image_background", "electron", "detector"),
        ("deep_coadd_background", "nJy", "coadd"),
    ),
    *_known(
        "LSSTCam",
        "LSSTCam",
        "LSSTCam/backgroundQa.yaml",
        "Background",
        ("preliminary_visit_image_background", "electron", "preliminary"),
        ("visit_image_background", "electron", "detector"),
        ("skyCorr", "electron", "skyCorr"),
        ("deep_coadd_background", "nJy", "coadd"),
    ),
    *_known(
        "DP2",
        "LSSTCam",
        "LSSTCam/DP2.yaml",
        "BackgroundMap",
        ("visit_image.backgrounds", "electron", "detector"),
        ("deep_coadd.backgrounds", "nJy", "coadd"),
    ),
)
"""The dataset types of the releases (`tuple` [`KnownBackground`, ...])."""


@dataclass(frozen=True)
class Target:
    """What judges a dataset type.

    Attributes
    ----------
    pipeline
        The pipeline, in the package's ``pipelines``.
    overrides
        Configuration that this dataset type needs, as pipetask's option
        ``-c`` takes it.
    """

    pipeline: str
    subset: str
    overrides: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        """The pipeline and its subset, as a URI (`str`)."""
        return f"resource://lsst.bgqa/pipelines/{self.pipeline}#{self.subset}"


def find_target(
    dataset_type: str, storage_class: str, dimensions: Collection[str], instruments: Collection[str]
) -> Target | None:
    """Find the pipeline that judges a dataset type, if one does.

    It is a release's pipeline if the dataset type is known, and any instrument's if
    its dimensions allow.
    """
    known = [
        entry
        for entry in KNOWN_BACKGROUNDS
        if entry.dataset_type == dataset_type and entry.storage_class == storage_class
    ]
    of_instrument = [entry for entry in known if entry.instrument in instruments]
    pipelines = {entry.pipeline for entry in of_instrument or known}
    if len(pipelines) == 1:
        entry = (of_instrument or known)[0]
        return Target(entry.pipeline, entry.subset)
    labels = {
        frozenset(_VISIT): ("backgroundQa", "detector"),
        frozenset(_COADD): ("coaddBackgroundQa", "coadd"),
    }
    if frozenset(dimensions) not in labels:
        return None
    label, subset = labels[frozenset(dimensions)]
    settings = {"connections.backgroundName": dataset_type}
    if subset == "coadd" and storage_class == "BackgroundMap":
        settings["connections.calexpName"] = dataset_type.partition(".")[0]
    elif dataset_type == "deep_coadd_background":
        settings |= {
            "connections.coaddName": "deep_coadd_predetection",
            "connections.calexpName": "deep_coadd",
        }
        if "LSSTCam" in instruments:
            # Its coadds are of cells, and not made from that one.
            settings["doClosure"] = "False"
    if len(units := {entry.unit for entry in known}) == 1:
        settings["unit"] = units.pop()
    # What the pipeline for any instrument has by itself.
    if dataset_type in ("calexpBackground", "deepCoadd_calexp_background"):
        settings = {}
    return Target("backgroundQa.yaml", subset, tuple(f"{label}:{key}={settings[key]}" for key in settings))
