"""How large a learning rate may be, with and without batch norm."""

from collections.abc import Callable, Sequence
from typing import Any

from model.figures.charts import Figure
from model.figures.text import percent
from model.lab import factors
from model.lab.arms import POINTS, by_seed, ended_early, in_points, sentence
from model.lab.compare import Of, Outcome, compared, last
from model.lab.experiment import Experiment
from model.lab.learning_rate_range import figures
from model.lab.learning_rate_range.plan import ACTIVATIONS, NORMS, RangeParams, arm_of, plan
from model.lab.learning_rate_range.reach import LEARNED, METRIC, Reach
from model.lab.pair import proofs
from model.lab.report import Report, Table
from model.lab.results import Results, RunResult
from model.lab.verdict import Declared, Effect, OfSeed, judge

LARGEST = Declared("largest rate that still trains: batch / none", "", "ratio", "above", 2.0)
FEWEST = Declared(
    "steps to the best accuracy without norm, each at its best rate: batch / none",
    *("", "ratio", "below", 2.0),
)
AT_BASE = Declared(
    "steps to the best accuracy without norm, at the smallest rate: batch / none",
    *("", "ratio", "below", 1.0),
)
SIGMOID = Declared(
    "accuracy of the sigmoid network, each at its best rate: batch - none",
    *("points", "difference", "above", 30.0),
)
ABOVE_GUESSING = 5.0  # points that still count as guessing
AT_CHANCE = Declared(
    "accuracy of the sigmoid network without norm at its best rate, above guessing and 5 points",
    *("points", "difference", "below", 0.0),
)
CAVEATS = (
    "Published is a network of the Inception family on ImageNet: 14 times fewer steps at 5 times "
    "the rate, a higher accuracy at 30 times, and 69.8 % with sigmoids. It also dropped dropout, "
    "weakened the L2 penalty and decayed the rate faster; here the rate alone changes.",
    f"A run trains when its accuracy at the end is at least {percent(LEARNED)} of the way from "
    "guessing to the best of its seed. The largest rate is known as finely as rates are spaced.",
    "On a small dataset both arms end at nearly the same accuracy, so that when one first reaches "
    "the best of the other is largely chance. What differs is which rates work.",
)
NO_TEST_ROWS = "No run has a test accuracy: the dataset has no test rows."


def report(params: RangeParams, results: Results) -> Report:
    """Up to which rate both arms train, how soon they arrive, and what sigmoids do."""
    reaches = [Reach(params, results, seed) for seed in results.planned_seeds]
    effect = _judged(LARGEST, reaches, lambda one: _arms(one.largest_rate))
    others = (
        _judged(FEWEST, reaches, lambda one: _arms(one.fewest_steps)),
        _judged(
            AT_BASE, reaches, lambda one: _arms(lambda n: one.steps_at(n, params.multipliers[0]))
        ),
        _judged(SIGMOID, reaches, lambda one: _arms(lambda n: _points(one.best_end("sigmoid", n)))),
        judge(AT_CHANCE, [_above_guessing(one) for one in reaches]),
    )
    proven = _proofs(params, results)
    return Report(
        effect=effect,
        summary=" ".join(map(sentence, (effect, others[0], others[2]))),
        tables=_tables(params, results, reaches),
        figures=_figures(params, results, reaches),
        caveats=(*_caveats(reaches), *ended_early(results), *factors.caveats(proven)),
        factors=proven,
        others=others,
    )


Pair = tuple[Outcome, Outcome]


def _judged(declared: Declared, reaches: Sequence[Reach], of: Callable[[Reach], Pair]) -> Effect:
    return judge(declared, [compared(declared, one.seed, *of(one)) for one in reaches])


def _arms(of: Callable[[Any], Outcome]) -> Pair:
    """Batch first, for what is declared is batch against none."""
    return of("batch"), of("none")


def _points(one: Outcome) -> Outcome:
    return Outcome(None if one.value is None else POINTS * one.value, one.note)


def _above_guessing(one: Reach) -> OfSeed:
    best, guess = one.best_end("sigmoid", "none"), one.guess
    if best.value is None or guess is None:
        return OfSeed(one.seed, None, best.note)
    note = f"guessing the most frequent class: {percent(guess, 1)}"
    return OfSeed(one.seed, POINTS * (best.value - guess) - ABOVE_GUESSING, note)


def _tables(params: RangeParams, results: Results, reaches: Sequence[Reach]) -> tuple[Table, ...]:
    seeds = {one.seed: one for one in reaches}

    def steps(run: RunResult) -> Outcome:
        return seeds[run.seed].steps(run)

    accuracy = in_points(last(METRIC, worst=0.0))
    every = {
        arm: arm
        for activation in ACTIVATIONS
        for multiplier in params.multipliers
        for norm in NORMS
        if (arm := arm_of(activation, norm, multiplier))
    }
    relu = [arm for arm in every if ", relu, " in arm]
    return (
        _largest(reaches),
        _rows("steps", "Steps to the best accuracy without norm", results, relu, steps),
        _rows("accuracy", "Test accuracy at the end, percent", results, list(every), accuracy),
    )


def _rows(name: str, title: str, results: Results, arms: Sequence[str], of: Of) -> Table:
    return by_seed(name, title, results, {arm: (arm, of) for arm in arms})


def _largest(reaches: Sequence[Reach]) -> Table:
    rows = []
    for one in reaches:
        found = [one.largest_rate(norm) for norm in NORMS]
        notes = "; ".join(outcome.note for outcome in found if outcome.note)
        rows.append((one.seed, *(outcome.value for outcome in found), one.target, one.guess, notes))
    columns = (
        *("seed", "largest rate that trains, none", "the same, batch"),
        *("best accuracy without norm", "guessing", "note"),
    )
    return Table("largest-rates", "Seed by seed", columns, tuple(rows))


def _figures(params: RangeParams, results: Results, reaches: Sequence[Reach]) -> tuple[Figure, ...]:
    guess = next((one.guess for one in reaches if one.guess is not None), None)
    if guess is None:
        return ()
    return (
        figures.by_rate(params, results, guess),
        figures.steps_by_rate(params, reaches),
        figures.training(params, results, guess),
    )


def _caveats(reaches: Sequence[Reach]) -> tuple[str, ...]:
    has_test_rows = any(one.guess is not None for one in reaches)
    return CAVEATS if has_test_rows else (NO_TEST_ROWS, *CAVEATS)


def _proofs(params: RangeParams, results: Results) -> tuple[dict[str, Any], ...]:
    first = params.multipliers[0]
    return tuple(
        proof
        for act in ACTIVATIONS
        for proof in proofs(results, arm_of(act, "none", first), [arm_of(act, "batch", first)])
    )


EXPERIMENT = Experiment(
    kind="learning_rate_range",
    claim="With batch norm a network trains at learning rates more than twice as large.",
    source="Ioffe and Szegedy 2015, section 4.2 and figures 2 and 3, "
    "https://arxiv.org/abs/1502.03167",
    params=RangeParams,
    declared=LARGEST,
    default_seconds=65,
    plan=plan,
    report=report,
)
