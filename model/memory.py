"""Bytes that training a planned network takes, from integers alone.

An estimate of what grows with the spec; the interpreter and the libraries are not in it.
"""

from dataclasses import dataclass
from math import prod

from model.batches import Batches
from model.blocks import (
    LEAST_ROWS,
    MOST_SCORED_ROWS,
    chunk_rows,
    largest_chunk,
    scored_bytes,
)
from model.data.dataset import Facts
from model.data.split import Sizes
from model.sizes import Plan
from model.spec import BatchNorm, RunSpec, Sgd


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

    @property
    def total(self) -> int:
        """Bytes altogether."""
        purposes = (self.parameters, self.gradients, self.optimizer, self.activations, self.data)
        return sum(purposes)


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
    )


def _scored_at_once(spec: RunSpec, plan: Plan, rows: Sizes) -> int:
    """The most rows that pass through the network at once when a checkpoint is scored.

    Held-out rows pass in chunks. Where there are batch norms they pass in batches of the
    training size, too, and a batch and all chunks of the training rows are compared.
    """
    held_out = rows.test or rows.validation or rows.train
    size = chunk_rows(plan, item_bytes(spec))
    passes = [largest_chunk(held_out, size)]
    if any(isinstance(layer.norm, BatchNorm) for layer in plan.walk()):
        passes += [largest_chunk(held_out, spec.batch_size), largest_chunk(rows.train, size)]
        passes += [min(spec.batch_size, MOST_SCORED_ROWS)]
    return max(passes)


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
