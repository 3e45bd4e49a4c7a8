# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The residual sky by pipetask: images that the stack wrote, and DP2's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from click.testing import CliRunner
from skies import flat_background, sky_with

from lsst.bgqa import BackgroundError, BackgroundModel, stack
from lsst.bgqa.background import Box
from lsst.bgqa.cli import main
from lsst.bgqa.metrics import quantities_of
from lsst.bgqa.residual import SkyImage
from lsst.bgqa.standalone.demo._images import make_cell_coadd, make_visit_image
from lsst.bgqa.tasks import (
    CoaddResidualSkyConfig,
    PlotResidualConfig,
    PlotResidualTask,
    ResidualSkyConfig,
    ResidualSkyTask,
)
from lsst.bgqa.tasks._precision import visit_precision
from lsst.ctrl.mpexec.cli.pipetask import cli as pipetask
from lsst.daf.butler import Butler, DatasetRef, DatasetType, FileDataset
from lsst.images import BackgroundMap, MaskedImage
from lsst.images import Box as ImageBox
from lsst.images.fields import ChebyshevField

DATA = Path(__file__).parent / "data" / "residual"
PIPELINES = Path(__file__).parents[1] / "pipelines"
SCENES = ("plain", "halo", "crowded", "amp_step", "dark_edge")
DETECTOR: dict[str, Any] = {"instrument": "Cam", "visit": 7}
PATCH: dict[str, Any] = {"skymap": "map", "tract": 3, "band": "r"}

standalone_only = pytest.mark.skipif(stack.have_stack(), reason="ingests files for the standalone formatters")


def insert_records(butler: Butler, detectors: int) -> None:
    records: dict[str, list[dict[str, Any]]] = {
        "instrument": [{"name": "Cam", "class_name": "lsst.pipe.base.Instrument"}],
        "physical_filter": [{"instrument": "Cam", "name": "Cam-r", "band": "r"}],
        "day_obs": [{"instrument": "Cam", "id": 20260101}],
        "detector": [{"instrument": "Cam", "id": i, "full_name": f"S{i}"} for i in range(detectors)],
        "visit": [
            {"instrument": "Cam", "id": 7, "name": "7", "physical_filter": "Cam-r", "day_obs": 20260101}
        ],
        "visit_detector_region": [{"instrument": "Cam", "visit": 7, "detector": i} for i in range(detectors)],
        "skymap": [{"name": "map", "hash": b"0" * 20, "tract_max": 9, "patch_nx_max": 4, "patch_ny_max": 1}],
        "tract": [{"skymap": "map", "id": 3}],
        "patch": [{"skymap": "map", "tract": 3, "id": i, "cell_x": i, "cell_y": 0} for i in range(2)],
    }
    for element, rows in records.items():
        butler.registry.insertDimensionData(element, *rows)


def register(butler: Butler, name: str, dimensions: tuple[str, ...], storage_class: str) -> DatasetType:
    dataset_type = DatasetType(name, dimensions, storage_class, universe=butler.dimensions)
    butler.registry.registerDatasetType(dataset_type)
    return dataset_type


@pytest.fixture
def legacy(tmp_path: Path) -> Iterator[Path]:
    """A repository with the stack's own scenes, as detectors and as patches."""
    path = tmp_path / "repo"
    Butler.makeRepo(str(path))
    with Butler.from_config(str(path), writeable=True, run="input") as butler:
        insert_records(butler, len(SCENES) + 1)
        types = {
            "_calexp.fits": register(butler, "calexp", ("instrument", "visit", "detector"), "ExposureF"),
            "_calexpBackground.fits": register(
                butler, "calexpBackground", ("instrument", "visit", "detector"), "Background"
            ),
        }
        for number, scene in enumerate(SCENES):
            data_id = butler.registry.expandDataId(detector=number, **DETECTOR)
            for suffix, dataset_type in types.items():
                ref = DatasetRef(dataset_type, data_id, run="input")
                butler.ingest(FileDataset(DATA / f"{scene}{suffix}", ref), transfer="copy")
        coadds = {
            "_calexp.fits": register(butler, "deepCoadd_calexp", ("tract", "patch", "band"), "ExposureF"),
            "_calexpBackground.fits": register(
                butler, "deepCoadd_calexp_background", ("tract", "patch", "band"), "Background"
            ),
        }
        for suffix, dataset_type in coadds.items():
            ref = DatasetRef(dataset_type, butler.registry.expandDataId(patch=1, **PATCH), run="input")
            butler.ingest(FileDataset(DATA / f"halo{suffix}", ref), transfer="copy")
    yield path


def run(repo: Path, pipeline: str, *options: str) -> None:
    result = CliRunner().invoke(
        pipetask,
        [
            *("run", "-b", str(repo), "-p", str(PIPELINES / pipeline), "-i", "input", "-o", "out"),
            *("--register-dataset-types", *options),
        ],
    )
    assert result.exit_code == 0, result.output


def invoke_requirement(repo: Path, *options: str) -> str:
    result = CliRunner().invoke(main, ["requirement", str(repo), "out", *options])
    assert result.exit_code == 0, result.output
    return result.stdout


@standalone_only
def test_images_of_the_stack_are_measured_and_gathered(legacy: Path) -> None:
    run(legacy, "backgroundQa.yaml#residual,coaddResidual,gatherResidual")
    with Butler.from_config(str(legacy), collections="out") as butler:
        by_scene = {
            scene: quantities_of(butler.get("calexp_residual_metrics", detector=i, **DETECTOR))
            for i, scene in enumerate(SCENES)
        }
        halo = by_scene["halo"]
        assert halo["residual_haloSignificance"].value < -5
        assert halo["residual_mean"].unit == u.adu
        assert 24 < halo["residual_limitingSurfaceBrightness"].value < 30
        assert by_scene["amp_step"]["residual_stepX"].value == pytest.approx(12, abs=2)
        metadata = butler.get("residualSky_metadata", detector=3, **DETECTOR)
        assert metadata["residualSky"]["places"]["residual_stepX"] == "x = 320"
        cells = butler.get("calexp_residual_map", detector=1, **DETECTOR)
        assert isinstance(cells, MaskedImage)
        assert cells.image.array.shape == (10, 10) and cells.image.unit == u.adu
        assert cells.variance.array.mean() == pytest.approx((38.8 / 64) ** 2, rel=0.5)
        table = butler.get("calexp_residual_campaign_table", instrument="Cam")
        rows = dict(zip(table["detector"].to_pylist(), table.to_pylist(), strict=True))
        assert rows[0]["verdict"] == "pass" and rows[0]["failed"] == ""
        assert "residual_haloSignificance" in rows[1]["failed"]
        assert "residual_stepXSignificance" in rows[3]["failed"]
        assert "residual_edgeExcessSignificance" in rows[4]["failed"]
        patch = butler.get("deepCoadd_calexp_residual_campaign_table", skymap="map").to_pylist()
        assert [row["patch"] for row in patch] == [1]
        assert patch[0]["residual_haloSignificance"] == pytest.approx(halo["residual_haloSignificance"].value)

    (band,) = json.loads(invoke_requirement(legacy, "--json"))
    errors = [rows[i]["residual_skyBrightnessError"] for i in range(5)]
    scatters = [rows[i]["residual_skyBrightnessScatter"] for i in range(5)]
    assert (band["band"], band["count"], band["unknown"]) == ("r", 5, 0)
    assert band["met"] == sum(max(pair) <= 0.01 for pair in zip(errors, scatters, strict=True))
    assert band["errorMax"] == pytest.approx(max(errors))
    worst = int(np.argmax(np.maximum(errors, scatters)))
    assert band["worst"] == f"visit 7, detector {worst}"
    text = invoke_requirement(legacy)
    assert "OSS-REQ-0387" in text and band["worst"] in text and f" {band['verdict']} " in text


@standalone_only
def test_visit_takes_in_what_its_images_say(legacy: Path) -> None:
    run(legacy, "backgroundQa.yaml#residual")
    run(legacy, "backgroundQa.yaml#visit")
    with Butler.from_config(str(legacy), collections="out") as butler:
        found = quantities_of(butler.get("calexpBackground_visit_metrics", **DETECTOR))
        detectors = [
            quantities_of(butler.get("calexp_residual_metrics", detector=i, **DETECTOR)) for i in range(5)
        ]
    assert found["visit_residualDetectorCount"].value == 5
    assert found["visit_impreciseDetectorCount"].value == 0
    for name in ("Error", "Scatter"):
        expected = np.median([metrics[f"residual_skyBrightness{name}"].value for metrics in detectors])
        assert found[f"visit_skyBrightness{name}"].value == pytest.approx(expected)


def test_visit_names_the_detectors_that_are_not_precise() -> None:
    def metrics(error: float, scatter: float) -> dict[str, u.Quantity]:
        values = {"residual_skyBrightnessError": error, "residual_skyBrightnessScatter": scatter}
        return {name: u.Quantity(value) for name, value in values.items()}

    assert visit_precision({}) == ({}, {})
    assert visit_precision({3: {}}) == ({"visit_residualDetectorCount": 1}, {})
    values, worst = visit_precision(
        {1: metrics(0.001, 0.02), 2: metrics(0.03, 0.0), 3: metrics(0.002, 0.003), 4: {}}
    )
    assert values["visit_residualDetectorCount"] == 4
    assert values["visit_impreciseDetectorCount"] == 2
    assert values["visit_skyBrightnessError"] == pytest.approx(0.002)
    assert worst == {"detector": [2, 1], "size": [0.03, 0.02]}


@standalone_only
def test_pictures_are_drawn(legacy: Path) -> None:
    run(legacy, "backgroundQa.yaml#plotResidualSky", "-d", "instrument='Cam' AND detector IN (0, 1)")
    with Butler.from_config(str(legacy), collections="out") as butler:
        for what, detectors in (("map", [0, 1]), ("image", [0, 1]), ("halo", [1])):
            refs = butler.query_datasets(f"calexp_residual_{what}_plot")
            assert sorted(ref.dataId["detector"] for ref in refs) == detectors
            assert all(butler.getURI(ref).size() > 10_000 for ref in refs)


@standalone_only
def test_broken_image_is_named_and_the_rest_goes_on(legacy: Path) -> None:
    with Butler.from_config(str(legacy), collections="input") as butler:
        uri = butler.getURI("calexp", detector=2, **DETECTOR)
    Path(uri.ospath).write_bytes(b"no file of afw")
    result = CliRunner().invoke(
        pipetask,
        [
            *("run", "-b", str(legacy), "-p", str(PIPELINES / "backgroundQa.yaml#residual")),
            *("-i", "input", "-o", "out", "--register-dataset-types"),
        ],
    )
    assert result.exit_code != 0
    with Butler.from_config(str(legacy), collections="out") as butler:
        refs = butler.query_datasets("calexp_residual_metrics")
        assert sorted(ref.dataId["detector"] for ref in refs) == [0, 1, 3, 4]


@pytest.fixture
def dp2(tmp_path: Path) -> Path:
    """A repository with an image and a coadd as DP2 has them."""
    path = tmp_path / "dp2"
    Butler.makeRepo(str(path))
    rng = np.random.default_rng(1)
    shape = 300, 400
    detected = np.kron(rng.random((15, 20)) < 0.1, np.ones((20, 20))).astype(bool)
    with Butler.from_config(str(path), writeable=True, run="input") as butler:
        insert_records(butler, 1)
        register(butler, "visit_image", ("instrument", "visit", "detector"), "VisitImage")
        register(butler, "deep_coadd", ("tract", "patch", "band"), "CellCoadd")
        box = ImageBox.from_shape(shape, start=(50, 20))
        for name, unit in (("visit_image", u.electron), ("deep_coadd", u.nJy)):
            backgrounds = BackgroundMap()
            field = ChebyshevField(box, np.array([[500.0]]), unit=unit)
            backgrounds.add("subtracted", field, is_subtracted=True)
            pixels = (rng.normal(4.0, 10, shape) + 300 * detected).astype(np.float32)
            if name == "visit_image":
                image: Any = make_visit_image(
                    pixels,
                    box,
                    backgrounds,
                    instrument="Cam",
                    visit=7,
                    detector=0,
                    physical_filter="Cam-r",
                    band="r",
                )
                image.photometric_scaling = ChebyshevField(box, np.array([[2.0]]), unit=u.nJy / u.electron)
                data_id: dict[str, Any] = {"detector": 0, **DETECTOR}
            else:
                image = make_cell_coadd(pixels, box, backgrounds, skymap="map", tract=3, patch=0, band="r")
                data_id = {"patch": 0, **PATCH}
            image.mask.set("DETECTED", detected)
            butler.put(image, name, data_id)
    return path


def test_images_of_dp2_are_measured(dp2: Path) -> None:
    run(dp2, "LSSTCam/DP2.yaml#residual,coaddResidual,gatherResidual")
    with Butler.from_config(str(dp2), collections="out") as butler:
        visit = quantities_of(butler.get("visit_image_residual_metrics", detector=0, **DETECTOR))
        coadd = quantities_of(butler.get("deep_coadd_residual_metrics", patch=0, **PATCH))
        for found, level in ((visit, 1000.0), (coadd, 500.0)):
            assert found["residual_mean"].unit == u.nJy
            assert abs(found["residual_mean"].value - 4) < 4 * found["residual_meanUncertainty"].value
            assert found["residual_backgroundLevel"].value == pytest.approx(level)
            assert found["residual_limitingSurfaceBrightness"].value == pytest.approx(28.46, abs=0.3)
            assert found["residual_skyFraction"].value == pytest.approx(0.9, abs=0.05)
        assert visit["residual_skyBrightnessError"].value == pytest.approx(4 / 1000, rel=0.1)
        # Nobody knows how much sky the images of a coadd had.
        assert "residual_skyBrightnessError" not in coadd
        table = butler.get("visit_image_residual_campaign_table", instrument="Cam")
        assert table["residual_mean"].to_pylist() == [pytest.approx(visit["residual_mean"].value)]


def test_run_takes_what_is_in_memory() -> None:
    image = SkyImage.of(sky_with(np.random.default_rng(1), 3.0, masked=0.1))
    outputs = ResidualSkyTask(config=ResidualSkyConfig()).run(image, flat_background())
    assert outputs.quantities["residual_mean"].value == pytest.approx(3, abs=0.1)
    assert json.loads(outputs.metrics.model_dump_json())["residual"]
    figures = PlotResidualTask(config=PlotResidualConfig()).run(image, flat_background())
    assert figures.rings is None and figures.row.axes and figures.map.axes


def test_dataset_is_named_where_boxes_differ() -> None:
    image = SkyImage.of(sky_with(np.random.default_rng(1)))
    background: BackgroundModel = flat_background(bbox=Box(0, 0, 512, 512))
    with pytest.raises(BackgroundError, match=r"calexp 5 cannot be measured: image covers"):
        ResidualSkyTask(config=ResidualSkyConfig()).run(image, background, identity="calexp 5")


def test_sky_without_a_pixel_yields_a_bundle_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    masked = sky_with(np.random.default_rng(1))
    masked.mask.set("NO_DATA", np.ones((512, 512), dtype=bool))
    task = ResidualSkyTask(config=ResidualSkyConfig())
    outputs = task.run(SkyImage.of(masked), flat_background())
    assert set(outputs.quantities) == {"residual_skyFraction"}
    assert np.isnan(outputs.map.image.array).all() and outputs.map.mask.get("NO_DATA").all()
    assert "has no pixel of sky" in caplog.text


def test_configuration_reaches_the_statistics() -> None:
    config = ResidualSkyConfig()
    config.statistics.segments = [8, 2]
    config.statistics.halo_radii = [0.0, 50.0]
    frozen = config.statistics.freeze_statistics()
    assert frozen.segments == (8, 2) and frozen.halo_radii == (0.0, 50.0) and frozen.cell_size == 64
    coadd = CoaddResidualSkyConfig()
    assert coadd.connections.imageName == "deepCoadd_calexp"
    assert frozen.whole_sky and not coadd.statistics.freeze_statistics().whole_sky
