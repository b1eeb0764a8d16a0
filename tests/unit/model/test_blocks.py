import pytest
import torch

from model.blocks import LIVE_TENSORS, block_rows, chunk_rows, largest_chunk, scored_bytes
from model.plan import plan
from model.sizes import Plan
from model.statistics.chunks import choose_rows, chunks


@pytest.mark.parametrize(
    ("activations", "item_bytes", "rows"),
    [
        (1, 4, 1000),
        (2**14, 4, 1000),
        (2**20, 4, 16),
        (2**20, 8, 8),
        (2**40, 8, 8),
    ],
)
def test_a_block_holds_64_mib_of_activations_and_from_8_to_1000_rows(
    activations: int, item_bytes: int, rows: int
) -> None:
    planned = Plan((), parameters=1, buffers=0, activations_per_row=activations)
    assert block_rows(planned, item_bytes) == rows


@pytest.mark.parametrize(
    ("side", "item_bytes", "expected"),
    [
        (8, 4, 1000),
        (32, 4, 1000),
        (32, 8, 512),  # 5 * 2^29 / (2 * 5 tensors * 64 channels * 32 * 32 positions * 8)
        (224, 4, 32),
    ],
)
def test_a_chunk_has_1000_rows_or_what_fits(make_spec, make_facts, side, item_bytes, expected):
    layers = [
        {"kind": "conv2d", "out_channels": 64, "kernel_size": 3, "padding": 1},
        {"kind": "norm"},
        {"kind": "pool", "pool": "global_avg"},
        {"kind": "flatten"},
        {"kind": "linear"},
    ]
    spec = make_spec(layers, norm={"kind": "batch"})
    planned = plan(spec, make_facts(input_shape=(3, side, side)))

    assert chunk_rows(planned, item_bytes) == expected


@pytest.mark.parametrize("rows", [1, 50, 1000, 1500, 1999, 2000, 9001, 10_000, 30_000])
@pytest.mark.parametrize("size", [1, 32, 1000, 20_000])
def test_the_largest_chunk_is_that_of_the_rows_that_are_chosen(rows, size):
    chosen = choose_rows(rows, torch.Generator().manual_seed(0))

    assert largest_chunk(rows, size) == max(map(len, chunks(chosen, size)))


def test_rows_without_gradients_take_a_few_of_the_widest_tensors(make_spec, make_facts):
    planned = plan(make_spec({"kind": "mlp", "hidden": [50, 300]}, norm="batch"), make_facts())

    assert scored_bytes(planned, 4, 20) == LIVE_TENSORS * 300 * 20 * 4
