import pytest

from model.batches import Batches, lay_out
from model.spec import Span


@pytest.mark.parametrize(
    ("rows", "size", "tail", "expected"),
    [
        (96, 32, "keep", (32, 32, 32)),
        (97, 32, "keep", (32, 32, 32, 1)),
        (97, 32, "merge", (32, 32, 33)),
        (97, 32, "drop", (32, 32, 32)),
        (33, 32, "merge", (33,)),
        (33, 32, "drop", (32,)),
        (63, 32, "merge", (63,)),
        (32, 32, "keep", (32,)),
        (5, 1, "keep", (1, 1, 1, 1, 1)),
    ],
)
def test_an_epoch_is_laid_out_as_its_tail_says(rows, size, tail, expected):
    batches = lay_out(rows, size, tail)

    assert batches.sizes == expected
    assert batches.steps == len(expected)
    assert batches.largest == max(expected)


def test_a_span_is_counted_in_steps():
    batches = Batches(steps=45, size=32, last=30)

    assert batches.steps_in(Span(steps=7)) == 7
    assert batches.steps_in(Span(epochs=3)) == 135
