"""What is seen of the tanh layer at the start and the end of every run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan

import torch
from torch import Tensor, nn

from model.errors import DeviationZero
from model.lab.compare import Of, Outcome
from model.lab.ends import End, When, ends, mini_batches
from model.lab.results import Results, RunResult
from model.lab.saturation.closed_form import share_of_rows
from model.measures.dead import loss_changes_of
from model.measures.histograms import Histogram
from model.measures.probe import Block
from model.measures.saturation import MAP_ROWS, saturation_of
from model.measures.sites import activation_sites, watched, weight_sites
from model.measures.untouched import untouched
from model.measures.values import leading

MOVED_ROWS = 1_000  # on which the loss is asked for after each unit's weights have moved
BINS = 80


@dataclass(frozen=True)
class Look:
    """The tanh layer of one run at one end. Shares are of 1, NaN where a value is NaN."""

    arm: str
    seed: int
    when: When
    step: int
    rows: int  # all training rows
    fan_in: int
    saturated: float  # share of values, every block of rows normalized by itself
    in_batches: float  # the same, of mini-batches as large as those of training
    expected: float  # of these rows, without norm, for weights from N(0, 1)
    flat_units: float  # share of units that are saturated on every row
    dead_units: float  # share of units whose weights may move by 1 % without any effect
    change: float  # of the loss when a unit's weights move by 1 %: the median unit's, a share
    inactive_units: float  # share by SageMaker's rule
    map: Tensor  # (rows, units) of one mini-batch: 1 where the value is saturated
    inputs: Histogram  # of what enters the tanh, all units together


Looks = Sequence[Look]


def look_at(results: Results) -> tuple[Look, ...]:
    """Both ends of every run that counts; one at which nothing can be seen is left out."""
    found = list[Look]()
    for run in results.runs:
        if not run.counts:
            continue
        for end in ends(results, run):
            results.moved()
            seen = _look(run, end)
            found += [seen] if seen is not None else []
    return tuple(found)


def outcome_of(looks: Looks, when: When, number: Callable[[Look], float]) -> Of:
    """A number of a run's look, in percent."""
    known = {(one.arm, one.seed): one for one in looks if one.when == when}

    def of(run: RunResult) -> Outcome:
        one = known.get((run.arm, run.seed))
        value = float("nan") if one is None else number(one)
        if isnan(value):
            return Outcome(None, f"nothing can be seen of {run.arm} at its {when}")
        return Outcome(100 * value, _diverged(run, when))

    return of


def _diverged(run: RunResult, when: When) -> str:
    has = run.has_diverged and when == "end"
    return f"{run.arm} diverged at step {run.step:,}: as it was last kept" if has else ""


def _look(run: RunResult, end: End) -> Look | None:
    try:
        return _seen(run, end)
    except DeviationZero:  # eps is 0, and a unit is constant over the rows
        return None


def _seen(run: RunResult, end: End) -> Look:
    network, rows = end.network, end.rows
    whole = saturation_of(network, rows.all)
    layer = whole.layers[0]
    first = leading(rows.fixed, MAP_ROWS)
    shown = saturation_of(network, first, with_map=True).layers[0].map
    assert shown is not None
    changes = loss_changes_of(network, leading(rows.fixed, MOVED_ROWS), end.loss)[0]
    given = torch.cat([_inputs(network, block)[0] for block in rows.fixed])
    inactive = layer.inactive_share
    return Look(
        *(run.arm, run.seed, end.when, end.step, whole.rows),
        fan_in=given.shape[1],
        saturated=layer.saturated,
        in_batches=saturation_of(network, mini_batches(rows, run.spec.batch_size)).saturated,
        expected=share_of_rows(given),
        flat_units=layer.flat_share,
        dead_units=changes.dead_share,
        change=float(changes.change.median()),
        inactive_units=float("nan") if inactive is None else inactive,
        map=shown.t(),
        inputs=Histogram.of(torch.cat([_inputs(network, one)[1] for one in rows.fixed]), BINS),
    )


def _inputs(network: nn.Module, block: Block) -> tuple[Tensor, Tensor]:
    """What enters the first layer with weights, and what enters the tanh."""
    sites = (weight_sites(network)[0], activation_sites(network)[0])
    seen: dict[str, Tensor] = {}
    with (
        untouched(network) as same_noise,
        torch.no_grad(),
        watched(sites, lambda site, x, _: seen.update({site.name: x})),
    ):
        same_noise()
        network(block.inputs)
    given, entering = (seen[site.name] for site in sites)
    return given, entering
