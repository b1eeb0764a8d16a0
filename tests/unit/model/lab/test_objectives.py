"""The loss of a run before its first step, on all its training rows and on its first mini-batch."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from model.data.builtin import build
from model.data.dataset import save
from model.lab.experiment import spec_of
from model.lab.objectives import on_first_batch, on_training_rows
from model.lab.results import CPU, NO_LIMITS, Results, RunResult, Start
from model.measures.objective import flatten, parameters_of
from model.plan import check
from model.training.arrays import prepare
from model.training.loop import Training


@pytest.fixture
def start(tmp_path: Path) -> Start:
    save(build("digits"), tmp_path)
    network = {"kind": "mlp", "hidden": [8], "activation": "relu"}
    spec = spec_of(dataset="digits", network=network, norm="batch", optimizer={"kind": "sgd"})
    left = {"series": {}, "measured": {}, "checkpoints": (), "dataset": str(tmp_path)}
    run = RunResult("a", 0, spec, "succeeded", "completed", None, 0, **left)  # type: ignore[arg-type]
    return Results((run,)).start(run)


def test_all_training_rows_pass_at_once_with_their_own_statistics(start: Start) -> None:
    at, train = on_training_rows(start), start.arrays.train

    found = at.value(at.here)

    assert len(at.block.inputs) == len(train) == 1438
    wanted = functional.cross_entropy(start.network(train.inputs), train.targets).item()
    assert found == pytest.approx(wanted, rel=1e-6)


def test_the_first_mini_batch_is_the_one_that_training_begins_with(start: Start) -> None:
    at = on_first_batch(start)
    _, gradient = at.gradient(at.here)
    wanted = at.here - 0.1 * gradient

    next(iter(start.training.run()))

    torch.testing.assert_close(flatten(parameters_of(start.network)), wanted)


def test_rows_that_are_too_many_are_drawn_alike(tmp_path: Path) -> None:
    dataset = build("two_class_500")
    save(dataset, tmp_path)
    found = []
    for norm in ("none", "batch"):
        spec = spec_of(dataset="two_class_500", network={"kind": "mlp"}, norm=norm)
        checked = check(spec, dataset.facts, NO_LIMITS)
        arrays = prepare(dataset, checked.spec, CPU)
        start = Start(checked, arrays, Training(checked, arrays, CPU))
        found.append(on_training_rows(start).block.inputs)

    assert found[0].shape == (2_000, 500)
    assert torch.equal(*found)


def test_whoever_waits_is_told_before_every_pass(start: Start) -> None:
    told: list[int] = []
    at = on_training_rows(start, lambda: told.append(1)).wide()

    at.along(at.here, at.here, [0.0, 0.1, 0.2])

    assert len(told) == 3
