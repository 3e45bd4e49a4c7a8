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
from ._panels import Tiles, dump, mosaic_panels
from ._site import Site
from ._sky import on_focal_plane, project, separate, shared_border
from ._tables import Cell, Column, Row, Table, number, slug

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
        self._tiles: tuple[Any, Markup] | None = None
        self.paths: dict[tuple[Any, ...], str] = {}
        """Pages by key of the visit or tract (`dict`)."""

    @property
    def section(self) -> str:
        return "visits" if self._kind.name == "detector" else "tracts"

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

    def path(self, key: tuple[Any, ...]) -> str:
        folder = f"{self.section}/{slug(self._table.name)}-{slug(self._table.root)}"
        return f"{folder}/{'-'.join(slug(part) for part in key)}.html"

    def anchor(self, tile: Any) -> str:
        """Return what a link to a detector or patch in its page ends with."""
        return f"{self._kind.name}-{slug(tile)}"

    def title(self, key: tuple[Any, ...]) -> str:
        return f"Visit {key[0]}" if self.section == "visits" else f"Tract {key[0]}, band {key[1]}"

    def _write(self, mosaics: Sequence[tuple[Any, ...]], following: tuple[Any, ...] | None) -> None:
        keys = [key for key, _ in mosaics]
        if not keys:
            return
        found = self._datasets.look_up(self._table.name, self._kind, self._table.root, keys)
        self._pictures.fetch(
            ref for datasets in found.values() for refs in datasets.plots.values() for ref in refs
        )
        for after, (key, rows) in zip([*keys[1:], following], mosaics, strict=True):
            self._write_page(key, rows, found[key], after)
            self._last = key

    def _link(self, key: tuple[Any, ...] | None) -> dict[str, str] | None:
        if key is None:
            return None
        return {"href": self.path(key).rpartition("/")[2], "label": self.title(key)}

    def _write_page(
        self,
        key: tuple[Any, ...],
        rows: MosaicRows,
        found: MosaicDatasets,
        following: tuple[Any, ...] | None,
    ) -> None:
        path = self.path(key)
        root = "../" * path.count("/")
        tiles = rows.columns.select(self._kind.tile).rows()
        numbers = [tile[-1] for tile in tiles]
        pictures = [self._copy(found.plots.get(tile, ()), root) if found.plots else [] for tile in tiles]
        of_visit = (
            self._datasets.read(
                f"{self._table.name}_visit_table", {"instrument": self._table.root, "visit": key[0]}
            )
            if self.section == "visits"
            else None
        )
        shown, no_map, map_text, figure = self._outlines(tiles, rows, found, of_visit, pictures)
        outlines = dict(zip(numbers, shown.outlines or (), strict=False))
        steps, seams = self._steps(key, outlines)
        columns, metrics = self._columns(rows, numbers, of_visit)
        view = mosaic_panels(
            self.title(key),
            self._table,
            columns,
            metrics,
            self._rows(key, rows, tiles, found),
            self._packed(shown, pictures),
            figure,
            seams,
            map_text,
            no_map,
        )
        items = [
            {"path": target, "caption": what, "alt": f"{what} of {self.title(key)}"}
            for what, target in self._copy(found.plots.get((), ()), root)
        ]
        self._site.write(
            path,
            "detail.html",
            report=self._report,
            title=self.title(key),
            parent={"href": f"{self.section}.html", "label": f"All {self.section}"},
            previous=self._link(self._last),
            next=self._link(following),
            facts=self._facts(key, rows.columns.row(0, named=True)),
            counts={word: (rows.columns["verdict"] == word).sum() for word in VERDICTS},
            view=view,
            views=[view.json],
            tile=self._kind.name,
            tables=[table for table in (self._whole(key), steps) if table is not None],
            items=items,
        )
        self.paths[key] = path

    def _columns(
        self, rows: MosaicRows, numbers: Sequence[int], of_visit: Any
    ) -> tuple[dict[str, np.ndarray], list[Metric]]:
        """Return the values that some tile has, and their metrics."""
        values = rows.values
        known = np.isfinite(values).any(axis=1)
        metrics = [metric for metric, here in zip(self._metrics, known, strict=True) if here]
        columns = {m.name: values[i] for i, m in enumerate(self._metrics) if known[i]}
        if of_visit is not None and "detector" in of_visit.colnames:
            where = {int(number): i for i, number in enumerate(of_visit["detector"])}
            for name in of_visit.colnames:
                if name.startswith(_OF_VISIT_TABLES) and name not in columns:
                    given = np.asarray(of_visit[name], dtype=np.float64)
                    columns[name] = np.array([given[where[n]] if n in where else np.nan for n in numbers])
                    about = of_visit[name]
                    metrics.append(Metric(name, str(about.unit or ""), about.description or ""))
        return columns, metrics

    def _rows(
        self, key: tuple[Any, ...], rows: MosaicRows, tiles: Sequence[Any], found: MosaicDatasets
    ) -> dict[str, Any]:
        """Return what the page's table of tiles shows beside values."""
        names = ("verdict", "severity", "failed", "fault", "dataset_id")
        known: dict[str, Any] = {name: rows.columns[name].to_list() for name in names}
        if found.ids:
            ids = [found.ids.get(tile) for tile in tiles]
            known["type"] = [mine and mine[0] for mine in ids]
            known["dataset_id"] = [
                mine[1] if mine else own for mine, own in zip(ids, known["dataset_id"], strict=True)
            ]
        elif len({*known["dataset_id"]}) == 1:
            known["dataset_id"] = known["dataset_id"][:1]
        known["where"] = f"{self._data_id(key)} AND {self._kind.tile[-1]}="
        known["source"] = self._table.dataset_types[0]
        return known

    def _packed(self, shown: Tiles, pictures: Sequence[Any]) -> Tiles | Markup:
        """Write tiles once for all pages on which they are the same."""
        if (
            any(pictures)
            or shown.outlines is None
            or shown.outlines[0] is not self._first_of_reference(shown)
        ):
            return shown
        key = (tuple(shown.labels), tuple(shown.names))
        if self._tiles is None or self._tiles[0] != key:
            self._tiles = key, dump(shown.json())
        return self._tiles[1]

    def _first_of_reference(self, shown: Tiles) -> np.ndarray | None:
        return self._reference.get((int(shown.labels[0]),)) if self.section == "visits" else None

    def _copy(self, refs: Sequence[Any], root: str) -> list[tuple[str, str]]:
        pictures = []
        for ref in refs:
            if (path := self._pictures.add(ref)) is not None:
                what = ref.datasetType.name.removeprefix(f"{self._table.name}_").removesuffix("_plot")
                pictures.append((what.replace("_", " "), root + path))
        return pictures

    def _data_id(self, key: tuple[Any, ...]) -> str:
        values = {self._kind.root: self._table.root, **dict(zip(self._kind.mosaic, key, strict=True))}
        quoted = (
            f"{name}='{str(value).replace("'", "''")}'" if isinstance(value, str) else f"{name}={value}"
            for name, value in values.items()
        )
        return " AND ".join(quoted)

    def _facts(self, key: tuple[Any, ...], row: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        facts = [("Background", self._table.name, "")]
        if self.section == "visits":
            facts += [
                ("Instrument", self._table.root, ""),
                ("Filter", str(row["physical_filter"]), ""),
                ("Band", str(row["band"]), ""),
                ("Night", str(row["day_obs"] or "not known"), ""),
            ]
            if row["visit_begin"] is not None:
                facts.append(("Begin", f"{row['visit_begin']:%Y-%m-%d %H:%M:%S} UTC", ""))
        else:
            facts.append(("Sky map", self._table.root, ""))
        facts.append(("Measured in", str(row["run"]), ""))
        data_id = self._data_id(key)
        return [*facts, ("Data ID", data_id, data_id)]

    def _outlines(
        self,
        tiles: Sequence[tuple[Any, ...]],
        rows: MosaicRows,
        found: MosaicDatasets,
        of_visit: Any,
        pictures: Sequence[Any],
    ) -> tuple[Tiles, str, str, str]:
        """Return tiles with outlines, why there are none, how to read them, and in which figure."""
        visits = self.section == "visits"
        labels = [str(tile[-1]) for tile in tiles]
        names = rows.columns["detector_name"].to_list() if visits else [""] * len(tiles)
        anchors = [self.anchor(tile[-1]) for tile in tiles]
        corners = found.corners
        if of_visit is not None and (of_table := table_corners(of_visit)):
            # The table has corners in the order of the pixels.
            corners = of_table if set(tiles) <= set(of_table) else corners
        what = "Heavy lines: steps between neighbours." if visits else "Heavy lines: seams."
        outlines: list[np.ndarray] | None = None
        arrows: dict[str, tuple[float, float]] = {}
        text, figure = "", "map"
        if set(tiles) <= set(corners):
            flat, _ = project({tile: corners[tile] for tile in tiles})
            if visits:
                flat, arrows = on_focal_plane(flat)
                text = f"As the pixels lie; arrows show the sky. Hatched: fails. {what}"
            else:
                arrows, figure = {"N": (0.0, 1.0), "E": (1.0, 0.0)}, "sky"
                text = f"On the sky, north up and east to the left. Hatched: fails. {what}"
            flat = separate(flat)
            outlines = [flat[tile] for tile in tiles]
        elif set(tiles) <= set(self._reference):
            text = f"As the detectors lie in another visit. Hatched: fails. {what}"
            outlines = [self._reference[tile] for tile in tiles]
        plural = "detectors" if visits else "patches"
        no_map = (
            "" if outlines else f"The repository has no regions of these {plural}, so that there is no map."
        )
        return Tiles(labels, names, anchors, outlines, arrows, pictures), no_map, text, figure

    def _whole(self, key: tuple[Any, ...]) -> Table | None:
        """List the metrics of a visit or tract as a whole."""
        row, table = self._wholes.get(key), self._whole_table
        if row is None or table is None:
            return None
        failed, catalogue, rows = row["failed"].split(","), load_catalogue(), []
        for name, unit in table.units.items():
            value = row[name]
            if value is None or math.isnan(value):
                continue
            known = not all(map(math.isnan, table.thresholds.bounds(name)))
            verdict = "fail" if name in failed else "pass" if known else ""
            meaning = catalogue[name].description if name in catalogue else ""
            cells = [Cell(name), Cell(number(value, unit), value), Cell(verdict, verdict=bool(verdict))]
            rows.append(Row([*cells, Cell(meaning)]))
        columns = [Column("metric"), Column("value", number=True), Column("verdict")]
        note = row["fault"] or ("" if row["verdict"] != "unknown" else "Not judged: no threshold applies.")
        columns.append(Column("meaning", wrap=True))
        return Table("whole", "As a whole", columns, rows, filter=False, note=note)

    def _steps(
        self, key: tuple[Any, ...], outlines: Mapping[Any, np.ndarray]
    ) -> tuple[Table | None, dict[str, Any] | None]:
        """Return steps between neighbours as a table, and for the map."""
        if self.section == "visits":
            name, first, second, value = "_visit_steps", "detector1", "detector2", "step"
            title = "Steps between neighbours"
        else:
            name, first, second, value = "_tract_seams", "patch1", "patch2", "meanDifference"
            title = "Seams between patches"
        data_id = {self._kind.root: self._table.root, **dict(zip(self._kind.mosaic, key, strict=True))}
        table = self._datasets.read(f"{self._table.name}{name}", data_id)
        if table is None or not {first, second, value, "rms"} <= set(table.colnames) or not len(table):
            return None, None
        unit = str(table[value].unit or "")
        steps = np.asarray(table[value], dtype=np.float64)
        largest = float(np.nanmax(np.abs(steps), initial=0.0)) or 1.0
        order = np.argsort(-np.nan_to_num(np.abs(steps)), kind="stable")
        seams: dict[str, list[Any]] = {name: [] for name in ("x0", "y0", "x1", "y1", "size", "text")}
        rows = []
        for i in order[:_MOST_STEPS].tolist():
            pair = int(table[first][i]), int(table[second][i])
            labels = [
                f"{one} ({table[f'{column}_name'][i]})" if f"{column}_name" in table.colnames else str(one)
                for one, column in zip(pair, (first, second), strict=True)
            ]
            step, rms = float(steps[i]), float(table["rms"][i])
            numbers = (Cell(number(each, unit), each) for each in (step, abs(step), rms))
            rows.append(Row([Cell(labels[0], pair[0]), Cell(labels[1], pair[1]), *numbers]))
            if pair[0] in outlines and pair[1] in outlines and math.isfinite(step):
                (x0, y0), (x1, y1) = shared_border(outlines[pair[0]], outlines[pair[1]])
                # Patches that touch in a corner have no border to draw.
                if math.hypot(x1 - x0, y1 - y0) < 0.2 * float(np.ptp(outlines[pair[0]][:, 0])):
                    continue
                width = 0.5 + _WIDEST * abs(step) / largest
                for column, entry in zip(seams, (x0, y0, x1, y1, width), strict=False):
                    seams[column].append(float(entry))
                text = f"step {number(step, unit)}, rms of the difference {number(rms, unit)}"
                seams["text"].append(f"{labels[0]} to {labels[1]}\n{text}")
        columns = [Column(first.rstrip("1")), Column("neighbour"), Column("step", number=True)]
        columns += [Column("size", number=True), Column("rms of the difference", number=True)]
        note = "The second's background minus the first's along what they share."
        if len(table) > _MOST_STEPS:
            note += f" The largest {_MOST_STEPS} of {len(table):,}."
        return Table("steps", title, columns, rows, tall=True, note=note), seams
