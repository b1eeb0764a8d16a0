import pytest

from model.blocks import block_rows
from model.sizes import Plan


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
