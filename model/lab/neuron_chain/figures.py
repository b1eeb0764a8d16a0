"""Figures of the chain: the given one step by step, and random ones over learning rates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from torch import Tensor

from model.figures.charts import Curve, Curves, Figure, Guide, Role
from model.lab.bands import over_seeds
from model.lab.neuron_chain.chain import UPDATES, B, C, Three, Update, passed, step, with_front
from model.lab.neuron_chain.drawn import Drawn, change_of_input, rates, share_better
from model.lab.neuron_chain.params import Params
from model.lab.results import Series

ROLES: Mapping[Update, Role] = {
    "simultaneous": "none",
    "front_to_back": "batch",
    "back_to_front": "other",
}
RATE_CHAINS = 2_000  # of each seed, at every learning rate


def figures(params: Params, chains: Sequence[Drawn]) -> tuple[Figure, ...]:
    """Step by step, and over learning rates where a seed drew chains."""
    return (_steps(params), *([_rates(params, chains)] if chains else []))


def path(params: Params, update: Update) -> list[Three]:
    """The weights of the given chain before every step, the points in turn, and after the last."""
    found = [params.weights]
    for n in range(params.steps):
        found.append(step(found[-1], params.points[n % 2], params.rate, update).after)
    return found


def _steps(params: Params) -> Figure:
    panels = (
        _panel(params, "input of neuron c on x_1", "z_b", lambda at: at.outputs[B]),
        _panel(params, "loss on the first row", "loss", lambda at: at.loss),
        _shift(params),
    )
    return Figure(
        "steps",
        "The given chain, step by step",
        "On one and the same row the input of neuron c moves from step to step, under every order "
        "of updates.",
        panels,
        columns=3,
    )


def _panel(params: Params, title: str, label: str, of: Callable[..., Tensor]) -> Curves:
    steps = list(range(params.steps + 1))
    first = params.points[0]
    curves = tuple(
        Curve(
            update,
            steps,
            [float(of(passed(weights, first))) for weights in path(params, update)],
            ROLES[update],
        )
        for update in UPDATES
    )
    return Curves(title, "steps done", label, curves)


def _shift(params: Params) -> Curves:
    """G and G' of every simultaneous step."""
    weights = path(params, "simultaneous")
    here, there = list[float](), list[float]()
    for n, (before, after) in enumerate(pairwise(weights)):
        at = params.points[n % 2]
        here.append(float(passed(before, at).gradient[C]))
        there.append(float(passed(with_front(before, after), at).gradient[C]))
    steps = list(range(1, params.steps + 1))
    curves = (Curve("G", steps, here, "none"), Curve("G'", steps, there, "batch"))
    return Curves("definition 2.1 of w_c, simultaneous", "step", "dL/dw_c", curves)


def _rates(params: Params, chains: Sequence[Drawn]) -> Figure:
    some = [_first(one) for one in chains]
    moved = tuple(_over_rates(some, one, change_of_input) for one in UPDATES)
    better = tuple(_over_rates(some, one, share_better) for one in UPDATES[1:])
    label = "chains with a lower loss than simultaneous, %"
    panels = (
        Curves(
            "change of z_b, the row the same",
            "learning rate",
            "median chain, %",
            moved,
            x_log=True,
            y_log=True,
            guides=(Guide(1.0, "1 %"), Guide(params.rate, "the rate asked for", axis="x")),
        ),
        Curves(
            "is a step with gradients of updated weights better?",
            "learning rate",
            label,
            better,
            x_log=True,
            guides=(Guide(50.0, "no difference"),),
        ),
    )
    return Figure(
        "rates",
        "Random chains, one step",
        "The input of neuron c changes in proportion to the learning rate. To update it with "
        "gradients of weights that are already new makes the step better in no more than about "
        "half of the chains.",
        panels,
        columns=2,
        share_y=False,
        notes=(f"{RATE_CHAINS:,} chains a seed at most",),
    )


def _over_rates(
    chains: Sequence[Drawn], update: Update, of: Callable[[Drawn, float, Update], float]
) -> Curve:
    """A share in percent at every rate, over seeds."""
    places = tuple(range(len(rates())))  # where a curve over seeds has its steps
    values = [tuple(100 * of(one, rate, update) for rate in rates()) for one in chains]
    found = over_seeds([Series(places, one) for one in values], update, ROLES[update])
    return replace(found, x=rates())


def _first(chains: Drawn) -> Drawn:
    a, b, c = (one[:RATE_CHAINS] for one in chains.weights)
    at = type(chains.at)(chains.at.x[:RATE_CHAINS], chains.at.y[:RATE_CHAINS])
    return Drawn((a, b, c), at)
