# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What a notebook shows of campaigns."""

from __future__ import annotations

__all__ = ("campaign_html", "table_html")

from html import escape
from typing import TYPE_CHECKING, Any

from .._html import table, verdict

if TYPE_CHECKING:
    from .campaign import Campaign, CampaignTable

_READ, _WORST = 1000, 10


def campaign_html(campaign: Campaign) -> str:
    """Return a table of a campaign's tables."""
    rows = (
        (
            *(one.kind, one.name, one.root, len(one.metrics)),
            "several" if one.row_count is None else one.row_count,
            ", ".join(one.dataset_types),
        )
        for one in campaign.tables
    )
    heading = f"<b>{escape(campaign.collection)}</b> of {escape(campaign.repo)}"
    return heading + table(("a row is a", "background", "of", "metrics", "rows", "read from"), rows)


def table_html(one: CampaignTable) -> str:
    """Return the verdicts of a campaign's table, and its worst rows."""
    heading = f"<b>{escape(one.name)}</b> of {escape(one.root)}, a row a {one.kind}"
    if not one.gathered:
        # Rows of a campaign's bundles may take minutes.
        return f"{heading}: {one.dataset_count} datasets that are not gathered"
    rows: list[dict[str, Any]] = []
    for batch in one.batches():
        rows += batch.select([*one.keys, "verdict", "fault", "severity"]).to_pylist()
        if len(rows) >= _READ:
            break
    words = [row["verdict"] for row in rows]
    counts = ", ".join(f"{words.count(word)} {word}" for word in ("pass", "fail", "unknown"))
    which = f"the first {len(rows)} of {one.row_count} rows" if len(rows) != one.row_count else "rows"
    worst = sorted(rows, key=lambda row: -row["severity"])[:_WORST]
    return f"{heading}; {which}: {counts}" + table(
        (*one.keys, "verdict", "fault", "x limit"),
        (
            (
                *(row[key] for key in one.keys),
                verdict(row["verdict"]),
                row["fault"],
                _size(row["severity"]),
            )
            for row in worst
        ),
    )


def _size(severity: float) -> str:
    return f"{severity:.1f}" if severity else ""
