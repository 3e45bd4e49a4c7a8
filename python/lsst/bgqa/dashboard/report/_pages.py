# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""One page a visit with its detectors, or a tract in a band with its patches."""

from __future__ import annotations

__all__ = ("MosaicPages",)

import datetime
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from lsst.daf.butler import DatasetId, DatasetRef

from ...metrics import load_catalogue
from .._provenance import visit_begins
from ..campaign import VERDICTS, CampaignTable
from ..queries import Metric, MosaicRows, metrics_of, mosaics_of
from ._datasets import Datasets, MosaicDatasets, Pictures, unit_of
from ._panels import Tiles, mosaic_panels
from ._site import Site
from ._sky import lay_out, shared_borders
from ._tables import Cell, Column, Table, amount, number, slug

# Pages whose datasets are looked up together; their rows are in memory.
_AT_ONCE = 32
_STEPS_DRAWN, _STEPS_LISTED = 300, 50
_WIDEST = 7.0
# What the table of a visit says of its detectors beyond the campaign table.
_OF_VISIT_TABLES = ("trend_", "neighbour_")


class MosaicPages:
    """The pages of a table's visits or tracts.

    ``wholes`` has the rows of visits or tracts as a whole, by their keys;
    ``reference`` the outlines of detectors for visits of which no regions are
    known.
    """

    def __init__(
        self,
        site: Site,
        table: CampaignTable,
        datasets: Datasets,
        pictures: Pictures,
        whole_table: CampaignTable | None,
        wholes: Mapping[tuple[Any, ...], Mapping[str, Any]],
        reference: Mapping[tuple[Any, ...], np.ndarray],
    ) -> None:
        self._site, self._table = site, table
        self._datasets, self._pictures = datasets, pictures
        self._whole_table, self._wholes, self._reference = whole_table, wholes, reference
        self._kind, self._metrics = table.row_kind, metrics_of(table)
        self._copied: dict[DatasetId, str] = {}
        self._begins: dict[int, datetime.datetime] = {}
        self.paths: dict[tuple[Any, ...], str] = {}
        """Pages by key of the visit or tract."""
        self.visits = table.kind == "detector"
        self.section = "visits" if self.visits else "tracts"

    def write(self, keys: Iterable[tuple[Any, ...]], advance: Callable[[int, int], None]) -> None:
        """Write the pages of some visits or tracts."""
        order = sorted(keys)
        neighbours = dict(zip(order, zip([None, *order], [*order[1:], None], strict=False), strict=True))
        for some in itertools.batched(mosaics_of(self._table, order), _AT_ONCE):
            keys = [key for key, _ in some]
            found = self._datasets.look_up(self._table.name, self._kind, self._table.root, keys)
            if self.visits:
                visits = [visit for (visit,) in keys]
                begins = visit_begins(self._datasets.butler, self._table.root, visits)
                self._begins = dict(begins.iter_rows())
            plots = (refs for datasets in found.values() for refs in datasets.plots.values())
            self._copied = self._pictures.copy(itertools.chain.from_iterable(plots))
            for key, rows in some:
                before, after = map(self._link, neighbours[key])
                self._write(key, rows, found[key], previous=before, next=after)
                self.paths[key] = self._path(key)
                advance(len(self.paths), len(order))

    def anchor(self, tile: Any) -> str:
        """Return what a link to a detector or patch in its page ends with."""
        return f"{self._kind.name}-{slug(tile)}"

    def _path(self, key: tuple[Any, ...]) -> str:
        folder = f"{self.section}/{slug(self._table.name)}-{slug(self._table.root)}"
        return f"{folder}/{'-'.join(map(slug, key))}.html"

    def _title(self, key: tuple[Any, ...]) -> str:
        return f"Visit {key[0]}" if self.visits else f"Tract {key[0]}, band {key[1]}"

    def _link(self, key: tuple[Any, ...] | None) -> dict[str, str] | None:
        if key is None:
            return None
        return {"href": self._path(key).rpartition("/")[2], "label": self._title(key)}

    def _write(self, key: tuple[Any, ...], rows: MosaicRows, found: MosaicDatasets, **links: Any) -> None:
        path, title = self._path(key), self._title(key)
        root = "../" * path.count("/")
        data_id = {self._kind.root: self._table.root, **dict(zip(self._kind.mosaic, key, strict=True))}
        where = " AND ".join(f"{name}={_quoted(value)}" for name, value in data_id.items())
        tiles = rows.columns.select(self._kind.tile).rows()
        shown = self._tiles(tiles, rows, found, root)
        steps, seams = self._steps(
            found, dict(zip((t[-1] for t in tiles), shown.outlines or (), strict=False))
        )
        metrics, values = self._values(rows, [tile[-1] for tile in tiles], found.of_visit)
        known: dict[str, Any] = {
            name: rows.columns[name].to_list()
            for name in ("verdict", "severity", "failed", "fault", "dataset_id")
        }
        if found.ids:
            ids = [found.ids.get(tile) for tile in tiles]
            known["type"] = [mine and mine[0] for mine in ids]
            own = known["dataset_id"]
            known["dataset_id"] = [mine[1] if mine else one for mine, one in zip(ids, own, strict=True)]
        elif len({*known["dataset_id"]}) == 1:
            known["dataset_id"] = known["dataset_id"][:1]
        known |= {"where": f"{where} AND {self._kind.tile[-1]}=", "source": self._table.dataset_types[0]}
        view = mosaic_panels(title, self._table, metrics, values, known, shown, seams)
        self._site.write(
            path,
            "detail.html",
            title=title,
            parent={"href": f"{self.section}.html", "label": f"All {self.section}"},
            **links,
            facts=self._facts(rows.columns.row(0, named=True)),
            where=where,
            counts={word: known["verdict"].count(word) for word in VERDICTS},
            view=view,
            views=[view.json],
            tables=[table for table in (self._whole(key), steps) if table is not None],
            items=[
                {"path": target, "caption": what, "alt": f"{what} of {title}"}
                for what, target in self._shown(found.plots.get((), ()), root)
            ],
        )

    def _values(
        self, rows: MosaicRows, numbers: Sequence[int], of_visit: Any
    ) -> tuple[list[Metric], np.ndarray]:
        """Return the metrics that some tile has, and their values."""
        known = np.isfinite(rows.values).any(axis=1)
        metrics = [metric for metric, here in zip(self._metrics, known, strict=True) if here]
        values = [rows.values[known]]
        if of_visit is not None and "detector" in of_visit.column_names:
            have = {metric.name for metric in metrics}
            names = [name for name in of_visit.column_names if name.startswith(_OF_VISIT_TABLES)]
            more = pl.DataFrame(pl.from_arrow(of_visit)).select(
                pl.col("detector").cast(pl.Int64, strict=False),
                pl.col([name for name in names if name not in have]).cast(pl.Float64, strict=False),
            )
            more = pl.DataFrame({"detector": numbers}).join(
                more.unique("detector", keep="first"), on="detector", how="left", maintain_order="left"
            )
            for column in more.drop("detector"):
                about = of_visit.schema.field(column.name).metadata or {}
                description = about.get(b"description", b"").decode()
                metrics.append(Metric(column.name, unit_of(of_visit, column.name), description))
                values.append(column.to_numpy()[np.newaxis])
        return metrics, np.concatenate(values)

    def _shown(self, refs: Iterable[DatasetRef], root: str) -> list[tuple[str, str]]:
        """Return what pictures show, and their paths."""
        of = f"{self._table.name}_"
        return [
            (ref.datasetType.name.removeprefix(of).removesuffix("_plot").replace("_", " "), root + path)
            for ref in refs
            if (path := self._copied.get(ref.id))
        ]

    def _facts(self, row: Mapping[str, Any]) -> dict[str, str]:
        facts = {"Background": self._table.name}
        if self.visits:
            facts |= {"Instrument": self._table.root, "Filter": str(row["physical_filter"])}
            facts |= {"Band": str(row["band"]), "Night": str(row["day_obs"] or "not known")}
            if (begin := self._begins.get(row["visit"])) is not None:
                facts["Begin"] = f"{begin:%Y-%m-%d %H:%M:%S} UTC"
        else:
            facts["Sky map"] = self._table.root
        return facts | {"Measured in": str(row["run"])}

    def _tiles(
        self,
        tiles: Sequence[tuple[Any, ...]],
        rows: MosaicRows,
        found: MosaicDatasets,
        root: str,
    ) -> Tiles:
        """Return tiles with outlines, and how to read them."""
        labels = [str(tile[-1]) for tile in tiles]
        names = rows.columns["detector_name"].to_list() if self.visits else [""] * len(tiles)
        anchors = [self.anchor(tile[-1]) for tile in tiles]
        pictures = [self._shown(found.plots.get(tile, ()), root) for tile in tiles]
        every = set(tiles)
        if every <= found.corners.keys():
            outlines, arrows = lay_out({tile: found.corners[tile] for tile in tiles}, as_pixels=self.visits)
            text, figure = "On the sky, north up and east to the left.", "sky"
            if self.visits:
                text, figure = "As the pixels lie; arrows show the sky.", "map"
        elif every <= self._reference.keys():
            outlines, arrows = {tile: self._reference[tile] for tile in tiles}, {}
            text, figure = "As the detectors lie in another visit.", "map"
        else:
            return Tiles(labels, names, anchors, pictures=pictures)
        text += f" Hatched: fails. Heavy lines: {'steps between neighbours' if self.visits else 'seams'}."
        return Tiles(labels, names, anchors, [*outlines.values()], arrows, pictures, text, figure)

    def _whole(self, key: tuple[Any, ...]) -> Table | None:
        """List the metrics of a visit or tract as a whole."""
        row, table = self._wholes.get(key), self._whole_table
        if row is None or table is None:
            return None
        failed, catalogue = row["failed"].split(","), load_catalogue()

        def verdict(name: str) -> Cell:
            judged = not all(map(math.isnan, table.thresholds.bounds(name)))
            return Cell("fail" if name in failed else "pass" if judged else "", kind="verdict")

        columns = [
            Column("metric", lambda name: name),
            Column("value", lambda name: amount(row[name], table.units[name]), "number"),
            Column("verdict", verdict),
            Column("meaning", lambda name: catalogue[name].description if name in catalogue else "", "wrap"),
        ]
        names = [name for name in table.units if row[name] is not None and not math.isnan(row[name])]
        note = row["fault"] or ("" if row["verdict"] != "unknown" else "Not judged: no threshold applies.")
        return Table("whole", "As a whole", columns, names, filter=False, note=note)

    def _steps(
        self, found: MosaicDatasets, outlines: Mapping[Any, np.ndarray]
    ) -> tuple[Table | None, dict[str, Any] | None]:
        """Return steps between neighbours as a table, and for the map."""
        if self.visits:
            name, first, second, value = "visit_steps", "detector1", "detector2", "step"
            title = "Steps between neighbours"
        else:
            name, first, second, value = "tract_seams", "patch1", "patch2", "meanDifference"
            title = "Seams between patches"
        table = self._datasets.read(found.tables.get(name))
        if not table or not {first, second, value, "rms"} <= set(table.column_names):
            return None, None
        unit, size = unit_of(table, value), pl.col("step").abs()

        def label(of: str) -> pl.Expr:
            name = f"{of}_name"
            return (
                pl.format("{} ({})", of, name) if name in table.column_names else pl.col(of).cast(pl.String)
            )

        number_of = pl.col("rms", value).cast(pl.Float64, strict=False).fill_nan(None)
        steps = pl.DataFrame(pl.from_arrow(table)).with_columns(number_of)
        steps = steps.select(
            step=value,
            rms="rms",
            first=pl.col(first).cast(pl.Int64, strict=False),
            second=pl.col(second).cast(pl.Int64, strict=False),
            label1=label(first),
            label2=label(second),
        )
        steps = steps.sort(size, descending=True, nulls_last=True, maintain_order=True).head(_STEPS_DRAWN)
        rows = steps.to_dicts()
        columns = [
            Column(first.rstrip("1"), lambda row: Cell(row["label1"], row["first"])),
            Column("neighbour", lambda row: Cell(row["label2"], row["second"])),
            Column("step", lambda row: amount(row["step"], unit), "number"),
            Column("size", lambda row: amount(row["step"] and abs(row["step"]), unit), "number"),
            Column("rms of the difference", lambda row: amount(row["rms"], unit), "number"),
        ]
        note = "The second's background minus the first's along what they share."
        if len(table) > _STEPS_LISTED:
            note += f" The largest {_STEPS_LISTED} of {len(table):,}; all are in {self._table.name}_{name}."
        shown = Table("steps", title, columns, rows[:_STEPS_LISTED], tall=True, note=note)
        return shown, _lines(rows, unit, outlines)


def _lines(
    rows: Sequence[Mapping[str, Any]], unit: str, outlines: Mapping[Any, np.ndarray]
) -> dict[str, Any] | None:
    """Return the lines that show steps, the largest first, in a map."""
    rows = [
        row for row in rows if row["step"] is not None and {row["first"], row["second"]} <= outlines.keys()
    ]
    if not rows:
        return None
    corners = [outlines[row["first"]] for row in rows]
    borders = shared_borders(corners, [outlines[row["second"]] for row in rows])
    # Patches that touch in a corner have no border to draw.
    lengths = np.hypot(*(borders[:, 1] - borders[:, 0]).T)
    shown = lengths > 0.2 * np.array([np.ptp(outline[:, 0]) for outline in corners])
    rows, borders = [row for row, here in zip(rows, shown, strict=True) if here], borders[shown]
    sizes = np.abs([row["step"] for row in rows])
    return {
        **dict(zip(("x0", "y0", "x1", "y1"), borders.reshape(-1, 4).T, strict=True)),
        "size": 0.5 + _WIDEST * sizes / (sizes.max(initial=0) or 1),
        "text": [
            f"{row['label1']} to {row['label2']}\n"
            f"step {number(row['step'], unit)}, rms of the difference {number(row['rms'], unit)}"
            for row in rows
        ],
    }


def _quoted(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
