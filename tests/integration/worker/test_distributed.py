"""The same worker against PostgreSQL and S3: nothing differs but settings."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from core import runs
from core.settings import Settings
from core.states import State
from model.lab.document import canonical

LONG = {"budget": {"steps": 3000}, "evaluate_every": {"steps": 500}}


@pytest.fixture
def distributed(
    open_service: Any, redis_server: Any, postgres_url: str, s3_settings: Settings
) -> Iterator[Any]:
    opened = open_service(
        redis_server.url,
        data=s3_settings.data,
        database_url=postgres_url,
        files_url=s3_settings.files_url,
        files_options=s3_settings.files_options,
    )
    opened.start_worker()
    yield opened
    opened.close()


def test_a_run_is_paused_killed_and_ends_with_the_bits_of_a_local_one(
    distributed: Any, steady: Any
) -> None:
    whole = steady.submit(**LONG)
    steady.until_ended(whole)
    run_id = distributed.submit(**LONG)
    distributed.until_step(run_id, 100)
    distributed.database.write(lambda c: runs.pause(c, run_id))
    distributed.until_state(run_id, State.PAUSED)
    distributed.database.write(lambda c: runs.resume(c, run_id))
    distributed.hints.send("cpu")
    os.kill(distributed.until_step(run_id, 200).pid, signal.SIGKILL)
    run = distributed.until_ended(run_id)
    assert (run.state, run.error) == (State.SUCCEEDED, None)
    expected = steady.tensors(whole)
    for name, tensor in distributed.tensors(run_id).items():
        assert torch.equal(tensor, expected[name]), name
    files = [file.key for file in distributed.files.list("runs")]
    assert len(files) == 1


def test_twenty_runs_finish(distributed: Any) -> None:
    ids = [distributed.submit(budget={"steps": 10}, seed=seed) for seed in range(20)]
    assert {distributed.until_ended(run_id).state for run_id in ids} == {State.SUCCEEDED}


def test_a_recalibration_makes_the_statistics_that_a_local_one_makes(
    distributed: Any, steady: Any
) -> None:
    made = []
    for service in (distributed, steady):
        run = service.until_ended(service.submit(budget={"steps": 50}))
        operation = service.until_operated(service.operate("recalibrate", run.checkpoint_id))
        assert operation.error is None
        made.append(service.checkpoint(operation.result["checkpoint"]))
    assert made[0].sha256 == made[1].sha256
    assert made[0].metrics == made[1].metrics
    assert distributed.files.size(made[0].statistics_key) < distributed.files.size(made[0].key)


def test_a_report_is_the_one_that_is_made_on_one_machine(distributed: Any, steady: Any) -> None:
    base = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [10]}}
    asked = {"base": base | {"budget": {"steps": 60}}}
    made = []
    for service in (distributed, steady):
        ended = service.until_reported(service.ask("pair", **asked).id)
        assert ended.error is None
        made.append(canonical(service.report(ended)))
    assert made[0] == made[1]
    assert [file for file in distributed.files.scratch().iterdir() if "report" in file.name] == []
