# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Repositories of older dimension universes, as DP0.2's and HSC's are.

Before version 6 the night is a field of the visit, not a dimension.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_ingest import HSC

from lsst.bgqa import stack
from lsst.bgqa.cli import main
from lsst.bgqa.standalone.ingest import DEFAULT_RUN, ingest
from lsst.daf.butler import Butler, DimensionConfig
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

pytestmark = pytest.mark.skipif(stack.have_stack(), reason="datasets are of the standalone types")
NIGHTS = {1176: 20140603, 17900: 20150120, 17934: 20150121}
OLD = "resource://lsst.daf.butler/configs/old_dimensions/daf_butler_universe{}.yaml"


@pytest.mark.parametrize("version", [1, 5, None], ids=["1", "5", "newest"])
def test_the_night_is_known(version: int | None, tmp_path: Path) -> None:
    repo = str(tmp_path / "repo")
    Butler.makeRepo(repo, dimensionConfig=DimensionConfig(OLD.format(version)) if version else None)
    entries = [
        {**entry, "file": str(HSC / entry["file"]), "day_obs": NIGHTS[entry["visit"]]}
        for entry in json.loads((HSC / "manifest.json").read_text())
    ]
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(entries))
    ingest(repo, str(manifest))

    def judge(subsets: str, output: str) -> None:
        butler = SimplePipelineExecutor.prep_butler(repo, inputs=[DEFAULT_RUN], output=output)
        pipeline = Pipeline.fromFile(f"resource://lsst.bgqa/pipelines/backgroundQa.yaml#{subsets}")
        executor = SimplePipelineExecutor.from_pipeline(pipeline, butler=butler)
        executor.run(register_dataset_types=True)
        executor.butler.close()

    judge("detector", "pieces")
    judge("detector,visit,gatherVisits", "gathered")
    nights = set(NIGHTS.items())
    with Butler.from_config(repo, collections="gathered") as butler:
        assert ("day_obs" in butler.dimensions) == (version is None)
        for name in ("calexpBackground_campaign_table", "calexpBackground_visit_campaign_table"):
            table = butler.get(name, instrument="HSC")
            assert table.num_rows == 10
            found = zip(table["visit"].to_pylist(), table["day_obs"].to_pylist(), strict=True)
            assert set(found) == nights
        summary = butler.get("calexpBackground_campaign_summary", instrument="HSC")
        assert sorted(summary["day_obs"]) == sorted(NIGHTS.values())
    for collection in ("pieces", "gathered"):
        result = CliRunner().invoke(main, ["export", repo, collection, "--format", "csv"])
        rows = csv.DictReader(io.StringIO(result.stdout))
        assert {(int(row["visit"]), int(row["day_obs"])) for row in rows} == nights
    assert "calexpBackground" in CliRunner().invoke(main, ["discover", repo]).stdout
    report = CliRunner().invoke(main, ["report", repo, "gathered", "-o", str(tmp_path / "report")])
    assert report.exit_code == 0, report.output
