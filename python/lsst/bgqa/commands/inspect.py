# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

__all__ = ("inspect",)

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..artifacts import named_file
from ..errors import UserError
from ._paths import LocalPath

if TYPE_CHECKING:
    import astropy.units as u

    from ..background import BackgroundModel, Layer
    from ..residual import SkyImage


@click.command
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option(
    "--image",
    "image_file",
    metavar="CALEXP",
    help="The background-subtracted image; also measure its residual sky.",
)
@click.option(
    "--image-unit", help="Unit of the image's pixels, if its file does not say it; by default that of FILE."
)
@click.option(
    "--unit", default="adu", show_default=True, help="Unit of the background; FILE does not say it."
)
@click.option(
    "--plot",
    metavar="PNG",
    type=LocalPath(dir_okay=False),
    help="Draw the background, its histogram and its bumps into a file (.png, .pdf or .svg).",
)
def inspect(
    file: str, as_json: bool, image_file: str | None, image_unit: str | None, unit: str, plot: Path | None
) -> None:
    """Print the layers and the metrics of a background FILE.

    FILE is a path or URI of a file written by lsst.afw.math.BackgroundList,
    such as any Background dataset of a Butler; CALEXP is that of an ExposureF.
    """
    from ..background import BackgroundModel
    from ..judge import measure_background
    from ..metrics import to_quantities
    from ..residual import measure_residual_sky

    if image_unit is not None and image_file is None:
        raise click.UsageError("--image-unit goes with --image")
    background = BackgroundModel.read_fits(file, unit=_unit("--unit", unit))
    quantities = measure_background(background)
    places = {}
    if image_file is not None:
        image = _read_image(image_file, None if image_unit is None else _unit("--image-unit", image_unit))
        residual = measure_residual_sky(image, background)
        quantities |= to_quantities(residual.metrics, residual.unit)
        places = residual.places
    if plot is not None:
        _draw(background, file, plot)
    verdict, fault = _judge(quantities, places)
    if as_json:
        document = _document(file, background, quantities) | {"verdict": verdict, "fault": fault}
        if image_file is not None:
            document |= {"image": image_file, "places": places}
        click.echo(json.dumps(document, indent=1, allow_nan=False))
    else:
        _print(file, background, quantities, places)
        click.echo(f"\n{verdict}: {fault}" if fault else f"\n{verdict}")


def _judge(quantities: Mapping[str, u.Quantity], places: Mapping[str, str]) -> tuple[str, str]:
    """Return the verdict on the background alone, and what is wrong."""
    import numpy as np

    from ..judge import Thresholds, judge_rows

    values = {name: float(quantity.value) for name, quantity in quantities.items()}
    judgement = judge_rows(list(values), np.array([list(values.values())]), [""], Thresholds())
    verdict = judgement.verdicts[0]
    return verdict, judgement.fault(0, values, places) if verdict == "fail" else ""


def _unit(option: str, text: str) -> u.UnitBase:
    import astropy.units as u

    try:
        return u.Unit(text)
    except ValueError:
        raise UserError(f"{option}: {text!r} is not a unit that astropy knows") from None


def _read_image(file: str, unit: u.UnitBase | None) -> SkyImage:
    """Read an image with what its file says of its calibration."""
    from ..residual import SkyImage
    from ..standalone._exposure import read_exposure, read_photo_calib, read_wcs

    try:
        with named_file(file).as_local() as local:
            path = local.ospath
            pixels = read_exposure(path)
            calibration = {"photo_calib": read_photo_calib(path), "wcs": read_wcs(path)}
            image = SkyImage.assemble(pixels.image, pixels.mask, name=file, **calibration)
    except Exception as error:
        # Each kind of store, and of broken file, has errors of its own.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{file}: cannot be read as an image of the stack: {reason}") from error
    return image if image.unit is not None or unit is None else replace(image, unit=unit)


def _draw(background: BackgroundModel, file: str, plot: Path) -> None:
    from ..plots import plot_overview

    figure = plot_overview(background, file.rpartition("/")[2])
    try:
        figure.savefig(plot)
    except ValueError as error:
        # matplotlib does not know the name's extension.
        raise UserError(f"--plot: {plot}: {error}") from None


def _describe_layer(layer: Layer) -> dict[str, Any]:
    import numpy as np

    from ..background import ApproxStyle

    fit = layer.approximation
    finite = np.isfinite(layer.values)
    values = layer.values[finite].astype(float)
    return {
        "bins": [layer.shape[1], layer.shape[0]],
        "bad_bins": int(layer.values.size - finite.sum()),
        "interpolation": layer.interp_style.name,
        "undersampling": layer.undersample_style.name,
        "approximation": None
        if fit.style is ApproxStyle.UNKNOWN
        else {"style": fit.style.name, "order": fit.order_x, "weighted": fit.weighting},
        "bin_min": float(values.min()) if values.size else None,
        "bin_median": float(np.median(values)) if values.size else None,
        "bin_max": float(values.max()) if values.size else None,
    }


def _document(file: str, background: BackgroundModel, quantities: dict[str, u.Quantity]) -> dict[str, Any]:
    return {
        "file": file,
        "unit": str(background.unit),
        "bbox": list(background.bbox),
        "layers": [_describe_layer(layer) for layer in background.grids],
        "metrics": {
            name: {"value": float(quantity.value), "unit": str(quantity.unit)}
            for name, quantity in quantities.items()
        },
    }


def _print(
    file: str, background: BackgroundModel, quantities: dict[str, u.Quantity], places: dict[str, str]
) -> None:
    from rich.markup import escape
    from rich.table import Table

    from ..metrics import load_catalogue
    from ._console import make_console, print_table

    console = make_console()
    console.print(f"[bold]{escape(file)}[/bold]: {background.bbox}, {background.unit}", soft_wrap=True)
    layers = Table(
        "layer", "bins", "bad", "pixels by", "bin min", "median", "max", header_style="bold", box=None
    )
    for number, layer in enumerate(background.grids, start=1):
        facts = _describe_layer(layer)
        values = [
            "-" if facts[key] is None else f"{facts[key]:.6g}" for key in ("bin_min", "bin_median", "bin_max")
        ]
        layers.add_row(
            str(number),
            f"{facts['bins'][0]}x{facts['bins'][1]}",
            str(facts["bad_bins"]),
            layer.method,
            *values,
        )
    for column in layers.columns:
        column.no_wrap = True
    print_table(console, layers)
    console.print()
    catalogue = load_catalogue()
    where = ["where"] if places else []
    table = Table("metric", "value", "unit", "verdict", *where, header_style="bold", box=None)
    table.columns[1].justify = "right"
    for name, quantity in quantities.items():
        verdict = catalogue[name].judge(quantity)
        style = {"fail": "red", "pass": "green"}.get(verdict)
        table.add_row(
            name,
            f"{quantity.value:.7g}",
            str(quantity.unit),
            "" if verdict == "unknown" else verdict,
            *([places.get(name, "")] if places else []),
            style=style,
        )
    for column in table.columns:
        column.no_wrap = True
    print_table(console, table)
