# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""The judge: what it finds in bins, in a visit, and in a campaign."""

from __future__ import annotations

import math
from collections.abc import Callable

import astropy.units as u
import numpy as np
import pytest
from scipy.interpolate import BSpline

from lsst.bgqa import BackgroundModel
from lsst.bgqa.background import Box
from lsst.bgqa.judge import (
    History,
    JudgeSettings,
    Thresholds,
    add_history,
    compare_detectors,
    compare_history,
    compare_significances,
    describe_failure,
    judge_members,
    judge_rows,
    level_deviations,
    measure_alone,
    measure_together,
    words_for,
)
from lsst.bgqa.judge.bins import Bins
from lsst.bgqa.judge.field import SmoothField, field_terms
from lsst.bgqa.judge.significance import largest_hole
from lsst.bgqa.judge.templates import make_bank
from lsst.bgqa.tasks._campaign import metric_names
from lsst.images import Box as ImageBox
from lsst.images.fields import ChebyshevField, SplineField, SumField

SHAPE = (20, 16)
LEVEL = 2000.0
NOISE = 2e-4


def shapes() -> dict[str, np.ndarray]:
    """Return faults by the words for them."""
    ny, nx = SHAPE
    y, x = np.mgrid[:ny, :nx].astype(float)
    v, u = (2 * y + 1 - ny) / ny, (2 * x + 1 - nx) / nx
    spot = (y - 8) ** 2 + (x - 6) ** 2
    bins = np.zeros(SHAPE)
    bins[[2, 5, 9, 12, 17], [3, 12, 7, 1, 9]] = 1
    hole = np.zeros(SHAPE)
    hole[3:7, 5:9] = np.nan
    return {
        "dark edges": np.exp(-np.minimum(np.minimum(x, nx - 1 - x), np.minimum(y, ny - 1 - y))),
        "a dark corner": np.exp(-(y + x) / 2),
        "an amplifier step: high": (x < 4) + 0.0 * y,
        "a high stripe": (x == 11) + 0.0 * y,
        "a halo (over-subtracted)": np.exp(-spot / 8),
        "a ring about a peak": (1 - spot / 4) * np.exp(-spot / 8),
        "outlier bins: high": bins,
        "an extra gradient": 0.6 * u + 0.3 * v,
        "a bowl: the middle is high": -(u**2 + v**2) / 2,
        "a level offset: above the surroundings": np.full(SHAPE, 4.0),
        "a dead block: bins without a value": hole,
    }


def bins_of_points(values: np.ndarray) -> Bins:
    """Return the bins of a field of lsst.images with points at the centres."""
    y, x = ((np.arange(n) + 0.5) * 128 - 0.5 for n in SHAPE)
    field = SplineField(ImageBox.factory[0:2560, 0:2048], values, y=y, x=x, unit=u.electron)
    pedestal = ChebyshevField(ImageBox.factory[0:2560, 0:2048], np.array([[0.5]]), unit=u.electron)
    return Bins.of(BackgroundModel.from_images(SumField([field, pedestal])))


def bins_of_cells(values: np.ndarray) -> Bins:
    """Return the cells of a field without points: smooth, of second order."""
    v, u_ = ((2 * np.arange(n) + 1 - n) / n for n in SHAPE)
    fit = np.polynomial.chebyshev
    terms = fit.chebvander2d(np.repeat(v, SHAPE[1]), np.tile(u_, SHAPE[0]), (2, 2))
    coefficients = np.linalg.lstsq(terms, values.ravel())[0].reshape(3, 3)
    box = ImageBox.factory[0:2560, 0:2048]
    return Bins.of(BackgroundModel.from_images(ChebyshevField(box, coefficients, unit=u.electron)))


def visit(
    faults: dict[int, np.ndarray],
    seed: int = 1,
    side: int = 6,
    form: Callable[[np.ndarray], Bins] | None = None,
) -> dict[int, str]:
    """Return what is said of each detector of a square camera."""
    rng = np.random.default_rng(seed)
    bins, corners = [], []
    for number in range(side**2):
        x0, y0 = 1.05 * (number % side), 1.05 * (number // side)
        corner = np.array([[x0, y0], [x0 + 1, y0], [x0 + 1, y0 + 1], [x0, y0 + 1]]) - 0.525 * side
        # Turned by a half, as some of HSC's are.
        corner = corner[[2, 3, 0, 1]] if number % 2 else corner
        v, u = ((np.arange(n) + 0.5) / n for n in SHAPE)
        v = v[:, None]
        weights = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], axis=-1)
        x, y = np.moveaxis(weights @ corner, -1, 0)
        sky = 1 + 0.02 * x - 0.01 * y + 0.004 * (x**2 + y**2)
        noise = NOISE * rng.normal(size=SHAPE)
        fault = 0.01 * faults[number] if number in faults else 0.0
        values = LEVEL * sky * (1 + noise + fault) * (1 + 0.002 * rng.normal())
        made = Bins(values, np.full(SHAPE, NOISE * LEVEL), Box(0, 0, 2048, 2560))
        bins.append(made if form is None else form(values))
        corners.append(corner)
    settings = JudgeSettings((4, 1))
    members, shared = measure_together(bins, corners, [""] * len(bins), settings)
    assert not shared
    rows = [member.values | {"level_median": LEVEL} for member in members]
    columns = judge_members(rows, members, metric_names(), Thresholds())
    assert [word == "fail" for word in columns["verdict"]] == [bool(words) for words in columns["fault"]]
    return dict(enumerate(columns["fault"].tolist()))


@pytest.mark.parametrize("words", shapes())
def test_each_fault_is_found_and_named_and_nothing_else(words: str) -> None:
    said = visit({14: shapes()[words]})
    assert said.pop(14).startswith(words)
    assert set(said.values()) == {""}


@pytest.mark.parametrize("words", shapes())
def test_faults_of_fields_are_found_at_their_points(words: str) -> None:
    said = visit({14: shapes()[words]}, form=bins_of_points)
    assert said.pop(14).startswith(words)
    assert set(said.values()) == {""}


@pytest.mark.parametrize("words", ["an extra gradient", "a bowl: the middle is high", "a level offset"])
def test_faults_of_fields_without_points_are_found_in_cells(words: str) -> None:
    (fault,) = [shape for name, shape in shapes().items() if name.startswith(words)]
    said = visit({14: fault}, form=bins_of_cells)
    assert said.pop(14).startswith(words)
    assert set(said.values()) == {""}


def test_sign_size_and_place_are_told() -> None:
    said = visit({8: -shapes()["a high stripe"], 21: shapes()["an amplifier step: high"]})
    assert said[8].startswith("a low stripe (x = 1472, ")
    assert "% of the sky" in said[8]
    assert "amplifier 0, 1 % of the sky" in said[21]


def test_what_all_detectors_share_is_the_visits() -> None:
    rng = np.random.default_rng(3)
    edge = 0.01 * shapes()["dark edges"]
    bins = [
        Bins(LEVEL * (1 + edge + NOISE * rng.normal(size=SHAPE)), np.zeros(SHAPE), Box(0, 0, 2048, 2560))
        for _ in range(12)
    ]
    members, shared = measure_together(bins, [None] * 12, [""] * 12, JudgeSettings())
    assert [list(member.places) for member in shared] == [["edge"]]
    assert all(abs(member.values["significance_edgeSigma"]) < 5 for member in members)


def test_clean_visits_pass() -> None:
    failing = sum(bool(words) for seed in range(8) for words in visit({}, seed).values())
    # Of 288 detectors, one in a hundred may.
    assert failing <= 2


def test_templates_have_no_smooth_part() -> None:
    bank = make_bank(SHAPE, (4, 1), 1)
    local = [i for i, template in enumerate(bank.templates) if template.family != "gradient"]
    smooth = bank.basis.T.reshape(-1, *SHAPE)
    assert np.abs(bank.project(smooth)[:, local]).max() < 1e-4


def test_templates_find_themselves() -> None:
    bank = make_bank(SHAPE, (4, 1), 1)
    assert bank.project(np.zeros((1, *SHAPE))).shape == (1, len(bank.templates))
    for number in [end for members in bank.families.values() for end in (members.start, members.stop - 1)]:
        shape = bank.draw(number)
        found = bank.project(shape[None])[0]
        # Of norm one, a template has its own norm of itself, and less of others.
        assert found[number] == pytest.approx(bank.norms[number], rel=1e-4)
        if bank.templates[number].family != "gradient":
            assert (
                np.abs(found[[t.family != "gradient" for t in bank.templates]]).max() < 1.001 * found[number]
            )
    assert make_bank(SHAPE, (4, 1), 1) is bank
    ring = bank.families["ring"].start
    assert np.abs(bank.draw(ring)).max() == pytest.approx(1, abs=0.01)


def test_radial_splines_are_scipys() -> None:
    rng = np.random.default_rng(1)
    positions = rng.uniform(-0.75, 0.75, (200, 2))
    order, pieces = 3, 13
    coefficients = rng.normal(size=9 + pieces + 2)
    inner = np.sqrt(np.linspace(0.35**2, 1.0, pieces + 1))
    knots = np.concatenate([[inner[0]] * 3, inner, [inner[-1]] * 3])
    spline = BSpline(knots, np.concatenate([[0.0], coefficients[9:]]), 3)
    x, y = positions.T
    powers = [x ** (n - j) * y**j for n in range(1, 4) for j in range(n + 1)]
    expected = np.stack(powers, axis=1) @ coefficients[:9] + spline(np.clip(np.hypot(x, y), 0.35, None))
    field = SmoothField(order, pieces, coefficients)
    np.testing.assert_allclose(field(positions), expected, atol=1e-12)
    np.testing.assert_allclose(field_terms(positions, order, pieces) @ coefficients, expected, atol=1e-12)


def test_largest_hole_is_connected_by_sides() -> None:
    missing = np.zeros((5, 5), dtype=bool)
    assert largest_hole(missing) == 0
    missing[[0, 0, 1, 3, 4], [0, 1, 2, 3, 4]] = True
    assert largest_hole(missing) == 2


def test_history_leaves_the_visit_itself_out() -> None:
    history = History()
    usual = np.array([0.004, -0.01, 0.002, 0.0, 0.001, -0.002])
    visits = [usual + 1e-4 * i for i in range(5)]
    visits[3] = visits[3] + np.array([0, 0.015, 0, 0, 0, 0])
    for deviations in visits:
        history.add(range(6), deviations)
    changes, sigmas = history.changes(range(6), visits[3], 0.002)
    assert changes[1] == pytest.approx(0.015, abs=1e-3)
    assert np.flatnonzero(np.abs(sigmas) > 5).tolist() == [1]
    for number in (0, 1, 2, 4):
        assert np.abs(history.changes(range(6), visits[number], 0.002)[1]).max() < 1


def test_of_two_others_that_disagree_neither_is_blamed_on_the_third() -> None:
    history = History()
    for deviation in (0.0, 0.05, 0.001):
        history.add(["a", "b", "c"], np.array([deviation, 0.0, 0.0]))
    assert abs(history.changes("abc", np.array([0.001, 0.0, 0.0]), 0.002)[1][0]) < 1
    assert history.changes("abc", np.array([0.05, 0.0, 0.0]), 0.002)[1][0] > 5
    history = History()
    history.add(["a"], np.array([0.1]))
    assert np.isnan(history.changes(["a"], np.array([0.1]), 0.002)[0]).all()


def test_peers_scale_significances() -> None:
    names = ["significance_edgeSigma", "significance_edgeAmplitude", "level_median"]
    values = np.column_stack(
        [[10.0, -11.0, 12.0, -10.0, 999.0], [9.0, -9.0, 9.0, -9.0, 90.0], np.full(5, 1e3)]
    )
    compare_significances(names, values, 1e-4)
    failing = judge_rows(names, values, [""] * 5, Thresholds()).failures
    assert [failure.row for failure in failing] == [4]
    assert (values[1, 0] < 0) and set(values[:, 2]) == {1e3}
    # The noise is less than was thought: more is found, but nothing small.
    values = np.column_stack([[0.1, -0.1, 0.1, 3.0, 3.0], [0.1, -0.1, 0.1, 9.0, 0.2], np.full(5, 1e3)])
    compare_significances(names, values, 1e-4)
    failing = judge_rows(names, values, [""] * 5, Thresholds()).failures
    assert [failure.row for failure in failing] == [3]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("words", ["an extra gradient", "a bowl: the middle is high", "dark edges"])
def test_detectors_that_were_measured_alone_are_compared(words: str, mirrored: bool) -> None:
    rng = np.random.default_rng(8)
    names = metric_names()
    side, faulty = 6, 14
    rows, vertices = [], []
    for number in range(side**2):
        x0, y0 = 1.05 * (number % side), 1.05 * (number // side)
        corner = np.array([[x0, y0], [x0 + 1, y0], [x0 + 1, y0 + 1], [x0, y0 + 1]]) - 0.525 * side
        v, u = ((2 * np.arange(n) + 1 - n) / n for n in SHAPE)
        y, x = corner.mean(axis=0)[1] + v[:, None] / 2, corner.mean(axis=0)[0] + u / 2
        sky = 1 + 0.02 * x - 0.01 * y + 0.004 * (x**2 + y**2)
        fault = 0.01 * shapes()[words] if number == faulty else 0.0
        values = LEVEL * sky * (1 + NOISE * rng.normal(size=SHAPE) + fault)
        bins = Bins(values, np.full(SHAPE, NOISE * LEVEL), Box(0, 0, 2048, 2560))
        plane = np.linalg.lstsq(
            np.stack([np.ones(values.size), np.tile(u, SHAPE[0]), np.repeat(v, SHAPE[1])], axis=1),
            values.ravel(),
        )[0]
        rows.append(
            measure_alone(bins, JudgeSettings((4, 1))).values
            | {
                "level_median": bins.level,
                "coverage_pixelCount": 2048 * 2560,
                "shape_gradientX": plane[1] / 1024 * 1000,
                "shape_gradientY": plane[2] / 1280 * 1000,
            }
        )
        vertices.append(corner if mirrored else corner[[1, 0, 3, 2]])
    table = np.array([[row.get(name, np.nan) for name in names] for row in rows])
    compare_detectors(names, table, vertices, 7e-5, 5e-3)
    judgement = judge_rows(names, table, [""] * len(table), Thresholds())
    assert [i for i, verdict in enumerate(judgement.verdicts) if verdict == "fail"] == [faulty]
    assert judgement.fault(faulty, dict(zip(names, table[faulty].tolist(), strict=True))).startswith(words)


def test_words() -> None:
    assert words_for("significance_edgeSigma", 9, -5, 5) == "dark edges"
    assert words_for("significance_edgeSigma", -9, -5, 5) == "bright edges"
    row = {"significance_edgeAmplitude": 6.2, "level_median": 2000.0}
    assert (
        describe_failure("significance_edgeSigma", 9, -5, 5, row) == "dark edges (0.31 % of the sky, 9 sigma)"
    )
    assert describe_failure("shape_roughness", 9, math.nan, 5, {}) == "shape_roughness"


def test_words_from_before_are_kept_and_new_ones_added() -> None:
    names = ["significance_edgeSigma", "context_levelChangeSigma"]
    judgement = judge_rows(names, np.array([[9.0, 8.0]]), [""], Thresholds())
    known = ("significance_edgeSigma", "dark edges (here)")
    row = {"context_levelChange": 0.02}
    words = judgement.fault(0, row, None, known)
    assert words == "dark edges (here); a level offset: higher than usual (2 % of the sky, 8 sigma)"
    # What was said of another metric does not count any more.
    assert "(here)" not in judgement.fault(0, row, None, ("significance_spotSigma", "a halo (here)"))


def test_history_knows_slopes_and_curvature() -> None:
    names = metric_names()
    rng = np.random.default_rng(4)
    usual = rng.normal(0, 1e-3, (20, 3))
    columns = [names.index(f"context_{name}") for name in ("slopeX", "slopeY", "curvature")]
    history = History()
    visits = []
    for number in range(4):
        values = np.full((20, len(names)), np.nan)
        values[:, columns] = usual + rng.normal(0, 1e-4, (20, 3))
        values[:, names.index("context_levelDeviation")] = 0.0
        if number == 2:
            values[5, columns[0]] += 2e-3
            values[7, columns[2]] -= 3e-3
            # A halo has a slope as well.
            values[9, columns[1]] += 5e-3
            values[9, names.index("significance_spotSigma")] = 40.0
        visits.append(values)
        add_history(history, names, values, range(20))
    said: dict[tuple[int, int], str] = {}
    for number, values in enumerate(visits):
        compare_history(history, names, values, range(20), 2e-3, 7e-5)
        judgement = judge_rows(names, values, [""] * 20, Thresholds())
        for row in {failure.row for failure in judgement.failures}:
            said[number, row] = judgement.fault(row, dict(zip(names, values[row].tolist(), strict=True)))
    assert said.pop((2, 5)).startswith("an extra gradient: another than usual (0.2 % of the sky, ")
    assert said.pop((2, 7)).startswith("a bowl: the middle is lower than usual (0.3")
    assert said.pop((2, 9)).startswith("a halo")
    assert not said


def test_memory_of_history_is_bounded() -> None:
    history = History()
    rng = np.random.default_rng(5)
    for _ in range(3000):
        history.add(["a"], rng.normal(0.01, 0.001, 1))
    assert history._samples.shape == (1, 256)
    change, _ = history.changes(["a", "a"], np.array([0.01, 0.05]), 0.001)
    # A visit's common change is none of the places'.
    assert change[1] - change[0] == pytest.approx(0.04, abs=5e-4)


def test_kinds_have_levels_of_their_own() -> None:
    rng = np.random.default_rng(6)
    centers = rng.uniform(-0.7, 0.7, (60, 2))
    levels = 1000 * (1 + 0.05 * centers[:, 0] + 0.001 * rng.normal(size=60))
    kinds = ["itl" if x < 0.3 else "e2v" for x in rng.uniform(size=60)]
    levels[[kind == "itl" for kind in kinds]] *= 1.06
    levels[3] *= 1.05
    _, together = level_deviations(levels, centers, 5e-3)
    _, apart = level_deviations(levels, centers, 5e-3, kinds=kinds)
    assert np.flatnonzero(np.abs(apart) > 4.5).tolist() == [3]
    assert abs(together[3]) < abs(apart[3])


def test_models_and_grids_may_be_mixed_in_a_visit() -> None:
    """Of each shape of grid the noise is its own; the model does not matter."""
    rng = np.random.default_rng(7)
    grids, corners = [], []
    for number in range(36):
        shape = SHAPE if number % 3 else (10, 8)
        values = LEVEL * (1 + (1 if number % 3 else 4) * NOISE * rng.normal(size=shape))
        if number in (9, 10):
            values *= 1 + 0.01 * (np.arange(shape[1]) == 2)
        x0, y0 = 1.05 * (number % 6), 1.05 * (number // 6)
        grids.append(Bins(values, np.zeros(shape), Box(0, 0, 128 * shape[1], 128 * shape[0])))
        corners.append(np.array([[x0, y0], [x0 + 1, y0], [x0 + 1, y0 + 1], [x0, y0 + 1]]) - 3)
    members, _ = measure_together(grids, corners, [""] * 36, JudgeSettings((4, 1)))
    columns = judge_members([m.values for m in members], members, metric_names(), Thresholds())
    assert {i: words.partition(" (")[0] for i, words in enumerate(columns["fault"]) if words} == {
        9: "a high stripe",
        10: "a high stripe",
    }
