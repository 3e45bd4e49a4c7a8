# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""What notebooks show of backgrounds, metrics, verdicts and campaigns."""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
from click.testing import CliRunner
from matplotlib import colormaps
from matplotlib.image import imread

from lsst.bgqa import BackgroundModel, measure_background
from lsst.bgqa.background import Box, Layer, UndersampleStyle
from lsst.bgqa.cli import main
from lsst.bgqa.dashboard import Campaign
from lsst.bgqa.judge import Thresholds, judge_rows
from lsst.bgqa.metrics import make_bundle, to_quantities
from lsst.images import Box as ImageBox
from lsst.images.fields import ChebyshevField
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

HSC = Path(__file__).parent / "data" / "hsc"


def make_layer(values: np.ndarray) -> Layer:
    values = np.asarray(values, dtype=np.float32)
    shape = values.shape
    return Layer(values, np.ones_like(values), np.zeros(shape, dtype=np.int32), Box(0, 0, 400, 200))


def cells(text: str) -> list[list[str]]:
    """Return the texts of all tables' cells, row by row."""
    return [
        [html.unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in re.findall(r"<tr>(.*?)</tr>", text)
    ]


def pixels(text: str) -> np.ndarray:
    """Return the picture in a text, its first row at the bottom."""
    (data,) = re.findall(r"data:image/png;base64,([^\"]*)", text)
    return imread(io.BytesIO(base64.b64decode(data)), format="png")[::-1]


def test_background_has_a_picture_and_its_layers() -> None:
    rising = np.tile(np.arange(8.0), (4, 1))
    text = BackgroundModel((make_layer(rising), make_layer(np.array([[0.5]]))), u.nJy)._repr_html_()
    image = pixels(text)
    assert image.shape[1] == 2 * image.shape[0]
    lowest, highest = (np.array(colormaps["viridis"](end)) for end in (0.0, 1.0))
    np.testing.assert_allclose(image[:, 0], np.broadcast_to(lowest, image[:, 0].shape), atol=0.02)
    np.testing.assert_allclose(image[:, -1], np.broadcast_to(highest, image[:, 0].shape), atol=0.05)
    assert "400x200 at (0, 0)" in text and "nJy" in text
    assert cells(text)[1:] == [
        ["1", "8x4", "0", "interpolation, akima spline", "0", "3.5", "7"],
        ["2", "1x1", "0", "interpolation, akima spline", "0.5", "0.5", "0.5"],
    ]


def test_background_that_cannot_be_evaluated_says_why() -> None:
    layer = replace(make_layer(np.ones((2, 2))), undersample_style=UndersampleStyle.THROW_EXCEPTION)
    text = BackgroundModel((layer,))._repr_html_()
    assert "<img" not in text
    assert "too few" in text
    assert "2x2" in text


def test_layer_shows_its_bins() -> None:
    values = np.arange(6.0).reshape(2, 3)
    values[0, 2] = np.nan
    text = make_layer(values)._repr_html_()
    image = pixels(text)
    assert image.shape[:2] == (2, 3)
    assert image[0, 2, 3] == 0  # transparent
    facts = dict(cells(text)[1:])
    assert (facts["bins"], facts["without value"], facts["greatest bin"]) == ("3x2", "1", "5")


def test_field_of_images_is_shown() -> None:
    field = ChebyshevField(ImageBox.from_shape((20, 30)), np.array([[3.0, 1.0]]), unit=u.nJy)
    background = BackgroundModel.from_images(field)
    assert pixels(background._repr_html_()).shape[:2] == (20, 30)
    assert cells(background._repr_html_())[1][:4] == ["1", "-", "0", "ChebyshevField"]
    assert "<img" not in background.layers[0]._repr_html_()


def test_metrics_are_shown_with_their_verdicts() -> None:
    quantities = to_quantities({"level_median": 7.5, "coverage_finiteFraction": 0.5}, u.adu)
    for shown in (quantities, make_bundle(quantities)):
        limited, whole = shown._repr_html_().split("<details>")
        assert cells(limited)[1:] == [["coverage_finiteFraction", "0.5", "", "✕ fail".replace(" ", "\xa0")]]
        assert ["level_median", "7.5", "adu", ""] in cells(whole)
    real = measure_background(BackgroundModel.read_fits(HSC / "calexpBackground_HSC_HSC-Z_1176_000.fits"))
    assert len(cells(real._repr_html_().split("<details>")[1])) == len(real) + 1


def test_judgement_shows_the_worst_first() -> None:
    judgement = judge_rows(
        ["a<b", "level_mean"],
        np.array([[1.0, 2.0], [9.0, 30.0]]),
        ["", ""],
        Thresholds(high={"a<b": 5.0, "level_mean": 10.0}),
    )
    text = judgement._repr_html_()
    assert "1 pass, 1 fail" in text
    assert [row[:3] for row in cells(text)[1:]] == [["1", "level_mean", "30"], ["1", "a<b", "9"]]


def test_campaign_shows_families_and_the_worst_rows(tmp_path: Path) -> None:
    repo = str(tmp_path / "repo")
    assert CliRunner().invoke(main, ["ingest", repo, str(HSC / "manifest.json")]).exit_code == 0
    pipeline = Pipeline.fromFile("resource://lsst.bgqa/pipelines/backgroundQa.yaml#detector,gatherDetector")
    pipeline.addConfigPython("gatherBackgroundQa", "config.high['level_median'] = 3100.0")
    butler = SimplePipelineExecutor.prep_butler(repo, inputs=["bgqa/ingested"], output="qa")
    SimplePipelineExecutor.from_pipeline(
        pipeline, where="instrument='HSC' AND visit=1176", butler=butler
    ).run(register_dataset_types=True)
    with Campaign(repo, "qa") as campaign:
        assert ["detector", "calexpBackground", "HSC"] in [row[:3] for row in cells(campaign._repr_html_())]
        text = campaign.table("detector")._repr_html_()
        table = campaign.butler.get(
            "calexpBackground_campaign_table", instrument="HSC", collections="qa", storageClass="ArrowAstropy"
        )
    header, *rows = cells(text)
    worst = dict(zip(header, rows[0], strict=True))
    by_severity = table[np.argmax(table["severity"])]
    assert worst["detector"] == str(by_severity["detector"])
    assert worst["fault"] == by_severity["fault"]
    assert worst["verdict"] == "✕\xa0fail"
    assert f"{(table['verdict'] == 'fail').sum()} fail" in text
