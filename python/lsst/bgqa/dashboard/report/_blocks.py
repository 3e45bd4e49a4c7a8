# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A family's rows, block by block."""

from __future__ import annotations

__all__ = ("FORMS", "family_metrics", "read_blocks")

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ...metrics import load_catalogue
from ..campaign import CampaignTable
from ._aggregate import Block, Form, Metric

if TYPE_CHECKING:
    import pyarrow as pa

FORMS = {
    "detector": Form(
        "detector", "visit", ("detector",), ("visit",), name_key="detector_name", night_key="day_obs"
    ),
    "patch": Form("patch", "tract and band", ("tract", "patch"), ("tract", "band")),
}
"""What the rows of the kinds that have blocks are of (`dict` [`str`, `Form`])."""


def family_metrics(family: CampaignTable) -> tuple[Metric, ...]:
    """Return a family's metrics with what is known of them.

    Parameters
    ----------
    family : `~lsst.bgqa.dashboard.CampaignTable`
        The family.

    Returns
    -------
    metrics : `tuple` [`Metric`, ...]
        The metrics, in the order of the columns.
    """
    catalogue = load_catalogue()
    metrics = []
    for name, unit in family.units.items():
        low, high = family.thresholds.bounds(name)
        description = catalogue[name].description if name in catalogue else ""
        metrics.append(Metric(name, unit, description, low, high, family.thresholds.max_z.get(name)))
    return tuple(metrics)


def read_blocks(family: CampaignTable, batches: Iterator[pa.RecordBatch], form: Form) -> Iterator[Block]:
    """Take batches apart where a block ends.

    Parameters
    ----------
    family : `~lsst.bgqa.dashboard.CampaignTable`
        The family.
    batches : `~collections.abc.Iterator` [`pyarrow.RecordBatch`]
        Its rows; those of a block are in one batch, one after the other.
    form : `Form`
        What the rows are of.

    Yields
    ------
    block : `Block`
        The rows of a block.
    """
    names = [name for name in family.schema.names if name not in family.units]
    for batch in batches:
        if not batch.num_rows:
            continue
        keys: dict[str, list[Any]] = {name: batch[name].to_pylist() for name in names}
        values = np.column_stack([batch[name].to_numpy(zero_copy_only=False) for name in family.units])
        severity = np.asarray(batch["severity"].to_numpy(zero_copy_only=False), dtype=np.float64)
        failed = [tuple(text.split(",")) if text else () for text in keys["failed"]]
        marks = list(zip(*(keys[name] for name in form.block_keys), strict=True))
        starts = [0, *(i for i in range(1, len(marks)) if marks[i] != marks[i - 1]), len(marks)]
        for first, last in itertools.pairwise(starts):
            yield Block(
                {name: column[first:last] for name, column in keys.items()},
                values[first:last],
                keys["verdict"][first:last],
                severity[first:last],
                failed[first:last],
            )
