"""The same API on PostgreSQL: what could differ is what reaches the database as text."""

from typing import Any

import httpx

from core.settings import Settings

SPEC: dict[str, Any] = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [5]}}
CSV = b"x,label\n" + b"1,a\n2,b\n" * 10


def test_the_service_runs_on_postgresql(
    serve: Any, shared_redis: Any, postgres_url: str, tmp_path: Any
) -> None:
    settings = Settings(
        data=tmp_path,
        port=0,
        broker_url=shared_redis.url,
        database_url=postgres_url,
        min_free_bytes=0,
    )
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
