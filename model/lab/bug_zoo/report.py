"""What the zoo tells of its specimens."""

from collections.abc import Iterator, Sequence
from math import nan
from statistics import fmean
from typing import Any

from model.figures.charts import Bars, BarSeries, Figure, Role
from model.lab.arms import POINTS, ended_early, sentence
from model.lab.bug_zoo import plants
from model.lab.bug_zoo.specimens import (
    IN_EVAL,
    LEAST_ROWS,
    NONE,
    Planted,
    Specimen,
    Twin,
    accuracies,
    examined,
    reasons,
    twin,
)
from model.lab.report import Report, Table
from model.lab.results import Results
from model.lab.verdict import Declared, Effect, OfSeed, judge

DECLARED = Declared(
    "accuracy in eval mode, after the remedy less before it, mean of the faults",
    "points",
    "difference",
    "above",
    margin=5.0,
)
LOST = Declared(
    "accuracy by batch statistics less eval mode's, mean of the faults",
    "points",
    "difference",
    "above",
    margin=5.0,
)
DIVERGED_IS = "looked at as it was last kept"
CAVEATS = (
    "Faults are planted on a copy of the trained network, by what any loop in plain PyTorch would "
    "do: this service takes a batch that is not finite back out of the statistics, loads strictly, "
    "refuses a tail batch of one row where a layer would have one value, and predicts in eval "
    "mode alone. The run that lags is an ordinary run.",
    "How much a fault costs hangs on the data: with inputs of mean 0 and deviation 1 the first "
    "statistics are nearly right, and a lag costs nothing.",
)


def report(params: Any, results: Results) -> Report:
    """Plant, score, diagnose and mend every fault in every seed."""
    specimens = tuple(_specimens(results))
    effect = judge(DECLARED, _gains(specimens, "in_eval", "after"))
    lost = judge(LOST, _gains(specimens, "in_eval", "by_batch"))
    return Report(
        effect=effect,
        summary=_summary(specimens, effect, lost),
        tables=(_table(specimens), *_by_seed(specimens)),
        figures=_figures(specimens),
        caveats=(*ended_early(results, DIVERGED_IS), *CAVEATS, *_few_rows(results)),
        others=(lost,),
    )


def _few_rows(results: Results) -> tuple[str, ...]:
    sound = results.of("sound")
    if not sound or len(results.start(sound[0]).arrays.test) >= LEAST_ROWS:
        return ()
    return (f"There are fewer than {LEAST_ROWS} test rows: accuracies are of the training rows.",)


def _specimens(results: Results) -> Iterator[Specimen]:
    for run in results.of("sound"):
        sound = twin(results, run)
        if sound is not None and sound.held_out.classes is not None:
            yield from _of_sound(sound, results)
    for lagging in results.of("lagging"):
        found = twin(results, lagging)
        if found is not None and found.held_out.classes is not None:
            network, known = found.loaded.network, found.loaded.about.evidence()
            yield examined(found, Planted("momentum .001, unscaled rows", network, known))
    for run in results.of("not lagging"):
        found = twin(results, run)
        if found is not None and found.held_out.classes is not None:
            yield _sound(found, "sound twin of the one that lags")


def _of_sound(sound: Twin, results: Results) -> Iterator[Specimen]:
    yield _sound(sound, "sound twin")
    for plant in (plants.nan_batch, plants.missing_buffers, plants.double_update):
        results.moved()
        yield examined(sound, plant(sound))
    averaged = plants.averaged_weights(sound, results)
    if averaged is not None:
        yield examined(sound, averaged)
    results.moved()
    yield examined(sound, plants.frozen_weights(sound))
    tail = plants.tail_of_one(sound, results)
    if tail is not None:
        yield tail
    yield plants.batch_statistics_at_prediction(sound)


def _sound(found: Twin, name: str) -> Specimen:
    network = found.loaded.network
    by_batch, in_eval = accuracies(network, found)
    told = reasons(network, found.loaded.about.evidence())
    return Specimen(name, found.seed, by_batch, in_eval, told, NONE, in_eval)


def _gains(specimens: Sequence[Specimen], before: str, after: str) -> list[OfSeed]:
    """Of each seed, the mean gain over its faults, in points.

    A seed that lacks a fault of another one has no number: its mean would be over others.
    """
    seeds = sorted({one.seed for one in specimens})
    names = _names([fault for seed in seeds for fault in _faults(specimens, seed)])
    return [_gains_of(seed, names, _faults(specimens, seed), before, after) for seed in seeds]


def _gains_of(
    seed: int, names: Sequence[str], faults: Sequence[Specimen], before: str, after: str
) -> OfSeed:
    missing = [name for name in names if name not in _names(faults)]
    if missing or not faults:
        return OfSeed(seed, None, f"without {', '.join(missing) or 'any fault'}")
    return OfSeed(seed, POINTS * fmean(_gain(one, before, after) for one in faults))


def _faults(specimens: Sequence[Specimen], seed: int) -> list[Specimen]:
    """What has an accuracy in every state and an eval mode that is wrong.

    Sound twins are no faults, and predicting by batch statistics is one of eval mode left out.
    """
    return [
        one
        for one in specimens
        if one.seed == seed
        and one.remedy not in (NONE, IN_EVAL)
        and None not in (one.by_batch, one.in_eval, one.after)
    ]


def _gain(one: Specimen, before: str, after: str) -> float:
    difference: float = getattr(one, after) - getattr(one, before)
    return difference


def _names(specimens: Sequence[Specimen]) -> list[str]:
    return list(dict.fromkeys(one.name for one in specimens))


def _mean(specimens: Sequence[Specimen], name: str, of: str) -> float | None:
    values = [getattr(one, of) for one in specimens if one.name == name]
    known = [value for value in values if value is not None]
    return POINTS * fmean(known) if known else None


def _table(specimens: Sequence[Specimen]) -> Table:
    rows, notes = [], dict[str, None]()
    for name in _names(specimens):
        mine = [one for one in specimens if one.name == name]
        found = dict.fromkeys(reason for one in mine for reason in one.found)
        means = (_mean(specimens, name, of) for of in ("by_batch", "in_eval", "after"))
        rows.append((name, *means, ", ".join(found) or "nothing", mine[0].remedy))
        notes |= {f"{name}: {one.note}": None for one in mine if one.note}
    columns = ("specimen", "by batch, %", "as it answers, %", "after, %", "found", "remedy")
    title = "Accuracy on held-out rows, mean over seeds, and what the diagnosis says"
    return Table("specimens", title, columns, tuple(rows), "; ".join(notes))


def _by_seed(specimens: Sequence[Specimen]) -> tuple[Table, ...]:
    rows = tuple(
        (one.name, one.seed, *_percent(one), ", ".join(one.found) or "nothing")
        for one in sorted(specimens, key=lambda one: (one.name, one.seed))
    )
    columns = ("specimen", "seed", "by batch, %", "as it answers, %", "after, %", "found")
    return (Table("by-seed", "Every specimen of every seed", columns, rows),) if rows else ()


def _percent(one: Specimen) -> tuple[float | None, ...]:
    shares = (one.by_batch, one.in_eval, one.after)
    return tuple(None if share is None else POINTS * share for share in shares)


def _figures(specimens: Sequence[Specimen]) -> tuple[Figure, ...]:
    names = [name for name in _names(specimens) if _mean(specimens, name, "by_batch") is not None]
    if not names:
        return ()
    panel = Bars(
        "Accuracy on held-out rows",
        "percent",
        tuple(names),
        (
            _bars(specimens, names, "by batch statistics", "by_batch", "other"),
            _bars(specimens, names, "as it answers", "in_eval", "none"),
            _bars(specimens, names, "after the remedy", "after", "batch"),
        ),
    )
    evidence = "The same weights: what wrong statistics lose, and what the remedy brings back."
    return (Figure("zoo", "The zoo's specimens", evidence, (panel,)),)


def _bars(
    specimens: Sequence[Specimen], names: Sequence[str], label: str, of: str, role: Role
) -> BarSeries:
    means = (_mean(specimens, name, of) for name in names)
    return BarSeries(
        label,
        tuple(nan if mean is None else mean for mean in means),
        role,
        seeds=tuple(_seeds(specimens, name, of) for name in names),
    )


def _seeds(specimens: Sequence[Specimen], name: str, of: str) -> tuple[float, ...]:
    values = (getattr(one, of) for one in specimens if one.name == name)
    return tuple(POINTS * value for value in values if value is not None)


def _summary(specimens: Sequence[Specimen], effect: Effect, lost: Effect) -> str:
    faults = [one for one in specimens if one.remedy not in (NONE, IN_EVAL)]
    named = sum(bool(one.found) for one in faults)
    sound = [one for one in specimens if one.remedy == NONE]
    quiet = sum(not one.found for one in sound)
    return (
        f"{sentence(lost)} {sentence(effect)} The diagnosis named {named} of {len(faults)} "
        f"planted faults, and found nothing in {quiet} of {len(sound)} sound twins."
    )
