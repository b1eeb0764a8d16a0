"""How often measures are taken: even shares of a budget, and the bounds that win over it."""

import pytest

from model.measures.catalogue import CATALOGUE, passes_of
from model.measures.periods import Cost, planned, shared, training_passes, with_periods
from model.plan import Limits, check

UNLIMITED = Limits(10**15, 10**18)
LONG = {"budget": {"epochs": 3_000}}


@pytest.fixture
def checked(make_spec, make_facts):
    def make(rows=1797, input_shape=(64,), **fields):
        return check(make_spec(**fields), make_facts(input_shape, rows=rows), UNLIMITED)

    return make


def costs(*between, last=10_000):
    return [Cost(one, 2 * one, last) for one in between]


def test_equal_measures_have_equal_periods_that_use_the_budget_up():
    every = shared(costs(10, 10, 10), 3 * 10 * 101)
    assert every == [100, 100, 100]  # 101 probes each, the first and the last among them


def test_what_a_cheap_measure_leaves_goes_to_the_others():
    cheap, *others = shared(costs(1, 100, 100), 200 + 2 * 100 * 101)
    assert cheap == 51  # 200 probes at most: ceil(10,000 / 199)
    assert others == [100, 100]


def test_a_measure_too_dear_for_its_share_is_taken_twenty_times_and_the_others_give():
    dear, *others = shared(costs(1_000, 10, 10), 21_000 + 2 * 10 * 51)
    assert dear == 526  # 10,000 // 19
    assert others == [200, 200]  # 51 probes each


@pytest.mark.parametrize("budget", [-5.0, 0.0, 1.0])
def test_twenty_probes_win_over_a_budget_of_nothing(budget):
    (every,) = shared(costs(10), budget)
    assert costs(10)[0].probes(every) == 21
    assert costs(10)[0].probes(every + 1) == 20


@pytest.mark.parametrize("last", [0, 1, 5, 18, 19, 20, 37, 199, 200, 1_001])
@pytest.mark.parametrize("budget", [0.0, 10.0**12])
def test_probes_are_twenty_to_two_hundred_where_the_steps_allow(last, budget):
    (cost,) = costs(10, last=last)
    (every,) = shared([cost], budget)
    assert min(20, last + 1) <= cost.probes(every) <= 200
    assert every >= 1


@pytest.mark.parametrize("kinds", [["saturation"], ["gradients", "moments"], [*CATALOGUE]])
def test_together_they_stay_under_eight_percent_of_a_long_run(checked, kinds):
    run = checked(norm="batch", measures=kinds, **LONG)
    taken = planned(run)
    assert sum(one.row_passes for one in taken) <= 0.08 * training_passes(run)
    assert all(20 <= one.probes <= 200 for one in taken if one.kind != "relative_loss")
    assert with_periods(run).findings == run.findings


def test_training_costs_three_passes_of_every_row_that_is_trained_on(checked):
    run = checked(rows=100, split={"test": 0.0}, batch_size=32, budget={"steps": 6})
    assert training_passes(run) == 3 * (100 + 64)  # an epoch of 32, 32, 32, 4, and two more


def test_a_short_run_is_told_what_twenty_probes_cost(checked):
    run = with_periods(checked(measures=["saturation", "moments"], budget={"epochs": 2}))
    (finding,) = [one for one in run.findings if one.reason == "MEASURES_OVER_SHARE"]
    assert finding.severity == "note"
    share = sum(one.row_passes for one in planned(run)) / training_passes(run)
    assert finding.evidence["share"] == pytest.approx(share)
    assert finding.evidence["at_most"] == 0.08
    assert all(one["probes"] >= 20 for one in finding.evidence["measures"])
    assert len(finding.evidence["measures"]) == 2
    assert f"{share:.0%}" in finding.remedy


def test_every_period_is_filled_in_and_stays_when_it_is_given_back(checked):
    run = with_periods(checked(measures=[*CATALOGUE], **LONG))
    every = [one.every for one in run.spec.measures if one.kind != "relative_loss"]
    assert all(every)
    assert [one.every for one in planned(run)] == [*every, None]
    assert with_periods(run) == run


def test_a_given_period_stays_and_the_others_share_what_it_leaves(checked):
    alone = planned(checked(measures=["moments"], **LONG))[0]
    asked = [{"kind": "saturation", "every": 400}, "moments"]
    given, other = planned(checked(measures=asked, **LONG))
    assert given.every == 400
    assert other.every > alone.every
    budget = 0.08 * training_passes(checked(**LONG))
    assert 0.95 * budget < given.row_passes + other.row_passes <= budget


def test_a_given_period_that_costs_more_is_told(checked):
    run = with_periods(checked(measures=[{"kind": "moments", "every": 20}], **LONG))
    (finding,) = [one for one in run.findings if one.reason == "MEASURES_OVER_SHARE"]
    assert finding.evidence["measures"][0]["every"] == 20


def test_all_rows_at_both_ends_are_counted(checked):
    asked = {"kind": "moments", "every": 10**6}
    few, many = (
        planned(checked(rows=rows, split={"test": 0.0, "calibration": 0.0}, measures=[asked]))[0]
        for rows in (1_000, 30_000)
    )
    assert few.probes == many.probes == 2
    beside = 2 * 6 * 3 * 32  # what six steps of a batch cost, of two probes
    assert few.row_passes == 2 * 1_000 + beside
    assert many.row_passes == 2 * 30_000 + beside


@pytest.mark.parametrize("kind", [one for one in CATALOGUE if one != "relative_loss"])
def test_only_measures_that_look_at_all_rows_cost_more_at_the_ends(checked, kind):
    asked = {"kind": kind, "every": 10**6}
    split = {"test": 0.0, "calibration": 0.0}
    run = checked(rows=30_000, split=split, measures=[asked])
    passes = passes_of(run.spec.measures[0], run)
    times = 15 if kind in ("saturation", "percentiles", "moments") else 1
    beside = 6 * 3 * 32
    assert planned(run)[0].row_passes == 2 * (times * passes + beside)


def test_a_measure_at_its_own_steps_costs_them_and_no_more(checked):
    asked = {"kind": "relative_loss", "at": [1, 4, 4]}
    run = checked(measures=[asked])
    (one,) = planned(run)
    assert (one.every, one.probes) == (None, 2)
    assert one.row_passes == 2 * (passes_of(run.spec.measures[0], run) + 6 * 3 * 32)


def test_periods_hang_on_the_spec_alone(checked):
    asked = {"measures": [*CATALOGUE], "norm": "batch"}
    assert planned(checked(**asked)) == planned(checked(**asked))
    assert planned(checked(**asked)) == planned(checked(**asked, seed=5))
