"""How often measures are taken: from the spec alone, never from a clock.

The unit is the row-pass: one row through the network forward. Training on a row is 3. All
measures together may take 8 % of the run's row-passes, each an even share, unless that is too
little for 20 probes of one or enough for more than 200. A measure with a period of its own keeps
it, and the others share what it leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from model.findings import Finding
from model.measures.catalogue import CATALOGUE, passes_of
from model.measures.probe import MOST_ROWS
from model.plan import Checked
from model.spec import Measure, RelativeLoss

SHARE = 0.08  # of the training's row-passes, for all measures together
LEAST_PROBES, MOST_PROBES = 20, 200  # of one measure, unless it has a period of its own
TRAINING_PASSES = 3  # of one row: forward, and twice as much backward
#: Optimizer steps that a probe costs beside its passes, for copies of the network and many calls,
#: which in small networks are most of a step, too. Measured for measures of one batch: 6 to 7 in a
#: perceptron of one hidden layer of 100 units, 2 to 4 with three on 784 features, 2 in a small
#: convolution.
STEPS_PER_PROBE = 6


@dataclass(frozen=True)
class Planned:
    """One measure of a run: how often it is taken and what that costs."""

    kind: str
    every: int | None  # optimizer steps; None: at steps of its own
    probes: int
    row_passes: float  # of all of them

    def to_json(self, checked: Checked) -> dict[str, Any]:
        """The plan as JSON-ready values, with its share of the training's row-passes."""
        return vars(self) | {"share": self.row_passes / training_passes(checked)}


@dataclass(frozen=True)
class Cost:
    """Row-passes of one measure's probes: at step 0, at multiples of its period, and at the last.

    The first and the last look at all training rows, where a measure looks at rows of its own
    choice and not at a step.
    """

    between: float  # of one between the first and the last
    ends: float  # of those two together
    last: int  # optimizer steps done before the last

    def probes(self, every: int) -> int:
        """How many there are with a period."""
        return ceil(self.last / every) + 1

    def of(self, every: int) -> float:
        """All of them with a period."""
        return self.ends + self.between * max(0, self.probes(every) - 2)

    def affordable(self, budget: float) -> int:
        """The shortest period that costs no more than a budget, within the bounds on probes."""
        between = max(0, int((budget - self.ends) / self.between))
        return min(self.longest, max(self.shortest, ceil(self.last / (between + 1))))

    @property
    def longest(self) -> int:
        """The longest period that gives the fewest probes."""
        return max(1, self.last // (LEAST_PROBES - 1))

    @property
    def shortest(self) -> int:
        """The shortest period that gives no more than the most."""
        return max(1, ceil(self.last / (MOST_PROBES - 1)))


def planned(checked: Checked) -> tuple[Planned, ...]:
    """Every measure of a run with its period, in the order of the spec."""
    given = {one.kind: _given(one, checked) for one in checked.spec.measures}
    asked = [one for one in checked.spec.measures if given[one.kind] is None]
    left = SHARE * training_passes(checked) - sum(one.row_passes for one in given.values() if one)
    costs = [_cost(one, checked) for one in asked]
    for one, cost, every in zip(asked, costs, shared(costs, left), strict=True):
        given[one.kind] = _with_period(one.kind, cost, every)
    return tuple(one for one in given.values() if one is not None)


def with_periods(checked: Checked) -> Checked:
    """The same run with every period filled in, and a finding where they cost more than 8 %."""
    every = {one.kind: one.every for one in planned(checked)}
    measures = tuple(
        one if isinstance(one, RelativeLoss) else one.model_copy(update={"every": every[one.kind]})
        for one in checked.spec.measures
    )
    spec = checked.spec.model_copy(update={"measures": measures})
    return replace(checked, spec=spec, findings=(*checked.findings, *_findings(checked)))


def shared(costs: Sequence[Cost], budget: float) -> list[int]:
    """The periods with which measures have even shares of a budget of row-passes.

    Whoever needs more for the fewest probes gets that, whoever can use less gets that, and the
    others share the rest evenly.
    """
    bounds = [(cost.of(cost.longest), cost.of(cost.shortest)) for cost in costs]
    level = _level(bounds, budget)
    return [cost.affordable(level) for cost in costs]


def training_passes(checked: Checked) -> int:
    """Row-passes of the run's training."""
    epochs, steps = divmod(checked.steps, checked.batches.steps)
    rows = epochs * sum(checked.batches.sizes) + sum(checked.batches.sizes[:steps])
    return TRAINING_PASSES * rows


def _level(bounds: Sequence[tuple[float, float]], budget: float) -> float:
    """The share that is even: what all take of it, each within its bounds, is the budget."""
    low, high = 0.0, max(0.0, budget)
    for _ in range(64):
        middle = (low + high) / 2
        taken = sum(min(most, max(least, middle)) for least, most in bounds)
        low, high = (middle, high) if taken <= budget else (low, middle)
    return low


def _cost(asked: Measure, checked: Checked) -> Cost:
    passes, beside = passes_of(asked, checked), _beside(checked)
    kind = CATALOGUE[asked.kind]
    times = max(1.0, checked.rows.train / MOST_ROWS) if kind.all_rows else 1.0
    return Cost(passes + beside, 2 * (passes * times + beside), checked.steps - kind.compares)


def _beside(checked: Checked) -> int:
    """What a probe costs beside its passes, in row-passes."""
    return STEPS_PER_PROBE * TRAINING_PASSES * checked.batches.size


def _given(asked: Measure, checked: Checked) -> Planned | None:
    """What is known of a measure that says when it is taken."""
    if isinstance(asked, RelativeLoss):
        probes = len(set(asked.at))
        row_passes = probes * (passes_of(asked, checked) + _beside(checked))
        return Planned(asked.kind, None, probes, row_passes)
    if asked.every is None:
        return None
    return _with_period(asked.kind, _cost(asked, checked), asked.every)


def _with_period(kind: str, cost: Cost, every: int) -> Planned:
    return Planned(kind, every, cost.probes(every), cost.of(every))


def _findings(checked: Checked) -> tuple[Finding, ...]:
    measures = [one.to_json(checked) for one in planned(checked)]
    share = sum(one["share"] for one in measures)
    if share <= SHARE:
        return ()
    evidence = {
        "share": share,
        "at_most": SHARE,
        "training_row_passes": training_passes(checked),
        "measures": measures,
    }
    return (
        Finding(
            "MEASURES_OVER_SHARE",
            "note",
            None,
            evidence,
            f"The measures cost {share:.0%} of the training, for each is taken {LEAST_PROBES} "
            "times at least, or as often as it says: train longer, ask for fewer measures, or "
            "give every.",
        ),
    )
