# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The report: its numbers, its links, its folder."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import Table
from campaigns import MadeUp
from click.testing import CliRunner
from matplotlib.figure import Figure

from lsst.bgqa.cli import main
from lsst.bgqa.dashboard import Campaign
from lsst.bgqa.dashboard.queries import Summary, band_order, summarize
from lsst.bgqa.dashboard.report import _site, make_report
from lsst.bgqa.dashboard.report._panels import dump
from lsst.bgqa.dashboard.report._sky import on_focal_plane, project, separate, shared_borders, unit_vectors
from lsst.bgqa.dashboard.report._tables import number, share, slug
from lsst.bgqa.errors import UserError
from lsst.bgqa.standalone._regions import polygon
from lsst.daf.butler.registry import ConflictingDefinitionError

RUN = "<script>alert('run')</script>"
INSTRUMENT = "<i>Cam</i>"
SKYMAP = "<u>map</u>"


class Marked(MadeUp):
    """A campaign whose names are markup."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, visits=5, instrument=INSTRUMENT, skymap=SKYMAP)
        insert = self.butler.registry.insertDimensionData
        for visit in self.visits:
            insert(
                "visit_detector_region",
                *[
                    {"instrument": INSTRUMENT, "visit": visit, "detector": d, "region": _region(d)}
                    for d in self.detectors
                ],
            )
        # Of one tract, it is known where its patches are; they overlap.
        for patch in range(9):
            record = {"skymap": SKYMAP, "tract": 5, "id": patch, "cell_x": patch % 3, "cell_y": patch // 3}
            region = _region(patch, size=0.22)
            self.butler.registry.syncDimensionData("patch", {**record, "region": region}, update=True)
        self.put_campaign(RUN)
        self.put_others(RUN)
        for tract in (4, 5):
            for patch in range(9):
                for band in "ri":
                    level = 99.0 if (tract, patch) == (5, 3) else 0.01 * patch
                    values = {"level_median": level, "coverage_finiteFraction": 1.0}
                    self.put_patch(RUN, tract, patch, band, values)
        for detector in (1, 2):
            figure = Figure(figsize=(1 + detector, 1))
            name = "calexpBackground_image_plot"
            self.put(figure, name, "Plot", RUN, instrument=INSTRUMENT, visit=2, detector=detector)
        seams = Table({"patch1": [3, 0], "patch2": [4, 1], "meanDifference": [90.0, 0.1], "rms": [1.0, 1.0]})
        name = "deepCoadd_calexp_background_tract_seams"
        self.put(seams, name, "ArrowAstropy", RUN, skymap=SKYMAP, tract=5, band="i")

    def detector_name(self, detector: int) -> str:
        return f"<b>R{detector}</b>"

    def day_obs(self, visit: int) -> int:
        return 20261009

    def values(self, visit: int, detector: int) -> dict[str, float]:
        values = super().values(visit, detector)
        # In the last visit, all is well.
        if visit == self.visits[-1]:
            values |= {"coverage_finiteFraction": 1.0, "level_median": 1000 + 0.1 * detector}
        return values


def _region(number_: int, size: float = 0.19) -> Any:
    x, y = 0.2 * (number_ % 3), 0.2 * (number_ // 3)
    return polygon([(x, y), (x + size, y), (x + size, y + size), (x, y + size)])


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Marked:
    return Marked(tmp_path_factory.mktemp("report") / "repo")


@pytest.fixture(scope="module")
def site(marked: Marked, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(marked.path, RUN, tmp_path_factory.mktemp("site") / "report").parent


class Page(HTMLParser):
    """What a test needs to know of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.copies: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._script = False
        # Where a line may end is no part of a name.
        self.feed(path.read_text(encoding="utf-8").replace("<wbr>", ""))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.links += [values[name] for name in ("href", "src") if name in values]
        self.ids |= {values["id"]} if "id" in values else set()
        self.copies += [values["data-copy"]] if "data-copy" in values else []
        self._script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        (self.scripts if self._script else self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def views(self) -> list[dict[str, Any]]:
        (data,) = [text for text in self.scripts if text.startswith('{"views"')]
        views: list[dict[str, Any]] = json.loads(data)["views"]
        for view in views:
            view["parts"] = {choice: unpack(packed) for choice, packed in view["values"].items()}
            view["values"] = view["parts"]["all"]
        return views

    @property
    def made_by_script(self) -> list[dict[str, Any]]:
        """The views whose tables of tiles the page's script makes."""
        return [view for view in self.views if "rows" in view] if self.scripts[1:] else []

    @property
    def data_ids(self) -> list[str]:
        (view,) = self.made_by_script
        return [view["rows"]["where"] + label for label in view["tiles"]["label"]]


def unpack(packed: dict[str, Any]) -> dict[str, list[float | None]]:
    values = np.frombuffer(base64.b64decode(packed["float32"]), dtype="<f4")
    columns = values.reshape(len(packed["names"]), -1)
    return {
        name: [float(value) if np.isfinite(value) else None for value in column]
        for name, column in zip(packed["names"], columns, strict=True)
    }


def pages(site: Path) -> Iterator[Page]:
    for path in sorted(site.rglob("*.html")):
        yield Page(path)


def page_of_visit(site: Path, visit: int) -> Path:
    (path,) = site.glob(f"visits/calexpBackground-*/{visit}.html")
    return path


def test_names_are_text_and_never_markup(site: Path) -> None:
    for page in pages(site):
        text = page.path.read_text()
        assert "<script>alert" not in text, page.path
        assert not {"b>R", "<i>Cam", "<u>map"} & set(re.findall(r"b>R|<i>Cam|<u>map", text))
        assert not page.tags & {"i", "u"}, page.path
    index = Page(site / "index.html")
    assert f"Backgrounds of {RUN}" in index.text
    assert f"Detectors of {INSTRUMENT}" in index.text
    assert "<b>R1</b>" in index.text
    assert f"Patches of {SKYMAP}" in index.text


def test_all_links_lead_to_files_and_places_of_the_report(site: Path) -> None:
    ids = {
        page.path: page.ids | {anchor for view in page.made_by_script for anchor in view["tiles"]["anchor"]}
        for page in pages(site)
    }
    assert len(ids) > 2
    for page in pages(site):
        for link in page.links:
            parts = urlsplit(link)
            assert parts.scheme in ("", "data") and not parts.netloc, link
            if parts.scheme == "data":
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            assert target.is_file(), (page.path, link)
            assert target.is_relative_to(site.resolve())
            if parts.fragment:
                assert parts.fragment in ids[target], (page.path, link)
    scripts = "".join(path.read_text() for path in (site / "assets").glob("report.*"))
    assert "http" not in scripts


def test_overview_counts_what_fails(marked: Marked, site: Path) -> None:
    index = Page(site / "index.html")
    # Detectors 1 and 2 in four of five visits; patch 3 of one tract in two bands.
    assert "32 pass 8 fail 0 unknown" in index.text
    assert "34 pass 2 fail 0 unknown" in index.text
    assert "40 rows: 8 detectors in 5 visits, 4 of them with a failure" in index.text
    assert "coverage_finiteFraction pixels without a value (50 %) 0.5 (\u2265 0.999)" in index.text
    assert "level_median a level above the others' 1080 adu" in index.text
    detectors, patches = index.views
    names = [metric["name"] for metric in detectors["metrics"]]
    assert names[0] == "verdict_failingShare"
    assert detectors["share"] == [0, 80, 80, 0, 0, 0, 0, 0]
    assert patches["share"] == [0] * 12 + [100] + [0] * 5
    for detector in marked.detectors:
        values = [marked.values(visit, detector)["shape_gradientX"] for visit in marked.visits]
        assert detectors["values"]["shape_gradientX"][detector] == pytest.approx(np.median(values), rel=1e-4)
    assert detectors["failing"]["coverage_finiteFraction"] == [1]
    assert detectors["failing"]["level_median"] == [2]
    assert detectors["metrics"][names.index("coverage_finiteFraction")]["low"] == 0.999
    bins = detectors["histograms"]["coverage_finiteFraction"]
    assert sum(bins["passing"]) == 36
    assert sum(bins["failing"]) == 4


def test_overview_has_nights_and_outlines(marked: Marked, site: Path) -> None:
    detectors, patches = Page(site / "index.html").views
    cells = detectors["cells"]
    assert cells["night"] == ["20261009"] * 3
    assert sorted(cells["band"]) == ["g", "i", "r"]
    rows = {"g": (3,), "r": (1, 4), "i": (2, 5)}
    for i, band in enumerate(cells["band"]):
        values = [marked.values(visit, d)["level_median"] for visit in rows[band] for d in marked.detectors]
        low, _, middle, _, high = (cells["quantiles"]["level_median"][q][i] for q in range(5))
        expected = min(values), np.median(values), max(values)
        assert (low, middle, high) == pytest.approx(expected, rel=1e-4)
        assert cells["count"][i] == len(values)
    assert [len(xs) for xs in detectors["tiles"]["xs"]] == [4] * 8
    # Neighbours are as far from each other as they are on the sky.
    x = np.mean(detectors["tiles"]["xs"], axis=1)
    y = np.mean(detectors["tiles"]["ys"], axis=1)
    assert math.hypot(x[1] - x[0], y[1] - y[0]) == pytest.approx(0.2, rel=1e-3)
    # The regions of one tract's patches are known.
    assert [len(xs) for xs in patches["tiles"]["xs"]] == [0] * 9 + [4] * 9
    xs = np.array(patches["tiles"]["xs"][9:])
    assert xs[0].max() < xs[1].min()


def test_flagged_visits_have_pages_with_all_that_is_known(marked: Marked, site: Path) -> None:
    written = {int(path.stem) for path in site.glob("visits/*/*.html")}
    assert written == {1, 2, 3, 4}
    page = Page(page_of_visit(site, 2))
    (view,) = page.views
    for name in ("level_median", "shape_gradientX"):
        expected = [marked.values(2, detector)[name] for detector in marked.detectors]
        assert view["values"][name] == pytest.approx(expected, rel=1e-4)
    assert view["values"]["fit_reducedChi2"][0] is None
    assert view["failing"] == {"coverage_finiteFraction": [1], "level_median": [2]}
    assert view["tiles"]["name"][3] == "<b>R3</b>"
    assert "band=" not in page.text
    assert f"instrument='{INSTRUMENT}' AND visit=2 AND detector=3" in page.data_ids
    (ref,) = marked.butler.query_datasets("calexpBackground_campaign_table", RUN)
    assert view["rows"]["dataset_id"] == [str(ref.id)]
    assert view["rows"]["fault"][1] == "pixels without a value (50 %)"
    assert "2026-10-10 00:0" in page.text
    # Visits of before and after, with a page.
    assert {"1.html", "3.html"} <= set(page.links)


def test_pictures_are_copied_and_linked(marked: Marked, site: Path) -> None:
    page = Page(page_of_visit(site, 2))
    refs = marked.butler.query_datasets("calexpBackground_image_plot", RUN)
    pictures = page.views[0]["tiles"]["pictures"]
    targets = [page.path.parent / path for some in pictures for _, path in some]
    assert {path.resolve() for path in targets} == {path.resolve() for path in site.rglob("*.png")}
    assert {path.read_bytes() for path in targets} == {marked.path_of(ref).read_bytes() for ref in refs}
    assert [bool(item) for item in pictures] == [d in (1, 2) for d in marked.detectors]


def test_tracts_have_pages_with_seams(site: Path) -> None:
    written = sorted(path.stem for path in site.glob("tracts/*/*.html"))
    assert written == ["5-i", "5-r"]
    (path,) = site.glob("tracts/*/5-i.html")
    page = Page(path)
    assert "Seams between patches" in page.text
    (view,) = page.views
    assert view["values"]["level_median"][3] == 99
    # Where patches 3 and 4 meet, and how much they differ.
    seams = view["seams"]
    assert seams["text"][0] == "3 to 4\nstep 90, rms of the difference 1"
    assert seams["x0"][0] == pytest.approx(seams["x1"][0], abs=1e-3)
    assert max(view["tiles"]["xs"][3]) < seams["x0"][0] < min(view["tiles"]["xs"][4])
    assert seams["size"][0] > 10 * seams["size"][1]
    assert "skymap='<u>map</u>' AND tract=5 AND band='i' AND patch=3" in page.data_ids
    # Tract 4's metrics as a whole; it passes, and so has no page.
    assert "tracts" in {p.stem for p in site.glob("*.html")}


def test_stacks_are_listed(site: Path) -> None:
    assert "stack_patternRms / adu" in Page(site / "stacks.html").text


@pytest.mark.parametrize(("detail", "visits", "tracts"), [("all", 5, 4), ("none", 0, 0)])
def test_detail(marked: Marked, tmp_path: Path, detail: Any, visits: int, tracts: int) -> None:
    index = make_report(marked.path, RUN, tmp_path / "report", detail=detail)
    assert len(list(index.parent.glob("visits/*/*.html"))) == visits
    assert len(list(index.parent.glob("tracts/*/*.html"))) == tracts
    # Numbers without pages lead nowhere.
    page = Page(index)
    assert any("visits/" in link for link in page.links) == bool(visits)
    assert ("None has a page" in page.text) == (not visits)


def test_detectors_are_mapped_as_in_the_table_of_a_visit(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=2, detectors=2)
    table = Table({"detector": [0, 1], "detector_name": ["a", "b"], "level_median": [1.0, 2.0]})
    # On the sky the detectors' x is to the north, and their y to the west.
    corners = [[(0, 0), (0, 0.1), (-0.1, 0.1), (-0.1, 0)], [(0, 0.12), (0, 0.22), (-0.1, 0.22), (-0.1, 0.12)]]
    table["ra_corners"] = np.array([[ra % 360 for ra, _ in four] for four in corners])
    table["dec_corners"] = np.array([[dec for _, dec in four] for four in corners])
    for visit in made.visits:
        name = "calexpBackground_visit_table"
        made.put(table, name, "ArrowAstropy", "run", instrument="Cam", visit=visit)
    (view,) = Page(make_report(made.path, "run", tmp_path / "report", detail="all")).views
    (x0, x1), (y0, y1) = (np.mean(view["tiles"][axis], axis=1) for axis in ("xs", "ys"))
    assert (x1 - x0, y1 - y0) == pytest.approx((0.12, 0), abs=1e-3)
    (view,) = Page(page_of_visit(tmp_path / "report", 1)).views
    (x0, x1), (y0, y1) = (np.mean(view["tiles"][axis], axis=1) for axis in ("xs", "ys"))
    # As the pixels lie, too; north is to the right then, and east is down.
    assert (x1 - x0, y1 - y0) == pytest.approx((0.12, 0), abs=1e-3)
    assert view["tiles"]["arrows"]["N"] == pytest.approx((1, 0), abs=1e-3)
    assert view["tiles"]["arrows"]["E"] == pytest.approx((0, -1), abs=1e-3)


def test_where_a_table_of_a_visit_has_no_corners_the_regions_have_them(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=1, detectors=2)
    made.put_campaign("run")
    for detector in made.detectors:
        record = {"instrument": "Cam", "visit": 1, "detector": detector, "region": _region(detector)}
        made.butler.registry.insertDimensionData("visit_detector_region", record)
    table = Table({"detector": [0, 1], "trend_level": [1.0, 2.0]})
    table["ra_corners"] = table["dec_corners"] = np.array([[0.0, 0.1, 0.1, 0.0], [np.nan] * 4])
    made.put(table, "calexpBackground_visit_table", "ArrowAstropy", "run", instrument="Cam", visit=1)
    index = make_report(made.path, "run", tmp_path / "report", detail="all")
    for path in (index, page_of_visit(index.parent, 1)):
        (view,) = Page(path).views
        x = np.mean(view["tiles"]["xs"], axis=1)
        assert abs(x[1] - x[0]) == pytest.approx(0.2, rel=1e-3)


def test_tables_of_visits_with_odd_columns_spoil_no_page(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=3, detectors=2)
    made.put_campaign("run")
    tables = [
        # Twice the same detector, texts for numbers, three corners.
        Table({"detector": [1, 1], "trend_level": ["7", "a"], "ra_corners": [[1.0] * 3] * 2}),
        Table({"detector": ["a", "b"], "trend_level": [1.0, 2.0], "ra_corners": [1.0, 2.0]}),
        Table({"trend_level": [1.0]}),
    ]
    steps = {"detector1": [0, 1], "detector2": [1, 5], "step": ["2.5", "?"], "rms": [np.nan, 1.0]}
    for visit, table in zip(made.visits, tables, strict=True):
        if "ra_corners" in table.colnames:
            table["dec_corners"] = table["ra_corners"]
        data_id = {"instrument": "Cam", "visit": visit}
        made.put(table, "calexpBackground_visit_table", "ArrowAstropy", "run", **data_id)
        made.put(Table(steps)[: visit - 1], "calexpBackground_visit_steps", "ArrowAstropy", "run", **data_id)
    site = make_report(made.path, "run", tmp_path / "report", detail="all").parent
    pages_of = [Page(page_of_visit(site, visit)) for visit in made.visits]
    found = [page.views[0]["values"].get("trend_level") for page in pages_of]
    assert found == [[None, 7], [None, None], None]
    assert ["Steps between neighbours" in page.text for page in pages_of] == [False, True, True]
    assert "2.5" in pages_of[2].text


def test_unreadable_datasets_are_told_of(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=1)
    made.put_bundles("run")
    ref = made.butler.query_datasets("calexpBackground_metrics", "run", instrument="Cam", detector=3)[0]
    made.path_of(ref).write_text("no bundle")
    index = Page(make_report(made.path, "run", tmp_path / "report"))
    assert "1 dataset of calexpBackground could not be read: calexpBackground_metrics" in index.text
    assert len(index.views[0]["tiles"]["label"]) == 7
    assert "no regions of these detectors" in index.text
    assert "xs" not in index.views[0]["tiles"]


def test_table_that_lacks_rows_is_told_of(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=2)
    made.put_bundles("run")
    made.put_campaign("run", visits=[1])
    index = Page(make_report(made.path, "run", tmp_path / "report", detail="none"))
    assert "calexpBackground_campaign_table of Cam lacks 8 of the backgrounds with metrics" in index.text


def test_a_report_of_some_nights_alone(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=1)
    made.put_patch("run", 4, 0, "r", {"level_median": 1.0})
    table = rows_of_nights([20260101, 20260102, 20260103], [[1, 2], [3, 4], [5, 6]])
    made.put(table, "calexpBackground_campaign_table", "ArrowTable", "run", instrument="Cam")
    output = tmp_path / "report"

    def report(*options: str) -> Any:
        return CliRunner().invoke(main, ["report", made.path, "run", "-o", str(output), *options])

    for options, rows, words in (
        (["--since", "2026-01-02"], 4, "nights since 20260102"),
        (["--night", "20260102"], 2, "night 20260102"),
        (["--night", "newest"], 2, "night 20260103"),
    ):
        result = report(*options)
        assert result.exit_code == 0, result.output
        index = Page(output / "index.html")
        assert f"Backgrounds of run, {words}" in index.text
        noun = "visit" if rows == 2 else "visits"
        assert f"{rows} rows: 2 detectors in {rows // 2} {noun}" in index.text
        # What is of no night is left out.
        assert "Patches" not in index.text
    # Only the night's values are in its pages.
    (path,) = output.glob("visits/*/*.html")
    assert Page(path).views[0]["values"]["level_median"] == [5, 6]
    result = report("--night", "20270101")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: run has no metrics of night 20270101; it has nights 20260101 to 20260103\n",
    )
    assert report("--night", "soon").exit_code == 2
    assert report("--night", "20260101", "--since", "20260101").exit_code == 2


def test_pictures_that_may_run_scripts_are_not_opened(
    marked: Marked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lsst.bgqa.dashboard.report import _datasets

    name = "calexpBackground_stack_image_plot"
    data_id = {"instrument": INSTRUMENT, "detector": 2, "physical_filter": f"{INSTRUMENT}-r"}
    with contextlib.suppress(ConflictingDefinitionError):
        marked.put(Figure(), name, "Plot", RUN, **data_id)
    monkeypatch.setattr(_datasets, "artifact_name", lambda uri: "picture.SVG")
    site = make_report(marked.path, RUN, tmp_path / "report").parent
    assert list(site.rglob("*.svg"))
    stacks = (site / "stacks.html").read_text()
    assert re.search(r'<img src="[^"]*\.svg"', stacks)
    for path in site.rglob("*.html"):
        assert not re.search(r'href="[^"]*\.svg"', path.read_text())


def test_the_overview_says_in_words_what_fails(site: Path) -> None:
    index = Page(site / "index.html")
    assert "8 of 40 detector images fail (20.0%), in 4 of 5 visits." in index.text
    assert "Most common: a level above the others', in 4 of them (50.0%)." in index.text
    assert "Most often in detector 1 (<b>R1</b>): 4 of its 5 rows" in index.text
    assert "in the night 20261009 alone." in index.text
    assert "2 of 36 patch coadds fail (5.6%), in 2 of 4 tracts and bands." in index.text


def test_two_instruments_have_sections_of_their_own(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=1)
    made.put_bundles("run")
    insert = made.butler.registry.insertDimensionData
    insert("instrument", {"name": "Other", "class_name": "lsst.obs.test.Cam"})
    insert("physical_filter", {"instrument": "Other", "name": "Other-r", "band": "r"})
    insert("day_obs", {"instrument": "Other", "id": 20261009})
    insert("detector", {"instrument": "Other", "id": 7, "full_name": "C7", "purpose": "SCIENCE"})
    visit = {"id": 1, "name": "v", "physical_filter": "Other-r", "day_obs": 20261009}
    insert("visit", {"instrument": "Other", **visit})
    bundle = made.bundle({"coverage_finiteFraction": 0.1, "level_median": 5.0})
    name = "calexpBackground_metrics"
    made.put(bundle, name, "MetricMeasurementBundle", "run", instrument="Other", visit=1, detector=7)
    index = Page(make_report(made.path, "run", tmp_path / "report"))
    assert [view["tiles"]["label"] for view in index.views] == [[str(d) for d in range(8)], ["7"]]
    assert len(re.findall(r' id="', index.path.read_text())) == len(index.ids)
    # The same visit of each has a page.
    assert len(list(index.path.parent.glob("visits/*/1.html"))) == 2


def test_collection_with_nothing_but_wholes(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=1)
    made.put_others("run")
    index = Page(make_report(made.path, "run", tmp_path / "report"))
    assert "there are metrics of visits as a whole but none of a detector" in index.text
    assert "stack_patternRms / adu" in Page(tmp_path / "report" / "stacks.html").text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "run"], "nowhere"),
        (["REPO", "nothing"], "nothing"),
        (["REPO", "empty"], "has no metrics of backgrounds"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    marked: Marked, tmp_path: Path, arguments: list[str], message: str
) -> None:
    marked.butler.registry.registerRun("empty")
    repo, collection = arguments
    repo = marked.path if repo == "REPO" else str(tmp_path / repo)
    result = CliRunner().invoke(main, ["report", repo, collection, "-o", str(tmp_path / "report")])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_another_folder_is_never_replaced(marked: Marked, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("chapter")
    (tmp_path / "file").touch()
    for name, message in (("thesis", "not a report of bgqa"), ("file", "not a folder")):
        result = CliRunner().invoke(main, ["report", marked.path, RUN, "-o", str(tmp_path / name)])
        assert result.exit_code == 1
        assert message in result.stderr
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "chapter"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "thesis"]


def test_current_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="current folder"), _site.making(Path()):
        pass


def test_without_bokeh_a_line_says_what_to_install(
    marked: Marked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bokeh", None)
    monkeypatch.setitem(sys.modules, "bokeh.embed", None)
    monkeypatch.delitem(sys.modules, "lsst.bgqa.dashboard.report._figures", raising=False)
    monkeypatch.delattr("lsst.bgqa.dashboard.report._figures", raising=False)
    result = CliRunner().invoke(main, ["report", marked.path, RUN, "-o", str(tmp_path / "report")])
    assert result.exit_code == 1
    assert re.fullmatch(
        r"Error: a report needs bokeh\S*, which is not installed; bgqa's extra report .*\n", result.stderr
    )


def test_log_has_no_progress_bar(marked: Marked, tmp_path: Path) -> None:
    path = tmp_path / "a" / "report"
    result = CliRunner().invoke(main, ["report", marked.path, RUN, "--detail", "none", "-o", str(path)])
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Report: {path / 'index.html'}\n"


def test_interrupted_report_is_not_there(
    marked: Marked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report"
    write = _site.Site.write

    def interrupt(self: _site.Site, *args: Any, **kwargs: Any) -> None:
        write(self, *args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(_site.Site, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_report(marked.path, RUN, path)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    # One that is there is complete until another is.
    make_report(marked.path, RUN, path, detail="none")
    before = {item: item.stat().st_mtime_ns for item in path.rglob("*")}
    monkeypatch.setattr(_site.Site, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_report(marked.path, RUN, path)
    assert {item: item.stat().st_mtime_ns for item in path.rglob("*")} == before
    monkeypatch.undo()
    make_report(marked.path, RUN, path)
    assert list(path.glob("visits/*/*.html"))
    assert [item.name for item in tmp_path.iterdir()] == ["report"]


def test_commands_and_tasks_do_not_import_bokeh() -> None:
    code = "import sys, lsst.bgqa.cli, lsst.bgqa.tasks; print({'bokeh', 'jinja2'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_progress_ends_where_everything_is_read(marked: Marked, tmp_path: Path) -> None:
    from contextlib import contextmanager

    calls: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def progress(what: str) -> Iterator[Any]:
        yield lambda done, total: calls.setdefault(what, []).append((done, total))

    make_report(marked.path, RUN, tmp_path / "report", detail="none", progress=progress)
    assert len(calls) >= 4
    for steps in calls.values():
        done, total = steps[-1]
        assert done == total > 0


# ---- The parts -------------------------------------------------------------


SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=float)


def moved(x: float, y: float) -> np.ndarray:
    return SQUARE + np.array([x, y])


def test_outlines_are_turned_as_the_pixels_are() -> None:
    tall = {i: moved(1.1 * i, 0) * [1, 2] for i in range(3)}
    angle = 2.0
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    for mirror in (1, -1):
        turned = {key: (corners @ turn) * [1, mirror] + 5 for key, corners in tall.items()}
        found, arrows = on_focal_plane(turned)
        for key, corners in found.items():
            np.testing.assert_allclose(corners, tall[key] - [1.6, 1], atol=1e-12)
        # East was along x, north along y.
        for name, direction in (("E", (1, 0)), ("N", (0, 1))):
            np.testing.assert_allclose(arrows[name], (np.array(direction) * [1, mirror]) @ turn.T, atol=1e-12)


def test_outlines_that_overlap_are_separated_and_others_left_alone() -> None:
    apart = {0: SQUARE, 1: moved(1.1, 0)}
    np.testing.assert_allclose(separate(apart)[1], apart[1])
    overlapping = separate({0: SQUARE, 1: moved(0.8, 0)})
    assert overlapping[0][:, 0].max() < overlapping[1][:, 0].min()


def test_border_of_neighbours() -> None:
    triangle = np.array([(1.2, -1), (2, 0.5), (1.2, 2)])
    borders = shared_borders([SQUARE, SQUARE], [moved(1.2, 0.25), triangle])
    lines = np.array([[(1.1, 0.25), (1.1, 1)], [(1.1, 0), (1.1, 1)]])
    for border, expected in zip(borders, lines, strict=True):
        np.testing.assert_allclose(border[np.argsort(border[:, 1])], expected)


def test_maps_reach_over_right_ascension_zero_and_the_whole_sky() -> None:
    corners = {0: unit_vectors(np.array([359.9, 0.1, 0.1, 359.9]), np.array([-0.1, -0.1, 0.1, 0.1]))}
    outlines = project(corners)
    assert np.ptp(outlines[0][:, 0]) == pytest.approx(0.2, rel=1e-4)
    corners |= {1: unit_vectors(np.array([179.9, 180.1, 180.1]), np.array([10.0, 10.0, 10.2]))}
    outlines = project(corners)
    assert all(np.ptp(outline[:, 0]) < 0.3 for outline in outlines.values())
    assert project({}) == {}


def test_numbers_in_words() -> None:
    assert number(4194304.0, "ct") == "4194304 ct"
    assert number(0.123456, "adu") == "0.1235 adu"
    assert number(math.nan) == ""
    assert number(math.inf) == "inf"
    assert (share(0, 0), share(1, 10_000), share(9_999, 10_000), share(1, 2)) == (
        "-",
        "< 0.1%",
        "> 99.9%",
        "50.0%",
    )
    assert sorted("ziNu", key=band_order) == ["u", "i", "z", "N"]


def test_names_of_files_are_safe_and_differ() -> None:
    names = ["u/me/run", "u me run", "../../etc", "<script>", "LSSTCam", ""]
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", text) for text in slugs if text)
    assert slug("LSSTCam") == "LSSTCam"


def test_json_in_a_page_ends_no_script() -> None:
    value = {
        "a</script>": ["<!--", "it's"],
        "n": np.array([1.5, math.nan, math.inf, 4194304.0]),
        "x": math.nan,
    }
    text = dump(value)
    assert not set("<>&'") & set(text)
    assert json.loads(text) == {
        "a</script>": ["<!--", "it's"],
        "n": [1.5, None, None, 4194304],
        "x": None,
    }
    assert json.loads(dump(np.array([4194304.0, math.nan]))) == [4194304, None]


@pytest.mark.slow
def test_overview_of_a_large_campaign_is_small(tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    try:
        from report import make_campaign
    finally:
        sys.path.pop(0)
    make_campaign(tmp_path / "repo", visits=1059)
    code = (
        "import resource, sys; from pathlib import Path; from lsst.bgqa.dashboard.report import make_report; "
        "make_report(sys.argv[1], 'qa', Path(sys.argv[2]), detail='none'); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "repo"), str(tmp_path / "report")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert (tmp_path / "report" / "index.html").stat().st_size < 5e6
    # In KiB: 1 GiB.
    assert int(done.stdout.split()[-1]) < 2**20
    assert "200,151 rows: 189 detectors in 1,059 visits" in Page(tmp_path / "report" / "index.html").text


# ---- What a report asks of a table -----------------------------------------


def rows_of_nights(nights: Sequence[int], values: Sequence[Sequence[float]], **columns: Any) -> pa.Table:
    """Make a campaign table: a visit a night, with detectors of some level."""
    detectors = len(values[0])
    count = len(nights) * detectors
    table: dict[str, Any] = {
        "instrument": pa.repeat("Cam", count),
        "band": pa.repeat("r", count),
        "physical_filter": pa.repeat("Cam-r", count),
        "day_obs": np.repeat(np.array(nights, dtype=np.int64), detectors),
        "visit": np.repeat(np.arange(1, len(nights) + 1), detectors),
        "detector": np.tile(np.arange(detectors), len(nights)),
        "detector_name": [f"D{i}" for i in range(detectors)] * len(nights),
        "kind": pa.repeat("", count),
        "verdict": ["pass"] * count,
        "severity": np.zeros(count),
        "failed": [""] * count,
        "fault": [""] * count,
        "level_median": np.array(values, dtype=float).ravel(),
    }
    return pa.table(table | columns)


def summary_of(tmp_path: Path, table: pa.Table) -> Summary:
    made = MadeUp(tmp_path / "repo", visits=1)
    made.put(table, "calexpBackground_campaign_table", "ArrowTable", "run", instrument="Cam")
    with Campaign(made.path, "run") as campaign:
        return summarize(campaign.tables[0])


def test_summary_finds_the_worst_and_keeps_nights_apart(tmp_path: Path) -> None:
    spots = [0.0, 50.0, 0.0, 70.0, 0.0, 0.0]
    fails = [spot > 0 for spot in spots]
    table = rows_of_nights(
        [20260101, 20260102, 20260101],
        [[1, 3], [2, 5], [9, math.nan]],
        verdict=["fail" if bad else "pass" for bad in fails],
        severity=[3.0 if spot == 50 else 4.0 if spot == 70 else 0.0 for spot in spots],
        failed=["significance_spotSigma" if bad else "" for bad in fails],
        fault=["a halo (70 sigma); a tail (1 %)" if spot == 70 else "a halo" * bool(spot) for spot in spots],
        significance_spotSigma=spots,
    )
    summary = summary_of(tmp_path, table)
    assert (summary.rows, summary.counts) == (6, {"unknown": 0, "pass": 4, "fail": 2})
    assert summary.mosaics["visit"].to_list() == [2, 1, 3]
    assert summary.failures == {"significance_spotSigma": 2}
    # Without how large they are; a row may have several.
    assert summary.faults == {"a halo": 2, "a tail": 1}
    tile = summary.tiles.row(1, named=True)
    assert (tile["key"], tile["name"], tile["pass"], tile["fail"]) == ([1], "D1", 1, 2)
    worst = summary.worst[tile["worst"]]
    assert (worst["visit"], worst["detector"]) == (2, 1)
    value = worst["value"]
    assert (value.metric, value.value, value.high, value.severity) == ("significance_spotSigma", 70, 6, 4)
    medians = dict(zip([m.name for m in summary.metrics], summary.medians["night 20260102"].T, strict=True))
    assert medians["level_median"].tolist() == pytest.approx([100 * (2 / 3.5 - 1), 100 * (5 / 3.5 - 1)])
    assert medians["significance_spotSigma"].tolist() == [0, 70]
    assert list(summary.nights) == [(20260101, 20260101, "r"), (20260102, 20260102, "r")]
    cell = summary.nights[20260101, 20260101, "r"]
    assert (cell["count"], cell["failing"]) == (4, 1)
    assert cell["quantiles"]["level_median"][::2] == [1, 3, 9]
    assert summary.groups["significance", "r"] == {"pass": 4, "fail": 2, "unknown": 0}
    assert summary.groups["level", "r"] == {"pass": 0, "fail": 0, "unknown": 6}
    assert summary.failing_tiles["significance_spotSigma"].tolist() == [0, 2]


def test_where_nothing_fails_the_nearest_to_failing_have_pages(tmp_path: Path) -> None:
    spots = [0.1 * (i % 14) for i in range(14)]
    spots[4], spots[9] = 5.5, -5.7
    table = rows_of_nights([20260101] * 14, [[1.0]] * 14, significance_spotSigma=spots)
    made = MadeUp(tmp_path / "repo", visits=1)
    made.put(table, "calexpBackground_campaign_table", "ArrowTable", "run", instrument="Cam")
    site = make_report(made.path, "run", tmp_path / "report").parent
    # Visits 5 and 10 are near to the limits of 6 either way.
    assert {int(path.stem) for path in site.glob("visits/*/*.html")} == {
        5,
        10,
        *range(7, 10),
        *range(11, 15),
        6,
    }
    assert "All 14 detector images in 14 visits pass." in Page(site / "index.html").text


def test_of_many_visits_that_fail_the_worst_have_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.bgqa.dashboard.report._make._MOST_PAGES", 2)
    severity = [1.5, 4.0, 0.0, 2.0, 3.0]
    table = rows_of_nights(
        [20260101] * 5,
        [[1.0]] * 5,
        severity=severity,
        verdict=["fail" if value else "pass" for value in severity],
        failed=["level_median" if value else "" for value in severity],
    )
    made = MadeUp(tmp_path / "repo", visits=1)
    made.put(table, "calexpBackground_campaign_table", "ArrowTable", "run", instrument="Cam")
    site = make_report(made.path, "run", tmp_path / "report").parent
    assert {int(path.stem) for path in site.glob("visits/*/*.html")} == {2, 5}
    for name in ("index.html", "visits.html"):
        text = Page(site / name).text
        assert "The worst 2 have a page; bgqa report --detail all gives each one." in text


def test_a_report_of_and_into_folders_with_odd_names(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "a b" / "repo", visits=1)
    run = "u/me/#1 5% b"
    made.put_campaign(run)
    data_id = {"instrument": "Cam", "visit": 1, "detector": 1}
    made.put(Figure(figsize=(1, 1)), "calexpBackground_image_plot", "Plot", run, **data_id)
    result = CliRunner().invoke(main, ["report", made.path, run, "-o", str(tmp_path / "r #%20 é" / "out")])
    assert result.exit_code == 0, result.output
    site = tmp_path / "r #%20 é" / "out"
    assert len(list(site.rglob("*.png"))) == 1
    test_all_links_lead_to_files_and_places_of_the_report(site)
    (view,) = Page(page_of_visit(site, 1)).views
    ((_, path),) = view["tiles"]["pictures"][1]
    assert (page_of_visit(site, 1).parent / unquote(path)).is_file()


def test_many_nights_are_put_together_and_unknown_ones_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.bgqa.dashboard.queries._MOST_NIGHTS", 10)
    nights = [0, *range(20260101, 20260131)]
    summary = summary_of(tmp_path, rows_of_nights(nights, [[float(n)] for n in range(31)]))
    assert len(summary.nights) == 10
    first = summary.nights[20260101, 20260103, "r"]
    assert first["count"] == 3
    assert first["quantiles"]["level_median"][::2] == [1, 2, 3]


def test_angles_go_round(tmp_path: Path) -> None:
    """The middle of 350 and 20 degrees is 5, not 185."""
    angles = [350.0, 20.0, 20.0, 350.0]
    table = rows_of_nights([20260101, 20260102], [[1, 1], [1, 1]], shape_gradientAngle=angles)
    fields = [
        f.with_metadata({"unit": "deg"}) if f.name == "shape_gradientAngle" else f for f in table.schema
    ]
    summary = summary_of(tmp_path, table.cast(pa.schema(fields)))
    column = [metric.name for metric in summary.metrics].index("shape_gradientAngle")
    assert summary.medians["all"][:, column] == pytest.approx([5, 5])
    cell = summary.nights[20260101, 20260101, "r"]
    assert cell["quantiles"]["shape_gradientAngle"] == [None, None, pytest.approx(5), None, None]


def test_constant_and_empty_metrics_have_histograms_or_none(tmp_path: Path) -> None:
    nan = [math.nan, math.nan]
    summary = summary_of(tmp_path, rows_of_nights([20260101], [[7, 7]], significance_spotSigma=nan))
    assert list(summary.histograms) == ["level_median"]
    assert summary.histograms["level_median"].passing.sum() == 2


def test_histograms_count_every_row(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(size=(1, 5000))
    values[0, 7] = 1e9
    fails = [value > 1 for value in values[0]]
    table = rows_of_nights(
        [20260101],
        values.tolist(),
        failed=["level_median" if bad else "" for bad in fails],
        verdict=["fail" if bad else "pass" for bad in fails],
    )
    histogram = summary_of(tmp_path, table).histograms["level_median"]
    assert (histogram.failing.sum(), histogram.passing.sum()) == (sum(fails), 5000 - sum(fails))
    assert (histogram.first, histogram.last) == pytest.approx(np.quantile(values, (0.005, 0.995)))
    expected, _ = np.histogram(
        np.clip(values, histogram.first, histogram.last), 40, (histogram.first, histogram.last)
    )
    assert (histogram.failing + histogram.passing).tolist() == expected.tolist()
