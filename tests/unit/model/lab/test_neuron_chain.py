"""Three neurons in a row: their numbers by hand, the orders of updates, and what is judged."""

import json
import math

import pytest
import torch

from model.lab.neuron_chain.chain import (
    UPDATES,
    Point,
    Three,
    Update,
    gradient_by_autograd,
    in_order,
    passed,
    shift_by_hand,
    step,
    with_front,
)
from model.lab.neuron_chain.drawn import change_of_input, drawn, share_better, share_stale
from model.lab.neuron_chain.experiment import EXPERIMENT
from model.lab.neuron_chain.figures import path
from model.lab.neuron_chain.params import Params
from model.lab.report import Report, table_json
from model.lab.results import Results

SMALL = {"chains": 500, "steps": 5}


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def chain(a: float, b: float, c: float) -> Three:
    return number(a), number(b), number(c)


def report(seeds: tuple[int, ...] = (0, 1, 2), **params: object) -> Report:
    given = EXPERIMENT.params.model_validate({**SMALL, **params})
    return EXPERIMENT.report(given, Results((), seeds=seeds))


# The chain


def test_forward_and_backward_are_those_of_the_post() -> None:
    seen = passed(chain(2, 3, 5), Point(number(1), number(29)))
    assert [float(one) for one in seen.outputs] == [2, 6, 30]
    assert float(seen.loss) == 1
    assert [float(one) for one in seen.slopes] == [30, 10, 2]  # dL/dz of a, b and c
    assert [float(one) for one in seen.gradient] == [30, 20, 12]
    assert float(seen.gradient[2]) == float(seen.slopes[2]) * float(seen.outputs[1])


@pytest.mark.parametrize("seed", range(3))
def test_gradients_by_hand_are_those_of_autograd(seed: int) -> None:
    chains = drawn(seed, 1_000)
    found = passed(chains.weights, chains.at).gradient
    derived = gradient_by_autograd(chains.weights, chains.at)
    for one, two in zip(found, derived, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)


def test_a_simultaneous_step_takes_every_gradient_before_the_step() -> None:
    at = Point(number(1), number(29))
    taken = step(chain(2, 3, 5), at, 0.1, "simultaneous")
    assert [float(one) for one in taken.after] == pytest.approx([-1, 1, 3.8])


def test_front_to_back_goes_forward_again_before_every_neuron() -> None:
    at = Point(number(1), number(29))
    taken = step(chain(2, 3, 5), at, 0.1, "front_to_back")
    # a: 2 - .1 * 30 = -1.  Then z_a = -1, z_b = -3, z_c = -15, dL/dz_c = -88, dL/dz_b = -440.
    # b: 3 - .1 * 440 = -41.  Then z_b = 41, z_c = 205, dL/dz_c = 352; c: 5 - .1 * 352 * 41.
    assert [float(one) for one in taken.after] == pytest.approx([-1, -41, 5 - 0.1 * 352 * 41])


def test_back_to_front_goes_from_c_to_a() -> None:
    at = Point(number(1), number(29))
    taken = step(chain(2, 3, 5), at, 0.1, "back_to_front")
    # c: 5 - .1 * 12 = 3.8.  Then z_c = 22.8, dL/dz_c = -12.4, dL/dz_b = -47.12; b: 3 + 9.424.
    # Then z_c = 3.8 * 12.424 * 2 = 94.4224 and dL/dz_c = 130.8448; a: 2 - .1 * that * 3.8 * w_b.
    w_a = 2 - 0.1 * 130.8448 * 3.8 * 12.424
    assert [float(one) for one in taken.after] == pytest.approx([w_a, 12.424, 3.8])


def test_each_neuron_updates_by_autograds_gradient_at_the_weights_it_saw() -> None:
    chains = drawn(3, 50)
    w = chains.weights
    after = step(w, chains.at, 0.2, "front_to_back").after
    derived = gradient_by_autograd((after[0], after[1], w[2]), chains.at)[2]
    torch.testing.assert_close(after[2], w[2] - 0.2 * derived, rtol=1e-12, atol=1e-12)


def test_the_shift_of_definition_2_1_by_hand_is_that_of_autograd() -> None:
    chains = drawn(0, 1_000)
    after = step(chains.weights, chains.at, 0.1, "simultaneous").after
    mixed = with_front(chains.weights, after)
    derived = [gradient_by_autograd(one, chains.at)[2] for one in (mixed, chains.weights)]
    by_hand = shift_by_hand(chains.weights, after, chains.at)
    torch.testing.assert_close(by_hand, derived[0] - derived[1], rtol=1e-9, atol=1e-12)


def test_updated_front_to_back_nothing_shifts_under_c() -> None:
    chains = drawn(0, 100)
    taken = step(chains.weights, chains.at, 0.1, "front_to_back")
    mixed = with_front(chains.weights, taken.after)
    used = taken.seen[2].gradient[2]
    assert torch.equal(used, passed(mixed, chains.at).gradient[2])


def test_gradients_of_one_pass_give_the_same_weights_in_every_order() -> None:
    chains = drawn(0, 100)
    gradient = passed(chains.weights, chains.at).gradient
    expected = step(chains.weights, chains.at, 0.1, "simultaneous").after
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        found = in_order(chains.weights, gradient, 0.1, order)
        assert all(map(torch.equal, found, expected))


def test_a_small_step_changes_z_b_in_proportion_to_the_rate() -> None:
    chains = drawn(0, 1_000)
    found = [change_of_input(chains, rate, "simultaneous") for rate in (1e-6, 1e-5)]
    assert found[1] / found[0] == pytest.approx(10, rel=1e-3)


def test_no_gradient_is_of_older_weights() -> None:
    assert share_stale(drawn(0, 1_000), 0.1) == 0.0


def test_simultaneously_is_as_good_as_simultaneously() -> None:
    assert share_better(drawn(0, 1_000), 0.1, "simultaneous") == 0.5


def test_the_path_goes_on_with_the_two_points_in_turn() -> None:
    params = Params(steps=3)
    weights = params.weights
    for at in (params.points[0], params.points[1], params.points[0]):
        weights = step(weights, at, params.rate, "back_to_front").after
    assert path(params, "back_to_front")[-1] == weights


# The experiment


def test_it_trains_nothing() -> None:
    assert EXPERIMENT.plan(Params(), (0, 1, 2)) == ()


def test_the_input_of_c_changes_and_no_weight_is_stale() -> None:
    found = report(chains=4_000)
    _, stale, front, back, order = found.others
    assert (found.effect.verdict, found.effect.n) == ("supports", 3)
    assert (stale.value, stale.verdict) == (-50.0, "contradicts")
    assert (front.verdict, back.verdict) == ("contradicts", "contradicts")
    assert (order.value, order.verdict) == (0.0, "contradicts")


@pytest.mark.parametrize("update", UPDATES)
def test_the_effect_is_of_the_update_that_was_asked_for(update: Update) -> None:
    found = report(seeds=(5,), update=update)
    expected = change_of_input(drawn(5, 500), 0.1, update) / 0.01
    assert found.effect.seeds[0].value == expected
    assert found.tables[0].rows[0][0] == update
    assert update in found.summary


def test_a_rate_too_small_to_matter_contradicts_the_claim() -> None:
    assert report(rate=1e-4).effect.verdict == "contradicts"


def test_the_steps_have_all_six_rows_of_every_update_and_both_gradients_agree() -> None:
    steps = report().tables[0]
    assert [row[1] for row in steps.rows[:6]] == ["1a", "1b", "1c", "2a", "2b", "2c"]
    assert len(steps.rows) == 18
    for row in steps.rows:
        assert row[6] == pytest.approx(row[7], rel=1e-12)
        assert row[8] == pytest.approx(row[3] - 0.1 * row[6], rel=1e-12)


def test_the_gradient_of_step_2_is_of_the_weights_of_step_2() -> None:
    stale = next(one for one in report().tables if one.name == "stale")
    for _, derived, now, older in stale.rows:
        assert derived == pytest.approx(now, rel=1e-12)
        assert abs(derived - older) > 0.1


def test_the_definition_is_equal_by_hand_and_by_autograd() -> None:
    rows = next(one for one in report().tables if one.name == "definition").rows
    for _, here, there, by_hand, derived, sign in rows:
        assert by_hand == pytest.approx(derived, rel=1e-12)
        assert derived == pytest.approx(there - here, rel=1e-12)
        assert sign == math.copysign(1, here * there)


def test_a_row_of_zero_changes_nothing_and_is_no_error() -> None:
    found = report(x_1=0.0)
    assert [row[3] for row in found.tables[1].rows] == [0.0] * 3


def test_numbers_beyond_all_bounds_are_told_as_such() -> None:
    found = report(w_a=1_000.0, w_b=1_000.0, w_c=1_000.0, rate=100.0)
    assert json.dumps([table_json(one) for one in found.tables], allow_nan=False)


def test_without_seeds_there_is_no_verdict() -> None:
    found = report(seeds=())
    assert (found.effect.n, found.effect.verdict) == (0, "inconclusive")
    assert [one.name for one in found.figures] == ["steps"]


def test_the_report_is_the_same_again() -> None:
    assert report() == report()
