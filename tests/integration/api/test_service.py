"""Health, metrics and capabilities, and what happens while something they need is away."""

import sqlite3
import time
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from core import workers
from core.settings import Settings
from core.tables import events, run_labels, runs
from core.workers import Worker


def test_live_asks_nothing_of_anybody(client: httpx.Client) -> None:
    assert client.get("/health/live").json() == {"status": "live"}


def test_ready_reports_broker_and_workers(client: httpx.Client, service: Any) -> None:
    worker = Worker("worker-ready", "host", 1, "gpu", 2, ("A", "B"))
    service.database.write(lambda c: workers.beat(c, worker))
    assert client.get("/health/ready").json() == {
        "status": "ready",
        "broker": True,
        "workers": {"cpu": 0, "gpu": 1},
    }
    devices = client.get("/v1/capabilities").json()["devices"]
    service.database.write(lambda c: workers.remove(c, worker.id))
    assert devices == [
        {"kind": "cuda", "worker": worker.id, "host": "host", "slots": 2, "names": ["A", "B"]}
    ]


def test_capabilities_name_what_specs_may_say_and_every_limit(client: httpx.Client) -> None:
    found = client.get("/v1/capabilities").json()
    networks = {"mlp", "layers", "resnet", "deep_linear", "residual_mlp", "vgg"}
    assert networks == set(found["networks"])
    batch_norms = {"batch", "noisy_batch", "ghost_batch", "batch_renorm"}
    assert batch_norms | {"none", "noise", "lp", "layer", "group", "instance"} == set(
        found["norms"]
    )
    assert {"digits", "spirals"} <= set(found["datasets"])
    assert {"csv", "parquet", "npz", "idx", "image_zip", "text"} == set(found["formats"])
    limits = found["limits"]
    assert limits["control_body_bytes"] == 2**20
    assert limits["prediction_body_bytes"] == 32 * 2**20
    assert limits["upload_body_bytes"] == 2**30
    assert limits["drift_windows"] == 64


def test_metrics_count_requests_by_route_and_runs_by_state(
    client: httpx.Client, service: Any
) -> None:
    service.submit()
    client.get("/v1/runs/" + "x" * 50)
    text = client.get("/metrics").text
    assert 'evalmode_runs{state="queued"}' in text
    assert 'method="GET",route="/v1/runs/{run_id}",status="404"' in text
    assert "x" * 50 not in text
    assert "evalmode_queue_depth" in text
    assert "evalmode_runs_accepted_total" in text
    assert "evalmode_prediction_seconds_count" in text


def test_a_service_that_starts_has_no_runs_and_no_events(
    serve: Any, shared_redis: Any, tmp_path: Any
) -> None:
    settings = Settings(data=tmp_path, port=0, broker_url=shared_redis.url)
    with serve(settings) as service:
        for table in (runs, events, run_labels):
            assert service.database.read(lambda c, t=table: c.execute(select(t)).all()) == []


def test_a_broker_that_is_away_refuses_nothing(serve: Any, own_redis: Any, tmp_path: Any) -> None:
    own_redis.kill()
    settings = Settings(data=tmp_path, port=0, broker_url=own_redis.url, min_free_bytes=0)
    with serve(settings) as service:
        ready = httpx.get(f"{service.url}/health/ready")
        assert (ready.status_code, ready.json()["broker"]) == (200, False)
        assert service.submit()["state"] == "queued"


def test_a_hanging_broker_does_not_slow_a_submission(
    serve: Any, own_redis: Any, tmp_path: Any
) -> None:
    settings = Settings(data=tmp_path, port=0, broker_url=own_redis.url, min_free_bytes=0)
    with serve(settings) as service:
        own_redis.freeze()
        for _ in range(3):
            answer = httpx.post(
                f"{service.url}/v1/runs",
                json={"dataset": "digits", "network": {"kind": "mlp"}},
                timeout=2,
            )
            assert answer.status_code == 202
        own_redis.kill()


def test_a_low_disk_refuses_work_and_says_so(serve: Any, shared_redis: Any, tmp_path: Any) -> None:
    settings = Settings(data=tmp_path, port=0, broker_url=shared_redis.url, min_free_bytes=2**53)
    with serve(settings) as service, httpx.Client(base_url=service.url) as client:
        spec = {"dataset": "digits", "network": {"kind": "mlp"}}
        upload = {"params": {"name": "x", "format": "csv"}, "files": {"file": b"x"}}
        answers = [
            client.get("/health/ready"),
            client.post("/v1/runs", json=spec),
            client.post("/v1/datasets", **upload),
        ]
        for answer in answers:
            assert (answer.status_code, answer.json()["reason"]) == (503, "DISK_LOW")
            assert int(answer.headers["retry-after"]) > 0
        assert client.get("/health/live").status_code == 200
        assert client.get("/v1/runs").status_code == 200


def test_a_full_queue_refuses_runs(serve: Any, shared_redis: Any, tmp_path: Any) -> None:
    settings = Settings(
        data=tmp_path, port=0, broker_url=shared_redis.url, min_free_bytes=0, queue_limit=3
    )
    with serve(settings) as service:
        for _ in range(3):
            service.submit()
        spec = {"dataset": "digits", "network": {"kind": "mlp"}}
        answer = httpx.post(f"{service.url}/v1/runs", json=spec)
        assert (answer.status_code, answer.json()["reason"]) == (503, "QUEUE_FULL")
        assert 5 <= int(answer.headers["retry-after"]) <= 10
        assert answer.json()["metadata"] == {"limit": 3}


def test_a_database_that_cannot_be_written_is_told_before_a_probe_gives_up(
    serve: Any, shared_redis: Any, tmp_path: Any
) -> None:
    settings = Settings(data=tmp_path, port=0, broker_url=shared_redis.url, min_free_bytes=0)
    with serve(settings) as service:
        other = sqlite3.connect(tmp_path / "evalmode.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        answer = httpx.get(f"{service.url}/health/ready", timeout=20)
        assert time.monotonic() - started < 10
        other.execute("ROLLBACK")
        other.close()
        assert (answer.status_code, answer.json()["reason"]) == (503, "DATABASE_UNAVAILABLE")
        assert httpx.get(f"{service.url}/health/ready", timeout=40).status_code == 200


def test_a_database_that_is_gone_is_503_and_the_process_still_lives(
    serve: Any, shared_redis: Any, tmp_path: Any
) -> None:
    settings = Settings(data=tmp_path, port=0, broker_url=shared_redis.url, min_free_bytes=0)
    with serve(settings) as service, httpx.Client(base_url=service.url) as client:
        service.submit()
        for path in tmp_path.glob("evalmode.db*"):
            path.unlink()
        (tmp_path / "evalmode.db").mkdir()
        answer = client.get("/v1/runs")
        assert answer.status_code in {200, 503}  # an open connection may still see the old file
        assert client.get("/health/live").status_code == 200
        (tmp_path / "evalmode.db").rmdir()


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_the_api_is_described(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200
