import numpy as np
import pytest

from evalmode.demo import ARMS, DIGITS, SHARED, few, held_out, side_by_side
from model.data.builtin import build
from model.data.split import rows
from model.spec import RunSpec, Split


def test_the_arms_differ_in_their_norm_alone() -> None:
    specs = [RunSpec.model_validate({**SHARED, "norm": norm}) for norm in ARMS]
    bodies = [spec.model_dump() for spec in specs]
    assert {key for key in bodies[0] if bodies[0][key] != bodies[1][key]} == {"norm"}


def test_the_digits_shown_are_test_rows_of_the_arms_split() -> None:
    dataset = build("digits")
    parts = rows(dataset.facts, dataset.targets, Split.model_validate(SHARED["split"]))
    digits = held_out()
    assert digits.inputs.shape == (DIGITS, 64)
    for index in parts.train:
        assert not (dataset.inputs[index] == digits.inputs).all(axis=1).any()


@pytest.mark.parametrize(
    ("steps", "chosen"),
    [
        ([], []),
        ([45, 90], [45, 90]),
        (list(range(45, 901, 45)), [45, 225, 405, 585]),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4]),
    ],
)
def test_a_few_steps_are_spread_from_the_first(steps: list[int], chosen: list[int]) -> None:
    assert few(steps) == chosen


def test_digits_are_drawn_beside_each_other() -> None:
    ink = np.zeros((2, 8, 8), np.float32)
    ink[1, 0, 0] = 16
    lines = side_by_side(ink.reshape(2, 64))
    assert len(lines) == 8
    assert lines[0] == " " * 19 + "@@"
