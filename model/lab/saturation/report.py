"""What the experiment on saturation concludes: saturated and dead are judged apart."""

from collections.abc import Callable, Sequence
from statistics import fmean

from model.lab import factors
from model.lab.arms import ended_early, sentence
from model.lab.compare import paired
from model.lab.first_features import hardly_vary
from model.lab.pair import proofs
from model.lab.post_norm import MOMENTUM
from model.lab.report import Report, Table
from model.lab.results import Results
from model.lab.saturation import figures
from model.lab.saturation.arms import NORMS, Params, arm_of
from model.lab.saturation.closed_form import share_of_batch, share_of_normal
from model.lab.saturation.looks import Look, Looks, look_at, outcome_of
from model.lab.verdict import Declared, Effect, OfSeed, judge
from model.norms.lag import share_left

POINTS = "points"
START = Declared(
    "saturated values before the first step: none - batch", POINTS, "difference", "above", 10.0
)
END = Declared("saturated values after training: none - batch", POINTS, "difference", "above", 10.0)
DEAD_START = Declared(
    "dead units before the first step: none - batch", POINTS, "difference", "above", 1.0
)
DEAD_END = Declared("dead units after training: none - batch", POINTS, "difference", "above", 1.0)
WITH = {"none": "without norm", "batch": "with batch norm"}
DIVERGED_IS = "looked at after training as it was last kept"
NEAR = {"none": 2.0, "batch": 0.2}  # points around the closed form


def report(params: Params, results: Results) -> Report:
    """Compare the arms of each fan-in, and every arm with its closed form."""
    looks = look_at(results)
    proven = [
        proof
        for fan_in in params.fan_ins
        for proof in proofs(results, arm_of("none", fan_in), (arm_of("batch", fan_in),))
    ]
    effect = _saturated(results, looks, START, None)
    dead = tuple(_dead(results, looks, declared) for declared in (DEAD_START, DEAD_END))
    near = tuple(_near(looks, norm, fan_in) for fan_in in params.fan_ins for norm in NORMS)
    after = _saturated(results, looks, END, None)
    return Report(
        effect=effect,
        summary=_summary(looks, (effect, *dead)),
        tables=(_by_run(looks), _forms(params, looks)) if looks else (),
        figures=figures.figures(params, results, looks),
        caveats=(
            *_caveats(params),
            *_blank(params, results),
            *ended_early(results, DIVERGED_IS),
            *factors.caveats(proven),
        ),
        factors=tuple(proven),
        others=(after, *dead, *near),
    )


def closed_form(norm: str, fan_in: float) -> float:
    """Percent of values that are saturated at the start, if weights and inputs are N(0, 1)."""
    return 100 * share_of_normal(1.0 if norm == "batch" else fan_in**0.5)


def _saturated(results: Results, looks: Looks, declared: Declared, fan_in: int | None) -> Effect:
    return _none_less_batch(results, looks, declared, fan_in, lambda one: one.saturated)


def _dead(results: Results, looks: Looks, declared: Declared) -> Effect:
    return _none_less_batch(results, looks, declared, None, lambda one: one.dead_units)


def _none_less_batch(
    results: Results,
    looks: Looks,
    declared: Declared,
    fan_in: int | None,
    number: Callable[[Look], float],
) -> Effect:
    of = outcome_of(looks, "start" if declared in (START, DEAD_START) else "end", number)
    arms = arm_of("none", fan_in), arm_of("batch", fan_in)
    return judge(declared, paired(results, declared, *arms, of))


def _near(looks: Looks, norm: str, fan_in: int | None) -> Effect:
    """How much room is left between an arm's distance from its closed form and the largest one."""
    found = of_arm(looks, norm, fan_in)
    most = NEAR[norm]
    name = f"{most:g} points less the distance from the closed form, {arm_of(norm, fan_in)}"
    declared = Declared(name, POINTS, "difference", "above", 0.0)
    return judge(declared, [_room(one, norm, most) for one in found])


def _room(one: Look, norm: str, most: float) -> OfSeed:
    expected = closed_form(norm, one.fan_in)
    here = 100 * one.saturated
    note = f"{here:.2f} %, closed form {expected:.2f} %"
    return OfSeed(one.seed, most - abs(here - expected) if here == here else None, note)


def of_arm(looks: Looks, norm: str, fan_in: int | None, when: str = "start") -> list[Look]:
    """The looks at one arm at one end, by seed."""
    found = (one for one in looks if one.arm == arm_of(norm, fan_in) and one.when == when)
    return sorted(found, key=lambda one: one.seed)


def _by_run(looks: Looks) -> Table:
    rows = tuple(
        (
            *(one.arm, one.seed, one.when, one.step, 100 * one.saturated),
            *(100 * one.flat_units, 100 * one.dead_units, 100 * one.change),
            100 * one.inactive_units,
        )
        for one in looks
    )
    columns = (
        *("arm", "seed", "when", "step", "saturated values, %", "units saturated on every row, %"),
        *("dead units, %", "loss change of a 1 % move, median unit, %"),
        "inactive units by SageMaker's rule, %",
    )
    note = (
        "Saturated: |tanh| > .99. Dead: moving the unit's weights by 1 % of their norm, along the "
        "gradient or at random, changes the loss by less than a millionth of it. Inactive: "
        "|input| of the tanh below 9.4999 on less than 1 % of the rows."
    )
    return Table("by-run", "The tanh layer at both ends of every run", columns, rows, note)


def _forms(params: Params, looks: Looks) -> Table:
    rows = []
    for fan_in in params.fan_ins:
        for norm in NORMS:
            rows += [_form(params, one, norm) for one in of_arm(looks, norm, fan_in)]
    columns = (
        *("arm", "seed", "saturated values, %", "closed form, %", "closed form of these rows, %"),
        f"in mini-batches of {params.batch_size}, %",
        f"closed form of {params.batch_size} rows, %",
    )
    note = (
        "2 (1 - Phi(2.647 / sqrt(fan-in))) without norm, fan-in 1 behind a norm. Of these rows: "
        "the mean over rows x of 2 (1 - Phi(2.647 / |x|)). Of few rows fewer values can be far "
        "from their own mean."
    )
    title = "Saturated values before the first step, beside their closed forms"
    return Table("closed-forms", title, columns, tuple(rows), note)


def _form(params: Params, one: Look, norm: str) -> tuple[str | int | float | None, ...]:
    is_normed = norm == "batch"
    rows = None if is_normed else 100 * one.expected
    few = 100 * share_of_batch(params.batch_size) if is_normed else closed_form(norm, one.fan_in)
    measured = 100 * one.saturated, closed_form(norm, one.fan_in), rows, 100 * one.in_batches
    return (one.arm, one.seed, *measured, few)


def _summary(looks: Looks, effects: Sequence[Effect]) -> str:
    effect, dead_start, dead_end = effects
    if effect.value is None:
        return "No seed has both arms, so that they cannot be compared."
    shares = []
    for norm in NORMS:
        found = of_arm(looks, norm, None)
        share = 100 * fmean(one.saturated for one in found)
        form = closed_form(norm, found[0].fan_in)
        shares.append(f"{share:.2f} % (closed form {form:.2f} %) {WITH[norm]}")
    text = f"Before the first step {' and '.join(shares)} of the tanh values are saturated."
    said = " ".join(sentence(one) for one in (dead_start, dead_end))
    if dead_start.verdict == "contradicts":
        said = f"Saturated is not dead, though: no more units are dead without norm. {said}"
    return f"{text} {said}"


def _blank(params: Params, results: Results) -> tuple[str, ...]:
    runs = results.of(arm_of("none", params.fan_in))
    if params.fan_in is None or not runs:
        return ()
    return hardly_vary(results, runs[0], params.fan_in)


def _caveats(params: Params) -> tuple[str, ...]:
    left = 100 * share_left(MOMENTUM, params.steps)
    few = 100 * share_of_batch(params.batch_size)
    told = [
        "A saturated value is one on which the tanh is flat. The post calls units dead whose "
        "weights may be moved without any effect on the loss; that is another thing, and judged "
        "by itself: on some rows nearly every unit is not flat, and through those it learns.",
        "Both are measured in training mode, on blocks of up to 1,000 rows that are normalized by "
        f"themselves. Mini-batches of {params.batch_size} rows have {few:.2f} % "
        "saturated values behind a norm, not .81 %: few rows cannot be far from their own mean.",
        "The post names neither learning rate nor steps, and its running statistics move by .001 a "
        f"batch: after {params.steps:,} steps {left:.0f} % of them are still the first 0 and "
        "1, so that the accuracies in eval mode are not what the weights could do.",
    ]
    if params.dataset != "two_class_500":
        told.append(
            "The closed form wants inputs from N(0, 1), each by itself. That of these rows, in the "
            "table, does not."
        )
    return tuple(told)
