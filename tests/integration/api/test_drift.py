"""What is asked of a model is compared with its training, over requests and over processes."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import select, text

from api import drift
from api.serving.windows import Windows
from api.stored import load
from core import checkpoints
from core.database import Database
from core.drift import FORGET_SECONDS
from core.errors import DatabaseUnavailable
from core.models import Version
from core.settings import Settings
from core.tables import drift_states
from model.data.builtin import build
from model.predict import Predictor
from tests.conftest import wait_until

DIGITS = np.random.default_rng(0).permutation(build("digits").inputs).astype(np.float32)
HEADERS = {"Content-Type": "application/octet-stream"}


def ask(client: httpx.Client, path: str, rows: np.ndarray, by: int = 16) -> None:
    for start in range(0, len(rows), by):
        part = rows[start : start + by]
        headers = HEADERS | {"X-Shape": f"{len(part)},64"}
        answer = client.post(f"{path}/predict", content=part.tobytes(), headers=headers)
        assert answer.status_code == 200, answer.text


def told(client: httpx.Client, name: str, **query: Any) -> dict[str, Any]:
    answer = client.get(f"/v1/models/{name}/drift", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def publish(client: httpx.Client) -> Callable[[str], str]:
    """Serve a checkpoint under a name of its own."""

    def put(checkpoint: str) -> str:
        name = f"d-{secrets.token_hex(6)}"
        assert client.put(f"/v1/models/{name}", json={"checkpoint": checkpoint}).status_code == 201
        return name

    return put


@pytest.fixture
def name(publish: Callable[[str], str], sound: dict[str, Any]) -> str:
    """A model that can be judged."""
    return publish(sound["checkpoint"])


def test_a_model_that_nobody_has_asked_is_filling(
    client: httpx.Client, name: str, sound: dict[str, Any]
) -> None:
    state = told(client, name)
    assert (state["object"], state["model"], state["version"]) == ("drift", name, 1)
    assert (state["checkpoint"], state["state"]) == (sound["checkpoint"], "filling")
    assert (state["window_rows"], state["rows"], state["alarm"]) == (0, 0, None)
    assert (state["sizes"], state["largest_window"]) == ([32, 64, 128], 128)
    assert (state["layers"], state["processes"]) == ([], [])
    assert "32 rows" in state["message"]


def test_rows_like_those_of_training_are_quiet_and_others_an_alarm(
    client: httpx.Client, name: str
) -> None:
    ask(client, f"/v1/models/{name}", DIGITS[:128])
    quiet = told(client, name)
    assert (quiet["state"], quiet["window_rows"]) == ("quiet", 128)
    ask(client, f"/v1/models/{name}", 16 - DIGITS[:64])
    mixed = told(client, name)
    assert (mixed["state"], mixed["window_rows"]) == ("alarm", 128)
    assert mixed["alarm"] > 1 >= quiet["alarm"]
    [layer] = mixed["layers"]
    assert (layer["layer"], layer["score"] > layer["threshold"]) == ("1", True)
    assert layer["top_channels"][0] == layer["largest_channel"]
    assert len(layer["top_channels"]) == 5
    assert [one["label"] for one in mixed["predicted_classes"]] == [str(n) for n in range(10)]
    assert sum(one["rows"] for one in mixed["predicted_classes"]) == 128
    assert "differ from the training statistics" in mixed["message"]
    assert "mixture of classes" in mixed["message"]
    [process] = mixed["processes"]
    assert (process["state"], process["alarm"]) == ("alarm", mixed["alarm"])


def test_another_mixture_of_classes_fires_and_is_seen_beside_it(
    client: httpx.Client, name: str
) -> None:
    digits = build("digits")
    ones = digits.inputs[digits.targets == 1].astype(np.float32)[:128]
    ask(client, f"/v1/models/{name}", ones)
    assert told(client, name)["state"] == "alarm"


def test_only_what_is_asked_by_the_models_name_with_its_own_statistics_counts(
    client: httpx.Client, service: Any, name: str, sound: dict[str, Any]
) -> None:
    revision = service.add_revision(sound["checkpoint"], name=f"r-{name}")
    ask(client, f"/v1/runs/{sound['id']}", DIGITS[:128])
    headers = HEADERS | {"X-Shape": "128,64"}
    answer = client.post(
        f"/v1/models/{name}/predict",
        content=DIGITS[:128].tobytes(),
        headers=headers,
        params={"revision": f"r-{name}"},
    )
    assert answer.json()["model"]["checkpoint"] == revision
    assert told(client, name)["processes"] == []


def test_every_version_has_a_window_of_its_own(
    client: httpx.Client, service: Any, name: str
) -> None:
    ask(client, f"/v1/models/{name}", DIGITS[:64])
    later = service.train(passes=50, norm="batch")["checkpoint"]
    client.put(f"/v1/models/{name}", json={"checkpoint": later})
    client.put(f"/v1/models/{name}/aliases/live", json={"version": 1})
    newest = told(client, name)
    assert (newest["version"], newest["state"], newest["rows"]) == (2, "filling", 0)
    for which in ("1", "live"):
        first = told(client, name, version=which)
        assert (first["version"], first["rows"]) == (1, 64)
    for which in ("3", "unknown", "0", "\x00"):
        answer = client.get(f"/v1/models/{name}/drift", params={"version": which})
        assert (answer.status_code, answer.json()["reason"]) == (404, "MODEL_VERSION_NOT_FOUND")


def test_a_window_stays_while_other_networks_push_its_own_out_of_memory(
    serve: Any, shared_redis: Any, tmp_path: Any
) -> None:
    settings = Settings(
        data=tmp_path, port=0, broker_url=shared_redis.url, min_free_bytes=0, loaded_networks=1
    )
    with serve(settings) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        for model in ("a", "b"):
            checkpoint = service.train(passes=40, norm="batch")["checkpoint"]
            client.put(f"/v1/models/{model}", json={"checkpoint": checkpoint})
        for start in range(0, 128, 32):
            for model in ("a", "b"):
                ask(client, f"/v1/models/{model}", DIGITS[start : start + 32])
        states = [told(client, model) for model in ("a", "b")]
        assert [state["window_rows"] for state in states] == [128, 128]
        assert [state["state"] for state in states] == ["quiet", "quiet"]


def test_what_has_no_thresholds_is_uncalibrated_and_says_why(
    client: httpx.Client, service: Any, publish: Callable[[str], str], npz: Any
) -> None:
    rows = np.random.RandomState(1).standard_normal((100, 64)).astype(np.float32)
    body = npz(inputs=rows, targets=np.arange(100) % 2)
    client.post("/v1/datasets?name=few&format=npz", files={"file": body})
    few = service.train(passes=40, dataset="few", norm="batch", batch_size=4)["checkpoint"]
    none = service.train(norm="none")["checkpoint"]
    for checkpoint, why in ((few, "there were 100"), (none, "no thresholds")):
        name = publish(checkpoint)
        for _ in range(2):
            state = told(client, name)
            assert (state["state"], state["alarm"], state["sizes"]) == ("uncalibrated", None, [])
            assert why in state["message"]
            ask(client, f"/v1/models/{name}", rows + 5)


def test_a_deleted_model_is_forgotten(client: httpx.Client, name: str, sound: Any) -> None:
    ask(client, f"/v1/models/{name}", DIGITS[:64])
    assert f'model="{name}"' in client.get("/metrics").text
    client.delete(f"/v1/models/{name}")
    assert f'model="{name}"' not in client.get("/metrics").text
    client.put(f"/v1/models/{name}", json={"checkpoint": sound["checkpoint"]})
    assert (told(client, name)["version"], told(client, name)["rows"]) == (2, 0)


def test_prometheus_has_alarm_and_rows(client: httpx.Client, name: str) -> None:
    ask(client, f"/v1/models/{name}", 16 - DIGITS[:64])
    alarm = told(client, name)["alarm"]
    labels = f'{{model="{name}",version="1"}}'
    lines = client.get("/metrics").text.splitlines()
    assert f"evalmode_drift_alarm{labels} {alarm}" in lines
    assert f"evalmode_drift_window_rows{labels} 64.0" in lines
    assert f"evalmode_model_predictions_total{labels} 4.0" in lines


def test_only_what_has_changed_is_written_again(
    service: Any, name: str, sound: dict[str, Any]
) -> None:
    record = service.database.read(lambda c: checkpoints.get(c, sound["checkpoint"]))
    version = Version(name, 1, record.id, 0.0)
    predictor, windows = Predictor(load(service.files, record)), Windows()
    mine = drift.Drift(service.database, windows)
    its = select(drift_states.c.beat_at).where(drift_states.c.process == mine.process)

    def written() -> float | None:
        asyncio.run(mine.publish())
        at: float | None = service.database.read(lambda c: c.execute(its).scalar())
        return at

    assert written() is None
    windows.watched(version, predictor).logits(DIGITS[:32])
    first = written()
    assert first is not None
    assert written() == first
    windows.watched(version, predictor).logits(DIGITS[:32])
    assert written() > first
    asyncio.run(mine.close())
    assert service.database.read(lambda c: c.execute(its).scalar()) is None


def test_what_could_not_be_written_is_written_later(
    service: Any, name: str, sound: dict[str, Any], tmp_path: Any
) -> None:
    record = service.database.read(lambda c: checkpoints.get(c, sound["checkpoint"]))
    windows, database = Windows(), Database(f"sqlite:///{tmp_path}/empty.db")
    predictor = Predictor(load(service.files, record))
    windows.watched(Version(name, 1, record.id, 0.0), predictor).logits(DIGITS[:32])
    mine = drift.Drift(database, windows)
    with database:
        with pytest.raises(DatabaseUnavailable):  # it has no tables yet
            asyncio.run(mine.publish())
        database.migrate()
        asyncio.run(mine.publish())
        assert windows.all() == {}  # there is no such model, so its window has gone


@pytest.fixture
def pair(
    serve: Any, shared_redis: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, httpx.Client, httpx.Client]]:
    """Two API processes on the same records, which tell each other at once."""
    monkeypatch.setattr(drift, "SECONDS", 0.05)
    monkeypatch.setattr(drift, "BEAT_SECONDS", 0.5)
    settings = Settings(data=tmp_path, port=0, broker_url=shared_redis.url, min_free_bytes=0)
    with (
        serve(settings) as service,
        serve(settings) as other,
        httpx.Client(base_url=service.url, timeout=30) as first,
        httpx.Client(base_url=other.url, timeout=30) as second,
    ):
        checkpoint = service.train(passes=40, norm="batch")["checkpoint"]
        first.put("/v1/models/shared", json={"checkpoint": checkpoint})
        yield service, first, second


def test_whoever_is_asked_tells_of_every_process_and_of_the_largest_alarm(
    pair: tuple[Any, httpx.Client, httpx.Client],
) -> None:
    _, first, second = pair
    ask(first, "/v1/models/shared", 16 - DIGITS[:64])
    wait_until(lambda: len(told(second, "shared")["processes"]) == 1)
    ask(second, "/v1/models/shared", DIGITS[:128])

    def all_said() -> bool:
        both = [told(client, "shared") for client in (first, second)]
        rows = [sorted(one["rows"] for one in state["processes"]) for state in both]
        return rows == [[64, 128]] * 2

    wait_until(all_said)
    states = [told(client, "shared") for client in (first, second)]
    assert states[0] == states[1]
    assert (states[0]["state"], states[0]["rows"]) == ("alarm", 64)
    assert {one["state"] for one in states[0]["processes"]} == {"alarm", "quiet"}


def test_a_model_that_another_process_deletes_is_watched_no_more(
    pair: tuple[Any, httpx.Client, httpx.Client],
) -> None:
    _, first, second = pair
    ask(first, "/v1/models/shared", DIGITS[:32])
    wait_until(lambda: len(told(second, "shared")["processes"]) == 1)
    second.delete("/v1/models/shared")
    gone = first.post("/v1/models/shared/predict", json={"inputs": DIGITS[:1].tolist()})
    assert gone.status_code == 404
    wait_until(lambda: 'model="shared"' not in first.get("/metrics").text)


def test_a_process_that_ends_takes_its_windows_along(
    serve: Any, shared_redis: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "SECONDS", 0.05)
    settings = Settings(data=tmp_path, port=0, broker_url=shared_redis.url, min_free_bytes=0)

    def written(service: Any) -> int:
        query = text("SELECT count(*) FROM drift_states")
        count: int = service.database.read(lambda c: c.execute(query).scalar_one())
        return count

    with serve(settings) as service:
        with serve(settings) as other, httpx.Client(base_url=other.url, timeout=30) as client:
            checkpoint = other.train(passes=40, norm="batch")["checkpoint"]
            client.put("/v1/models/m", json={"checkpoint": checkpoint})
            ask(client, "/v1/models/m", DIGITS[:32])
            wait_until(lambda: written(service) == 1)
        assert written(service) == 0


def test_a_process_that_was_killed_is_believed_for_a_few_missed_words_alone() -> None:
    """It can take back nothing, and its alarm would be the one that is told of."""
    assert 3 * drift.BEAT_SECONDS <= FORGET_SECONDS <= 5 * drift.BEAT_SECONDS


def test_predictions_go_on_when_nothing_can_be_told_to_others(
    pair: tuple[Any, httpx.Client, httpx.Client],
) -> None:
    service, first, second = pair
    away = text("ALTER TABLE drift_states RENAME TO away")
    service.database.write(lambda c: c.execute(away) and None)
    ask(first, "/v1/models/shared", DIGITS[:32])
    assert 'window_rows{model="shared",version="1"} 32.0' in first.get("/metrics").text
    time.sleep(10 * drift.SECONDS)  # it has tried
    back = text("ALTER TABLE away RENAME TO drift_states")
    service.database.write(lambda c: c.execute(back) and None)
    wait_until(lambda: len(told(second, "shared")["processes"]) == 1)
