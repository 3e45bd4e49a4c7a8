# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest

import lsst.bgqa
from lsst.bgqa import BackgroundError, BackgroundModel, measure_background, stack, standalone
from lsst.bgqa.background import Box, Layer
from lsst.bgqa.metrics import quantities_of
from lsst.bgqa.statistics import StatisticsConfig
from lsst.bgqa.statistics.stacking import VisitRejectedError
from lsst.bgqa.tasks import (
    BackgroundQaConfig,
    BackgroundQaTask,
    BackgroundStatisticsConfig,
    CoaddBackgroundQaConfig,
    CoaddBackgroundQaTask,
)
from lsst.bgqa.tasks._campaign import LeftOut, NamedBackground
from lsst.bgqa.tasks._inputs import describe, read_background
from lsst.daf.butler import Butler, DatasetRef, DatasetType
from lsst.pipe.base import NoWorkFound, Pipeline, TaskMetadata
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor
from lsst.sphgeom import Angle, Circle, UnitVector3d

PIPELINE = Path(__file__).parents[1] / "pipelines" / "backgroundQa.yaml"

# The Butler's Background is afw's own type in the stack.
standalone_only = pytest.mark.skipif(stack.have_stack(), reason="writes backgrounds of the standalone type")


def make_model(level: float, unit: u.UnitBase = u.adu) -> BackgroundModel:
    rng = np.random.default_rng(5)
    values = (level + rng.normal(0, 1, (9, 8))).astype(np.float32)
    layer = Layer(values, np.ones_like(values), np.zeros(values.shape, np.int32), Box(10, 20, 800, 900))
    return BackgroundModel((layer,), unit)


@dataclass
class Repository:
    """A data repository with a few backgrounds."""

    path: Path
    butler: Butler

    def ref(self, dataset_type: str, **data_id: Any) -> DatasetRef:
        ref = self.butler.find_dataset(dataset_type, data_id, collections="input")
        assert ref is not None
        return ref


VISIT_42 = "instrument='Cam' AND visit=42"
VISIT: dict[str, Any] = {"instrument": "Cam", "visit": 42}
PATCH: dict[str, Any] = {"skymap": "map", "tract": 3, "band": "r"}
REGION = Circle(UnitVector3d(1, 0, 0), Angle.fromDegrees(0.1))


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    path = tmp_path / "repo"
    Butler.makeRepo(str(path))
    with Butler.from_config(str(path), writeable=True, run="input") as butler:
        records: dict[str, list[dict[str, Any]]] = {
            "instrument": [
                {"name": "Cam", "class_name": "lsst.pipe.base.Instrument", "visit_max": 99, "detector_max": 9}
            ],
            "physical_filter": [{"instrument": "Cam", "name": "Cam-r", "band": "r"}],
            "day_obs": [{"instrument": "Cam", "id": 20261009}],
            "detector": [{"instrument": "Cam", "id": i, "full_name": f"D{i}"} for i in range(3)],
            "visit": [
                {
                    "instrument": "Cam",
                    "id": 42,
                    "name": "v42",
                    "physical_filter": "Cam-r",
                    "day_obs": 20261009,
                }
            ],
            "visit_detector_region": [{**VISIT, "detector": i, "region": REGION} for i in range(3)],
            "skymap": [
                {"name": "map", "hash": b"0" * 20, "tract_max": 9, "patch_nx_max": 3, "patch_ny_max": 3}
            ],
            "tract": [{"skymap": "map", "id": 3}],
            "patch": [{"skymap": "map", "tract": 3, "id": i, "cell_x": i, "cell_y": 0} for i in range(2)],
        }
        for element, rows in records.items():
            butler.registry.insertDimensionData(element, *rows)
        for name, dimensions in (
            ("calexpBackground", ["visit", "detector"]),
            ("deepCoadd_calexp_background", ["tract", "patch", "band"]),
        ):
            butler.registry.registerDatasetType(
                DatasetType(name, dimensions, "Background", universe=butler.dimensions)
            )
        yield Repository(path, butler)


@pytest.fixture
def detectors(repository: Repository) -> Repository:
    """A good detector, one without a good pixel, and one whose file broke."""
    good = make_model(1000)
    layer = good.grids[0]
    blind = BackgroundModel(
        (Layer(np.full_like(layer.values, np.nan), layer.standard_error, layer.mask, layer.bbox),)
    )
    for detector, model in enumerate((good, blind, good)):
        repository.butler.put(model, "calexpBackground", detector=detector, **VISIT)
    uri = repository.butler.getURI(repository.ref("calexpBackground", detector=2, **VISIT))
    uri.write(uri.read()[:4000], overwrite=True)
    return repository


def metrics_of(butler: Butler, dataset_type: str, **data_id: Any) -> dict[str, u.Quantity]:
    return quantities_of(butler.get(dataset_type, data_id, collections="out"))


def execute(
    repository: Repository, subset: str, where: str, output: str = "out", **overrides: object
) -> Butler:
    pipeline = Pipeline.fromFile(f"{PIPELINE}#{subset}")
    (label,) = pipeline.task_labels
    for field, value in overrides.items():
        pipeline.addConfigOverride(label, field, value)
    butler = SimplePipelineExecutor.prep_butler(str(repository.path), inputs=["input"], output=output)
    executor = SimplePipelineExecutor.from_pipeline(pipeline, where=where, butler=butler)
    executor.run(register_dataset_types=True)
    return butler


def test_importing_the_tasks_is_light() -> None:
    code = (
        "import sys, lsst.pipe.base.connectionTypes, lsst.daf.butler, astropy.units; base = set(sys.modules);"
        "import lsst.bgqa.tasks;"
        "print([m for m in ('matplotlib', 'scipy', 'bokeh', 'pyarrow', 'lsst.images', 'lsst.afw')"
        " if m in set(sys.modules) - base])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_run_takes_a_background_and_gives_metrics(caplog: pytest.LogCaptureFixture) -> None:
    task = BackgroundQaTask(config=BackgroundQaConfig())
    model = make_model(1000, u.nJy)
    with caplog.at_level(logging.INFO):
        result = task.run(model, identity="calexpBackground {visit: 42}")
    assert result.quantities == measure_background(model)
    assert quantities_of(result.metrics) == result.quantities
    assert result.quantities["level_median"].unit == u.nJy
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert "calexpBackground {visit: 42}" in messages[0]
    assert messages[0].endswith("nJy.")


def test_metrics_are_in_the_task_metadata() -> None:
    task = BackgroundQaTask(config=BackgroundQaConfig())
    quantities = task.run(make_model(1000)).quantities
    kept = task.metadata["metrics"]
    assert {name: kept[name] for name in kept} == {name: q.value for name, q in quantities.items()}
    assert "level_median" in kept


def test_blind_background_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    layer = make_model(1000).grids[0]
    blind = BackgroundModel(
        (Layer(np.full_like(layer.values, np.nan), layer.standard_error, layer.mask, layer.bbox),)
    )
    task = BackgroundQaTask(config=BackgroundQaConfig())
    with caplog.at_level(logging.INFO):
        result = task.run(blind, identity="detector 7")
    assert list(result.metrics) == ["coverage"]
    assert [(r.levelname, "detector 7" in r.getMessage()) for r in caplog.records] == [("WARNING", True)]


def test_background_that_cannot_be_evaluated_is_named() -> None:
    layer = make_model(1000).layers[0]
    layer.values[3, 4] = np.inf
    for task in (
        BackgroundQaTask(config=BackgroundQaConfig()),
        CoaddBackgroundQaTask(config=CoaddBackgroundQaConfig()),
    ):
        with pytest.raises(BackgroundError, match=r"^detector 7 cannot be measured: "):
            task.run(BackgroundModel((layer,)), identity="detector 7")


def test_configuration_reaches_the_statistics_and_the_bundle() -> None:
    config = BackgroundQaConfig()
    config.statistics.segments = [2, 1]
    config.statistics.edge_width = 64
    config.statistics.bump_threshold = 2.0
    config.metric_name_prefix = "sky_"
    config.dataset_identifier = "DP1"
    config.validate()
    model = make_model(1000)
    result = BackgroundQaTask(config=config).run(model)
    assert result.quantities == measure_background(
        model, StatisticsConfig(segments=(2, 1), edge_width=64, bump_threshold=2.0)
    )
    assert result.metrics.metricNamePrefix == "sky_"
    assert result.metrics.dataset_identifier == "DP1"


def test_configuration_mirrors_that_of_the_statistics() -> None:
    config = BackgroundStatisticsConfig()
    assert set(config) == {field.name for field in fields(StatisticsConfig)}
    assert config.freeze_statistics() == StatisticsConfig()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("unit", "parsnip"),
        ("statistics.edge_width", 0),
        ("statistics.step_width", -1),
        ("statistics.bump_threshold", 0.0),
        ("statistics.segments", [8]),
        ("statistics.segments", [8, 0]),
    ],
)
def test_nonsense_configuration_is_refused(field: str, value: object) -> None:
    config = BackgroundQaConfig()
    *parents, name = field.split(".")
    target = config.statistics if parents else config
    with pytest.raises(ValueError, match=name):
        setattr(target, name, value)
        config.validate()


@pytest.mark.parametrize("config", [BackgroundQaConfig(), CoaddBackgroundQaConfig()])
def test_every_setting_and_connection_is_documented(config: BackgroundQaConfig) -> None:
    for settings in (config, config.statistics):
        assert all(len(field.doc) > 20 for field in settings._fields.values() if field.name != "connections")
    connections = config.connections.ConnectionsClass(config=config)
    assert all(connection.doc for connection in connections.allConnections.values())


def _labels_of_tasks() -> list[tuple[str, str]]:
    pipelines = sorted(Path(lsst.bgqa.__file__).parent.glob("pipelines/**/*.yaml"))
    found = []
    for path in pipelines:
        if "_ingredients" not in path.parts:
            found += [(str(path), label) for label in Pipeline.from_uri(str(path)).task_labels]
    return found


def test_configs_are_read_back() -> None:
    # Graphs and runs keep configs as text, which batch jobs read again.
    found = _labels_of_tasks()
    assert len(found) > 40
    pipelines = {path: Pipeline.from_uri(path).to_graph() for path in {path for path, _ in found}}
    for path, label in found:
        node = pipelines[path].tasks[label]
        again = node.task_class.ConfigClass()
        again.loadFromString(node.get_config_str())
        assert again == node.config, (path, label)


def test_limits_can_be_taken_away() -> None:
    config = BackgroundQaConfig()
    config.judge.high["significance_ringSigma"] = None  # type: ignore[assignment]
    again = BackgroundQaConfig()
    again.loadFromString(config.saveToString())
    assert again.judge_settings().limits["ring"] == np.inf
    assert again.judge_settings().limits["corner"] < np.inf
    assert np.isnan(again.judge.thresholds().bounds("significance_ringSigma")[1])


def test_dataset_names_follow_one_template() -> None:
    config = CoaddBackgroundQaConfig()
    connections = config.connections.ConnectionsClass(config=config)
    assert connections.background.name == "deepCoadd_calexp_background"
    assert connections.metrics.name == "deepCoadd_calexp_background_metrics"
    config.connections.backgroundName = "deep_coadd_background"
    connections = config.connections.ConnectionsClass(config=config)
    assert connections.background.name == "deep_coadd_background"
    assert connections.metrics.name == "deep_coadd_background_metrics"


def test_coadd_task_measures_what_it_is_given() -> None:
    model = make_model(0.1)
    task = CoaddBackgroundQaTask(config=CoaddBackgroundQaConfig())
    assert task.run(model).quantities == measure_background(model)


@standalone_only
def test_dataset_is_read_in_the_configured_unit(detectors: Repository) -> None:
    ref = detectors.ref("calexpBackground", detector=0, **VISIT)
    background = read_background(detectors.butler.getDeferred(ref), "nJy")
    assert background.unit == u.nJy
    np.testing.assert_array_equal(background.layers[0].values, make_model(1000).layers[0].values)


@standalone_only
def test_broken_dataset_is_named(detectors: Repository) -> None:
    ref = detectors.ref("calexpBackground", detector=2, **VISIT)
    with pytest.raises(BackgroundError) as error:
        read_background(detectors.butler.getDeferred(ref), "adu")
    name = "calexpBackground {instrument: 'Cam', detector: 2, visit: 42}"
    assert describe(ref) == name
    assert str(error.value).startswith(f"{name} cannot be read: ")


def test_background_without_a_layer_is_no_work(repository: Repository) -> None:
    universe = repository.butler.dimensions
    dataset_type = DatasetType("calexpBackground", ("visit", "detector"), "Background", universe=universe)
    data_id = repository.butler.registry.expandDataId(detector=0, **VISIT)

    class Handle:
        # Nothing is stored: what a Butler's type is here does not matter.
        ref = DatasetRef(dataset_type, data_id, run="input")

        def get(self) -> list:
            return []  # as long as an afw list without a layer

    with pytest.raises(NoWorkFound, match=r"calexpBackground .*detector: 0.* has no layer"):
        read_background(Handle(), "adu")  # type: ignore[arg-type]


@standalone_only
def test_detector_quantum_in_a_butler(detectors: Repository) -> None:
    butler = execute(detectors, "detector", f"{VISIT_42} AND detector=0", unit="nJy")
    expected = measure_background(make_model(1000, u.nJy))
    assert metrics_of(butler, "calexpBackground_metrics", detector=0, **VISIT) == expected
    metadata = butler.get("backgroundQa_metadata", {**VISIT, "detector": 0}, collections="out")
    assert isinstance(metadata, TaskMetadata)
    assert metadata["backgroundQa.metrics.level_median"] == expected["level_median"].value


@standalone_only
def test_blind_detector_still_has_a_bundle(detectors: Repository, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="backgroundQa"):
        butler = execute(detectors, "detector", f"{VISIT_42} AND detector=1")
    metrics = metrics_of(butler, "calexpBackground_metrics", detector=1, **VISIT)
    assert metrics["coverage_finiteFraction"].value == 0
    assert {name.partition("_")[0] for name in metrics} == {"coverage"}
    warnings = [r.getMessage() for r in caplog.records if r.name.endswith("backgroundQa")]
    assert len(warnings) == 1
    assert "detector: 1" in warnings[0] and "visit: 42" in warnings[0]


@standalone_only
def test_coadd_quantum_in_a_butler(repository: Repository) -> None:
    model = make_model(0.1)
    repository.butler.put(model, "deepCoadd_calexp_background", patch=1, **PATCH)
    butler = execute(repository, "coadd", "skymap='map' AND tract=3")
    assert metrics_of(butler, "deepCoadd_calexp_background_metrics", patch=1, **PATCH) == measure_background(
        model
    )
    with pytest.raises(LookupError):
        metrics_of(butler, "deepCoadd_calexp_background_metrics", patch=0, **PATCH)


@standalone_only
def test_background_that_cannot_be_drawn_is_named(repository: Repository) -> None:
    layer = make_model(1000).layers[0]
    layer.values[3, 4] = np.inf
    repository.butler.put(BackgroundModel((layer,)), "calexpBackground", detector=0, **VISIT)
    name = r"calexpBackground \{instrument: 'Cam', detector: 0, visit: 42\} cannot be drawn: "
    with pytest.raises(Exception, match=name):
        execute(repository, "plotBackground", VISIT_42)


def test_what_is_left_out_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    left_out = LeftOut(logging.getLogger("test"))
    background = NamedBackground(2, "calexpBackground {detector: 2}", lambda: make_model(1))
    left_out.add(background, NoWorkFound("calexpBackground {detector: 2} has no layer."))
    left_out.add(background, VisitRejectedError("it has no finite value"))
    assert [record.getMessage() for record in caplog.records] == [
        "calexpBackground {detector: 2} has no layer; it is left out.",
        "calexpBackground {detector: 2} is left out: it has no finite value",
    ]
    nothing = left_out.nothing_left("visit 42", "read")
    assert isinstance(nothing, NoWorkFound) and "visit 42: none of 2" in str(nothing)
    left_out.add(background, BackgroundError("calexpBackground {detector: 2} cannot be read: no such file"))
    error = left_out.nothing_left("visit 42", "read")
    assert isinstance(error, BackgroundError) and str(error).endswith("cannot be read: no such file")


@standalone_only
def test_running_again_gives_the_same_bytes(detectors: Repository) -> None:
    contents = []
    # Two collections: names of RUNs in one differ by the second only.
    for output in ("first", "again"):
        butler = execute(detectors, "detector", f"{VISIT_42} AND detector=0", output)
        ref = butler.find_dataset("calexpBackground_metrics", {**VISIT, "detector": 0}, collections=output)
        assert ref is not None
        contents.append(butler.getURI(ref).read())
    assert contents[0] == contents[1]
    assert json.loads(contents[0])["__metricNamePrefix"] == "backgroundQa_"


@standalone_only
def test_a_broken_file_fails_its_quantum_alone(detectors: Repository) -> None:
    command = [sys.executable, "-m", "lsst.ctrl.mpexec.cli.pipetask"]
    script = Path(sys.executable).with_name("pipetask")
    if script.exists():
        command = [sys.executable, str(script)]
    result = subprocess.run(
        [
            *command,
            *("run", "-b", str(detectors.path), "-i", "input", "-o", "out", "--register-dataset-types"),
            *("-p", f"{PIPELINE}#detector", "-d", VISIT_42),
        ],
        env=os.environ | standalone.environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    log = result.stdout + result.stderr
    assert result.returncode == 1, log
    assert "calexpBackground {instrument: 'Cam', detector: 2, visit: 42} cannot be read" in log
    detectors.butler.registry.refresh()
    done = detectors.butler.query_datasets("calexpBackground_metrics", collections="out")
    assert sorted(ref.dataId["detector"] for ref in done) == [0, 1]
