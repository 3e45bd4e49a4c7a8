# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The demo's images of one visit: what is left of the sky in them."""

from __future__ import annotations

__all__ = ("measure_images",)

import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lsst.daf.butler import Butler

from ..judge import Thresholds, words_for
from ..metrics import load_catalogue, quantities_of
from ..standalone.demo import IMAGE_VISIT, INPUT_RUN, DemoCam, DemoGeneration
from ._console import print_table, track
from ._pipetask import print_command, run_pipetask
from .requirement import requirement_table

_SHOWN = (
    "residual_edgeExtremeSignificance",
    "residual_cornerExcessSignificance",
    "residual_stepXSignificance",
    "residual_stepYSignificance",
    "residual_haloSignificance",
    "residual_crowdingSignificance",
)
_MOST_IMAGES = 2


def measure_images(console: Console, repo: Path, output: str, generation: DemoGeneration) -> list[int]:
    """Measure the residual sky in images, and print what is wrong.

    It returns the detectors with the surest finds, for pictures.

    Raises
    ------
    ~lsst.bgqa.errors.UserError
        Raised if pipetask fails.
    """
    # One visit has images; in the same run, nothing would be done of the others.
    arguments = [
        *("run", "-b", str(repo), "-p", f"{generation.location}#residual,gatherResidualSky"),
        *("-i", INPUT_RUN, "-o", output, "--register-dataset-types"),
        *("-d", f"instrument='{DemoCam.getName()}' AND visit={IMAGE_VISIT.id}"),
    ]
    print_command(console, arguments)
    with track(console, "Reading images") as progress:
        console.print(run_pipetask(arguments, repo / "residual.log", progress))
    console.print()
    catalogue = load_catalogue()
    table = Table(
        title=f"Sky left in the images of visit {IMAGE_VISIT.id}",
        title_justify="left",
        title_style="bold",
        header_style="bold",
    )
    for name in ("detector", "what", "where"):
        table.add_column(name, no_wrap=True)
    for name in ("size", "sigma"):
        table.add_column(name, justify="right")
    surest: dict[int, float] = {}
    with Butler.from_config(str(repo), collections=output) as butler:
        for ref in sorted(
            butler.query_datasets(f"{generation.visit_image}_residual_metrics"),
            key=lambda ref: ref.dataId["detector"],
        ):
            found = quantities_of(butler.get(ref))
            places = butler.get("residualSky_metadata", ref.dataId)["residualSky"]["places"]
            detector = int(ref.dataId["detector"])
            for name in _SHOWN:
                if name not in found or catalogue[name].judge(found[name]) != "fail":
                    continue
                # The title says where.
                words = words_for(name, float(found[name].value), *Thresholds().bounds(name))
                what = words.removesuffix(" left in the image")
                metric = name.removesuffix("Significance")
                size = next(found[m] for m in (metric, f"{metric}Depth", f"{metric}Slope") if m in found)
                where = places.get(f"{metric}Depth", places.get(metric, ""))
                table.add_row(
                    *(str(detector), what, where),
                    *(f"{size.value:+.3g} {size.unit}", f"{found[name].value:+.0f}"),
                )
                surest[detector] = max(surest.get(detector, 0.0), abs(float(found[name].value)))
    print_table(console, table)
    _print_requirement(console, repo, output)
    return sorted(sorted(surest, key=lambda detector: -surest[detector])[:_MOST_IMAGES])


def _print_requirement(console: Console, repo: Path, output: str) -> None:
    from ..dashboard import Campaign
    from ..dashboard.requirement import has_precision, sky_brightness_precision

    words = shlex.join(["bgqa", "requirement", str(repo), output])
    console.print(f"$ {words}", soft_wrap=True, markup=False)
    with Campaign(str(repo), output) as campaign:
        bands = [
            band
            for table in campaign.tables
            if has_precision(table) and table.kind == "detector"
            for band in sky_brightness_precision(table)
        ]
    if bands:
        print_table(console, requirement_table(bands))
