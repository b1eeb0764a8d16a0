"""The moments that reach the next layer, at the start and at every checkpoint of every run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn

from model.errors import DeviationZero
from model.lab.compare import Of, Outcome
from model.lab.ends import When
from model.lab.results import Results, RunResult
from model.measures.probe import Block
from model.measures.rows import rows_of
from model.measures.shadow import shadow
from model.measures.sites import Site, watched, weight_sites
from model.measures.untouched import untouched
from model.statistics.moments import Moments


@dataclass(frozen=True)
class Reaching:
    """What enters one layer with weights that others precede, unit by unit, in float64."""

    layer: int  # among the layers with weights, from 1
    mean: Tensor  # (U,)
    variance: Tensor  # (U,), over n

    @property
    def distance(self) -> Tensor:
        """How far each unit is from mean 0 and deviation 1, (U,): sqrt(mean^2 + (sd - 1)^2).

        That is the Wasserstein distance (of order 2) between normals of these moments.
        """
        return (self.mean.square() + (self.variance.sqrt() - 1).square()).sqrt()


@dataclass(frozen=True)
class Look:
    """All layers of one network but the first."""

    arm: str
    seed: int
    step: int
    layers: tuple[Reaching, ...]

    @property
    def distance(self) -> float:
        """Mean over the units of all layers."""
        return float(torch.cat([one.distance for one in self.layers]).mean())


Looks = Sequence[Look]


def look_at(results: Results) -> tuple[Look, ...]:
    """Every run that counts, before its first step and at its checkpoints, on fixed rows."""
    return tuple(
        Look(run.arm, run.seed, step, reaching)
        for run in results.runs
        if run.counts
        for step, network, blocks in _networks(results, run)
        if (reaching := moments_reaching(network, blocks))
    )


def moments_reaching(network: nn.Module, blocks: Sequence[Block]) -> tuple[Reaching, ...]:
    """The moments of what enters every layer with weights but the first.

    The network is run in the mode in which it is, and left as it is; nothing where a norm with
    eps 0 meets a constant unit.
    """
    sites = weight_sites(network)[1:]
    found: dict[str, Moments] = {}

    def note(site: Site, x: Tensor, _: Tensor) -> None:
        seen = Moments.of(x)
        found[site.name] = found[site.name].merged(seen) if site.name in found else seen

    try:
        with untouched(network) as begin, torch.no_grad(), watched(sites, note):
            for block in begin.each(blocks):
                network(block.inputs)
    except DeviationZero:
        return ()
    each = enumerate(sites, 2)
    return tuple(Reaching(n, found[one.name].mean, found[one.name].variance(0)) for n, one in each)


def distance_at(looks: Looks, when: When) -> Of:
    """The distance from mean 0 and deviation 1 before a run's first step, or when last seen."""

    def of(run: RunResult) -> Outcome:
        mine = of_run(looks, run.arm, run.seed)
        value = mine[0 if when == "start" else -1].distance if mine else float("nan")
        if not isfinite(value):
            return Outcome(None, f"what reaches the layers of {run.arm} is not finite")
        has = run.has_diverged and when == "end"
        note = f"{run.arm} diverged at step {run.step:,}: as it was last kept" if has else ""
        return Outcome(value, note)

    return of


def of_run(looks: Looks, arm: str, seed: int) -> list[Look]:
    """The looks at one run, by ascending step."""
    found = (one for one in looks if (one.arm, one.seed) == (arm, seed))
    return sorted(found, key=lambda one: one.step)


def _networks(
    results: Results, run: RunResult
) -> Iterator[tuple[int, nn.Module, tuple[Block, ...]]]:
    """Copies in training mode, with the fixed rows that they are looked at on."""
    start = results.start(run)
    blocks = rows_of(start.checked, start.arrays.train).fixed
    yield 0, shadow(start.network), blocks
    for kept in run.checkpoints:
        loaded = results.trained(run, kept.step)
        if loaded is not None and kept.step > 0:
            yield kept.step, shadow(loaded.network), blocks
