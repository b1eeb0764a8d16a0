"""What every measure is: a probe that looks at a training network and changes nothing of it.

A measure's file has `passes(asked, checked)`, what one probe of it costs, and `probe(asked,
setting)`, which makes one; `model.measures.catalogue` lists them by kind.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from model.plan import Checked
from model.training.losses import LossFunction

MOST_ROWS = 2_000  # fixed training rows that are looked at between start and end


@dataclass(frozen=True)
class Setting:
    """What a probe knows of its run before the first step."""

    checked: Checked
    loss: LossFunction


@dataclass(frozen=True)
class Block:
    """Some rows that pass through the network at once."""

    inputs: Tensor  # (n, *input_shape), scaled, on the run's device
    targets: Tensor  # as the loss wants them


@dataclass(frozen=True)
class Moment:
    """A network between two optimizer steps, as a copy in training mode.

    Nothing that is done to `network` reaches the run: neither its parameters, its running
    statistics nor the global generators. It is shared by all probes of the moment, so each one
    leaves its parameters, buffers, modes and hooks as it found them, also where it raises.
    """

    step: int  # optimizer steps done
    network: nn.Module  # dropout is in eval mode, all else in training mode
    batch: Block  # of the step to come; at the end, of the last step
    #: Fixed training rows: at most 2,000, but all where a state is looked at before the first step
    #: and after the last. Of a step always the fixed ones.
    rows: tuple[Block, ...]
    lr: float  # of the step to come
    again: Callable[[], None]  # puts the generators back: the next pass draws the same noise


@dataclass(frozen=True)
class Reading:
    """What one probe found."""

    values: Mapping[str, float]  # metric points by name; may be infinite or NaN
    data: Mapping[str, Any]  # all else, JSON-ready, null where not finite


@runtime_checkable
class StateProbe(Protocol):
    """A measure of a network as it stands. It keeps nothing between two looks."""

    def look(self, at: Moment) -> Reading:
        """What is measured at one moment."""


@runtime_checkable
class StepProbe(Protocol):
    """A measure of what one optimizer step changes. It keeps nothing between two steps."""

    def compare(self, before: Moment, after: Moment) -> Reading:
        """What is measured of a step, of which both moments have the batch."""


Probe = StateProbe | StepProbe
