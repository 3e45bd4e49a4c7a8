# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The demo: its simulation, its repository, and what its table reveals."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from backgrounds import pixels_of
from matplotlib.image import imread

from lsst.bgqa import BackgroundModel
from lsst.bgqa.background import ApproxStyle
from lsst.bgqa.errors import UserError
from lsst.bgqa.residual import ResidualConfig, SkyImage, measure_residual_sky
from lsst.bgqa.standalone._regions import polygon
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
from lsst.bgqa.standalone.demo._survey import DemoVisit, sky_position
from lsst.bgqa.tasks import TractBackgroundQaTask, VisitBackgroundQaTask
from lsst.bgqa.tasks._campaign import NamedBackground
from lsst.daf.butler import Butler
from lsst.pipe.base import Instrument

README = Path(__file__).parents[1] / "README.md"


def judge(visit: DemoVisit) -> dict[int, str]:
    """Return what is said of each detector, by its number."""
    config = VisitBackgroundQaTask.ConfigClass()
    config.mirrored = True
    backgrounds = [
        NamedBackground(
            detector.id,
            detector.name,
            load=lambda detector=detector: visit_background(visit, detector),  # type: ignore[misc]
            region=polygon(sky_position(x, y, center=visit.boresight) for x, y in detector.corners),
        )
        for detector in DETECTORS
    ]
    table = VisitBackgroundQaTask(config=config).run(backgrounds).table
    assert [word == "fail" for word in table["verdict"]] == [bool(words) for words in table["fault"]]
    return dict(zip(table["detector"].tolist(), table["fault"].tolist(), strict=True))


@pytest.mark.parametrize("visit", [VISITS[0], VISITS[-1]], ids=["dark", "moonlit"])
def test_each_fault_that_was_put_in_is_found_and_nothing_else(visit: DemoVisit) -> None:
    faults = judge(visit)
    for detector, words in {
        1: "amplifier step",
        3: "dark edges",
        4: "halo",
        5: "ring",
        6: "level offset: above",
    }.items():
        assert words in faults.pop(detector)
    if visit is VISITS[-1]:
        assert "no good pixel" in faults.pop(8)
    # Moonlight is no fault of a detector.
    assert set(faults.values()) == {""}


def test_faults_of_coadds_are_found() -> None:
    backgrounds = [
        NamedBackground(
            patch.id,
            str(patch.id),
            load=lambda patch=patch: make_coadd(patch, "r").background,  # type: ignore[misc]
        )
        for patch in PATCHES
    ]
    config = TractBackgroundQaTask.ConfigClass()
    config.do_plot = False
    table = TractBackgroundQaTask(config=config).run(backgrounds).table
    faults = dict(zip(table["patch"].tolist(), table["fault"].tolist(), strict=True))
    assert "dark edges" in faults.pop(2)
    assert "halo" in faults.pop(4)
    assert "level" in faults.pop(6)
    assert set(faults.values()) == {""}


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
    pull = (layer.values - sky) / layer.standard_error
    assert np.nanstd(pull) == pytest.approx(1, abs=0.15)
    assert 1 <= np.isnan(layer.values).sum() <= 2


@pytest.mark.parametrize("patch", [PATCHES[0], PATCHES[5]])
def test_coadds_differ_by_the_layers_one_after_the_other(patch: object) -> None:
    coadd = make_coadd(patch, "i")  # type: ignore[arg-type]
    first, second = (pixels_of(layer) for layer in coadd.background.layers)
    expected = (coadd.before.image.array - first) - second
    np.testing.assert_array_equal(coadd.after.image.array, expected)
    assert coadd.after.image.array.dtype == np.float32
    assert np.isnan(expected).any() == (patch is PATCHES[0])
    np.testing.assert_array_equal(coadd.after.mask.get("NO_DATA"), np.isnan(expected))


def test_one_patch_is_tampered_with_at_its_edge() -> None:
    coadd = make_coadd(PATCHES[8], "r")
    first, second = (pixels_of(layer) for layer in coadd.background.layers)
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


def run_demo(folder: Path) -> str:
    """Run the demo as from a fresh shell: nothing of ours is on its path."""
    done = subprocess.run(
        [sys.executable, "-m", "lsst.bgqa", "demo", folder.name],
        cwd=folder.parent,
        env={**bare_shell(folder.parent), "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def bare_shell(home: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(home)}


def type_in(home: Path, *lines: str) -> str:
    """Type lines into a fresh shell; return what they print."""
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(lines)],
        cwd=home,
        env=bare_shell(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_demo_runs_twice(tmp_path: Path) -> None:
    # A name that a shell would take apart.
    folder = tmp_path / "my demo"
    runs = []
    for state in ("made", "there already"):
        output = run_demo(folder)
        assert f"({state};" in output
        assert "$ pipetask run -b 'my demo'" in output
        assert re.search(r"Executed \d+ quanta successfully, 0 failed", output)
        for words in (
            "no good pixel",
            "dark edges",
            "halo",
            "an amplifier step",
            "a level offset: above",
            "unexplained pixels at the edge",
            "where they crowd",
            "OSS-REQ-0387",
        ):
            assert words in output
        listed = re.findall(r"^  (.+\.png)$", output, re.MULTILINE)
        pictures = folder / "pictures"
        assert sorted(listed) == sorted(f"my demo/pictures/{path.name}" for path in pictures.iterdir())
        for what in (
            "detector-4-bumps",
            "detector-4-residual-halo",
            "patch-8-i-closure",
            "patch-8-i-subtracted",
        ):
            (path,) = pictures.glob(f"*{what}.png")
            assert imread(path).shape[1] >= 800
        closing = output[output.index("What to look at next:") :]
        report, notebook, command = closing.splitlines()[1:4]
        assert (tmp_path / report.strip().split(": ")[0]).is_file()
        assert Path(notebook.strip().split(": ")[0]).is_file()
        assert f'REPO = "{folder}"' in notebook
        assert command.split()[:2] == ["bgqa", "discover"]
        # Commands can be typed as they are printed, in a fresh shell.
        _, _, last = output.partition("To go further, in this or another shell:\n")
        lines = [line.strip() for line in last.splitlines()]
        assert lines[0].startswith("source ")
        assert "calexpBackground_metrics" in type_in(tmp_path, *lines)
        (command,) = re.findall(r"^\$ (bgqa requirement .*)$", output, re.MULTILINE)
        assert "OSS-REQ-0387" in type_in(tmp_path, lines[0], command)
        # The README shows what was typed.
        shown_there = re.findall(
            r"^\$ ((?:pipetask|bgqa report|bgqa requirement) .*)$", README.read_text(), re.MULTILINE
        )
        typed = output.replace("'my demo'", "demo").replace("'my demo/report'", "demo/report")
        assert shown_there and all(f"$ {command}" in typed for command in shown_there)
        match = re.search(r"RUN (demo/backgroundQa/\w+)", output)
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
def test_demo_that_is_told_to_end_leaves_nothing_running(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "lsst.bgqa", "demo", str(tmp_path / "demo")], stdout=subprocess.DEVNULL
    )
    log = tmp_path / "demo" / "pipetask.log"
    while not (log.is_file() and " took " in log.read_text()):
        assert process.poll() is None
        time.sleep(0.2)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    done = [len(list((tmp_path / "demo" / "demo").rglob("*")))]
    time.sleep(5)
    assert [len(list((tmp_path / "demo" / "demo").rglob("*")))] == done


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
