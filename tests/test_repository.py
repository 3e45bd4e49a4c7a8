# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Repositories of other places: labels, archives, the stack's own records."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from archives import archived, put_into_archive
from campaigns import MadeUp
from click.testing import CliRunner, Result
from matplotlib.figure import Figure
from test_ingest import HSC

from lsst.bgqa import BackgroundModel, stack
from lsst.bgqa.artifacts import artifact_name, local_artifact, read_artifact
from lsst.bgqa.cli import main
from lsst.bgqa.dashboard import Campaign, _fetch
from lsst.bgqa.errors import UserError, reason_of
from lsst.bgqa.repository import dataset_types, find_collections, open_repository
from lsst.bgqa.standalone import CONFIG_FOLDER
from lsst.bgqa.standalone.formatters import STACK_FORMATTERS
from lsst.bgqa.standalone.ingest import DEFAULT_RUN, ingest
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

standalone_only = pytest.mark.skipif(stack.have_stack(), reason="lsst.afw's own formatters are used")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"COLUMNS": "110"})


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    made = MadeUp(tmp_path / "repo")
    made.put_bundles("u/one")
    made.chain("chain", "u/one")
    return made


def record_formatter(repo: Path, formatter: str) -> None:
    with sqlite3.connect(repo / "gen3.sqlite3") as database:
        changed = database.execute("UPDATE file_datastore_records SET formatter = ?", (formatter,))
        assert changed.rowcount
    database.close()


@standalone_only
@pytest.mark.parametrize(
    "recorded", [STACK_FORMATTERS["BackgroundFormatter"], "lsst.obs.base.fitsGenericFormatter.Older"]
)
def test_what_the_stack_recorded_is_read_without_it(tmp_path: Path, recorded: str) -> None:
    repo = tmp_path / "repo"
    ingest(str(repo), str(HSC / "manifest.json"))
    record_formatter(repo, recorded)
    with open_repository(str(repo)) as butler:
        for ref in butler.query_datasets("calexpBackground", DEFAULT_RUN):
            assert isinstance(butler.get(ref), BackgroundModel)


def test_formatters_of_the_stack_are_those_that_it_records() -> None:
    text = ResourcePath("resource://lsst.daf.butler/configs/datastores/formatters.yaml").read().decode()
    defaults = dict(re.findall(r"^(\w+): (\S+)$", text, re.MULTILINE))
    assert defaults["Background"] == STACK_FORMATTERS["BackgroundFormatter"]
    assert defaults["ExposureF"] == STACK_FORMATTERS["ExposureFormatter"]
    # Bundles are written and read by the same formatter on both sides.
    ours = yaml.safe_load((CONFIG_FOLDER / "datastores" / "fileDatastore.yaml").read_text())
    assert ours["datastore"]["formatters"]["MetricMeasurementBundle"] == defaults["MetricMeasurementBundle"]


def test_a_label_of_the_index_is_a_repository(made: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAF_BUTLER_REPOSITORIES", json.dumps({"dp1": made.path}))
    for command in (["export", "dp1", "chain", "--format", "csv"], ["discover", "dp1"]):
        assert run(*command).exit_code == 0
    result = run("discover", "dp2")
    assert result.stderr == (
        "Error: dp2: cannot be opened as a data repository: there is none (known labels: dp1)\n"
    )


def test_commands_word_the_same_fault_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAF_BUTLER_REPOSITORIES", raising=False)
    monkeypatch.delenv("DAF_BUTLER_REPOSITORY_INDEX", raising=False)
    nowhere = str(tmp_path / "nowhere")
    said = {
        run(*command).stderr
        for command in (
            ["discover", nowhere],
            ["report", nowhere, "a", "-o", str(tmp_path / "report")],
            ["export", nowhere, "a", "--format", "csv"],
        )
    }
    assert said == {f"Error: {nowhere}: cannot be opened as a data repository: there is none\n"}


@pytest.mark.parametrize("expression", ["chain", "u/*", "ch*,u/one", "*/one"])
def test_chains_and_patterns_name_collections(made: MadeUp, expression: str) -> None:
    with Campaign(made.path, expression) as campaign:
        assert campaign.table("detector").row_count == 24


def test_collections_are_in_the_order_that_was_asked_for(made: MadeUp) -> None:
    made.butler.collections.register("a/later")
    made.butler.collections.register("a/first")
    assert find_collections(made.butler, "u/one,a/*") == ("u/one", "a/first", "a/later")
    for expression, words in (("none", "'none'"), ("no*", "no collection fits"), (" , ", "not name")):
        with pytest.raises(UserError, match=words):
            find_collections(made.butler, expression)


def test_dataset_types_are_asked_for_at_once(made: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(made.butler), "get_dataset_type", None)
    names = ["calexpBackground_visit_table", "calexpBackground_metrics", "nothing"]
    assert [t.name for t in dataset_types(made.butler, names)] == [names[1], names[0]]
    assert dataset_types(made.butler, []) == []


@pytest.mark.parametrize(("module", "extra"), [("psycopg", "postgres"), ("httpx2", "remote")])
def test_a_missing_driver_is_named_with_what_brings_it(module: str, extra: str) -> None:
    error = RuntimeError("wrapped")
    error.__cause__ = ModuleNotFoundError(f"No module named '{module}'", name=module)
    brings = f"bgqa's extra {extra} brings it (pip install '.[{extra}]')"
    assert reason_of(error) == f"{module} is not installed; {brings}"


def test_the_deepest_cause_is_in_the_line() -> None:
    outer = RuntimeError("Error while communicating with Butler server.  Request ID: 1")
    outer.__cause__ = ValueError("middle")
    outer.__cause__.__cause__ = KeyError("deepest\ncause")
    words = reason_of(outer)
    assert words.startswith("Error while communicating") and words.endswith("deepest\\ncause'")
    assert reason_of(ValueError("one  line")) == "one line"
    assert reason_of(ValueError()) == "ValueError"


@pytest.fixture
def archive(tmp_path: Path) -> ResourcePath:
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("deep/picture.png", b"pixels")
    return ResourcePath(f"{path.as_uri()}#zip-path=deep/picture.png")


def test_members_of_archives_are_read(archive: ResourcePath) -> None:
    assert artifact_name(archive) == "picture.png"
    assert read_artifact(archive) == b"pixels"
    with local_artifact(archive) as local:
        assert local.getExtension() == ".png"
        assert Path(local.ospath).read_bytes() == b"pixels"
    assert not local.exists()


def test_a_campaign_in_an_archive_is_read(made: MadeUp, tmp_path: Path) -> None:
    made.put_campaign("u/gathered", high={"level_median": 5.0})
    refs = [
        ref
        for name in ("calexpBackground_campaign_table", "gathercalexpBackground_campaign_config")
        for ref in made.butler.query_datasets(name, "u/gathered")
    ]
    other = archived(made.butler, refs, tmp_path)

    def verdicts(repo: str, collection: str) -> list[str]:
        with Campaign(repo, collection) as campaign:
            family = campaign.table("detector")
            assert family.gathered
            assert family.thresholds.high == {"level_median": 5.0}
            return [v for batch in family.batches() for v in batch["verdict"].to_pylist()]

    assert verdicts(other, "u/gathered") == verdicts(made.path, "u/gathered")
    result = run("export", other, "u/gathered", "--format", "csv")
    assert result.exit_code == 0, result.output
    assert result.stdout.count(",fail,") > 10


# --- Paths on the command line -------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "REPO", "chain", "-o", "s3://bucket/report"],
        ["demo", "https://host/demo"],
        ["inspect", str(HSC / "calexpBackground_HSC_HSC-Z_1176_000.fits"), "--plot", "gs://bucket/a.png"],
    ],
)
def test_a_folder_elsewhere_is_refused(
    arguments: list[str], made: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    result = run(*(made.path if argument == "REPO" else argument for argument in arguments))
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "is not on this machine" in line
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_uri_is_a_path(made: MadeUp, tmp_path: Path) -> None:
    target = tmp_path / "out put"
    assert run("report", made.path, "chain", "-o", f"file://{tmp_path}/out%20put").exit_code == 0
    assert (target / "index.html").is_file()
    csv = (tmp_path / "a.csv").as_uri()
    assert run("export", made.path, "chain", "--format", "csv", "-o", csv).exit_code == 0
    assert (tmp_path / "a.csv").read_text().count("\n") > 10


# --- Ingest --------------------------------------------------------------


def test_a_configuration_that_is_not_there_makes_no_folder(tmp_path: Path) -> None:
    result = run("ingest", str(tmp_path / "new" / "butler.yaml"), str(HSC / "manifest.json"))
    assert result.exit_code == 1
    assert not (tmp_path / "new").exists()


# --- Far away ------------------------------------------------------------


def test_far_datasets_are_read_by_a_few_threads(made: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    made.put_visit_table("u/one", 2, [0, 1, 2])
    made.path_of(made.put_bundle("u/two", 1, 3)).write_text("nonsense")

    def rows() -> tuple[list[Any], list[str]]:
        with Campaign(made.path, "u/two,u/one") as campaign:
            family = campaign.table("detector")
            found = [row for batch in family.batches() for row in batch.to_pylist()]
            return found, family.unreadable.names

    near = rows()
    threads: set[str] = set()
    monkeypatch.setattr(_fetch, "is_far", lambda butler: True)
    read = _fetch._try

    def note(*arguments: Any) -> Any:
        threads.add(threading.current_thread().name)
        return read(*arguments)

    monkeypatch.setattr(_fetch, "_try", note)
    far = rows()
    assert repr(far) == repr(near)
    assert len(near[0]) == 23 and len(near[1]) == 1
    assert all(name.startswith("bgqa-fetch") for name in threads) and threads


def test_a_picture_is_in_the_report_wherever_it_is(
    made: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = Figure()
    data_id = {"instrument": made.instrument, "visit": 1, "detector": 2}
    made.put(figure, "calexpBackground_image_plot", "Plot", "u/plots", **data_id)
    refs = made.butler.query_datasets("calexpBackground_image_plot", "u/plots")
    other = str(tmp_path / "other")
    shutil.copytree(made.path, other)
    with Butler.from_config(other, writeable=True) as butler:
        butler.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
    put_into_archive(made.butler, refs, tmp_path / "zip", other)
    for repo in (made.path, other):
        for far in (False, True):
            monkeypatch.setattr("lsst.bgqa.dashboard._fetch.is_far", lambda butler, far=far: far)
            result = run("report", repo, "u/one,u/plots", "-o", str(tmp_path / "report"))
            assert result.exit_code == 0, result.output
            (picture,) = (tmp_path / "report" / "pictures").rglob("*.png")
            assert picture.read_bytes().startswith(b"\x89PNG")
