"""Whoever looks at a training between its steps. What is found goes out with the happenings.

The loop knows no measure: it says where it stands, and an observer keeps its hands off.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

NEVER = -1  # no step has this number


@dataclass(frozen=True)
class Place:
    """Where a training stands, just before or just after an optimizer step."""

    network: nn.Module  # the run's own: to be copied, never passed through
    step: int  # optimizer steps done
    inputs: Tensor  # of the step's batch
    targets: Tensor
    lr: float  # of the step to come; at the end, of the last one


@dataclass(frozen=True)
class Measured:
    """What one probe of one measure found."""

    kind: str  # of the measure
    step: int  # optimizer steps done when it was taken; before the step, where it is of a step
    values: Mapping[str, float]  # metric points by name; may be infinite or NaN
    data: Mapping[str, Any]  # JSON-ready, null where not finite


class Observer(Protocol):
    """Looks at a training and changes nothing of it: no tensor, no mode, no generator.

    It keeps nothing from one step to the next, so a run that was resumed is seen as one that
    was never stopped.
    """

    def due(self, step: int) -> int:
        """The first step, counted from 0 and not before `step`, that it wants to be asked at.

        Returns:
            `NEVER` where there is none.
        """

    def before(self, place: Place) -> tuple[Measured, ...]:
        """What is found before a step that is due."""

    def after(self, place: Place) -> tuple[Measured, ...]:
        """What is found after that step, with the same batch. Not asked if the step failed."""
