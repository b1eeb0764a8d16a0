"""The steps of the given chain with their numbers."""

import torch

from model.lab.neuron_chain.chain import (
    NEURONS,
    UPDATES,
    A,
    B,
    C,
    Step,
    Three,
    Update,
    gradient_by_autograd,
    passed,
    shift_by_hand,
    step,
    with_front,
)
from model.lab.neuron_chain.params import Params
from model.lab.report import Cell, Table


def two_steps(params: Params, update: Update) -> tuple[Step, Step]:
    """Steps 1 and 2 of the given chain."""
    first = step(params.weights, params.points[0], params.rate, update)
    return first, step(first.after, params.points[1], params.rate, update)


def tables(params: Params) -> tuple[Table, ...]:
    """All of them, the update of the params first."""
    return (_steps(params), _inputs(params), _definition(params), _stale(params))


def updates(params: Params) -> list[Update]:
    """Every update, that of the params first."""
    return [params.update, *(one for one in UPDATES if one != params.update)]


def _steps(params: Params) -> Table:
    rows = [
        _neuron(params, update, n, neuron, taken)
        for update in updates(params)
        for n, taken in enumerate(two_steps(params, update))
        for neuron in (A, B, C)
    ]
    columns = (
        *("update", "step", "input", "weight before", "output z", "dL/dz"),
        *("dL/dw by hand", "dL/dw by autograd", "weight after"),
    )
    note = (
        "Input, output and gradients are those from which the neuron was updated. By hand: dL/dw "
        "= dL/dz times the input."
    )
    title = "Steps 1a to 2c: every neuron in both steps, under every order of updates"
    return Table("steps", title, columns, tuple(rows), note)


def _neuron(params: Params, update: Update, n: int, neuron: int, taken: Step) -> tuple[Cell, ...]:
    seen = taken.seen[neuron]
    weights = _weights_seen(taken, neuron, update)
    derived = gradient_by_autograd(weights, params.points[n])[neuron]
    numbers = (
        *(seen.inputs[neuron], taken.before[neuron], seen.outputs[neuron], seen.slopes[neuron]),
        *(seen.gradient[neuron], derived, taken.after[neuron]),
    )
    return (update, f"{n + 1}{NEURONS[neuron]}", *(float(one) for one in numbers))


def _weights_seen(taken: Step, neuron: int, update: Update) -> Three:
    """The weights that a neuron's gradient was taken at."""
    match update:
        case "simultaneous":
            updated = set[int]()
        case "front_to_back":
            updated = set(range(neuron))
        case "back_to_front":
            updated = set(range(neuron + 1, len(NEURONS)))
    a, b, c = ((taken.after if one in updated else taken.before)[one] for one in (A, B, C))
    return a, b, c


def _inputs(params: Params) -> Table:
    first, second = params.points
    rows = list[tuple[Cell, ...]]()
    for update in updates(params):
        before, after = params.weights, two_steps(params, update)[0].after
        same = passed(before, first).outputs[B], passed(after, first).outputs[B]
        other = passed(after, second).outputs[B]
        rows.append((update, *map(float, same), float(same[1] - same[0]), float(other)))
    columns = (
        *("update", "z_b of x_1 in step 1", "z_b of x_1 after it"),
        *("change, the row the same", "z_b of x_2 in step 2"),
    )
    title = "The input of neuron c from step 1 to step 2"
    return Table("input-of-c", title, columns, tuple(rows))


def _definition(params: Params) -> Table:
    rows = list[tuple[Cell, ...]]()
    for n, taken in enumerate(two_steps(params, "simultaneous")):
        at = params.points[n]
        mixed = with_front(taken.before, taken.after)
        here, there = passed(taken.before, at), passed(mixed, at)
        derived = [gradient_by_autograd(one, at)[C] for one in (taken.before, mixed)]
        by_hand = shift_by_hand(taken.before, taken.after, at)
        numbers = (here.gradient[C], there.gradient[C], by_hand, derived[1] - derived[0])
        sign = int(torch.sign(here.gradient[C] * there.gradient[C]))
        rows.append((n + 1, *(float(one) for one in numbers), sign or None))
    columns = ("step", "G", "G'", "G' - G by hand", "G' - G by autograd", "cosine of G and G'")
    note = (
        "Definition 2.1 for w_c: G at the weights before the step, G' with a and b as after it. "
        "By hand, with z_b and z_b': 2 w_c (z_b'^2 - z_b^2) - 2 y (z_b' - z_b). Of one weight the "
        "cosine is 1 or -1."
    )
    title = "Internal covariate shift of neuron c, updates simultaneous"
    return Table("definition", title, columns, tuple(rows), note)


def _stale(params: Params) -> Table:
    rows = list[tuple[Cell, ...]]()
    for n, point in enumerate(params.points):
        taken = two_steps(params, "simultaneous")[1]
        now, older = taken.before, with_front(taken.before, params.weights)
        derived = gradient_by_autograd(now, point)[C]
        both = [passed(one, point).gradient[C] for one in (now, older)]
        rows.append((f"x_{n + 1}", *(float(one) for one in (derived, *both))))
    columns = (
        *("row", "dL/dw_c in step 2 by autograd", "with w_a and w_b of step 2"),
        "with w_a and w_b of step 1",
    )
    title = "Which weights the gradient of w_c uses in step 2, updates simultaneous"
    return Table("stale", title, columns, tuple(rows))
