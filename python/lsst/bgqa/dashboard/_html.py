# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What a notebook shows of campaigns."""

from __future__ import annotations

__all__ = ("campaign_html", "table_html")

from html import escape
from typing import TYPE_CHECKING

from .._html import table, verdict

if TYPE_CHECKING:
    from .campaign import Campaign, CampaignTable

_WORST = 10


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
    rows = one.scan().select(*one.keys, "verdict", "fault", "severity")
    counts = dict(rows.group_by("verdict").len().collect().rows())
    words = ", ".join(f"{counts.get(word, 0)} {word}" for word in ("pass", "fail", "unknown"))
    worst = rows.sort("severity", descending=True, nulls_last=True, maintain_order=True).head(_WORST)
    return f"{heading}; rows: {words}" + table(
        (*one.keys, "verdict", "fault", "x limit"),
        (
            (*keys, verdict(word), fault, f"{severity:.1f}" if severity else "")
            for *keys, word, fault, severity in worst.collect().rows()
        ),
    )
