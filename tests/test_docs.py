# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The Python of the documentation does what it says."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from lsst.bgqa import BackgroundModel, stack, tasks
from lsst.bgqa.standalone.demo import DETECTORS, INPUT_RUN, VISITS, make_repository, visit_background
from lsst.bgqa.standalone.ingest import ingest
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "doc").glob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
# What a block prints follows it: a paragraph that says so, and indented lines.
PRINTED = re.compile(r"\b(?:prints?|printed)\b[^\n]*\n\n((?:    [^\n]*\n|\n(?=    ))+)")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's repository, ``demo``, some metrics, and a
    background in a file.
    """
    folder = tmp_path_factory.mktemp("docs")
    make_repository(folder / "demo")
    visit_background(VISITS[0], DETECTORS[0]).write_fits(folder / "calexpBackground.fits")
    pipeline = Pipeline.fromFile("resource://lsst.bgqa/pipelines/backgroundQa.yaml#coadd")
    pipeline.addConfigOverride("coaddBackgroundQa", "unit", "nJy")
    butler = SimplePipelineExecutor.prep_butler(
        str(folder / "demo"), inputs=[INPUT_RUN], output="demo/backgroundQa"
    )
    executor = SimplePipelineExecutor.from_pipeline(
        pipeline, where="skymap='demo' AND patch=8 AND band='i'", butler=butler
    )
    executor.run(register_dataset_types=True)
    return folder


@pytest.mark.skipif(stack.have_stack(), reason="the demo's repository is made with the standalone types")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_blocks_run(
    page: Path, demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = page.read_text()
    blocks = list(BLOCK.finditer(text))
    if not blocks:
        pytest.skip("no Python on this page")
    monkeypatch.chdir(demo)
    monkeypatch.setenv("DAF_BUTLER_REPOSITORIES", json.dumps({"dp1": str(demo / "demo")}))
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        line = text[: block.start(1)].count("\n")
        code = compile("\n" * line + block[1], str(page), "exec")
        exec(code, names)
        output = capsys.readouterr().out
        end = blocks[number + 1].start() if number + 1 < len(blocks) else len(text)
        if printed := PRINTED.search(text, block.end(), end):
            expected = [row.strip() for row in printed[1].strip().splitlines()]
            assert [row.strip() for row in output.strip().splitlines()] == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", sorted((ROOT / "doc").glob("*.md")), ids=lambda page: page.stem)
def test_pages_say_whom_they_are_for(page: Path) -> None:
    if page.stem in ("README", "index", "changes"):
        pytest.skip("it is for all")
    text = page.read_text()
    if included := re.match(r"```{include} (\S+)", text):
        text = (page.parent / included[1]).read_text()
    assert re.match(r"# .*\n\n\*For .*\.\*\n", text)


def test_each_task_has_a_page() -> None:
    index = (ROOT / "doc" / "lsst.bgqa" / "index.rst").read_text()
    (listed,) = re.findall(r":template: task\n\n((?:   \w+\n)+)", index)
    there = [
        name for name, value in vars(tasks).items() if getattr(value, "_DefaultName", None) and "Task" in name
    ]
    assert sorted(listed.split()) == sorted(there)


def test_pages_of_tasks_follow_the_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("documenteer", reason="the extra docs is not installed")
    monkeypatch.chdir(ROOT / "doc")
    page = runpy.run_path("conf.py")["autosummary_context"]["tasks"]["VisitBackgroundQaTask"]
    assert (page["label"], page["dimensions"]) == ("visitBackgroundQa", "instrument, visit")
    datasets = {dataset["connection"]: dataset for dataset in page["datasets"]}
    assert datasets.keys() == tasks.VisitBackgroundQaConnections.allConnections.keys()
    assert datasets["backgrounds"]["name"] == "calexpBackground"
    assert datasets["backgrounds"]["dimensions"] == "instrument, detector, visit"
    assert datasets["residuals"]["uses"] == ["imageName"]
    fields = {field["name"]: field for field in page["fields"]}
    config = tasks.VisitBackgroundQaConfig()
    assert fields["outlier_threshold"]["default"] == repr(config.outlier_threshold)
    assert fields["statistics.segments"]["type"] == "list of int"
    assert fields["judge.high"]["type"] == "dict of str to float"


def test_folders_import_from_those_above_them_in_the_table() -> None:
    table = (ROOT / "doc" / "contributing.md").read_text()
    folders = re.findall(r"^\| `(\w+)/` \|", table, re.MULTILINE)
    package = ROOT / "python" / "lsst" / "bgqa"
    assert set(folders) == {path.parent.name for path in package.glob("*/__init__.py")}
    for number, folder in enumerate(folders):
        for module in (package / folder).rglob("*.py"):
            depth = len(module.relative_to(package).parts)
            used = re.findall(
                rf"^\s*from \.{{{depth}}}(\w*)[\w.]* import (\w+)", module.read_text(), re.MULTILINE
            )
            for name in (first or second for first, second in used):
                assert name not in folders[number + 1 :], f"{module} imports {name}"


@pytest.mark.slow
@pytest.mark.skipif(stack.have_stack(), reason="the environment is that of a machine without the stack")
def test_five_commands_lead_to_your_own_data(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"^Five commands.*?^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    commands = block.replace("\\\n", " ").splitlines()
    assert len(commands) == 5
    # The first installs, and so is run by .ci/run alone.
    assert commands.pop(0) == "make demo"
    assert re.search(r"^make .*\bdemo$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    ingest(str(tmp_path / "repo"), str(ROOT / "tests" / "data" / "hsc" / "manifest.json"))
    names = {"REPO": "repo", "COLLECTION": "bgqa/ingested"}
    script = re.sub("|".join(names), lambda match: names[match[0]], "\n".join(commands))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    ran = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "calexpBackground is judged by" in ran.stdout
    page = (tmp_path / "report" / "index.html").read_text()
    assert "calexpBackground_campaign_table" in page


@pytest.mark.slow
@pytest.mark.skipif(stack.have_stack(), reason="the environment is that of a machine without the stack")
def test_metric_of_the_contributors_page_reaches_the_report(tmp_path: Path) -> None:
    page = (ROOT / "doc" / "contributing.md").read_text()
    tree = tmp_path / "bgqa"
    for name in ("python", "pipelines", "config"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True)
    for change in re.findall(r"^```diff\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        subprocess.run(["git", "apply", "-"], input=change, text=True, cwd=tree, check=True)
    (tree / "tests").symlink_to(ROOT / "tests")
    (tree / "doc").mkdir()
    ingest(str(tree / "repo"), str(ROOT / "tests" / "data" / "hsc" / "manifest.json"))
    example = page[page.index("## Example: a new metric") :]
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", example, re.MULTILINE | re.DOTALL))
    script = script.replace("REPO", "repo").replace("COLLECTION", "bgqa/ingested")
    environment = os.environ | {
        "PYTHONPATH": str(tree / "python"),
        "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
    }
    ran = subprocess.run(
        ["bash", "-euc", script], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    background = BackgroundModel.read_fits(
        ROOT / "tests" / "data" / "hsc" / "calexpBackground_HSC_HSC-Z_1176_000.fits"
    )
    p25, median, p75 = np.percentile(background.render().astype(float), [25, 50, 75])
    printed = re.search(r"level_quartileSkewness +(\S+)", ran.stdout)
    assert printed is not None
    assert float(printed[1]) == pytest.approx((p25 + p75 - 2 * median) / (p75 - p25), abs=1e-3)
    assert "`level_quartileSkewness`" in (tree / "doc" / "metrics.md").read_text()
    assert "level_quartileSkewness" in (tree / "report" / "index.html").read_text()


def test_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "message", "authors"} <= citation.keys()
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def test_changes_begin_with_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = re.findall(r"^## (\S+?),", (ROOT / "CHANGES.md").read_text(), re.MULTILINE)
    assert versions[0] == project["version"]
