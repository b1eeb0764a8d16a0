"""The post's two shifts beside each other: of the inputs at test time, and inside, step by step.

Inputs shift as a camera's do whose contrast falls to 30 % and whose dark grows brighter: with u a
value as a share of the range of all training values, and s the strength of the shift, 0 to 1,

    u <- u * (1 - .7 s) + .35 s

A network in eval mode meets them with the running statistics of training, and once more with
statistics computed anew from the shifted rows, which needs no labels.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from math import isfinite, nan
from statistics import median

import numpy as np
import torch
from torch import Tensor

from model.checkpoint import Loaded
from model.data.dataset import Dataset
from model.data.split import rows as split_rows
from model.errors import InputRefused
from model.lab.compare import Outcome
from model.lab.covariate_shift.arms import CLASSIFIERS, NORMS, Params, arm_of
from model.lab.covariate_shift.shifts import input_name
from model.lab.results import Results, RunResult
from model.lab.typical import known
from model.measures.input_shift import input_shift_of
from model.measures.probe import Block
from model.predict import Predictor
from model.statistics.modes import batch_norms
from model.statistics.population import precise

STRENGTHS = (0, 5, 10, 25, 50, 100)  # of the shift, percent
CONTRAST, OFFSET = 0.7, 0.35  # taken away and added at full strength
MOST_ROWS = 1_000  # test rows that are shifted
LEAST_ROWS = 16


@dataclass(frozen=True)
class Met:
    """What one trained network makes of shifted inputs."""

    seed: int
    norm: str
    accuracy: tuple[float, ...]  # at each strength, with the statistics of training
    anew: tuple[float, ...]  # with statistics of the shifted rows; () without norm
    apart: tuple[float, ...]  # of each layer's input, SDs, at full strength
    apart_anew: tuple[float, ...]  # the same with statistics of the shifted rows; ()
    inside: tuple[float, ...]  # of each layer's input in one training step, SDs, median


def network_of(params: Params) -> str | None:
    """The network that is looked at: the first that classifies."""
    return next((one for one in params.networks if one in CLASSIFIERS), None)


def look_at(params: Params, results: Results) -> tuple[Met, ...]:
    """Every trained network of both arms; none where there are no classes or too few test rows."""
    network = network_of(params)
    if network is None:
        return ()
    found = (
        _met(results, norm, run)
        for norm in NORMS
        for run in results.of(arm_of(network, norm))
        if not run.has_diverged
    )
    return tuple(one for one in found if one is not None)


def shifted(rows: np.ndarray, strength: float, ends: tuple[float, float]) -> np.ndarray:
    """Raw rows with less contrast and a brighter dark.

    Args:
        strength: 0 (as they are, up to rounding) to 1.
        ends: smallest and largest of all training values.

    Returns:
        Of the same shape, float64.
    """
    low, high = ends
    shares = (rows.astype(np.float64) - low) / (high - low)
    moved: np.ndarray = low + (high - low) * (
        shares * (1 - CONTRAST * strength) + OFFSET * strength
    )
    return moved


def recovered(met: Sequence[Met], norm: str, seed: int) -> Outcome:
    """Points of accuracy that new statistics give back at full strength."""
    one = next((one for one in met if one.norm == norm and one.seed == seed), None)
    if one is None or not one.anew:
        return Outcome(None, "no trained network with running statistics")
    return Outcome(100 * (one.anew[-1] - one.accuracy[-1]))


def _met(results: Results, norm: str, run: RunResult) -> Met | None:
    loaded, dataset = results.trained(run), results.dataset(run)
    if loaded is None or dataset.facts.classes is None:
        return None
    parts = split_rows(dataset.facts, dataset.targets, run.spec.split)
    index = parts.test[:MOST_ROWS]
    if len(index) < LEAST_ROWS:
        return None
    ends = _ends(dataset, parts.train)
    if ends[0] == ends[1]:
        return None
    rows, classes = dataset.inputs[index], dataset.targets[index]
    moved = [shifted(rows, strength / 100, ends) for strength in STRENGTHS]
    results.moved()
    try:
        anew = [_anew(loaded, some) for some in moved] if batch_norms(loaded.network) else []
        return Met(
            run.seed,
            norm,
            tuple(_accuracy(loaded, some, classes) for some in moved),
            tuple(_accuracy(one, some, classes) for one, some in zip(anew, moved, strict=False)),
            _apart(loaded, loaded, moved),
            _apart(loaded, anew[-1], moved) if anew else (),
            _inside(run),
        )
    except InputRefused:  # rows that may not be moved: indices of an embedding
        return None


def _ends(dataset: Dataset, train: np.ndarray) -> tuple[float, float]:
    rows = dataset.inputs[train]
    return float(rows.min()), float(rows.max())


def _anew(loaded: Loaded, rows: np.ndarray) -> Loaded:
    """The same network with running statistics of these rows."""
    network = deepcopy(loaded.network)
    layers = batch_norms(network)
    inputs = _scaled(loaded, rows).split(loaded.block_rows)
    for name, statistics in precise(network, inputs).items():
        statistics.put_into(layers[name])
    return replace(loaded, network=network)


def _accuracy(loaded: Loaded, rows: np.ndarray, classes: np.ndarray) -> float:
    answers = Predictor(loaded).logits(rows).argmax(1)
    return float((answers == classes).mean())


def _apart(before: Loaded, after: Loaded, moved: Sequence[np.ndarray]) -> tuple[float, ...]:
    """How far full strength moves the input of each layer, median over its units, SDs."""
    clean, worst = (_blocks(before, rows) for rows in (moved[0], moved[-1]))
    shifts = input_shift_of(before.network, after.network, clean, later=worst)
    return tuple(one.median(one.wasserstein) for one in shifts)


def _blocks(loaded: Loaded, rows: np.ndarray) -> list[Block]:
    return [Block(some, some) for some in _scaled(loaded, rows).split(loaded.block_rows)]


def _scaled(loaded: Loaded, rows: np.ndarray) -> Tensor:
    dtype = np.float64 if loaded.spec.precision == "float64" else np.float32
    return torch.from_numpy(loaded.scaling.apply(rows, dtype=dtype))


def _inside(run: RunResult) -> tuple[float, ...]:
    """How far one training step moves the input of each layer, median over all probes, SDs."""
    found, layer = list[float](), 1
    while input_name(layer) in run.series:
        values = [value for value in known(run, input_name(layer)) if isfinite(value)]
        found.append(median(values) if values else nan)
        layer += 1
    return tuple(found)
