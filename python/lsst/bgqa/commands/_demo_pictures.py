# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The demo's pictures, drawn by the pipeline's plot tasks."""

from __future__ import annotations

__all__ = ("draw_worst",)

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from lsst.daf.butler import Butler, CollectionType, DataCoordinate

from ..standalone.demo import IMAGE_VISIT, INPUT_RUN, SKYMAP, TRACT, DemoCam, DemoGeneration
from ._console import track
from ._pipetask import print_command, run_pipetask

_WORST = "demo/worst"
_OUTPUT = "demo/plots"
_MOST_PATCHES = 2


def draw_worst(
    console: Console,
    repo: Path,
    patches: Sequence[tuple[int, str]],
    detectors: Sequence[int],
    generation: DemoGeneration,
) -> str:
    """Draw the worst patches and detectors, and print where the pictures are.

    Patches come with their bands, the worst first; only the first few are drawn.
    Detectors are of the visit that has images. What is returned is the collection
    with the pictures; empty if there is nothing to draw.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if pipetask fails.
    """
    chosen = [f"(patch={patch} AND band='{band}')" for patch, band in patches[:_MOST_PATCHES]]
    numbers = [f"detector={detector}" for detector in detectors]
    if not (chosen or numbers):
        return ""
    # No query has these detectors and these patches; one collection has.
    with Butler.from_config(str(repo), writeable=True) as butler:
        of_visit = f"instrument='{DemoCam.getName()}' AND visit={IMAGE_VISIT.id}"
        _tag(butler, [*generation.visit_types, *generation.image_types], of_visit, numbers)
        _tag(butler, generation.coadd_types, f"skymap='{SKYMAP}' AND tract={TRACT}", chosen)
    labels = "plotBackground,plotResidualSky,plotCoaddBackground"
    arguments = [
        *("run", "-b", str(repo), "-p", f"{generation.location}#{labels}"),
        *("-i", _WORST, "-o", _OUTPUT, "--register-dataset-types", *generation.options),
    ]
    print_command(console, arguments)
    with track(console, "Drawing") as progress:
        run_pipetask(arguments, repo / "plots.log", progress)
    console.print("Pictures:")
    for path in _collect(repo, repo / "pictures"):
        console.print(f"  {escape(str(path))}", soft_wrap=True)
    return _OUTPUT


def _tag(butler: Butler, names: Iterable[str], where: str, places: Sequence[str]) -> None:
    """Let the collection of the worst hold the inputs of these places, and no others of these types."""
    butler.collections.register(_WORST, CollectionType.TAGGED)
    for name in names:
        old = butler.query_datasets(name, _WORST, limit=None, explain=False)
        butler.registry.disassociate(_WORST, old)
        if places:
            new = butler.query_datasets(name, INPUT_RUN, where=f"{where} AND ({' OR '.join(places)})")
            butler.registry.associate(_WORST, new)


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
