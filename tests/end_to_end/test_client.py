import asyncio
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from evalmode import AsyncClient, Client
from evalmode.errors import Conflict, Invalid, NotFound, WaitTimeout
from model.data.builtin import build

SPEC = {
    "dataset": "digits",
    "network": {"kind": "mlp", "hidden": [16]},
    "norm": "batch",
    "budget": {"epochs": 2},
}
LONG = {**SPEC, "budget": {"steps": 20_000_000}, "evaluate_every": {"steps": 20_000_000}}


def test_a_run_from_submission_to_deletion(client: Client, tmp_path: Path) -> None:
    run = client.runs.create(SPEC, name="short", labels={"test": "journey"})
    ended = run.wait(timeout=60)
    assert (ended.state, ended.outcome) == ("succeeded", "completed")
    assert ended.progress.fraction == 1
    assert [found.id for found in client.runs.list(labels={"test": "journey"})] == [run.id]
    assert run.series("train_loss", "test_accuracy")["test_accuracy"].steps == [45, 90]

    (checkpoint,) = run.checkpoints()
    assert checkpoint.id == ended.checkpoint
    path = client.checkpoints.download(checkpoint.id, tmp_path / "weights.safetensors")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == checkpoint.sha256
    assert "1.running_mean" in load_file(path)

    rows = build("digits").inputs[:3]
    answer = run.predict(rows, "probabilities")
    assert answer.model.mode == "eval"
    assert answer.model.statistics == checkpoint.statistics.fingerprint
    assert answer.labels == run.predict(rows.tolist()).labels
    np.testing.assert_allclose(np.array(answer.probabilities, float).sum(axis=1), 1)

    run.delete()
    with pytest.raises(NotFound):
        run.refresh()


def test_events_are_followed_to_the_end_and_read_again(client: Client) -> None:
    run = client.runs.create(SPEC)
    followed = [event.type for event in run.events(stream=True)]
    assert followed[0] == "queued"
    assert followed[-1] == "succeeded"
    assert [event.type for event in run.events()] == followed
    assert [event.type for event in run.events(after=1)] == followed[1:]


def test_a_run_is_paused_resumed_and_cancelled(client: Client) -> None:
    run = client.runs.create(LONG)
    with pytest.raises(WaitTimeout):
        run.wait(timeout=0.3)
    run.pause()
    wait_for(run, "paused")
    run.resume()
    run.cancel()
    assert run.wait(timeout=30).state == "cancelled"
    with pytest.raises(Conflict) as refused:
        run.resume()
    assert refused.value.metadata["state"] == "cancelled"


def wait_for(run: Any, state: str) -> None:
    for event in run.events(stream=True):
        if event.type == state:
            return
    raise AssertionError(f"never {state}")


def test_one_key_is_one_run(client: Client) -> None:
    runs = [client.runs.create(SPEC, idempotency_key="once") for _ in range(2)]
    assert runs[0].id == runs[1].id


def test_a_bad_spec_names_its_field_and_a_good_one_is_counted(client: Client) -> None:
    with pytest.raises(Invalid) as refused:
        client.runs.create(SPEC, batch_size=0)
    assert refused.value.errors[0]["path"] == "batch_size"
    assert client.runs.check(SPEC).parameters == 64 * 16 + 16 + 2 * 16 + 16 * 10 + 10


def test_a_dataset_is_uploaded_listed_and_deleted(client: Client, tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    table.write_text("x,y,label\n" + "0,1,a\n2,3,b\n" * 20)
    made = client.datasets.upload(table, target="label")
    assert (made.name, made.rows, made.classes) == ("points", 40, ("a", "b"))
    assert made.id in {dataset.id for dataset in client.datasets.list()}
    assert client.datasets.get(made.id).fingerprint == made.fingerprint
    client.datasets.delete(made.id)
    with pytest.raises(NotFound):
        client.datasets.get(made.id)


def test_a_bad_dataset_says_where(client: Client, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("x,label\n1,a\noops,b\n")
    with pytest.raises(Invalid, match="row"):
        client.datasets.upload(tmp_path / "bad.csv", target="label")


def test_the_service_tells_what_it_can_do(client: Client) -> None:
    assert "digits" in client.capabilities()["datasets"]


def test_the_twin_that_awaits_does_the_same(client: Client, service: Any) -> None:
    async def journey() -> None:
        async with AsyncClient(service.url) as twin:
            runs = await asyncio.gather(*(twin.runs.create(SPEC, seed=seed) for seed in (1, 2)))
            ended = await asyncio.gather(*(run.wait(timeout=60) for run in runs))
            assert [run.state for run in ended] == ["succeeded"] * 2
            kinds = [event.type async for event in ended[0].events(stream=True)]
            assert kinds[-1] == "succeeded"
            answer = await ended[0].predict(np.zeros(64))
            assert answer.model.mode == "eval"
            listed = [run.id async for run in twin.runs.list()]
            assert {run.id for run in runs} <= set(listed)

    asyncio.run(journey())
