"""What a larger rate does to the noise of a step, before the first one."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from model.lab.larger_rate.plan import NORMS, LargerRateParams, Norm, trained_arm
from model.lab.objectives import on_training_rows
from model.lab.report import Table
from model.lab.results import Results, RunResult
from model.measures.gradient_noise import noise_bound, noise_constant, noise_of
from model.measures.objective import Objective
from model.measures.probe import Block

ROWS = 512  # of which mini-batches are drawn, and the bound is taken: a gradient each
BATCHES = 40

_Cell = str | float | None


def noise(params: LargerRateParams, results: Results) -> Table:
    """Of each arm and seed the noise of a step at both rates, beside the published bound."""
    rates = params.small_rate, params.large_rate
    columns = ("arm", "seed", *(f"noise at rate {one:g}" for one in rates))
    bounds = (*(f"bound at rate {one:g}" for one in rates), "noise / bound")
    note = (
        "Noise: the mean squared distance of a mini-batch's step to that of all rows, alpha^2 "
        "E|g - g_B|^2. Bound: alpha^2 C / |B|, C that of single rows, of which each has a gradient "
        f"of its own without norm alone. {BATCHES} mini-batches of {params.batch_size} among at "
        f"most {max(ROWS, params.batch_size)} rows, each row at most once: so noise / bound is "
        "about (n - |B|) / (n - 1), n the rows."
    )
    title = "Noise of a step of the network that is trained, before its first step"
    return Table("noise", title, (*columns, *bounds), tuple(_rows(params, results)), note)


def _rows(params: LargerRateParams, results: Results) -> Iterator[tuple[_Cell, ...]]:
    for seed in results.planned_seeds:
        for norm in NORMS:
            run = _any_trained_run(params, results, norm, seed)
            if run is not None:
                yield norm, seed, *_cells(params, norm, _some_rows(params, results, run))


def _cells(params: LargerRateParams, norm: Norm, at: Objective) -> Iterator[_Cell]:
    rates, size = (params.small_rate, params.large_rate), params.batch_size
    with at.kept():
        found = noise_of(at, list(_batches(len(at.block.inputs), size)))
        constant = noise_constant(at) if norm == "none" else None
    yield from (rate**2 * found for rate in rates)
    if constant is None:
        yield from (None, None, None)
        return
    yield from (noise_bound(constant, rate, size) for rate in rates)
    yield found / noise_bound(constant, 1.0, size)


def _any_trained_run(
    params: LargerRateParams, results: Results, norm: Norm, seed: int
) -> RunResult | None:
    """A run of the network that is trained, which starts alike at both rates."""
    rates = params.small_rate, params.large_rate
    found = (results.run(trained_arm(norm, rate), seed) for rate in rates)
    return next((run for run in found if run is not None), None)


def _some_rows(params: LargerRateParams, results: Results, run: RunResult) -> Objective:
    at = on_training_rows(results.start(run), results.moved).wide()
    count = max(ROWS, params.batch_size)
    return replace(at, block=Block(at.block.inputs[:count], at.block.targets[:count]))


def _batches(rows: int, size: int) -> Iterator[Tensor]:
    """Places of rows: the same mini-batches for every arm and seed."""
    generator = torch.Generator().manual_seed(0)
    return (torch.randperm(rows, generator=generator)[:size] for _ in range(BATCHES))
