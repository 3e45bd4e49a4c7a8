# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""One page a visit with its detectors, or a tract in a band with its patches."""

from __future__ import annotations

__all__ = ("MosaicPages",)

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ...metrics import load_catalogue
from ..campaign import VERDICTS, CampaignTable
from ..queries import Metric, MosaicRows, metrics_of
from ._datasets import Datasets, MosaicDatasets, Pictures, table_corners
from ._panels import Tiles, describe, mosaic_panels
from ._site import Site
from ._sky import on_focal_plane, project, separate, shared_border
from ._tables import Cell, Column, Table, amount, number, slug

# Pages whose datasets are looked up together; their rows are in memory.
_AT_ONCE = 32
_MOST_STEPS = 300
_WIDEST = 7.0
# What the table of a visit says of its detectors beyond the campaign table.
_OF_VISIT_TABLES = ("trend_", "neighbour_")


class MosaicPages:
    """Writes the pages of a table's visits or tracts, as they come.

    ``wholes`` has the rows of visits or tracts as a whole, by their keys;
    ``reference`` the outlines of detectors for visits of which no regions are
    known.
    """

    def __init__(
        self,
        site: Site,
        report: Any,
        table: CampaignTable,
        datasets: Datasets,
        pictures: Pictures,
        whole_table: CampaignTable | None,
        wholes: Mapping[tuple[Any, ...], Mapping[str, Any]],
        reference: Mapping[tuple[Any, ...], np.ndarray],
    ) -> None:
        self._site, self._report, self._table = site, report, table
        self._datasets, self._pictures = datasets, pictures
        self._whole_table, self._wholes, self._reference = whole_table, wholes, reference
        self._kind, self._metrics = table.row_kind, metrics_of(table)
        self._waiting: list[tuple[tuple[Any, ...], MosaicRows]] = []
        self._last: tuple[Any, ...] | None = None
        # What many pages have in common is written once.
        self._described: tuple[Any, Markup] = (None, Markup())
        self._shown: tuple[Any, Tiles] = (None, Tiles((), (), ()))
        self.paths: dict[tuple[Any, ...], str] = {}
        """Pages by key of the visit or tract."""
        self.visits = table.kind == "detector"
        self.section = "visits" if self.visits else "tracts"

    def add(self, key: tuple[Any, ...], rows: MosaicRows) -> None:
        """Take the rows of a visit or tract that gets a page."""
        self._waiting.append((key, rows))
        if len(self._waiting) > _AT_ONCE:
            # The last page of a part must know of the next part's first.
            self._write(self._waiting[:-1], self._waiting[-1][0])
            self._waiting = self._waiting[-1:]

    def finish(self) -> None:
        """Write the pages that are left."""
        self._write(self._waiting, None)
        self._waiting = []

    def anchor(self, tile: Any) -> str:
        """Return what a link to a detector or patch in its page ends with."""
        return f"{self._kind.name}-{slug(tile)}"

    def _path(self, key: tuple[Any, ...]) -> str:
        folder = f"{self.section}/{slug(self._table.name)}-{slug(self._table.root)}"
        return f"{folder}/{'-'.join(map(slug, key))}.html"

    def _title(self, key: tuple[Any, ...]) -> str:
        return f"Visit {key[0]}" if self.visits else f"Tract {key[0]}, band {key[1]}"

    def _write(self, mosaics: Sequence[tuple[Any, ...]], following: tuple[Any, ...] | None) -> None:
        keys = [key for key, _ in mosaics]
        if not keys:
            return
        found = self._datasets.look_up(self._table.name, self._kind, self._table.root, keys)
        plots = (refs for datasets in found.values() for refs in datasets.plots.values())
        self._pictures.fetch(ref for refs in plots for ref in refs)
        for after, (key, rows) in zip([*keys[1:], following], mosaics, strict=True):
            self._write_page(key, rows, found[key], after)
            self._last = key

    def _link(self, key: tuple[Any, ...] | None) -> dict[str, str] | None:
        if key is None:
            return None
        return {"href": self._path(key).rpartition("/")[2], "label": self._title(key)}

    def _write_page(
        self,
        key: tuple[Any, ...],
        rows: MosaicRows,
        found: MosaicDatasets,
        following: tuple[Any, ...] | None,
    ) -> None:
        path, title = self._path(key), self._title(key)
        root = "../" * path.count("/")
        data_id = {self._kind.root: self._table.root, **dict(zip(self._kind.mosaic, key, strict=True))}
        where = " AND ".join(f"{name}={_quoted(value)}" for name, value in data_id.items())
        read = self._datasets.read
        of_visit = read(f"{self._table.name}_visit_table", data_id) if self.visits else None
        tiles = list(zip(*(rows.columns[name].to_list() for name in self._kind.tile), strict=True))
        shown = self._tiles(tiles, rows, found, of_visit, root)
        outlines = dict(zip((tile[-1] for tile in tiles), shown.outlines or (), strict=False))
        steps, seams = self._steps(data_id, outlines)
        metrics, values = self._values(rows, [tile[-1] for tile in tiles], of_visit)
        names = [metric.name for metric in metrics]
        if self._described[0] != names:
            self._described = names, describe(metrics, self._table)
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
        view = mosaic_panels(title, self._table, names, self._described[1], values, known, shown, seams)
        self._site.write(
            path,
            "detail.html",
            report=self._report,
            title=title,
            parent={"href": f"{self.section}.html", "label": f"All {self.section}"},
            previous=self._link(self._last),
            next=self._link(following),
            facts=self._facts(rows.columns.row(0, named=True)),
            where=where,
            counts={word: known["verdict"].count(word) for word in VERDICTS},
            view=view,
            views=[view.json],
            tables=[table for table in (self._whole(key), steps) if table is not None],
            items=[
                {"path": target, "caption": what, "alt": f"{what} of {title}"}
                for what, target in self._copy(found.plots.get((), ()), root)
            ],
        )
        self.paths[key] = path

    def _values(
        self, rows: MosaicRows, numbers: Sequence[int], of_visit: Any
    ) -> tuple[list[Metric], np.ndarray]:
        """Return the metrics that some tile has, and their values."""
        known = np.isfinite(rows.values).any(axis=1)
        metrics = [metric for metric, here in zip(self._metrics, known, strict=True) if here]
        values = [rows.values[known]]
        if of_visit is not None and "detector" in of_visit.colnames:
            where = {int(number): i for i, number in enumerate(of_visit["detector"])}
            names = {metric.name for metric in metrics}
            for name in of_visit.colnames:
                if name.startswith(_OF_VISIT_TABLES) and name not in names:
                    about, given = of_visit[name], np.asarray(of_visit[name], dtype=np.float64)
                    values.append(np.array([[given[where[n]] if n in where else np.nan for n in numbers]]))
                    metrics.append(Metric(name, str(about.unit or ""), about.description or ""))
        return metrics, np.concatenate(values)

    def _copy(self, refs: Sequence[Any], root: str) -> list[tuple[str, str]]:
        pictures = []
        for ref in refs:
            if (path := self._pictures.add(ref)) is not None:
                what = ref.datasetType.name.removeprefix(f"{self._table.name}_").removesuffix("_plot")
                pictures.append((what.replace("_", " "), root + path))
        return pictures

    def _facts(self, row: Mapping[str, Any]) -> dict[str, str]:
        facts = {"Background": self._table.name}
        if self.visits:
            facts |= {"Instrument": self._table.root, "Filter": str(row["physical_filter"])}
            facts |= {"Band": str(row["band"]), "Night": str(row["day_obs"] or "not known")}
            if row["visit_begin"] is not None:
                facts["Begin"] = f"{row['visit_begin']:%Y-%m-%d %H:%M:%S} UTC"
        else:
            facts["Sky map"] = self._table.root
        return facts | {"Measured in": str(row["run"])}

    def _tiles(
        self,
        tiles: Sequence[tuple[Any, ...]],
        rows: MosaicRows,
        found: MosaicDatasets,
        of_visit: Any,
        root: str,
    ) -> Tiles:
        """Return tiles with outlines, and how to read them."""
        labels = [str(tile[-1]) for tile in tiles]
        names = rows.columns["detector_name"].to_list() if self.visits else [""] * len(tiles)
        if not found.plots and not found.corners and of_visit is None and self._shown[0] == (labels, names):
            return self._shown[1]
        anchors = [self.anchor(tile[-1]) for tile in tiles]
        pictures = [self._copy(found.plots.get(tile, ()), root) if found.plots else [] for tile in tiles]
        corners = found.corners
        if of_visit is not None and (of_table := table_corners(of_visit)):
            # The table has corners in the order of the pixels.
            corners = of_table if set(tiles) <= set(of_table) else corners
        what = f"Hatched: fails. Heavy lines: {'steps between neighbours' if self.visits else 'seams'}."
        if set(tiles) <= set(corners):
            flat, _ = project({tile: corners[tile] for tile in tiles})
            if self.visits:
                flat, arrows = on_focal_plane(flat)
                text, figure = f"As the pixels lie; arrows show the sky. {what}", "map"
            else:
                arrows, figure = {"N": (0.0, 1.0), "E": (1.0, 0.0)}, "sky"
                text = f"On the sky, north up and east to the left. {what}"
            flat = separate(flat)
            return Tiles(
                labels, names, anchors, [flat[tile] for tile in tiles], arrows, pictures, text, figure
            )
        if not set(tiles) <= set(self._reference):
            return Tiles(labels, names, anchors, pictures=pictures)
        if any(pictures) or self._shown[0] != (labels, names):
            outlines = [self._reference[tile] for tile in tiles]
            text = f"As the detectors lie in another visit. {what}"
            shown = Tiles(labels, names, anchors, outlines, pictures=pictures, text=text)
            if any(pictures):
                return shown
            self._shown = (labels, names), shown
        return self._shown[1]

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
        self, data_id: Mapping[str, Any], outlines: Mapping[Any, np.ndarray]
    ) -> tuple[Table | None, dict[str, Any] | None]:
        """Return steps between neighbours as a table, and for the map."""
        if self.visits:
            name, first, second, value = "_visit_steps", "detector1", "detector2", "step"
            title = "Steps between neighbours"
        else:
            name, first, second, value = "_tract_seams", "patch1", "patch2", "meanDifference"
            title = "Seams between patches"
        table = self._datasets.read(f"{self._table.name}{name}", data_id)
        if table is None or not {first, second, value, "rms"} <= set(table.colnames) or not len(table):
            return None, None
        unit = str(table[value].unit or "")
        steps = np.asarray(table[value], dtype=np.float64)
        largest = float(np.nanmax(np.abs(steps), initial=0.0)) or 1.0
        order = np.argsort(-np.nan_to_num(np.abs(steps)), kind="stable")[:_MOST_STEPS].tolist()

        def label(row: int, column: str) -> str:
            name = f" ({table[f'{column}_name'][row]})" if f"{column}_name" in table.colnames else ""
            return f"{table[column][row]}{name}"

        seams: dict[str, list[Any]] = {name: [] for name in ("x0", "y0", "x1", "y1", "size", "text")}
        for row in order:
            pair, step = (int(table[first][row]), int(table[second][row])), float(steps[row])
            if pair[0] in outlines and pair[1] in outlines and math.isfinite(step):
                (x0, y0), (x1, y1) = shared_border(outlines[pair[0]], outlines[pair[1]])
                # Patches that touch in a corner have no border to draw.
                if math.hypot(x1 - x0, y1 - y0) < 0.2 * float(np.ptp(outlines[pair[0]][:, 0])):
                    continue
                text = f"step {number(step, unit)}, rms of the difference {number(table['rms'][row], unit)}"
                text = f"{label(row, first)} to {label(row, second)}\n{text}"
                line = (x0, y0, x1, y1, 0.5 + _WIDEST * abs(step) / largest)
                for column, entry in zip(seams.values(), (*map(float, line), text), strict=True):
                    column.append(entry)
        columns = [
            Column(first.rstrip("1"), lambda row: Cell(label(row, first), int(table[first][row]))),
            Column("neighbour", lambda row: Cell(label(row, second), int(table[second][row]))),
            Column("step", lambda row: amount(float(steps[row]), unit), "number"),
            Column("size", lambda row: amount(abs(float(steps[row])), unit), "number"),
            Column("rms of the difference", lambda row: amount(float(table["rms"][row]), unit), "number"),
        ]
        note = "The second's background minus the first's along what they share."
        if len(table) > _MOST_STEPS:
            note += f" The largest {_MOST_STEPS} of {len(table):,}."
        return Table("steps", title, columns, order, tall=True, note=note), seams


def _quoted(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
