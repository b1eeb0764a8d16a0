"""What enters the activations while a network trains, in training mode, noise included."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from model.lab.drift import OverTime, Units, known, probed
from model.lab.results import CPU, Results, RunResult
from model.measures.histograms import Histogram
from model.measures.rows import rows_of
from model.measures.shadow import shadow
from model.measures.sites import Site, activation_sites, watched
from model.measures.untouched import seeded, untouched

UNIT = 0  # that is drawn: any one, chosen before anything was trained


def unit_means(layer: int | None = None) -> OverTime:
    """The mean of what enters each unit's activation, in one layer (from 0) or in all of them."""

    def over_time(run: RunResult) -> list[tuple[int, Units]]:
        found = probed(run, "moments")
        chosen = [(step, layers if layer is None else [layers[layer]]) for step, layers in found]
        return [
            (step, [x for one in layers for x in known(one["input_mean"])])
            for step, layers in chosen
        ]

    return over_time


def num_layers(run: RunResult) -> int:
    """Activation layers that the moments of a run tell of."""
    return max((len(layers) for _, layers in probed(run, "moments")), default=0)


def one_unit(results: Results, run: RunResult, layer: int) -> Iterator[tuple[int, Histogram]]:
    """What enters one unit's activation, on fixed training rows: at the start, at each checkpoint.

    Args:
        layer: activation layer, from 0.
    """
    start = results.start(run)
    rows = rows_of(start.checked, start.arrays.train).fixed
    inputs = torch.cat([block.inputs for block in rows])
    yield 0, Histogram.of(_entering(start.network, inputs, layer, 0))
    for step in [one.step for one in run.checkpoints if one.step > 0]:
        loaded = results.trained(run, step)
        if loaded is not None:
            yield step, Histogram.of(_entering(loaded.network, inputs, layer, step))


@torch.no_grad()
def _entering(network: nn.Module, inputs: Tensor, layer: int, step: int) -> Tensor:
    """The first unit's inputs; noise is drawn from a seed that is the step's number."""
    looked_at = shadow(network)
    site = activation_sites(looked_at)[layer]
    found: list[Tensor] = []

    def note(_: Site, x: Tensor, __: Tensor) -> None:
        found.append(x[:, UNIT].flatten())

    with untouched(looked_at, seeded(step, CPU)) as same_noise, watched([site], note):
        same_noise()
        looked_at(inputs)
    return torch.cat(found)
