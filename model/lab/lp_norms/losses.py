"""How far the norms get and how fast: numbers of runs, effects and tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from model.figures.text import percent
from model.lab.arms import by_seed
from model.lab.compare import Of, last, paired
from model.lab.lp_norms.arms import INPUT_LAYER, LP, NORMS, Params, Setting, norm_of
from model.lab.rank_levels import rank_levels
from model.lab.report import Cell, Table
from model.lab.results import Results, RunResult
from model.lab.santurkar import LINEAR_RATE
from model.lab.typical import known, typical_size
from model.lab.verdict import Declared, Effect, judge

MARGIN = 1.05  # of ratios of losses
MARGIN_SHIFT = 1.25
MOST_LEVELS = 5
SHARES = (0.5, 0.1, 0.01)  # of the first loss: levels where the targets are classes


def declared_against_batch(setting: Setting, norm: str = "l1") -> Declared:
    """Whether an l_p norm trains further than batch norm."""
    name = f"last training loss of the {setting.title}: {norm} / batch"
    return Declared(name, "", "ratio", "below", MARGIN)


PRIMARY = declared_against_batch(Setting("deep_linear", LINEAR_RATE))


def primary(params: Params, results: Results) -> Effect:
    """l_1 against batch norm in the first setting."""
    setting = params.settings[0]
    declared = declared_against_batch(setting)
    return _judged(results, setting, declared, ("l1", "batch"), loss_of(results, setting))


def others(params: Params, results: Results) -> tuple[Effect, ...]:
    """l_1 against batch norm elsewhere, and each l_p norm against none: loss and shift."""
    found: list[Effect] = []
    for place, setting in enumerate(params.settings):
        of = loss_of(results, setting)
        if place:
            declared = declared_against_batch(setting)
            found.append(_judged(results, setting, declared, ("l1", "batch"), of))
        for norm in LP:
            name = f"last training loss of the {setting.title}: {norm} / none"
            declared = Declared(name, "", "ratio", "below", MARGIN)
            found.append(_judged(results, setting, declared, (norm, "none"), of))
        found += [_shift(results, setting, norm) for norm in LP]
    return tuple(found)


def loss_of(results: Results, setting: Setting) -> Of:
    """The last training loss; a run that diverged stands for the largest that any had."""
    runs = [run for norm in NORMS for run in results.of(setting.arm(norm))]
    return last("train_loss", max(_finite(runs), default=0.0), "at least")


def tables(params: Params, results: Results) -> tuple[Table, ...]:
    """Last losses, and steps to every level that some arm reached."""
    found = []
    for setting in params.settings:
        rows = {norm: (setting.arm(norm), loss_of(results, setting)) for norm in NORMS}
        note = "Half the sum of squares divided by the rows." if is_sum(setting) else ""
        title = f"Last training loss: {setting.title}"
        found.append(by_seed(f"loss-{setting.slug}", title, results, rows, note))
        if any(results.of(setting.arm(norm)) for norm in NORMS):
            found.append(_steps(setting, results))
    return tuple(found)


def is_sum(setting: Setting) -> bool:
    """Whether its loss is a sum over rows, and its levels those of maps of low rank."""
    return setting.network == "deep_linear"


@dataclass(frozen=True)
class Ranks:
    """The losses of the best maps of every rank, for a loss that is a sum over rows."""

    rows: int
    levels: tuple[float, ...]  # half the sum of squares, by rank from 0


def ranks_of(setting: Setting, results: Results) -> Ranks | None:
    """Those of the rows that a setting trains on; None where its loss is no sum of squares."""
    if not is_sum(setting):
        return None
    train = results.start(_any_run(setting, results)).arrays.train
    return Ranks(len(train), rank_levels(train.inputs, train.targets))


def _levels(setting: Setting, results: Results) -> dict[str, float]:
    """The levels to reach, in words, as the training loss of a row; the highest first."""
    ranks = ranks_of(setting, results)
    if ranks is not None:
        named = {f"best map of rank {rank}": level for rank, level in enumerate(ranks.levels)}
        return {name: level / ranks.rows for name, level in named.items()}
    losses = known(_any_run(setting, results), "train_loss")
    first = next((loss for loss in losses if isfinite(loss)), 1.0)
    return {f"{percent(share)} of the first loss without norm": share * first for share in SHARES}


def _finite(runs: Sequence[RunResult]) -> list[float]:
    return [value for run in runs for value in known(run, "train_loss") if isfinite(value)]


def _any_run(setting: Setting, results: Results) -> RunResult:
    return next(run for norm in NORMS for run in results.of(setting.arm(norm)))


def _steps(setting: Setting, results: Results) -> Table:
    runs = [run for norm in NORMS for run in results.of(setting.arm(norm))]
    least = min(_finite(runs), default=0.0)
    levels = _levels(setting, results)
    reached = {name: level for name, level in levels.items() if level >= least > 0}
    shown = dict(list(reached.items())[-MOST_LEVELS:])
    rows: list[tuple[Cell, ...]] = [
        (norm_of(run), run.seed, *(_first_below(run, level) for level in shown.values()))
        for run in runs
    ]
    columns = ("norm", "seed", *(f"{name}: {level:.4g}" for name, level in shown.items()))
    title = f"Steps to a training loss: {setting.title}"
    note = "Empty: not reached within the budget. Levels that no arm reached are left out."
    return Table(f"steps-{setting.slug}", title, columns, tuple(rows), note)


def _first_below(run: RunResult, level: float) -> int | None:
    found = run.series.get("train_loss")
    pairs: Sequence[tuple[int, float]] = (
        () if found is None else tuple(zip(found.steps, found.values, strict=True))
    )
    return next((step for step, value in pairs if value <= level), None)


def _shift(results: Results, setting: Setting, norm: str) -> Effect:
    layer = INPUT_LAYER[setting.network]
    name = f"median shift of the input of layer {layer} of the {setting.title}: {norm} / none"
    declared = Declared(name, "", "ratio", "above", MARGIN_SHIFT)
    of = typical_size(f"input_shift.wasserstein.{layer}")
    return _judged(results, setting, declared, (norm, "none"), of)


def _judged(
    results: Results, setting: Setting, declared: Declared, norms: tuple[str, str], of: Of
) -> Effect:
    first, second = map(setting.arm, norms)
    return judge(declared, paired(results, declared, first, second, of))
