"""What a network takes that answers without ever having trained here."""

from model.blocks import LEAST_ROWS, LIVE_TENSORS, largest_chunk
from model.data.split import Sizes
from model.memory import answering_bytes
from model.plan import plan

LAYERS = [
    {"kind": "conv2d", "out_channels": 6, "kernel_size": 1},
    {"kind": "norm"},
    {"kind": "pool", "pool": "global_avg"},
    {"kind": "flatten"},
    {"kind": "linear"},
]
WIDEST = 6 * 8 * 8
TENSORS = (6 * 2 + 6) + (4 * 6 + 1) + (6 * 3 + 3)  # convolution, norm with its counter, linear


def bytes_of(make_spec, make_facts, rows=None, **fields):
    spec = make_spec(LAYERS, norm="batch", **fields)
    return answering_bytes(spec, plan(spec, make_facts((2, 8, 8), outputs=3)), rows)


def test_it_is_there_as_trained_folded_and_in_float64(make_spec, make_facts):
    passing = LIVE_TENSORS * WIDEST * LEAST_ROWS * 8
    assert bytes_of(make_spec, make_facts) == TENSORS * (4 + 4 + 8) + passing
    double = bytes_of(make_spec, make_facts, precision="float64")
    assert double == TENSORS * (8 + 8 + 8) + passing


def test_with_rows_at_hand_it_is_scored_in_chunks(make_spec, make_facts):
    rows = Sizes(train=1500, validation=0, test=400, calibration=0)
    scored = largest_chunk(1500, 1000)  # the training rows, as the population
    expected = TENSORS * (4 + 4 + 8) + LIVE_TENSORS * WIDEST * scored * 4
    assert bytes_of(make_spec, make_facts, rows) == expected
