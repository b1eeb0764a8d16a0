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


def test_statistics_are_inspected_and_compared_and_measured_anew(
    client: Client, tmp_path: Path
) -> None:
    run = client.runs.create(SPEC, seed=7).wait(timeout=60)
    assert run.checkpoint is not None
    statistics = client.checkpoints.statistics(run.checkpoint, values=True)
    assert [layer.layer for layer in statistics.layers] == ["1"]
    assert statistics["1"].batches_tracked == 90
    assert len((statistics["1"].values or {})["mean"]) == statistics["1"].channels == 16
    assert client.checkpoints.diagnosis(run.checkpoint).errors == []
    assert client.checkpoints.history(run.checkpoint)["1"][-1].channels == 16
    assert run.history().run == run.id

    begun = client.checkpoints.recalibrate(run.checkpoint, rows=build("digits").inputs[:500])
    ended = begun.wait(timeout=60)
    assert (ended.state, ended.progress) == ("succeeded", 1), ended.error
    assert ended.id in {one.id for one in client.operations.list(checkpoint=run.checkpoint)}
    assert ended.result is not None
    made = client.checkpoints.get(str(ended.result.checkpoint))
    assert made.revision_of == run.checkpoint
    assert [one.id for one in client.checkpoints.revisions(run.checkpoint)] == [made.id]
    diff = client.checkpoints.diff(run.checkpoint, made.id)
    assert diff.other == made.id
    assert (diff["1"].kl_mean or 0) > 0

    answer = run.predict(np.zeros(64), revision=made.name)
    assert answer.model.statistics == made.statistics.fingerprint
    assert answer.model.revision == made.name
    client.checkpoints.delete(made.id)
    with pytest.raises(NotFound):
        client.checkpoints.get(made.id)
    with pytest.raises(Conflict) as refused:
        client.checkpoints.delete(run.checkpoint)
    assert refused.value.reason == "CHECKPOINT_OF_RUN"


def test_statistics_are_put_on_the_weights_of_another_checkpoint(client: Client) -> None:
    first, second = (client.runs.create(SPEC, seed=seed).wait(timeout=60) for seed in (1, 2))
    ended = client.checkpoints.revise(first.checkpoint, second.checkpoint, "theirs").wait(60)
    assert ended.result is not None
    made = client.checkpoints.get(str(ended.result.checkpoint))
    theirs = client.checkpoints.get(str(second.checkpoint))
    assert made.name == "theirs"
    assert made.statistics.fingerprint == theirs.statistics.fingerprint


def test_a_checkpoint_leaves_in_other_forms_and_comes_back(client: Client, tmp_path: Path) -> None:
    run = client.runs.create(SPEC, scaling="none").wait(timeout=60)
    assert run.checkpoint is not None
    exported = client.checkpoints.export(run.checkpoint, "onnx", tmp_path / "digits.onnx")
    assert exported.stat().st_size > 0
    assert list(tmp_path.iterdir()) == [exported]
    file = client.checkpoints.download(run.checkpoint, tmp_path / "weights.safetensors")
    imported = client.checkpoints.import_file(file, run.spec)
    mine = client.checkpoints.get(run.checkpoint)
    assert imported.run is None
    assert imported.statistics.fingerprint == mine.statistics.fingerprint
    assert (imported.import_report or {})["filled"] == []
    client.checkpoints.delete(imported.id)


def test_a_checkpoint_is_served_under_a_name(client: Client, tmp_path: Path) -> None:
    run = client.runs.create(SPEC).wait(timeout=60)
    assert run.checkpoint is not None
    model = client.models.put("served", run.checkpoint)
    assert client.models.put("served", run.checkpoint).version == model.version
    assert client.models.alias("served", "live", model.version).aliases == {"live": model.version}
    assert "served" in {one.name for one in client.models.list()}

    rows = build("digits").inputs[:3]
    answer = client.models.predict("served", rows, "logits", version="live")
    assert answer.logits == run.predict(rows, "logits").logits
    assert (answer.model.name, answer.model.version) == ("served", model.version)
    np.save(tmp_path / "rows.npy", rows)
    npy = tmp_path / "rows.npy"
    assert client.models.predict_file("served", npy, "application/x-npy").labels == answer.labels
    drift = client.models.drift("served")
    assert (drift.model, drift.version) == ("served", model.version)

    client.models.drop_alias("served", "live")
    assert client.models.get("served").aliases == {}
    client.models.delete("served")
    with pytest.raises(NotFound):
        client.models.get("served")


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


def test_the_twin_awaits_operations_too(client: Client, service: Any) -> None:
    run = client.runs.create(SPEC).wait(timeout=60)

    async def journey() -> None:
        async with AsyncClient(service.url) as twin:
            begun = await twin.checkpoints.recalibrate(str(run.checkpoint))
            ended = await begun.wait(timeout=60)
            assert ended.state == "succeeded"
            listed = [one.id async for one in twin.operations.list(checkpoint=run.checkpoint)]
            assert listed == [ended.id]

    asyncio.run(journey())
