"""An answer warns while the running statistics still hold the 0 and 1 that they began with."""

from collections.abc import Callable
from typing import Any

import pytest

from api.serving.lag import cautions_of
from model.data.dataset import Facts
from model.predict import Predictor

SLOW = {"kind": "batch", "momentum": 0.001}


@pytest.fixture
def warned(
    load: Callable[..., Predictor], make_facts: Callable[..., Facts]
) -> Callable[..., list[str]]:
    """The messages of a network's warnings."""

    def messages(**more: Any) -> list[str]:
        found = cautions_of(load(make_facts(), **more).loaded)
        assert all(one.reason == "BN_STATS_LAG" for one in found)
        return [one.message for one in found]

    return messages


def test_a_slow_average_says_from_which_step_it_can_be_trusted(
    warned: Callable[..., list[str]],
) -> None:
    [message] = warned(norm=SLOW, batches=300)
    assert message == (  # .999^300 = .7407
        "74% of the running statistics are still the 0 and 1 that they began with: eval mode is "
        "trustworthy from step 2,995; these statistics have seen 300 batches."
    )


@pytest.mark.parametrize(
    ("norm", "batches", "expected"),
    [
        ("batch", 28, "have seen 28 batches"),  # .9^28 = .0523
        ("batch", 29, None),  # .9^29 = .0471
        ("batch", 1, "have seen 1 batch."),
        ("batch", 0, "have seen 0 batches"),
        ({"kind": "batch", "momentum": None}, 1, None),
        ({"kind": "batch", "momentum": 0.0}, 40, "at no step"),
        ("none", 0, None),
        ("layer", 0, None),
    ],
)
def test_the_limit_is_a_twentieth_of_the_beginning(
    warned: Callable[..., list[str]], norm: Any, batches: int, expected: str | None
) -> None:
    messages = warned(norm=norm, batches=batches)
    assert len(messages) == (expected is not None)
    assert all(expected in message for message in messages)


def test_an_unknown_age_is_not_judged(warned: Callable[..., list[str]]) -> None:
    assert warned(norm=SLOW, batches=3, unknown_age=("1",)) == []


def test_what_was_computed_from_rows_is_judged_by_what_is_said_of_it(
    warned: Callable[..., list[str]],
) -> None:
    assert warned(norm=SLOW, batches=3, initial_share=0.0) == []
    [message] = warned(norm="batch", batches=100, initial_share=0.25)
    assert message.startswith("25% of the running statistics")
    assert "step" not in message
