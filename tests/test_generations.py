# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Every generation's pipeline, on a small repository of that generation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from click.testing import CliRunner

from lsst.bgqa import BackgroundModel, measure_background, stack
from lsst.bgqa.background import Box, Layer
from lsst.bgqa.cli import main
from lsst.bgqa.metrics import quantities_of
from lsst.bgqa.standalone.demo import (
    DETECTORS,
    PATCHES,
    VISITS,
    make_cell_coadd,
    make_coadd,
    make_visit_image,
    visit_background,
)
from lsst.bgqa.standalone.demo import GENERATIONS as DEMO_GENERATIONS
from lsst.bgqa.statistics import StatisticsConfig
from lsst.bgqa.tasks._coadds import compare, read_restored_coadd
from lsst.bgqa.tasks._inputs import read_backgrounds
from lsst.ctrl.mpexec.cli.pipetask import cli as pipetask
from lsst.daf.butler import Butler, DatasetRef, DatasetType, FileDataset
from lsst.images import Background, BackgroundMap, Image, MaskedImage, MaskPlane, MaskSchema
from lsst.images import Box as ImageBox
from lsst.images.fields import ChebyshevField, SplineField, SumField
from lsst.images.fits import FitsCompressionOptions
from lsst.pipe.base import NoWorkFound, Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor
from lsst.sphgeom import Angle, Circle, UnitVector3d

ROOT = Path(__file__).parents[1] / "pipelines"

# The Butler's Background is afw's own type in the stack.
standalone_only = pytest.mark.skipif(stack.have_stack(), reason="writes datasets of the standalone types")

VISIT: dict[str, Any] = {"instrument": "Cam", "visit": 42, "detector": 0}
PATCH: dict[str, Any] = {"skymap": "map", "tract": 3, "patch": 0, "band": "r"}
WHERE = "(instrument='Cam' AND visit=42) AND (skymap='map' AND tract=3)"
REGION = Circle(UnitVector3d(1, 0, 0), Angle.fromDegrees(0.1))

VISIT_BOX = ImageBox.from_shape((600, 640), start=(0, 0))
PATCH_BOX = ImageBox.from_shape((200, 250), start=(3000, 4000))


def box_of(box: ImageBox) -> Box:
    return Box(box.x.start, box.y.start, box.x.size, box.y.size)


def legacy_background(box: ImageBox, level: float, rim: int = 0) -> BackgroundModel:
    """An afw background with bins of about 20 pixels, those of the rim all the
    same, and a pedestal.
    """
    values = (level + np.random.default_rng(7).normal(0, 1, (30, 32))).astype(np.float32)
    inside = np.zeros(values.shape, dtype=bool)
    inside[rim : 30 - rim, rim : 32 - rim] = True
    values[~inside] = level
    ones, zeros = np.ones_like(values), np.zeros(values.shape, np.int32)
    pedestal = np.full((1, 1), 0.25, np.float32)
    return BackgroundModel(
        (
            Layer(values, ones, zeros, box_of(box)),
            Layer(pedestal, np.ones_like(pedestal), np.zeros((1, 1), np.int32), box_of(box)),
        )
    )


def modern_background(box: ImageBox, level: float, unit: u.UnitBase = u.nJy, rim: int = 0) -> SumField:
    """The same as fields of lsst.images."""
    grid, pedestal = legacy_background(box, level, rim).layers
    assert isinstance(grid, Layer)
    spline = SplineField(
        box, grid.values.astype(np.float64), y=grid.bin_centers_y, x=grid.bin_centers_x, unit=unit
    )
    return SumField([spline, ChebyshevField(box, pedestal.values.astype(np.float64), unit=unit)])


def alternative(box: ImageBox, level: float, unit: u.UnitBase = u.nJy) -> SumField:
    """A model that is lower by a tilted plane, that of nJy in other units."""
    scale, plane_unit = (1e-3, u.uJy) if unit == u.nJy else (1.0, unit)
    plane = ChebyshevField(box, scale * np.array([[-2.0, 0.5], [0.0, 0.0]]), unit=plane_unit)
    return SumField([modern_background(box, level, unit), plane])


def noise(box: ImageBox) -> np.ndarray:
    return np.random.default_rng(9).normal(0, 5, box.shape).astype(np.float32)


def exposure(box: ImageBox, pixels: np.ndarray) -> MaskedImage:
    """What an ExposureF is where afw is missing."""
    return MaskedImage(
        Image(pixels, bbox=box, unit=u.nJy), mask_schema=MaskSchema([MaskPlane("BAD", "Bad pixel.")])
    )


def legacy_datasets(generation: Generation, rim: int = 0) -> dict[str, Any]:
    datasets: dict[str, Any] = {
        name: legacy_background(VISIT_BOX, 800.0 + i, rim)
        for i, name in enumerate(generation.visit_backgrounds)
    }
    for name in generation.visit_backgrounds:
        if name in IMAGES:
            datasets[IMAGES[name]] = exposure(VISIT_BOX, noise(VISIT_BOX))
    background = legacy_background(PATCH_BOX, 3.0)
    after = noise(PATCH_BOX)
    datasets[generation.coadds[0]] = exposure(PATCH_BOX, after + background.render())
    datasets[generation.coadds[1]] = exposure(PATCH_BOX, after)
    datasets[generation.coadd_background] = background
    return datasets


def modern_datasets(generation: Generation, rim: int = 0) -> dict[str, Any]:
    visit = BackgroundMap(
        [
            Background("subtracted", modern_background(VISIT_BOX, 800.0, u.electron, rim)),
            Background("skyCorr", alternative(VISIT_BOX, 800.0, u.electron)),
        ],
        subtracted="subtracted",
    )
    coadd = BackgroundMap(
        [
            Background("object", modern_background(PATCH_BOX, 3.0)),
            Background("pretty", alternative(PATCH_BOX, 3.0)),
        ],
        subtracted="object",
    )
    return {
        "visit_image": make_visit_image(
            noise(VISIT_BOX), VISIT_BOX, visit, **VISIT, physical_filter="Cam-r", band="r"
        ),
        "deep_coadd": make_cell_coadd(noise(PATCH_BOX), PATCH_BOX, coadd, **PATCH),
    }


@dataclass(frozen=True)
class Generation:
    """What a release's repository holds, and what is expected of it."""

    pipeline: str
    visit_backgrounds: tuple[str, ...]
    coadd_background: str
    coadds: tuple[str, str]
    units: tuple[str, str]
    segments: tuple[int, int] | None

    @property
    def path(self) -> str:
        return str(ROOT / self.pipeline)


LSST_COADDS = ("deep_coadd_predetection", "deep_coadd")
DC2_COADDS = ("deepCoadd", "deepCoadd_calexp")
PRELIMINARY = "preliminary_visit_image_background"
# The image that a background was subtracted from.
IMAGES = {
    "calexpBackground": "calexp",
    "visit_image_background": "visit_image",
    PRELIMINARY: "preliminary_visit_image",
}
GENERATIONS = {
    "any": Generation(
        "backgroundQa.yaml",
        ("calexpBackground",),
        "deepCoadd_calexp_background",
        DC2_COADDS,
        ("adu", "adu"),
        None,
    ),
    "hsc": Generation(
        "HSC/backgroundQa.yaml",
        ("calexpBackground", "skyCorr"),
        "deepCoadd_calexp_background",
        DC2_COADDS,
        ("adu", "nJy"),
        (4, 1),
    ),
    "dp02": Generation(
        "LSSTCam-imSim/backgroundQa.yaml",
        ("calexpBackground",),
        "deepCoadd_calexp_background",
        DC2_COADDS,
        ("adu", "adu"),
        (8, 2),
    ),
    "dp1": Generation(
        "LSSTComCam/backgroundQa.yaml",
        ("visit_image_background", PRELIMINARY),
        "deep_coadd_background",
        LSST_COADDS,
        ("electron", "nJy"),
        (8, 2),
    ),
    "lsstcam": Generation(
        "LSSTCam/backgroundQa.yaml",
        ("visit_image_background", PRELIMINARY, "skyCorr"),
        "deep_coadd_background",
        LSST_COADDS,
        ("electron", "nJy"),
        (8, 2),
    ),
    "dp2": Generation(
        "LSSTCam/DP2.yaml",
        ("visit_image.backgrounds",),
        "deep_coadd.backgrounds",
        ("", "deep_coadd"),
        ("electron", "nJy"),
        (8, 2),
    ),
}


@dataclass
class Repository:
    """A repository of one generation."""

    generation: Generation
    path: Path
    datasets: dict[str, Any]

    def run(self, pipeline: Pipeline) -> Butler:
        """Run quanta in this process, and return a Butler of the results."""
        butler = SimplePipelineExecutor.prep_butler(str(self.path), inputs=["input"], output="out")
        executor = SimplePipelineExecutor.from_pipeline(pipeline, where=WHERE, butler=butler)
        executor.run(register_dataset_types=True)
        return butler


def fill(butler: Butler, datasets: dict[str, Any]) -> None:
    records: dict[str, list[dict[str, Any]]] = {
        "instrument": [
            {"name": "Cam", "class_name": "lsst.pipe.base.Instrument", "visit_max": 99, "detector_max": 9}
        ],
        "physical_filter": [{"instrument": "Cam", "name": "Cam-r", "band": "r"}],
        "day_obs": [{"instrument": "Cam", "id": 20261009}],
        "detector": [{"instrument": "Cam", "id": 0, "full_name": "D0"}],
        "visit": [
            {
                "instrument": "Cam",
                "id": 42,
                "name": "v42",
                "physical_filter": "Cam-r",
                "day_obs": 20261009,
                "region": REGION,
            }
        ],
        "visit_detector_region": [{**VISIT, "region": REGION}],
        "skymap": [{"name": "map", "hash": b"0" * 20, "tract_max": 9, "patch_nx_max": 3, "patch_ny_max": 3}],
        "tract": [{"skymap": "map", "id": 3, "region": REGION}],
        "patch": [{"skymap": "map", "tract": 3, "id": 0, "cell_x": 0, "cell_y": 0, "region": REGION}],
    }
    for element, rows in records.items():
        butler.registry.insertDimensionData(element, *rows)
    storage_classes = {"VisitImage": "VisitImage", "CellCoadd": "CellCoadd", "MaskedImage": "ExposureF"}
    for name, dataset in datasets.items():
        of_visit = "visit" in name or name in ("calexpBackground", "calexp", "skyCorr")
        dimensions = ["visit", "detector"] if of_visit else ["tract", "patch", "band"]
        storage_class = storage_classes.get(type(dataset).__name__, "Background")
        butler.registry.registerDatasetType(
            DatasetType(name, dimensions, storage_class, universe=butler.dimensions)
        )
        butler.put(dataset, name, VISIT if of_visit else PATCH)


@pytest.fixture(params=GENERATIONS)
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    return make(request.param, tmp_path)


def make(name: str, folder: Path, rim: int = 0) -> Repository:
    generation = GENERATIONS[name]
    datasets = (modern_datasets if name == "dp2" else legacy_datasets)(generation, rim)
    path = folder / "repo"
    Butler.makeRepo(str(path))
    with Butler.from_config(str(path), writeable=True, run="input") as butler:
        fill(butler, datasets)
    return Repository(generation, path, datasets)


@pytest.fixture
def dp02(tmp_path: Path) -> Repository:
    return make("dp02", tmp_path)


@pytest.fixture
def dp2(tmp_path: Path) -> Repository:
    return make("dp2", tmp_path)


def test_every_pipeline_has_a_generation_here() -> None:
    pipelines = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.yaml")}
    assert {generation.pipeline for generation in GENERATIONS.values()} == {
        name for name in pipelines if not name.startswith("_ingredients")
    }


@pytest.mark.parametrize("name", GENERATIONS)
def test_names_units_and_segments(name: str) -> None:
    generation = GENERATIONS[name]
    graph = Pipeline.fromFile(generation.path).to_graph()
    of_visits = {}
    for label, task in graph.tasks.items():
        config: Any = task.config
        of_coadds = "oadd" in label or "ract" in label
        expected = generation.units[of_coadds]
        if label == "gatherResidualSky" and expected == "electron":
            expected = "nJy"  # the unit of the images
        assert config.unit == expected, label
        # LSSTCam's coadds are of cells: what is there before is another coadd.
        if "doClosure" in config:
            assert config.doClosure == (name != "lsstcam")
        if "statistics" in config and not of_coadds:
            assert (config.statistics.segments and tuple(config.statistics.segments)) == generation.segments
        connections = config.connections.ConnectionsClass(config=config)
        background = getattr(connections, "background", getattr(connections, "backgrounds", None))
        if background is None:
            continue  # it takes metrics
        assert background.storageClass == ("BackgroundMap" if name == "dp2" else "Background")
        if of_coadds:
            assert background.name == generation.coadd_background
        else:
            of_visits[label] = background.name
    assert set(of_visits.values()) == set(generation.visit_backgrounds)
    for label in ("backgroundQa", "plotBackground", "visitBackgroundQa", "stackBackgrounds", "residualSky"):
        assert of_visits[label] == generation.visit_backgrounds[0]


@standalone_only
def test_pipetask_builds_pipeline_and_quantum_graph(repository: Repository, tmp_path: Path) -> None:
    runner = CliRunner()
    path = repository.generation.path
    result = runner.invoke(
        pipetask, ["build", "-p", path, "-b", str(repository.path), "--show", "task-graph"]
    )
    assert result.exit_code == 0, result.output
    arguments = ["-b", str(repository.path), "-i", "input", "-o", "out", "-d", WHERE]
    result = runner.invoke(pipetask, ["qgraph", "-p", path, *arguments, "--show", "graph"])
    assert result.exit_code == 0, result.output
    labels = set(Pipeline.fromFile(path).task_labels)
    pipeline = Pipeline.fromFile(path)
    butler = SimplePipelineExecutor.prep_butler(str(repository.path), inputs=["input"], output="out")
    executor = SimplePipelineExecutor.from_pipeline(pipeline, where=WHERE, butler=butler)
    assert {label for label in labels if executor.quantum_graph.get_task_quanta(label)} == labels


def visit_metrics(butler: Butler, name: str) -> dict[str, u.Quantity]:
    return quantities_of(butler.get(f"{name}_metrics", VISIT, collections="out"))


def coadd_metrics(butler: Butler, name: str) -> dict[str, u.Quantity]:
    return quantities_of(butler.get(f"{name}_metrics", PATCH, collections="out"))


@standalone_only
@pytest.mark.parametrize("name", ["dp02", "dp1", "dp2"])
def test_residual_sky_end_to_end(name: str, tmp_path: Path) -> None:
    repository = make(name, tmp_path)
    pipeline = Pipeline.fromFile(f"{repository.generation.path}#residual,coaddResidual,gatherResidual")
    if name == "dp02":
        # Unlike its own, the coadds here say that they are calibrated.
        pipeline.addConfigOverride("gatherCoaddResidualSky", "unit", "nJy")
        pipeline.addConfigOverride("gatherResidualSky", "unit", "nJy")
    butler = repository.run(pipeline)
    image = "calexp" if name == "dp02" else "visit_image"
    metrics = quantities_of(butler.get(f"{image}_residual_metrics", VISIT, collections="out"))
    pixels = noise(VISIT_BOX)
    assert metrics["residual_mean"].unit == u.nJy
    assert metrics["residual_mean"].value == pytest.approx(float(pixels.mean(dtype=float)), abs=1e-3)
    assert metrics["residual_noise"].value == pytest.approx(5, rel=0.01)
    # Of DP1's images no calibration is left, nor is one of this camera's.
    assert "residual_skyBrightnessError" not in metrics
    coadd = repository.generation.coadds[1]
    metrics = quantities_of(butler.get(f"{coadd}_residual_metrics", PATCH, collections="out"))
    unit = repository.generation.units[1]
    assert ("residual_skyBrightnessError" in metrics) == (unit == "nJy")
    row = butler.get(f"{coadd}_residual_campaign_table", skymap="map", collections="out").to_pylist()[0]
    assert row["residual_noise"] == pytest.approx(5, rel=0.02)


@standalone_only
def test_dp02_end_to_end(dp02: Repository) -> None:
    butler = dp02.run(Pipeline.fromFile(f"{dp02.generation.path}#detector,coadd,plots"))
    background = dp02.datasets["calexpBackground"]
    assert visit_metrics(butler, "calexpBackground") == measure_background(
        background, StatisticsConfig(segments=(8, 2))
    )
    metrics = coadd_metrics(butler, "deepCoadd_calexp_background")
    assert metrics["closure_consistent"].value == 1
    assert butler.exists("calexpBackground_image_plot", VISIT, collections="out")
    assert not butler.query_datasets("calexpBackground_metrics", collections="input", explain=False)


@standalone_only
def test_dp2_end_to_end(dp2: Repository) -> None:
    butler = dp2.run(Pipeline.fromFile(f"{dp2.generation.path}#detector,coadd,plots"))
    for name, box, level, unit, metrics in (
        ("visit_image", VISIT_BOX, 800.0, u.electron, visit_metrics(butler, "visit_image_backgrounds")),
        ("deep_coadd", PATCH_BOX, 3.0, u.nJy, coadd_metrics(butler, "deep_coadd_backgrounds")),
    ):
        stored = butler.get(f"{name}.backgrounds", VISIT if name == "visit_image" else PATCH)
        pixels = stored.subtracted.field.render(dtype=np.float64).array
        np.testing.assert_allclose(pixels, modern_background(box, level).render().array, rtol=1e-12)
        for extreme in ("min", "max"):
            assert metrics[f"level_{extreme}"].value == pytest.approx(
                float(getattr(np, extreme)(pixels)), rel=1e-9
            )
        spread = float(pixels.std())
        for metric, expected in {
            "mean": pixels.mean(),
            "median": np.median(pixels),
            "p95": np.percentile(pixels, 95),
        }.items():
            assert metrics[f"level_{metric}"].value == pytest.approx(float(expected), abs=5e-3 * spread)
        assert metrics["level_std"].value == pytest.approx(spread, rel=1e-3)
        assert metrics["level_median"].unit == unit
        # The other model less this one: a plane about -2 units.
        assert metrics["comparison_meanDifference"].value == pytest.approx(-2.0, abs=1e-6)
        assert metrics["comparison_medianDifference"].value == pytest.approx(-2.0, abs=1e-3)
        assert metrics["comparison_maxAbsDifference"].value == pytest.approx(2.5, abs=5e-3)
        assert metrics["comparison_rmsDifference"].value == pytest.approx(np.hypot(2, 0.5 / 3**0.5), rel=1e-4)
    assert metrics["closure_consistent"].value == 1
    assert metrics["closure_comparedPixelCount"].value == PATCH_BOX.x.size * PATCH_BOX.y.size
    metadata = butler.get("backgroundQa_metadata", VISIT, collections="out")
    assert metadata["backgroundQa.comparison"]["skyCorr"]["meanDifference"] == pytest.approx(-2.0)
    for plot in ("image", "histogram", "bumps", "difference"):
        assert butler.exists(f"visit_image_backgrounds_{plot}_plot", VISIT, collections="out")
    for plot in ("image", "histogram", "bumps", "difference", "subtracted", "closure"):
        assert butler.exists(f"deep_coadd_backgrounds_{plot}_plot", PATCH, collections="out")


@standalone_only
def test_dp2_campaign(dp2: Repository) -> None:
    butler = dp2.run(Pipeline.fromFile(f"{dp2.generation.path}#detector,visit,stack,coadd,tract,gather"))
    visit = {"instrument": "Cam", "visit": 42}
    (row,) = butler.get("visit_image_backgrounds_visit_table", visit, collections="out")
    metrics = visit_metrics(butler, "visit_image_backgrounds")
    assert row["level_median"] == pytest.approx(metrics["level_median"].value, rel=1e-6)
    assert butler.exists("deep_coadd_backgrounds_tract_table", PATCH, collections="out")
    mean = butler.get(
        "visit_image_backgrounds_stack_mean",
        {"instrument": "Cam", "detector": 0, "physical_filter": "Cam-r"},
        collections="out",
    )
    assert np.mean(mean.array) == pytest.approx(metrics["level_mean"].value, rel=1e-3)
    for name, data_id in (
        ("visit_image_backgrounds_campaign_table", {"instrument": "Cam"}),
        ("deep_coadd_backgrounds_campaign_table", {"skymap": "map"}),
    ):
        (row,) = butler.get(name, data_id, collections="out").to_pylist()
        assert row["level_median"] > 2
        assert row["comparison_meanDifference"] == pytest.approx(-2.0, abs=1e-6)


@standalone_only
def test_the_model_to_judge_can_be_named(dp2: Repository) -> None:
    pipeline = Pipeline.fromFile(f"{dp2.generation.path}#coadd")
    pipeline.addConfigOverride("coaddBackgroundQa", "background_model", "pretty")
    metrics = coadd_metrics(dp2.run(pipeline), "deep_coadd_backgrounds")
    expected = measure_background(BackgroundModel.from_images(alternative(PATCH_BOX, 3.0)))
    assert metrics["level_median"].value == pytest.approx(expected["level_median"].value, rel=1e-9)
    assert metrics["comparison_meanDifference"].value == pytest.approx(2.0, abs=1e-6)
    # It was not subtracted: there is nothing to restore.
    assert not any(name.startswith("closure") for name in metrics)


@standalone_only
@pytest.mark.parametrize("flagged", ["subtracted", "skyCorr"])
def test_a_flag_that_contradicts_a_name_is_told(
    flagged: str, dp2: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {
        name: ChebyshevField(VISIT_BOX, np.array([[level]]), unit=u.electron)
        for name, level in (("subtracted", 800.0), ("skyCorr", 790.0))
    }
    backgrounds = BackgroundMap([Background(*item) for item in fields.items()], subtracted=flagged)
    image = make_visit_image(
        noise(VISIT_BOX), VISIT_BOX, backgrounds, **VISIT, physical_filter="Cam-r", band="r"
    )
    with Butler.from_config(str(dp2.path), writeable=True, run="flagged") as butler:
        ref = butler.put(image, "visit_image", VISIT)
        handle = butler.getDeferred(ref.makeComponentRef("backgrounds"))
        read = read_backgrounds(handle, "adu")
        assert (read.name, read.is_subtracted) == (flagged, True)
        assert ("background_model to choose" in caplog.text) == (flagged == "skyCorr")
        caplog.clear()
        named = read_backgrounds(handle, "adu", "subtracted")
        assert (named.name, named.is_subtracted) == ("subtracted", flagged == "subtracted")
        assert measure_background(named.judged)["level_median"] == 800 * u.electron
        assert list(named.differences) == ["skyCorr"]
        assert "background_model to choose" not in caplog.text


@standalone_only
def test_an_image_without_a_subtracted_background_is_no_work(tmp_path: Path) -> None:
    empty = make_visit_image(
        noise(VISIT_BOX), VISIT_BOX, BackgroundMap(), **VISIT, physical_filter="Cam-r", band="r"
    )
    path = tmp_path / "repo"
    Butler.makeRepo(str(path))
    with Butler.from_config(str(path), writeable=True, run="input") as butler:
        fill(butler, {"visit_image": empty})
        ref = butler.find_dataset("visit_image", VISIT)
        assert ref is not None
        handle = butler.getDeferred(ref.makeComponentRef("backgrounds"))
        with pytest.raises(NoWorkFound, match=r"visit_image.backgrounds .*was subtracted \(it has: none\)"):
            read_backgrounds(handle, "adu")
        with pytest.raises(NoWorkFound, match="no background 'pretty'"):
            read_backgrounds(handle, "adu", "pretty")


@standalone_only
def test_same_sky_has_the_same_level_in_dp02_and_dp2(tmp_path: Path) -> None:
    metrics = {}
    for name, background in (("dp02", "calexpBackground"), ("dp2", "visit_image_backgrounds")):
        folder = tmp_path / name
        folder.mkdir()
        # Flat near the borders, where the two splines continue differently.
        repository = make(name, folder, rim=3)
        butler = repository.run(Pipeline.fromFile(f"{repository.generation.path}#detector"))
        metrics[name] = visit_metrics(butler, background)
    rounding = float(np.spacing(np.float32(800)))
    old, new = metrics["dp02"], metrics["dp2"]
    level = [name for name in old if name.startswith("level_")]
    assert len(level) == 14
    for metric in level:
        assert new[metric].value == pytest.approx(old[metric].value, abs=2 * rounding, rel=0), metric
    assert new["bumps_peakBump"].value == pytest.approx(old["bumps_peakBump"].value, rel=1e-6)
    assert new["coverage_layerCount"] == old["coverage_layerCount"]


@standalone_only
def test_closure_of_a_coadd_that_was_compressed_lossily(tmp_path: Path) -> None:
    # As released: what is restored is the pixels of a lossy file and the
    # background, whatever was there before.
    repository = make("dp2", tmp_path)
    coadd = repository.datasets["deep_coadd"]
    path = tmp_path / "lossy.fits"
    options = {"image": FitsCompressionOptions.LOSSY}
    coadd.write(str(path), compression_options=options, compression_seed=7)
    with Butler.from_config(str(repository.path), writeable=True, run="lossy") as butler:
        dataset_type = butler.get_dataset_type("deep_coadd")
        ref = DatasetRef(dataset_type, butler.registry.expandDataId(PATCH), run="lossy")
        butler.ingest(FileDataset(path=str(path), refs=[ref]), transfer="copy")
        before, after = read_restored_coadd(butler.getDeferred(ref))
        lost = np.abs(after.array - noise(PATCH_BOX)).max()
        assert lost > 0.1
        model = BackgroundModel.from_images(butler.get(ref).backgrounds)
        closure = compare(model, before, after)
        assert closure.is_consistent
        assert closure.metrics()["compressionExplainedFraction"] == 0
        # Less than compression took away, and yet not put down to it.
        changed = after.array.copy()
        changed[100, 100] += 0.1 * lost
        assert compare(model, before, replace(after, array=changed)).unexplained_count == 1


@standalone_only
@pytest.mark.parametrize("name", list(DEMO_GENERATIONS))
def test_demo_has_the_form_of_each_generation(name: str) -> None:
    form = DEMO_GENERATIONS[name]
    visit, detector, patch = VISITS[0], DETECTORS[1], PATCHES[4]
    background, coadd = visit_background(visit, detector), make_coadd(patch, "r")
    visits = form.visit_datasets(visit, detector, background)
    coadds = form.coadd_datasets(patch, "r", coadd)
    assert (list(visits), list(coadds)) == (list(form.visit_types), list(form.coadd_types))
    if name != "dp2":
        assert visits[form.visit_background] is background
        return
    for backgrounds, original in (
        (visits["visit_image"].backgrounds, background),
        (coadds["deep_coadd"].backgrounds, coadd.background),
    ):
        model = BackgroundModel.from_images(backgrounds)
        assert model.bbox == original.bbox
        box = Box(model.bbox.x0 + 64, model.bbox.y0 + 64, model.bbox.width - 128, model.bbox.height - 128)
        np.testing.assert_allclose(model.render(box), original.render(box), rtol=1e-6)
    assert list(coadds["deep_coadd"].backgrounds) == ["object", "pretty"]


@standalone_only
@pytest.mark.slow
@pytest.mark.parametrize("name", ["dp1", "dp2"])
def test_demo_runs_in_each_generation(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "--generation", name, str(tmp_path / "demo")])
    assert result.exit_code == 0, result.output
    assert "Without a fault" in result.output
    assert DEMO_GENERATIONS[name].visit_metrics in result.output
    assert DEMO_GENERATIONS[name].pipeline in result.output
