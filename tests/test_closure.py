# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import astropy.io.fits
import numpy as np
import numpy.typing as npt
import pytest
from backgrounds import WHOLE_GOLDEN, pixels_of
from hypothesis import given, settings
from hypothesis import strategies as st

from lsst.bgqa import BackgroundError, BackgroundModel
from lsst.bgqa.background import Box, InterpStyle, Layer
from lsst.bgqa.statistics import closure as closure_module
from lsst.bgqa.statistics.closure import ClosureClass, ClosureMap, ClosureResult, compare_coadds
from lsst.bgqa.statistics.quantization import QuantizationSteps, read_quantization

KEPT = Path(__file__).parent / "data" / "coadds"
GOLDEN = WHOLE_GOLDEN / "closure"
MANIFEST = json.loads((KEPT / "manifest.json").read_text())
SHARED_COADD = {"sequential", "tampered"}


@pytest.fixture(scope="module")
def model() -> BackgroundModel:
    return BackgroundModel.read_fits(KEPT / "background.fits")


def read_pixels(path: Path) -> np.ndarray:
    with astropy.io.fits.open(path) as hdus:
        return hdus["IMAGE"].data.astype(np.float32)


def compare_case(folder: Path, case: str, model: BackgroundModel, **kwargs: Any) -> ClosureResult:
    shared = folder == KEPT and case in SHARED_COADD
    before = folder / f"{'identical' if shared else case}_deepCoadd.fits"
    after = folder / f"{case}_deepCoadd_calexp.fits"
    return compare_coadds(
        read_pixels(before),
        read_pixels(after),
        model,
        **{"before_steps": read_quantization(before), "after_steps": read_quantization(after), **kwargs},
    )


def map_of(result: ClosureResult) -> ClosureMap:
    assert result.map is not None
    return result.map


def make_layer(values: npt.ArrayLike, bbox: Box, style: InterpStyle = InterpStyle.AKIMA_SPLINE) -> Layer:
    bins = np.asarray(values, dtype=np.float32)
    return Layer(bins, np.ones_like(bins), np.zeros(bins.shape, dtype=np.int32), bbox, style)


def check_against_manifest(result: ClosureResult, expected: dict[str, int]) -> None:
    assert result.pixel_count == expected["pixel_count"]
    assert result.compared_count == expected["compared"]
    assert result.identical_summed == expected["identical_summed"]
    assert result.identical_sequential == expected["identical_sequential"]
    assert result.counts[ClosureClass.NO_DATA] == expected["both_nan"]
    assert result.counts[ClosureClass.NAN_MISMATCH] == expected.get("one_sided_nan", 0)
    assert result.counts[ClosureClass.IDENTICAL_SUMMED] == expected["identical_summed"]
    if expected.get("everything_wrong"):
        assert result.unexplained_count == expected["compared"]
    else:
        assert result.counts[ClosureClass.UNEXPLAINED_EDGE] == expected.get("tampered_edge", 0)
        assert result.counts[ClosureClass.UNEXPLAINED_INTERIOR] == expected.get("tampered_inside", 0)
    if not expected.get("lossy"):
        assert result.counts[ClosureClass.COMPRESSION] == 0
    faulty = expected.keys() & {"one_sided_nan", "tampered_edge", "everything_wrong"}
    assert result.is_consistent is not bool(faulty)
    assert result.edge_width == (MANIFEST["edge_pixels"], MANIFEST["edge_pixels"])


@pytest.mark.parametrize("case", ["identical", "sequential", "tampered", "compressed"])
def test_classes_agree_with_the_manifest(case: str, model: BackgroundModel) -> None:
    check_against_manifest(compare_case(KEPT, case, model), MANIFEST["cases"][case])


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the whole golden set is not at hand (BGQA_GOLDEN)")
@pytest.mark.parametrize("case", MANIFEST["cases"])
def test_all_golden_classes_agree_with_the_manifest(case: str, model: BackgroundModel) -> None:
    check_against_manifest(compare_case(GOLDEN, case, model), MANIFEST["cases"][case])


def test_sequential_subtraction_explains_every_pixel(model: BackgroundModel) -> None:
    result = compare_case(KEPT, "sequential", model)
    counts = result.counts
    assert counts[ClosureClass.IDENTICAL_SUMMED] + counts[ClosureClass.IDENTICAL_SEQUENTIAL] == 78000
    assert result.metrics()["bitwiseEqualFraction"] == 1
    assert result.metrics()["consistent"] == 1


def test_double_precision_is_rounding(model: BackgroundModel) -> None:
    before = read_pixels(KEPT / "identical_deepCoadd.fits")
    # Nothing is rounded before the end, not even the layers.
    layers = [part.evaluate(np.arange(260.0), np.arange(300.0)) for part in model.parts]
    after = (before.astype(np.float64) - sum(layers)).astype(np.float32)
    result = compare_coadds(before, after, model)
    assert result.counts[ClosureClass.ROUNDING] > 0
    assert result.is_consistent
    metrics = result.metrics()
    assert metrics["bitwiseEqualFraction"] + metrics["roundingExplainedFraction"] == pytest.approx(1)


def test_another_background_explains_nothing(model: BackgroundModel) -> None:
    before = read_pixels(KEPT / "identical_deepCoadd.fits")
    after = before - np.float32(1.01) * model.render() - np.float32(0.001)
    result = compare_coadds(before, after, model)
    assert result.unexplained_count == result.pixel_count
    edge = 2 * 3 * 300 + 2 * 3 * (260 - 6)
    assert result.counts[ClosureClass.UNEXPLAINED_EDGE] == edge


def test_missing_data_is_told_apart(model: BackgroundModel) -> None:
    before = read_pixels(KEPT / "identical_deepCoadd.fits")
    after = read_pixels(KEPT / "identical_deepCoadd_calexp.fits")
    before[:10] = np.nan
    after[:10] = np.inf
    after[20, :7] = np.nan
    before[30, :5] = -np.inf
    result = compare_coadds(before, after, model)
    assert result.counts[ClosureClass.NO_DATA] == 3000
    assert result.counts[ClosureClass.NAN_MISMATCH] == 12
    assert result.compared_count == 78000 - 3012
    assert not result.is_consistent
    assert result.metrics()["nanMismatchCount"] == 12
    assert result.metrics()["consistent"] == 0


def test_background_without_value_does_not_explain_data(model: BackgroundModel) -> None:
    bbox = Box(0, 0, 40, 30)
    nothing = BackgroundModel((make_layer(np.full((5, 5), np.nan), bbox),))
    image = np.ones((30, 40), dtype=np.float32)
    result = compare_coadds(image, image, nothing)
    assert result.unexplained_count == 1200
    assert "maxUlp" not in result.metrics()


def test_nothing_to_compare_leaves_metrics_out(model: BackgroundModel) -> None:
    nothing = np.full((260, 300), np.nan, dtype=np.float32)
    assert compare_coadds(nothing, nothing, model).metrics() == {
        "comparedPixelCount": 0,
        "nanMismatchCount": 0,
    }


def test_quantised_pixels_need_their_steps(model: BackgroundModel) -> None:
    with_steps = compare_case(KEPT, "compressed", model)
    without = compare_case(KEPT, "compressed", model, before_steps=None, after_steps=None)
    assert with_steps.is_consistent
    assert with_steps.metrics()["compressionExplainedFraction"] > 0.99
    assert without.unexplained_count > 77000
    # A deviation beyond the steps is still found.
    before = read_pixels(KEPT / "compressed_deepCoadd.fits")
    after = read_pixels(KEPT / "compressed_deepCoadd_calexp.fits")
    after[100, 100] += 0.07
    steps = [
        read_quantization(KEPT / f"compressed_{name}.fits") for name in ("deepCoadd", "deepCoadd_calexp")
    ]
    result = compare_coadds(before, after, model, before_steps=steps[0], after_steps=steps[1])
    assert result.counts[ClosureClass.UNEXPLAINED_INTERIOR] == 1


def test_metrics_are_those_of_the_residual(model: BackgroundModel) -> None:
    before = read_pixels(KEPT / "identical_deepCoadd.fits")
    after = read_pixels(KEPT / "tampered_deepCoadd_calexp.fits")
    residual = before.astype(np.float64) - after - model.render()
    metrics = compare_coadds(before, after, model).metrics()
    assert metrics["maxAbsResidual"] == np.abs(residual).max()
    assert metrics["rmsResidual"] == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-12)
    assert metrics["maxUlp"] > 1e5
    assert compare_case(KEPT, "identical", model).max_ulp <= 1


def test_blocks_change_nothing(model: BackgroundModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compare_case(KEPT, "tampered", model, map_size=70)
    monkeypatch.setattr(closure_module, "_BLOCK_PIXELS", 2000)
    small = compare_case(KEPT, "tampered", model, map_size=70)
    assert small.counts == whole.counts
    assert small.metrics() == whole.metrics()
    np.testing.assert_array_equal(map_of(small).classes, map_of(whole).classes)
    np.testing.assert_array_equal(map_of(small).residual, map_of(whole).residual)


def test_map_keeps_the_worst_of_each_cell(model: BackgroundModel) -> None:
    before = read_pixels(KEPT / "identical_deepCoadd.fits")
    after = read_pixels(KEPT / "identical_deepCoadd_calexp.fits")
    after[103, 211] -= 2
    after[:8, :8] = before[:8, :8] = np.nan
    closure_map = map_of(compare_coadds(before, after, model, map_size=75))
    assert closure_map.step == 4
    assert closure_map.classes.shape == (65, 75)
    worst = np.argwhere(closure_map.classes == ClosureClass.UNEXPLAINED_INTERIOR)
    assert worst.tolist() == [[103 // 4, 211 // 4]]
    assert closure_map.residual[25, 52] == pytest.approx(2, rel=1e-4)
    assert np.isnan(closure_map.residual[:2, :2]).all()
    assert (closure_map.classes[:2, :2] == ClosureClass.NO_DATA).all()
    assert compare_coadds(before, after, model).map is None


def test_part_of_the_background(model: BackgroundModel) -> None:
    part = Box(3950, 24000, 100, 80)
    before = read_pixels(KEPT / "identical_deepCoadd.fits")[100:180, 50:150]
    after = read_pixels(KEPT / "identical_deepCoadd_calexp.fits")[100:180, 50:150]
    result = compare_coadds(before, after, model, bbox=part)
    assert result.counts[ClosureClass.IDENTICAL_SUMMED] == 8000
    assert result.edge_width == (1, 1)


def test_wrong_shapes_are_refused(model: BackgroundModel) -> None:
    image = np.zeros((260, 300), dtype=np.float32)
    with pytest.raises(BackgroundError, match="subtracted coadd has 300x259 pixels"):
        compare_coadds(image, image[1:], model)
    with pytest.raises(BackgroundError, match="covers"):
        compare_coadds(image, image, model, bbox=Box(0, 0, 300, 260))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.floats(-6, 6),
    st.floats(-6, 6),
    st.sampled_from(["summed", "sequential", "double"]),
)
def test_rounding_is_always_explained_and_more_never(
    seed: int, layers: int, sky: float, signal: float, arithmetic: str
) -> None:
    rng = np.random.default_rng(seed)
    bbox = Box(-7, 900, 48, 40)
    background = BackgroundModel(
        tuple(make_layer(rng.normal(0.3, 1, (6, 7)) * 10**sky, bbox) for _ in range(layers))
    )
    before64 = rng.normal(0, 10**signal, (40, 48))
    before = before64.astype(np.float32)
    pixels = [pixels_of(layer) for layer in background.layers]
    if arithmetic == "summed":
        after = before - background.render()
    elif arithmetic == "sequential":
        after = before.copy()
        for layer in pixels:
            after -= layer
    else:
        y, x = np.arange(40.0), np.arange(48.0)
        exact = background.evaluate(y, x)
        after = (before64 - exact).astype(np.float32)
    result = compare_coadds(before, after, background)
    assert result.is_consistent
    assert sum(result.counts.values()) == bbox.area

    bound = closure_module._rounding_bound(before, after, pixels)
    beyond = (after + 2.5 * bound).astype(np.float32)
    unexplained = compare_coadds(before, beyond, background)
    assert unexplained.unexplained_count == bbox.area


def test_steps_of_each_tile(tmp_path: Path) -> None:
    image = np.random.default_rng(3).normal(0, [[1], [100]] * 25, (50, 60)).astype(np.float32)
    path = tmp_path / "tiles.fits"
    hdu = astropy.io.fits.CompImageHDU(
        image, name="IMAGE", compression_type="RICE_1", tile_shape=(1, 20), quantize_level=8, dither_seed=7
    )
    astropy.io.fits.HDUList([astropy.io.fits.PrimaryHDU(), hdu]).writeto(path)
    steps = read_quantization(path)
    assert steps is not None
    assert steps.steps.shape == (50, 3)
    rows, columns = np.mgrid[:50, :60]
    of_pixels = steps.at(rows, columns)
    moved = np.abs(read_pixels(path).astype(np.float64) - image)
    assert (moved <= 0.5 * of_pixels + np.spacing(np.abs(image))).all()
    assert (moved > 0.3 * of_pixels).any(axis=1).all()
    assert steps.largest == of_pixels.max()


def test_steps_of_scaled_integers(tmp_path: Path) -> None:
    hdu = astropy.io.fits.ImageHDU(np.arange(12, dtype=np.int16).reshape(3, 4), name="IMAGE")
    hdu.header["BSCALE"] = 0.25
    path = tmp_path / "integers.fits"
    astropy.io.fits.HDUList([astropy.io.fits.PrimaryHDU(), hdu]).writeto(path)
    steps = read_quantization(path)
    assert steps is not None
    assert steps.at(np.array([2]), np.array([3])).tolist() == [0.25]


def test_lossless_files_have_no_steps(tmp_path: Path) -> None:
    assert read_quantization(KEPT / "identical_deepCoadd.fits") is None
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    path = tmp_path / "lossless.fits"
    hdu = astropy.io.fits.CompImageHDU(image, name="IMAGE", compression_type="GZIP_2", quantize_level=0)
    astropy.io.fits.HDUList([astropy.io.fits.PrimaryHDU(), hdu]).writeto(path)
    assert read_quantization(path) is None
    alone = tmp_path / "image.fits"
    astropy.io.fits.PrimaryHDU(image).writeto(alone)
    assert read_quantization(alone) is None


def test_what_is_no_fits_file_is_one_kind_of_error(tmp_path: Path) -> None:
    path = tmp_path / "text.fits"
    path.write_text("not FITS")
    with pytest.raises(BackgroundError, match=r"text\.fits: its quantisation cannot be read"):
        read_quantization(path)
    with pytest.raises(BackgroundError, match="absent"):
        read_quantization(tmp_path / "absent.fits")


@pytest.mark.slow
def test_memory_of_a_whole_patch() -> None:
    bbox = Box(3900, 23900, 4200, 4200)
    rng = np.random.default_rng(5)
    background = BackgroundModel(
        (make_layer(rng.normal(0, 1, (33, 33)), bbox), make_layer([[0.1]], bbox, InterpStyle.CONSTANT))
    )
    before = rng.standard_normal((4200, 4200), dtype=np.float32)
    after = before - background.render() + np.float32(1)
    steps = QuantizationSteps(np.full((4200, 1), 0.01), (1, 4200))
    tracemalloc.start()
    try:
        # Nothing is identical, so every pixel is looked at closely.
        result = compare_coadds(
            before, after, background, before_steps=steps, after_steps=steps, map_size=700
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.unexplained_count == bbox.area
    assert peak < 32 * 2**20
