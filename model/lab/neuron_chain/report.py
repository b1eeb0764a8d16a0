"""What the chain concludes: what of the post's example holds, and what is no fault of a step."""

from collections.abc import Callable, Sequence
from math import isfinite

from model.lab.arms import sentence
from model.lab.neuron_chain import tables
from model.lab.neuron_chain.drawn import (
    Drawn,
    change_by_order,
    change_of_gradient,
    change_of_input,
    drawn,
    share_better,
    share_stale,
)
from model.lab.neuron_chain.figures import figures
from model.lab.neuron_chain.params import Params
from model.lab.report import Report
from model.lab.results import Results
from model.lab.verdict import Declared, Effect, OfSeed, judge

LEAST = 0.01  # share of z_b, or of a gradient, that counts as a change
CHANGE = Declared(
    "change of z_b by one step on the same row, over 1 % of it", "", "ratio", "above", 1.0
)
SHIFT = Declared("|G' - G| of w_c, over 1 % of |G|", "", "ratio", "above", 1.0)
STALE = Declared(
    "chains whose gradient of w_c uses weights of the step before, above half of them",
    "points",
    "difference",
    "above",
    0.0,
)
FRONT = Declared(
    "chains in which updating front to back leaves a lower loss, above half of them",
    "points",
    "difference",
    "above",
    2.0,
)
BACK = Declared(
    "chains in which updating back to front leaves a lower loss, above half of them",
    "points",
    "difference",
    "above",
    2.0,
)
ORDER = Declared(
    "largest difference of a weight: gradients of one pass applied from c to a, or from a to c",
    "",
    "difference",
    "above",
    0.0,
)

Chains = Sequence[tuple[int, Drawn]]


def report(params: Params, results: Results) -> Report:
    """Follow the given chain, and judge random ones: `chains` of each seed."""
    chains = tuple((seed, drawn(seed, params.chains)) for seed in results.seeds)
    results.moved()
    rate = params.rate
    effect = _judged(CHANGE, chains, lambda one: change_of_input(one, rate, params.update) / LEAST)
    others = (
        _judged(SHIFT, chains, lambda one: change_of_gradient(one, rate) / LEAST),
        _judged(STALE, chains, lambda one: _above_half(share_stale(one, rate))),
        _judged(FRONT, chains, lambda one: _above_half(share_better(one, rate, "front_to_back"))),
        _judged(BACK, chains, lambda one: _above_half(share_better(one, rate, "back_to_front"))),
        _judged(ORDER, chains, lambda one: change_by_order(one, rate)),
    )
    return Report(
        effect=effect,
        summary=_summary(params, effect, others),
        tables=tables.tables(params),
        figures=figures(params, [one for _, one in chains]),
        caveats=_caveats(params),
        others=others,
    )


def _judged(declared: Declared, chains: Chains, of: Callable[[Drawn], float]) -> Effect:
    return judge(declared, [_of_seed(declared, seed, of(one)) for seed, one in chains])


def _of_seed(declared: Declared, seed: int, value: float) -> OfSeed:
    if not isfinite(value) or (declared.scale == "ratio" and value <= 0):
        return OfSeed(seed, None, f"{value:g}: too large a step for a number, or too small a one")
    return OfSeed(seed, value)


def _above_half(share: float) -> float:
    return 100 * (share - 0.5)


def _summary(params: Params, effect: Effect, others: Sequence[Effect]) -> str:
    first, _ = tables.two_steps(params, params.update)
    rows = next(one for one in tables.tables(params) if one.name == "input-of-c").rows
    _, before, after, *_ = rows[0]
    shift, stale, front, *_ = others
    given = (
        f"In the given chain one step ({params.update}) takes z_b of x_1 from {before:.4g} to "
        f"{after:.4g}, and w_c from {float(first.before[2]):.4g} to {float(first.after[2]):.4g}."
    )
    return " ".join([given, *(sentence(one) for one in (effect, shift, stale, front))])


def _caveats(params: Params) -> tuple[str, ...]:
    return (
        "That z_b changes is true of every update of w_a and w_b, and of every learning rate but "
        "0: how much, hangs on the rate. It is no proof that it harms.",
        "No weight is stale: backpropagation takes every gradient at the weights as they are, and "
        "so the gradient of w_c uses the w_b that the step before has left. That it was learned "
        "from earlier rows is what learning is. What a simultaneous step ignores is that w_a and "
        "w_b move in the same step: that is G' - G.",
        "Backpropagation dictates the order in which gradients are computed, from c to a, and not "
        "the order of updates: once all gradients are there, every order gives the same weights, "
        "to the last bit.",
        "Updated front to back with forward and backward again in between, c gets the gradient "
        "of its new input: by definition 2.1 nothing is shifted under it. That step costs three "
        "passes, and whether it is the better one is what the losses say.",
        f"The random chains have weights, rows and targets from N(0, 1), and a rate of "
        f"{params.rate:g}; the interval is over seeds of {params.chains:,} chains, of which the "
        "median or the share counts. A chain of one row has no batch: it shows what batch norm "
        "was made for, not what it does.",
    )
