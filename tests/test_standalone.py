# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The stack's dataset types without the stack, through a real Butler."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits

from lsst.bgqa import BackgroundModel, stack, standalone
from lsst.bgqa.background import Box, InterpStyle, Layer
from lsst.bgqa.metrics import make_bundle
from lsst.daf.butler import Butler, DatasetRef, DatasetType, FileDataset
from lsst.images import Box as ImageBox
from lsst.images import Image, Mask, MaskedImage, MaskPlane, MaskSchema

EXPOSURE = Path(__file__).parent / "data" / "exposure" / "compressed.fits"
ID = {"instrument": "Cam", "detector": 1}

standalone_only = pytest.mark.skipif(stack.have_stack(), reason="lsst.afw's own formatters are used")


@pytest.fixture
def butler(tmp_path: Path) -> Iterator[Butler]:
    Butler.makeRepo(str(tmp_path / "repo"))
    with Butler.from_config(str(tmp_path / "repo"), run="run", writeable=True) as butler:
        butler.registry.insertDimensionData("instrument", {"name": "Cam"})
        butler.registry.insertDimensionData("detector", {"instrument": "Cam", "id": 1, "full_name": "one"})
        for storage_class in ("Background", "ExposureF", "MetricMeasurementBundle", "Plot"):
            butler.registry.registerDatasetType(
                DatasetType(
                    storage_class, ("instrument", "detector"), storage_class, universe=butler.dimensions
                )
            )
        yield butler


def ingest(butler: Butler, path: Path, name: str) -> DatasetRef:
    data_id = butler.registry.expandDataId(ID)
    ref = DatasetRef(butler.get_dataset_type(name), data_id, run="run")
    butler.ingest(FileDataset(path=str(path), refs=ref), transfer="copy")
    return ref


@pytest.fixture
def masked_image() -> MaskedImage:
    rng = np.random.default_rng(3)
    bbox = ImageBox.from_shape((30, 40), start=(-7, 2000))
    mask = Mask(
        0,
        schema=MaskSchema([MaskPlane(name, name) for name in ("BAD", "NO_DATA", "MY_OWN_PLANE")]),
        bbox=bbox,
    )
    for name in ("BAD", "MY_OWN_PLANE"):
        mask.set(name, rng.random((30, 40)) < 0.2)
    pixels = rng.normal(size=(30, 40)).astype(np.float32)
    pixels[3, 4] = np.nan
    variance = rng.random((30, 40)).astype(np.float32)
    return MaskedImage(
        Image(pixels, bbox=bbox, unit=u.nJy), mask=mask, variance=Image(variance, bbox=bbox, unit=u.nJy**2)
    )


@standalone_only
def test_background_is_stored_in_the_format_of_afw(butler: Butler, tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    layer = Layer(values, np.ones_like(values), np.zeros((3, 4), dtype=np.int32), Box(5, -8, 90, 70))
    ref = butler.put(BackgroundModel((layer,)), "Background", ID)

    uri = butler.getURI(ref)
    assert uri.getExtension() == ".fits"
    with fits.open(uri.ospath) as hdus:
        assert len(hdus) == 3
        assert hdus[0].header["BKGD_X0"] == 5
        assert hdus[0].header["INTERPSTYLE"] == InterpStyle.AKIMA_SPLINE
    background = butler.get(ref)
    assert isinstance(background, BackgroundModel)
    np.testing.assert_array_equal(background.render(), BackgroundModel((layer,)).render())


@standalone_only
def test_broken_background_names_the_file(butler: Butler, tmp_path: Path) -> None:
    path = tmp_path / "broken.fits"
    path.write_bytes(b"SIMPLE  = nonsense")
    ref = ingest(butler, path, "Background")
    with pytest.raises(Exception, match="its header has no end") as caught:
        butler.get(ref)
    assert str(butler.getURI(ref).ospath) in str(caught.value)


@standalone_only
def test_exposure_of_afw_is_read_with_its_components(butler: Butler) -> None:
    ref = ingest(butler, EXPOSURE, "ExposureF")
    with fits.open(EXPOSURE) as hdus:
        image, bits, variance = (hdus[i].data for i in (1, 2, 3))
        planes = {key[3:]: bit for key, bit in hdus[2].header.items() if key.startswith("MP_")}

    exposure = butler.get(ref)

    assert isinstance(exposure, MaskedImage)
    assert exposure.bbox.start == (23900, 3900)
    np.testing.assert_array_equal(exposure.image.array, image)
    np.testing.assert_array_equal(exposure.variance.array, variance)
    assert set(exposure.mask.schema.names) == set(planes)
    for name, bit in planes.items():
        np.testing.assert_array_equal(exposure.mask.get(name), (bits & (1 << bit)) != 0)
    for component in ("image", "mask", "variance"):
        part = butler.get(ref.makeComponentRef(component))
        np.testing.assert_array_equal(part.array, getattr(exposure, component).array)
        assert part.bbox == exposure.bbox


@standalone_only
def test_subimage_is_read(butler: Butler) -> None:
    ref = ingest(butler, EXPOSURE, "ExposureF")
    whole = butler.get(ref).image
    box = ImageBox.from_shape((20, 10), start=(23950, 3910))
    for bbox in (box, Box(3910, 23950, 10, 20)):
        part = butler.get(ref.makeComponentRef("image"), parameters={"bbox": bbox})
        assert part.bbox == box
        np.testing.assert_array_equal(part.array, whole[box].array)
    assert butler.get(ref, parameters={"bbox": box}).bbox == box


@standalone_only
def test_component_that_needs_afw_says_so(butler: Butler) -> None:
    ref = ingest(butler, EXPOSURE, "ExposureF")
    with pytest.raises(Exception, match=r"component 'psf' of an exposure needs lsst\.afw"):
        butler.get(ref.makeComponentRef("psf"))


@standalone_only
def test_exposure_is_written_as_afw_reads_it(butler: Butler, masked_image: MaskedImage) -> None:
    ref = butler.put(masked_image, "ExposureF", ID)

    with fits.open(butler.getURI(ref).ospath) as hdus:
        assert [hdu.header.get("EXTTYPE") for hdu in hdus] == [None, "IMAGE", "MASK", "VARIANCE"]
        assert hdus[0].data is None
        # With version 2 and without AR_HDU, afw looks for no archive.
        assert hdus[0].header["EXPINFO_V"] == 2
        assert "AR_HDU" not in hdus[0].header
        assert [hdu.data.dtype.kind + str(hdu.data.dtype.itemsize) for hdu in hdus[1:]] == ["f4", "i4", "f4"]
        for hdu in hdus[1:]:
            header = hdu.header
            assert (header["LTV1"], header["LTV2"]) == (-2000, 7)
            assert (header["CRVAL1A"], header["CRVAL2A"], header["CRPIX1A"]) == (2000, -7, 1)
            assert header["INHERIT"] is True
        bit = hdus[2].header["MP_MY_OWN_PLANE"]
        np.testing.assert_array_equal((hdus[2].data >> bit) & 1, masked_image.mask.get("MY_OWN_PLANE"))
        np.testing.assert_array_equal(hdus[1].data, masked_image.image.array)
    again = butler.get(ref)
    assert again.bbox == masked_image.bbox
    np.testing.assert_array_equal(again.image.array, masked_image.image.array)
    np.testing.assert_array_equal(again.variance.array, masked_image.variance.array)
    for name in masked_image.mask.schema.names:
        np.testing.assert_array_equal(again.mask.get(name), masked_image.mask.get(name))


@standalone_only
def test_more_mask_planes_than_afw_has_are_refused(masked_image: MaskedImage, tmp_path: Path) -> None:
    from lsst.bgqa.standalone._exposure import write_exposure

    mask = masked_image.mask.add_planes([MaskPlane(f"P{i}", "") for i in range(30)])
    image = MaskedImage(masked_image.image, mask=mask, variance=masked_image.variance)
    with pytest.raises(ValueError, match="33 planes"):
        write_exposure(image, str(tmp_path / "image.fits"))


def test_exposure_opens_in_afw(masked_image: MaskedImage, tmp_path: Path) -> None:
    afw_image: Any = pytest.importorskip("lsst.afw.image")
    from lsst.bgqa.standalone._exposure import write_exposure

    write_exposure(masked_image, str(tmp_path / "image.fits"))
    exposure = afw_image.ExposureF(str(tmp_path / "image.fits"))
    np.testing.assert_array_equal(exposure.image.array, masked_image.image.array)
    assert (exposure.getX0(), exposure.getY0()) == (2000, -7)
    bit = exposure.mask.getPlaneBitMask("MY_OWN_PLANE")
    np.testing.assert_array_equal((exposure.mask.array & bit) != 0, masked_image.mask.get("MY_OWN_PLANE"))


def test_bundle_is_stored_as_json(butler: Butler) -> None:
    bundle = make_bundle({"level_median": 3.5 * u.adu})
    ref = butler.put(bundle, "MetricMeasurementBundle", ID)
    assert butler.getURI(ref).getExtension() == ".json"
    assert butler.get(ref)["level"][0].quantity == 3.5 * u.adu


def test_plot_is_stored(butler: Butler) -> None:
    from matplotlib.figure import Figure

    ref = butler.put(Figure(figsize=(1, 1)), "Plot", ID)
    assert butler.getURI(ref).read()[:4] == b"\x89PNG"


def test_search_path_is_prepended_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "have_stack", lambda: False)
    monkeypatch.setattr("lsst.bgqa.standalone._environment.is_faulty", lambda: False)
    folder = str(standalone.CONFIG_FOLDER)
    assert standalone.environment({}) == {"DAF_BUTLER_CONFIG_PATH": folder}
    once = standalone.environment({"DAF_BUTLER_CONFIG_PATH": "/mine"})
    assert once == {"DAF_BUTLER_CONFIG_PATH": f"{folder}{os.pathsep}/mine"}
    assert standalone.environment(once) == once


@pytest.mark.parametrize("missing", ["lsst.afw", "lsst.obs.base", "lsst.analysis.tools"])
def test_part_of_the_stack_is_not_enough(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a formatter for it, afw's type is of no use to a Butler."""
    packages = {"lsst.afw", "lsst.obs.base", "lsst.analysis.tools"}

    def find_spec(name: str) -> object:
        if name == missing == "lsst.obs.base":
            raise ModuleNotFoundError("No module named 'lsst.obs'")
        return None if name == missing or name not in packages else object()

    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    try:
        for function in (stack.have_afw, stack.have_stack, stack.metric_bundle_type):
            function.cache_clear()
        assert stack.have_afw() is (missing != "lsst.afw")
        assert standalone.is_needed()
        assert stack.metric_bundle_type() is None
        packages.add(missing)
        missing = "nothing"
        stack.have_stack.cache_clear()
        assert not standalone.is_needed()
    finally:
        for function in (stack.have_afw, stack.have_stack, stack.metric_bundle_type):
            function.cache_clear()


def test_nothing_is_set_where_the_stack_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "have_stack", lambda: True)
    monkeypatch.setattr("lsst.bgqa.standalone._environment.is_faulty", lambda: False)
    monkeypatch.setenv("DAF_BUTLER_CONFIG_PATH", "/mine")
    assert standalone.environment() == {}
    standalone.activate()
    assert os.environ["DAF_BUTLER_CONFIG_PATH"] == "/mine"
