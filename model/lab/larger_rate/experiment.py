"""Is it only the learning rate that batch norm gives?"""

from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any

from model.figures.charts import Figure
from model.lab import factors
from model.lab.arms import POINTS, by_seed, ended_early, in_points, sentence
from model.lab.compare import last, paired
from model.lab.experiment import Experiment
from model.lab.larger_rate import figures
from model.lab.larger_rate.beginnings import Beginning, look_at, of_norm
from model.lab.larger_rate.crossings import ratio, rows
from model.lab.larger_rate.noise import noise
from model.lab.larger_rate.plan import (
    NORMS,
    LargerRateParams,
    deep_arm,
    plan,
    trained_arm,
)
from model.lab.pair import proofs
from model.lab.report import Report, Table
from model.lab.results import Results
from model.lab.verdict import Declared, Effect, OfSeed, judge

LONGEST = Declared(
    "longest step along the gradient that does not raise the loss, median over mini-batches: "
    "batch / none",
    *("", "ratio", "above", 10.0),
)
GROWTH = Declared(
    "growth of the deviation from the first block to the last: none / batch",
    *("", "ratio", "above", 10.0),
)
LARGEST_GRADIENT = Declared(
    "largest gradient of the middle layer before the first step: none / batch",
    *("", "ratio", "above", 10.0),
)
KURTOSIS = Declared(
    "excess kurtosis of the gradient of the middle layer: none - batch",
    *("", "difference", "above", 0.0),
)
SAME_CLASS = Declared(
    "rows given the same class before the first step: none - batch",
    *("points", "difference", "above", 10.0),
)
LEFT = Declared(
    "what the summands of a weight's gradient leave when they cancel: none / batch",
    *("", "ratio", "above", 1.0),
)
ALIKE, GAIN = 2.0, 3.0  # points of accuracy: no difference at one rate, and one between rates
ACCURACY = in_points(last("test_accuracy", worst=0.0))

CAVEATS = (
    "Published is a ResNet of 110 layers on CIFAR-10. What is claimed is how far apart the arms "
    "are, and how that grows with depth, not the lengths themselves.",
    "That batch norm allows longer steps in a network this deep does not say that it does in "
    "every network: see the experiment on initialization, where good starts are compared.",
    "The paper says that at an equal rate the norm gains nothing. Here its opposite is put to the "
    'test, so that "contradicts" at the small rate speaks for the paper.',
)


def report(params: LargerRateParams, results: Results) -> Report:
    """How long steps may be, what depth does, and what is left at an equal rate."""
    seeds = results.planned_seeds
    beginnings = look_at(params, results)
    effect = judge(LONGEST, [ratio(LONGEST, params, results, seed) for seed in seeds])
    accuracies = _accuracies(params, results)
    proven = _proofs(params, results)
    return Report(
        effect=effect,
        summary=" ".join(map(sentence, (effect, *accuracies[:2]))),
        tables=_tables(params, results, seeds, beginnings),
        figures=tuple(_figures(params, results, beginnings)),
        caveats=(
            *CAVEATS,
            *_caveats(params, effect),
            *ended_early(results),
            *factors.caveats(proven),
        ),
        factors=proven,
        others=(
            *accuracies,
            _both(GROWTH, beginnings, lambda one: one.growth),
            _both(LARGEST_GRADIENT, beginnings, lambda one: one.gradient.largest),
            _both(KURTOSIS, beginnings, lambda one: one.gradient.excess_kurtosis),
            _both(SAME_CLASS, beginnings, lambda one: POINTS * one.outputs.same_class),
            _both(LEFT, beginnings, lambda one: one.left),
        ),
    )


def _accuracies(params: LargerRateParams, results: Results) -> tuple[Effect, ...]:
    """What the norm gains at an equal rate, what the rate gains, and what is lost without norm."""
    small, large = params.small_rate, params.large_rate
    at_small = trained_arm("batch", small), trained_arm("none", small)
    at_large = trained_arm("batch", large), trained_arm("none", large)
    asked = (
        (f"rate {small:g}: batch - none", ALIKE, at_small),
        (f"batch norm: rate {large:g} - rate {small:g}", GAIN, (at_large[0], at_small[0])),
        (f"rate {large:g}: batch - none", GAIN, at_large),
    )
    found = list[Effect]()
    for name, margin, arms in asked:
        declared = Declared(f"test accuracy, {name}", "points", "difference", "above", margin)
        found.append(judge(declared, paired(results, declared, *arms, ACCURACY)))
    return tuple(found)


def _both(
    declared: Declared, beginnings: Sequence[Beginning], of: Callable[[Beginning], float]
) -> Effect:
    """None against batch, of every seed that both have."""
    batch = {one.seed: of(one) for one in of_norm(beginnings, "batch")}
    none = {one.seed: of(one) for one in of_norm(beginnings, "none")}
    return judge(
        declared,
        [_compared(declared, seed, none[seed], batch[seed]) for seed in none if seed in batch],
    )


def _compared(declared: Declared, seed: int, none: float, batch: float) -> OfSeed:
    if not (isfinite(none) and isfinite(batch)):
        return OfSeed(seed, None, f"none {none:g}, batch {batch:g}: not finite")
    if declared.scale == "difference":
        return OfSeed(seed, none - batch)
    if none <= 0 or batch <= 0:
        return OfSeed(seed, None, f"none {none:g}, batch {batch:g}: there is no ratio")
    return OfSeed(seed, none / batch)


def _tables(
    params: LargerRateParams,
    results: Results,
    seeds: Sequence[int],
    beginnings: Sequence[Beginning],
) -> tuple[Table, ...]:
    columns = ("run", "seed", *(f"mini-batch {one}" for one in params.batches))
    longest = Table(
        "longest-steps",
        "The first step along the gradient that raises the loss, as a learning rate",
        columns,
        tuple(rows(params, results, seeds)),
        "Ten steps a decade are tried. Diverged: the network was not finite any more.",
    )
    rates = (params.small_rate, params.large_rate)
    arms = [trained_arm(norm, rate) for rate in rates for norm in NORMS]
    accuracies = by_seed(
        "accuracy",
        "Test accuracy at the end, percent",
        results,
        {arm: (arm, ACCURACY) for arm in arms},
    )
    return longest, accuracies, _beginnings(beginnings), noise(params, results)


def _beginnings(beginnings: Sequence[Beginning]) -> Table:
    columns = (
        *("arm", "seed", "deviation behind the last block / the first"),
        *("largest gradient of the middle layer", "its excess kurtosis"),
        *("rows given the same class, percent", "size of sum / sum of sizes of a gradient"),
    )
    note = (
        "The last column: what single rows and positions add to a weight's gradient, the size of "
        "their sum over the sum of their sizes, median over layers: small where they cancel."
    )
    title = "Before the first step, on its mini-batch"
    return Table("beginnings", title, columns, tuple(map(_row, beginnings)), note)


def _row(one: Beginning) -> tuple[str | int | float, ...]:
    gradient, share = one.gradient, POINTS * one.outputs.same_class
    return (
        *(one.norm, one.seed, one.growth),
        *(gradient.largest, gradient.excess_kurtosis, share, one.left),
    )


def _figures(
    params: LargerRateParams, results: Results, beginnings: Sequence[Beginning]
) -> Iterable[Figure]:
    if not any(run.counts for run in results.runs):
        return
    yield figures.relative_loss(params, results)
    yield figures.accuracy(params, results, ACCURACY)
    if beginnings:
        yield figures.depth(beginnings)
        yield figures.gradients(beginnings)
        yield figures.update(params, beginnings)
        yield figures.outputs(beginnings)


def _caveats(params: LargerRateParams, effect: Effect) -> Iterable[str]:
    rates = params.rates_without_norm
    if len(rates) > 1:
        yield (
            f"Without norm the deep network is led to mini-batches {params.batches} at the largest "
            f"of the rates {', '.join(f'{rate:g}' for rate in rates)} at which it does not diverge "
            "on the way; a rate as small as the last hardly moves it."
        )
    if any("below the grid" in one.note for one in effect.seeds):
        yield "Where no step is safe without norm the mini-batch counts for nothing: no ratio."
    if params.scale == "paper":
        yield "The rate falls to a tenth half way; the paper lowers it where the loss is flat."


def _proofs(params: LargerRateParams, results: Results) -> tuple[dict[str, Any], ...]:
    deep = [deep_arm("none", params.rates_without_norm[-1]), deep_arm("batch", params.large_rate)]
    trained = [trained_arm(norm, params.small_rate) for norm in NORMS]
    return tuple(one for none, batch in (deep, trained) for one in proofs(results, none, [batch]))


EXPERIMENT = Experiment(
    kind="larger_rate",
    claim="In a deep network batch norm makes the steps that lower the loss at least ten times as "
    "long.",
    source="Bjorck et al. 2018, figures 1 to 6 and table 1, https://arxiv.org/abs/1806.02375",
    params=LargerRateParams,
    declared=LONGEST,
    default_seconds=25,
    plan=plan,
    report=report,
)
