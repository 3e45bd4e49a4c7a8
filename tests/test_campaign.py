# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""A campaign's rows, from whatever its quanta and gather tasks wrote."""

from __future__ import annotations

import gc
import logging
import re
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from campaigns import BACKGROUND, MadeUp

from lsst.bgqa.dashboard import Campaign, CampaignTable
from lsst.bgqa.errors import UserError
from lsst.bgqa.metrics import load_catalogue


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    return MadeUp(tmp_path / "repo")


def rows_of(family: CampaignTable) -> list[dict[str, Any]]:
    return [row for batch in family.batches() for row in batch.to_pylist()]


def comparable(rows: list[dict[str, Any]]) -> list[str]:
    # NaN is not equal to itself; where a row is from differs.
    return [str({k: v for k, v in row.items() if k not in ("run", "dataset_id")}) for row in rows]


def verdicts_of(family: CampaignTable) -> list[list[str]]:
    return [row for batch in family.batches() for row in family.verdicts(batch).tolist()]


# --- What is found -------------------------------------------------------


def test_every_kind_is_found(made: MadeUp) -> None:
    made.put_bundles("run")
    made.put_others("run")
    made.put_patch("run", 4, 0, "r", {"level_median": 1.0})
    with Campaign(made.path, "run") as campaign:
        found = {family.kind: family for family in campaign.tables}
        assert list(found) == ["detector", "visit", "stack", "patch", "tract"]
        for kind, name, root, count in (
            ("detector", BACKGROUND, "Cam", 24),
            ("visit", BACKGROUND, "Cam", 1),
            ("stack", BACKGROUND, "Cam", 1),
            ("patch", "deepCoadd_calexp_background", "map", 1),
            ("tract", "deepCoadd_calexp_background", "map", 1),
        ):
            family = found[kind]
            assert (family.name, family.root, family.row_count) == (name, root, count)
            assert len(rows_of(family)) == count
            assert family.unreadable.count == 0
        assert found["stack"].keys == ("instrument", "band", "physical_filter", "detector", "detector_name")
        (stack,) = rows_of(found["stack"])
        assert (stack["detector_name"], stack["band"], stack["stack_patternRms"]) == ("R02_S11", "r", 0.25)
        assert found["tract"].units["tract_seamMax"] == "nJy"
        assert found["tract"].bundle_type == "deepCoadd_calexp_background_tract_metrics"
        (visit,) = rows_of(found["visit"])
        assert (visit["verdict"], visit["failed"]) == ("fail", "visit_unreadableDetectorCount")
        assert campaign.table("detector") is found["detector"]
        with pytest.raises(KeyError):
            campaign.table("detector", "skyCorr")


def test_other_bundles_and_tables_are_not_taken(made: MadeUp) -> None:
    from lsst.bgqa.metrics import make_bundle

    made.put_bundles("run")
    other = make_bundle({"e1Diff_mean": 3 * u.pix, "e1Diff_median": 2 * u.pix})
    made.put(other, "psf_metrics", "MetricMeasurementBundle", "run", instrument="Cam", visit=1, detector=1)
    table = pa.table({"detector": [1], "bias": [2.0]})
    made.put(table, "bias_campaign_table", "ArrowTable", "run", instrument="Cam")
    made.put(table, "bias_table", "ArrowTable", "run", instrument="Cam")
    with Campaign(made.path, "run") as campaign:
        assert [family.name for family in campaign.tables] == [BACKGROUND]
        # A name of ours, but not the columns.
        assert campaign.unreadable.count == 1
        assert "bias_campaign_table" in campaign.unreadable.names[0]


@pytest.mark.parametrize("collection", ["nowhere", "run", "", "r*"])
def test_mistakes(made: MadeUp, collection: str) -> None:
    made.put({"a": 1}, "other", "StructuredDataDict", "run", instrument="Cam")
    with pytest.raises(
        UserError, match=re.escape(repr(collection) if not collection else collection)
    ) as caught:
        Campaign(made.path, collection)
    assert "\n" not in str(caught.value)


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be opened"):
        Campaign(str(tmp_path / "none"), "run")


# --- Rows ----------------------------------------------------------------


def test_rows_have_data_ids_times_and_units(made: MadeUp) -> None:
    made.put_bundles("run")
    ref = made.put_bundle("other", 1, 3)
    with Campaign(made.path, "other") as campaign:
        (family,) = campaign.tables
        ((batch,)) = list(family.batches())
        (row,) = batch.to_pylist()
        assert {name: row[name] for name in family.keys} == {
            "instrument": "Cam",
            "band": "r",
            "physical_filter": "Cam-r",
            "day_obs": 20261009,
            "visit": 1,
            "detector": 3,
            "detector_name": "R03_S11",
        }
        assert (row["run"], row["dataset_id"]) == ("other", str(ref.id))
        # UTC is 37 s behind TAI.
        expected = datetime(2026, 10, 9, 23, 59, 59, 500000, UTC) + timedelta(seconds=40 - 37)
        assert row["visit_begin"] == expected
        values = made.values(1, 3)
        assert {name: row[name] for name in values} == values
        assert all(np.isnan(row[name]) for name in family.metrics if name not in values)
        catalogue = load_catalogue()
        for name in family.metrics:
            metadata = batch.schema.field(name).metadata or {}
            assert batch.schema.field(name).type == pa.float64()
            assert metadata.get(b"unit", b"").decode() == catalogue[name].unit_for(u.adu).to_string()
            assert family.units[name] == catalogue[name].unit_for(u.adu).to_string()
    with Campaign(made.path, "run") as campaign:
        rows = rows_of(campaign.tables[0])
        assert [(row["visit"], row["detector"]) for row in rows] == [
            (v, d) for v in (1, 2, 3) for d in range(8)
        ]
        # The last visit's record has no timespan.
        assert {row["visit"] for row in rows if row["visit_begin"] is None} == {3}


def test_all_sources_give_the_same_rows(made: MadeUp) -> None:
    made.put_bundles("bundles")
    for visit in made.visits:
        made.put_visit_table("tables", visit)
    made.put_campaign("gathered")
    found = {}
    for collection in ("bundles", "tables", "gathered"):
        with Campaign(made.path, collection) as campaign:
            (family,) = campaign.tables
            assert family.gathered == (collection == "gathered")
            names = [name for name in family.metrics if not name.startswith("comparison")]
            rows = [{k: row[k] for k in row if not k.startswith("comparison")} for row in rows_of(family)]
            columns = [family.metrics.index(name) for name in names]
            verdicts = [[row[i] for i in columns] for row in verdicts_of(family)]
            found[collection] = (comparable(rows), names, verdicts)
    assert found["bundles"] == found["gathered"]
    assert found["tables"] == found["gathered"]
    assert len(found["gathered"][0]) == 24


def test_verdicts_are_by_catalogue_and_peers(made: MadeUp) -> None:
    made.put_bundles("run")
    with Campaign(made.path, "run") as campaign:
        (family,) = campaign.tables
        rows = rows_of(family)
        failed = {row["detector"]: row["failed"] for row in rows if row["verdict"] == "fail"}
        assert failed == {1: "coverage_finiteFraction", 2: "level_median"}
        assert all(row["severity"] > 1 for row in rows if row["verdict"] == "fail")
        verdicts = np.array(verdicts_of(family))
        names = list(family.metrics)
        assert set(verdicts[1::8, names.index("coverage_finiteFraction")]) == {"fail"}
        assert set(verdicts[0::8, names.index("coverage_finiteFraction")]) == {"pass"}
        assert set(verdicts[2::8, names.index("level_median")]) == {"fail"}
        assert set(verdicts[3::8, names.index("level_median")]) == {"pass"}
        # No bound, and no peers' either.
        assert set(verdicts[:, names.index("shape_gradientX")]) == {"unknown"}
        # No value.
        assert set(verdicts[0::2, names.index("fit_reducedChi2")]) == {"unknown"}


def test_thresholds_are_those_that_were_gathered_with(made: MadeUp) -> None:
    made.put_campaign("run", low={"shape_gradientX": -50.0}, max_z={}, high={"level_median": 1050.0})
    made.put({"a": 1}, "gatherOther_config", "StructuredDataDict", "run", instrument="Cam")
    with Campaign(made.path, "run") as campaign:
        (family,) = campaign.tables
        assert family.thresholds.bounds("shape_gradientX")[0] == -50
        assert family.thresholds.max_z == {}
        verdicts = np.array(verdicts_of(family))
        assert set(verdicts[:, family.metrics.index("shape_gradientX")]) == {"pass"}
        assert (
            verdicts[:, family.metrics.index("level_median")].tolist()
            == (["pass"] * 2 + ["fail"] + ["pass"] * 5) * 3
        )


def test_rows_are_not_read_twice(made: MadeUp) -> None:
    made.put_bundles("run")
    made.put_visit_table("run", 1)
    made.put_campaign("run", visits=[1, 2])
    made.put_campaign("run", visits=[1], name=f"{BACKGROUND}_visit_campaign")
    with Campaign(made.path, "run") as campaign:
        (family,) = campaign.tables
        assert family.dataset_types == (f"{BACKGROUND}_campaign_table",)
        assert family.row_count == 16
        assert [row["visit"] for row in rows_of(family)] == [1] * 8 + [2] * 8


def test_bundles_that_came_after_their_table_are_gathered(
    made: MadeUp, caplog: pytest.LogCaptureFixture
) -> None:
    made.put_bundles("run", [1])
    made.put_campaign("run", visits=[1], high={"level_median": 1050.0})
    made.put_bundles("run", [2])
    with Campaign(made.path, "run") as campaign, caplog.at_level(logging.WARNING):
        (family,) = campaign.tables
        assert not family.gathered
        rows = rows_of(family)
        assert [row["visit"] for row in rows] == [1] * 8 + [2] * 8
        # As the table was: with the same limits.
        assert {row["detector"] for row in rows if "level_median" in row["failed"]} == {2}
        assert family.thresholds.high == {"level_median": 1050.0}


def test_bundles_add_what_tables_lack(made: MadeUp) -> None:
    made.put_visit_table("run", 1, [0, 1, 2, 3, 4])
    made.put_bundles("run", [1, 3])
    with Campaign(made.path, "run") as campaign:
        (family,) = campaign.tables
        assert family.row_count is None
        assert family.dataset_count == 17
        rows = rows_of(family)
        assert [(row["visit"], row["detector"]) for row in rows] == [(v, d) for v in (1, 3) for d in range(8)]
        assert len({row["dataset_id"] for row in rows}) == 1 + 3 + 8


def test_bundles_add_closure_to_the_tables_of_tracts(made: MadeUp) -> None:
    made.put_tract_table("run", 4, "r", [0, 1])
    made.put_tract_table("run", 5, "r", [7])
    made.put_patch("run", 4, 1, "r", {"level_median": 1.0, "closure_interiorUnexplainedCount": 5.0})
    made.put_patch("run", 4, 2, "i", {"level_median": 2.0})
    with Campaign(made.path, "run") as campaign:
        (family,) = campaign.tables
        rows = rows_of(family)
        assert [(row["tract"], row["band"], row["patch"]) for row in rows] == [
            (4, "i", 2),
            (4, "r", 0),
            (4, "r", 1),
            (5, "r", 7),
        ]
        assert [row["level_median"] for row in rows] == [2, 0, 1, 7]
        assert rows[2]["closure_interiorUnexplainedCount"] == 5
        assert rows[2]["failed"] == "closure_interiorUnexplainedCount"


def test_the_first_of_a_chain_counts(made: MadeUp) -> None:
    made.put_bundles("old")
    made.put_bundle("new", 1, 0, {"level_median": 5.0})
    made.chain("chain", "new", "old")
    for collection in ("chain", "new,old"):
        with Campaign(made.path, collection) as campaign:
            (family,) = campaign.tables
            rows = rows_of(family)
            assert family.row_count == len(rows) == 24
            assert [row["run"] for row in rows] == ["new"] + ["old"] * 23
            assert rows[0]["level_median"] == 5
            assert np.isnan(rows[0]["coverage_finiteFraction"])
    made.put_campaign("old")
    made.put_campaign("newer", visits=[2])
    made.chain("chain", "newer", "new", "old")
    with Campaign(made.path, "chain") as campaign:
        (family,) = campaign.tables
        assert {row["run"] for row in rows_of(family)} == {"newer"}
        assert family.row_count == 8


def test_a_gathered_instrument_leaves_another_alone(made: MadeUp) -> None:
    made.put_campaign("run", visits=[1])
    insert = made.butler.registry.insertDimensionData
    insert("instrument", {"name": "Other", "class_name": "lsst.obs.test.Other"})
    insert("physical_filter", {"instrument": "Other", "name": "z1", "band": "z"})
    insert("day_obs", {"instrument": "Other", "id": 20261010})
    insert("detector", {"instrument": "Other", "id": 5, "full_name": "S5", "purpose": "SCIENCE"})
    insert(
        "visit",
        {"instrument": "Other", "id": 9, "name": "9", "physical_filter": "z1", "day_obs": 20261010},
    )
    bundle = made.bundle({"level_median": 3.0}, u.electron)
    name = f"{BACKGROUND}_metrics"
    made.put(bundle, name, "MetricMeasurementBundle", "run", instrument="Other", visit=9, detector=5)
    with Campaign(made.path, "run") as campaign:
        assert [(f.root, f.gathered, f.row_count) for f in campaign.tables] == [
            ("Cam", True, 8),
            ("Other", False, 1),
        ]
        assert campaign.table("detector", root="Other").units["level_median"] == "electron"


def test_unreadable_datasets_are_named_left_out_and_counted(
    made: MadeUp, caplog: pytest.LogCaptureFixture
) -> None:
    made.put_bundles("run", [1])
    broken = made.put_bundle("run", 2, 5)
    made.path_of(broken).write_text("{")
    gone = made.put_bundle("run", 2, 6)
    made.path_of(gone).unlink()
    made.put_bundle("run", 2, 7, unit=u.electron)
    table = made.put_visit_table("run", 3)
    made.path_of(table).write_bytes(b"PAR1")
    with Campaign(made.path, "run") as campaign, caplog.at_level(logging.WARNING):
        (family,) = campaign.tables
        for _ in range(2):
            assert len(rows_of(family)) == 8
            assert family.unreadable.count == 4
        text = " ".join(family.unreadable.names)
        for words in (
            "detector': 5",
            "detector: 5",
            "detector: 6",
            "detector: 7",
            "visit_table",
            "convertible",
        ):
            assert (words in text) == (words != "detector': 5")
        # They are gathered once.
        assert sum("is left out" in record.getMessage() for record in caplog.records) == 4


def test_broken_campaign_table_gives_way_to_its_pieces(made: MadeUp) -> None:
    made.put_bundles("run")
    ref = made.put_campaign("run")
    content = made.path_of(ref).read_bytes()
    made.path_of(ref).write_bytes(content[: len(content) // 2])
    with Campaign(made.path, "run") as campaign:
        (family,) = campaign.tables
        assert not family.gathered
        assert len(rows_of(family)) == 24
        assert campaign.unreadable.count == 1
        assert "campaign_table" in campaign.unreadable.names[0]


# --- Many rows -----------------------------------------------------------


def synthetic(visits: int, detectors: int = 189) -> pa.Table:
    """Make a campaign's table with one metric and many rows."""
    count = visits * detectors
    rng = np.random.default_rng(1)
    return pa.table(
        {
            "instrument": pa.repeat("Cam", count),
            "band": pa.repeat("r", count),
            "physical_filter": pa.repeat("Cam-r", count),
            "day_obs": np.full(count, 20261009),
            "visit": np.repeat(np.arange(1, visits + 1), detectors),
            "detector": np.tile(np.arange(detectors), visits),
            "detector_name": pa.repeat("R", count),
            "kind": pa.repeat("", count),
            "verdict": pa.repeat("pass", count),
            "severity": np.zeros(count),
            "failed": pa.repeat("", count),
            "fault": pa.repeat("", count),
            **{name: rng.normal(size=count) for name in ("level_median", "level_mean", "level_std")},
        }
    )


def test_peers_are_never_torn_apart(made: MadeUp) -> None:
    made.put(synthetic(120), f"{BACKGROUND}_campaign_table", "ArrowTable", "run", instrument="Cam")
    calls: list[tuple[int, int]] = []
    with Campaign(made.path, "run") as campaign:
        (family,) = campaign.tables
        assert family.row_count == 120 * 189
        batches = list(family.batches(lambda done, total: calls.append((done, total))))
        assert len(batches) > 2
        seen = [np.unique(batch["visit"].to_numpy()).tolist() for batch in batches]
        assert [visit for visits in seen for visit in visits] == list(range(1, 121))
        assert calls[-1] == (120 * 189, 120 * 189)
        begins = {row["visit"]: row["visit_begin"] for row in batches[0].to_pylist()}
        # Visits 1 and 2 have records with a timespan.
        assert [visit for visit, begin in begins.items() if begin is not None] == [1, 2]


def test_progress_counts_datasets(made: MadeUp) -> None:
    made.put_bundles("run")
    calls: list[tuple[int, int]] = []
    with Campaign(made.path, "run") as campaign:
        list(campaign.tables[0].batches(lambda done, total: calls.append((done, total))))
    assert calls == [(8, 24), (16, 24), (24, 24)]


def peak_memory(path: str, run: str) -> int:
    with Campaign(path, run) as campaign:
        (family,) = campaign.tables
        gc.collect()
        before, most = pa.total_allocated_bytes(), 0
        tracemalloc.start()
        for _ in family.batches():
            most = max(most, pa.total_allocated_bytes() - before)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak + most


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(made: MadeUp) -> None:
    for run, visits in (("small", 500), ("large", 2500)):
        made.put(synthetic(visits), f"{BACKGROUND}_campaign_table", "ArrowTable", run, instrument="Cam")
    peak_memory(made.path, "small")
    small, large = peak_memory(made.path, "small"), peak_memory(made.path, "large")
    assert large < 1.5 * small
    assert large < 30e6


def test_windows_find_every_dataset(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "many", visits=40, detectors=1)
    made.put_bundles("run", [visit for visit in made.visits if visit not in (16, 17)])
    made.put_visit_table("run", 17)
    made.put_visit_table("run", 33)
    with Campaign(made.path, "run") as campaign:
        (family,) = campaign.tables
        assert [row["visit"] for row in rows_of(family)] == [v for v in made.visits if v != 16]
