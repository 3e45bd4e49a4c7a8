# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What ``bgqa discover`` finds in repositories of several generations."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lsst.bgqa import stack
from lsst.bgqa.cli import main
from lsst.bgqa.discovery import FoundBackground, discover
from lsst.bgqa.errors import UserError
from lsst.bgqa.generations import KNOWN_BACKGROUNDS, Target, find_target
from lsst.ctrl.mpexec.cli.pipetask import cli as pipetask
from lsst.daf.butler import Butler, CollectionType, DataCoordinate, DatasetType
from lsst.pipe.base import Pipeline
from lsst.sphgeom import Angle, Circle, UnitVector3d

ROOT = Path(__file__).parents[1]
VISIT = ("instrument", "detector", "visit")
COADD = ("band", "skymap", "tract", "patch")
REGION = Circle(UnitVector3d(1, 0, 0), Angle.fromDegrees(0.1))
BANDS = {"HSC": "gr", "LSSTCam": "iz", "Other": "y"}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A repository whose datasets have no file at all."""
    path = str(tmp_path_factory.mktemp("discover") / "repo")
    Butler.makeRepo(path)
    with Butler.from_config(path, writeable=True) as butler:
        insert_records(butler)
        butler.registry.insertDimensionData(
            "visit_detector_region",
            *[{**data_id, "region": REGION} for data_id in visits("HSC", [0, 1, 2, 3])],
        )
        for run in ("night1", "night2", "elsewhere"):
            butler.registry.registerRun(run)
        register(butler, "calexpBackground", "Background", VISIT)
        insert(butler, "calexpBackground", "night1", visits("HSC", [0, 1, 2]))
        insert(butler, "calexpBackground", "night2", visits("HSC", [3]))
        insert(butler, "calexpBackground", "elsewhere", visits("Other", [0]))
        register(butler, "visit_image", "VisitImage", VISIT)
        insert(butler, "visit_image", "night2", visits("LSSTCam", [0, 1]))
        register(butler, "deep_coadd", "CellCoadd", COADD)
        insert(butler, "deep_coadd", "night1", patches("i", 5))
        register(butler, "odd_background", "Background", ("instrument", "visit"))
        insert(butler, "odd_background", "night1", [{"instrument": "HSC", "visit": 0}])
        register(butler, "never_background", "Background", VISIT)
        register(butler, "calexp", "ExposureF", VISIT)
        insert(butler, "calexp", "night1", visits("HSC", [0]))
        butler.registry.registerCollection("both", CollectionType.CHAINED)
        butler.registry.setCollectionChain("both", ["night2", "night1"])
    return path


def insert_records(butler: Butler, visit_count: int = 4, detector_count: int = 2) -> None:
    registry = butler.registry
    for name, bands in BANDS.items():
        registry.insertDimensionData(
            "instrument", {"name": name, "class_name": "x", "visit_max": 10**6, "detector_max": 300}
        )
        registry.insertDimensionData(
            "physical_filter", *[{"instrument": name, "name": f"f-{b}", "band": b} for b in bands]
        )
        registry.insertDimensionData("day_obs", {"instrument": name, "id": 20261009})
        registry.insertDimensionData(
            "detector", *[{"instrument": name, "id": i, "full_name": str(i)} for i in range(detector_count)]
        )
        registry.insertDimensionData(
            "visit",
            *[
                {
                    "instrument": name,
                    "id": i,
                    "name": str(i),
                    "physical_filter": f"f-{bands[i % len(bands)]}",
                    "day_obs": 20261009,
                }
                for i in range(visit_count)
            ],
        )
    registry.insertDimensionData(
        "skymap", {"name": "map", "hash": b"0" * 20, "tract_max": 9, "patch_nx_max": 9, "patch_ny_max": 9}
    )
    registry.insertDimensionData("tract", {"skymap": "map", "id": 1})
    registry.insertDimensionData(
        "patch", *[{"skymap": "map", "tract": 1, "id": i, "cell_x": i, "cell_y": 0} for i in range(6)]
    )


def visits(instrument: str, numbers: list[int], detectors: int = 2) -> list[dict[str, Any]]:
    return [{"instrument": instrument, "visit": v, "detector": d} for v in numbers for d in range(detectors)]


def patches(band: str, count: int) -> list[dict[str, Any]]:
    return [{"skymap": "map", "tract": 1, "patch": i, "band": band} for i in range(count)]


def register(butler: Butler, name: str, storage_class: str, dimensions: tuple[str, ...]) -> None:
    butler.registry.registerDatasetType(
        DatasetType(name, dimensions, storage_class, universe=butler.dimensions)
    )


def insert(butler: Butler, name: str, run: str, data_ids: list[dict[str, Any]]) -> None:
    butler.registry.insertDatasets(name, data_ids, run=run)


def by_name(found: list[FoundBackground]) -> dict[str, FoundBackground]:
    return {item.name: item for item in found}


def test_backgrounds_and_components_are_counted(repo: str) -> None:
    found = by_name(discover(repo))
    assert list(found) == [
        "calexpBackground",
        "deep_coadd.backgrounds",
        "odd_background",
        "visit_image.backgrounds",
    ]
    calexp = found["calexpBackground"]
    assert (calexp.storage_class, set(calexp.dimensions)) == ("Background", set(VISIT))
    assert calexp.count == 10
    assert dict(calexp.collections) == {"night1": 6, "night2": 2, "elsewhere": 2}
    assert dict(calexp.bands) == {"g": 4, "r": 4, "y": 2}
    assert set(calexp.instruments) == {"HSC", "Other"}
    images = found["visit_image.backgrounds"]
    assert (images.storage_class, images.count) == ("BackgroundMap", 4)
    assert dict(images.bands) == {"i": 2, "z": 2}
    coadds = found["deep_coadd.backgrounds"]
    assert (set(coadds.dimensions), dict(coadds.bands)) == (set(COADD), {"i": 5})
    assert coadds.skymaps == ("map",)


def test_collections_limit_what_is_counted(repo: str) -> None:
    found = by_name(discover(repo, ["night1"]))
    assert found["calexpBackground"].count == 6
    assert "visit_image.backgrounds" not in found
    assert by_name(discover(repo, ["both"]))["calexpBackground"].count == 8
    assert by_name(discover(repo, ["night*"]))["calexpBackground"].count == 8
    with pytest.raises(UserError, match="nowhere"):
        discover(repo, ["nowhere"])
    with pytest.raises(UserError, match="nowhere"):
        discover(repo, ["nowhere*"])


def test_commands_lead_to_the_pipeline_of_the_release(repo: str) -> None:
    found = by_name(discover(repo, ["both"]))
    command = found["calexpBackground"].command(repo)
    assert command is not None
    arguments = shlex.split(command)
    assert arguments[:7] == ["pipetask", "run", "-b", repo, "-i", "both", "-o"]
    # An output collection goes with its inputs, which need not be the same.
    commands = [command for item in found.values() if (command := item.command(repo))]
    outputs = [arguments[arguments.index("-o") + 1] for arguments in map(shlex.split, commands)]
    assert len(set(outputs)) == len(outputs) == 3
    assert "resource://lsst.bgqa/pipelines/HSC/backgroundQa.yaml#detector" in arguments
    assert "instrument='HSC'" in arguments
    assert found["visit_image.backgrounds"].target == Target("LSSTCam/DP2.yaml", "detector")
    assert found["deep_coadd.backgrounds"].target == Target("LSSTCam/DP2.yaml", "coadd")
    assert found["odd_background"].command(repo) is None
    # Without collections, the chain that holds all of them, if there is one.
    everything = by_name(discover(repo))
    assert set(everything["calexpBackground"].inputs) == {"night1", "night2", "elsewhere"}
    assert everything["visit_image.backgrounds"].inputs == ("night2",)


def test_collections_that_are_too_many_are_told(tmp_path: Path) -> None:
    path = str(tmp_path / "repo")
    Butler.makeRepo(path)
    with Butler.from_config(path, writeable=True) as butler:
        insert_records(butler)
        register(butler, "calexpBackground", "Background", VISIT)
        for i in range(23):
            butler.registry.registerRun(f"run{i:02}")
            # The same data ID in each.
            insert(butler, "calexpBackground", f"run{i:02}", visits("HSC", [0]))
        for name, children in (("inner", [f"run{i:02}" for i in range(22)]), ("outer", ["inner", "run22"])):
            butler.registry.registerCollection(name, CollectionType.CHAINED)
            butler.registry.setCollectionChain(name, children)
        (found,) = discover(path)
        assert (found.count, dict(found.bands)) == (46, {"g": 46})
        assert (found.inputs, found.omitted) == (("outer",), 0)
        butler.registry.removeCollection("outer")
    (found,) = discover(path)
    assert (len(found.inputs), found.omitted) == (20, 3)
    result = CliRunner().invoke(main, ["discover", path])
    assert "3 more collections have some" in result.output
    assert ('eval "$(bgqa env)"' in result.output) == (not stack.have_afw())


def test_the_command_line_builds_a_quantum_graph(repo: str) -> None:
    command = by_name(discover(repo, ["both"]))["calexpBackground"].command(repo)
    assert command is not None
    arguments = shlex.split(command)[2:]
    arguments.remove("--register-dataset-types")
    result = CliRunner().invoke(pipetask, ["qgraph", *arguments])
    assert result.exit_code == 0, result.output


def test_table_and_json(repo: str) -> None:
    result = CliRunner().invoke(main, ["discover", repo, "both"])
    assert result.exit_code == 0, result.output
    for text in ("calexpBackground", "visit_image.backgrounds", "night1: 6", "g: 4", "pipetask run -b"):
        assert text in result.output
    assert "odd_background: no pipeline judges it." in result.output
    result = CliRunner().invoke(main, ["discover", "--json", repo, "night1,night2"])
    entries = {entry["dataset_type"]: entry for entry in json.loads(result.output)}
    assert entries["calexpBackground"]["count"] == 8
    assert entries["odd_background"]["pipeline"] is None


def test_mistakes_are_one_line(repo: str, tmp_path: Path) -> None:
    for arguments in ([str(tmp_path / "none")], [repo, "nowhere"]):
        result = CliRunner().invoke(main, ["discover", *arguments])
        assert result.exit_code == 1
        assert result.output.startswith("Error: ") and result.output.count("\n") == 1
    empty = tmp_path / "empty"
    Butler.makeRepo(str(empty))
    result = CliRunner().invoke(main, ["discover", str(empty)])
    assert (result.exit_code, result.output) == (0, "No background here.\n")


@pytest.mark.parametrize("known", KNOWN_BACKGROUNDS, ids=lambda k: f"{k.release}-{k.dataset_type}")
def test_known_backgrounds_are_those_of_the_pipelines(known: Any) -> None:
    target = find_target(known.dataset_type, known.storage_class, known.dimensions, [known.instrument])
    assert target == Target(known.pipeline, known.subset)
    graph = Pipeline.fromFile(target.location).to_graph()
    (task,) = graph.tasks.values()
    config: Any = task.config
    connection = config.connections.ConnectionsClass(config=config).background
    assert connection.name == known.dataset_type
    assert connection.storageClass == known.storage_class
    assert config.unit == known.unit


def test_unknown_instruments_and_names_have_a_pipeline() -> None:
    target = find_target("skyCorr", "Background", VISIT, ["Other"])
    assert target is not None and target.pipeline == "backgroundQa.yaml"
    assert target.overrides == ("backgroundQa:connections.backgroundName=skyCorr",)
    target = find_target("visit_image_background", "Background", VISIT, ["Other"])
    assert target is not None and "backgroundQa:unit=electron" in target.overrides
    # What two instruments of the repository call the same; coadds of LSSTCam
    # have no closure.
    for instruments, closure in ((["LSSTCam", "LSSTComCam"], False), (["A", "B"], True)):
        target = find_target("deep_coadd_background", "Background", COADD, instruments)
        assert target is not None and target.pipeline == "backgroundQa.yaml"
        assert "coaddBackgroundQa:connections.coaddName=deep_coadd_predetection" in target.overrides
        assert ("coaddBackgroundQa:doClosure=False" not in target.overrides) == closure
    target = find_target("cells.backgrounds", "BackgroundMap", COADD, ["LSSTCam"])
    assert target is not None
    assert "coaddBackgroundQa:connections.calexpName=cells" in target.overrides
    assert find_target("odd", "Background", ("instrument", "visit"), ["HSC"]) is None


def test_table_in_the_documentation() -> None:
    text = (ROOT / "doc" / "generations.md").read_text()
    rows = [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    for known in KNOWN_BACKGROUNDS:
        row = [
            known.release,
            known.dataset_type,
            known.storage_class,
            ", ".join(known.dimensions),
            known.unit,
            f"{known.pipeline}#{known.subset}",
        ]
        assert row in rows


@pytest.mark.slow
def test_many_datasets_take_a_few_counts(tmp_path: Path) -> None:
    path = str(tmp_path / "repo")
    Butler.makeRepo(path)
    with Butler.from_config(path, writeable=True) as butler:
        insert_records(butler, visit_count=500, detector_count=200)
        butler.registry.registerRun("run")
        register(butler, "visit_image", "VisitImage", VISIT)
        universe = butler.dimensions
        ids = [
            DataCoordinate.standardize(
                instrument="LSSTCam",
                visit=visit,
                detector=detector,
                physical_filter=f"f-{BANDS['LSSTCam'][visit % 2]}",
                band=BANDS["LSSTCam"][visit % 2],
                day_obs=20261009,
                universe=universe,
            )
            for visit in range(500)
            for detector in range(200)
        ]
        butler.registry.insertDatasets("visit_image", ids, run="run", expand=False)
        start = time.process_time()
        with butler.query() as query:
            assert query.datasets("visit_image", "run").count() == 100_000
        one_count = time.process_time() - start
    # A few counts, whatever their number; none is fetched, no file is there.
    start = time.process_time()
    (found,) = discover(path)
    assert time.process_time() - start < 30 * one_count + 1
    assert found.count == 100_000
    assert dict(found.bands) == {"i": 50_000, "z": 50_000}
