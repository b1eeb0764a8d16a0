"""What the experiment on placement concludes: what reaches the next layer, and what it costs."""

from collections.abc import Sequence
from math import isfinite
from statistics import fmean

import torch

from model.lab import factors
from model.lab.arms import POINTS, by_seed, ended_early, in_points, sentence
from model.lab.compare import last, mean_between, paired
from model.lab.pair import proofs
from model.lab.placement import figures
from model.lab.placement.arms import ARMS, Params
from model.lab.placement.closed_form import moments_behind
from model.lab.placement.looks import Look, Looks, Reaching, distance_at, look_at, of_run
from model.lab.report import Cell, Report, Table
from model.lab.results import Results
from model.lab.typical import typical_size
from model.lab.verdict import Declared, Effect, OfSeed, judge

_DISTANCE = "distance of the next layer's input from mean 0 and deviation 1"
START = Declared(
    f"{_DISTANCE}, before the first step: norm before - behind the activation",
    *("", "difference", "above"),
    margin=0.1,
)
END = Declared(
    f"{_DISTANCE}, after training: norm before - behind the activation",
    *("", "difference", "above"),
    margin=0.1,
)
ACCURACY = Declared(
    "test accuracy after training: norm behind - before the activation",
    *("points", "difference", "above"),
    margin=0.5,
)
SPEED = Declared(
    "mean test accuracy over training: norm behind - before the activation",
    *("points", "difference", "above"),
    margin=0.5,
)
SHIFT = Declared(
    "shift of the next layer's input in one step, typical layer and step: norm before / behind",
    *("", "ratio", "above"),
    margin=1.1,
)
NEAR = Declared(
    "0.05 less the distance of the mean behind the activation from its closed form",
    *("", "difference", "above"),
    margin=0.0,
)

DIVERGED_IS = (
    "counted as an accuracy of 0 and the largest shift that was seen; what reached the next layer "
    "after training is that of the network as it was last kept"
)


def report(params: Params, results: Results) -> Report:
    """Compare the two places, seed by seed, beside no norm at all."""
    looks = look_at(results)
    effect = judge(START, paired(results, START, *ARMS[:2], distance_at(looks, "start")))
    after = judge(END, paired(results, END, *ARMS[:2], distance_at(looks, "end")))
    others = (after, *_accuracies(params, results), _shift(params, results), _near(params, looks))
    proven = proofs(results, "before", ("after", "none"))
    return Report(
        effect=effect,
        summary=_summary(params, looks, (effect, *others)),
        tables=(_moments(looks), _accuracy_table(results)),
        figures=figures.figures(params, results, looks),
        caveats=(
            *_caveats(params),
            *_rows(results),
            *ended_early(results, DIVERGED_IS),
            *factors.caveats(proven),
        ),
        factors=proven,
        others=others,
    )


def _accuracies(params: Params, results: Results) -> tuple[Effect, Effect]:
    name = "test_accuracy"
    final = in_points(last(name, 0.0))
    whole = in_points(mean_between(name, 1, params.steps, 0.0))
    pairs = ((ACCURACY, final), (SPEED, whole))
    both = [judge(one, paired(results, one, "after", "before", of)) for one, of in pairs]
    return both[0], both[1]


def _shift(params: Params, results: Results) -> Effect:
    """The layer in the middle of those that others precede, the median over probes."""
    name = f"input_shift.wasserstein.{2 + (params.layers - 1) // 2}"
    return judge(SHIFT, paired(results, SHIFT, "before", "after", typical_size(name)))


def _near(params: Params, looks: Looks) -> Effect:
    """Only where the norm stands directly before the activation its input is near to N(0, 1)."""
    expected, _ = moments_behind(params.activation)
    found = []
    for one in looks:
        if one.arm == "before" and one.step == 0:
            mean = _mean_of(one)
            value = 0.05 - abs(mean - expected) if isfinite(mean) else None
            note = f"mean {mean:.3f}, closed form {expected:.3f}"
            found.append(OfSeed(one.seed, value, note))
    return judge(NEAR, found)


def _mean_of(look: Look) -> float:
    return float(torch.cat([one.mean for one in look.layers]).mean())


def _moments(looks: Looks) -> Table:
    rows = list[tuple[Cell, ...]]()
    for arm in ARMS:
        for seed in sorted({one.seed for one in looks}):
            mine = of_run(looks, arm, seed)
            for look in [*mine[:1], *(mine[-1:] if len(mine) > 1 else [])]:
                rows += [_row(look, layer) for layer in look.layers]
    columns = (
        *("arm", "seed", "step", "layer", "mean, over units", "variance, over units"),
        "distance from mean 0 and deviation 1",
    )
    note = "Of what enters the layer, training mode. The distance is sqrt(mean^2 + (sd - 1)^2)."
    title = "What reaches every layer behind a hidden one"
    return Table("moments", title, columns, tuple(rows), note)


def _row(look: Look, layer: Reaching) -> tuple[Cell, ...]:
    numbers = (layer.mean, layer.variance, layer.distance)
    means = (float(one.mean()) for one in numbers)
    return (look.arm, look.seed, look.step, layer.layer, *means)


def _accuracy_table(results: Results) -> Table:
    of = in_points(last("test_accuracy", 0.0))
    rows = {arm: (arm, of) for arm in ARMS}
    return by_seed("accuracy", "Test accuracy after training, %", results, rows)


def _summary(params: Params, looks: Looks, effects: Sequence[Effect]) -> str:
    effect, after, accuracy, *_ = effects
    mean, variance = moments_behind(params.activation)
    starts = [one for one in looks if one.arm == "before" and one.step == 0]
    if effect.value is None or not starts:
        return "No seed has both places, so that they cannot be compared."
    measured = fmean(_mean_of(one) for one in starts)
    spread = fmean(float(torch.cat([x.variance for x in one.layers]).mean()) for one in starts)
    text = (
        f"With batch norm before the {params.activation}, the next layer gets mean {measured:.3f} "
        f"and variance {spread:.3f} before the first step; of an input from N(0, 1) it would be "
        f"{mean:.3f} and {variance:.3f}."
    )
    return " ".join([text, *(sentence(one) for one in (effect, after, accuracy))])


def _caveats(params: Params) -> tuple[str, ...]:
    return (
        "Behind a norm each unit has mean 0 and variance 1 over the batch, but no normal "
        "distribution: the moments behind the activation are near to those of the closed form, not "
        "equal to them.",
        "With training the gain and bias of a norm move: also where it stands behind the "
        "activation, the next layer's input need not keep mean 0 and variance 1. It may not be "
        "what the network wants.",
        "What the place does to accuracy hangs on the task. It is told for one perceptron at one "
        f"learning rate ({params.rate:g}); a small difference here says little of others.",
    )


def _rows(results: Results) -> tuple[str, ...]:
    """What one held-out row is in an accuracy."""
    runs = [run for arm in ARMS for run in results.of(arm)]
    rows = results.start(runs[0]).checked.rows.test if runs else 0
    if not rows:
        return ()
    return (
        f"Accuracies are of {rows:,} held-out rows, of which one is {POINTS / rows:.2g} points: "
        "seeds may agree to the last digit by chance, and their interval is then narrower than it "
        "should be.",
    )
