# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Campaigns: one table, pass and fail, the worst."""

from __future__ import annotations

import csv
import errno
import gc
import io
import math
import os
import shutil
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from click.testing import CliRunner

from lsst.bgqa.cli import main
from lsst.bgqa.judge import Thresholds, judge_rows
from lsst.bgqa.metrics import load_catalogue, make_bundle, quantities_of
from lsst.bgqa.standalone.ingest import DEFAULT_RUN, ingest
from lsst.bgqa.tasks import (
    GatherBackgroundMetricsConfig,
    GatherBackgroundMetricsTask,
    GatherCoaddMetricsConfig,
    GatherCoaddMetricsTask,
)
from lsst.bgqa.tasks._gather import CampaignBatch
from lsst.daf.butler import Butler
from lsst.pipe.base import NoWorkFound, Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

HSC = Path(__file__).parent / "data" / "hsc"
NAMES = GatherBackgroundMetricsTask._names
LEVEL = NAMES.index("level_median")
FRACTION = NAMES.index("coverage_finiteFraction")


def batch(visit: int, detectors: int = 8, night: int = 20261009, band: str = "r") -> CampaignBatch:
    rng = np.random.default_rng(visit)
    values = np.full((detectors, len(NAMES)), np.nan)
    values[:, FRACTION] = 1
    values[:, LEVEL] = 1000 + rng.normal(size=detectors)
    keys: dict[str, list[Any]] = {
        "instrument": ["Cam"] * detectors,
        "band": [band] * detectors,
        "physical_filter": [f"Cam-{band}"] * detectors,
        "day_obs": [night] * detectors,
        "visit": [visit] * detectors,
        "detector": list(range(detectors)),
        "detector_name": [f"R{i}" for i in range(detectors)],
    }
    return CampaignBatch(keys, values, [""] * detectors)


def run(batches: Any, **settings: Any) -> Any:
    config = GatherBackgroundMetricsConfig()
    for key, value in settings.items():
        setattr(config, key, value)
    config.validate()
    return GatherBackgroundMetricsTask(config=config).run(batches)


# --- Pass, fail, unknown -------------------------------------------------


def verdicts(names: list[str], values: Any, **thresholds: Any) -> list[str]:
    array = np.asarray(values, dtype=float)
    return list(judge_rows(names, array, [""] * len(array), Thresholds(**thresholds)).verdicts)


def test_catalogue_judges() -> None:
    assert verdicts(["coverage_finiteFraction"], [[1], [0.5], [math.nan]]) == ["pass", "fail", "unknown"]
    assert verdicts(["level_median"], [[1]]) == ["unknown"]
    assert verdicts(["level_median", "coverage_finiteFraction"], [[1, 1], [1, 0]]) == ["pass", "fail"]


def test_configuration_takes_the_place_of_the_catalogue() -> None:
    name = "coverage_finiteFraction"
    assert verdicts([name], [[0.5]], low={name: 0.4}) == ["pass"]
    assert verdicts([name], [[0.5]], low={name: math.nan}) == ["unknown"]
    assert verdicts(["level_median"], [[5], [15]], high={"level_median": 10}) == ["pass", "fail"]


def test_peers_judge() -> None:
    rng = np.random.default_rng(2)
    values = 100 + rng.normal(size=(30, 1))
    values[7] = 140
    result = judge_rows(["level_median"], values, [""] * 30, Thresholds(max_z={"level_median": 8}))
    assert [verdict == "fail" for verdict in result.verdicts] == [row == 7 for row in range(30)]
    (failure,) = result.failures
    center = np.median(values)
    limit = 8 * 1.482602218505602 * np.median(np.abs(values - center))
    assert (failure.row, failure.metric, failure.value) == (7, "level_median", 140)
    assert (failure.low, failure.high) == pytest.approx((center - limit, center + limit))
    assert failure.severity == pytest.approx((140 - center) / limit)


def test_only_peers_of_a_kind_are_compared() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([100 + rng.normal(size=6), 140 + rng.normal(size=6)])[:, np.newaxis]
    thresholds = Thresholds(max_z={"level_median": 8})
    alike = judge_rows(["level_median"], values, ["a"] * 6 + ["b"] * 6, thresholds)
    assert set(alike.verdicts) == {"pass"}
    few = judge_rows(["level_median"], values, [str(i // 4) for i in range(12)], thresholds)
    assert set(few.verdicts) == {"unknown"}
    constant = judge_rows(["level_median"], np.ones((9, 1)), [""] * 9, thresholds)
    assert set(constant.verdicts) == {"unknown"}


def test_severity_grows() -> None:
    def severity(value: float, **thresholds: Any) -> float:
        name = "coverage_finiteFraction"
        return judge_rows([name], np.array([[value]]), [""], Thresholds(**thresholds)).failures[0].severity

    assert severity(0.0) == pytest.approx(1000)
    assert severity(0.9) == pytest.approx(100)
    low = {"coverage_finiteFraction": math.nan}
    assert severity(30, low=low, high={"coverage_finiteFraction": 10}) == pytest.approx(3)
    assert severity(3, low=low, high={"coverage_finiteFraction": 0}) == pytest.approx(4)


# --- The table -----------------------------------------------------------


def test_table_has_data_ids_units_and_verdicts() -> None:
    batches = [batch(1), batch(2, band="i")]
    batches[1].values[3, FRACTION] = 0.2
    batches[1].values[4, LEVEL] = 2000
    result = run(batches)
    table = result.table
    assert table.num_rows == 16
    assert table["visit"].to_pylist() == [1] * 8 + [2] * 8
    assert table["detector_name"].to_pylist() == [f"R{i}" for i in range(8)] * 2
    np.testing.assert_array_equal(
        table["level_median"].to_numpy(), np.concatenate([b.values[:, LEVEL] for b in batches])
    )
    for name in NAMES:
        expected = load_catalogue()[name].unit_for(u.adu)
        metadata = table.schema.field(name).metadata or {}
        assert u.Unit(metadata.get(b"unit", b"").decode()) == expected
    assert table["verdict"].to_pylist() == ["pass"] * 11 + ["fail"] * 2 + ["pass"] * 3
    assert table["failed"].to_pylist()[11:13] == ["coverage_finiteFraction", "level_median"]
    assert table["severity"].to_numpy()[11] == pytest.approx(800)
    assert (table["severity"].to_numpy()[:11] == 0).all()


def test_summary_is_by_band_and_night() -> None:
    batches = [batch(1), batch(2), batch(3, band="i"), batch(4, night=20261010)]
    batches[1].values[0, FRACTION] = 0
    batches[2].values[:, [LEVEL, FRACTION]] = np.nan
    summary = run(batches).summary
    assert [tuple(row) for row in summary["band", "day_obs", "visitCount"]] == [
        ("i", 20261009, 1),
        ("r", 20261009, 2),
        ("r", 20261010, 1),
    ]
    assert summary["passCount"].tolist() == [0, 15, 8]
    assert summary["failCount"].tolist() == [0, 1, 0]
    assert summary["unknownCount"].tolist() == [8, 0, 0]
    levels = np.concatenate([b.values[:, LEVEL] for b in batches[:2]])
    assert summary["level_mean"][1] == pytest.approx(levels.mean())
    assert (summary["level_min"][1], summary["level_max"][1]) == (levels.min(), levels.max())
    assert np.isnan(summary["level_mean"][0])
    assert summary["level_mean"].unit == u.adu


def test_worst_come_first_and_are_so_many() -> None:
    batches = [batch(visit) for visit in range(5)]
    for visit, fraction in ((1, 0.5), (3, 0.1), (4, 0.9)):
        batches[visit].values[2, FRACTION] = fraction
    worst = run(batches, worst_count=2).worst
    assert worst["visit"].tolist() == [3, 1]
    assert worst["detector"].tolist() == [2, 2]
    assert worst["metric"].tolist() == ["coverage_finiteFraction"] * 2
    assert worst["value"].tolist() == [0.1, 0.5]
    assert (np.diff(worst["severity"]) < 0).all()
    assert len(run([batch(1)]).worst) == 0


def test_later_visit_leaves_earlier_rows_alone() -> None:
    batches = [batch(visit) for visit in range(6)]
    batches[2].values[1, LEVEL] = 1100
    batches[5].values[:, LEVEL] += 500
    before, after = run(batches[:5]).table, run(batches).table
    assert after.slice(0, before.num_rows).equals(before) or _same(after.slice(0, before.num_rows), before)
    assert after.num_rows == before.num_rows + 8


def _same(first: Any, second: Any) -> bool:
    # NaN is not equal to itself.
    return first.schema.equals(second.schema) and all(
        str(first[name].to_pylist()) == str(second[name].to_pylist()) for name in first.column_names
    )


def test_kinds_come_from_names() -> None:
    config = GatherBackgroundMetricsConfig()
    config.kinds = {"R0": "itl", "R01": "e2v"}
    task = GatherBackgroundMetricsTask(config=config)
    assert [task._kind(name) for name in ("R00_S00", "R01_S22", "R44_S11")] == ["itl", "e2v", ""]


def test_nonsense_thresholds_are_refused() -> None:
    config = GatherBackgroundMetricsConfig()
    config.low = {"no_suchMetric": 1.0}
    with pytest.raises(ValueError, match="low"):
        config.validate()


def test_nothing_to_gather() -> None:
    with pytest.raises(NoWorkFound):
        run([])


def test_closure_of_coadds_is_gathered() -> None:
    names = GatherCoaddMetricsTask._names
    values = np.full((1, len(names)), np.nan)
    values[0, names.index("closure_interiorUnexplainedCount")] = 3
    keys: dict[str, list[Any]] = {"skymap": ["map"], "tract": [1], "patch": [2], "band": ["r"]}
    task = GatherCoaddMetricsTask(config=GatherCoaddMetricsConfig())
    result = task.run([CampaignBatch(keys, values, [""])])
    assert result.table["failed"].to_pylist() == ["closure_interiorUnexplainedCount"]
    assert result.summary["tractCount"].tolist() == [1]


def peak_memory(count: int) -> int:
    def batches() -> Iterator[CampaignBatch]:
        for visit in range(count):
            made = batch(visit, detectors=600)
            made.values[:5, FRACTION] = 0.1
            yield made

    gc.collect()
    tracemalloc.start()
    run(batches(), worst_count=20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_memory_does_not_depend_on_the_number_of_visits() -> None:
    peak_memory(12)  # what is imported late
    assert peak_memory(120) < 1.1 * peak_memory(12)


def test_arrow_keeps_the_table_out_of_memory() -> None:
    import pyarrow as pa

    before = pa.total_allocated_bytes()
    table = run(batch(visit, detectors=60) for visit in range(100)).table
    assert pa.total_allocated_bytes() - before < 0.1 * table.nbytes
    assert table["level_median"].to_numpy().min() > 900


def test_chunks_do_not_multiply_with_visits() -> None:
    # Each chunk of each column takes memory, if it has but one row.
    table = run(batch(visit, detectors=100) for visit in range(100)).table
    assert table.num_rows == 10_000
    assert table["level_median"].num_chunks == 3
    assert table["visit"].to_pylist() == [visit for visit in range(100) for _ in range(100)]


# --- In a Butler ---------------------------------------------------------


def gather(repo: Path, output: str, where: str = "instrument='HSC'", **settings: Any) -> Butler:
    butler = SimplePipelineExecutor.prep_butler(str(repo), inputs=[DEFAULT_RUN], output=output)
    pipeline = Pipeline.from_uri(
        "resource://lsst.bgqa/pipelines/HSC/backgroundQa.yaml#detector,visit,gatherVisits"
    )
    for label in ("gatherBackgroundQa", "gatherVisitBackgroundQa"):
        for name, value in settings.items():
            pipeline.addConfigOverride(label, name, value)
    executor = SimplePipelineExecutor.from_pipeline(pipeline, where=where, butler=butler)
    executor.run(register_dataset_types=True)
    return executor.butler


def test_campaign_in_a_butler(tmp_path: Path) -> None:
    ingest(str(tmp_path / "repo"), str(HSC / "manifest.json"))
    butler = gather(tmp_path / "repo", "all", min_peers=3)
    tables = [
        butler.get(f"calexpBackground{name}_table", instrument="HSC", collections="all")
        for name in ("_campaign", "_visit_campaign")
    ]
    # From bundles or from the visits' tables: the same, where both tell.
    comparison = {name for name in tables[0].column_names if name.startswith("comparison_")}
    assert comparison and comparison == set(tables[0].column_names) - set(tables[1].column_names)
    assert tables[0]["dataset_id"].to_pylist() != tables[1]["dataset_id"].to_pylist()
    both = [name for name in tables[1].column_names if name != "dataset_id"]
    assert _same(tables[0].select(both), tables[1].select(both))
    assert tables[0].num_rows == 10
    assert tables[0]["band"].to_pylist() == ["z"] * 10
    for row in tables[0].to_pylist()[::4]:
        bundle = butler.get(
            "calexpBackground_metrics",
            instrument="HSC",
            visit=row["visit"],
            detector=row["detector"],
            collections="all",
        )
        # What stands out is told among the visit's others.
        quantities = {
            name: value
            for name, value in quantities_of(bundle).items()
            if not name.startswith("significance_")
        }
        assert {name: row[name] for name in quantities} == {
            name: pytest.approx(quantity.value, rel=1e-12) for name, quantity in quantities.items()
        }
    ref = butler.find_dataset("calexpBackground_campaign_table", instrument="HSC", collections="all")
    assert ref is not None
    astropy_table = butler.get(ref, storageClass="ArrowAstropy")
    assert astropy_table["shape_gradientX"].unit == load_catalogue()["shape_gradientX"].unit_for(u.adu)
    summary = butler.get("calexpBackground_campaign_summary", instrument="HSC", collections="all")
    assert summary["visitCount"].tolist() == [3]
    # With a visit less, the other visits' rows are the same.
    butler = gather(tmp_path / "repo", "less", "instrument='HSC' AND visit < 17934", min_peers=3)
    less = butler.get("calexpBackground_campaign_table", instrument="HSC", collections="less")
    assert less.num_rows == 8
    own = [
        name
        for name in less.column_names
        if not name.startswith(("context_levelChange", "severity", "dataset_id"))
    ]
    assert _same(less.select(own), tables[0].slice(0, 8).select(own))


def test_visits_tell_of_their_detectors_unless_these_are_made_again(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    ingest(str(repo), str(HSC / "manifest.json"))
    where = "instrument='HSC' AND visit=1176"
    with gather(repo, "all", where, min_peers=3) as butler:
        (ref,) = butler.query_datasets("calexpBackground_visit_table", "all")
        table = butler.get(ref)
    columns = {"failed": "significance_edgeSigma", "fault": "dark edges (said by the visit)"}
    for name, value in columns.items():
        table[name] = np.array([value] + [""] * (len(table) - 1), dtype=f"U{len(value)}")
    table["significance_edgeSigma"][:2] = [8.0, 9.0]
    table["level_median"][1] += 1.0
    with Butler.from_config(str(repo), writeable=True) as butler:
        butler.pruneDatasets([ref], disassociate=True, unstore=True, purge=True)
        butler.put(table, "calexpBackground_visit_table", ref.dataId, run=ref.run)
    pipeline = Pipeline.fromFile("resource://lsst.bgqa/pipelines/backgroundQa.yaml#gatherDetector")
    again = SimplePipelineExecutor.prep_butler(str(repo), inputs=["all"], output="again")
    SimplePipelineExecutor.from_pipeline(pipeline, where=where, butler=again).run(register_dataset_types=True)
    gathered = again.get("calexpBackground_campaign_table", instrument="HSC", collections="again").to_pylist()
    assert gathered[0]["failed"] == "significance_edgeSigma"
    assert gathered[0]["fault"] == "dark edges (said by the visit)"
    # The second has another level by now: it is judged by its own metrics.
    assert {row["verdict"] for row in gathered[1:]} == {"pass"}
    assert gathered[1]["significance_edgeSigma"] < 5


def test_metrics_that_all_broke_are_an_error(tmp_path: Path) -> None:
    ingest(str(tmp_path / "repo"), str(HSC / "manifest.json"))
    where = "instrument='HSC' AND visit=1176 AND detector < 2"
    butler = gather(tmp_path / "repo", "metrics", where)
    for ref in butler.query_datasets("calexpBackground_metrics", "metrics"):
        butler.getURI(ref).write(b"{")
    pipeline = Pipeline.fromFile("resource://lsst.bgqa/pipelines/backgroundQa.yaml#gatherDetector")
    again = SimplePipelineExecutor.prep_butler(str(tmp_path / "repo"), inputs=["metrics"], output="again")
    with pytest.raises(Exception, match=r"none of 2 datasets can be read; the first: .*detector: 0"):
        SimplePipelineExecutor.from_pipeline(pipeline, where=where, butler=again).run(
            register_dataset_types=True
        )


def test_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        closed = False

        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None:
            self.closed = True

        def flush(self) -> None: ...

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(OSError, match=f"kept in {tempfile.gettempdir()} .*No space left") as caught:
        run(batch(visit) for visit in range(3))
    assert caught.value.errno == errno.ENOSPC


def test_nothing_is_left_of_the_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []

    def batches() -> Iterator[CampaignBatch]:
        for visit in range(3):
            seen.append(list(tmp_path.iterdir()))
            yield batch(visit)

    table = run(batches()).table
    assert seen == [[], [], []]
    assert table.num_rows == 24 and table["visit"].to_pylist()[-1] == 2


def test_broken_bundle_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Handle:
        def __init__(self, ref: Any) -> None:
            self.ref, self.dataId = ref, ref.dataId

        def get(self) -> Any:
            if self.dataId["detector"] == 2:
                raise OSError("disk on fire")
            return butler.get(self.ref)

    ingest(str(tmp_path / "repo"), str(HSC / "manifest.json"))
    butler = gather(tmp_path / "repo", "all", "instrument='HSC' AND visit=1176")
    refs = butler.query_datasets("calexpBackground_metrics", "all", with_dimension_records=True)
    task = GatherBackgroundMetricsTask(config=GatherBackgroundMetricsConfig())
    unreadable: dict[str, Exception] = {}
    table = task.run(task._read([Handle(ref) for ref in refs], unreadable)).table
    assert table["detector"].to_pylist() == [0, 1, 3]
    assert [name.count("detector: 2") for name in unreadable] == [1]
    assert any("detector: 2" in r.getMessage() and "disk on fire" in r.getMessage() for r in caplog.records)


# --- Made again ----------------------------------------------------------


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = tmp_path_factory.mktemp("again") / "repo"
    ingest(str(repo), str(HSC / "manifest.json"))
    gather(repo, "out", high={"level_median": 3500.0}, kinds={"0": "low"}).close()
    return repo


def put_again(repo: Path, run: str, value: float, clobber: bool = False) -> None:
    """Put another bundle of a detector, as when its quantum runs again."""
    with Butler.from_config(str(repo), writeable=True) as butler:
        ref = min(butler.query_datasets("calexpBackground_metrics", "out"))
        run = run or ref.run
        butler.collections.register(run)
        quantities = {**quantities_of(butler.get(ref)), "level_median": value * u.adu}
        if clobber:
            butler.pruneDatasets([ref], disassociate=True, unstore=True, purge=True)
        butler.put(make_bundle(quantities), "calexpBackground_metrics", ref.dataId, run=run)


def exported(repo: Path, collection: str) -> tuple[set[float], set[str], str]:
    """Return levels, what fails, and what is said."""
    result = CliRunner().invoke(
        main, ["export", str(repo), collection, "--format", "csv", "--kind", "detector"]
    )
    assert result.exit_code == 0, result.output
    rows = [row for row in csv.DictReader(io.StringIO(result.stdout)) if row["metric"] == "level_median"]
    assert len(rows) == 10
    failed = {f"{row['visit']}-{row['detector']}" for row in rows if row["verdict"] == "fail"}
    return {float(row["value"]) for row in rows}, failed, result.stderr


def test_a_quantum_that_ran_again_counts(gathered: Path, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    shutil.copytree(gathered, repo)
    before, failed, words = exported(repo, "out")
    assert "older" not in words and 9999.0 not in before
    put_again(repo, "out2", 9999.0)
    # The first collection that has it wins.
    values, more, words = exported(repo, "out2,out")
    assert 9999.0 in values and len(values - before) == 1
    assert "calexpBackground_campaign_table {instrument: 'HSC'} is older than some" in words
    assert len(more - failed) == 1
    values, same, words = exported(repo, "out,out2")
    assert (values, same) == (before, failed) and "older" not in words


def test_a_quantum_that_ran_again_in_its_run_counts(gathered: Path, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    shutil.copytree(gathered, repo)
    put_again(repo, "", 9999.0, clobber=True)
    values, _, words = exported(repo, "out")
    assert 9999.0 in values and "is older than some" in words


def test_rows_outlive_what_they_are_from(gathered: Path, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    shutil.copytree(gathered, repo)
    before = exported(repo, "out")
    with Butler.from_config(str(repo), writeable=True) as butler:
        refs = butler.query_datasets("calexpBackground_metrics", "out")
        butler.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
    assert exported(repo, "out") == before
