# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from click.testing import CliRunner
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
)
from lsst.bgqa.plots._sampling import average_image, sample_background
from lsst.bgqa.residual import ResidualSky, SkyImage, measure_residual_sky
from lsst.bgqa.standalone._exposure import read_exposure
from lsst.bgqa.statistics.closure import ClosureClass, compare_coadds
from lsst.images import Box as ImageBox
from lsst.images.fields import ChebyshevField

RESIDUAL = Path(__file__).parent / "data" / "residual"
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
    assert "1 bins without a value" in texts_of(figure)
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
    assert figure.get_suptitle() == "here\npretty, \\$flat less object, which was subtracted"
    assert "pretty\nmedian -2, rms 2.08, up to ±2.98 nJy" in texts_of(figure)
    images = [image for axes in figure.axes for image in axes.images]
    assert [image.get_clim() for image in images] == [(-limit, limit) for limit in [2 + 59 / 60] * 2]
    alone = plot_differences({"pretty": models["pretty"]}, "here")
    assert "less the background judged" in alone.get_suptitle()
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
    import subprocess
    import sys

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


# --- The sky that is left --------------------------------------------------


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
