"""Does batch norm train as well when the distributions behind it are made to jump?"""

from collections.abc import Iterator
from typing import Any

from model.lab import factors
from model.lab.arms import by_seed, ended_early, in_points, sentence
from model.lab.compare import Of, last, mean_between, paired, steps_to
from model.lab.drift import drift
from model.lab.experiment import Experiment
from model.lab.midway import above_midway
from model.lab.noisy_batch_norm.figures import figures
from model.lab.noisy_batch_norm.plan import ARMS, Arm, NoisyParams, arm_name, plan
from model.lab.noisy_batch_norm.stability import unit_means
from model.lab.pair import proofs
from model.lab.report import Report, Table
from model.lab.results import Results
from model.lab.verdict import Declared, Effect, judge

NO_DIFFERENCE = 1.0  # points of accuracy
TRAINED = 0.9  # training accuracy to which steps are counted
#: Times that the noise must move what batch norm keeps in place, to be a test, and the paper's
#: claim that it then moves more than without any norm.
WANDERS: dict[Arm, float] = {"batch": 2.0, "none": 1.0}

CAVEATS = (
    "The noise is a test of one meaning of internal covariate shift, how the mean and the scale of "
    "a unit's input move from step to step. It is independent of the data and the same in kind at "
    "every step: a shift that training itself causes could hurt in ways that this one does not.",
    "Early training is judged, where the paper's curves are apart. Later the network without norm "
    "catches up where its rate is small, and can pass the noisy one: table `end` has it.",
    "Noise is off where accuracy on test rows is measured; training accuracy is that of the noisy "
    "network itself.",
    "Whether the noisy inputs wander further than those of the network without norm hangs on the "
    "rate: without norm they grow with every large step, with a norm in front of it the noise has "
    "one size. The paper shows three layers of one network.",
)
SMALL = (
    "The paper trains a VGG on CIFAR-10 and finds that the same noise alone prevents training "
    "altogether. In this smaller network that holds at large rates; at small ones it is slower."
)
DIVERGED_IS = "counted as the worst outcome, in drift as far as it was seen to go"


def report(params: NoisyParams, results: Results) -> Report:
    """How the arms compare early in training, and what the noise did to their inputs."""
    effect, *others = (one for lr in params.lr for one in _effects(params, results, lr))
    proven = tuple(_proofs(params, results))
    return Report(
        effect=effect,
        summary=_summary(effect, others),
        tables=tuple(_tables(params, results)),
        figures=tuple(figures(params, results)),
        caveats=(
            *CAVEATS,
            *([SMALL] if params.scale == "default" else []),
            *ended_early(results, DIVERGED_IS),
            *factors.caveats(proven),
        ),
        factors=proven,
        others=tuple(others),
    )


def _effects(params: NoisyParams, results: Results, lr: float) -> Iterator[Effect]:
    yield _compared(results, lr, _declared(params, lr), ("noisy_batch", "none"), _early(params))
    yield _kept(params, results, lr)
    name = f"steps to {100 * TRAINED:g} % training accuracy, lr {lr:g}: noisy_batch / none"
    faster = Declared(name, "", "ratio", "below", 1.0)
    yield _compared(results, lr, faster, ("noisy_batch", "none"), _steps(params))
    name = f"mean test accuracy over all of training, lr {lr:g}: none - noise"
    harm = Declared(name, "points", "difference", "above", NO_DIFFERENCE)
    yield _compared(results, lr, harm, ("none", "noise"), _mean(params, 1, params.num_steps))
    for other, margin in WANDERS.items():
        name = f"drift of the mean of a unit's input, lr {lr:g}: noisy_batch / {other}"
        wanders = Declared(name, "", "ratio", "above", margin)
        yield _compared(results, lr, wanders, ("noisy_batch", other), _drift(params))


def _declared(params: NoisyParams, lr: float) -> Declared:
    first, last = params.early
    name = f"mean test accuracy over steps {first:,} to {last:,}, lr {lr:g}: noisy_batch - none"
    return Declared(name, "points", "difference", "above", NO_DIFFERENCE)


def _midway(params: NoisyParams, lr: float) -> Declared:
    first, last = params.early
    name = (
        f"mean test accuracy over steps {first:,} to {last:,}, lr {lr:g}: noisy_batch - midway "
        "between none and batch"
    )
    return Declared(name, "points", "difference", "above", 0.0)


def _kept(params: NoisyParams, results: Results, lr: float) -> Effect:
    """Whether noise leaves more than half of what batch norm gains."""
    declared = _midway(params, lr)
    arms: tuple[Arm, ...] = ("noisy_batch", "none", "batch")
    noisy, below, above = (arm_name(arm, lr) for arm in arms)
    of = _early(params)
    return judge(declared, above_midway(results, declared, noisy, below, above, of))


def _compared(
    results: Results, lr: float, declared: Declared, arms: tuple[Arm, Arm], of: Of
) -> Effect:
    first, second = (arm_name(arm, lr) for arm in arms)
    return judge(declared, paired(results, declared, first, second, of))


def _mean(params: NoisyParams, first: int, last: int) -> Of:
    return in_points(mean_between("test_accuracy", first, last, worst=0.0))


def _early(params: NoisyParams) -> Of:
    return _mean(params, *params.early)


def _steps(params: NoisyParams) -> Of:
    return steps_to("train_accuracy", TRAINED, params.num_steps)


def _drift(params: NoisyParams) -> Of:
    return drift(unit_means(), params.early[0])


def _proofs(params: NoisyParams, results: Results) -> Iterator[dict[str, Any]]:
    for lr in params.lr:
        others = [arm_name(arm, lr) for arm in ARMS if arm != "none"]
        yield from proofs(results, arm_name("none", lr), others)


def _tables(params: NoisyParams, results: Results) -> Iterator[Table]:
    first, final = params.early
    asked = {
        "early": (
            f"mean test accuracy over steps {first:,} to {final:,}, percent",
            _early(params),
        ),
        "end": (
            "test accuracy at the end, percent",
            in_points(last("test_accuracy", worst=0.0)),
        ),
        "steps": (f"steps to {100 * TRAINED:g} % training accuracy", _steps(params)),
        "drift": (
            "drift of the mean of a unit's input: deviation over time, mean over all units",
            _drift(params),
        ),
    }
    arms = [arm_name(arm, lr) for lr in params.lr for arm in ARMS]
    for name, (title, of) in asked.items():
        yield by_seed(name, title, results, {arm: (arm, of) for arm in arms})


def _summary(effect: Effect, others: list[Effect]) -> str:
    return " ".join(map(sentence, (effect, *others[:1], others[3])))


EXPERIMENT = Experiment(
    kind="noisy_batch_norm",
    claim="Batch norm trains far better than no norm also when noise makes the distributions "
    "behind it jump at every step.",
    source="Santurkar et al. 2018, section 2.1 and figure 2, https://arxiv.org/abs/1805.11604",
    params=NoisyParams,
    declared=_declared(NoisyParams(), NoisyParams().lr[0]),
    default_seconds=85,
    plan=plan,
    report=report,
)
