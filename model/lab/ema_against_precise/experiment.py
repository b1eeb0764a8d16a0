"""Do running averages lag behind the population statistics while the learning rate is high?"""

from collections.abc import Iterator, Sequence
from statistics import fmean

from model.figures.charts import Curves, Figure, Guide
from model.figures.text import percent
from model.lab import factors
from model.lab.arms import by_seed, ended_early, sentence
from model.lab.bands import over_seeds
from model.lab.compare import Of, paired
from model.lab.ema_against_precise.looks import AllLooks, Looks, look, over_phase, share_above
from model.lab.ema_against_precise.plan import OLD_SHARE, EmaParams, arm_name, plan
from model.lab.experiment import Experiment
from model.lab.pair import proofs
from model.lab.report import Report, Table
from model.lab.results import Results, RunResult
from model.lab.single import beyond
from model.lab.verdict import Declared, Effect, judge

MARGIN = 1.0  # points of error that count as no effect
SHARE = 80.0  # percent of the checkpoints: what the claim asks for
LABELS = ("running averages", "precise statistics")

CAVEATS = (
    "Published is a ResNet-50 on ImageNet with batches of 8,192: 44 to 48 % error in epochs 5 to "
    "30 with running averages against 40 to 43 % with precise statistics, about 24 % with both at "
    "the end.",
    "How far averages lag hangs on how far the weights go in 1 / momentum steps. Rows that a "
    "network soon knows by heart move it no more, unless weight decay keeps its weights small.",
)
DIVERGED_IS = "in no number of that phase or a later one"


def report(params: EmaParams, results: Results) -> Report:
    """Every checkpoint's error with both kinds of statistics, and how they differ by phase."""
    looks = look(results)
    proven = proofs(results, *_first_and_rest(params))
    effect = _effect(params, results, looks)
    return Report(
        effect=effect,
        summary=_summary(params, results, looks, effect),
        tables=_tables(params, results, looks),
        figures=(_figure(params, results, looks),) if looks else (),
        caveats=(*_caveats(params), *ended_early(results, DIVERGED_IS), *factors.caveats(proven)),
        factors=proven,
        others=tuple(_others(params, results, looks)),
    )


def _first_and_rest(params: EmaParams) -> tuple[str, Sequence[str]]:
    first, *rest = (arm_name(momentum) for momentum in params.momenta)
    return first, rest


def _declared(momentum: float) -> Declared:
    name = (
        f"checkpoints at the high rate at which precise errs less, {arm_name(momentum)}: above "
        f"{SHARE:g} %"
    )
    return Declared(name, "percent", "difference", "above", 0.0)


def _high(params: EmaParams, looks: AllLooks) -> Of:
    return over_phase(looks, params.settled, params.high_steps)


def _share(params: EmaParams, looks: AllLooks) -> Of:
    return over_phase(looks, params.settled, params.high_steps, share_above)


def _end(params: EmaParams, looks: AllLooks) -> Of:
    return over_phase(looks, params.steps, params.steps, lambda gaps: abs(gaps[-1]))


def _effect(params: EmaParams, results: Results, looks: AllLooks) -> Effect:
    first = params.momenta[0]
    seeds = beyond(results, arm_name(first), _share(params, looks), SHARE)
    return judge(_declared(first), seeds)


def _gap(params: EmaParams, results: Results, looks: AllLooks, momentum: float) -> Effect:
    name = f"test error at the high rate, running averages - precise, {arm_name(momentum)}"
    declared = Declared(name, "points", "difference", "above", MARGIN)
    return judge(declared, beyond(results, arm_name(momentum), _high(params, looks)))


def _others(params: EmaParams, results: Results, looks: AllLooks) -> Iterator[Effect]:
    first = arm_name(params.momenta[0])
    yield _gap(params, results, looks, params.momenta[0])
    end = f"size of the difference at the end, {first}: above {MARGIN:g} point"
    declared = Declared(end, "points", "difference", "below", 0.0)
    yield judge(declared, beyond(results, first, _end(params, looks), MARGIN))
    for momentum in params.momenta[1:]:
        yield _gap(params, results, looks, momentum)
        yield _against_first(params, results, looks, momentum)


def _against_first(params: EmaParams, results: Results, looks: AllLooks, momentum: float) -> Effect:
    first, slower = arm_name(params.momenta[0]), arm_name(momentum)
    name = f"the same difference at the high rate: {slower} - {first}"
    declared = Declared(name, "points", "difference", "above", MARGIN)
    return judge(declared, paired(results, declared, slower, first, _high(params, looks)))


def _tables(params: EmaParams, results: Results, looks: AllLooks) -> tuple[Table, ...]:
    asked = {
        "gap": ("running averages - precise at the high rate, points", _high(params, looks)),
        "share": (
            "checkpoints at the high rate, percent, where precise errs less",
            _share(params, looks),
        ),
        "end": ("size of the difference at the end, points", _end(params, looks)),
    }
    arms = [arm_name(momentum) for momentum in params.momenta]
    return tuple(
        by_seed(name, title, results, {arm: (arm, of) for arm in arms})
        for name, (title, of) in asked.items()
    )


def _figure(params: EmaParams, results: Results, looks: AllLooks) -> Figure:
    arms = [arm_name(momentum) for momentum in params.momenta]
    panels = tuple(_panel(params, arm, _of(arm, results, looks)) for arm in arms)
    return Figure(
        "errors",
        "Test error at every checkpoint",
        "Running averages lag behind the population while the rate is high; those of a momentum "
        "that is large enough catch up when it has fallen.",
        panels,
        columns=len(panels),
    )


def _of(arm: str, results: Results, looks: AllLooks) -> list[Looks]:
    return [looks[run.arm, run.seed] for run in results.of(arm)]


def _panel(params: EmaParams, arm: str, looks: Sequence[Looks]) -> Curves:
    running = over_seeds([one.series(is_running=True) for one in looks], LABELS[0], "none")
    exact = over_seeds([one.series(is_running=False) for one in looks], LABELS[1], "batch")
    return Curves(
        arm,
        "optimizer steps",
        "test error, percent",
        (running, exact),
        guides=(Guide(params.high_steps, "rate falls", "x"),),
        y_range=(0.0, 100.0),
    )


def _caveats(params: EmaParams) -> Iterator[str]:
    yield from CAVEATS
    yield (
        f"Checkpoints count from step {params.settled:,} on: before it, running values of "
        f"{arm_name(params.momenta[0])} still hold some of the 0 and 1 that they start with."
    )
    for momentum in params.momenta:
        left = (1 - momentum) ** params.settled
        if left > 1.01 * OLD_SHARE:
            yield (
                f"With {arm_name(momentum)} that is {percent(left)} at step {params.settled:,} and "
                f"{percent((1 - momentum) ** params.high_steps, 1)} at step {params.high_steps:,}: "
                "its difference is lag and that together."
            )


def _summary(params: EmaParams, results: Results, looks: AllLooks, effect: Effect) -> str:
    arm = arm_name(params.momenta[0])
    told = [
        f"{_mean(of, results.of(arm))} {when}"
        for of, when in (
            (_high(params, looks), "more at the high rate"),
            (_end(params, looks), "of difference at the end"),
        )
    ]
    return f"Running averages gave, on average over seeds, {' and '.join(told)}. {sentence(effect)}"


def _mean(of: Of, runs: Sequence[RunResult]) -> str:
    values = [one.value for one in map(of, runs) if one.value is not None]
    return f"{fmean(values):.2f} points" if values else "an unknown number of points"


EXPERIMENT = Experiment(
    kind="ema_against_precise",
    claim="While the learning rate is high, a network nearly always errs more with its running "
    "averages than with precise statistics of the same weights.",
    source="Wu and Johnson 2021, section 3 and figure 1, https://arxiv.org/abs/2105.07576",
    params=EmaParams,
    declared=_declared(EmaParams().momenta[0]),
    default_seconds=15,
    plan=plan,
    report=report,
)
