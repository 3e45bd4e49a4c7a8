# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Broken files: whatever the bytes, a background or a `BackgroundError`."""

from __future__ import annotations

import gzip
import io
import time
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from backgrounds import chebyshev_layer, make_layer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsst.bgqa import BackgroundError, BackgroundModel
from lsst.bgqa.background import Box

NAME = "broken.fits"
CARD, BLOCK = 80, 2880
MAX_MEMORY = 64 << 20
MAX_SECONDS = 5.0


@cache
def content(kind: str = "one") -> bytes:
    """Return the bytes of a good file."""
    box = Box(-7, 12, 90, 80)
    rng = np.random.default_rng(4)
    spline = make_layer(rng.normal(100, 3, (6, 7)), box, mask_planes={"BAD": 0, "DETECTED": 5})
    fit = chebyshev_layer(rng.normal(100, 3, (5, 8)), box, 2)
    layers = {"one": (spline,), "fit": (fit,), "three": (spline, fit, make_layer([[3]], box))}[kind]
    return BackgroundModel(layers).to_bytes()


def edited(change: Callable[[fits.HDUList], Any], kind: str = "one") -> bytes:
    """Return a good file's bytes after a change by astropy."""
    with fits.open(io.BytesIO(content(kind))) as opened:
        hdus = fits.HDUList([hdu.copy() for hdu in opened])
    change(hdus)
    out = io.BytesIO()
    hdus.writeto(out, output_verify="ignore")
    return out.getvalue()


def with_card(key: str, card: str, hdu: int = 0, kind: str = "one") -> bytes:
    """Put a card in the place of another, whatever it makes of the file."""
    data = content(kind)
    with fits.open(io.BytesIO(data)) as hdus:
        start = hdus[hdu].fileinfo()["hdrLoc"]
        stop = hdus[hdu].fileinfo()["datLoc"]
    for at in range(start, stop, CARD):
        text = data[at : at + CARD].decode()
        if text.removeprefix("HIERARCH ").split("=")[0].strip() == key:
            return data[:at] + card.encode().ljust(CARD)[:CARD] + data[at + CARD :]
    raise KeyError(key)


def attempt(data: bytes) -> BackgroundModel | BackgroundError:
    """Read, and return what came of it; anything but two outcomes fails."""
    begun = time.process_time()
    result = _outcome(data)
    assert time.process_time() - begun < MAX_SECONDS
    return result


def _outcome(data: bytes) -> BackgroundModel | BackgroundError:
    try:
        model = BackgroundModel.from_bytes(data, NAME)
    except BackgroundError as error:
        message = str(error)
        assert message.startswith(f"{NAME}: ")
        assert "\n" not in message
        assert len(message) > len(NAME) + 5
        return error
    assert model.layers
    for layer in model.grids:
        assert layer.values.shape == layer.mask.shape == layer.standard_error.shape
        assert layer.values.dtype == layer.standard_error.dtype == np.float32
        assert layer.mask.dtype == np.int32
        assert layer.values.nbytes <= 2 * len(data)
        assert 0 < layer.bbox.area < 2**31
    return model


def fault(data: bytes) -> str:
    tracemalloc.start()
    try:
        result = attempt(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MAX_MEMORY
    assert isinstance(result, BackgroundError)
    return str(result)


@pytest.mark.parametrize("kind", ["one", "fit", "three"])
def test_good_files_are_good(kind: str) -> None:
    model = attempt(content(kind))
    assert isinstance(model, BackgroundModel)
    assert np.isfinite(model.render()).all()
    assert len(model.layers) == (3 if kind == "three" else 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 20000,
        b"not a background\n" * 2000,
        b"SIMPLE",
        b"SIMPLE  =                    T",
        b"SIMPLE  =                    T".ljust(BLOCK),
        b"SIMPLE  =                    F".ljust(CARD) + b"END".ljust(BLOCK - CARD),
        gzip.compress(content()),
        b"PK\x03\x04" + content(),
        content()[1:],
        content().replace(b"SIMPLE  =", b"simple  ="),
        content()[::-1],
        b"%PDF-1.7\n" + bytes(range(256)) * 50,
    ],
    ids=range(13),
)
def test_other_bytes_are_refused(data: bytes) -> None:
    fault(data)


def test_compressed_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"SIMPLE  =                    T".ljust(1 << 28), 1)
    assert "gunzip it first" in fault(bomb)


def test_a_file_that_gzip_compressed_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "calexpBackground.fits.gz"
    path.write_bytes(gzip.compress(content()))
    with pytest.raises(
        BackgroundError, match=r"calexpBackground\.fits\.gz: is compressed .* by gzip.*gunzip it first"
    ):
        BackgroundModel.read_fits(path)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_hdus_come_in_threes(count: int) -> None:
    message = fault(edited(lambda hdus: hdus.__delitem__(slice(count, None)), "three"))
    assert f"has {count} HDUs, but a background has three a layer" in message


def test_other_fits_files_are_refused() -> None:
    out = io.BytesIO()
    image = fits.ImageHDU(np.zeros((9, 9), np.float32))
    fits.HDUList([fits.PrimaryHDU(), image, image]).writeto(out)
    assert "HDU 0" in fault(out.getvalue())


def test_three_images_are_not_a_background() -> None:
    out = io.BytesIO()
    image = np.zeros((9, 9), np.int32)
    fits.HDUList([fits.PrimaryHDU(image), fits.ImageHDU(image), fits.ImageHDU(image)]).writeto(out)
    assert "HDU 0 (image of layer 1): keyword " in fault(out.getvalue())


def test_what_follows_must_be_an_hdu() -> None:
    assert isinstance(attempt(content() + bytes(BLOCK)), BackgroundModel)
    for rest in (b"x" * 5000, content(), b"XTENSION= 'IMAGE   '".ljust(BLOCK)):
        assert "HDU 3" in fault(content() + rest)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("shape", [(7, 6), (6, 8), (1, 1), (2, 6, 7), (42,), ()])
def test_grids_of_other_shapes_are_refused(number: int, shape: tuple[int, ...]) -> None:
    def reshape(hdus: fits.HDUList) -> None:
        hdus[number].data = np.ones(shape, hdus[number].data.dtype) if shape else None

    message = fault(edited(reshape))
    assert "shape" in message or "two-dimensional" in message
    # Of image and mask that differ, it is the mask that does not fit.
    assert f"HDU {number}" in message or (number == 0 and "HDU 1" in message)


@pytest.mark.parametrize(
    "key", ["BKGD_X0", "BKGD_Y0", "BKGD_WIDTH", "BKGD_HEIGHT", "INTERPSTYLE", "UNDERSAMPLESTYLE"]
)
@pytest.mark.parametrize("layer", [0, 2])
def test_missing_keywords_are_named(key: str, layer: int) -> None:
    message = fault(edited(lambda hdus: hdus[3 * layer].header.remove(key), "three"))
    assert f"HDU {3 * layer} (image of layer {layer + 1}): keyword {key} is missing" in message


@pytest.mark.parametrize("key", ["APPROXORDERX", "APPROXORDERY", "APPROXWEIGHTING"])
def test_missing_fit_keywords_have_defaults(key: str) -> None:
    model = attempt(edited(lambda hdus: hdus[0].header.remove(key)))
    assert isinstance(model, BackgroundModel)


@pytest.mark.parametrize("key", ["BKGD_X0", "BKGD_WIDTH", "INTERPSTYLE", "APPROXSTYLE"])
@pytest.mark.parametrize("value", ["12.5", "'many'", "T", "1E9", "(1, 2)", "2147483648", "9" * 40])
def test_keywords_that_are_no_integers_are_named(key: str, value: str) -> None:
    message = fault(with_card(key, f"HIERARCH {key} = {value}"))
    assert f"HDU 0 (image of layer 1): keyword {key} is " in message


@pytest.mark.parametrize(
    ("key", "codes"),
    [("INTERPSTYLE", [-1, 4, 6, 99]), ("UNDERSAMPLESTYLE", [-1, 3]), ("APPROXSTYLE", [-2, 1, 7])],
)
def test_unknown_styles_are_named(key: str, codes: list[int]) -> None:
    for code in codes:
        message = fault(edited(lambda hdus, code=code: hdus[0].header.set(key, code)))
        assert f"HDU 0 (image of layer 1): keyword {key} is {code}; supported: " in message


@pytest.mark.parametrize("order", [-3, 33, 5000, 2**31 - 1])
def test_absurd_orders_are_refused(order: int) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus[0].header["APPROXORDERX"] = hdus[0].header["APPROXORDERY"] = order

    assert "HDU 0 (image of layer 1): orders" in fault(edited(change, "fit"))


@pytest.mark.parametrize(
    ("width", "height", "reason"),
    [
        (2**31, 80, "BKGD_WIDTH is 2147483648, beyond 32 bits"),
        (2**31 - 1, 80, "pixels, more than 2147483647"),
        (46341, 46341, "pixels, more than 2147483647"),
        (90, 2**40, "BKGD_HEIGHT"),
        (0, 80, "is empty"),
        (90, -80, "is empty"),
        (6, 80, "7x6 bins are more than the pixels of its box"),
        (90, 5, "7x6 bins are more than the pixels of its box"),
    ],
)
def test_absurd_boxes_are_refused(width: int, height: int, reason: str) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus[0].header["BKGD_WIDTH"], hdus[0].header["BKGD_HEIGHT"] = width, height

    message = fault(edited(change))
    assert "HDU 0 (image of layer 1): " in message
    assert reason in message


def test_largest_box_is_read_and_not_rendered() -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus[0].header["BKGD_WIDTH"], hdus[0].header["BKGD_HEIGHT"] = 46340, 46340

    model = attempt(edited(change))
    assert isinstance(model, BackgroundModel)
    assert model.render(Box(20000, 20000, 3, 2)).shape == (2, 3)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("NAXIS1", 2**31),
        ("NAXIS2", 10**12),
        ("NAXIS1", 2**62),
        ("NAXIS1", 10**30),
        ("NAXIS1", -7),
        ("NAXIS1", 0),
        ("NAXIS", 999),
        ("NAXIS", -2),
        ("NAXIS", 10**18),
        ("BITPIX", 7),
        ("BITPIX", 0),
        ("BITPIX", 10**12),
    ],
)
def test_absurd_sizes_are_refused(number: int, key: str, value: int) -> None:
    fault(with_card(key, f"{key:8}= {value:>20}", number))


@pytest.mark.parametrize(("key", "value"), [("GCOUNT", 10**11), ("PCOUNT", 10**11)])
def test_absurd_counts_are_refused(key: str, value: int) -> None:
    fault(with_card(key, f"{key:8}= {value:>20}", 1))


def test_huge_header_is_bounded() -> None:
    data = content()
    card = b"COMMENT".ljust(CARD)
    fault(data[: 5 * CARD] + card * 36 * 300)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mask_must_be_integers(dtype: type) -> None:
    message = fault(edited(lambda hdus: setattr(hdus[1], "data", hdus[1].data.astype(dtype))))
    assert "HDU 1 (mask of layer 1): " in message
    assert "not integers" in message


def test_mask_planes_must_be_numbers() -> None:
    message = fault(edited(lambda hdus: hdus[1].header.set("MP_BAD", "first")))
    assert "HDU 1 (mask of layer 1): keyword MP_BAD is 'first', not an integer" in message


@pytest.mark.parametrize("number", [1, 2])
def test_tables_and_compressed_images_are_refused(number: int) -> None:
    grid = np.zeros((6, 7), np.int32)
    for other in (
        fits.CompImageHDU(grid, compression_type="RICE_1"),
        fits.CompImageHDU(grid.astype(np.float32), compression_type="GZIP_1"),
        fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(3))]),
        fits.TableHDU.from_columns([fits.Column("a", "I5", array=np.arange(3), ascii=True)]),
    ):
        message = fault(edited(lambda hdus, other=other: hdus.__setitem__(number, other)))
        assert f"HDU {number}" in message
        assert "is not an image" in message


def test_layers_must_cover_one_box() -> None:
    message = fault(edited(lambda hdus: hdus[6].header.set("BKGD_X0", 3), "three"))
    assert "layer 3 covers" in message


@pytest.mark.parametrize("kind", ["one", "three"])
def test_cut_files_are_refused(kind: str) -> None:
    data = content(kind)
    whole_layers = {len(content("one"))} if kind == "three" else set()
    cuts = {*range(0, len(data), 499), *range(0, len(data), BLOCK), len(data) - 1, len(data) - BLOCK + 1}
    for size in sorted(cuts - whole_layers):
        if kind == "three" and size % len(content("one")) == 0:
            # What is left is a good file of fewer layers.
            continue
        assert isinstance(attempt(data[:size]), BackgroundError), size


def test_cut_is_named() -> None:
    data = content()
    with fits.open(io.BytesIO(data)) as hdus:
        places = [hdu.fileinfo()["datLoc"] for hdu in hdus]
    for number, place in enumerate(places):
        message = fault(data[: place + 10])
        assert f"HDU {number}" in message
        assert "truncated" in message


def test_missing_file_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "nothing.fits")
    with pytest.raises(BackgroundError, match="cannot be read") as caught:
        BackgroundModel.read_fits(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["", "/", "resource://lsst.bgqa/nothing", "nonsense://host/file.fits"])
def test_other_places_are_refused(uri: str) -> None:
    with pytest.raises(BackgroundError) as caught:
        BackgroundModel.read_fits(uri)
    assert "\n" not in str(caught.value)


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackgroundError, match="cannot be read"):
        BackgroundModel.read_fits(str(tmp_path))


def test_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.fits"
    path.write_bytes(content()[:-BLOCK])
    with pytest.raises(BackgroundError) as caught:
        BackgroundModel.read_fits(str(path))
    assert str(caught.value).startswith(f"{path}: HDU 2")


# Whatever the bytes

KINDS = st.sampled_from(["one", "fit", "three"])
KEYS = [
    *("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "EXTEND", "PCOUNT", "GCOUNT"),
    *("BSCALE", "BZERO", "BLANK", "GROUPS", "TFIELDS", "ZIMAGE", "ZCMPTYPE", "THEAP", "CONTINUE", "END"),
    *("INTERPSTYLE", "UNDERSAMPLESTYLE", "APPROXSTYLE", "APPROXORDERX", "APPROXORDERY", "APPROXWEIGHTING"),
    *("BKGD_X0", "BKGD_Y0", "BKGD_WIDTH", "BKGD_HEIGHT", "MP_BAD", "COMMENT", "HIERARCH", ""),
]
VALUES = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-40, 200).map(str),
    st.floats(width=64).map(str),
    st.sampled_from(
        ["T", "F", "", "'BINTABLE'", "'IMAGE   '", "''", "'", "(1,2)", "1D5", "0x10", "NAN", "'&'", "/"]
    ),
    st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=20),
)
CARDS = st.builds(
    lambda key, equals, value: f"{key}{equals}{value}",
    st.sampled_from([*KEYS, *(f"HIERARCH {key}" for key in KEYS[20:30])]).map(lambda key: f"{key:8}"),
    st.sampled_from(["= ", "=", "  ", "==", " = "]),
    VALUES,
).map(lambda card: card.encode("latin-1").ljust(CARD)[:CARD])
PASTES = ["cut", "remove", "insert", "repeat", "zero"]
POSITIONS = st.integers(0, 2**31)

# Together more than 2,000 files.
many = settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def cards_of(data: bytes) -> list[int]:
    """Return where header cards are."""
    places = []
    with fits.open(io.BytesIO(data)) as hdus:
        for hdu in hdus:
            places += list(range(hdu.fileinfo()["hdrLoc"], hdu.fileinfo()["datLoc"], CARD))
    return [at for at in places if data[at : at + CARD].strip()]


@cache
def good_cards(kind: str) -> list[int]:
    return cards_of(content(kind))


@many
@given(KINDS, st.lists(st.tuples(POSITIONS, st.integers(1, 255), st.booleans()), min_size=1, max_size=12))
def test_flipped_bytes(kind: str, flips: list[tuple[int, int, bool]]) -> None:
    data = bytearray(content(kind))
    places = good_cards(kind)
    for position, flip, in_header in flips:
        at = places[position % len(places)] + position // 7 % CARD if in_header else position % len(data)
        data[at] ^= flip
    attempt(bytes(data))


@many
@given(KINDS, st.lists(st.tuples(POSITIONS, CARDS, st.booleans()), min_size=1, max_size=4))
def test_edited_cards(kind: str, edits: list[tuple[int, bytes, bool]]) -> None:
    data = content(kind)
    places = good_cards(kind)
    for position, card, same_key in edits:
        at = places[position % len(places)]
        if same_key:
            # Only the value changes, whatever the keyword is.
            old = data[at : at + CARD]
            equals = old.find(b"=")
            card = old[: equals + 2] + card[10:].ljust(CARD) if equals > 0 else card
        data = data[:at] + card[:CARD] + data[at + CARD :]
    attempt(data)


@many
@given(KINDS, POSITIONS, POSITIONS, st.sampled_from(PASTES), st.binary())
def test_cut_and_pasted_bytes(kind: str, one: int, two: int, how: str, other: bytes) -> None:
    data = content(kind)
    start, stop = sorted((one % (len(data) + 1), two % (len(data) + 1)))
    attempt(
        {
            "cut": data[:start],
            "remove": data[:start] + data[stop:],
            "insert": data[:start] + other + data[start:],
            "repeat": data[:stop] + data[start:],
            "zero": data[:start] + bytes(stop - start) + data[stop:],
        }[how]
    )


@cache
def pieces(kind: str) -> list[bytes]:
    """Return headers and data of all HDUs, apart."""
    data = content(kind)
    with fits.open(io.BytesIO(data)) as hdus:
        info = [hdu.fileinfo() for hdu in hdus]
    parts = []
    for place in info:
        middle, end = place["datLoc"], place["datLoc"] + place["datSpan"]
        parts += [data[place["hdrLoc"] : middle], data[middle:end]]
    return parts


PIECES = [piece for kind in ("one", "fit", "three") for piece in pieces(kind)]


@many
@given(st.lists(st.tuples(st.sampled_from(PIECES), st.booleans()), max_size=9), st.booleans(), st.booleans())
def test_shuffled_hdus(parts: list[tuple[bytes, bool]], as_pairs: bool, primary: bool) -> None:
    data = b""
    for piece, keep in parts:
        data += piece if keep or not as_pairs else PIECES[PIECES.index(piece) | 1]
    if primary:
        data = content()[: BLOCK * (len(pieces("one")[0]) // BLOCK)] + data
    attempt(data)
