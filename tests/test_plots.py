# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.visualization import AsinhStretch
from click.testing import CliRunner
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage, imread
from matplotlib.patches import StepPatch
from matplotlib.text import Text

from lsst.bgqa import BackgroundModel
from lsst.bgqa.background import Box, InterpStyle, Layer
from lsst.bgqa.cli import main
from lsst.bgqa.plots import (
    CLOSURE_COLORS,
    plot_background,
    plot_bumps,
    plot_closure,
    plot_differences,
    plot_histogram,
    plot_notebook_row,
    plot_overview,
    plot_residual_map,
    plot_rings,
    plot_subtracted,
    plot_tract,
)
from lsst.bgqa.plots._sampling import average_image, sample_background
from lsst.bgqa.residual import ResidualSky, SkyImage, measure_residual_sky
from lsst.bgqa.standalone._exposure import read_exposure
from lsst.bgqa.standalone.demo import INPUT_RUN, make_repository
from lsst.bgqa.statistics.closure import ClosureClass, compare_coadds
from lsst.bgqa.statistics.seams import TractMosaic
from lsst.bgqa.tasks._inputs import data_id_title
from lsst.daf.butler import Butler
from lsst.images import Box as ImageBox
from lsst.images.fields import ChebyshevField

RESIDUAL = Path(__file__).parent / "data" / "residual"
HSC = Path(__file__).parent / "data" / "hsc" / "calexpBackground_HSC_HSC-Z_1176_000.fits"
BBOX = Box(3900, 23900, 4200, 4100)


def make_model(values: np.ndarray, bbox: Box = BBOX, *more: Layer) -> BackgroundModel:
    values = np.asarray(values, dtype=np.float32)
    layer = Layer(values, np.ones_like(values), np.zeros(values.shape, dtype=np.int32), bbox)
    return BackgroundModel((layer, *more), u.nJy)


@pytest.fixture(scope="module")
def model() -> BackgroundModel:
    values = np.random.default_rng(2).normal(100, 1, (20, 21))
    values[7, 9] += 40
    values[12, 3] = np.nan
    return make_model(values)


def pixels_of(figure: Figure) -> np.ndarray:
    stream = io.BytesIO()
    figure.savefig(stream)
    stream.seek(0)
    return imread(stream, format="png")


def texts_of(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


def image_of(figure: Figure) -> AxesImage:
    (image,) = figure.axes[0].images
    return image


def cells_of(figure: Figure) -> np.ndarray:
    return np.asarray(image_of(figure).get_array())


def stairs_of(figure: Figure) -> tuple[np.ndarray, np.ndarray]:
    (stairs,) = figure.axes[0].patches
    assert isinstance(stairs, StepPatch)
    counts, edges, _ = stairs.get_data()
    return counts, edges


def has_color(pixels: np.ndarray, color: str) -> bool:
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return bool((np.abs(pixels[..., :3] - wanted) < 0.01).all(axis=-1).any())


def test_background_is_drawn_in_parent_pixels_with_its_unit(model: BackgroundModel) -> None:
    figure = plot_background(model, "visit 7, detector 3", bin_grid=True)
    assert pixels_of(figure).shape[1] == 800
    axes = figure.axes[0]
    assert axes.get_xlim() == (3899.5, 8099.5)
    assert axes.get_ylim() == (23899.5, 27999.5)
    assert "visit 7, detector 3" in axes.get_title()
    assert "background / nJy" in texts_of(figure)
    assert "1 bin without data" in texts_of(figure)
    assert max(cells_of(figure).shape) <= 800


def test_sampled_background_is_the_background(model: BackgroundModel) -> None:
    values = sample_background(model, 100)
    assert values.shape == (100, 100)
    # The cell in the middle lies between two pixels of the image.
    x, y = 3900 + 2100 + 20, 23900 + 2050 + 19
    pixels = model.render(Box(x, y, 3, 3))
    assert pixels.min() <= values[50, 50] <= pixels.max()
    small = make_model(np.arange(12).reshape(3, 4), Box(0, 0, 40, 30))
    np.testing.assert_allclose(sample_background(small), small.render(), rtol=1e-5)


def test_average_image_leaves_out_what_is_missing() -> None:
    image = np.arange(60, dtype=np.float32).reshape(6, 10)
    image[0, 0] = np.nan
    image[4:, 8:] = np.inf
    cells = average_image(image, 5)
    assert cells.shape == (3, 5)
    assert cells[0, 0] == pytest.approx((1 + 10 + 11) / 3)
    assert cells[1, 1] == pytest.approx(image[2:4, 2:4].mean())
    assert np.isnan(cells[2, 4])
    ragged = average_image(image[:, :9], 5)
    assert ragged.shape == (3, 5)
    assert ragged[1, 4] == pytest.approx(image[2:4, 8].mean())


def test_histogram_marks_mean_and_median(model: BackgroundModel) -> None:
    figure = plot_histogram(model, "here", bins=40)
    axes = figure.axes[0]
    counts, edges = stairs_of(figure)
    pixels = model.render().astype(np.float64)
    expected, _ = np.histogram(pixels, edges)
    np.testing.assert_allclose(counts, expected, atol=1e-3 * pixels.size)
    assert counts.sum() == pytest.approx(pixels.size, rel=1e-5)
    lines = {str(line.get_label()).split()[0]: np.asarray(line.get_xdata())[0] for line in axes.lines}
    assert lines["mean"] == pytest.approx(pixels.mean())
    assert lines["median"] == pytest.approx(np.median(pixels), rel=1e-6)
    assert "nJy" in axes.get_xlabel()


def test_histogram_of_a_constant_has_one_bar() -> None:
    bbox = Box(0, 0, 300, 200)
    one = np.full((1, 1), 0.25, dtype=np.float32)
    layer = Layer(one, one, one.astype(np.int32), bbox, InterpStyle.CONSTANT)
    counts, edges = stairs_of(plot_histogram(BackgroundModel((layer,))))
    filled = np.flatnonzero(counts)
    assert counts[filled].tolist() == [60000]
    assert edges[filled[0]] < 0.25 < edges[filled[0] + 1]


def test_bumps_are_framed(model: BackgroundModel) -> None:
    figure = plot_bumps(model, "here")
    axes = figure.axes[0]
    assert "1 of 420 bins beyond 5σ" in axes.get_title()
    _, frames = axes.collections
    (frame,) = frames.get_paths()
    layer = model.layers[0]
    x, y = layer.bin_centers_x[9], layer.bin_centers_y[7]
    corners = np.asarray(frame.vertices)
    (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
    assert left < x < right
    assert bottom < y < top
    assert "0 of 420" in plot_bumps(model, threshold=1000.0).axes[0].get_title()


def test_differences_are_on_one_scale_with_their_numbers() -> None:
    box = ImageBox.from_shape((40, 60))
    models = {
        name: BackgroundModel.from_images(ChebyshevField(box, np.array([[level, slope]]), unit=u.nJy))
        for name, level, slope in (("pretty", -2.0, 1.0), ("$flat", 0.5, 0.0))
    }
    figure = plot_differences(models, "here", judged="object, which was subtracted")
    assert figure.get_suptitle() == "here\npretty, \\$flat minus object, which was subtracted"
    assert "pretty\nmedian -2, rms 2.08, up to ±2.98 nJy" in texts_of(figure)
    images = [image for axes in figure.axes for image in axes.images]
    assert [image.get_clim() for image in images] == [(-limit, limit) for limit in [2 + 59 / 60] * 2]
    alone = plot_differences({"pretty": models["pretty"]}, "here")
    assert "minus the background judged" in alone.get_suptitle()
    assert "median -2" in texts_of(alone)


def test_bumps_of_a_polynomial_are_not_told() -> None:
    box = ImageBox.from_shape((300, 400))
    model = BackgroundModel.from_images(ChebyshevField(box, np.array([[5.0, 1.0]])))
    (axes,) = plot_bumps(model).axes
    assert [text.get_text() for text in axes.texts] == ["a polynomial, which keeps no bins"]


def test_subtracted_image_keeps_faint_and_bright_apart() -> None:
    rng = np.random.default_rng(4)
    image = rng.normal(0, 1, (1000, 900)).astype(np.float32)
    image[400:500, 300:400] += 5000
    image[:50] = np.nan
    figure = plot_subtracted(image, Box(10, 20, 900, 1000), "patch 4", unit=u.nJy)
    # zscale looks at the sky, so that the bright object does not hide it.
    low, high = image_of(figure).get_clim()
    assert low is not None and high is not None
    assert -3 < low < 0 < high < 50
    assert max(cells_of(figure).shape) <= 800
    assert figure.axes[0].get_ylim() == (19.5, 1019.5)
    assert "subtracted image / nJy" in texts_of(figure)


def test_closure_shows_its_classes_in_colour(model: BackgroundModel) -> None:
    bbox = Box(0, 0, 320, 310)
    background = make_model(np.random.default_rng(1).normal(0, 1, (6, 6)), bbox)
    before = np.random.default_rng(3).normal(0, 1, (310, 320)).astype(np.float32)
    after = before - background.render()
    after[100:180, 50:130] += 1
    after[200:250] = np.nan
    result = compare_coadds(before, after, background, map_size=200)
    figure = plot_closure(result, "patch 4", unit=u.nJy)
    assert "not every pixel is explained" in texts_of(figure)
    assert "unexplained, inside: 6,400" in texts_of(figure)
    assert "residual" in texts_of(figure)
    pixels = pixels_of(figure)
    for kind, count in result.counts.items():
        # Grey is also what the residual has where nothing was compared.
        if kind is not ClosureClass.NO_DATA:
            assert has_color(pixels, CLOSURE_COLORS[kind]) == bool(count)
    assert len(set(CLOSURE_COLORS.values())) == len(ClosureClass)
    without_map = compare_coadds(before, after, background)
    with pytest.raises(ValueError, match="map_size"):
        plot_closure(without_map)


def test_exact_closure_is_drawn() -> None:
    bbox = Box(0, 0, 64, 64)
    background = make_model(np.zeros((5, 5)), bbox)
    image = np.ones((64, 64), dtype=np.float32)
    figure = plot_closure(compare_coadds(image, image, background, map_size=64))
    assert "every pixel is explained" in texts_of(figure)
    pixels_of(figure)


def test_overview_has_all_a_background_tells(model: BackgroundModel) -> None:
    figure = plot_overview(model, "file $x$.fits")
    text = texts_of(figure)
    for part in (
        "Background and its bins",
        "Bumps: 1 of 420",
        "pixels per bin",
        "4200x4100 at (3900, 23900)",
    ):
        assert part in text
    # A file's name is not mathematics.
    assert r"file \$x\$.fits" in text
    pixels_of(figure)


@pytest.mark.parametrize("plot", [plot_background, plot_histogram, plot_bumps, plot_overview])
def test_background_without_a_pixel_is_drawn(plot: object) -> None:
    nothing = make_model(np.full((6, 5), np.nan), Box(0, 0, 60, 50))
    figure = plot(nothing, "nothing")  # type: ignore[operator]
    assert "nothing" in texts_of(figure)
    pixels_of(figure)


def test_bumps_say_why_there_are_none() -> None:
    for values, why in (
        (np.ones((6, 5)), "the bins do not scatter"),
        (np.arange(8.0).reshape(2, 4), "too few bins"),
        (np.full((6, 5), np.nan), "too few bins"),
    ):
        assert why in texts_of(plot_bumps(make_model(values, Box(0, 0, 60, 50))))


def test_figures_do_not_make_all_pixels() -> None:
    bbox = Box(0, 0, 16000, 16000)
    big = make_model(np.random.default_rng(6).normal(0, 1, (9, 9)), bbox)
    tracemalloc.start()
    try:
        pixels_of(plot_background(big))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Most of it is matplotlib's, and depends on the figure's size alone.
    assert peak < 0.1 * 4 * bbox.area


def test_pyplot_is_left_alone() -> None:
    code = "import sys, lsst.bgqa.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_inspect_draws_a_file(model: BackgroundModel, tmp_path: Path) -> None:
    file, picture = tmp_path / "background.fits", tmp_path / "picture.png"
    model.write_fits(file)
    run = CliRunner().invoke(main, ["inspect", str(file), "--unit", "nJy", "--plot", str(picture)])
    assert run.exit_code == 0, run.output
    assert imread(picture).shape[1] == 1200
    for target, reason in (
        (tmp_path / "picture.xyz", "xyz"),
        (tmp_path / "absent" / "picture.png", "No such file"),
    ):
        run = CliRunner().invoke(main, ["inspect", str(file), "--plot", str(target)])
        assert run.exit_code == 1
        assert reason in run.stderr
        assert len(run.stderr.splitlines()) == 1


# --- The residual sky --------------------------------------------------


@pytest.fixture(scope="module")
def halo() -> tuple[SkyImage, BackgroundModel, ResidualSky]:
    image = SkyImage.of(read_exposure(str(RESIDUAL / "halo_calexp.fits")))
    background = BackgroundModel.read_fits(RESIDUAL / "halo_calexpBackground.fits")
    return image, background, measure_residual_sky(image, background)


def test_notebook_row_shows_image_background_and_histogram(
    halo: tuple[SkyImage, BackgroundModel, ResidualSky],
) -> None:
    image, background, _ = halo
    figure = plot_notebook_row(image, background, "detector 1", unit=u.adu)
    titles = texts_of(figure)
    for text in ("Background-subtracted image", "Histogram of the background", "detector 1", "adu"):
        assert text in titles
    images = [artist for artist in figure.findobj(AxesImage) if isinstance(artist, AxesImage)]
    shown = [artist.get_array() for artist in images]
    assert sum(array is not None and array.shape == (640, 640) for array in shown) == 2
    assert pixels_of(figure).std() > 0.05


def test_residual_map_is_that_of_the_cells(halo: tuple[SkyImage, BackgroundModel, ResidualSky]) -> None:
    residual = halo[2]
    figure = plot_residual_map(residual, "detector 1")
    (drawn,) = [artist for artist in figure.axes[0].images if isinstance(artist, AxesImage)]
    np.testing.assert_array_equal(drawn.get_array(), residual.grid.cell_means)
    low, high = drawn.get_clim()
    assert low == -high
    assert "cells of 64 pixels" in texts_of(figure)


def test_rings_show_the_darkest(halo: tuple[SkyImage, BackgroundModel, ResidualSky]) -> None:
    residual = halo[2]
    figure = plot_rings(residual, "detector 1")
    assert figure is not None
    sigma = residual.metrics["residual_haloSignificance"]
    assert f"darkest: {sigma:+.1f} sigma" in texts_of(figure)
    assert plot_rings(replace(residual, profile=None)) is None


# --- What pictures must not hide -------------------------------------------


def corner_model() -> BackgroundModel:
    """A halo of 10 adu, and one extrapolated corner far above it."""
    y, x = np.mgrid[0:20, 0:20]
    values = 600 + 10 * np.exp(-0.5 * ((y - 9) ** 2 + (x - 9) ** 2) / 9)
    values[19, 19] += 300
    values[3, 16] = np.nan
    return make_model(values, Box(0, 0, 2000, 2000))


def test_pictures_have_limits_that_a_corner_does_not_stretch() -> None:
    figure = plot_background(corner_model(), bin_grid=True)
    low, high = image_of(figure).get_clim()
    assert low is not None and high is not None
    assert low < 600.5 and 609 < high < 640
    # The colour bar says that there is more.
    bars = [axes for axes in figure.axes[0].child_axes if axes.get_ylabel().startswith("background")]
    assert [bar._colorbar.extend for bar in bars] == ["both"]  # type: ignore[attr-defined]
    # Without anything to leave out, the scale is that of the pixels.
    flat = plot_background(make_model(np.arange(30.0).reshape(5, 6), Box(0, 0, 60, 50)))
    pixels = image_of(flat).get_array()
    assert pixels is not None
    assert image_of(flat).get_clim() == (pixels.min(), pixels.max())


@pytest.mark.parametrize("plot", [plot_background, plot_bumps])
def test_pictures_have_legends_beside_the_pixels(plot: Any) -> None:
    figure = plot(corner_model(), **({"bin_grid": True} if plot is plot_background else {}))
    pixels_of(figure)
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    words = " ".join(text.get_text() for text in legend.get_texts())
    assert "1 bin without data" in words or "no value: 1 of 400 bins" in words


def step_model(rows: int) -> BackgroundModel:
    """A step right across, as between amplifiers, that leaves no room at the sides."""
    values = np.random.default_rng(5).normal(600, 0.2, (rows, 16))
    values[rows // 2 :] += 5
    return make_model(values, Box(0, 0, 2048, 128 * rows))


@pytest.mark.parametrize("model", [corner_model(), step_model(16), step_model(12)])
def test_pictures_have_numbers_beside_the_bins_they_name(model: BackgroundModel) -> None:
    figure = plot_bumps(model)
    pixels_of(figure)
    (axes,) = figure.axes
    flagged = [path.get_extents(axes.transData) for path in axes.collections[-1].get_paths()]
    numbers = [text for text in axes.texts if text.get_text().endswith("σ")]
    assert numbers and flagged
    for number in numbers:
        place = number.get_window_extent()
        assert not any(place.overlaps(frame.padded(-1)) for frame in flagged)
        # Nor over the numbers of an axis.
        assert axes.get_window_extent().contains(place.x0, place.y0)
        assert axes.get_window_extent().contains(place.x1, place.y1)


def test_pictures_of_images_are_grey() -> None:
    image = np.random.default_rng(4).normal(0, 1, (100, 90)).astype(np.float32)
    figure = plot_subtracted(image, Box(0, 0, 90, 100))
    artist = image_of(figure)
    assert artist.get_cmap().name == "gray"
    assert isinstance(artist.norm.stretch, AsinhStretch)  # type: ignore[attr-defined]
    image[:20] = np.nan
    assert "no value" in texts_of(plot_subtracted(image, Box(0, 0, 90, 100)))


def test_pictures_of_a_closure_show_what_is_common_and_ring_what_is_wrong() -> None:
    bbox = Box(0, 0, 400, 400)
    background = make_model(np.zeros((5, 5)), bbox)
    before = np.ones((400, 400), dtype=np.float32)
    after = before.copy()
    after[200, 200] = 2
    result = compare_coadds(before, after, background, map_size=20)
    assert result.map is not None
    assert (result.map.typical == ClosureClass.IDENTICAL_SUMMED).all()
    assert np.argwhere(result.map.classes == ClosureClass.UNEXPLAINED_INTERIOR).tolist() == [[10, 10]]
    figure = plot_closure(result)
    drawn = figure.axes[0].images[0].get_array()
    assert drawn is not None and set(np.unique(drawn)) == {ClosureClass.IDENTICAL_SUMMED}
    (rings,) = figure.axes[0].collections
    assert np.asarray(rings.get_offsets()).tolist() == [[209.5, 209.5]]
    assert "20 x 20 pixels" in texts_of(figure)
    # Where faults are many, their cells have their colour.
    after[:, ::20] = 2
    drawn = plot_closure(compare_coadds(before, after, background, map_size=20)).axes[0].images[0].get_array()
    assert drawn is not None and (drawn[1:-1, 1:-1] == ClosureClass.UNEXPLAINED_INTERIOR).all()


def test_pictures_of_closures_have_colours_that_differ() -> None:
    colors = [np.array(to_rgb(color)) for color in CLOSURE_COLORS.values()]
    assert min(np.abs(a - b).max() for a, b in itertools.combinations(colors, 2)) > 0.2


def test_pictures_of_tracts_end_where_patches_do() -> None:
    # Points are 16 pixels apart: cells about those at the border reach over it.
    mosaic = TractMosaic(step=16)
    boxes = {0: Box(0, 0, 165, 165), 1: Box(105, 0, 165, 165)}
    for patch, box in boxes.items():
        mosaic.add(patch, make_model(np.full((5, 5), 100.0 * (1 + patch)), box))
    figure = plot_tract(mosaic)
    for mesh, (left, right) in zip(figure.axes[0].collections, [(-0.5, 134.5), (134.5, 269.5)], strict=True):
        x, y = np.moveaxis(mesh.get_coordinates(), -1, 0)  # type: ignore[attr-defined]
        # No pixel outside of its patch, none drawn twice, and none left out.
        assert (x.min(), x.max(), y.min(), y.max()) == (left, right, -0.5, 164.5)
        assert (np.diff(x[0]) > 0).all() and (np.diff(y[:, 0]) > 0).all()
    assert figure.axes[0].get_legend() is None
    # The colour bar is that of all patches.
    assert {mesh.get_clim() for mesh in figure.axes[0].collections} == {(100.0, 200.0)}  # type: ignore[attr-defined]


def test_pictures_say_filter_night_and_run(tmp_path: Path) -> None:
    butler = demo_butler(tmp_path)
    (ref,) = butler.query_datasets(
        "calexpBackground", INPUT_RUN, find_first=False, with_dimension_records=True
    )
    title = data_id_title(ref)
    assert title == (
        "instrument DemoCam, detector 0, visit 2026100900001\nfilter demo-r, night 20261009, demo/inputs"
    )
    # A long one is wrapped, not cut.
    figure = plot_background(corner_model(), f"{title}, {'u/somebody/' * 8}")
    pixels_of(figure)
    box = figure.axes[0].title.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= 800


def demo_butler(folder: Path) -> Butler:
    class InterruptionError(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        raise InterruptionError

    # One dataset is enough.
    with pytest.raises(InterruptionError):
        make_repository(folder / "demo", interrupt)
    return Butler.from_config(str(folder / "demo"))


def test_a_users_matplotlibrc_changes_no_picture(tmp_path: Path) -> None:
    """Neither what is drawn nor how it is saved, here or by the Butler."""
    program = tmp_path / "draw.py"
    program.write_text(
        "import sys, numpy as np\n"
        "from lsst.bgqa import BackgroundModel\n"
        "from lsst.bgqa.plots import plot_background\n"
        f"model = BackgroundModel.read_fits({str(HSC)!r})\n"
        "plot_background(model, 'a_b $c', bin_grid=True).savefig(sys.argv[1])\n"
    )
    for name, text in (
        ("plain", ""),
        (
            "rich",
            "text.usetex: True\nfigure.autolayout: True\nsavefig.dpi: 30\nsavefig.transparent: True\n"
            "image.cmap: jet\nfont.size: 30\nsavefig.bbox: tight\naxes.facecolor: red\n",
        ),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "matplotlibrc").write_text(text)
        done = subprocess.run(
            [sys.executable, str(program), str(tmp_path / f"{name}.png")],
            env=os.environ | {"MATPLOTLIBRC": str(tmp_path / name / "matplotlibrc")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(imread(tmp_path / "plain.png"), imread(tmp_path / "rich.png"))
