"""Experiments without a queue: their runs are trained here, one after another."""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from model.checkpoint import About, write
from model.data.builtin import build as build_dataset
from model.data.dataset import Dataset, describe, load, save
from model.data.options import ReadOptions
from model.data.readers import read
from model.lab.experiment import Experiment, PlannedRun
from model.lab.report import Report
from model.lab.results import NO_LIMITS, CheckpointAt, Measured, Results, RunResult, Series
from model.measures.engine import engine_of
from model.plan import check
from model.training.arrays import prepare
from model.training.happenings import Happening, Snapshot
from model.training.loop import Training
from tests.conftest import TEST_DATA

CPU = torch.device("cpu")
MNIST = TEST_DATA / "mnist"


def asked(experiment: Experiment, **params: Any) -> Any:
    """The params of an experiment, as a request would give them."""
    return experiment.params.model_validate(params)


def report_of(
    experiment: Experiment,
    folder: Path,
    seeds: Sequence[int] = (0, 1, 2),
    processes: int = 1,
    **params: Any,
) -> tuple[Report, Results]:
    """Plan, train and report.

    Args:
        folder: for datasets and checkpoints; datasets that are there are taken from it.
        processes: how many runs are trained at once, with one thread each.
    """
    given = asked(experiment, **params)
    planned = experiment.plan(given, seeds)
    results = replace(results_of(planned, folder, processes), seeds=tuple(seeds))
    return experiment.report(given, results), results


def results_of(planned: Sequence[PlannedRun], folder: Path, processes: int = 1) -> Results:
    """Train every run of a plan."""
    folders = {run.spec.dataset: dataset_folder(run.spec.dataset, folder) for run in planned}
    work = [(i, run, folders[run.spec.dataset], folder) for i, run in enumerate(planned)]
    if processes == 1:
        return Results(tuple(map(_trained, work)))
    with ProcessPoolExecutor(processes, get_context("forkserver")) as pool:
        return Results(tuple(pool.map(_trained, work)))


def dataset_folder(name: str, folder: Path) -> Path:
    """A dataset as files: a built-in one, or `mnist`, its 60,000 + 10,000 rows."""
    path = folder / name
    if not (path / "facts.json").exists():
        path.mkdir(parents=True, exist_ok=True)
        save(mnist() if name == "mnist" else build_dataset(name), path)
    return path


def one_test_row(name: str, folder: Path) -> str:
    """Write a built-in dataset of classes with a test split of its own, which is its last row.

    Returns:
        The name of what was written.
    """
    whole = build_dataset(name)
    facts = whole.facts
    mine = describe(whole.inputs, whole.targets, facts.classes, train_rows=facts.rows - 1)
    return written("one-test-row", mine, folder)


def without_test_rows(name: str, folder: Path) -> str:
    """Write a built-in dataset of classes of which every row trains.

    Returns:
        The name of what was written.
    """
    whole = build_dataset(name)
    facts = whole.facts
    mine = describe(whole.inputs, whole.targets, facts.classes, train_rows=facts.rows)
    return written("no-test-row", mine, folder)


def written(name: str, dataset: Dataset, folder: Path) -> str:
    """Write a dataset of one's own to where `results_of` finds it by its name, and return that."""
    (folder / name).mkdir()
    save(dataset, folder / name)
    return name


def mnist() -> Dataset:
    """MNIST as its four IDX files hold it."""
    options = ReadOptions(
        targets_path=MNIST / "train-labels-idx1-ubyte.gz",
        test_path=MNIST / "t10k-images-idx3-ubyte.gz",
        test_targets_path=MNIST / "t10k-labels-idx1-ubyte.gz",
    )
    return read("idx", MNIST / "train-images-idx3-ubyte.gz", options)


def _trained(work: tuple[int, PlannedRun, Path, Path]) -> RunResult:
    index, run, dataset_at, folder = work
    torch.set_num_threads(1)
    dataset = load(dataset_at)
    checked = check(run.spec, dataset.facts, NO_LIMITS)
    arrays = prepare(dataset, checked.spec, CPU)
    about = About(checked.spec, dataset.facts, arrays.scaling, 0)
    engine = engine_of(checked, arrays, CPU)
    happenings = list(Training(checked, arrays, CPU, engine).run())
    return RunResult(
        arm=run.arm,
        seed=run.seed,
        spec=checked.spec,
        state="succeeded",
        outcome=happenings[-1].ended,
        why=None,
        step=happenings[-1].step,
        dataset=str(dataset_at),
        series=_series(happenings),
        measured=_measured(happenings),
        checkpoints=_written(happenings, about, folder / f"run-{index}"),
    )


def _series(happenings: Sequence[Happening]) -> dict[str, Series]:
    points = defaultdict[str, list[tuple[int, float]]](list)
    for point in (point for one in happenings for point in one.points):
        points[point.name].append((point.step, point.value))
    return {
        name: Series(tuple(step for step, _ in found), tuple(value for _, value in found))
        for name, found in points.items()
    }


def _measured(happenings: Sequence[Happening]) -> dict[str, tuple[Measured, ...]]:
    found = defaultdict[str, list[Measured]](list)
    for one in (one for happening in happenings for one in happening.measured):
        found[one.kind].append(Measured(one.step, one.data))
    return {kind: tuple(values) for kind, values in found.items()}


def _written(
    happenings: Sequence[Happening], about: About, folder: Path
) -> tuple[CheckpointAt, ...]:
    last = happenings[-1].kept
    assert last is not None
    wanted = {one.snapshot.step: one.snapshot for one in happenings if one.snapshot} | {
        last.step: last
    }
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_saved(wanted[step], about, folder) for step in sorted(wanted))


def _saved(snapshot: Snapshot, about: About, folder: Path) -> CheckpointAt:
    told = replace(about, step=snapshot.step, batches=snapshot.batches)
    written = write(folder / f"{snapshot.step}.safetensors", snapshot.tensors, told)
    return CheckpointAt(snapshot.step, str(written.path), written.sha256, {})
