# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Measure what a quantum of each task needs, and derive what to ask for.

    python benchmarks/resources.py [--json benchmarks/resources.json] [--work FOLDER]

Datasets have the size of LSSTCam's: detectors of 4072 x 4000 pixels, 189 of
them a visit, patches of 4200 x 4200 pixels, 100 of them a tract; as the data
release pipeline writes them, and as DP2 does. Each task runs in a process of
its own, as a BPS job does: `pipetask run-qbb`. Memory is the peak of that
process, time the processor time of a quantum by its task metadata: a machine
that has other things to do does not change it.

From there on, with these margins:

- memory to request: 1.5 times the peak and 512 MiB, for what the Science
  Pipelines load in addition, in steps of 256 MiB;
- wall time to request: a minute to start, and for each quantum of the largest
  job 4 times the median, and 0.1 s for each file it reads or writes, which is
  what an object store may take to answer; in steps of 10 minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np

from lsst.bgqa import standalone
from lsst.bgqa.background import (
    Approximation,
    ApproxStyle,
    BackgroundModel,
    Box,
    InterpStyle,
    Layer,
)
from lsst.bgqa.standalone._regions import polygon
from lsst.bgqa.standalone.demo import masked_image, sky_position
from lsst.bgqa.standalone.ingest import ingest
from lsst.daf.butler import Butler, DatasetType

MEMORY_FACTOR, MEMORY_EXTRA, MEMORY_STEP = 1.5, 512, 256
TIME_FACTOR, TIME_FILE, TIME_EXTRA, TIME_STEP = 4.0, 0.1, 1.0, 10

_WIDTH, _HEIGHT, _BIN = 4072, 4000, 128
_DETECTORS, _FULL_VISITS, _VISITS = 189, 2, 300
_PATCH, _BORDER, _SIDE = 4000, 100, 10
_SCALE = 0.2 / 3600
_INPUTS = "bench/inputs"
_PIPELINES = "resource://lsst.bgqa/pipelines/LSSTCam"
_VISIT_QUERY = f"instrument='LSSTCam' AND visit <= {_FULL_VISITS}"
_COADD_QUERY = "skymap='bench' AND patch IN (44, 45)"


@dataclass(frozen=True)
class Job:
    """What to run of a task, and the largest job that a campaign has of it.

    Attributes
    ----------
    files
        How many files a quantum reads and writes, its log and metadata too.
    quanta
        Quanta of the largest job in a campaign.
    size
        By how much the time of one of them is larger than here.
    legacy, dp2
        Whether to run it on the data release pipeline's and on DP2's datasets.
    """

    label: str
    query: str
    files: int
    quanta: int
    size: float
    why: str
    inputs: str = _INPUTS
    legacy: bool = True
    dp2: bool = False


_IMAGES = "instrument='LSSTCam' AND visit = 1 AND detector < 4"
_ONE_VISIT = "instrument='LSSTCam' AND visit = 1 AND detector < 20"
JOBS = (
    Job("backgroundQa", _VISIT_QUERY, 4, 16 * 189, 1, "16 visits of 189 detectors", dp2=True),
    Job("preliminaryBackgroundQa", _ONE_VISIT, 4, 16 * 189, 1, "16 visits of 189 detectors"),
    Job("skyCorrQa", _ONE_VISIT, 4, 16 * 189, 1, "16 visits of 189 detectors"),
    Job("visitBackgroundQa", _VISIT_QUERY, 194, 100, 1, "100 visits", dp2=True),
    Job(
        "stackBackgrounds", "instrument='LSSTCam' AND detector < 2", 310, 16, 10, "16 detectors, 3000 visits"
    ),
    Job("coaddBackgroundQa", _COADD_QUERY, 6, 600, 1, "100 patches in 6 bands", dp2=True),
    Job("tractBackgroundQa", "skymap='bench'", 106, 6, 1, "6 bands of 100 patches"),
    Job("plotBackground", _ONE_VISIT, 7, 189, 1, "189 detectors", dp2=True),
    Job("plotCoaddBackground", _COADD_QUERY, 11, 600, 1, "100 patches in 6 bands", dp2=True),
    Job(
        "gatherBackgroundQa",
        "instrument='LSSTCam'",
        383,
        1,
        500,
        "1000 visits of 189 detectors",
        "bench/backgroundQa",
    ),
    Job("gatherVisitBackgroundQa", "instrument='LSSTCam'", 305, 1, 100, "30 000 visits", "bench/tables"),
    Job("gatherCoaddBackgroundQa", "skymap='bench'", 7, 1, 3000, "6000 patches", "bench/coaddBackgroundQa"),
    Job(
        "gatherTractBackgroundQa",
        "skymap='bench'",
        6,
        1,
        6000,
        "1000 tracts in 6 bands",
        "bench/tractBackgroundQa",
    ),
    Job("residualSky", _IMAGES, 8, 189, 1, "189 detectors", dp2=True),
    Job("preliminaryResidualSky", _IMAGES, 8, 189, 1, "189 detectors"),
    Job("coaddResidualSky", _COADD_QUERY, 8, 600, 1, "100 patches in 6 bands", dp2=True),
    Job("plotResidualSky", _IMAGES, 9, 189, 1, "189 detectors", dp2=True),
    Job("plotCoaddResidualSky", _COADD_QUERY, 9, 600, 1, "100 patches in 6 bands", dp2=True),
    Job(
        "gatherResidualSky",
        "instrument='LSSTCam'",
        194,
        1,
        1000,
        "1000 visits of 189 detectors",
        "bench/residuals",
    ),
    Job("gatherCoaddResidualSky", "skymap='bench'", 7, 1, 3000, "6000 patches", "bench/coaddResidualSky"),
)


def requests(peak: float, seconds: float, job: Job) -> tuple[int, int]:
    """Derive what to ask a batch system for: MiB and minutes."""
    memory = MEMORY_STEP * math.ceil((MEMORY_FACTOR * peak + MEMORY_EXTRA) / MEMORY_STEP)
    quantum = job.size * (TIME_FACTOR * seconds + TIME_FILE * job.files)
    minutes = TIME_EXTRA + quantum * job.quanta / 60
    return memory, TIME_STEP * math.ceil(minutes / TIME_STEP)


# --- Datasets --------------------------------------------------------------


def detector_background(seed: int, layers: int = 1) -> BackgroundModel:
    """Make a detector's background: fits of order 6, and a pedestal."""
    return _background(Box(0, 0, _WIDTH, _HEIGHT), 1000.0, seed, layers, chebyshev=True)


def patch_background(column: int, row: int) -> BackgroundModel:
    """Make a patch's background: an Akima spline, and a constant."""
    return _background(_patch_box(column, row), 0.3, column + 100 * row, 1, chebyshev=False)


def _background(box: Box, level: float, seed: int, layers: int, *, chebyshev: bool) -> BackgroundModel:
    rng = np.random.default_rng(seed)
    shape = (round(box.height / _BIN), round(box.width / _BIN))
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    fit = Approximation(ApproxStyle.CHEBYSHEV, 6, 6, weighting=True) if chebyshev else Approximation()
    noise = 3e-4 * level
    made = [
        Layer(
            level * (1 + 0.01 * x - 0.005 * y) + rng.normal(0, noise, shape),
            np.full(shape, noise**2),
            np.zeros(shape),
            box,
            approximation=fit,
        )
        for _ in range(layers)
    ]
    one = np.ones((1, 1))
    made.append(Layer(0.1 * one, 0 * one, 0 * one, box, interp_style=InterpStyle.CONSTANT))
    return BackgroundModel(tuple(made))


def _patch_box(column: int, row: int) -> Box:
    size = _PATCH + 2 * _BORDER
    return Box(_PATCH * column - _BORDER, _PATCH * row - _BORDER, size, size)


def _corners(x0: float, y0: float, width: float, height: float) -> list[tuple[float, float]]:
    x1, y1 = x0 + width, y0 + height
    return [sky_position(_SCALE * x, _SCALE * y) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]


def _manifest(folder: Path, name: str, layers: int, visits: Iterable[int]) -> Path:
    """Write four files, and say that they are those of many visits."""
    for i in range(4):
        detector_background(i, layers).write_fits(str(folder / f"{name}{i}.fits"))
    entries = []
    for visit in visits:
        for detector in range(_DETECTORS if visit <= _FULL_VISITS else 2):
            corners = _corners(
                (_WIDTH + 80) * (detector % 14 - 7), (_HEIGHT + 80) * (detector // 14 - 7), _WIDTH, _HEIGHT
            )
            entries.append(
                {
                    "file": f"{name}{detector % 4}.fits",
                    "instrument": "LSSTCam",
                    "visit": visit,
                    "detector": detector,
                    "band": "r",
                    "physical_filter": "r_57",
                    "width": _WIDTH,
                    "height": _HEIGHT,
                    "day_obs": 20261009,
                    "ra_corners_deg": [ra for ra, _ in corners],
                    "dec_corners_deg": [dec for _, dec in corners],
                }
            )
    path = folder / f"{name}.json"
    path.write_text(json.dumps(entries))
    return path


def _insert_skymap(butler: Butler) -> None:
    size = _PATCH * _SIDE
    butler.registry.insertDimensionData(
        "skymap",
        {"name": "bench", "hash": b"bench", "tract_max": 2, "patch_nx_max": _SIDE, "patch_ny_max": _SIDE},
    )
    butler.registry.insertDimensionData(
        "tract", {"skymap": "bench", "id": 1, "region": polygon(_corners(0, 0, size, size))}
    )
    for patch in range(_SIDE**2):
        row, column = divmod(patch, _SIDE)
        box = _patch_box(column, row)
        butler.registry.insertDimensionData(
            "patch",
            {
                "skymap": "bench",
                "tract": 1,
                "id": patch,
                "cell_x": column,
                "cell_y": row,
                "region": polygon(_corners(box.x0, box.y0, box.width, box.height)),
            },
        )


def _register(butler: Butler, dimensions: tuple[str, ...], **storage_classes: str) -> None:
    for name, storage_class in storage_classes.items():
        butler.registry.registerDatasetType(
            DatasetType(name, dimensions, storage_class, universe=butler.dimensions)
        )


_COADD_DIMENSIONS = ("skymap", "tract", "patch", "band")


def make_legacy(repo: Path, folder: Path) -> None:
    """Make a repository with the dataset types of the data release pipeline."""
    for name, layers, visits in (
        ("visit_image_background", 1, range(1, _VISITS + 1)),
        ("preliminary_visit_image_background", 1, range(1, 2)),
        ("skyCorr", 3, range(1, 2)),
    ):
        manifest = _manifest(folder, name, layers, visits)
        ingest(str(repo), str(manifest), run=_INPUTS, dataset_type=name, transfer="hardlink", check=False)
    with Butler.from_config(str(repo), writeable=True, run=_INPUTS) as butler:
        _insert_skymap(butler)
        _register(
            butler,
            ("instrument", "visit", "detector"),
            visit_image="ExposureF",
            preliminary_visit_image="ExposureF",
        )
        for detector in range(4):
            image = masked_image(_image_pixels(), {}, 30, u.nJy)
            for name in ("visit_image", "preliminary_visit_image"):
                butler.put(image, name, instrument="LSSTCam", visit=1, detector=detector)
        _register(
            butler,
            _COADD_DIMENSIONS,
            deep_coadd_background="Background",
            deep_coadd_predetection="ExposureF",
            deep_coadd="ExposureF",
        )
        for patch in range(_SIDE**2):
            row, column = divmod(patch, _SIDE)
            background = patch_background(column, row)
            data_id = {"skymap": "bench", "tract": 1, "patch": patch, "band": "r"}
            butler.put(background, "deep_coadd_background", data_id)
            if patch in (44, 45):
                before, after = _coadds(background)
                butler.put(before, "deep_coadd_predetection", data_id)
                butler.put(after, "deep_coadd", data_id)


def _image_pixels() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 30, (_HEIGHT, _WIDTH)).astype(np.float32)


def _coadds(background: BackgroundModel) -> tuple[Any, Any]:
    from lsst.images import Box as ImageBox
    from lsst.images import Image, Mask, MaskedImage, MaskPlane, MaskSchema

    box = background.bbox
    bbox = ImageBox.from_shape((box.height, box.width), start=(box.y0, box.x0))
    pixels = np.random.default_rng(1).normal(0, 4, (box.height, box.width)).astype(np.float32)
    after = pixels - background.parts[0].render() - background.parts[1].render()
    variance = Image(np.full_like(pixels, 16), bbox=bbox, unit=u.nJy**2)
    schema = MaskSchema([MaskPlane("NO_DATA", "No input covers the pixel.")])
    return tuple(
        MaskedImage(
            Image(array, bbox=bbox, unit=u.nJy), mask=Mask(0, schema=schema, bbox=bbox), variance=variance
        )
        for array in (pixels, after)
    )  # type: ignore[return-value]


def make_dp2(repo: Path, folder: Path) -> None:
    """Make a repository with images that hold their backgrounds."""
    from lsst.bgqa.standalone.demo._generations import _field, _smooth_field
    from lsst.bgqa.standalone.demo._images import make_cell_coadd, make_visit_image
    from lsst.images import Background, BackgroundMap
    from lsst.images import Box as ImageBox

    # The records of the visits; the files are images.
    ingest(str(repo), str(_manifest(folder, "records", 1, range(1, 2))), run="bench/records", check=False)
    with Butler.from_config(str(repo), writeable=True, run=_INPUTS) as butler:
        _insert_skymap(butler)
        _register(butler, ("instrument", "visit", "detector"), visit_image="VisitImage")
        _register(butler, _COADD_DIMENSIONS, deep_coadd="CellCoadd")
        for detector in range(6):
            background = detector_background(detector)
            image = make_visit_image(
                _image_pixels(),
                ImageBox.from_shape((_HEIGHT, _WIDTH), start=(0, 0)),
                BackgroundMap(
                    [Background("subtracted", _field(background, u.electron))], subtracted="subtracted"
                ),
                instrument="LSSTCam",
                visit=1,
                detector=detector,
                physical_filter="r_57",
                band="r",
            )
            butler.put(image, "visit_image", instrument="LSSTCam", visit=1, detector=detector)
        for patch in (44, 45):
            background = patch_background(patch % _SIDE, patch // _SIDE)
            _, after = _coadds(background)
            coadd = make_cell_coadd(
                after.image.array,
                after.bbox,
                BackgroundMap(
                    [
                        Background("object", _field(background, u.nJy)),
                        Background("pretty", _smooth_field(background, u.nJy)),
                    ],
                    subtracted="object",
                ),
                skymap="bench",
                tract=1,
                patch=patch,
                band="r",
                cell=150,
            )
            butler.put(coadd, "deep_coadd", skymap="bench", tract=1, patch=patch, band="r")


def link_tables(repo: Path) -> None:
    """Give every visit the table that one of them has."""
    with Butler.from_config(str(repo), writeable=True, run="bench/tables") as butler:
        name = "visit_image_background_visit_table"
        table = butler.get(name, instrument="LSSTCam", visit=1, collections=f"bench/{JOBS[3].label}")
        for visit in range(1, _VISITS + 1):
            butler.put(table, name, instrument="LSSTCam", visit=visit)


def link_residuals(repo: Path) -> None:
    """Give every detector of a visit the metrics that one of them has."""
    with Butler.from_config(str(repo), writeable=True, run="bench/residuals") as butler:
        name = "visit_image_residual_metrics"
        data_id = {"instrument": "LSSTCam", "visit": 1}
        bundle = butler.get(name, data_id, detector=0, collections="bench/residualSky")
        for detector in range(_DETECTORS):
            butler.put(bundle, name, data_id, detector=detector)


# --- Measuring -------------------------------------------------------------


def measure(repo: Path, pipeline: str, job: Job) -> dict[str, float]:
    """Run a job as BPS does, and return its memory and its times.

    ``peak`` is the memory of the job in MiB; ``median`` and ``slowest`` are
    processor seconds of a quantum.
    """
    run, graph = f"bench/{job.label}", str(repo / f"{job.label}.qg")
    _run(
        *("pipetask", "qgraph", "-b", repo, "-i", job.inputs, "--output-run", run, "-d", job.query),
        *("-p", f"{pipeline}#{job.label}", "--save-qgraph", graph, "--qgraph-datastore-records"),
    )
    _run("pipetask", "pre-exec-init-qbb", repo, graph)
    peak = _run("pipetask", "run-qbb", repo, graph)
    _run("butler", "transfer-from-graph", graph, repo, "--register-dataset-types")
    times = []
    with Butler.from_config(str(repo), collections=run) as butler:
        for ref in butler.query_datasets(f"{job.label}_metadata"):
            quantum = butler.get(ref).model_dump()["metadata"]["quantum"]["arrays"]
            times.append(quantum["endCpuTime"][0] - quantum["prepCpuTime"][0])
    return {
        "quanta": len(times),
        "peak": peak,
        "median": statistics.median(times),
        "slowest": max(times),
    }


def _run(program: str, *arguments: Any) -> float:
    """Run a program to its end; return its peak memory in MiB.

    The peak of a process is never less than what its parent had when it
    started: this one must stay small.
    """
    command = [str(Path(sys.executable).with_name(program)), *map(str, arguments)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env={**os.environ, **standalone.environment()}, stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{' '.join(command)}\n{log.read().decode()[-3000:]}")
    return usage.ru_maxrss / 1024


def make(work: Path) -> None:
    """Make both repositories."""
    standalone.activate()
    for name, maker in (("legacy", make_legacy), ("dp2", make_dp2)):
        (work / name).mkdir(parents=True)
        maker(work / name / "repo", work / name)


def main(work: Path, output: Path | None) -> None:
    """Measure every task, print a table, write it as JSON."""
    standalone.activate()
    repos = {"legacy": work / "legacy", "dp2": work / "dp2"}
    subprocess.run([sys.executable, __file__, "--make", "--work", work], check=True)
    pipelines = {"legacy": f"{_PIPELINES}/backgroundQa.yaml", "dp2": f"{_PIPELINES}/DP2.yaml"}
    rows: dict[str, Any] = {}
    print(
        f"{'task':26}{'quanta':>7}{'MiB':>7}{'s':>8}{'slowest':>9}{'ask MiB':>9}{'ask min':>9}  largest job"
    )
    for job in JOBS:
        if job.inputs == "bench/tables":
            link_tables(repos["legacy"] / "repo")
        if job.inputs == "bench/residuals":
            link_residuals(repos["legacy"] / "repo")
        measured = {
            name: measure(repos[name] / "repo", pipelines[name], job) for name in repos if getattr(job, name)
        }
        peak = max(row["peak"] for row in measured.values())
        seconds = max(row["median"] for row in measured.values())
        slowest = max(row["slowest"] for row in measured.values())
        memory, minutes = requests(peak, seconds, job)
        rows[job.label] = {
            "measured": {
                name: {key: round(value, 3) for key, value in row.items()} for name, row in measured.items()
            },
            "job": {key: asdict(job)[key] for key in ("files", "quanta", "size", "why")},
            "requestMemory": memory,
            "requestWalltime": minutes,
        }
        quanta = sum(int(row["quanta"]) for row in measured.values())
        print(
            f"{job.label:26}{quanta:7}{peak:7.0f}{seconds:8.3f}{slowest:9.3f}{memory:9}{minutes:9}",
            f" {job.why}",
            flush=True,
        )
    if output is not None:
        output.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--work", type=Path, help="folder to work in, by default a temporary one")
    parser.add_argument("--make", action="store_true", help="only make the repositories")
    options = parser.parse_args()
    begin = time.monotonic()
    if options.make:
        make(options.work)
        sys.exit()
    if options.work is not None:
        main(options.work, options.json)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch), options.json)
    print(f"in {time.monotonic() - begin:.0f} s")
