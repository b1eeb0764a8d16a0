"""How many rows pass through a network at once when it does not train."""

from math import prod

from model.sizes import Plan

#: Fewer are padded to it: matrix kernels may sum a very small batch in another order.
LEAST_ROWS = 8
MOST_ROWS = 1000  # more are no faster
MOST_BYTES = 64 * 2**20  # of activations, had the network to keep them all

MOST_SCORED_ROWS = 10_000  # that a checkpoint is scored on with batch statistics
CHUNK_ROWS = 1_000  # fewer give statistics whose own noise costs accuracy
LEAST_CHUNK_ROWS = 32  # even of rows so wide that training takes less
MOST_CHUNK_BYTES = 5 * 2**29  # that one chunk may take
LIVE_TENSORS = 5  # a layer's input and output, a short cut, two terms of a norm's formulas


def block_rows(planned: Plan, item_bytes: int) -> int:
    """Rows of one block: wide images must not take memory that training them does not take.

    Args:
        item_bytes: size of one value.
    """
    fitting = MOST_BYTES // (planned.activations_per_row * item_bytes)
    return max(LEAST_ROWS, min(MOST_ROWS, fitting))


def chunk_rows(planned: Plan, item_bytes: int) -> int:
    """Rows of one chunk: 1,000, or what fits into 2.5 GiB where rows are very wide.

    A chunk passes through the network at once, for its statistics are those of all its rows,
    and a merged one has up to twice the rows. Without gradients only a few tensors live at a
    time, so the bound is on five times the widest one. Where it bites, rows are images of many
    positions, and a channel still has more values than 1,000 plain rows give it.

    Args:
        item_bytes: size of one value.
    """
    fitting = MOST_CHUNK_BYTES // (2 * LIVE_TENSORS * _widest(planned) * item_bytes)
    return max(LEAST_CHUNK_ROWS, min(CHUNK_ROWS, fitting))


def largest_chunk(rows: int, size: int) -> int:
    """Rows of the largest chunk of `size` that scored rows are divided into.

    Args:
        rows: of the part that is scored, of which at most 10,000 are. A rest joins the last
            chunk; fewer rows than `size` are one chunk.
    """
    rows = min(rows, MOST_SCORED_ROWS)
    return rows - size * (max(1, rows // size) - 1)


def scored_bytes(planned: Plan, item_bytes: int, rows: int) -> int:
    """What passing so many rows through the network at once takes where no gradient is kept."""
    return LIVE_TENSORS * _widest(planned) * rows * item_bytes


def _widest(planned: Plan) -> int:
    """Values of the widest tensor of one row."""
    return max(max(prod(layer.input_shape), prod(layer.output_shape)) for layer in planned.walk())
