# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

from pathlib import Path

import pytest

from lsst.bgqa.tasks import (
    BackgroundQaConfig,
    BackgroundQaTask,
    CoaddBackgroundQaConfig,
    CoaddBackgroundQaTask,
    PlotBackgroundConfig,
    VisitBackgroundQaConfig,
)
from lsst.daf.butler import DimensionUniverse
from lsst.pipe.base import Pipeline, PipelineGraph
from lsst.pipe.base.pipelineIR import ContractError
from lsst.resources import ResourcePath

ROOT = Path(__file__).parents[1]
RESOURCE = "resource://lsst.bgqa/pipelines"
PIPELINES = sorted(str(path.relative_to(ROOT / "pipelines")) for path in (ROOT / "pipelines").rglob("*.yaml"))


def load(location: str) -> PipelineGraph:
    return Pipeline.fromFile(location).to_graph()


@pytest.fixture
def eups(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BGQA_DIR", str(ROOT))
    return "$BGQA_DIR/pipelines"


@pytest.mark.parametrize("name", PIPELINES)
def test_pipeline_loads_from_a_package_and_from_a_product(name: str, eups: str) -> None:
    labels = [set(load(f"{base}/{name}").tasks) for base in (RESOURCE, eups)]
    assert labels[0] == labels[1] != set()


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_and_subsets_are_described(name: str) -> None:
    graph = load(f"{RESOURCE}/{name}")
    assert len(graph.description) > 20
    assert graph.task_subsets
    assert all(len(subset.description) > 20 for subset in graph.task_subsets.values())


def test_subsets_hold_the_tasks() -> None:
    graph = load(f"{RESOURCE}/backgroundQa.yaml")
    assert {label: set(subset) for label, subset in graph.task_subsets.items()} == {
        "detector": {"backgroundQa"},
        "coadd": {"coaddBackgroundQa"},
        "plots": {"plotBackground", "plotCoaddBackground"},
        "visit": {"visitBackgroundQa"},
        "stack": {"stackBackgrounds"},
        "tract": {"tractBackgroundQa"},
        "gather": {
            "gatherBackgroundQa",
            "gatherVisitBackgroundQa",
            "gatherCoaddBackgroundQa",
            "gatherTractBackgroundQa",
        },
        "gatherVisits": {"gatherBackgroundQa", "gatherVisitBackgroundQa"},
        "gatherCoadds": {"gatherCoaddBackgroundQa", "gatherTractBackgroundQa"},
        "gatherDetector": {"gatherBackgroundQa"},
        "gatherVisit": {"gatherVisitBackgroundQa"},
        "gatherCoadd": {"gatherCoaddBackgroundQa"},
        "gatherTract": {"gatherTractBackgroundQa"},
        "residual": {"residualSky"},
        "coaddResidual": {"coaddResidualSky"},
        "residualPlots": {"plotResidualSky", "plotCoaddResidualSky"},
        "gatherResidual": {"gatherResidualSky", "gatherCoaddResidualSky"},
    }
    assert graph.tasks["backgroundQa"].task_class is BackgroundQaTask
    assert graph.tasks["coaddBackgroundQa"].task_class is CoaddBackgroundQaTask
    assert set(load(f"{RESOURCE}/backgroundQa.yaml#coadd").tasks) == {"coaddBackgroundQa"}


def test_datasets_by_default() -> None:
    graph = load(f"{RESOURCE}/backgroundQa.yaml")
    connections = {
        label: {edge.parent_dataset_type_name for edge in task.iter_all_inputs()}
        | {edge.parent_dataset_type_name for edge in task.outputs.values()}
        for label, task in graph.tasks.items()
    }
    assert connections["backgroundQa"] == {"calexpBackground", "calexpBackground_metrics"}
    assert connections["coaddBackgroundQa"] >= {
        "deepCoadd_calexp_background",
        "deepCoadd_calexp_background_metrics",
    }


def test_hsc_has_four_amplifiers_in_x() -> None:
    graph = load(f"{RESOURCE}/HSC/backgroundQa.yaml")
    config = graph.tasks["backgroundQa"].config
    assert isinstance(config, BackgroundQaConfig)
    assert list(config.statistics.segments) == [4, 1]
    assert config.connections.backgroundName == "calexpBackground"


def test_lsstcam_has_its_own_amplifiers_datasets_and_units() -> None:
    tasks = load(f"{RESOURCE}/LSSTCam/backgroundQa.yaml").tasks
    visit, coadd = tasks["backgroundQa"].config, tasks["coaddBackgroundQa"].config
    assert isinstance(visit, BackgroundQaConfig) and isinstance(coadd, CoaddBackgroundQaConfig)
    assert list(visit.statistics.segments) == [8, 2]
    assert coadd.statistics.segments is None
    assert visit.connections.backgroundName == "visit_image_background"
    assert coadd.connections.backgroundName == "deep_coadd_background"
    assert (visit.unit, coadd.unit) == ("electron", "nJy")


def test_folders_are_found_where_the_package_is() -> None:
    # In a source tree by a link, in a wheel by what the build puts there.
    for folder in ("pipelines", "config"):
        files = {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.*")}
        assert files
        for file in files:
            assert ResourcePath(f"resource://lsst.bgqa/{folder}/{file}").exists()


@pytest.mark.parametrize("name", [name for name in PIPELINES if not name.startswith("_ingredients")])
def test_pictures_show_what_is_measured(name: str) -> None:
    tasks = load(f"{RESOURCE}/{name}").tasks
    for plotted, measured in (
        ("plotBackground", "backgroundQa"),
        ("plotCoaddBackground", "coaddBackgroundQa"),
    ):
        plot, qa = tasks[plotted], tasks[measured]
        inputs = {edge.connection_name: edge.parent_dataset_type_name for edge in qa.iter_all_inputs()}
        # Without a closure, the measuring task takes no more than the name of
        # the coadd from "provenance".
        coadd = inputs.get("provenance", "")
        for edge in plot.iter_all_inputs():
            assert inputs.get(edge.connection_name, coadd) == edge.parent_dataset_type_name
        assert isinstance(plot.config, PlotBackgroundConfig) and isinstance(qa.config, BackgroundQaConfig)
        assert plot.config.unit == qa.config.unit
        assert plot.config.bump_threshold == qa.config.statistics.bump_threshold


def test_coadds_before_and_after_subtraction() -> None:
    task = load(f"{RESOURCE}/LSSTComCam/backgroundQa.yaml").tasks["coaddBackgroundQa"]
    assert task.inputs["deepCoadd"].parent_dataset_type_name == "deep_coadd_predetection"
    assert task.inputs["deepCoadd_calexp"].parent_dataset_type_name == "deep_coadd"
    # Those of LSSTCam are of cells; deep_coadd_predetection is another coadd.
    tasks = load(f"{RESOURCE}/LSSTCam/backgroundQa.yaml").tasks
    assert not {"deepCoadd", "deepCoadd_calexp"} & set(tasks["coaddBackgroundQa"].inputs)
    assert "deepCoadd" not in tasks["plotCoaddBackground"].inputs
    assert "closure" not in tasks["plotCoaddBackground"].outputs


def test_dimensions_of_the_campaign_tasks() -> None:
    tasks = load(f"{RESOURCE}/backgroundQa.yaml").tasks
    universe = DimensionUniverse()
    expected = {
        "visitBackgroundQa": {"instrument", "visit"},
        "stackBackgrounds": {"instrument", "detector", "physical_filter"},
        "tractBackgroundQa": {"skymap", "tract", "band"},
        "gatherBackgroundQa": {"instrument"},
        "gatherVisitBackgroundQa": {"instrument"},
        "gatherCoaddBackgroundQa": {"skymap"},
        "gatherTractBackgroundQa": {"skymap"},
        "residualSky": {"instrument", "visit", "detector"},
        "coaddResidualSky": {"skymap", "tract", "patch", "band"},
        "gatherResidualSky": {"instrument"},
        "gatherCoaddResidualSky": {"skymap"},
    }
    for label, dimensions in expected.items():
        connections = tasks[label].get_connections()
        assert set(universe.conform(connections.dimensions).required) == dimensions


@pytest.mark.parametrize(
    ("label", "field"),
    [
        ("visitBackgroundQa", "unit"),
        ("stackBackgrounds", "unit"),
        ("tractBackgroundQa", "unit"),
        ("gatherVisitBackgroundQa", "unit"),
        ("gatherBackgroundQa", "unit"),
        ("gatherCoaddBackgroundQa", "unit"),
        ("gatherTractBackgroundQa", "unit"),
        ("residualSky", "unit"),
        ("coaddResidualSky", "unit"),
    ],
)
def test_units_must_agree(label: str, field: str) -> None:
    pipeline = Pipeline.fromFile(f"{RESOURCE}/backgroundQa.yaml")
    pipeline.addConfigOverride(label, field, "electron")
    with pytest.raises(ContractError):
        pipeline.to_graph()
    alone = Pipeline.fromFile(f"{RESOURCE}/backgroundQa.yaml#{label}")
    alone.addConfigOverride(label, field, "electron")
    assert set(alone.to_graph().tasks) == {label}


def test_one_parameter_sets_the_unit_of_all_coadds() -> None:
    """What would otherwise be ``-c coaddBackgroundQa:unit=nJy`` and so on."""
    pipeline = Pipeline.fromFile(f"{RESOURCE}/backgroundQa.yaml")
    pipeline.addConfigOverride("parameters", "coaddUnit", "nJy")
    units = {
        label: str(task.config.unit)
        for label, task in pipeline.to_graph().tasks.items()
        if hasattr(task.config, "unit")
    }
    of_coadds = {label for label in units if "oadd" in label or "ract" in label}
    assert len(of_coadds) >= 8
    assert {label for label, unit in units.items() if unit == "nJy"} == of_coadds


def test_visits_of_hsc_have_103_detectors() -> None:
    config = load(f"{RESOURCE}/HSC/backgroundQa.yaml").tasks["visitBackgroundQa"].config
    assert isinstance(config, VisitBackgroundQaConfig)
    assert len(config.detectors) == 103 and 9 not in config.detectors
    assert config.mirrored is False
    assert list(config.statistics.segments) == [4, 1]


def test_lsstcam_campaigns_have_its_dataset_names() -> None:
    tasks = load(f"{RESOURCE}/LSSTCam/backgroundQa.yaml").tasks
    inputs = {
        label: {edge.parent_dataset_type_name for edge in tasks[label].iter_all_inputs()}
        for label in ("visitBackgroundQa", "stackBackgrounds", "tractBackgroundQa", "gatherTractBackgroundQa")
    }
    assert inputs["stackBackgrounds"] == {"visit_image_background"}
    assert inputs["visitBackgroundQa"] == {"visit_image_background", "visit_image_residual_metrics"}
    assert inputs["tractBackgroundQa"] == {"deep_coadd_background"}
    assert inputs["gatherTractBackgroundQa"] == {"deep_coadd_background_tract_table"}


def test_images_of_each_generation() -> None:
    expected = {
        "backgroundQa.yaml": ("calexp", "calexpBackground", "ExposureF"),
        "HSC/backgroundQa.yaml": ("calexp", "calexpBackground", "ExposureF"),
        "LSSTComCam/backgroundQa.yaml": ("visit_image", "visit_image_background", "ExposureF"),
        "LSSTCam/backgroundQa.yaml": ("visit_image", "visit_image_background", "ExposureF"),
        "LSSTCam/DP2.yaml": ("visit_image", "visit_image.backgrounds", "VisitImage"),
    }
    for name, (image, background, storage_class) in expected.items():
        tasks = load(f"{RESOURCE}/{name}").tasks
        task = tasks["residualSky"]
        assert task.inputs["image"].parent_dataset_type_name == image
        assert task.inputs["image"].storage_class_name == storage_class
        assert task.inputs["background"].dataset_type_name == background
        assert task.outputs["metrics"].parent_dataset_type_name == f"{image}_residual_metrics"
        gather = tasks["gatherResidualSky"]
        assert gather.inputs["metrics"].parent_dataset_type_name == f"{image}_residual_metrics"
        coadd = tasks["coaddResidualSky"].inputs["image"]
        assert coadd.parent_dataset_type_name in ("deepCoadd_calexp", "deep_coadd")
        assert coadd.storage_class_name == ("CellCoadd" if "DP2" in name else "ExposureF")
    preliminary = load(f"{RESOURCE}/LSSTComCam/backgroundQa.yaml").tasks["preliminaryResidualSky"]
    assert preliminary.inputs["image"].parent_dataset_type_name == "preliminary_visit_image"
