"""Which rows an operation reads, and which ones it is scored on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.blocks import MOST_SCORED_ROWS
from model.checkpoint import Loaded
from model.data.dataset import Dataset
from model.data.dataset import load as load_dataset
from model.data.split import rows as split_rows
from model.training.arrays import Arrays, Part, part_of, prepare
from model.training.evaluate import evaluate
from worker.assignment import OperationAssignment
from worker.scoring import Scoring, finite

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Home:
    """The dataset that a checkpoint was trained on, divided as for its training."""

    dataset: Dataset
    arrays: Arrays
    scoring: Scoring


@dataclass(frozen=True)
class Rows:
    """What statistics are made from."""

    inputs: np.ndarray  # (n, *input_shape), raw
    are_own: bool  # the checkpoint's own training rows
    labelled: Part | None  # at most 10,000 rows of another dataset with the same task


def home_of(
    folders: Iterable[str | None], loaded: Loaded, moved: Callable[[], None]
) -> Home | None:
    """A checkpoint's own dataset; None where it is gone, or others have its names.

    Args:
        folders: where it may be: its rows tell, whatever they are called.
        moved: see `Scoring`.
    """
    there = (load_dataset(Path(folder)) for folder in folders if folder is not None)
    own = loaded.facts.fingerprint
    dataset = next((one for one in there if one.facts.fingerprint == own), None)
    if dataset is None:
        return None
    arrays = prepare(dataset, loaded.spec, CPU, loaded.scaling)
    return Home(dataset, arrays, Scoring(loaded.spec, dataset.facts, arrays, moved))


def rows_of(assignment: OperationAssignment, loaded: Loaded, home: Home | None) -> Rows:
    """The rows that came with the request, or those of the dataset that it names.

    Of the checkpoint's own dataset the training rows count, of another one all of them. Where
    the request wants fewer, it gets them in the order that its seed draws.
    """
    if assignment.rows_file is not None:
        sent = np.load(assignment.rows_file, mmap_mode="r", allow_pickle=False)
        return Rows(sent, are_own=False, labelled=None)
    assert assignment.rows_folder is not None
    dataset = load_dataset(Path(assignment.rows_folder))
    are_own = home is not None and dataset.facts.fingerprint == home.dataset.facts.fingerprint
    every = np.arange(len(dataset.inputs))
    if are_own:
        every = split_rows(dataset.facts, dataset.targets, loaded.spec.split).train
    chosen = _chosen(every, assignment.params)
    labelled = None if are_own else _labelled(dataset, chosen, loaded)
    return Rows(dataset.inputs[chosen], are_own, labelled)


def scores(loaded: Loaded, rows: Rows | None) -> dict[str, float | None]:
    """Loss and accuracy on the labelled rows of another dataset, by metric name."""
    if rows is None or rows.labelled is None or loaded.spec.loss is None:
        return {}
    kind = loaded.spec.loss.kind
    found = evaluate(loaded.network, kind, rows.labelled, loaded.block_rows)
    return {f"dataset_{name}": finite(value) for name, value in found.items()}


def _chosen(rows: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    wanted = params["rows"]
    if wanted is None or wanted >= len(rows):
        return rows
    generator = torch.Generator().manual_seed(params["seed"])
    order = torch.randperm(len(rows), generator=generator).numpy()
    return np.sort(rows[order[:wanted]])


def _labelled(dataset: Dataset, chosen: np.ndarray, loaded: Loaded) -> Part | None:
    facts = dataset.facts
    if (facts.task, facts.classes, facts.outputs) != (
        loaded.facts.task,
        loaded.facts.classes,
        loaded.facts.outputs,
    ):
        return None
    evenly = np.linspace(0, len(chosen) - 1, min(len(chosen), MOST_SCORED_ROWS)).astype(np.int64)
    return part_of(dataset, chosen[evenly], loaded.scaling, loaded.spec, CPU)
