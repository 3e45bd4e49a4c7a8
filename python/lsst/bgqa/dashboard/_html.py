# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What a notebook shows of campaigns."""

from __future__ import annotations

__all__ = ("campaign_html", "family_html")

from html import escape
from typing import TYPE_CHECKING, Any

from .._html import table, verdict

if TYPE_CHECKING:
    from .campaign import Campaign, MetricFamily

_READ, _WORST = 1000, 10


def campaign_html(campaign: Campaign) -> str:
    """Return a table of a campaign's families."""
    rows = (
        (
            *(family.kind, family.name, family.root, len(family.metrics)),
            "several" if family.row_count is None else family.row_count,
            ", ".join(family.dataset_types),
        )
        for family in campaign.families
    )
    heading = f"<b>{escape(campaign.collection)}</b> of {escape(campaign.repo)}"
    return heading + table(("a row is a", "background", "of", "metrics", "rows", "read from"), rows)


def family_html(family: MetricFamily) -> str:
    """Return the verdicts of a campaign's table, and its worst rows."""
    heading = f"<b>{escape(family.name)}</b> of {escape(family.root)}, a row a {family.kind}"
    if not family.gathered:
        # Rows of a campaign's bundles may take minutes.
        return f"{heading}: {family.dataset_count} datasets that are not gathered"
    rows: list[dict[str, Any]] = []
    for batch in family.batches():
        rows += batch.select([*family.keys, "verdict", "fault", "severity"]).to_pylist()
        if len(rows) >= _READ:
            break
    words = [row["verdict"] for row in rows]
    counts = ", ".join(f"{words.count(word)} {word}" for word in ("pass", "fail", "unknown"))
    which = f"the first {len(rows)} of {family.row_count} rows" if len(rows) != family.row_count else "rows"
    worst = sorted(rows, key=lambda row: -row["severity"])[:_WORST]
    return f"{heading}; {which}: {counts}" + table(
        (*family.keys, "verdict", "fault", "x limit"),
        (
            (
                *(row[key] for key in family.keys),
                verdict(row["verdict"]),
                row["fault"],
                _size(row["severity"]),
            )
            for row in worst
        ),
    )


def _size(severity: float) -> str:
    return f"{severity:.1f}" if severity else ""
