# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""How tasks write their metrics."""

from __future__ import annotations

__all__ = ("BundleConfig",)

from collections.abc import Mapping
from typing import Any

import astropy.units as u

from lsst.pex.config import Config, Field

from ..metrics import make_bundle


class BundleConfig(Config):
    """What a bundle of metrics says of itself; part of the configurations of
    tasks that write one.
    """

    metric_name_prefix = Field[str](
        "Prefix of the group's name in the name of its Sasquatch topic.",
        default="backgroundQa_",
    )
    reference_package = Field[str](
        "Package whose version the Sasquatch dispatcher records with the metrics.",
        default=None,
        optional=True,
    )
    timestamp_version = Field[str](
        "Timestamp that the Sasquatch dispatcher gives the metrics, such as run_timestamp; by default"
        " its own choice.",
        default=None,
        optional=True,
    )
    dataset_identifier = Field[str](
        "Name of the processing, with which the Sasquatch dispatcher tags the metrics.",
        default=None,
        optional=True,
    )

    def make_bundle(self, quantities: Mapping[str, u.Quantity], identity: str) -> Any:
        """Make a bundle of metrics, given by full name."""
        return make_bundle(
            quantities,
            identity=identity,
            prefix=self.metric_name_prefix,
            reference_package=self.reference_package,
            timestamp_version=self.timestamp_version,
            dataset_identifier=self.dataset_identifier,
        )
