# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What a repository knows of datasets beside their content: when they came, and how they were made."""

from __future__ import annotations

__all__ = ("gather_config", "put_time", "run_time", "visit_begins")

import contextlib
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
from astropy.time import Time

from lsst.daf.butler import Butler, DatasetRef
from lsst.daf.butler.time_utils import TimeConverter

from ..artifacts import read_artifact
from ..tasks import GatherBackgroundMetricsConfig

_VISITS_AT_ONCE = 500
_EPOCH = TimeConverter().epoch
_DAY = 86_400_000_000  # microseconds


def run_time(butler: Butler, run: str, dataset_types: Sequence[str]) -> int:
    """Return the time of a RUN collection: microseconds since 1970, UTC.

    It is what the name ends with, as in ``u/me/run/20261124T222025Z``, by which
    Sasquatch's dispatcher goes, too; otherwise, when the first dataset of some
    types came into it.
    """
    with contextlib.suppress(ValueError):
        named = datetime.strptime(run.rsplit("/", 1)[-1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return int(named.timestamp()) * 1_000_000
    times = (put_time(butler, run, name) for name in dataset_types)
    return min((time for time in times if time is not None), default=0)


def put_time(butler: Butler, run: str, dataset_type: str, newest: bool = False) -> int | None:
    """Return when the first (or newest) dataset of a type came into a RUN, in microseconds since 1970."""
    field = f"{dataset_type}.ingest_date"
    with butler.query() as query:
        rows = query.join_dataset_search(dataset_type, [run]).general(
            butler.get_dataset_type(dataset_type).dimensions,
            dataset_fields={dataset_type: {"ingest_date"}},
            find_first=False,
        )
        for row in rows.order_by(f"{'-' if newest else ''}{field}").limit(1):
            return int(_microseconds(row[field]))
    return None


def visit_begins(butler: Butler, instrument: str, visits: Sequence[int]) -> pl.DataFrame:
    """Look up when visits began, where their records say it, as ``visit`` and ``visit_begin`` (UTC)."""
    times: dict[int, int] = {}
    for some in itertools.batched(visits, _VISITS_AT_ONCE):
        with butler.query() as query:
            records = query.dimension_records("visit").where({"instrument": instrument})
            for record in records.where("visit IN (some)", bind={"some": list(some)}):
                span = record.timespan
                if span is not None and not span.isEmpty() and span.begin is not None:
                    # To make a Time of each takes longer than all the rest.
                    times[record.id] = span.nsec[0]
    days, rest = np.divmod(np.array(list(times.values()), dtype=np.int64), 1000 * _DAY)
    begins = Time(_EPOCH.jd1 + days, _EPOCH.jd2 + rest / (1000 * _DAY), format="jd", scale="tai")
    frame = pl.DataFrame({"visit": list(times), "visit_begin": _microseconds(begins)})
    return frame.cast({"visit": pl.Int64, "visit_begin": pl.Datetime("us", "UTC")})


def _microseconds(time: Time) -> Any:
    utc = time.utc
    # Two doubles, so that nothing is lost in their sum.
    days, rest = np.asarray(utc.jd1) - 2440587.5, np.asarray(utc.jd2)
    return (np.rint(days * _DAY) + np.rint(rest * _DAY)).astype(np.int64)


def gather_config(butler: Butler, ref: DatasetRef) -> GatherBackgroundMetricsConfig | None:
    """Find the configuration of the task that wrote a campaign table, if its RUN has it."""
    info = butler.collections.get_info(ref.run, include_summary=True)
    names = [name for name in info.dataset_types or () if name.endswith("_config")]
    # A RUN may hold the configuration of a whole data release pipeline, but
    # the label of ours most likely begins so.
    for name in sorted(names, key=lambda name: (not name.startswith("gather"), name)):
        for candidate in butler.query_datasets(name, ref.run, explain=False):
            with contextlib.suppress(Exception):
                if b"gather_background_metrics" not in read_artifact(butler.getURI(candidate)):
                    continue
                config = butler.get(candidate)
                if (
                    isinstance(config, GatherBackgroundMetricsConfig)
                    and f"{config.connections.campaignName}_table" == ref.datasetType.name
                ):
                    return config
    return None
