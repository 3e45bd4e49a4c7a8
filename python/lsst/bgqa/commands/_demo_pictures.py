# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The demo's pictures, drawn by the pipeline's plot tasks."""

from __future__ import annotations

__all__ = ("draw_worst",)

import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lsst.daf.butler import Butler, DataCoordinate

from ..standalone.demo import IMAGE_VISIT, INPUT_RUN, SKYMAP, TRACT, DemoCam, DemoGeneration
from ._console import track
from ._demo_report import WorstPlaces
from ._pipetask import print_command, run_pipetask

_OUTPUT = "demo/plots"
_MOST_PLACES = 3


def draw_worst(
    console: Console,
    repo: Path,
    worst: WorstPlaces,
    generation: DemoGeneration,
    images: Sequence[int] = (),
) -> str:
    """Draw the worst detectors and patches, and print where the pictures are.

    Parameters
    ----------
    console : `rich.console.Console`
        Where to print.
    repo : `pathlib.Path`
        The repository.
    worst : `WorstPlaces`
        What to draw; of each kind only the first few.
    generation : `~lsst.bgqa.standalone.demo.DemoGeneration`
        What the datasets are called.
    images : `~collections.abc.Sequence` [`int`], optional
        Detectors whose images to draw, of the visit that has some.

    Returns
    -------
    collection : `str`
        Collection with the pictures; empty if there is nothing to draw.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if pipetask fails.
    """
    detectors = [
        f"(visit={visit} AND detector={detector})" for visit, detector in worst.detectors[:_MOST_PLACES]
    ]
    patches = [f"(patch={patch} AND band='{band}')" for patch, band in worst.patches[:_MOST_PLACES]]
    exposed = [f"(visit={IMAGE_VISIT.id} AND detector={detector})" for detector in images]
    if not detectors and not patches and not exposed:
        return ""
    for label, where, places, config in (
        ("plotBackground", f"instrument='{DemoCam.getName()}'", detectors, ()),
        (
            "plotCoaddBackground",
            f"skymap='{SKYMAP}' AND tract={TRACT}",
            patches,
            ("-c", "plotCoaddBackground:unit=nJy") if generation.name == "dp02" else (),
        ),
        ("plotResidualSky", f"instrument='{DemoCam.getName()}'", exposed, ()),
    ):
        if not places:
            continue
        arguments = [
            *("run", "-b", str(repo), "-p", f"resource://lsst.bgqa/pipelines/{generation.pipeline}#{label}"),
            *("-i", INPUT_RUN, "-o", _OUTPUT, "--register-dataset-types", *config),
            *("-d", f"{where} AND ({' OR '.join(places)})"),
        ]
        print_command(console, arguments)
        with track(console, "Drawing") as progress:
            run_pipetask(arguments, repo / f"{label}.log", progress)
    console.print("Pictures:")
    for path in _collect(repo, repo / "pictures"):
        console.print(f"  {escape(str(path))}", soft_wrap=True)
    return _OUTPUT


def _collect(repo: Path, folder: Path) -> list[Path]:
    """Copy the newest pictures out of the repository, under short names."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    paths = []
    with Butler.from_config(str(repo)) as butler:
        newest: dict[str, str] = {}
        for run in butler.collections.get_info(_OUTPUT).children:
            for dataset_type in butler.registry.queryDatasetTypes("*_plot"):
                # An older run may have drawn other places.
                refs = butler.query_datasets(dataset_type, run, explain=False)
                if not refs or newest.setdefault(dataset_type.name, run) != run:
                    continue
                for ref in refs:
                    name, _, what = dataset_type.name.removesuffix("_plot").rpartition("_")
                    if name.endswith("_residual"):
                        what = f"residual-{what}"
                    paths.append(folder / f"{_place(ref.dataId)}-{what}.png")
                    with butler.getURI(ref).as_local() as local:
                        shutil.copyfile(local.ospath, paths[-1])
    return sorted(paths)


def _place(data_id: DataCoordinate) -> str:
    if "visit" in data_id.dimensions:
        return f"visit-{data_id['visit']}-detector-{data_id['detector']}"
    return f"patch-{data_id['patch']}-{data_id['band']}"
