"""Operations on a real worker: new statistics on the old weights, recorded once, whatever dies."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from core import checkpoints, datasets, revisions
from core.checkpoints import Checkpoint
from core.datasets import NewDataset
from core.ids import new_id
from core.states import State
from model.checkpoint import Loaded, load
from model.data.builtin import build
from model.data.dataset import Dataset, describe, save
from model.data.split import rows as split_rows
from model.spec import RunSpec
from model.statistics.fingerprint import is_statistic
from tests.workers import Service, opened_service, until
from worker.services import Services
from worker.tidy import sweep

LAGGING: dict[str, Any] = {
    "network": {"kind": "mlp", "hidden": [20]},
    "norm": {"kind": "batch", "momentum": 0.001},
    "scaling": "none",
    "budget": {"steps": 100},
}


@pytest.fixture(scope="module")
def lagging(steady: Service) -> Checkpoint:
    """digits with statistics that are mostly 0 and 1 still."""
    return trained(steady, **LAGGING)


def trained(service: Service, **fields: Any) -> Checkpoint:
    run = service.until_ended(service.submit(**fields))
    assert run.state is State.SUCCEEDED
    assert run.checkpoint_id is not None
    return service.checkpoint(run.checkpoint_id)


def loaded(service: Service, one: Checkpoint) -> Loaded:
    statistics = None if one.statistics_key is None else service.files.local(one.statistics_key)
    return load(service.files.local(one.key), one.sha256, statistics=statistics)


def test_recalibration_makes_a_revision_with_the_population_of_the_training_rows(
    steady: Service, lagging: Checkpoint
) -> None:
    operation = steady.until_operated(steady.operate("recalibrate", lagging.id))
    assert (operation.state, operation.error) == (State.SUCCEEDED, None)
    result = operation.result
    assert result is not None
    revision = steady.checkpoint(result["checkpoint"])
    assert (revision.revision_of, revision.name) == (lagging.id, "r1")
    assert (revision.key, revision.weights_hash) == (lagging.key, lagging.weights_hash)
    assert revision.metrics == result["after"]
    assert revision.history is not None
    gap = revision.history["train_eval_gap"]
    assert gap["points"] == revision.metrics["train_eval_gap"]
    assert [part["layer"] for part in gap["layers"]] == ["1"]
    assert result["before"]["test_accuracy"] == lagging.metrics["test_accuracy"]
    assert result["curve"][-1]["mean_error"] == 0
    assert result["rows"] == 1438

    digits, new = build("digits"), loaded(steady, revision)
    train = split_rows(digits.facts, digits.targets, new.spec.split).train
    inputs = torch.from_numpy(new.scaling.apply(digits.inputs[train], np.float64))
    values = new.network[0].double()(inputs)
    state = new.network.state_dict()
    torch.testing.assert_close(state["1.running_mean"].double(), values.mean(0), rtol=0, atol=1e-5)
    torch.testing.assert_close(state["1.running_var"].double(), values.var(0), rtol=1e-5, atol=0)


def test_not_a_byte_of_a_weight_moves_and_the_weights_are_stored_once(
    steady: Service, lagging: Checkpoint
) -> None:
    operation = steady.until_operated(
        steady.operate("recalibrate", lagging.id, method="ema", momentum=0.1)
    )
    assert operation.result is not None
    revision = steady.checkpoint(operation.result["checkpoint"])
    assert revision.statistics_key is not None
    own = load_file(steady.files.local(revision.statistics_key))
    assert all(is_statistic(name) for name in own)
    before = load_file(steady.files.local(lagging.key))
    for name, tensor in loaded(steady, revision).network.state_dict().items():
        assert torch.equal(tensor, own[name] if is_statistic(name) else before[name])


def test_what_lagged_is_repaired_and_diagnosed_as_sound(
    steady: Service, lagging: Checkpoint
) -> None:
    assert "BN_STATS_LAG" in [finding["reason"] for finding in lagging.findings or ()]
    operation = steady.until_operated(steady.operate("recalibrate", lagging.id))
    assert operation.result is not None
    before, after = operation.result["before"], operation.result["after"]
    assert after["test_accuracy"] > before["test_accuracy"]
    assert abs(after["train_eval_gap"]) < abs(before["train_eval_gap"])
    assert operation.result["findings"] == []


def test_rows_that_came_with_the_request_are_read_and_then_gone(
    steady: Service, lagging: Checkpoint
) -> None:
    rows = np.asarray(build("digits").inputs[:200] * 0.5)
    key = revisions.rows_key()
    path = steady.files.scratch() / "sent.npy"
    np.save(path, rows)
    steady.files.put(path, key)
    asked = {"method": "adapt", "source_rows": 0.0, "rows_key": key, "dataset": None}
    operation = steady.until_operated(steady.operate("recalibrate", lagging.id, **asked))
    assert operation.result is not None
    state = loaded(steady, steady.checkpoint(operation.result["checkpoint"])).network
    values = state[0](torch.from_numpy(rows.astype(np.float32))).double()
    found = state.state_dict()["1.running_mean"].double()
    torch.testing.assert_close(found, values.mean(0), rtol=0, atol=1e-4)
    assert key not in {file.key for file in steady.files.list("rows")}


def stored(service: Service, name: str, rows: Dataset) -> str:
    """Put a dataset into the store, and return its id."""
    dataset_id = new_id("ds")
    prefix = f"datasets/{dataset_id}"
    folder = service.files.scratch() / dataset_id
    folder.mkdir()
    save(rows, folder)
    size = sum((folder / file).stat().st_size for file in datasets.FILES)
    for file in datasets.FILES:
        service.files.put(folder / file, f"{prefix}/{file}")
    new = NewDataset(dataset_id, name, "npz", rows.facts, prefix, size)
    return service.database.write(lambda c: datasets.insert_one(c, new)).id


def test_its_own_rows_are_known_also_where_they_came_back_under_another_id(
    steady: Service,
) -> None:
    """Of them those that test stay unread, whatever the dataset is called."""
    wine = build("wine")
    first = stored(steady, "vintage", describe(wine.inputs, wine.targets, wine.facts.classes))
    checkpoint = trained(steady, **LAGGING | {"dataset": first})
    steady.database.write(lambda c: datasets.delete(c, first))
    again = stored(steady, "vintage", describe(wine.inputs, wine.targets, wine.facts.classes))
    operation = steady.until_operated(steady.operate("recalibrate", checkpoint.id, dataset=again))
    result = operation.result
    assert result is not None
    train = split_rows(wine.facts, wine.targets, RunSpec.model_fields["split"].default).train
    assert (result["rows"], result["training_rows"]) == (len(train), True)
    assert result["before"]["test_accuracy"] == checkpoint.metrics["test_accuracy"]


def test_earlier_statistics_on_final_weights_are_what_plain_torch_makes_of_them(
    steady: Service,
) -> None:
    final = trained(steady, **LAGGING | {"checkpoint_every": {"steps": 50}})
    run_id = final.run_id
    early = steady.database.read(lambda c: checkpoints.at_step(c, run_id or "", 50))
    assert early is not None
    asked = {"statistics_from": early.id, "name": "early"}
    operation = steady.until_operated(steady.operate("transplant", final.id, **asked))
    assert operation.result is not None
    revision = steady.checkpoint(operation.result["checkpoint"])
    assert (revision.name, revision.fingerprint) == ("early", early.fingerprint)
    plain = torch.nn.Sequential(
        torch.nn.Linear(64, 20), torch.nn.BatchNorm1d(20), torch.nn.Tanh(), torch.nn.Linear(20, 10)
    ).eval()
    state = load_file(steady.files.local(final.key))
    state |= {n: t for n, t in load_file(steady.files.local(early.key)).items() if is_statistic(n)}
    plain.load_state_dict(state)
    rows = torch.from_numpy(build("digits").inputs[:50].astype(np.float32))
    expected = plain(rows)
    torch.testing.assert_close(loaded(steady, revision).network(rows), expected)


def test_a_revision_of_a_revision_starts_from_its_statistics(
    steady: Service, lagging: Checkpoint
) -> None:
    first = steady.until_operated(steady.operate("recalibrate", lagging.id, name="first")).result
    assert first is not None
    asked = {"method": "adapt", "source_rows": 1e300, "name": "second"}
    again = steady.until_operated(steady.operate("recalibrate", first["checkpoint"], **asked))
    assert again.result is not None
    second = steady.checkpoint(again.result["checkpoint"])
    assert second.revision_of == lagging.id
    states = [
        loaded(steady, one).network.state_dict()
        for one in (steady.checkpoint(first["checkpoint"]), second)
    ]
    torch.testing.assert_close(states[0]["1.running_mean"], states[1]["1.running_mean"])


def test_what_cannot_be_done_fails_with_its_reason_and_leaves_nothing(
    steady: Service, lagging: Checkpoint
) -> None:
    other = trained(steady, **LAGGING | {"network": {"kind": "mlp", "hidden": [7]}})
    asked = {"statistics_from": other.id}
    operation = steady.until_operated(steady.operate("transplant", lagging.id, **asked))
    assert operation.state is State.FAILED
    assert operation.error is not None
    assert (operation.error["cause"], operation.error["reason"]) == ("user", "SHAPE_MISMATCH")
    steady.until_operated(steady.operate("recalibrate", lagging.id, name="taken"))
    taken = steady.until_operated(steady.operate("recalibrate", lagging.id, name="taken"))
    assert taken.error is not None
    assert taken.error["reason"] == "REVISION_NAME_TAKEN"
    files = [file.key for file in steady.files.list("revisions")]
    assert not [key for key in files for one in (operation, taken) if one.id in key]


def test_an_operation_whose_process_is_killed_is_done_once(steady: Service) -> None:
    service, checkpoint = steady, trained(steady, **LAGGING)
    # Batches of two rows make it take a while.
    operation_id = service.operate("recalibrate", checkpoint.id, batch_rows=2)
    pid = until(lambda: service.operation(operation_id).pid)
    os.kill(pid, signal.SIGKILL)
    operation = service.until_operated(operation_id)
    assert operation.state is State.SUCCEEDED
    assert operation.attempts == 2
    made = service.database.read(lambda c: revisions.page(c, checkpoint.id)).data
    assert [one.operation_id for one in made] == [operation_id]


def test_an_operation_that_kills_its_process_again_and_again_fails(steady: Service) -> None:
    service, checkpoint = steady, trained(steady, **LAGGING)
    operation_id = service.operate("recalibrate", checkpoint.id, batch_rows=2)
    seen: set[int] = set()
    while not service.operation(operation_id).ended:
        pid = service.operation(operation_id).pid
        if pid is not None and pid not in seen:
            seen.add(pid)
            os.kill(pid, signal.SIGKILL)
    operation = service.operation(operation_id)
    assert operation.error is not None
    assert operation.error["reason"] == "POISON_OPERATION"
    assert len(seen) == service.settings.max_crashes + 1


def test_statistics_that_no_revision_names_are_swept(steady: Service, lagging: Checkpoint) -> None:
    operation = steady.until_operated(steady.operate("recalibrate", lagging.id))
    assert operation.result is not None
    named = steady.checkpoint(operation.result["checkpoint"]).statistics_key
    assert named is not None
    path: Path = steady.files.local(named)
    dead = path.with_name("e99.safetensors")
    dead.write_bytes(path.read_bytes())
    for one in (path, dead):
        os.utime(one, (0, 0))

    sweep(Services(steady.settings, steady.database, steady.files, steady.hints))
    assert path.exists()
    assert not dead.exists()


@pytest.fixture(scope="module")
def mortal(shared_redis: Any) -> Iterator[tuple[Service, Checkpoint]]:
    """A service whose worker each test may end and must start again, and a checkpoint."""
    opened = opened_service(shared_redis.url)
    opened.start_worker()
    yield opened, trained(opened, **LAGGING)
    opened.close()


def test_an_operation_whose_worker_is_killed_is_done_by_the_next(
    mortal: tuple[Service, Checkpoint],
) -> None:
    service, checkpoint = mortal
    operation_id = service.operate("recalibrate", checkpoint.id, batch_rows=2)
    until(lambda: service.operation(operation_id).pid)
    service.workers[-1].kill()
    service.workers[-1].wait()
    service.start_worker()
    operation = service.until_operated(operation_id)
    assert (operation.state, operation.attempts) == (State.SUCCEEDED, 2)


def test_an_operation_is_given_back_when_its_worker_ends(
    mortal: tuple[Service, Checkpoint],
) -> None:
    service, checkpoint = mortal
    operation_id = service.operate("recalibrate", checkpoint.id, batch_rows=2)
    until(lambda: service.operation(operation_id).pid)
    service.workers[-1].terminate()
    service.workers[-1].wait(30)
    given_back = service.operation(operation_id)
    assert (given_back.state, given_back.crashes) == (State.QUEUED, 0)
    service.start_worker()
    assert service.until_operated(operation_id).state is State.SUCCEEDED


def test_runs_and_operations_take_turns(
    mortal: tuple[Service, Checkpoint],
) -> None:
    service, checkpoint = mortal
    service.workers[-1].terminate()
    service.workers[-1].wait(30)
    runs = [service.submit(hint=False, **LAGGING) for _ in range(3)]
    asked = [service.operate("recalibrate", checkpoint.id) for _ in range(3)]
    service.start_worker()
    assert all(service.until_operated(one).state is State.SUCCEEDED for one in asked)
    finished = [service.until_ended(one).started_at or 0 for one in runs]
    started = [service.operation(one).started_at or 0 for one in asked]
    assert min(finished) < max(started)
