# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import astropy.table
import astropy.units as u
import numpy as np
import pytest
from archives import archived
from matplotlib.figure import Figure
from matplotlib.image import imread

from lsst.bgqa import BackgroundError, BackgroundModel, stack
from lsst.bgqa.background import Box
from lsst.bgqa.metrics import quantities_of
from lsst.bgqa.statistics.closure import ClosureClass
from lsst.bgqa.tasks import (
    CoaddBackgroundQaConfig,
    CoaddBackgroundQaTask,
    CoaddImage,
    PlotBackgroundConfig,
    PlotBackgroundTask,
    PlotCoaddBackgroundConfig,
    PlotCoaddBackgroundTask,
)
from lsst.bgqa.tasks._coadds import read_input_visits
from lsst.daf.butler import Butler, DatasetRef, DatasetType, FileDataset
from lsst.images.cells import CoaddProvenance
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

DATA = Path(__file__).parent / "data" / "coadds"
MANIFEST = json.loads((DATA / "manifest.json").read_text())
PIPELINE = Path(__file__).parents[1] / "pipelines" / "backgroundQa.yaml"
PATCH: dict[str, Any] = {"skymap": "map", "tract": 3, "band": "r"}
FILES = {
    # Patch: coadd and subtracted coadd; the last has lost its coadd.
    0: ("identical_deepCoadd.fits", "sequential_deepCoadd_calexp.fits"),
    1: ("identical_deepCoadd.fits", "tampered_deepCoadd_calexp.fits"),
    2: ("compressed_deepCoadd.fits", "compressed_deepCoadd_calexp.fits"),
    3: (None, "identical_deepCoadd_calexp.fits"),
}

# In the stack the Butler's types and formatters are afw's own.
standalone_only = pytest.mark.skipif(stack.have_stack(), reason="ingests files for the standalone formatters")


@pytest.fixture(scope="module")
def model() -> BackgroundModel:
    return BackgroundModel.read_fits(DATA / "background.fits", unit=u.nJy)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Butler]:
    """A repository with coadds that afw wrote."""
    path = tmp_path / "repo"
    Butler.makeRepo(str(path))
    with Butler.from_config(str(path), writeable=True, run="input") as butler:
        records: dict[str, list[dict[str, Any]]] = {
            "instrument": [{"name": "Cam", "class_name": "lsst.pipe.base.Instrument"}],
            "physical_filter": [{"instrument": "Cam", "name": "Cam-r", "band": "r"}],
            "skymap": [
                {"name": "map", "hash": b"0" * 20, "tract_max": 9, "patch_nx_max": 4, "patch_ny_max": 1}
            ],
            "tract": [{"skymap": "map", "id": 3}],
            "patch": [{"skymap": "map", "tract": 3, "id": i, "cell_x": i, "cell_y": 0} for i in FILES],
        }
        for element, rows in records.items():
            butler.registry.insertDimensionData(element, *rows)
        types = {}
        for name, storage_class in (
            ("deepCoadd", "ExposureF"),
            ("deepCoadd_calexp", "ExposureF"),
            ("deepCoadd_calexp_background", "Background"),
        ):
            types[name] = DatasetType(
                name, ["tract", "patch", "band"], storage_class, universe=butler.dimensions
            )
            butler.registry.registerDatasetType(types[name])
        for patch, (coadd, calexp) in FILES.items():
            data_id = butler.registry.expandDataId(patch=patch, **PATCH)
            for name, file in (
                ("deepCoadd", coadd),
                ("deepCoadd_calexp", calexp),
                ("deepCoadd_calexp_background", "background.fits"),
            ):
                if file is not None:
                    ref = DatasetRef(types[name], data_id, run="input")
                    butler.ingest(FileDataset(DATA / file, ref), transfer="copy")
        yield butler


def execute(butler: Butler, subset: str, where: str, **overrides: object) -> Butler:
    pipeline = Pipeline.fromFile(f"{PIPELINE}#{subset}")
    for field, value in overrides.items():
        pipeline.addConfigOverride("coaddBackgroundQa", field, value)
    root = str(butler.get_datastore_roots()["FileDatastore@<butlerRoot>"])
    output = SimplePipelineExecutor.prep_butler(root, inputs=["input"], output="out")
    executor = SimplePipelineExecutor.from_pipeline(pipeline, where=where, butler=output)
    executor.run(register_dataset_types=True)
    return output


@standalone_only
def test_closure_of_lossy_coadds_in_an_archive(repository: Butler, tmp_path: Path) -> None:
    names = ("deepCoadd", "deepCoadd_calexp", "deepCoadd_calexp_background")
    data_id = {"patch": 2, **PATCH}
    refs = [ref for name in names for ref in repository.query_datasets(name, "input", data_id=data_id)]
    assert len(refs) == 3
    with Butler.from_config(archived(repository, refs, tmp_path)) as other:
        butler = execute(other, "coadd", "skymap='map' AND tract=3", unit="nJy")
    compressed = metrics_of(butler, 2)
    assert compressed["closure_compressionExplainedFraction"] > 0.99
    assert compressed["closure_consistent"] == 1


def metrics_of(butler: Butler, patch: int) -> dict[str, float]:
    bundle = butler.get("deepCoadd_calexp_background_metrics", patch=patch, **PATCH, collections="out")
    return {name: quantity.value for name, quantity in quantities_of(bundle).items()}


@standalone_only
def test_closure_of_coadds_in_a_repository(repository: Butler, caplog: pytest.LogCaptureFixture) -> None:
    butler = execute(repository, "coadd", "skymap='map' AND tract=3", unit="nJy")
    sequential, tampered, compressed, alone = (metrics_of(butler, patch) for patch in FILES)

    assert sequential["closure_bitwiseEqualFraction"] == 1
    assert sequential["closure_consistent"] == 1
    metadata = butler.get("coaddBackgroundQa_metadata", patch=0, **PATCH, collections="out")
    counts = metadata["coaddBackgroundQa"]["closure"]
    expected = MANIFEST["cases"]["sequential"]
    assert counts["identicalSummed"] == expected["identical_summed"]
    assert counts["identicalSequential"] == expected["identical_sequential"]
    assert sum(counts[kind.name] for kind in ClosureClass) == expected["pixel_count"]

    expected = MANIFEST["cases"]["tampered"]
    assert tampered["closure_edgeUnexplainedCount"] == expected["tampered_edge"]
    assert tampered["closure_interiorUnexplainedCount"] == expected["tampered_inside"]
    assert tampered["closure_consistent"] == 0
    (warning,) = [record.getMessage() for record in caplog.records if "not explained" in record.getMessage()]
    assert "patch: 1" in warning
    assert "unexplained, inside: 11" in warning

    # The steps of the quantisation come from the files' headers.
    assert compressed["closure_compressionExplainedFraction"] > 0.99
    assert compressed["closure_consistent"] == 1

    # Without the coadd there is no closure, but the background is measured.
    assert "level_median" in alone
    assert not [name for name in alone if name.startswith("closure")]
    # Standalone exposures do not say which visits they were made from.
    assert "coverage_inputVisitCount" not in sequential


@standalone_only
def test_closure_can_be_left_out(repository: Butler) -> None:
    butler = execute(repository, "coadd", "skymap='map' AND patch=0", doClosure=False)
    assert not [name for name in metrics_of(butler, 0) if name.startswith("closure")]


def test_connections_follow_the_configuration() -> None:
    config = CoaddBackgroundQaConfig()
    connections = config.connections.ConnectionsClass(config=config)
    assert connections.inputs == {"background", "deepCoadd", "deepCoadd_calexp", "provenance"}
    assert connections.deepCoadd.minimum == 0
    config.doClosure = False
    assert config.connections.ConnectionsClass(config=config).inputs == {"background", "provenance"}
    config.doInputVisits = False
    assert config.connections.ConnectionsClass(config=config).inputs == {"background"}

    plots = PlotCoaddBackgroundConfig()
    connections = plots.connections.ConnectionsClass(config=plots)
    assert connections.outputs == {"image", "histogram", "bumps", "subtracted", "closure"}
    plots.doClosure = False
    connections = plots.connections.ConnectionsClass(config=plots)
    assert connections.inputs == {"background", "deepCoadd_calexp"}
    assert connections.outputs == {"image", "histogram", "bumps", "subtracted"}
    plots.doSubtracted = False
    assert plots.connections.ConnectionsClass(config=plots).inputs == {"background"}


@standalone_only
def test_broken_coadd_is_named(repository: Butler) -> None:
    uri = repository.getURI("deepCoadd", patch=1, **PATCH)
    uri.write(uri.read()[:5000], overwrite=True)
    with pytest.raises(BackgroundError, match=r"deepCoadd \{.*patch: 1.*\} cannot be read"):
        execute(repository, "coadd", "skymap='map' AND patch=1")


def test_coadds_of_other_pixels_are_refused(model: BackgroundModel) -> None:
    task = CoaddBackgroundQaTask(config=CoaddBackgroundQaConfig())
    image = np.zeros((260, 300), dtype=np.float32)
    coadd = CoaddImage(image, model.bbox, name="deepCoadd")
    moved = CoaddImage(image, Box(0, 0, 300, 260), name="deepCoadd_calexp")
    with pytest.raises(BackgroundError, match="deepCoadd_calexp 300x260 at"):
        task.run(model, coadd=coadd, calexp=moved)
    with pytest.raises(BackgroundError, match="deepCoadd_calexp cannot be compared"):
        task.run(model, coadd=moved, calexp=moved)


def test_run_counts_input_visits(model: BackgroundModel) -> None:
    task = CoaddBackgroundQaTask(config=CoaddBackgroundQaConfig())
    outputs = task.run(model, input_visits={1176: 3, 17900: 1})
    assert outputs.quantities["coverage_inputVisitCount"] == 2 * u.ct
    assert task.metadata["inputVisits"].getArray("visit") == [1176, 17900]
    assert task.metadata["inputVisits"].getArray("detectorCount") == [3, 1]
    assert outputs.closure is None
    names = list(outputs.quantities)
    assert names.index("coverage_inputVisitCount") < names.index("level_median")


def make_handle(**components: object) -> Any:
    """Stand in for a handle to a coadd that has some components."""

    def get(component: str) -> object:
        if isinstance(found := components[component], Exception):
            raise found
        return found

    storage_class = SimpleNamespace(allComponents=lambda: components)
    ref = SimpleNamespace(
        datasetType=SimpleNamespace(name="deepCoadd_calexp", storageClass=storage_class),
        dataId=SimpleNamespace(required={"patch": 1}),
    )
    return SimpleNamespace(ref=ref, get=get)


def test_input_visits_of_the_stack_and_of_lsst_images(caplog: pytest.LogCaptureFixture) -> None:
    ccds = astropy.table.Table({"visit": [1202, 1176, 1176], "ccd": [10, 49, 50]})
    legacy = make_handle(image=None, coaddInputs=SimpleNamespace(ccds=ccds))
    detectors = read_input_visits(legacy)
    assert detectors is not None
    assert list(detectors.items()) == [(1176, 2), (1202, 1)]

    rows = {"instrument": ["Cam"] * 3, "visit": np.array([7, 5, 7], np.uint64), "detector": [1, 2, 3]}
    provenance = CoaddProvenance(astropy.table.Table(rows), astropy.table.Table({"visit": [5, 7]}))
    assert read_input_visits(make_handle(provenance=provenance)) == {5: 1, 7: 2}

    # A run of pipetask in this process may have set the level of "lsst".
    caplog.set_level(logging.DEBUG, logger="lsst.bgqa")
    for handle, message in (
        (make_handle(image=None), "cannot say"),
        (make_handle(coaddInputs=None), "does not say"),
        (make_handle(coaddInputs=OSError("no such table")), "cannot be read: no such table"),
        (make_handle(provenance=AttributeError("no provenance")), "cannot be read: no provenance"),
    ):
        caplog.clear()
        assert read_input_visits(handle) is None
        (record,) = caplog.records
        assert record.levelno == logging.DEBUG
        assert message in record.getMessage()
        assert "deepCoadd_calexp {patch: 1}" in record.getMessage()


@standalone_only
def test_pictures_are_plot_datasets(repository: Butler) -> None:
    butler = execute(repository, "plotCoaddBackground", "skymap='map' AND patch IN (1, 3)")
    for name in ("image", "histogram", "bumps", "subtracted", "closure"):
        uri = butler.getURI(f"deepCoadd_calexp_background_{name}_plot", patch=1, **PATCH, collections="out")
        assert imread(uri.ospath).shape[1] in (800, 1000)
    # The pictures that need the coadd are not written without it.
    for name, there in (("image", True), ("subtracted", True), ("closure", False)):
        found = butler.exists(f"deepCoadd_calexp_background_{name}_plot", patch=3, **PATCH, collections="out")
        assert bool(found) is there


def test_plot_tasks_run_without_a_butler(model: BackgroundModel) -> None:
    outputs = PlotBackgroundTask(config=PlotBackgroundConfig()).run(model, title="visit 7")
    assert set(outputs.getDict()) == {"image", "histogram", "bumps"}
    assert all(isinstance(figure, Figure) for figure in outputs.getDict().values())
    coadds = PlotCoaddBackgroundTask(config=PlotCoaddBackgroundConfig()).run(model, title="patch 7")
    assert coadds.subtracted is None
    assert coadds.closure is None


def test_pipeline_keeps_pictures_apart() -> None:
    graph = Pipeline.fromFile(str(PIPELINE)).to_graph()
    plots = {label for label in graph.tasks if label.startswith("plot")}
    assert set(graph.task_subsets["plots"]) | set(graph.task_subsets["residualPlots"]) == plots
    for label in ("detector", "coadd", "residual", "coaddResidual"):
        assert not plots & set(graph.task_subsets[label])
