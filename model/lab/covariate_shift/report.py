"""What the experiment on internal covariate shift answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from model.lab import factors
from model.lab.arms import by_seed, ended_early, sentence
from model.lab.covariate_shift import figures, shifts, test_time
from model.lab.covariate_shift.arms import (
    CLASSIFIERS,
    NORMS,
    TITLES,
    Params,
    arm_of,
    recipe,
)
from model.lab.covariate_shift.test_time import Met
from model.lab.report import Cell, Report, Table
from model.lab.results import Results, RunResult, Series
from model.lab.santurkar import PUBLISHED_STEPS
from model.lab.verdict import Declared, Effect, OfSeed, judge

RECOVERED = Declared(
    "test accuracy under fully shifted inputs: new statistics - statistics of training",
    "points",
    "difference",
    "above",
    2.0,
)

DIVERGED_IS = (
    "counted as the largest shift and loss that was seen and as a cosine of -1; under shifted "
    "inputs left out"
)
LEARNED = 0.95  # of the first training loss: what ends above it has hardly learned


def report(params: Params, results: Results) -> Report:
    """Is the shift of gradients and inputs smaller with batch norm?"""
    effect, others = shifts.primary(params, results), shifts.others(params, results)
    met = test_time.look_at(params, results)
    recovered = _recovered(met, results.planned_seeds)
    proven = _proofs(params, results)
    return Report(
        effect=effect,
        summary=_summary(effect, others),
        tables=(shifts.table(params, results), _losses(params, results), *_two_shifts(met)),
        figures=figures.draw(params, results, met),
        caveats=(
            *_caveats(params, met),
            *_unlearned(params, results),
            *ended_early(results, DIVERGED_IS),
            *factors.caveats(proven),
        ),
        factors=proven,
        others=(*others, *([recovered] if met else [])),
    )


def _recovered(met: Sequence[Met], seeds: Sequence[int]) -> Effect:
    found = [(seed, test_time.recovered(met, "batch", seed)) for seed in seeds]
    return judge(RECOVERED, [OfSeed(seed, one.value, one.note) for seed, one in found])


def _summary(effect: Effect, others: Sequence[Effect]) -> str:
    answers = {
        "supports": "Batch norm reduces the shift of gradients here, as it was claimed to.",
        "contradicts": "Batch norm does not reduce internal covariate shift here.",
        "inconclusive": "Whether batch norm reduces internal covariate shift is left open.",
    }
    losses = [one for one in others if one.declared.name.startswith("last training loss")]
    return " ".join([answers[effect.verdict], *map(sentence, (effect, *losses[:1]))])


def _losses(params: Params, results: Results) -> Table:
    rows = {
        arm_of(network, norm): (arm_of(network, norm), shifts.loss_of(results, network))
        for network in params.networks
        for norm in NORMS
    }
    note = "Of deep_linear, half the sum of squares divided by the rows."
    return by_seed("training-loss", "Last training loss", results, rows, note)


def _two_shifts(met: Sequence[Met]) -> tuple[Table, ...]:
    rows: list[tuple[Cell, ...]] = [
        (one.norm, one.seed, statistics, *accuracy)
        for one in met
        for statistics, accuracy in (("of training", one.accuracy), ("new", one.anew))
        if accuracy
    ]
    if not rows:
        return ()
    strengths = (f"accuracy at {strength} %" for strength in test_time.STRENGTHS)
    title = "Test accuracy in eval mode under inputs that shift at test time"
    return (Table("test-time", title, ("norm", "seed", "statistics", *strengths), tuple(rows)),)


def _caveats(params: Params, met: Sequence[Met]) -> tuple[str, ...]:
    told = [
        "G is the gradient of a layer's weights on the mini-batch of a step, G' the same with "
        "all that comes before the layer as the step leaves it. |G - G'| grows with the gradient "
        "itself, so that a network with larger gradients shifts more by this number alone: that "
        "is why the cosine is beside it.",
        "A network that has learned its rows has no gradient left to shift. What becomes smaller "
        "late in training is convergence, and the arm that converges further looks the calmer: so "
        "the shift over the first 40 % of steps is judged beside that over all of them.",
        "The published figures show one VGG and one deep linear network without seeds; where the "
        "norm stands in the latter is not said.",
    ]
    if "deep_linear" in params.networks:
        steps, whole = recipe(params, "deep_linear").steps, PUBLISHED_STEPS["deep_linear"]
        if steps < whole:
            told.append(
                f"The deep linear network is trained for {steps:,} of the {whole:,} published "
                'steps; "scale": "paper" trains it to the end.'
            )
    small = [one for one in params.networks if one in CLASSIFIERS and not params.is_published(one)]
    if small:
        names = " and ".join(TITLES[one] for one in small)
        told.append(
            f"{names}: small networks on small images for hundreds of steps, not VGG-16 "
            "on CIFAR-10 for 15,000. The small VGG starts from He's initialization instead of "
            "Glorot's, from which it would not leave chance without norm."
        )
    if met:
        told.append(
            "Less contrast and a brighter dark are one scale and one offset for every input. In an "
            "MLP new statistics of the first norm take them back almost exactly. Behind a "
            "convolution all positions share their statistics, and the zeros around an image do "
            "not shift with it, so that less comes back."
        )
    else:
        told.append(
            "Shifted inputs at test time are not shown: that needs a network that classifies and "
            f"at least {test_time.LEAST_ROWS} test rows."
        )
    return tuple(told)


def _unlearned(params: Params, results: Results) -> tuple[str, ...]:
    """Which arms have hardly learned: their gradients barely move, so a ratio to them is large."""
    arms = [arm_of(network, norm) for network in params.networks for norm in NORMS]
    found = [arm for arm in arms if results.of(arm) and all(map(_stood_still, results.of(arm)))]
    if not found:
        return ()
    return (
        f"Hardly learned in these steps, in any seed: {'; '.join(found)}. Such a network has a "
        "gradient that is small and barely moves, so that a ratio to its shift says little.",
    )


def _stood_still(run: RunResult) -> bool:
    losses = run.series.get("train_loss", Series((), ())).values
    return len(losses) > 1 and losses[-1] > LEARNED * losses[0]


def _proofs(params: Params, results: Results) -> tuple[Mapping[str, Any], ...]:
    found = []
    for network in params.networks:
        arms = arm_of(network, "none"), arm_of(network, "batch")
        for one, two in results.pairs(*arms):
            prints = [factors.fingerprint(results.start(run)) for run in (one, two)]
            found.append(factors.compared(prints[0], prints[1], arms))
            results.moved()
    return tuple(found)
