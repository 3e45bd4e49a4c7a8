# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Ingest of real HSC backgrounds, and the pipeline over them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backgrounds import WHOLE_GOLDEN

from lsst.bgqa import BackgroundError
from lsst.bgqa.errors import UserError
from lsst.bgqa.metrics import quantities_of
from lsst.bgqa.standalone.ingest import DEFAULT_RUN, ingest
from lsst.bgqa.standalone.manifest import UNKNOWN_NIGHT, read_manifest
from lsst.daf.butler import Butler
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor
from lsst.sphgeom import LonLat, UnitVector3d

HSC = Path(__file__).parent / "data" / "hsc"
GOLDEN = WHOLE_GOLDEN / "hsc"


@pytest.fixture
def entries() -> list[dict[str, Any]]:
    """The manifest, with files by absolute path."""
    entries = json.loads((HSC / "manifest.json").read_text())
    return [{**entry, "file": str(HSC / entry["file"])} for entry in entries]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], str]:
    def write_manifest(content: Any) -> str:
        path = tmp_path / "manifest.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write_manifest


def run_pipeline(repo: Path, manifest: Path) -> tuple[int, float]:
    """Ingest and run; return how many bundles there are, and the largest
    relative deviation from the measured sky.
    """
    ingest(str(repo), str(manifest))
    butler = SimplePipelineExecutor.prep_butler(str(repo), inputs=[DEFAULT_RUN], output="out")
    pipeline = Pipeline.from_uri("resource://lsst.bgqa/pipelines/backgroundQa.yaml#detector")
    executor = SimplePipelineExecutor.from_pipeline(pipeline, butler=butler)
    executor.run(register_dataset_types=True)
    worst, count = 0.0, 0
    for entry in json.loads(manifest.read_text()):
        bundle = executor.butler.get(
            "calexpBackground_metrics",
            instrument=entry["instrument"],
            visit=entry["visit"],
            detector=entry["detector"],
        )
        level = quantities_of(bundle)["level_median"].to_value("adu")
        worst = max(worst, abs(level / entry["sky_level_adu"] - 1))
        count += 1
    return count, worst


def test_pipeline_agrees_with_the_measured_sky(tmp_path: Path) -> None:
    count, worst = run_pipeline(tmp_path / "repo", HSC / "manifest.json")
    assert count == 10
    assert worst < 0.01


@pytest.mark.slow
@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the whole golden set is not at hand (BGQA_GOLDEN)")
def test_pipeline_agrees_with_the_measured_sky_of_whole_visits(tmp_path: Path) -> None:
    count, worst = run_pipeline(tmp_path / "repo", GOLDEN / "manifest.json")
    print(f"quanta {count}, largest deviation from the measured sky level {worst:.3%}")
    assert count == 309
    assert worst < 0.01


def test_records_say_where_and_what(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    report = ingest(str(tmp_path / "repo"), str(HSC / "manifest.json"))
    assert (report.ingested, report.already_there, report.visits) == (10, 0, 3)
    with Butler.from_config(str(tmp_path / "repo")) as butler:
        entry = entries[5]
        data_id = {key: entry[key] for key in ("instrument", "visit", "detector")}
        refs = butler.query_datasets(
            "calexpBackground", DEFAULT_RUN, data_id=data_id, with_dimension_records=True
        )
        (ref,) = refs
        assert ref.dataId["band"] == "z"
        assert ref.dataId["physical_filter"] == "HSC-Z"
        assert ref.dataId["day_obs"] == UNKNOWN_NIGHT
        center = UnitVector3d(
            LonLat.fromDegrees(sum(entry["ra_corners_deg"]) / 4, sum(entry["dec_corners_deg"]) / 4)
        )
        assert ref.dataId.region is not None
        assert ref.dataId.region.contains(center)
        visit = ref.dataId.records["visit"]
        assert visit is not None
        for other in entries:
            middle = UnitVector3d(
                LonLat.fromDegrees(sum(other["ra_corners_deg"]) / 4, sum(other["dec_corners_deg"]) / 4)
            )
            if other["visit"] == entry["visit"]:
                assert visit.region.contains(middle)


def test_ingesting_again_changes_nothing(tmp_path: Path) -> None:
    repo = str(tmp_path / "repo")
    ingest(repo, str(HSC / "manifest.json"))
    report = ingest(repo, str(HSC / "manifest.json"))
    assert (report.ingested, report.already_there) == (0, 10)
    report = ingest(repo, str(HSC / "manifest.json"), run="other")
    assert (report.ingested, report.already_there) == (10, 0)


def drop(field: str) -> Callable[[list[dict[str, Any]]], Any]:
    return lambda entries: [{key: value for key, value in entries[0].items() if key != field}]


def change(field: str, value: Any, number: int = 0) -> Callable[[list[dict[str, Any]]], Any]:
    return lambda entries: [
        {**entry, field: value} if i == number else entry for i, entry in enumerate(entries)
    ]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda entries: "{", "is not JSON"),
        (lambda entries: {}, "is not a list of files"),
        (lambda entries: [], "is not a list of files"),
        (lambda entries: [3], "entry 0: "),
        (drop("visit"), "entry 0, visit: Field required"),
        (change("visit", "first"), "entry 0, visit: .*valid integer"),
        (change("ra_corners_deg", [1, 2, 3]), "entry 0, ra_corners_deg"),
        (change("dec_corners_deg", [0, 1, 2, 91]), "entry 0, dec_corners_deg"),
        (change("ra_corners_deg", [0, 1, float("nan"), 2]), "entry 0, ra_corners_deg"),
        (change("width", -3), "entry 0, width: .*greater than 0"),
        (change("detector", 1), "entries 0 and 1 are both of HSC visit 1176, detector 1"),
        (change("physical_filter", "HSC-I", 1), "physical_filter of visit 1176 is 'HSC-I', but 'HSC-Z'"),
        (change("band", "i", 2), "band of filter HSC-Z is 'i'"),
        (change("file", "/not/there.fits"), r"/not/there\.fits: .*does not exist"),
        (change("width", 2000), "covers 2048x4176 pixels, the manifest says 2000x4176"),
        (change("ra_corners_deg", [10, 10, 10, 10]), "enclose no area"),
    ],
)
def test_wrong_manifest_is_one_clear_line(
    tmp_path: Path,
    entries: list[dict[str, Any]],
    write: Callable[[Any], str],
    spoil: Callable[[list[dict[str, Any]]], Any],
    message: str,
) -> None:
    content = spoil(entries)
    if message == "enclose no area":
        content[0]["dec_corners_deg"] = [1, 1, 1, 1]
    with pytest.raises(UserError, match=message) as caught:
        ingest(str(tmp_path / "repo"), write(content))
    assert "\n" not in str(caught.value)


def test_file_that_is_no_background_is_named(
    tmp_path: Path, entries: list[dict[str, Any]], write: Callable[[Any], str]
) -> None:
    path = tmp_path / "text.fits"
    path.write_text("hello")
    entries[3]["file"] = str(path)
    with pytest.raises(BackgroundError, match=r"text\.fits: not a FITS file"):
        ingest(str(tmp_path / "repo"), write(entries))
    assert not (tmp_path / "repo").exists()


def test_missing_manifest_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.json: cannot be read"):
        ingest(str(tmp_path / "repo"), str(tmp_path / "nowhere.json"))


def test_folder_that_is_no_repository_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="cannot be opened as a data repository"):
        ingest(str(tmp_path), str(HSC / "manifest.json"))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_repository_with_another_filter_for_the_visit_is_refused(
    tmp_path: Path, entries: list[dict[str, Any]], write: Callable[[Any], str]
) -> None:
    repo = str(tmp_path / "repo")
    ingest(repo, str(HSC / "manifest.json"))
    one = {**entries[0], "physical_filter": "HSC-I", "band": "i"}
    with pytest.raises(UserError, match="taken with HSC-Z according to the repository"):
        ingest(repo, write([one]), run="other")


def test_files_are_relative_to_the_manifest() -> None:
    paths = [entry.file for entry in read_manifest(HSC / "manifest.json")]
    assert all(path.startswith("file://") and "/data/hsc/calexpBackground_HSC" in path for path in paths)


@pytest.mark.parametrize("run", ["a,b", "all*", "two words", ""])
def test_run_that_no_command_could_name_is_refused(run: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be the name of a collection"):
        ingest(str(tmp_path / "repo"), str(HSC / "manifest.json"), run=run)
    assert not (tmp_path / "repo").exists()
