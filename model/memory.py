"""Bytes that training a planned network takes, from integers alone.

An estimate of what grows with the spec; the interpreter and the libraries are not in it.
"""

from dataclasses import dataclass
from math import prod

from model.batches import Batches
from model.blocks import (
    LEAST_ROWS,
    MOST_SCORED_ROWS,
    block_rows,
    chunk_rows,
    largest_chunk,
    scored_bytes,
)
from model.data.dataset import Facts
from model.data.split import Sizes
from model.sizes import Plan
from model.spec import OverBatch, RunSpec, Sgd

MEASURED_COPIES = 8  # of the parameters: before and after a step, gradients, points beside them
MEASURED_VALUES = 4_096  # of one unit that are held at once, before and after a step
COMPARED_BYTES = 8  # of one value, where two forms of a network are compared


@dataclass(frozen=True)
class Memory:
    """Bytes by purpose."""

    parameters: int  # weights and running statistics, and the copies that training keeps
    gradients: int  # one per parameter
    optimizer: int  # momentum: one per parameter; Adam: two
    #: Of the largest batch, of the fewest rows that are evaluated at once, or of the most rows
    #: that a checkpoint is scored on at once: whichever takes most.
    activations: int
    data: int  # all rows and targets, and the training rows in the epoch's order
    measures: int  # copies of the network, their gradients and activations, rows and values

    @property
    def total(self) -> int:
        """Bytes altogether."""
        learned = self.parameters + self.gradients + self.optimizer
        return learned + self.activations + self.data + self.measures


def estimate(spec: RunSpec, facts: Facts, plan: Plan, batches: Batches, rows: Sizes) -> Memory:
    """The bytes of a run. Mixed precision counts as float32, which its weights are."""
    item = item_bytes(spec)
    row = (prod(facts.input_shape) + facts.outputs) * item
    return Memory(
        parameters=_copies(spec) * (plan.parameters + plan.buffers) * item,
        gradients=plan.parameters * item,
        optimizer=_slots(spec) * plan.parameters * item,
        activations=max(
            plan.activations_per_row * max(batches.largest, LEAST_ROWS) * item,
            scored_bytes(plan, item, _scored_at_once(spec, plan, rows)),
        ),
        data=(facts.rows + rows.train) * row,
        measures=_measures(spec, plan, batches, rows, row) if spec.measures else 0,
    )


def answering_bytes(spec: RunSpec, plan: Plan, rows: Sizes | None = None) -> int:
    """The bytes of a network that answers and does not train, whoever trained it.

    It is there as trained, folded, and in float64, in which the two are compared on the fewest
    rows that pass at once.

    Args:
        rows: of the dataset that it is scored on when its statistics are made anew; None where
            there is none.
    """
    item = item_bytes(spec)
    scored = 0 if rows is None else scored_bytes(plan, item, _scored_at_once(spec, plan, rows))
    compared = scored_bytes(plan, COMPARED_BYTES, LEAST_ROWS)
    tensors = (plan.parameters + plan.buffers) * (2 * item + COMPARED_BYTES)
    return tensors + max(scored, compared)


def _scored_at_once(spec: RunSpec, plan: Plan, rows: Sizes) -> int:
    """The most rows that pass through the network at once when a checkpoint is scored.

    Held-out rows pass in chunks. Where norms are over the batch they pass in batches of the
    training size, too, and a batch and all chunks of the training rows are compared.
    """
    held_out = rows.test or rows.validation or rows.train
    size = chunk_rows(plan, item_bytes(spec))
    passes = [largest_chunk(held_out, size)]
    if any(isinstance(layer.norm, OverBatch) for layer in plan.walk()):
        passes += [largest_chunk(held_out, spec.batch_size), largest_chunk(rows.train, size)]
        passes += [min(spec.batch_size, MOST_SCORED_ROWS)]
    return max(passes)


def _measures(spec: RunSpec, plan: Plan, batches: Batches, rows: Sizes, row: int) -> int:
    """What the hungriest measure takes beside the run: they are taken one after another.

    Args:
        row: bytes of one row and its targets.
    """
    item = item_bytes(spec)
    at_once = max(batches.largest, block_rows(plan, item))
    channels = [layer.output_shape[0] for layer in plan.walk()]
    values = sum(channels) * MEASURED_VALUES + max(channels) * rows.train
    return (
        MEASURED_COPIES * (plan.parameters + plan.buffers) * item
        + 2 * plan.activations_per_row * at_once * item
        + 2 * values * 8
        + rows.train * row
    )


def item_bytes(spec: RunSpec) -> int:
    """Size of one value of a run."""
    return 8 if spec.precision == "float64" else 4


def _copies(spec: RunSpec) -> int:
    """The network itself, its last finite state, one being saved, and the best if that counts."""
    return 4 if spec.select == "best" else 3


def _slots(spec: RunSpec) -> int:
    """Values that the optimizer keeps per parameter."""
    if isinstance(spec.optimizer, Sgd):
        return int(spec.optimizer.momentum > 0)
    return 2
