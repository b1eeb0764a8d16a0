"""Bytes that training a planned network takes, from integers alone.

An estimate of what grows with the spec; the interpreter and the libraries are not in it.
"""

from dataclasses import dataclass
from math import prod

from model.batches import Batches
from model.blocks import LEAST_ROWS
from model.data.dataset import Facts
from model.sizes import Plan
from model.spec import RunSpec, Sgd


@dataclass(frozen=True)
class Memory:
    """Bytes by purpose."""

    parameters: int  # weights and running statistics, and the copies that training keeps
    gradients: int  # one per parameter
    optimizer: int  # momentum: one per parameter; Adam: two
    activations: int  # of the largest batch, or of the fewest rows that are evaluated at once
    data: int  # all rows and targets, and the training rows in the epoch's order

    @property
    def total(self) -> int:
        """Bytes altogether."""
        purposes = (self.parameters, self.gradients, self.optimizer, self.activations, self.data)
        return sum(purposes)


def estimate(spec: RunSpec, facts: Facts, plan: Plan, batches: Batches, train_rows: int) -> Memory:
    """The bytes of a run. Mixed precision counts as float32, which its weights are."""
    item = item_bytes(spec)
    row = (prod(facts.input_shape) + facts.outputs) * item
    return Memory(
        parameters=_copies(spec) * (plan.parameters + plan.buffers) * item,
        gradients=plan.parameters * item,
        optimizer=_slots(spec) * plan.parameters * item,
        activations=plan.activations_per_row * max(batches.largest, LEAST_ROWS) * item,
        data=(facts.rows + train_rows) * row,
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
