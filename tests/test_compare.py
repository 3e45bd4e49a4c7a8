# Copyright 2026 The bgqa developers. BSD-3-Clause; see LICENSE.
"""Two campaigns compared: what changed is named, and noise is not taken for a change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backgrounds import make_layer
from campaigns import MadeUp
from click.testing import CliRunner

from lsst.bgqa import BackgroundModel, measure_background
from lsst.bgqa.background import Box
from lsst.bgqa.cli import main
from lsst.bgqa.dashboard import Campaign
from lsst.bgqa.dashboard.compare import TableComparison, _sign_test, _signed_rank_test, compare_campaigns

VISITS, DETECTORS, BINS = 4, 8, 24
BOX = Box(0, 0, 8 * BINS, 8 * BINS)


def sky(visit: int, detector: int, seed: int, bump: float = 0.0, level: float = 0.0) -> BackgroundModel:
    """A sky with a slope, noise, and maybe a bump of a few bins."""
    y, x = np.mgrid[:BINS, :BINS] / BINS - 0.5
    noise = np.random.default_rng([seed, visit, detector]).normal(0, 0.1, x.shape)
    spot = bump * np.exp(-((x + 0.1) ** 2 + y**2) * BINS**2 / 3)
    usual = np.random.default_rng(detector).normal(0, 1)
    values = 1000 + 100 * visit + usual + 5 * x + 3 * y + noise + spot + level
    return BackgroundModel((make_layer(values, BOX, standard_error=np.full(x.shape, 0.1, np.float32)),))


def put(
    made: MadeUp,
    run: str,
    seed: int,
    bumps: Any = (),
    *,
    height: float = 3.0,
    level: float = 0.0,
    models: bool = False,
) -> None:
    # A RUN cannot be made in a transaction.
    made.put_bundles(run, [])
    if models:
        made._register("calexpBackground", "Background", run, "instrument", "visit", "detector")
    with made.butler.transaction():
        _put(made, run, seed, bumps, height, level, models)


def _put(made: MadeUp, run: str, seed: int, bumps: Any, height: float, level: float, models: bool) -> None:
    for visit in made.visits:
        for detector in made.detectors:
            bump = height if (visit, detector) in bumps else 0.0
            model = sky(visit, detector, seed, bump, level)
            quantities = measure_background(model)
            values = {name: float(quantity.value) for name, quantity in quantities.items()}
            made.put_bundle(run, visit, detector, values)
            if models:
                data_id = {"instrument": made.instrument, "visit": visit, "detector": detector}
                made.put(model, "calexpBackground", "Background", run, **data_id)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    made = MadeUp(tmp_path_factory.mktemp("compare") / "repo", visits=VISITS, detectors=DETECTORS)
    put(made, "first", 1, models=True)
    put(made, "halo", 1, {(2, 3)}, models=True)
    # More in a visit would be what its detectors have in common.
    put(made, "halos", 1, {(visit, d) for visit in made.visits for d in range(3)})
    put(made, "brighter", 1, level=2.0)
    return made


def compare(made: MadeUp, *arguments: str) -> Any:
    return CliRunner().invoke(main, ["compare", made.path, *arguments])


def comparison(made: MadeUp, first: str, second: str, folder: Path) -> TableComparison:
    with Campaign(made.path, first) as one, Campaign(made.path, second) as other:
        (found,) = compare_campaigns(one, other, folder)
        return found


def test_a_fault_that_is_injected_is_named(made: MadeUp, tmp_path: Path) -> None:
    result = compare(made, "first", "halo")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Changed: 32 detector images of calexpBackground.\nNew: a halo")
    assert "in 1 (visit 2, detector 3)." in result.stdout
    found = comparison(made, "first", "halo", tmp_path)
    assert [fault.words for fault in found.new_faults] == ["a halo"]
    assert not found.gone_faults
    assert found.most_changed["visit"][0][0] == "visit 2"
    assert found.most_changed["detector"][0][0] == "detector 3"
    # A row of 32 is no trend.
    assert not found.changed_metrics and not found.regression
    back = comparison(made, "halo", "first", tmp_path)
    assert [fault.words for fault in back.gone_faults] == [fault.words for fault in found.new_faults]
    assert not back.new_faults


def test_equal_campaigns_say_no_change(made: MadeUp, tmp_path: Path) -> None:
    result = compare(made, "first", "first", "--fail-on-regression")
    assert (result.exit_code, result.stdout) == (0, "No change: 32 detector images of calexpBackground.\n")
    found = comparison(made, "first", "first", tmp_path)
    assert {metric.p_value for metric in found.metrics} == {1.0}
    assert {metric.median for metric in found.metrics if metric.count} == {0.0}


class Noisy(MadeUp):
    """Campaigns that differ in their noise alone; a fault is about at its limit."""

    seed = 0

    def values(self, visit: int, detector: int) -> dict[str, float]:
        model = sky(visit, detector, self.seed, 0.68 if (visit, detector) == (1, 2) else 0.0)
        return {name: float(quantity.value) for name, quantity in measure_background(model).items()}


def test_noise_is_no_change(tmp_path: Path) -> None:
    made = Noisy(tmp_path / "repo", visits=3, detectors=6)
    for made.seed in range(21):
        made.put_campaign(f"seed{made.seed}")
    alarms, verdicts = [], set()
    for seed in range(1, 21):
        found = comparison(made, "seed0", f"seed{seed}", tmp_path)
        alarms += [(seed, found.sentences())] if found.changed else []
        verdicts.add(found.now_failing + found.now_passing > 0)
    assert alarms == []
    # Verdicts did flip in some.
    assert verdicts == {True, False}


def test_a_shift_of_all_levels_is_named(made: MadeUp, tmp_path: Path) -> None:
    found = comparison(made, "first", "brighter", tmp_path)
    changed = {metric.name: metric for metric in found.changed_metrics}
    # Visits differ by a hundred; the shift of two is below a tenth of that.
    assert "level_median" not in changed
    level = next(metric for metric in found.metrics if metric.name == "level_median")
    assert level.median == pytest.approx(2.0, abs=1e-3)
    assert (level.count, level.p_value < 1e-6, level.relevant) == (32, True, False)
    assert level.scatter < 1e-3


def test_significantly_more_failures_end_with_3(made: MadeUp) -> None:
    result = compare(made, "first", "halos", "--fail-on-regression")
    assert result.exit_code == 3
    assert "12 fail that passed, 0 pass that failed: significantly more fail." in result.stdout
    assert compare(made, "first", "halos").exit_code == 0
    # One more is not significant; fewer are no regression.
    assert compare(made, "first", "halo", "--fail-on-regression").exit_code == 0
    assert compare(made, "halos", "first", "--fail-on-regression").exit_code == 0


def test_images_of_one_side_alone_are_told(made: MadeUp, tmp_path: Path) -> None:
    made.put_bundle("less", 1, 0)
    made.put_bundle("less", 1, 1)
    found = comparison(made, "first", "less", tmp_path)
    assert found.rows == 2
    assert found.only_first == {"visit 1": 6, "visit 2": 8, "visit 3": 8, "visit 4": 8}
    assert found.only_second == {}
    assert "30 are in the first alone: visit 1, visit 2, visit 3, ...." in found.sentences()


def test_two_repositories(made: MadeUp, tmp_path: Path) -> None:
    other = MadeUp(tmp_path / "other", visits=VISITS, detectors=DETECTORS)
    put(other, "elsewhere", 1, {(2, 3)})
    result = compare(made, "first", "elsewhere", "--repo-b", other.path)
    assert "New: a halo, in 1 (visit 2, detector 3)." in result.stdout
    result = compare(made, "first", "elsewhere")
    assert result.exit_code == 1
    assert "elsewhere" in result.stderr and result.stderr.count("\n") == 1


def test_backgrounds_are_compared_pixel_by_pixel(made: MadeUp, tmp_path: Path) -> None:
    result = compare(made, "first", "halo", "--pixels", "1")
    expected = sky(2, 3, 1, 3.0).render() - sky(2, 3, 1).render()
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("visit 2, detector 3: median")]
    numbers = [
        float(text) for text in re.findall(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", line.partition(": ")[2])
    ]
    rms = float(np.sqrt(np.mean(expected.astype(float) ** 2)))
    wanted = [float(np.median(expected)), rms, float(np.abs(expected).max())]
    assert numbers == pytest.approx(wanted, rel=0.01, abs=1e-3)
    # Without the backgrounds, it says so.
    result = compare(made, "first", "halos", "--pixels", "1")
    assert "cannot be compared: no calexpBackground in halos" in result.stdout


def test_the_page_shows_the_differences(made: MadeUp, tmp_path: Path) -> None:
    from test_report import Page

    output = tmp_path / "page"
    result = compare(made, "first", "halo", "-o", str(output), "--pixels", "1")
    assert result.exit_code == 0, result.output
    page = Page(output / "index.html")
    assert "halo compared with first" in page.text
    assert "New: a halo, in 1 (visit 2, detector 3)." in page.text
    (view,) = page.views
    with Campaign(made.path, "first") as one, Campaign(made.path, "halo") as other:
        values = [
            table.scan().select("significance_spotSigma").collect()["significance_spotSigma"]
            for table in (one.tables[0], other.tables[0])
        ]
    differences = (values[1] - values[0]).to_numpy()
    histogram = view["histograms"]["significance_spotSigma"]
    assert sum(histogram["passing"]) + sum(histogram["failing"]) == 32
    assert differences.max() > 2
    # The median over four visits of a detector, of which one has a halo.
    assert view["values"]["significance_spotSigma"] == pytest.approx([0.0] * 8, abs=1e-6)
    (picture,) = (output / "pictures").iterdir()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_ties_are_no_evidence() -> None:
    assert _signed_rank_test(np.zeros(50)) == 1.0
    few = np.zeros(100)
    few[:3] = 5.0
    assert _signed_rank_test(few) > 0.01
    assert _signed_rank_test(np.array([np.nan, 0.0])) == 1.0
    assert _signed_rank_test(np.random.default_rng(1).normal(1, 1, 100)) < 1e-9
    assert (_sign_test(0, 0), _sign_test(7, 0, "greater")) == (1.0, 2.0**-7)
