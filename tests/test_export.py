# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Exports: the long table, line protocol, and the command that writes them."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from campaigns import BACKGROUND, MadeUp
from click.testing import CliRunner

from lsst.bgqa.cli import main
from lsst.bgqa.dashboard import Campaign
from lsst.bgqa.dashboard._output import whole_file
from lsst.bgqa.dashboard.export import export_points, export_table
from lsst.bgqa.dashboard.line_protocol import escape_measurement, escape_tag

BUNDLE = Path(__file__).parent / "data" / "bundle"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    made = MadeUp(tmp_path_factory.mktemp("export") / "repo")
    made.put_bundles("run")
    made.put_others("run")
    made.put_patch("run", 4, 0, "r", {"level_median": 1.5, "closure_consistent": 0.0})
    return made


def parse(line: str) -> tuple[str, dict[str, str], dict[str, float], int]:
    """Take a line of line protocol to pieces."""
    measurement, *rest = re.split(r"(?<!\\)[, ]", line)
    head, fields, time = re.split(r"(?<!\\) ", line)
    unescape = {r"\,": ",", r"\ ": " ", r"\=": "="}

    def plain(text: str) -> str:
        return re.sub(r"\\[, =]", lambda match: unescape[match[0]], text)

    def pairs(text: str) -> list[tuple[str, str]]:
        split = (re.split(r"(?<!\\)=", pair) for pair in re.split(r"(?<!\\),", text))
        return [(plain(key), plain(value)) for key, value in split]

    assert rest
    tags = dict(pairs(head.removeprefix(measurement).removeprefix(",")))
    return plain(measurement), tags, {k: float(v) for k, v in pairs(fields)}, int(time)


def export(made: MadeUp, *arguments: str, collection: str = "run") -> Any:
    return CliRunner().invoke(main, ["export", made.path, collection, *arguments])


# --- The long table ------------------------------------------------------


def test_each_value_has_a_row(made: MadeUp, tmp_path: Path) -> None:
    result = export(made, "--format", "parquet", "-o", str(tmp_path / "a.parquet"))
    assert result.exit_code == 0, result.output
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    detectors = [row for row in rows if row["kind"] == "detector"]
    assert len(detectors) == sum(len(made.values(v, d)) for v in made.visits for d in made.detectors)
    for visit, detector in ((1, 1), (2, 2), (3, 7)):
        here = [row for row in detectors if (row["visit"], row["detector"]) == (visit, detector)]
        assert {row["metric"]: row["value"] for row in here} == made.values(visit, detector)
        assert {row["metric"]: row["unit"] for row in here}["level_median"] == "adu"
        assert {row["metric"]: row["unit"] for row in here}["coverage_finiteFraction"] == ""
        assert {row["dataset_type"] for row in here} == {f"{BACKGROUND}_metrics"}
        assert {row["band"] for row in here} == {made.band(visit)}
    verdicts = {(row["detector"], row["metric"]): row["verdict"] for row in detectors if row["visit"] == 1}
    assert verdicts[1, "coverage_finiteFraction"] == "fail"
    assert verdicts[2, "level_median"] == "fail"
    assert verdicts[1, "level_median"] == "pass"
    assert verdicts[1, "shape_gradientX"] == "unknown"
    assert {row["kind"] for row in rows} == {"detector", "visit", "stack", "patch", "tract"}
    (patch,) = [row for row in rows if row["metric"] == "closure_consistent"]
    assert (patch["skymap"], patch["tract"], patch["patch"], patch["band"]) == ("map", 4, 0, "r")
    assert patch["visit"] is None and patch["instrument"] == "" and patch["visit_begin"] is None
    assert patch["verdict"] == "fail"


def test_parquet_says_where_it_is_from(made: MadeUp, tmp_path: Path) -> None:
    export(made, "--format", "parquet", "-o", str(tmp_path / "a.parquet"))
    metadata = pq.read_schema(tmp_path / "a.parquet").metadata
    assert (metadata[b"repo"].decode(), metadata[b"collection"]) == (made.path, b"run")


@pytest.mark.parametrize("reader", ["astropy", "pandas", "duckdb", "polars"])
def test_parquet_is_read_by_what_astronomers_use(made: MadeUp, tmp_path: Path, reader: str) -> None:
    path = tmp_path / "a.parquet"
    export(made, "--format", "parquet", "-o", str(path))
    expected = pq.read_table(path).to_pylist()
    if reader == "astropy":
        from astropy.table import Table

        table = Table.read(path)
        found = {name: table[name].tolist() for name in table.colnames}
    elif reader == "pandas":
        import pandas

        frame = pandas.read_parquet(path)
        found = {name: frame[name].tolist() for name in frame.columns}
    elif reader == "duckdb":
        duckdb = pytest.importorskip("duckdb")
        answer = duckdb.connect().execute(f"select * exclude visit_begin from read_parquet('{path}')")
        rows = answer.fetchall()
        found = {column[0]: [row[i] for row in rows] for i, column in enumerate(answer.description)}
    else:
        import polars

        found = polars.read_parquet(path).to_dict(as_series=False)
    for name in ("kind", "band", "visit", "metric", "unit", "verdict", "value"):
        for got, row in zip(found[name], expected, strict=True):
            # A number that is not there is NaN or None.
            assert got == row[name] or (row[name] is None and (got is None or got != got)), name


def test_csv_and_parquet_agree(made: MadeUp, tmp_path: Path) -> None:
    export(made, "--format", "parquet", "-o", str(tmp_path / "a.parquet"))
    result = export(made, "--format", "csv")
    assert result.exit_code == 0
    expected = pq.read_table(tmp_path / "a.parquet").to_pylist()
    found = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        assert float(row["value"]) == other["value"]
        for name, value in other.items():
            if name == "visit_begin":
                time = (
                    value and value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds") + "Z"
                )
                assert row[name] == (time or "")
            elif name != "value":
                assert row[name] == ("" if value is None else str(value))


def test_kinds_can_be_chosen(made: MadeUp) -> None:
    result = export(made, "--format", "csv", "--kind", "visit", "--kind", "tract")
    assert {row["kind"] for row in csv.DictReader(io.StringIO(result.stdout))} == {"visit", "tract"}


def test_summary_counts_what_is_left_out(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=1, detectors=2)
    made.put_bundles("run")
    made.path_of(made.put_bundle("other", 1, 0)).write_text("nonsense")
    made.put_bundle("other", 1, 1)
    result = export(made, "--format", "csv", "-o", str(tmp_path / "a.csv"), collection="other,run")
    assert result.exit_code == 0
    assert "5 values of calexpBackground (detector, Cam)" in result.stderr
    assert "1 dataset could not be read" in result.stderr
    assert result.stdout == ""


def test_summary_tells_that_the_table_is_old(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", detectors=2)
    made.put_bundles("run")
    made.put_campaign("run", visits=[1, 2])
    result = export(made, "--format", "csv", "-o", str(tmp_path / "a.csv"))
    assert "calexpBackground_campaign_table lacks 2 of the backgrounds" in result.stderr
    made.put_campaign("newer")
    result = export(made, "--format", "csv", "-o", str(tmp_path / "a.csv"), collection="newer,run")
    assert "lacks" not in result.stderr
    assert result.exit_code == 0


# --- Line protocol -------------------------------------------------------


def test_lines_have_what_the_dispatcher_sends(tmp_path: Path) -> None:
    """Of the same bundle, at the same data ID and run, as analysis_tools'
    dispatcher made its records.
    """
    topics = json.loads((BUNDLE / "sasquatch_records.json").read_text())
    records = {topic: entries[0]["value"] for topic, entries in topics["topics"].items()}
    ids = next(iter(records.values()))
    made = MadeUp(tmp_path / "repo", visits=1, instrument=ids["instrument"])
    insert = made.butler.registry.insertDimensionData
    root = {"instrument": ids["instrument"]}
    insert("physical_filter", {**root, "name": ids["physical_filter"], "band": ids["band"]})
    # Without a timespan, the time is that of the run.
    insert(
        "visit",
        {
            **root,
            "id": int(ids["visit"]),
            "name": "v",
            "physical_filter": ids["physical_filter"],
            "day_obs": 20261009,
        },
    )
    # The file as it is: of whichever type a Butler's bundles are here.
    data_id = {**root, "visit": int(ids["visit"]), "detector": int(ids["detector"])}
    made.ingest(BUNDLE / "bundle.json", ids["dataset_type"], "MetricMeasurementBundle", ids["run"], **data_id)
    result = export(made, "--format", "influx", collection=ids["run"])
    assert result.exit_code == 0, result.output
    points = {line[0]: line for line in map(parse, result.stdout.splitlines())}
    assert points.keys() == {f"{topics['namespace']}.{topic}" for topic in records}
    about = {"id", "tags", "reference_package", "reference_package_version", "reference_package_timestamp"}
    about |= {"run_timestamp", "timestamp"}
    for topic, record in records.items():
        _, tags, fields, time = points[f"{topics['namespace']}.{topic}"]
        texts = {k: v for k, v in record.items() if isinstance(v, str) and v and k not in about}
        assert tags == {**texts, "day_obs": "20261009"}
        assert fields == {k: v for k, v in record.items() if isinstance(v, float) and k not in about}
        assert time == record["timestamp"] * 1e9


def test_points_are_complete(made: MadeUp) -> None:
    result = export(made, "--format", "influx", "--kind", "detector")
    points = [parse(line) for line in result.stdout.splitlines()]
    for visit in made.visits:
        for detector in made.detectors:
            here = [p for p in points if (p[1]["visit"], p[1]["detector"]) == (str(visit), str(detector))]
            found = {
                f"{measurement.removeprefix('lsst.dm.backgroundQa_')}_{name}": value
                for measurement, _, fields, _ in here
                for name, value in fields.items()
            }
            assert found == made.values(visit, detector)
    assert list(points[0][1]) == sorted(points[0][1])


def test_times_are_those_of_visits_or_runs(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=2, detectors=1)
    made.put_bundles("u/me/20261122T010203Z")
    made.put_bundles("u/me/noTime")
    for run in ("u/me/20261122T010203Z", "u/me/noTime"):
        result = export(made, "--format", "influx", collection=run)
        times = {tags["visit"]: time for _, tags, _, time in map(parse, result.stdout.splitlines())}
        utc = made.begin(1).utc.to_datetime(UTC)
        assert times["1"] == round(utc.timestamp() * 1e3) * 1_000_000
        if run.endswith("Z"):
            assert times["2"] == datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC).timestamp() * 1e9
        else:
            # When it was put there: now, and the next time the same.
            assert abs(times["2"] * 1e-9 - datetime.now(UTC).timestamp()) < 600
            assert export(made, "--format", "influx", collection=run).stdout == result.stdout


def test_settings_of_bundles_are_kept(tmp_path: Path) -> None:
    from lsst.bgqa.metrics import make_bundle

    made = MadeUp(tmp_path / "repo", visits=1, detectors=1)
    import astropy.units as u

    bundle = make_bundle({"level_median": 2 * u.adu}, prefix="sky_", dataset_identifier="DP 1")
    data_id = {"instrument": "Cam", "visit": 1, "detector": 0}
    made.put(bundle, f"{BACKGROUND}_metrics", "MetricMeasurementBundle", "run", **data_id)
    made.put_campaign("run")
    result = export(made, "--format", "influx", "--namespace", "lsst.debug")
    lines = [parse(line) for line in result.stdout.splitlines()]
    assert {line[0] for line in lines} == {
        "lsst.debug.sky_level",
        "lsst.debug.sky_coverage",
        "lsst.debug.sky_shape",
    }
    assert {line[1]["dataset_tag"] for line in lines} == {"DP 1"}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain", "plain"),
        ("a b,c=d", r"a\ b\,c\=d"),
        ('say "hi"', r'say\ "hi"'),
        ("two\nlines\r\n", r"two\ lines\ "),
        ("back\\slash", "back\\slash"),
        ("end\\", "end/"),
        ("sky-ü", "sky-ü"),
    ],
)
def test_tags_are_escaped(text: str, escaped: str) -> None:
    assert escape_tag(text) == escaped


def test_measurements_are_escaped() -> None:
    assert escape_measurement("a b,c=d") == r"a\ b\,c=d"


def test_values_that_are_not_finite_are_no_fields(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=1, detectors=1)
    table = made.butler.get(made.put_campaign("first"))
    column = table.schema.get_field_index("level_median")
    table = table.set_column(column, table.schema.field(column), pa.array([math.inf]))
    made.put(table, f"{BACKGROUND}_campaign_table", "ArrowTable", "second", instrument="Cam")
    result = export(made, "--format", "influx", collection="second")
    fields = {name for line in result.stdout.splitlines() for name in parse(line)[2]}
    assert fields == {"pixelCount", "finiteFraction", "gradientX"}


# --- Files ---------------------------------------------------------------


def test_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.csv"]
    with whole_file(path) as stream:
        stream.write(b"after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert os.listdir(tmp_path) == ["a.csv"]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--format", "parquet"), 2, "-o"),
        (("--format", "parquet", "-o", "-"), 2, "-o"),
        (("--format", "csv", "--url", "http://localhost:1"), 2, "--format influx"),
        (("--format", "json"), 2, "json"),
        (("--format", "influx", "--url", "localhost"), 1, "not the URL"),
        (("--format", "influx", "--url", "http://me:secret@localhost:1"), 1, "password"),
        (("--format", "csv", "-o", "/nowhere/at/all.csv"), 1, "/nowhere/at"),
    ],
)
def test_mistakes(made: MadeUp, arguments: tuple[str, ...], code: int, words: str) -> None:
    result = export(made, *arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert "Traceback" not in result.output and "secret" not in result.output
    if code == 1:
        assert len(result.stderr.strip().splitlines()) == 1


def test_kind_that_is_not_there(tmp_path: Path) -> None:
    made = MadeUp(tmp_path / "repo", visits=1, detectors=1)
    made.put_bundles("run")
    result = export(made, "--format", "csv", "--kind", "stack")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "stack" in result.stderr


def test_progress_is_over_all_families(made: MadeUp) -> None:
    calls: list[tuple[int, int]] = []
    with Campaign(made.path, "run") as campaign:
        count = export_points(
            campaign, campaign.tables, [lambda lines: None], progress=lambda *call: calls.append(call)
        )
        assert count > 0
        assert calls[-1] == (28, 28)
        assert [done for done, _ in calls] == sorted(done for done, _ in calls)


# --- Many rows -----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parquet", "csv", "influx"])
def test_memory_does_not_grow_with_the_campaign(tmp_path: Path, form: str) -> None:
    import tracemalloc

    from test_campaign import synthetic

    made = MadeUp(tmp_path / "repo")
    peaks = []
    for run, visits in (("warm", 50), ("small", 100), ("large", 400)):
        made.put(synthetic(visits), f"{BACKGROUND}_campaign_table", "ArrowTable", run, instrument="Cam")
        with Campaign(made.path, run) as campaign, open(os.devnull, "wb") as sink:
            tracemalloc.start()
            if form == "influx":
                export_points(
                    campaign,
                    campaign.tables,
                    [lambda lines: sink.writelines(line.encode() for line in lines)],
                )
            else:
                export_table(campaign, campaign.tables, form, sink)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    # Of a visit its beginning is kept, and nothing of its rows.
    assert peaks[2] - peaks[1] < 300 * 4096


def test_table_has_no_value_that_is_not_there(made: MadeUp, tmp_path: Path) -> None:
    export(made, "--format", "parquet", "-o", str(tmp_path / "a.parquet"))
    values = pq.read_table(tmp_path / "a.parquet")["value"].to_numpy()
    assert len(values) and not np.isnan(values).any()
