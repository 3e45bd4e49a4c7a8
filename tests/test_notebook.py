# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The notebook runs, and what it shows of the demo is what was put in."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path

import nbformat
import numpy as np
import pytest
from matplotlib.image import imread
from nbclient import NotebookClient
from nbformat import NotebookNode

from lsst.bgqa import stack
from lsst.bgqa.standalone.demo import DETECTORS, FILTERS, INPUT_RUN, VISITS, make_repository, visit_background
from lsst.daf.butler import Butler, CollectionType
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

NOTEBOOK = Path(__file__).parents[1] / "doc" / "notebooks" / "backgrounds.ipynb"

no_stack = pytest.mark.skipif(
    stack.have_stack(), reason="the demo's repository is made with the standalone types"
)


def run(notebook: NotebookNode, folder: Path) -> dict[str, list[NotebookNode]]:
    """Execute a notebook in a folder, and return the outputs by cell."""
    folder.mkdir(parents=True)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def text(outputs: list[NotebookNode]) -> str:
    """Return what a cell printed, or the text of what it shows."""
    return "".join(
        output.text if output.output_type == "stream" else output.data.get("text/plain", "")
        for output in outputs
    )


def markup(outputs: list[NotebookNode]) -> str:
    return "".join(output.data["text/html"] for output in outputs)


def picture(outputs: list[NotebookNode]) -> np.ndarray:
    (data,) = (output.data["image/png"] for output in outputs if "image/png" in output.get("data", {}))
    return imread(io.BytesIO(base64.b64decode(data)), format="png")


def numbers(printed: str) -> Mapping[str, list[float]]:
    """Return the numbers of each line, by the word that it begins with."""
    return {
        line.split()[0]: [float(number) for number in re.findall(r"-?\d+\.?\d*", line.partition(" ")[2])]
        for line in printed.splitlines()
        if line.split()
    }


def test_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), cell.id


@pytest.mark.slow
@no_stack
def test_notebook_shows_what_is_in_the_demo(tmp_path: Path) -> None:
    make_repository(tmp_path / "demo")
    pipeline = Pipeline.fromFile("resource://lsst.bgqa/pipelines/backgroundQa.yaml#detector,gatherDetector")
    butler = SimplePipelineExecutor.prep_butler(
        str(tmp_path / "demo"), inputs=[INPUT_RUN], output="demo/backgroundQa"
    )
    SimplePipelineExecutor.from_pipeline(pipeline, where="instrument='DemoCam'", butler=butler).run(
        register_dataset_types=True
    )
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    shown = run(notebook, tmp_path / "doc" / "notebooks")

    types = {line.split()[0] for line in text(shown["browse"]).splitlines()}
    assert types == {
        *("calexp", "calexpBackground"),
        *("deepCoadd", "deepCoadd_calexp", "deepCoadd_calexp_background"),
    }
    pixels = visit_background(VISITS[0], DETECTORS[4]).render().astype(float)
    printed = numbers(text(shown["statistics"]))
    truth = {"min": pixels.min(), "max": pixels.max(), "mean": pixels.mean(), "std": pixels.std()}
    truth["median"] = np.median(pixels)
    for name, value in truth.items():
        assert printed[f"level_{name}"] == pytest.approx([value, value], abs=0.003)
    assert printed["coverage_nanPixelCount"] == [0, 0]
    # The bright star on this detector.
    assert numbers(text(shown["residual"]))["haloDepth"][0] < -2
    assert re.search(r"significance_spotSigma<.*?fail", markup(shown["metrics"]))

    band = [visit.id for visit in VISITS if FILTERS[visit.physical_filter] == "i"]
    assert text(shown["visits"]) == str(band)
    # Two rows of this patch were changed after the subtraction.
    assert "consistent: False" in text(shown["closure"])
    assert "unexplained, at the edge: 60" in text(shown["closure"])

    for name in (
        *("image", "background-picture", "histogram", "coadd-picture", "coadd-histogram"),
        *("closure-picture", "stack"),
    ):
        image = picture(shown[name])
        assert min(image.shape[:2]) > 400
        assert image[..., :3].std() > 0.05, name
    for name in ("background", "coadd"):
        assert "<img" in markup(shown[name])
    assert "calexpBackground_campaign_table" in markup(shown["campaign"])
    # One detector has no good pixel on the last night.
    first_row = markup(shown["campaign-worst"]).split("<tr>")[2]
    assert "no good pixel" in first_row and ">8<" in first_row


@pytest.mark.slow
@no_stack
def test_notebook_runs_on_another_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cell changes, to the one that the notebook gives for DP1."""
    make_repository(tmp_path / "repository", generation="dp1")
    with Butler.from_config(str(tmp_path / "repository"), writeable=True) as butler:
        butler.collections.register("LSSTComCam/DP1", CollectionType.CHAINED)
        butler.collections.redefine_chain("LSSTComCam/DP1", INPUT_RUN)
    monkeypatch.setenv("DAF_BUTLER_REPOSITORIES", f'{{"dp1": "{tmp_path / "repository"}"}}')
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    (block,) = re.findall(r"```python\n(.*?)```", cells["settings-dp1"].source, re.DOTALL)
    cells["settings"].source = block
    shown = run(notebook, tmp_path / "elsewhere")
    assert "visit_image_background" in text(shown["browse"])
    assert "keeps no coadd" in text(shown["difference"])
    assert "electron" in markup(shown["background"])
    assert picture(shown["stack"]).size
    assert not shown["campaign"]
