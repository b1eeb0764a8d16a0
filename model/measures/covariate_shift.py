"""Internal covariate shift as a change of gradients, definition 2.1 of Santurkar et al.

For a layer with weights W_i, its step from t to t + 1, and the mini-batch of that step:

    G  = gradient by W_i of L, every parameter as it is at t
    G' = the same, with the parameters of all that comes before W_i as they are at t + 1
    l2 = |G - G'|,  cosine = <G, G'> / (|G| |G'|)

What comes before W_i are the layers before it in the plan, their biases, gains and shifts
included; its own bias, and all that follows, stays at t. Batch statistics are those of
training mode. Without any shift l2 is 0 and the cosine 1, as where nothing comes before.

Santurkar et al. 2018, definition 2.1: https://arxiv.org/abs/1805.11604
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from torch import Tensor

from model import spec
from model.measurable import weight_layers
from model.measures.numbers import number
from model.measures.objective import (
    Objective,
    Parameters,
    cosine,
    norm_of,
    objective,
    parameters_of,
)
from model.measures.probe import Moment, Reading, Setting
from model.plan import Checked
from model.sizes import Plan
from model.training.losses import LossFunction

CHOSEN = 3  # layers that are looked at where nobody says which


@dataclass(frozen=True)
class WeightedLayer:
    """A layer whose weights are looked at."""

    number: int  # among the layers with weights, from 1, in the plan's order
    name: str  # prefix of its tensors
    before: tuple[str, ...]  # prefixes of all parameters that come before it

    @property
    def weight(self) -> str:
        """Name of the tensor."""
        return f"{self.name}.weight"

    def moved(self, parameters: Parameters, after: Parameters) -> dict[str, Tensor]:
        """The parameters, with what comes before this layer taken from `after`."""
        return {
            name: after[name] if name.rpartition(".")[0] in self.before else tensor
            for name, tensor in parameters.items()
        }


def passes(asked: spec.CovariateShift, checked: Checked) -> int:
    """Row-passes of one probe: a gradient at t, and one for each layer that others precede."""
    gradients = 1 + sum(bool(layer.before) for layer in layers_asked(asked, checked.plan))
    return checked.spec.batch_size * 3 * gradients


def probe(asked: spec.CovariateShift, setting: Setting) -> "CovariateShiftProbe":
    """What is asked at every probed step."""
    return CovariateShiftProbe(layers_asked(asked, setting.checked.plan), setting.loss)


def layers_asked(asked: spec.CovariateShift, plan: Plan) -> tuple[WeightedLayer, ...]:
    """The layers to look at, ascending: those asked for, or three at thirds of the depth.

    Of n layers with weights these are n/3, 2n/3 and n, rounded up: 9, 17 and 25 of 25.

    Args:
        asked: no layer that the network does not have, see `model.measurable`.
    """
    layers = weighted_layers(plan)
    thirds = (ceil(len(layers) * part / CHOSEN) for part in range(1, CHOSEN + 1))
    numbers = set(thirds if asked.layers is None else asked.layers)
    return tuple(layer for layer in layers if layer.number in numbers)


def weighted_layers(plan: Plan) -> tuple[WeightedLayer, ...]:
    """Every layer with weights, projections of residuals included, in the plan's order."""
    with_weights = {layer.name for layer in weight_layers(plan)}
    found: list[WeightedLayer] = []
    before: tuple[str, ...] = ()
    for layer in plan.walk():
        if layer.name in with_weights:
            found.append(WeightedLayer(len(found) + 1, layer.name, before))
        if layer.parameters and not isinstance(layer.layer, spec.Residual):
            before = (*before, layer.name)
    return tuple(found)


@dataclass(frozen=True)
class CovariateShiftProbe:
    """How far each layer's gradient is moved by the step of the layers before it."""

    layers: tuple[WeightedLayer, ...]
    loss: LossFunction

    def compare(self, before: Moment, after: Moment) -> Reading:
        """l2 and cosine of every layer, on the mini-batch of the step."""
        found = shifts(
            objective(before, self.loss),
            parameters_of(before.network),
            parameters_of(after.network),
            self.layers,
        )
        values = {
            f"covariate_shift.{name}.{shift.layer.number}": value
            for shift in found
            for name, value in (("l2", shift.l2), ("cosine", shift.cosine))
        }
        return Reading(values, {"layers": [shift.to_json() for shift in found]})


@dataclass(frozen=True)
class Shift:
    """The shift of one layer; NaN where a gradient is not finite."""

    layer: WeightedLayer
    l2: float
    cosine: float  # NaN where a gradient is 0
    before: float  # |G|
    after: float  # |G'|

    def to_json(self) -> dict[str, Any]:
        """The shift as JSON-ready values."""
        told = {"layer": self.layer.number, "name": self.layer.name}
        numbers = {"l2": self.l2, "cosine": self.cosine, "before": self.before, "after": self.after}
        return told | {name: number(value) for name, value in numbers.items()}


def shifts(
    at: Objective, before: Parameters, after: Parameters, layers: Sequence[WeightedLayer]
) -> list[Shift]:
    """The shift of each layer by a step from `before` to `after`.

    Args:
        at: the mini-batch of the step, and the buffers that the network had before it.
    """
    if not layers:
        return []
    _, gradients = at.gradients_of(before, [layer.weight for layer in layers])
    found = []
    for layer in layers:
        here = there = gradients[layer.weight]
        if layer.before:
            _, turned = at.gradients_of(layer.moved(before, after), [layer.weight])
            there = turned[layer.weight]
        found.append(_shift(layer, here, there))
    return found


def _shift(layer: WeightedLayer, here: Tensor, there: Tensor) -> Shift:
    sizes = norm_of(here), norm_of(there)
    return Shift(layer, norm_of(here - there), cosine(here, there), *sizes)
