"""How many rows pass through a network at once in eval mode."""

from model.sizes import Plan

#: Fewer are padded to it: matrix kernels may sum a very small batch in another order.
LEAST_ROWS = 8
MOST_ROWS = 1000  # more are no faster
MOST_BYTES = 64 * 2**20  # of activations, had the network to keep them all


def block_rows(planned: Plan, item_bytes: int) -> int:
    """Rows of one block: wide images must not take memory that training them does not take.

    Args:
        item_bytes: size of one value.
    """
    fitting = MOST_BYTES // (planned.activations_per_row * item_bytes)
    return max(LEAST_ROWS, min(MOST_ROWS, fitting))
