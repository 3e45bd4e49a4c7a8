# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""One page a visit with its detectors, or a tract in a band with its patches."""

from __future__ import annotations

__all__ = ("DetailWriter", "WholeBlock")

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..campaign import CampaignTable
from ._aggregate import Block, Form, Metric
from ._datasets import BlockDatasets, Datasets, Pictures
from ._site import Site
from ._sky import project, separate, shared_border
from ._tables import Cell, Column, Copy, Row, Table, number, slug
from ._views import Places, block_view

# Blocks that are looked up together; their rows are in memory.
_CHUNK = 32
_MOST_STEPS = 300
_WIDEST = 7.0


@dataclass(frozen=True)
class WholeBlock:
    """Metrics of a visit or tract as a whole.

    Attributes
    ----------
    metrics : `tuple` [`Metric`, ...]
        The metrics.
    values : `numpy.ndarray`
        Their values; NaN where undefined.
    verdict : `str`
        What they amount to.
    failed : `tuple` [`str`, ...]
        Full names of those that fail.
    severity : `float`
        How bad that is.
    """

    metrics: tuple[Metric, ...]
    values: np.ndarray
    verdict: str
    failed: tuple[str, ...]
    severity: float

    def table(self) -> Table:
        """Return a table of the metrics (`Table`)."""
        rows = []
        for metric, value in zip(self.metrics, self.values.tolist(), strict=True):
            if math.isnan(value):
                continue
            verdict = "fail" if metric.name in self.failed else ""
            known = not (math.isnan(metric.low) and math.isnan(metric.high))
            cells = [
                Cell(metric.name),
                Cell(number(value, metric.unit), value),
                Cell(verdict or ("pass" if known else "unknown"), verdict=True),
                Cell(metric.description),
            ]
            rows.append(Row(cells))
        columns = [
            Column("metric"),
            Column("value", number=True),
            Column("verdict"),
            Column("meaning", wrap=True),
        ]
        return Table("whole", "As a whole", columns, rows, filter=False)


class DetailWriter:
    """Writes the pages of a family's blocks, as they come.

    Parameters
    ----------
    site : `Site`
        The report.
    report : `object`
        What the pages need to know of it.
    family : `~lsst.bgqa.dashboard.CampaignTable`
        The family.
    form : `Form`
        What its rows are of.
    metrics : `~collections.abc.Sequence` [`Metric`]
        Its metrics.
    datasets : `Datasets`
        The repository.
    pictures : `Pictures`
        Copies pictures.
    whole : `~collections.abc.Mapping` [`tuple`, `WholeBlock`]
        Metrics of whole blocks, by their keys.
    reference : `~collections.abc.Mapping` [`tuple`, `numpy.ndarray`]
        Outlines of detectors for blocks of which no regions are known.
    """

    def __init__(
        self,
        site: Site,
        report: Any,
        family: CampaignTable,
        form: Form,
        metrics: Sequence[Metric],
        datasets: Datasets,
        pictures: Pictures,
        whole: Mapping[tuple[Any, ...], WholeBlock],
        reference: Mapping[tuple[Any, ...], np.ndarray],
    ) -> None:
        self._site = site
        self._report = report
        self._family = family
        self._form = form
        self._metrics = tuple(metrics)
        self._datasets = datasets
        self._pictures = pictures
        self._whole = whole
        self._reference = reference
        self._waiting: list[Block] = []
        self._last: tuple[Any, ...] | None = None
        self.paths: dict[tuple[Any, ...], str] = {}
        """Pages by key of the block (`dict`)."""

    @property
    def section(self) -> str:
        """What the pages are of, in the plural (`str`)."""
        return "visits" if self._form.night_key else "tracts"

    def add(self, block: Block) -> None:
        """Take a block that gets a page.

        Parameters
        ----------
        block : `Block`
            The block.
        """
        self._waiting.append(block)
        if len(self._waiting) > _CHUNK:
            # The last page of a part must know of the next part's first.
            self._write(self._waiting[:-1], self._key(self._waiting[-1]))
            self._waiting = self._waiting[-1:]

    def finish(self) -> None:
        """Write the pages that are left."""
        self._write(self._waiting, None)
        self._waiting = []

    def path(self, key: tuple[Any, ...]) -> str:
        """Return where a block's page is, or would be.

        Parameters
        ----------
        key : `tuple`
            Key of the block.

        Returns
        -------
        path : `str`
            The page, in the report's folder.
        """
        folder = f"{self.section}/{slug(self._family.name)}-{slug(self._family.root)}"
        return f"{folder}/{'-'.join(slug(part) for part in key)}.html"

    def anchor(self, place: tuple[Any, ...]) -> str:
        """Return what a link to a place in its page ends with.

        Parameters
        ----------
        place : `tuple`
            Key of the detector or patch.

        Returns
        -------
        anchor : `str`
            Without the ``#``.
        """
        return f"{self._form.place}-{slug(place[-1])}"

    def title(self, key: tuple[Any, ...]) -> str:
        """Return what a block is called.

        Parameters
        ----------
        key : `tuple`
            Key of the block.

        Returns
        -------
        title : `str`
            Such as ``"Visit 1"``.
        """
        if self._form.place == "detector":
            return f"Visit {key[0]}"
        return f"Tract {key[0]}, band {key[1]}"

    def _key(self, block: Block) -> tuple[Any, ...]:
        return tuple(block.first(name) for name in self._form.block_keys)

    def _write(self, blocks: Sequence[Block], following: tuple[Any, ...] | None) -> None:
        keys = [self._key(block) for block in blocks]
        if not keys:
            return
        family = self._family
        if self._form.place == "detector":
            found = self._datasets.visits(family.name, family.root, [key[0] for key in keys])
        else:
            found = self._datasets.tracts(family.name, family.root, keys)
        self._pictures.fetch(
            ref for datasets in found.values() for refs in datasets.plots.values() for ref in refs
        )
        for number_, (key, block) in enumerate(zip(keys, blocks, strict=True)):
            after = keys[number_ + 1] if number_ + 1 < len(keys) else following
            self._write_page(key, block, found[key], after)
            self._last = key

    def _link(self, key: tuple[Any, ...] | None) -> dict[str, str] | None:
        if key is None:
            return None
        return {"href": self.path(key).rpartition("/")[2], "label": self.title(key)}

    def _write_page(
        self, key: tuple[Any, ...], block: Block, found: BlockDatasets, following: tuple[Any, ...] | None
    ) -> None:
        form = self._form
        path = self.path(key)
        root = "../" * path.count("/")
        place_keys = list(zip(*(block.keys[name] for name in form.place_keys), strict=True))
        names = [str(name) for name in block.keys[form.name_key]] if form.name_key else [""] * len(block)
        pictures = [self._copy(found.plots.get(place, ()), root) for place in place_keys]
        outlines, no_map, map_text, figure = self._outlines(key, place_keys, found)
        places = Places(
            [str(place[-1]) for place in place_keys],
            names,
            [self.anchor(place) for place in place_keys],
            outlines,
            pictures,
        )
        steps, seams = self._steps(key, dict(zip((k[-1] for k in place_keys), outlines or (), strict=False)))
        view = block_view(
            self.title(key), form.place, figure, block, self._metrics, places, seams, no_map, map_text
        )
        tables = []
        if (whole := self._whole.get(key)) is not None:
            tables.append(whole.table())
        if steps is not None:
            tables.append(steps)
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
            facts=self._facts(key, block),
            counts={word: list(block.verdicts).count(word) for word in ("pass", "fail", "unknown")},
            view=view,
            views=[view.json],
            places=self._place_table(key, block, place_keys, names, found, pictures),
            tables=tables,
            items=items,
        )
        self.paths[key] = path

    def _copy(self, refs: Sequence[Any], root: str) -> list[tuple[str, str]]:
        pictures = []
        for ref in refs:
            if (path := self._pictures.add(ref)) is not None:
                what = ref.datasetType.name.removeprefix(f"{self._family.name}_").removesuffix("_plot")
                pictures.append((what.replace("_", " "), root + path))
        return pictures

    def _data_id(self, key: tuple[Any, ...]) -> str:
        values: dict[str, Any] = {"instrument" if self._form.night_key else "skymap": self._family.root}
        values |= dict(zip(self._form.block_keys, key, strict=True))
        quoted = (
            f"{name}='{str(value).replace("'", "''")}'" if isinstance(value, str) else f"{name}={value}"
            for name, value in values.items()
        )
        return " AND ".join(quoted)

    def _dataset(
        self, block: Block, row: int, place: tuple[Any, ...], found: BlockDatasets
    ) -> tuple[str, str]:
        """Return type and UUID of a background, or else of its metrics."""
        measured = self._family.dataset_types[0], str(block.keys["dataset_id"][row] or "")
        return found.ids.get(place, measured)

    def _facts(self, key: tuple[Any, ...], block: Block) -> list[tuple[str, str, str]]:
        family = self._family
        facts = [("Background", family.name, "")]
        if self._form.night_key:
            facts += [
                ("Instrument", family.root, ""),
                ("Filter", str(block.first("physical_filter")), ""),
                ("Band", str(block.first("band")), ""),
            ]
            if night := block.first("day_obs"):
                facts.append(("Night", str(night), ""))
            if (begin := block.first("visit_begin")) is not None:
                facts.append(("Begin", f"{begin:%Y-%m-%d %H:%M:%S} UTC", ""))
        else:
            facts.append(("Sky map", family.root, ""))
        facts.append(("Measured in", str(block.first("run")), ""))
        data_id = self._data_id(key)
        facts.append(("Data ID", data_id, data_id))
        return facts

    def _outlines(
        self, key: tuple[Any, ...], places: Sequence[tuple[Any, ...]], found: BlockDatasets
    ) -> tuple[list[np.ndarray] | None, str, str, str]:
        """Return outlines, why there are none, how to read them, and in which
        figure.
        """
        form, family = self._form, self._family
        corners = found.corners
        if form.night_key and not set(places) <= set(corners):
            data_id = {"instrument": family.root, "visit": key[0]}
            corners = self._datasets.table_corners(f"{family.name}_visit_table", data_id) or corners
        what = "Heavy lines: steps between neighbours." if form.night_key else "Heavy lines: seams."
        if set(places) <= set(corners):
            flat = separate(project({place: corners[place] for place in places})[0])
            text = f"On the sky, north up and east to the left. Hatched: fails. {what}"
            return [flat[place] for place in places], "", text, "sky"
        if set(places) <= set(self._reference):
            text = f"As the detectors lie in another visit. Hatched: fails. {what}"
            return [self._reference[place] for place in places], "", text, "map"
        reason = (
            f"The repository has no regions of these {form.place}es"
            if form.place == "patch"
            else (f"The repository has no regions of these {form.place}s")
        )
        return None, f"{reason}, so that there is no map.", "", ""

    def _steps(
        self, key: tuple[Any, ...], outlines: Mapping[Any, np.ndarray]
    ) -> tuple[Table | None, dict[str, Any] | None]:
        """Return steps between neighbours as a table, and for the map."""
        family = self._family
        if self._form.night_key:
            name, first, second, value = "_visit_steps", "detector1", "detector2", "step"
            data_id = {"instrument": family.root, "visit": key[0]}
            title = "Steps between neighbours"
        else:
            name, first, second, value = "_tract_seams", "patch1", "patch2", "meanDifference"
            data_id = {"skymap": family.root, "tract": key[0], "band": key[1]}
            title = "Seams between patches"
        table = self._datasets.read(f"{family.name}{name}", data_id)
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
            rms = float(table["rms"][i])
            cells = [
                Cell(labels[0], pair[0]),
                Cell(labels[1], pair[1]),
                Cell(number(float(steps[i]), unit), float(steps[i])),
                Cell(number(abs(float(steps[i])), unit), abs(float(steps[i]))),
                Cell(number(rms, unit), rms),
            ]
            rows.append(Row(cells))
            if pair[0] in outlines and pair[1] in outlines and math.isfinite(steps[i]):
                (x0, y0), (x1, y1) = shared_border(outlines[pair[0]], outlines[pair[1]])
                # Patches that touch in a corner have no border to draw.
                if math.hypot(x1 - x0, y1 - y0) < 0.2 * float(np.ptp(outlines[pair[0]][:, 0])):
                    continue
                width = 0.5 + _WIDEST * abs(float(steps[i])) / largest
                step = number(float(steps[i]), unit)
                for column, entry in zip(seams, (x0, y0, x1, y1, width), strict=False):
                    seams[column].append(float(entry))
                seams["text"].append(f"{labels[0]} to {labels[1]}\nstep {step}, rms {number(rms, unit)}")
        columns = [
            Column(first.rstrip("1")),
            Column("neighbour"),
            Column("step", number=True),
            Column("size", number=True),
            Column("rms about it", number=True),
        ]
        note = "The second's background minus the first's along what they share."
        if len(table) > _MOST_STEPS:
            note += f" The largest {_MOST_STEPS} of {len(table):,}."
        return Table("steps", title, columns, rows, tall=True, note=note), seams

    def _place_table(
        self,
        key: tuple[Any, ...],
        block: Block,
        places: Sequence[tuple[Any, ...]],
        names: Sequence[str],
        found: BlockDatasets,
        pictures: Sequence[Sequence[tuple[str, str]]],
    ) -> Table:
        form = self._form
        columns = [Column(form.place)]
        if form.name_key:
            columns.append(Column("name"))
        columns += [
            Column("verdict"),
            Column("severity", number=True),
            Column("metric", number=True, metric=True),
            Column("what fails", wrap=True),
            Column("pictures"),
            Column("dataset ID"),
        ]
        rows = []
        prefix = self._data_id(key) + f" AND {form.place}="
        for i, place in enumerate(places):
            severity = float(block.severity[i])
            cells = [Cell(str(place[-1]), place[-1], choose=True)]
            if form.name_key:
                cells.append(Cell(names[i]))
            name, identifier = self._dataset(block, i, place, found)
            copies = [Copy(f"{prefix}{place[-1]}", "data ID", shown=False)]
            if identifier:
                copies.insert(0, Copy(identifier, name))
            cells += [
                Cell(block.verdicts[i], verdict=True),
                Cell(number(severity) if severity else "", severity if math.isfinite(severity) else None),
                Cell(),
                Cell(", ".join(block.failed[i])),
                Cell(links=pictures[i]),
                Cell(copies=copies),
            ]
            rows.append(Row(cells, verdict=block.verdicts[i], anchor=self.anchor(place), place=i))
        title = "Detectors" if form.place == "detector" else "Patches"
        return Table("places", title, columns, rows, verdicts=True)
