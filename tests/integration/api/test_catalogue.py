"""Every kind of experiment can be asked for: its plan is checked as a request is."""

from typing import Any

import httpx
import pytest

from model.lab.catalogue import EXPERIMENTS
from model.lab.experiment import MOST_RUNS


@pytest.mark.parametrize("kind", sorted(EXPERIMENTS))
def test_a_kind_can_be_asked_for_without_any_params(kind: str, client: httpx.Client) -> None:
    answer = client.post("/v1/experiments?validate_only=true", json={"kind": kind})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert len(told["runs"]) <= MOST_RUNS
    assert {run["seed"] for run in told["runs"]} <= {0, 1, 2}


@pytest.mark.parametrize("kind", sorted(EXPERIMENTS))
def test_its_published_setting_runs_or_the_answer_names_what_it_lacks(
    kind: str, client: httpx.Client
) -> None:
    params = {"scale": "paper"}
    answer = client.post(
        "/v1/experiments?validate_only=true", json={"kind": kind, "params": params}
    )
    told = answer.json()
    if answer.status_code == 422:
        (path,) = (one["path"] for one in told["errors"])
        assert path in ["params.force", "params.scale", "params.dataset", "params.symbols"]
