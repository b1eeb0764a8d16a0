"""What one trained network answers on clean and on corrupted rows, by mixtures of statistics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, inf, isfinite
from statistics import fmean

import torch
from torch import Tensor

from model.checkpoint import Loaded
from model.lab.arms import POINTS
from model.lab.compare import Of, Outcome
from model.lab.errors import held_out
from model.lab.results import Results, RunResult, Start
from model.lab.test_time_adaptation.chunked import adapted_logits
from model.lab.test_time_adaptation.corruptions import SEVERITIES, Corruption, Shifts
from model.lab.test_time_adaptation.plan import AdaptationParams
from model.measures.confidence import brier_score, expected_calibration_error
from model.training.arrays import Part
from model.training.evaluate import are_correct
from model.training.randomness import stream

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 512)  # n: rows of a chunk
WEIGHTS = (0.0, 1.0, 4.0, 16.0, 64.0, 256.0, inf)  # N: rows that the source counts as
MIXED = tuple(weight for weight in WEIGHTS if 0 < weight < inf)
FEW = 8  # rows, at which a mixture is claimed to be best
SKEWED = 32  # rows of a chunk of one class
MOST_ROWS = 2_000  # test rows that are looked at
ALWAYS: Corruption = "contrast"  # what the map is about where rows cannot have what was asked for
LEAST_SCORED = 1_500  # answers of a cell; of fewer rows, each is in several chunks

Map = dict[tuple[int, float], float]  # accuracy in percent by n and N


@dataclass(frozen=True)
class Scores:
    """Of one way of answering the rows."""

    accuracy: float  # percent
    ece: float
    brier: float


@dataclass(frozen=True)
class OfShift:
    """One corruption at one severity: the source's statistics, and those of all target rows."""

    source: Scores
    target: Scores
    few: Mapping[float, float]  # accuracy with chunks of 8 rows, by N

    @property
    def gain(self) -> float:
        """Points of accuracy that the statistics of all target rows bring."""
        return self.target.accuracy - self.source.accuracy


@dataclass(frozen=True)
class Looks:
    """Of one run."""

    corruption: Corruption  # of the map
    clean: Map
    shifted: Map
    shifts: Mapping[tuple[Corruption, int], OfShift]
    mixed_classes: float  # accuracy with N = 0 in chunks of 32 rows in random company
    one_class: float  # the same in chunks sorted by class

    def mean(self, of_shift: str, name: str, corruption: Corruption | None = None) -> float:
        """A score averaged over severities, and over corruptions where none is named.

        Args:
            of_shift: source or target.
            name: a field of `Scores`.
        """
        found = [one for (kind, _), one in self.shifts.items() if corruption in (None, kind)]
        return fmean(getattr(getattr(one, of_shift), name) for one in found)

    def few(self, weight: float) -> float:
        """Accuracy with chunks of 8 rows, averaged over all shifts."""
        return fmean(one.few[weight] for one in self.shifts.values())


AllLooks = dict[int, Looks]  # by seed


def look(params: AdaptationParams, results: Results) -> AllLooks:
    """Every run that counts and did not diverge, as it was last saved."""
    found = {}
    for run in results.runs:
        loaded = results.trained(run) if run.counts and not run.has_diverged else None
        if loaded is not None:
            found[run.seed] = _looks(params, results, results.start(run), loaded)
    return found


def of_looks(found: AllLooks, number: Callable[[Looks], float]) -> Of:
    """A number of every run; a network that diverged has nothing to adapt.

    Nor is there a number of logits that are not finite, as of a network that nearly diverged.
    """

    def of(run: RunResult) -> Outcome:
        if run.has_diverged:
            return Outcome(None, f"diverged at step {run.step:,}")
        looks = found.get(run.seed)
        if looks is None:
            return Outcome(None, "no checkpoint")
        value = number(looks)
        return Outcome(value) if isfinite(value) else Outcome(None, "logits are not finite")

    return of


def sizes_for(rows: int) -> list[int]:
    """The n that so many rows have chunks of: the largest is at most all of them."""
    most = min(rows, SIZES[-1])
    return [*(size for size in SIZES if size < most), most]


def _looks(params: AdaptationParams, results: Results, start: Start, loaded: Loaded) -> Looks:
    rows, shifts = _some(held_out(start), start), Shifts.of(start)
    corruption = params.corruption if params.corruption in shifts.known() else ALWAYS
    shifted = shifts.apply(corruption, params.severity, rows)
    found = {}
    for kind in shifts.known():
        for severity in SEVERITIES:
            results.moved()
            found[kind, severity] = _of_shift(loaded, shifts.apply(kind, severity, rows))
    return Looks(
        corruption=corruption,
        clean=_map(loaded, rows),
        shifted=_map(loaded, shifted),
        shifts=found,
        mixed_classes=_cell(loaded, shifted, SKEWED, 0.0),
        one_class=_cell(loaded, shifted, SKEWED, 0.0, by_class=True),
    )


def _some(part: Part, start: Start) -> Part:
    generator = stream(start.checked.spec.seed, "measures")
    rows = torch.randperm(len(part), generator=generator)[:MOST_ROWS]
    classes = None if part.classes is None else part.classes[rows]
    return Part(part.inputs[rows], part.targets[rows], classes)


def _map(loaded: Loaded, rows: Part) -> Map:
    sizes = sizes_for(len(rows))
    return {(size, N): _cell(loaded, rows, size, N) for size in sizes for N in WEIGHTS}


def _cell(
    loaded: Loaded, rows: Part, size: int, source_rows: float, by_class: bool = False
) -> float:
    index = _chunks(rows, size, loaded.spec.seed, by_class)
    logits = adapted_logits(loaded.network, rows.inputs[index], min(size, len(rows)), source_rows)
    return _accuracy(logits, rows, index)


def _chunks(rows: Part, size: int, seed: int, by_class: bool) -> Tensor:
    """Row indices of whole chunks, from as many shuffles as give enough answers."""
    assert rows.classes is not None
    generator = stream(seed, "gap")
    whole = len(rows) // min(size, len(rows)) * min(size, len(rows))
    found = []
    for _ in range(ceil(LEAST_SCORED / len(rows))):
        order = torch.randperm(len(rows), generator=generator)
        if by_class:
            order = order[torch.sort(rows.classes[order], stable=True).indices]
        found.append(order[:whole])
    return torch.cat(found)


def _of_shift(loaded: Loaded, rows: Part) -> OfShift:
    return OfShift(
        _scores(loaded, rows, inf),
        _scores(loaded, rows, 0.0),
        {weight: _cell(loaded, rows, FEW, weight) for weight in WEIGHTS},
    )


def _scores(loaded: Loaded, rows: Part, source_rows: float) -> Scores:
    """With all rows as one chunk."""
    assert rows.classes is not None
    logits = adapted_logits(loaded.network, rows.inputs, len(rows), source_rows)
    return Scores(
        _accuracy(logits, rows, torch.arange(len(rows))),
        expected_calibration_error(logits, rows.classes),
        brier_score(logits, rows.classes),
    )


def _accuracy(logits: Tensor, rows: Part, index: Tensor) -> float:
    assert rows.classes is not None
    return POINTS * float(are_correct(logits, rows.classes[index]).double().mean())
