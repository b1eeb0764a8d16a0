"""What the makemore experiment concludes: what a start costs, with and without batch norm."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, log10
from statistics import fmean

from model.lab import factors
from model.lab.arms import POINTS, by_seed, ended_early, sentence
from model.lab.compare import Of, Outcome, compared, paired
from model.lab.first_features import hardly_vary
from model.lab.makemore import figures
from model.lab.makemore.arms import (
    BATCH,
    FAN_IN,
    KAIMING,
    NAIVE,
    NORMS,
    OUTPUT,
    STARTS,
    Params,
    deep_arm,
)
from model.lab.makemore.calibration import Calibrated, calibrations
from model.lab.makemore.depth import (
    LIMIT,
    What,
    deviations,
    log_ratio,
    seeds_of,
    size_of_log_ratio,
    worst,
)
from model.lab.makemore.starts import StartOf, Starts, look_at
from model.lab.pair import proofs
from model.lab.post_norm import MOMENTUM
from model.lab.report import Cell, Report, Table
from model.lab.results import Results, RunResult
from model.lab.single import beyond
from model.lab.verdict import Declared, Effect, judge
from model.norms.lag import share_left

Losses = Mapping[tuple[str, int], Sequence[Calibrated]]  # of each arm and seed

DEPTH = Declared(
    "largest |ln(sd of last / first tanh layer)| of all gains, before the first step: none - batch",
    *("", "difference", "above"),
    margin=LIMIT,
)
GRADIENTS = Declared(
    "the same of the gradients by these layers' outputs: none - batch",
    *("", "difference", "above"),
    margin=LIMIT,
)
SATURATED = Declared(
    f"saturated values before the first step: {NAIVE} - {BATCH}",
    *("points", "difference", "above"),
    margin=10.0,
)
FIRST_LOSS = Declared(
    f"loss before the first step: {NAIVE} - {OUTPUT}", "", "difference", "above", 0.5
)
LAST_LOSS = Declared(
    f"held-out loss after training, statistics recomputed: {KAIMING} - {BATCH}",
    *("", "difference", "above"),
    margin=0.02,
)
LAG = Declared(
    "held-out loss after training: by running statistics - by those of training rows",
    *("", "difference", "above"),
    margin=0.01,
)

DIVERGED_IS = (
    "counted after training as the largest loss that was seen; running statistics are told as they "
    "were last kept"
)


def report(params: Params, results: Results) -> Report:
    """Judge the deep network first, then the five starts and the running statistics."""
    starts, losses = look_at(results), _losses(results)
    effect = _spread(params, results, DEPTH, "outputs")
    others = (
        _spread(params, results, GRADIENTS, "gradients"),
        *_bounds(params, results),
        judge(SATURATED, paired(results, SATURATED, NAIVE, BATCH, _of(starts, _saturated))),
        judge(FIRST_LOSS, paired(results, FIRST_LOSS, NAIVE, OUTPUT, _of(starts, _first_loss))),
        judge(LAST_LOSS, paired(results, LAST_LOSS, KAIMING, BATCH, _last_loss(losses))),
        judge(LAG, beyond(results, BATCH, _lag(losses))),
    )
    proven = _proofs(params, results)
    return Report(
        effect=effect,
        summary=_summary(starts, effect, others),
        tables=(_starts(starts), _depth(params, results), _loss_table(results, losses)),
        figures=figures.figures(params, results, starts, losses),
        caveats=(
            *_caveats(params),
            *_blank(params, results),
            *ended_early(results, DIVERGED_IS),
            *factors.caveats(proven),
        ),
        factors=proven,
        others=others,
    )


def _losses(results: Results) -> Losses:
    runs = (run for arm in STARTS for run in results.of(arm))
    return {(run.arm, run.seed): calibrations(results, run) for run in runs}


def _spread(params: Params, results: Results, declared: Declared, what: What) -> Effect:
    found = []
    for seed in seeds_of(results):
        none, batch = (worst(params, results, norm, what, seed) for norm in NORMS)
        found.append(compared(declared, seed, none, batch))
    return judge(declared, found)


def _bounds(params: Params, results: Results) -> tuple[Effect, ...]:
    """With norm every gain is within .8 and 1.25, and without the outermost ones are beyond."""
    outermost = dict.fromkeys((params.gains[0], params.gains[-1]))
    within = tuple(_within(results, gain) for gain in params.gains)
    return (*within, *(_beyond(results, gain) for gain in outermost))


def _within(results: Results, gain: float) -> Effect:
    arm = deep_arm("batch", gain)
    name = f"ln 1.25 less |ln(sd of last / first tanh layer)|, {arm}"
    declared = Declared(name, "", "difference", "above", 0.0)

    def room(run: RunResult) -> Outcome:
        size = size_of_log_ratio("outputs")(run)
        if size.value is None:
            return size
        return Outcome(LIMIT - size.value, size.note, "at most" if size.bound else "")

    return judge(declared, beyond(results, arm, room))


def _beyond(results: Results, gain: float) -> Effect:
    arm = deep_arm("none", gain)
    name = f"|ln(sd of last / first tanh layer)| beyond ln 1.25, {arm}"
    declared = Declared(name, "", "difference", "above", 0.0)
    return judge(declared, beyond(results, arm, size_of_log_ratio("outputs"), LIMIT))


def _of(starts: Starts, number: Callable[[StartOf], float]) -> Of:
    known = {(one.arm, one.seed): one for one in starts}

    def of(run: RunResult) -> Outcome:
        one = known.get((run.arm, run.seed))
        value = float("nan") if one is None else number(one)
        return Outcome(value) if isfinite(value) else Outcome(None, f"{run.arm} cannot be seen")

    return of


def _saturated(one: StartOf) -> float:
    return POINTS * one.saturated


def _first_loss(one: StartOf) -> float:
    return one.loss


def _last_loss(losses: Losses) -> Of:
    """A run that diverged, or whose loss is not finite, stands for the largest loss of all."""
    finite = [one.recomputed for found in losses.values() for one in found]
    highest = max((value for value in finite if isfinite(value)), default=0.0)

    def of(run: RunResult) -> Outcome:
        found = losses.get((run.arm, run.seed), ())
        if not found:
            return Outcome(None, f"{run.arm} has no checkpoint")
        if run.has_diverged or not isfinite(found[-1].recomputed):
            return Outcome(highest, f"{run.arm} diverged at step {run.step:,}", "at least", True)
        return Outcome(found[-1].recomputed)

    return of


def _lag(losses: Losses) -> Of:
    def of(run: RunResult) -> Outcome:
        found = losses.get((run.arm, run.seed), ())
        apart = found[-1].running - found[-1].recomputed if found else float("nan")
        if not isfinite(apart):
            return Outcome(None, f"{run.arm} has no finite loss")
        note = f"{run.arm} diverged at step {run.step:,}: as it was last kept"
        return Outcome(apart, note if run.has_diverged else "")

    return of


def _starts(starts: Starts) -> Table:
    rows = tuple(
        (
            *(one.arm, one.seed, one.loss, one.chance, one.lowest, one.highest, one.sd),
            *(POINTS * one.saturated, one.white, one.white_everywhere, one.slope),
        )
        for one in starts
    )
    columns = (
        *("start", "seed", "loss", "log(classes)", "lowest input of the tanh", "highest", "sd"),
        *("saturated values, %", "all-white columns of 32 rows", "of all rows looked at"),
        "mean of 1 - tanh^2",
    )
    note = (
        "In training mode, over mini-batches of fixed rows. Published, of names.txt: loss 27.88, "
        "then 3.3; saturated 61 %, 61 %, 1.0 %, 8.1 % and .5 %; no all-white column; mean of "
        "1 - tanh^2 .154, .154, .605, .454 and .605."
    )
    title = "Five starts of one hidden layer, before the first step"
    return Table("starts", title, columns, rows, note)


def _depth(params: Params, results: Results) -> Table:
    rows = list[tuple[Cell, ...]]()
    for gain in params.gains:
        for norm in NORMS:
            rows += [_deep(run, norm, gain) for run in results.of(deep_arm(norm, gain))]
    columns = (
        *("gain", "norm", "seed", "sd of first tanh layer", "of last", "last / first"),
        *("gradient sd of first", "of last", "last / first "),
        "log10 of update to data after training, median layer",
    )
    note = "Before the first step, on its mini-batch. An update of a thousandth is -3."
    title = "Activations and their gradients through the deep network"
    return Table("depth", title, columns, tuple(rows), note)


def _deep(run: RunResult, norm: str, gain: float) -> tuple[Cell, ...]:
    numbers = list[Cell]()
    for what in ("outputs", "gradients"):
        found = deviations(run, what) or [float("nan")]
        ratio = found[-1] / found[0] if log_ratio(run, what) is not None else None
        numbers += [found[0], found[-1], ratio]
    return (gain, norm, run.seed, *numbers, _last_update(run))


def _last_update(run: RunResult) -> float | None:
    names = [name for name in run.series if name.startswith("gradients.update_to_data.")]
    found = (run.last(name) for name in names)
    last = sorted(value for value in found if value is not None and isfinite(value))
    value = last[len(last) // 2] if last else 0.0
    return log10(value) if value > 0 else None


def _loss_table(results: Results, losses: Losses) -> Table:
    of = _last_loss(losses)
    rows = {arm: (arm, of) for arm in STARTS}
    title = "Held-out loss after training, statistics of training rows"
    note = (
        "Published, of names.txt after 200,000 steps: 2.168, 2.13, 2.103, 2.107 and 2.105, so that "
        "there the norm lowers the loss of a careful start by nothing."
    )
    return by_seed("losses", title, results, rows, note)


def _proofs(params: Params, results: Results) -> tuple[dict[str, object], ...]:
    shallow = proofs(results, OUTPUT, (BATCH,))
    deep = (
        proof
        for gain in params.gains
        for proof in proofs(results, deep_arm("none", gain), (deep_arm("batch", gain),))
    )
    return (*shallow, *deep)


def _blank(params: Params, results: Results) -> tuple[str, ...]:
    if params.symbols is not None or not results.of(NAIVE):
        return ()
    return hardly_vary(results, results.of(NAIVE)[0], params.fan_in or FAN_IN)


def _summary(starts: Starts, effect: Effect, others: Sequence[Effect]) -> str:
    told = []
    for arm in (NAIVE, OUTPUT, KAIMING, BATCH):
        mine = [one for one in starts if one.arm == arm]
        if mine:
            share = POINTS * fmean(one.saturated for one in mine)
            told.append(f"{fmean(one.loss for one in mine):.3g} and {share:.2g} % ({arm})")
    first = f"Loss and saturated values before the first step: {'; '.join(told)}." if told else ""
    judged = [effect, *(one for one in others if one.declared in (LAST_LOSS, LAG))]
    return " ".join([*([first] if first else []), *map(sentence, judged)])


def _caveats(params: Params) -> tuple[str, ...]:
    left = 100 * share_left(MOMENTUM, params.all_steps)
    told = [
        "The standard deviation of a tanh layer says little where it saturates: from a large gain "
        "every layer is near 1, first and last alike. What goes wrong there shows in the "
        "gradients.",
        "With batch norm in front of every tanh its input does not hang on the gain at all. That "
        "gain still divides the gradient of the weights, and so their relative updates.",
        f"The running statistics move by {MOMENTUM:g} a step: after {params.all_steps:,} steps "
        f"{left:.3g} % of them are still the first 0 and 1. The notebook takes 200,000.",
        "The notebook multiplies the first bias by .01 where here it is 0, and puts a norm behind "
        "the deep network's output layer, with a gain of .1; here the weights of that layer are "
        "a tenth and no norm follows. A bias in front of the norm is kept; it does nothing.",
    ]
    if params.symbols is None:
        told.append(
            "On features instead of a word list the numbers are not those of the notebook: fewer "
            "classes, inputs that hang together, and no embedding that learns."
        )
    else:
        told.append(
            "The notebook holds out whole words. Here rows are held out, so that other rows of the "
            "same word train: held-out losses are a little lower."
        )
    return tuple(told)
