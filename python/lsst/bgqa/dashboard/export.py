# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Exports of a campaign, streamed from its datasets to their destination."""

from __future__ import annotations

__all__ = ("export_points", "export_table")

from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING

from . import line_protocol, tidy
from .campaign import Campaign, MetricFamily, Progress

if TYPE_CHECKING:
    import pyarrow as pa


def export_table(
    campaign: Campaign,
    families: Sequence[MetricFamily],
    form: str,
    sink: IO[bytes],
    progress: Progress | None = None,
) -> int:
    """Write metrics as one long table.

    Parameters
    ----------
    campaign : `Campaign`
        The campaign.
    families : `~collections.abc.Sequence` [`MetricFamily`]
        What to export of it.
    form : `str`
        ``parquet`` or ``csv``.
    sink : file
        Where to write.
    progress : `~collections.abc.Callable`, optional
        Called with how much is done, and how much there is.

    Returns
    -------
    count : `int`
        Number of values.
    """
    batches = (
        tidy.tidy_batches(family, batch) for family, batch in _batches(families, progress) if batch.num_rows
    )
    if form == "csv":
        return tidy.write_csv(batches, sink)
    return tidy.write_parquet(batches, sink, {"repo": campaign.repo, "collection": campaign.collection})


def export_points(
    campaign: Campaign,
    families: Sequence[MetricFamily],
    writers: Sequence[Callable[[list[str]], None]],
    namespace: str = line_protocol.NAMESPACE,
    progress: Progress | None = None,
) -> int:
    """Write metrics as points of line protocol.

    Parameters
    ----------
    campaign : `Campaign`
        The campaign.
    families : `~collections.abc.Sequence` [`MetricFamily`]
        What to export of it.
    writers : `~collections.abc.Sequence` [`~collections.abc.Callable`]
        Each is called with lists of lines, again and again.
    namespace : `str`, optional
        What the names of measurements begin with.
    progress : `~collections.abc.Callable`, optional
        Called with how much is done, and how much there is.

    Returns
    -------
    count : `int`
        Number of points.
    """
    count = 0
    for family, batch in _batches(families, progress):
        points = list(line_protocol.lines(campaign, family, batch, namespace))
        for write in writers:
            write(points)
        count += len(points)
    return count


def _batches(
    families: Sequence[MetricFamily], progress: Progress | None
) -> Iterator[tuple[MetricFamily, pa.RecordBatch]]:
    sizes = [
        family.row_count if family.gathered and family.row_count is not None else family.dataset_count
        for family in families
    ]
    for number, family in enumerate(families):
        before, total = sum(sizes[:number]), sum(sizes)

        def advance(done: int, _: int, before: int = before, total: int = total) -> None:
            if progress is not None:
                progress(before + done, total)

        for batch in family.batches(advance):
            yield family, batch
