"""Do gain and bias give back what normalizing takes away from a network?"""

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from model.lab import factors
from model.lab.affine.figures import figures
from model.lab.affine.identity import Identity, identity_of
from model.lab.affine.plan import ARMS, AffineParams, Arm, Cell, cells, plan
from model.lab.affine.scores import TrainingRows
from model.lab.arms import POINTS, by_seed, ended_early, in_points, sentence
from model.lab.compare import Of, paired
from model.lab.experiment import Experiment
from model.lab.midway import above_midway
from model.lab.pair import proofs
from model.lab.report import Report, Table
from model.lab.results import Results
from model.lab.verdict import Declared, Effect, judge

NO_DIFFERENCE = 1.0  # points of training accuracy
CAVEATS = (
    "What a network ends with is what it can express and what gradient descent finds of that in "
    "the steps it was given: the curves show whether more steps would have changed anything.",
    "Where power is lost was chosen with reason. In front of an activation and without a bias, "
    "every unit bends at the mean of its rows, and one hidden layer of such units can only tell "
    "directions from the middle of the rows apart. Behind an activation nothing can be lost, as "
    "the next linear layer has a gain and a bias of its own. How far depth makes up for it is what "
    "the deeper networks show; on rows that a network fits with ease there is nothing to see.",
    "That gain and bias can make batch norm the identity holds for the rows that its statistics "
    "come from. In training these are those of each mini-batch, so that a network in training is "
    "never quite the one without norm.",
)
DIVERGED_IS = "counted as an accuracy of 0, and as no loss"


def report(params: AffineParams, results: Results) -> Report:
    """How well each network fits its rows, and whether a batch norm can be the identity."""
    first, *more = cells(params)
    rows = TrainingRows(results)
    accuracy = in_points(rows.of("accuracy", worst=0.0))
    effect = _gained(results, first, accuracy)
    found = _identities(results, first)
    proven = tuple(_proofs(params, results))
    return Report(
        effect=effect,
        summary=" ".join(_summary(effect, found)),
        tables=tuple(_tables(params, results, rows, found)),
        figures=tuple(figures(params, results, accuracy)),
        caveats=(*CAVEATS, *ended_early(results, DIVERGED_IS), *factors.caveats(proven)),
        factors=proven,
        others=(
            _given_back(results, first, accuracy),
            *(_gained(results, cell, accuracy) for cell in more),
        ),
    )


def _declared(cell: Cell) -> Declared:
    name = f"training accuracy at the end, {cell.name}: with gain and bias - without"
    return Declared(name, "points", "difference", "above", NO_DIFFERENCE)


def _gained(results: Results, cell: Cell, of: Of) -> Effect:
    declared = _declared(cell)
    return judge(declared, paired(results, declared, cell.arm("affine"), cell.arm("plain"), of))


def _given_back(results: Results, cell: Cell, of: Of) -> Effect:
    """Whether gain and bias give back more than half of what the network without norm is ahead."""
    name = (
        f"training accuracy at the end, {cell.name}: with gain and bias - midway between no norm "
        "and batch norm without them"
    )
    declared = Declared(name, "points", "difference", "above", 0.0)
    arm, below, above = cell.arm("affine"), cell.arm("plain"), cell.arm("none")
    return judge(declared, above_midway(results, declared, arm, below, above, of))


def _identities(results: Results, cell: Cell) -> list[Identity]:
    runs = [run for run in results.of(cell.arm("none")) if not run.has_diverged]
    found = (identity_of(results, run, cell.placement) for run in runs)
    return [one for one in found if one is not None]


def _proofs(params: AffineParams, results: Results) -> Iterator[dict[str, Any]]:
    for cell in cells(params):
        others: tuple[Arm, ...] = ("none", "plain")
        yield from proofs(results, cell.arm("affine"), [cell.arm(arm) for arm in others])


def _tables(
    params: AffineParams, results: Results, rows: TrainingRows, found: list[Identity]
) -> Iterator[Table]:
    asked = {
        "accuracy": ("training accuracy at the end, percent", in_points(rows.of("accuracy", 0.0))),
        "loss": ("training loss at the end, per row", rows.of("loss", None)),
    }
    arms = dict.fromkeys(cell.arm(arm) for cell in cells(params) for arm in ARMS)
    for name, (title, of) in asked.items():
        yield by_seed(name, title, results, {arm: (arm, of) for arm in arms})
    yield _identity_table(cells(params)[0], found)


def _identity_table(cell: Cell, found: list[Identity]) -> Table:
    columns = (
        "seed",
        "same rows",
        "test rows, running statistics",
        "a mini-batch, its own statistics",
        "without gain and bias",
        "accuracy, percent",
        "accuracy without gain and bias, percent",
    )
    rows = tuple(
        (
            one.seed,
            one.same_rows,
            one.held_out,
            one.mini_batch,
            one.without,
            POINTS * one.accuracy,
            POINTS * one.accuracy_without,
        )
        for one in found
    )
    title = f"batch norms put into finished networks without norm, {cell.name}"
    note = (
        "weight = sqrt(var + eps) and bias = mean over training rows, in float64. Differences are "
        "the largest of any logit over the largest logit."
    )
    return Table("identity", title, columns, rows, note)


def _summary(effect: Effect, found: list[Identity]) -> Iterator[str]:
    yield sentence(effect)
    if not found:
        return
    largest = max(one.same_rows for one in found)
    yield (
        "Put into the finished networks without norm, with the gain and the bias that undo them, "
        f"batch norms change the logits by a share of {largest:.1e} at most."
    )
    before = POINTS * fmean(one.accuracy for one in found)
    after = POINTS * fmean(one.accuracy_without for one in found)
    told = f"from {before:.3g} to {after:.3g} %"
    yield f"Without gain and bias they take the training accuracy {told}."


EXPERIMENT = Experiment(
    kind="affine",
    claim="Gain and bias give batch norm back the expressive power that normalizing takes away.",
    source="Ioffe and Szegedy 2015, section 3, https://arxiv.org/abs/1502.03167",
    params=AffineParams,
    declared=_declared(cells(AffineParams())[0]),
    default_seconds=40,
    plan=plan,
    report=report,
)
