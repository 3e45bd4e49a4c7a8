# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
from __future__ import annotations

import json
import uuid
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest

from lsst.bgqa import stack
from lsst.bgqa.metrics import Measurement, MetricBundle, make_bundle, quantities_of
from lsst.daf.butler import Butler, DatasetType

DATA = Path(__file__).parent / "data" / "bundle"
REAL = (DATA / "bundle.json").read_text().strip()

QUANTITIES = {
    "coverage_pixelCount": u.Quantity(np.float64(16288000), u.ct),
    "level_median": u.Quantity(np.float32(1200.5), u.adu),
    "level_negativeFraction": u.Quantity(0),
    "shape_gradientX": 2.5 * u.adu / u.Unit("kpix"),
}

standalone_only = pytest.mark.skipif(
    stack.metric_bundle_type() is not None, reason="lsst.analysis.tools has a type of its own"
)


def test_real_bundle_is_reproduced_to_the_byte() -> None:
    assert MetricBundle.model_validate_json(REAL).model_dump_json() == REAL


def test_real_bundle_is_understood() -> None:
    bundle = MetricBundle.model_validate_json(REAL.encode())
    assert bundle.metricNamePrefix == "backgroundQa_"
    assert list(bundle) == ["level", "coverage", "shape"]
    quantities = quantities_of(bundle)
    assert quantities["level_median"] == 1200.9476 * u.adu
    assert quantities["level_negativeFraction"].unit == u.dimensionless_unscaled
    assert quantities["shape_gradientX"].unit == u.adu / u.pix


def test_sasquatch_would_find_topics_and_fields() -> None:
    # As the dispatcher does: the prefix and the group name the topic.
    topics = json.loads((DATA / "sasquatch_records.json").read_text())["topics"]
    bundle = MetricBundle.model_validate_json(REAL)
    made = {
        bundle.metricNamePrefix + group: {m.metric_name: m.quantity.value for m in measurements}
        for group, measurements in bundle.items()
    }
    assert made.keys() == topics.keys()
    for topic, fields in made.items():
        record = topics[topic][0]["value"]
        assert {name: record[name] for name in fields} == fields


@standalone_only
def test_bundle_has_what_the_dispatcher_asks_for() -> None:
    # It takes the attributes of lsst.verify's measurements.
    bundle = make_bundle(QUANTITIES, dataset_identifier="DP1")
    assert (bundle.metricNamePrefix, bundle.dataset_identifier) == ("backgroundQa_", "DP1")
    assert bundle.timestamp_version is None and bundle.reference_package is None
    for measurements in bundle.values():
        for measurement in measurements:
            name = measurement.metric_name.metric
            assert type(name) is str
            assert dict(measurement.notes.items()).get(f"{name}.metric_tags", []) == []
            assert measurement.json["metric"] == name
            assert type(measurement.json["value"]) is float


def test_bundle_has_the_form_of_the_real_one() -> None:
    real = json.loads(REAL)
    made = json.loads(make_bundle(QUANTITIES).json())
    assert list(made) == ["coverage", "level", "shape", "__metricNamePrefix"]
    assert made["__metricNamePrefix"] == real["__metricNamePrefix"]
    measurement = made["level"][0]
    assert list(measurement) == list(real["level"][0])
    assert measurement["value"] == 1200.5
    assert measurement["unit"] == "adu"
    assert made["shape"][0]["unit"] == "adu / kpix"
    assert made["level"][1]["unit"] == ""
    assert all(type(m["value"]) is float for g in ("coverage", "level", "shape") for m in made[g])
    assert uuid.UUID(measurement["identifier"]).hex == measurement["identifier"]


def test_bundle_gives_back_what_was_put_in() -> None:
    assert quantities_of(make_bundle(QUANTITIES)) == QUANTITIES


def test_undefined_values_are_left_out() -> None:
    bundle = make_bundle(
        {"level_max": np.inf * u.adu, "level_median": 1 * u.adu, "shape_gradientX": np.nan * u.adu}
    )
    assert [(group, [str(m.metric_name) for m in entries]) for group, entries in bundle.items()] == [
        ("level", ["median"])
    ]


def test_the_same_measurement_gives_the_same_bytes() -> None:
    assert make_bundle(QUANTITIES, identity="a").json() == make_bundle(QUANTITIES, identity="a").json()


def test_identifiers_are_unique_within_and_among_datasets() -> None:
    identifiers = [
        measurement.identifier
        for identity in ("visit 1", "visit 2")
        for measurements in make_bundle(QUANTITIES, identity=identity).values()
        for measurement in measurements
    ]
    assert len(set(identifiers)) == 2 * len(QUANTITIES)


def test_dispatch_settings_are_kept() -> None:
    settings = {
        "reference_package": "pipe_base",
        "timestamp_version": "run_timestamp",
        "dataset_identifier": "DP1",
    }
    bundle = make_bundle(QUANTITIES, prefix="sky_", **settings)
    document = json.loads(bundle.json())
    assert {name: document[f"__{name}"] for name in settings} == settings
    assert document["__metricNamePrefix"] == "sky_"
    again = MetricBundle.model_validate_json(bundle.json())
    assert {name: getattr(again, name) for name in settings} == settings
    assert again.metricNamePrefix == "sky_"


@standalone_only
def test_bundles_differ_by_values_and_settings() -> None:
    bundle = make_bundle(QUANTITIES)
    assert bundle == make_bundle(QUANTITIES)
    assert bundle != make_bundle({**QUANTITIES, "level_median": 2 * u.adu})
    assert bundle != make_bundle(QUANTITIES, dataset_identifier="DP1")


@pytest.mark.parametrize("name", ["median", "_median", "level_"])
def test_name_without_a_group_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="group_name"):
        make_bundle({name: 1 * u.adu})


def test_null_is_not_a_number() -> None:
    # lsst.verify writes a NaN as null.
    text = REAL.replace("1200.9476", "null")
    bundle = MetricBundle.model_validate_json(text)
    assert np.isnan(bundle["level"][0].quantity.value)
    assert bundle.model_dump_json() == text


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "nonsense",
        '{"level": {}}',
        '{"level": ["median"]}',
        '{"level": [{"metric": "median"}]}',
        '{"level": [{"metric": "median", "identifier": "0", "value": "high", "unit": "adu"}]}',
        '{"level": [{"metric": "median", "identifier": "0", "value": 1, "unit": "parsnip"}]}',
    ],
)
def test_what_is_not_a_bundle_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        MetricBundle.model_validate_json(text)


def test_measurement_is_frozen() -> None:
    measurement = Measurement("median", "0" * 32, 1.0, "adu")
    with pytest.raises(AttributeError):
        measurement.value = 2.0  # type: ignore[misc]


def test_butler_keeps_a_bundle(tmp_path: Path) -> None:
    Butler.makeRepo(str(tmp_path))
    with Butler.from_config(str(tmp_path), run="metrics") as butler:
        dataset_type = DatasetType(
            "sky_metrics", butler.dimensions.empty, "MetricMeasurementBundle", universe=butler.dimensions
        )
        butler.registry.registerDatasetType(dataset_type)
        bundle = make_bundle(QUANTITIES, identity="sky")
        ref = butler.put(bundle, "sky_metrics")
        again = butler.get("sky_metrics")
        assert type(again) is type(bundle)
        assert quantities_of(again) == QUANTITIES
        assert again.json() == bundle.json()
        assert butler.getURI(ref).read().decode() == bundle.json()
