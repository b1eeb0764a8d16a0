import math

import pytest
from pydantic import TypeAdapter

from model.spec import Schedule
from model.training.schedules import is_constant, learning_rate


def schedule(**fields):
    return TypeAdapter(Schedule).validate_python(fields)


def rates(asked, steps, base_lr=0.4):
    return [learning_rate(asked, base_lr, step, steps) for step in range(steps)]


def test_a_constant_rate_stays():
    assert rates(schedule(kind="constant"), 3) == [0.4, 0.4, 0.4]


def test_warm_up_reaches_the_rate_at_its_last_step():
    warming = rates(schedule(kind="constant", warmup_steps=4), 6)

    assert warming == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


def test_a_step_decay_multiplies_after_every_span():
    decayed = rates(schedule(kind="step", every_steps=2, gamma=0.5), 5)

    assert decayed == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.1])


def test_decays_count_from_the_end_of_the_warm_up():
    decayed = rates(schedule(kind="step", every_steps=2, gamma=0.5, warmup_steps=1), 5)

    assert decayed == pytest.approx([0.4, 0.4, 0.4, 0.2, 0.2])


def test_a_cosine_falls_from_the_rate_toward_its_final_fraction():
    asked, steps = schedule(kind="cosine", final_fraction=0.1), 100

    falling = rates(asked, steps)

    expected = [0.04 + 0.36 * (1 + math.cos(math.pi * k / 100)) / 2 for k in range(steps)]
    assert falling == pytest.approx(expected)
    assert learning_rate(asked, 0.4, 50, steps) == pytest.approx(0.22)
    assert learning_rate(asked, 0.4, 100, steps) == pytest.approx(0.04)


def test_a_cosine_spans_what_the_warm_up_leaves():
    asked = schedule(kind="cosine", warmup_steps=10)

    assert rates(asked, 20)[10:] == pytest.approx(rates(schedule(kind="cosine"), 10))


@pytest.mark.parametrize("kind", ["constant", "cosine"])
def test_a_warm_up_as_long_as_the_budget_only_rises(kind):
    warming = rates(schedule(kind=kind, warmup_steps=5), 5)

    assert warming == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4])


@pytest.mark.parametrize(
    ("fields", "constant"),
    [
        ({"kind": "constant"}, True),
        ({"kind": "constant", "warmup_steps": 1}, False),
        ({"kind": "step", "every_steps": 5}, False),
        ({"kind": "cosine"}, False),
    ],
)
def test_only_a_constant_without_warm_up_need_not_be_set(fields, constant):
    assert is_constant(schedule(**fields)) == constant


def test_many_decays_underflow_to_zero_and_not_to_an_error():
    assert learning_rate(schedule(kind="step", every_steps=1, gamma=0.1), 1.0, 10**6, 10**7) == 0
