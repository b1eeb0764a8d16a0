"""The same API on PostgreSQL: what could differ is what reaches the database as text."""

from typing import Any

import httpx
import numpy as np
import pytest

from api import drift
from core.settings import Settings
from tests.conftest import wait_until

SPEC: dict[str, Any] = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [5]}}
CSV = b"x,label\n" + b"1,a\n2,b\n" * 10


@pytest.fixture
def settings(shared_redis: Any, postgres_url: str, tmp_path: Any) -> Settings:
    return Settings(
        data=tmp_path,
        port=0,
        broker_url=shared_redis.url,
        database_url=postgres_url,
        min_free_bytes=0,
    )


def test_the_service_runs_on_postgresql(serve: Any, settings: Settings) -> None:
    with serve(settings) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        key = {"Idempotency-Key": "one"}
        first = client.post("/v1/runs", json=SPEC | {"labels": {"a": "ü"}}, headers=key)
        again = client.post("/v1/runs", json=SPEC | {"labels": {"a": "ü"}}, headers=key)
        assert (first.status_code, again.headers["idempotent-replay"]) == (202, "true")
        assert client.get("/v1/runs", params={"label.a": "ü"}).json()["data"] == [first.json()]
        query = {"name": "rows", "format": "csv", "target": "label"}
        uploaded = client.post("/v1/datasets", params=query, files={"file": CSV}, headers=key)
        assert uploaded.status_code == 201
        assert service.train(dataset="rows", batch_size=4)["state"] == "succeeded"
        assert client.get("/health/ready").status_code == 200
        bad = ["/v1/runs/%00", "/v1/datasets/%00", "/v1/runs?after=%00", "/v1/runs?label.a=%00"]
        bad += ["/v1/runs?state=%00", "/v1/checkpoints/%00", "/v1/datasets?after=%00"]
        for path in bad:
            assert 400 <= client.get(path).status_code < 500
        assert client.get(f"/v1/runs/{first.json()['id']}/metrics?names=%00").status_code == 200


def test_models_are_published_asked_and_watched_on_postgresql(
    serve: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "SECONDS", 0.05)
    monkeypatch.setattr(drift, "BEAT_SECONDS", 0.5)
    rows = np.random.RandomState(0).uniform(0, 16, (64, 64)).tolist()
    with (
        serve(settings) as service,
        serve(settings) as other,
        httpx.Client(base_url=f"{service.url}/v1/models", timeout=30) as client,
    ):
        checkpoint = service.train(passes=10, norm="batch")["checkpoint"]
        first = client.put("/m", json={"checkpoint": checkpoint})
        assert (first.status_code, first.json()["version"]) == (201, 1)
        assert [one["reason"] for one in first.json()["findings"]] == ["BN_STATS_LAG"]
        assert client.put("/m", json={"checkpoint": checkpoint}).json() == first.json()
        assert client.put("/m/aliases/live", json={"version": 1}).status_code == 200
        answer = client.post("/m/versions/live/predict", json={"inputs": rows}).json()
        assert (answer["model"]["name"], answer["model"]["version"]) == ("m", 1)

        def seen_elsewhere() -> Any:
            state = httpx.get(f"{other.url}/v1/models/m/drift").json()
            return state["processes"] and state["rows"] == 64

        wait_until(seen_elsewhere)
        for bad in ("/%00", "/%00/drift", "/m/drift?version=%00", "?after=%00"):
            assert 400 <= client.get(bad).status_code < 500
        assert client.delete("/m").status_code == 204
        wait_until(lambda: 'model="m"' not in httpx.get(f"{service.url}/metrics").text)
        assert client.put("/m", json={"checkpoint": checkpoint}).json()["version"] == 2
