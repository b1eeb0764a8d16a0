"""What a measure may name of a run: layers by their number and steps by theirs, or a refusal.

Numbers count from 1. Layers are counted in the order of `Plan.walk`, which is that of the
built network's modules.
"""

from collections.abc import Iterator, Sequence

from model.errors import SpecRefused
from model.sizes import Plan, PlannedLayer
from model.spec import (
    ActivationHere,
    CovariateShift,
    Histograms,
    InputShift,
    Measure,
    Moments,
    Percentiles,
    RelativeLoss,
    RunSpec,
    Saturation,
)

_OF_ACTIVATIONS = (Saturation, Histograms, Percentiles, Moments)
_OF_WEIGHTS = (InputShift, CovariateShift)

MOST_PROBES = 10_000  # of one measure in one run: each is a row of the records


def activation_layers(plan: Plan) -> list[PlannedLayer]:
    """The activation layers of a network, those inside residuals included."""
    return [layer for layer in plan.walk() if isinstance(layer.layer, ActivationHere)]


def weight_layers(plan: Plan) -> list[PlannedLayer]:
    """The linear layers and convolutions of a network, projections included."""
    return [layer for layer in plan.walk() if layer.has_weights]


def refuse_unmeasurable(spec: RunSpec, plan: Plan, steps: int) -> None:
    """Refuse measures of what the run does not have.

    Args:
        steps: optimizer steps of the whole budget.

    Raises:
        SpecRefused: a layer or a mini-batch that does not exist, nothing to look at, or more
            probes than records should hold; the path begins with `measures`.
    """
    for index, asked in enumerate(spec.measures):
        path = f"measures.{index}"
        _refuse_layers(path, asked, plan)
        if isinstance(asked, RelativeLoss):
            _refuse_batches(f"{path}.at", asked.at, steps)
        elif asked.every is not None:
            _refuse_crowd(f"{path}.every", steps // asked.every, steps)


def _refuse_layers(path: str, asked: Measure, plan: Plan) -> None:
    if isinstance(asked, _OF_ACTIVATIONS) and not activation_layers(plan):
        raise SpecRefused(path, f"{asked.kind} needs an activation layer; the network has none")
    if isinstance(asked, _OF_WEIGHTS) and not weight_layers(plan):
        needed = "a linear layer or a convolution"
        raise SpecRefused(path, f"{asked.kind} needs {needed}; the network has none")
    if isinstance(asked, Percentiles):
        _refuse_numbers(path, "activation layer", asked.layers, len(activation_layers(plan)))
    if isinstance(asked, CovariateShift):
        _refuse_numbers(path, "layer with weights", asked.layers, len(weight_layers(plan)))


def _refuse_numbers(path: str, what: str, asked: Sequence[int] | None, count: int) -> None:
    for place, number in _beyond(asked or (), count):
        message = f"there is no {what} {number}: the network has {count}"
        raise SpecRefused(f"{path}.layers.{place}", message, number=number, layers=count)


def _refuse_batches(path: str, asked: Sequence[int], steps: int) -> None:
    for place, number in _beyond(asked, steps):
        message = f"there is no mini-batch {number}: the budget is {steps} steps"
        raise SpecRefused(f"{path}.{place}", message, number=number, steps=steps)


def _refuse_crowd(path: str, times: int, steps: int) -> None:
    if times > MOST_PROBES:
        message = f"that is {times} times in {steps} steps; at most {MOST_PROBES} are allowed"
        raise SpecRefused(path, message, times=times, steps=steps, limit=MOST_PROBES)


def _beyond(asked: Sequence[int], count: int) -> Iterator[tuple[int, int]]:
    return ((place, number) for place, number in enumerate(asked) if number > count)
