"""The error of a network by running statistics, those of groups, and those of training rows."""

from pathlib import Path

import pytest
import torch

from model.lab.errors import CLASSES, held_out, in_eval, in_groups, in_training, recomputed
from model.lab.experiment import PlannedRun, spec_of
from model.lab.results import Results
from model.statistics.modes import batch_norms
from model.training.arrays import Part
from tests.laboratory import results_of


def trained(tmp_path: Path, norm: object, steps: int = 30) -> Results:
    spec = spec_of(
        dataset="digits",
        network={"kind": "mlp", "hidden": [20], "activation": "relu"},
        norm=norm,
        loss=CLASSES,
        budget={"steps": steps},
        precision="float64",
    )
    return results_of((PlannedRun("one", 0, spec),), tmp_path)


def wrong(logits: torch.Tensor, classes: torch.Tensor) -> float:
    return 100 * float((logits.argmax(1) != classes).double().mean())


def test_the_error_in_eval_mode_is_that_of_the_run(tmp_path: Path) -> None:
    results = trained(tmp_path, "batch")
    (run,) = results.runs
    loaded, start = results.trained(run), results.start(run)
    assert loaded is not None
    accuracy = run.last("test_accuracy")
    assert accuracy is not None
    found = in_eval(loaded.network, held_out(start), loaded.block_rows)
    assert found == pytest.approx(100 * (1 - accuracy))


@pytest.mark.parametrize("norm", ["batch", {"kind": "batch_renorm", "warmup_batches": 0}])
def test_training_mode_answers_as_the_network_does_in_it_and_moves_nothing(
    tmp_path: Path, norm: object
) -> None:
    results = trained(tmp_path, norm)
    (run,) = results.runs
    loaded, part = results.trained(run), held_out(results.start(run))
    assert loaded is not None
    assert part.classes is not None
    rows = torch.arange(40)
    before = {name: one.clone() for name, one in loaded.network.state_dict().items()}
    found = in_training(loaded.network, part, (rows, rows))
    after = loaded.network.state_dict()
    assert all(torch.equal(one, after[name]) for name, one in before.items())
    assert not loaded.network.training
    logits = loaded.network.train()(part.inputs[rows])
    assert found == wrong(logits, part.classes[rows])  # also the second time


def test_groups_are_normalized_one_by_one(tmp_path: Path) -> None:
    results = trained(tmp_path, "batch")
    (run,) = results.runs
    loaded, part = results.trained(run), held_out(results.start(run))
    assert loaded is not None
    assert part.classes is not None
    groups = torch.arange(30).split(10)
    network = loaded.network
    found = in_groups(network, part, groups)
    logits = torch.cat([network.train()(part.inputs[group]) for group in groups])
    assert found == pytest.approx(wrong(logits, part.classes[:30]))


def test_recomputed_statistics_are_the_moments_of_the_training_rows(tmp_path: Path) -> None:
    results = trained(tmp_path, "batch", steps=3)
    (run,) = results.runs
    loaded, start = results.trained(run), results.start(run)
    assert loaded is not None
    network = recomputed(loaded, start)
    (norm,) = batch_norms(network).values()
    linear = next(one for one in network.modules() if isinstance(one, torch.nn.Linear))
    inputs = linear(start.arrays.train.inputs).detach()
    torch.testing.assert_close(norm.running_mean, inputs.mean(0))
    torch.testing.assert_close(norm.running_spread, inputs.var(0))
    (old,) = batch_norms(loaded.network).values()
    assert not torch.allclose(old.running_mean, norm.running_mean)


def test_rows_whose_logits_are_not_finite_are_wrong(tmp_path: Path) -> None:
    results = trained(tmp_path, "batch", steps=3)
    (run,) = results.runs
    loaded = results.trained(run)
    assert loaded is not None
    inputs = torch.zeros(4, 64, dtype=torch.float64)
    inputs[0] = torch.nan
    likely = loaded.network(inputs[1:]).argmax(1)
    part = Part(inputs, likely, torch.cat((torch.tensor([0]), likely)))
    assert in_eval(loaded.network, part, 2) == 25.0
