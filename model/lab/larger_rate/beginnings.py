"""The deep network before its first step: what depth does to values and to gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from statistics import median

from torch import Tensor

from model.lab.larger_rate.plan import NORMS, LargerRateParams, Norm, any_deep_run
from model.lab.objectives import on_first_batch
from model.lab.results import Results, RunResult
from model.measures.crossing import log_steps
from model.measures.depth_moments import (
    Cancellation,
    Distribution,
    LayerMoments,
    OutputGradients,
    cancellations,
    channel_moments,
    depth_names,
    distribution,
    moments_along,
    output_gradients,
)
from model.measures.objective import parameters_of, unflatten

#: Where the paper looks: layers 8, 44 and 80 of 110.
PLACES = {"early": 0.07, "middle": 0.4, "late": 0.73}
LEAST_SHARE, PER_DECADE = 1e-7, 4  # of the update along which moments are followed
LEAST_ELEMENTS = 1e-3  # share of a gradient's elements


@dataclass(frozen=True)
class Beginning:
    """One arm and seed, on the mini-batch of the first step, in float64."""

    norm: Norm
    seed: int
    depth: tuple[LayerMoments, ...]  # what leaves each block, input side first
    gradient: Distribution  # of the weights of the layer in the middle
    exceeded: tuple[float, ...]  # by the size of each share of that gradient's elements
    outputs: OutputGradients
    cancellations: tuple[Cancellation, ...]  # of every layer with weights
    along: tuple[tuple[LayerMoments, ...], ...]  # [share][early, middle, late]

    @property
    def growth(self) -> float:
        """Deviation behind the last block over that behind the first; NaN where that is 0."""
        return _share(self.depth[-1].mean_deviation, self.depth[0].mean_deviation)

    @property
    def left(self) -> float:
        """What summands of a weight's gradient leave of their sizes, median over layers.

        1 where all have one sign, near 0 where they cancel.
        """
        return median(_share(one.size_of_sum, one.sum_of_sizes) for one in self.cancellations)


def elements() -> list[float]:
    """Shares of a gradient's elements, from few to half of them."""
    return log_steps(LEAST_ELEMENTS, 0.5, PER_DECADE)


def shares() -> list[float]:
    """Of the update along which moments are followed."""
    return log_steps(LEAST_SHARE, 1.0, PER_DECADE)


def look_at(params: LargerRateParams, results: Results) -> tuple[Beginning, ...]:
    """Both arms of every seed of which a run counts."""
    found = (
        (run, norm, params)
        for seed in results.planned_seeds
        for norm in NORMS
        if (run := any_deep_run(params, results, norm, seed)) is not None
    )
    return tuple(_beginning(results, *one) for one in found)


def of_norm(beginnings: Sequence[Beginning], norm: Norm) -> list[Beginning]:
    """Those of one arm, by seed."""
    return sorted((one for one in beginnings if one.norm == norm), key=lambda one: one.seed)


def _beginning(results: Results, run: RunResult, norm: Norm, params: LargerRateParams) -> Beginning:
    start = results.start(run)
    results.moved()
    at = on_first_batch(start, results.moved).wide()
    here, names = at.here, depth_names(start.checked.plan)
    weighted = [layer.name for layer in start.checked.plan.walk() if layer.has_weights]
    with at.kept():
        _, gradient = at.gradient(here)
    slopes = unflatten(gradient, parameters_of(at.network))
    middle = slopes[f"{weighted[len(weighted) // 2]}.weight"]
    followed = [names[int(place * len(names))] for place in PLACES.values()]
    along = moments_along(
        at, here, gradient, [-params.large_rate * one for one in shares()], followed
    )
    return Beginning(
        norm,
        run.seed,
        tuple(channel_moments(at, here, names)),
        distribution(middle),
        _exceeded(middle),
        output_gradients(at, here),
        tuple(cancellations(at, here, weighted)),
        tuple(tuple(one) for one in along),
    )


def _exceeded(gradient: Tensor) -> tuple[float, ...]:
    """The size that each share of `elements` exceeds."""
    sizes = gradient.abs().flatten().sort(descending=True).values
    last = len(sizes) - 1
    return tuple(float(sizes[min(last, round(share * last))]) for share in elements())


def _share(of: float, whole: float) -> float:
    return of / whole if whole else nan
