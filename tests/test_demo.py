# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The demo: its simulation, its repository, and what its table reveals."""

from __future__ import annotations

import re
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from matplotlib.image import imread

from lsst.bgqa import BackgroundModel, measure_background
from lsst.bgqa.background import ApproxStyle
from lsst.bgqa.cli import main
from lsst.bgqa.errors import UserError
from lsst.bgqa.metrics.faults import Fault, find_coadd_faults, find_visit_faults
from lsst.bgqa.residual import ResidualConfig, SkyImage, measure_residual_sky
from lsst.bgqa.standalone.demo import (
    DETECTORS,
    IMAGE_VISIT,
    PATCHES,
    VISITS,
    DemoCam,
    _repository,
    make_coadd,
    make_repository,
    make_visit_pixels,
    masked_image,
    visit_background,
    visit_sky,
)
from lsst.daf.butler import Butler
from lsst.pipe.base import Instrument


def find(faults: dict[int, list[Fault]], words: str) -> set[int]:
    """Return where a fault is found."""
    return {key for key, found in faults.items() for fault in found if re.search(words, fault.words)}


@pytest.fixture(scope="module")
def dark() -> dict[int, list[Fault]]:
    backgrounds = {detector.id: visit_background(VISITS[0], detector) for detector in DETECTORS}
    return find_visit_faults({key: measure_background(model) for key, model in backgrounds.items()})


@pytest.fixture(scope="module")
def moonlit() -> dict[int, list[Fault]]:
    backgrounds = {detector.id: visit_background(VISITS[-1], detector) for detector in DETECTORS}
    return find_visit_faults({key: measure_background(model) for key, model in backgrounds.items()})


def test_faults_of_the_camera_are_found_on_a_dark_night(dark: dict[int, list[Fault]]) -> None:
    assert find(dark, "step in y") == {1, 4}
    assert find(dark, "dark edges") == {3}
    assert 4 in find(dark, "halo")
    assert find(dark, "halo|a dip|stand out") == {1, 3, 4}
    assert {1, 3, 4, 5} == find(dark, "structure that the fit misses")
    assert find(dark, "level above") == {6}
    assert {0, 2, 7, 8} == {detector for detector, found in dark.items() if not found}


def test_the_worst_fault_comes_first(dark: dict[int, list[Fault]]) -> None:
    for found in dark.values():
        severities = [fault.severity for fault in found]
        assert severities == sorted(severities, reverse=True)
        assert all(severity > 1 for severity in severities)
        assert len({fault.kind for fault in found}) == len(found)


def test_faults_of_the_sky_are_found_in_moonlight(moonlit: dict[int, list[Fault]]) -> None:
    assert find(moonlit, "gradient") == set(range(8))
    assert find(moonlit, "no good pixel") == {8}
    # Moonlight is no halo.
    assert find(moonlit, "bump|stand out|dip") == {1, 3, 4}


def test_faults_of_coadds_are_found() -> None:
    coadds = {patch.id: make_coadd(patch, "r") for patch in PATCHES}
    faults = find_coadd_faults({key: measure_background(coadd.background) for key, coadd in coadds.items()})
    assert find(faults, "dark edges") == {2, 4}
    assert find(faults, "halo") == {4}
    assert find(faults, "level above") == {6}
    assert {key for key, found in faults.items() if not found} == {0, 1, 3, 5, 7, 8}


def test_simulation_is_the_same_every_time() -> None:
    first, second = (visit_background(VISITS[2], DETECTORS[7]) for _ in range(2))
    np.testing.assert_array_equal(first.layers[0].values, second.layers[0].values)
    other = visit_background(VISITS[2], DETECTORS[8])
    assert not np.array_equal(first.layers[0].values, other.layers[0].values)


def test_sky_is_continuous_from_one_detector_to_the_next() -> None:
    # The gap of 100 pixels included.
    y = np.arange(2048.0)
    for visit in VISITS:
        left = visit_sky(visit, DETECTORS[7], np.full(2048, 2147.0), y)
        right = visit_sky(visit, DETECTORS[8], np.full(2048, -1.0), y)
        np.testing.assert_allclose(left, right, rtol=1e-12)


def test_bins_scatter_about_the_sky_as_much_as_they_say() -> None:
    visit, detector = VISITS[0], DETECTORS[2]
    layer = visit_background(visit, detector).grids[0]
    assert layer.approximation.style is ApproxStyle.CHEBYSHEV
    sky = visit_sky(visit, detector, *np.meshgrid(layer.bin_centers_x, layer.bin_centers_y))
    pull = (layer.values - sky) / np.sqrt(layer.variance)
    assert np.nanstd(pull) == pytest.approx(1, abs=0.15)
    assert 1 <= np.isnan(layer.values).sum() <= 2


@pytest.mark.parametrize("patch", [PATCHES[0], PATCHES[5]])
def test_coadds_differ_by_the_layers_one_after_the_other(patch: object) -> None:
    coadd = make_coadd(patch, "i")  # type: ignore[arg-type]
    first, second = (layer.render() for layer in coadd.background.layers)
    expected = (coadd.before.image.array - first) - second
    np.testing.assert_array_equal(coadd.after.image.array, expected)
    assert coadd.after.image.array.dtype == np.float32
    assert np.isnan(expected).any() == (patch is PATCHES[0])
    np.testing.assert_array_equal(coadd.after.mask.get("NO_DATA"), np.isnan(expected))


def test_one_patch_is_tampered_with_at_its_edge() -> None:
    coadd = make_coadd(PATCHES[8], "r")
    first, second = (layer.render() for layer in coadd.background.layers)
    differs = coadd.after.image.array != (coadd.before.image.array - first) - second
    rows, columns = np.nonzero(differs)
    assert set(rows) == {0, 1}
    assert columns.min() == 100
    assert differs.sum() == 60


def test_repository_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="neither an empty folder nor a demo repository"):
        make_repository(tmp_path)
    Butler.makeRepo(str(tmp_path / "repo"))
    with Butler.from_config(str(tmp_path / "repo"), writeable=True) as butler:
        butler.registry.registerRun("mine")
    with pytest.raises(UserError, match="not the demo's"):
        make_repository(tmp_path / "repo")


def test_demo_of_another_generation_is_refused(tmp_path: Path) -> None:
    class InterruptionError(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        raise InterruptionError

    # One dataset is enough to tell.
    with pytest.raises(InterruptionError):
        make_repository(tmp_path / "demo", interrupt, "dp2")
    for other in ("dp02", "dp1"):
        with pytest.raises(UserError, match=f"has the demo of generation dp2; give {other} another folder"):
            make_repository(tmp_path / "demo", generation=other)
    with pytest.raises(InterruptionError):
        make_repository(tmp_path / "demo", interrupt, "dp2")


def test_in_the_stack_files_are_ingested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the same files, whoever reads them."""
    monkeypatch.setattr(_repository, "is_needed", lambda: False)
    monkeypatch.setattr(_repository, "VISITS", VISITS[:1])
    monkeypatch.setattr(_repository, "DETECTORS", DETECTORS[:1])
    monkeypatch.setattr(_repository, "PATCHES", PATCHES[3:4])
    assert make_repository(tmp_path / "demo")
    with Butler.from_config(str(tmp_path / "demo"), collections="demo/inputs") as butler:
        visit = {"instrument": "DemoCam", "visit": VISITS[0].id, "detector": DETECTORS[0].id}
        uri = butler.getURI("calexpBackground", visit)
        read = BackgroundModel.read_fits(uri)
        np.testing.assert_array_equal(
            read.layers[0].values, visit_background(VISITS[0], DETECTORS[0]).layers[0].values
        )
        coadd = make_coadd(PATCHES[3], "i")
        patch = {"skymap": "demo", "tract": 1, "patch": PATCHES[3].id, "band": "i"}
        for name, made in (("deepCoadd", coadd.before), ("deepCoadd_calexp", coadd.after)):
            with fits.open(butler.getURI(name, patch).ospath) as hdus:
                np.testing.assert_array_equal(hdus[1].data, made.image.array)


@pytest.mark.slow
def test_demo_runs_twice(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    runs = []
    for state in ("made", "there already"):
        result = CliRunner().invoke(main, ["demo", str(folder)], env={"COLUMNS": "120"})
        assert result.exit_code == 0, result.output
        assert f"({state};" in result.output
        assert "$ pipetask run -b" in result.output
        assert re.search(r"Executed \d+ quanta successfully, 0 failed", result.output)
        for words in (
            "no good pixel",
            "dark edges",
            "halo",
            "a step in y",
            "a gradient",
            "a level above",
            "unexplained pixels at the edge",
        ):
            assert words in result.output
        listed = re.findall(r"^  (\S+\.png)$", result.output, re.MULTILINE)
        assert sorted(listed) == sorted(str(path) for path in (folder / "pictures").iterdir())
        # Three detectors and three patches, all that the tasks draw of them.
        assert len(listed) == 3 * 3 + 3 * 5
        for name in ("patch-8-i-closure.png", "patch-8-i-subtracted.png"):
            assert imread(folder / "pictures" / name).shape[1] >= 800
        match = re.search(r"RUN (demo/backgroundQa/\w+)", result.output)
        assert match is not None
        runs.append(match[1])
    assert runs[0] != runs[1]

    with Butler.from_config(str(folder), collections=runs[1]) as butler:
        assert len(butler.query_datasets("calexpBackground_metrics")) == len(VISITS) * len(DETECTORS)
        assert len(butler.query_datasets("deepCoadd_calexp_background_metrics")) == 2 * len(PATCHES)
        assert type(Instrument.fromName("DemoCam", butler.registry)) is DemoCam
        # Spatial queries work: the patches lie in the visits' detectors.
        assert butler.query_data_ids(["visit", "patch"], instrument="DemoCam", skymap="demo")


@pytest.mark.slow
def test_repository_that_was_interrupted_is_completed(tmp_path: Path) -> None:
    folder = tmp_path / "demo"

    class InterruptionError(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        if done >= 60:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        make_repository(folder, interrupt)
    assert make_repository(folder)
    assert not make_repository(folder)
    with Butler.from_config(str(folder)) as butler:
        assert len(butler.query_datasets("deepCoadd", "demo/inputs")) == 2 * len(PATCHES)


def test_failing_pipetask_is_one_clear_line(tmp_path: Path) -> None:
    from lsst.bgqa.commands._pipetask import run_pipetask

    arguments = ["run", "-b", str(tmp_path / "nowhere"), "-p", "nowhere.yaml", "-o", "out"]
    with pytest.raises(
        UserError, match=r"pipetask failed with exit status \d+: .*nowhere.*pipetask\.log"
    ) as caught:
        run_pipetask(arguments, tmp_path / "pipetask.log", lambda done, total: None)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "pipetask.log").stat().st_size > 0


def test_faults_are_found_in_the_images() -> None:
    found = {}
    for number in (0, 1, 2, 4):
        detector = DETECTORS[number]
        background = visit_background(IMAGE_VISIT, detector)
        made = make_visit_pixels(IMAGE_VISIT, detector, background)
        image = SkyImage.of(masked_image(made.pixels, made.planes, made.noise, u.adu))
        found[number] = measure_residual_sky(image, background, ResidualConfig(segments=(8, 2)))
    clean, step, crowded, halo = found.values()
    for name in ("edgeExcess", "cornerExcess", "stepX", "stepY", "segmentStep", "crowding"):
        assert abs(clean.metrics[f"residual_{name}Significance"]) < 5
    assert clean.metrics["residual_haloFootprintCount"] == 0
    assert step.metrics["residual_stepY"] == pytest.approx(6.2, abs=0.5)  # 1 % of the sky
    assert step.places["residual_stepY"] == "y = 1024"
    assert step.places["residual_segmentStep"].startswith("y = 1024")
    assert crowded.metrics["residual_crowdingSignificance"] > 10
    assert halo.metrics["residual_haloSignificance"] < -10
    assert 200 < halo.metrics["residual_haloRadius"] < 400
