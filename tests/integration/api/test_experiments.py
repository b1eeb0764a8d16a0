"""Experiments over HTTP: asked for, checked, followed, read, cancelled and deleted."""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import httpx
import pytest

from core import experiments, runs, workers
from core.workers import Worker
from model.lab.catalogue import EXPERIMENTS
from model.lab.experiment import Experiment, Params, PlannedRun, spec_of
from tests.conftest import wait_until

BASE: dict[str, Any] = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [5]}}
PAIR: dict[str, Any] = {"kind": "pair", "params": {"base": BASE}, "seeds": [0, 1]}
LABELS = {f"label-{i}": "text" for i in range(32)}  # as many as a run may have
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def post(client: httpx.Client, query: str = "", **changes: Any) -> httpx.Response:
    return client.post(f"/v1/experiments{query}", json=PAIR | changes)


def refusal(client: httpx.Client, **changes: Any) -> tuple[int, str, list[str]]:
    answer = post(client, **changes)
    told = answer.json()
    return answer.status_code, told["reason"], [one["path"] for one in told.get("errors", ())]


def message_of(answer: httpx.Response) -> str:
    return str(answer.json()["errors"][0]["message"])


def test_every_kind_is_listed_with_its_claim_and_its_params(client: httpx.Client) -> None:
    told = client.get("/v1/experiments/kinds").json()
    assert [one["kind"] for one in told["data"]] == sorted(EXPERIMENTS)
    pair = next(one for one in told["data"] if one["kind"] == "pair")
    assert pair["object"] == "experiment_kind"
    assert pair["claim"].endswith(".")
    assert "https://" in pair["source"]
    assert pair["params"]["properties"]["factor"]["default"] == "norm"
    assert pair["default_seeds"] == [0, 1, 2]
    assert pair["effect"]["scale"] == "difference"
    assert client.get("/v1/capabilities").json()["experiments"] == sorted(EXPERIMENTS)


def test_an_experiment_that_waits_has_every_field_of_the_contract(client: httpx.Client) -> None:
    answer = post(client)
    assert answer.status_code == 202
    found = answer.json()
    assert re.fullmatch("exp_[0-9a-f]{32}", found["id"])
    assert answer.headers["location"] == f"/v1/experiments/{found['id']}"
    assert client.get(answer.headers["location"]).json() == found
    assert (found["object"], found["kind"], found["state"]) == ("experiment", "pair", "queued")
    assert found["params"]["metric"] == "test_accuracy"
    assert [(run["arm"], run["seed"], run["state"]) for run in found["runs"]] == [
        *(("none", 0, "queued"), ("batch", 0, "queued")),
        *(("none", 1, "queued"), ("batch", 1, "queued")),
    ]
    assert found["progress"] == {"step": 0, "steps": 3600, "fraction": 0, "runs": 4, "ended": 0}
    assert (found["report"], found["operation"], found["error"]) == (None, None, None)
    assert RFC_3339.fullmatch(found["created_at"])
    assert (found["started_at"], found["finished_at"]) == (None, None)


def test_its_runs_are_ordinary_ones(client: httpx.Client) -> None:
    made = post(client).json()
    its = client.get("/v1/runs", params={"experiment": made["id"]}).json()["data"]
    assert [run["id"] for run in its[::-1]] == [run["id"] for run in made["runs"]]
    last = its[0]
    assert (last["experiment"], last["labels"]) == (made["id"], {"arm": "batch"})
    assert last["name"] == "pair: batch, seed 1"
    assert (last["spec"]["norm"]["kind"], last["spec"]["seed"]) == ("batch", 1)


def test_validation_tells_every_run_and_queues_nothing(client: httpx.Client) -> None:
    before = client.get("/v1/experiments").json()
    answer = post(client, "?validate_only=true")
    assert answer.status_code == 200
    told = answer.json()
    assert [(run["arm"], run["seed"]) for run in told["runs"]] == [
        *(("none", 0), ("batch", 0), ("none", 1), ("batch", 1))
    ]
    batch = told["runs"][1]
    run = client.post("/v1/runs?validate_only=true", json=BASE | {"norm": "batch"}).json()
    for same in ("spec_hash", "parameters", "memory", "memory_bytes", "steps", "measures"):
        assert batch[same] == run[same]
    assert [layer["layer"] for layer in batch["spec"]["sizes"]] == ["0", "1", "2", "3"]
    assert 0.1 < batch["estimated_seconds"] < 60
    assert told["estimated_seconds"] >= batch["estimated_seconds"]
    assert client.get("/v1/experiments").json() == before


def test_seeds_are_0_1_and_2_unless_they_are_given(client: httpx.Client) -> None:
    body = {"kind": "pair", "params": {"base": BASE}}
    answer = client.post("/v1/experiments?validate_only=true", json=body)
    assert answer.json()["seeds"] == [0, 1, 2]


def test_a_repeated_request_makes_one_experiment(client: httpx.Client) -> None:
    key = {"Idempotency-Key": "pair-once"}
    first, again = (client.post("/v1/experiments", json=PAIR, headers=key) for _ in range(2))
    assert again.status_code == 202
    assert again.json() == first.json()
    assert again.headers["idempotent-replay"] == "true"
    other = client.post("/v1/experiments", json=PAIR | {"seeds": [0]}, headers=key)
    assert (other.status_code, other.json()["reason"]) == (422, "IDEMPOTENCY_MISMATCH")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"kind": "nothing"}, "kind"),
        ({"kind": None}, "kind"),
        ({"params": []}, "params"),
        ({"params": {"nothing": 1}}, "params.nothing"),
        ({"params": {"base": BASE, "margin": "1"}}, "params.margin"),
        ({"params": {"base": BASE, "factor": "norm..momentum"}}, "params.factor"),
        ({"params": {"base": BASE | {"seed": 3}}}, "params.base"),
        ({"params": {"base": BASE, "arms": {"one": "none"}}}, "params.arms"),
        ({"params": {"base": BASE, "scale": "paper"}}, "params.scale"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "seeds"),
        ({"seeds": [True]}, "seeds.0"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"seeds": [2**63]}, "seeds.0"),
        ({"seeds": list(range(21))}, "seeds"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_request_that_is_not_valid_is_refused_by_its_field(
    client: httpx.Client, changes: dict[str, Any], path: str
) -> None:
    assert refusal(client, **changes) == (422, "VALIDATION_FAILED", [path])


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"base": {"dataset": "digits"}}, "params.base.network"),
        ({"base": BASE | {"network": {"kind": "nothing"}}}, "params.base.network.kind"),
        (
            {"base": BASE | {"network": {"kind": "mlp", "hidden": [0]}}},
            "params.base.network.hidden.0",
        ),
        ({"base": BASE | {"batch_size": 10**6}}, "params.base.batch_size"),
        ({"base": BASE | {"dataset": "nothing"}}, "params.base.dataset"),
        ({"base": BASE | {"labels": LABELS}}, "params.base.labels"),
        ({"base": BASE, "arms": {"a": "none", "b": "nothing"}}, "params.arms.b.kind"),
        ({"base": BASE, "arms": {"a": "batch", "b": {"kind": "batch"}}}, "params.arms.b"),
        ({"base": BASE, "factor": "optimizer.lr", "arms": {"a": 1, "b": -1}}, "params.arms.b"),
        ({"base": BASE, "factor": "optimizer.nothing", "arms": {"a": 1, "b": 2}}, "params.arms.a"),
        ({"base": BASE, "factor": "network.hidden.7", "arms": {"a": 1, "b": 2}}, "params.arms.a"),
    ],
)
def test_a_planned_run_that_cannot_work_is_refused_by_the_param_it_comes_from(
    client: httpx.Client, params: dict[str, Any], path: str
) -> None:
    status, _, paths = refusal(client, params=params)
    assert (status, paths) == (422, [path])


@pytest.mark.parametrize(
    ("kind", "params", "path"),
    [
        ("affine", {"width": 4096, "depths": [64]}, "params.width"),
        ("class_sorted_batches", {"hidden": [65_536] * 4}, "params.hidden"),
        ("class_sorted_batches", {"batch_size": 50_000}, "params.batch_size"),
        ("ema_against_precise", {"high_steps": 50, "low_steps": 60}, "params.low_steps"),
        ("initialization", {"rates": [1.0]}, "params.path_rate"),
        ("initialization", {"network": {"kind": "vgg", "depth": 11}}, "params.network.image_shape"),
        ("ioffe_mnist", {"steps": 10**9, "evaluate_every": 1}, "params.evaluate_every"),
        ("larger_rate", {"small_rate": 1.0}, "params.small_rate"),
        (
            "larger_rate",
            {"trained_network": {"kind": "vgg", "depth": 11}},
            "params.trained_network.image_shape",
        ),
        ("learning_rate_range", {"multipliers": [1e-100, 1.0]}, "params.multipliers.0"),
        ("learning_rate_range", {"batch_size": 479}, "params.batch_size"),  # 1,438 rows
        ("noisy_batch_norm", {"window": [300, 50]}, "params.window"),
        ("noisy_batch_norm", {"hidden": [65_536] * 4}, "params.hidden"),
        ("normalization_batch_size", {"groups": [63, 2], "reference": 63}, "params.groups"),
        ("test_time_adaptation", {"hidden": [65_536] * 4}, "params.hidden"),
    ],
)
def test_a_kind_refuses_what_cannot_work_by_its_param(
    client: httpx.Client, kind: str, params: dict[str, Any], path: str
) -> None:
    status, _, paths = refusal(client, kind=kind, params=params)
    assert (status, paths) == (422, [path])


@pytest.mark.parametrize(
    "kind",
    [
        *("affine", "class_sorted_batches", "ema_against_precise", "ioffe_mnist", "larger_rate"),
        *("learning_rate_range", "noisy_batch_norm", "normalization_batch_size"),
        "test_time_adaptation",
    ],
)
def test_a_claim_about_accuracy_refuses_targets_that_are_numbers(
    client: httpx.Client, kind: str
) -> None:
    answer = post(client, kind=kind, params={"dataset": "gaussian_linear"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "params.dataset"
    assert "needs classes; the targets are numbers" in message_of(answer)


def test_the_label_of_the_arm_may_be_among_as_many_as_there_may_be(client: httpx.Client) -> None:
    labels = dict(list(LABELS.items())[1:]) | {"arm": "mine"}
    made = post(client, params={"base": BASE | {"labels": labels}}).json()
    run = client.get(f"/v1/runs/{made['runs'][0]['id']}").json()
    assert run["labels"] == labels | {"arm": "none"}


def test_the_refusal_of_a_run_names_its_arm(client: httpx.Client) -> None:
    wide = {"base": BASE, "factor": "batch_size", "arms": {"small": 32, "wide": 10_000}}
    answer = post(client, params=wide)
    assert message_of(answer).startswith("wide, seed 0: a batch of 10000 rows")


def test_too_many_runs_are_refused_with_the_limit(client: httpx.Client) -> None:
    rates = [0.001 * (i + 1) for i in range(32)]
    fields = {"optimizer.lr": rates, "init.gain": rates}
    answer = post(client, kind="sweep", params={"base": BASE, "fields": fields})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "params.fields"
    assert message_of(answer) == "that makes 2048 runs; an experiment has at most 512"
    assert client.get("/v1/capabilities").json()["limits"]["experiment_runs"] == 512


def test_a_body_that_is_not_json_and_one_that_has_no_type_are_refused(
    client: httpx.Client,
) -> None:
    broken = client.post(
        "/v1/experiments", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert (broken.status_code, broken.json()["reason"]) == (400, "MALFORMED_JSON")
    assert client.post("/v1/experiments", content=b"{}").status_code == 415


def test_lists_lead_from_the_newest_to_the_oldest(client: httpx.Client) -> None:
    made = [post(client).json()["id"] for _ in range(3)]
    client.post(f"/v1/experiments/{made[2]}/cancel")
    page = client.get("/v1/experiments", params={"limit": 2}).json()
    assert [one["id"] for one in page["data"]] == made[:0:-1]
    assert (page["has_more"], page["last_id"]) == (True, made[1])
    rest = client.get("/v1/experiments", params={"limit": 1, "after": page["last_id"]}).json()
    assert [one["id"] for one in rest["data"]] == made[:1]
    only = client.get("/v1/experiments", params={"state": "cancelled", "limit": 1}).json()
    assert [one["id"] for one in only["data"]] == [made[2]]
    assert client.get("/v1/experiments?state=paused").status_code == 422
    assert client.get("/v1/experiments?after=exp_1").status_code == 400


def test_progress_is_over_the_steps_of_all_runs(client: httpx.Client, service: Any) -> None:
    made = service.ask()
    first, second = (run["id"] for run in made["runs"][:2])
    service.database.write(lambda c: runs.cancel(c, first))
    service.claim(second)
    found = client.get(f"/v1/experiments/{made['id']}").json()
    assert found["state"] == "running"
    assert RFC_3339.fullmatch(found["started_at"])
    assert found["progress"] == {
        "step": 900,
        "steps": 3600,
        "fraction": 0.25,
        "runs": 4,
        "ended": 1,
    }
    assert [run["state"] for run in found["runs"]] == ["cancelled", "running", "queued", "queued"]


def test_a_report_that_is_not_there_is_a_conflict_with_the_state(client: httpx.Client) -> None:
    made = post(client).json()["id"]
    for part in ("report", "report.html", "figures/curves.svg", "tables/by-seed.csv"):
        answer = client.get(f"/v1/experiments/{made}/{part}")
        assert (answer.status_code, answer.json()["reason"]) == (409, "REPORT_NOT_READY")
        assert answer.json()["metadata"] == {"state": "queued"}
    client.post(f"/v1/experiments/{made}/cancel")
    answer = client.get(f"/v1/experiments/{made}/report")
    assert answer.json()["detail"] == "The experiment is cancelled: it has no report."


def test_what_is_not_there_is_not_found(client: httpx.Client, reported: dict[str, Any]) -> None:
    for bad in ("exp_" + "0" * 32, "run_" + "0" * 32, "x", "a%2Fb"):
        for call in (client.get, client.delete):
            answer = call(f"/v1/experiments/{bad}")
            assert (answer.status_code, answer.json()["reason"]) == (404, "EXPERIMENT_NOT_FOUND")
    at = f"/v1/experiments/{reported['id']}"
    assert client.get(f"{at}/figures/nothing.svg").json()["reason"] == "FIGURE_NOT_FOUND"
    assert client.get(f"{at}/tables/nothing.csv").json()["reason"] == "TABLE_NOT_FOUND"
    assert client.get(f"{at}/figures/curves.gif").status_code == 422
    assert client.get(f"{at}/tables/by-seed.pdf").status_code == 404


def test_a_reported_experiment_has_its_verdict_and_where_all_of_it_is(
    client: httpx.Client, reported: dict[str, Any]
) -> None:
    assert (reported["state"], reported["progress"]["fraction"]) == ("succeeded", 1.0)
    report = reported["report"]
    assert report["effect"]["value"] == pytest.approx(0.1)
    assert report["effect"]["n"] == 2
    links = report["links"]
    figures = [link for forms in links["figures"].values() for link in forms.values()]
    for link in (links["report"], links["page"], *figures, links["tables"]["by-seed"]["csv"]):
        assert client.get(link).status_code == 200
    operation = client.get(f"/v1/operations/{reported['operation']}").json()
    assert (operation["kind"], operation["experiment"]) == ("report", reported["id"])
    assert (operation["checkpoint"], operation["done"]) == (None, True)


def test_a_report_is_sent_as_it_was_written(client: httpx.Client, reported: dict[str, Any]) -> None:
    at = f"/v1/experiments/{reported['id']}"
    answer = client.get(f"{at}/report")
    told = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert (told["object"], told["experiment"]) == ("report", reported["id"])
    assert told["verdict"] == reported["report"]["verdict"]
    assert told["repeat"]["body"]["kind"] == "pair"
    for figure in told["figures"]:
        for form, link in figure["links"].items():
            sent = client.get(link)
            assert sent.headers["content-type"].startswith(
                {"svg": "image/svg", "png": "image/png", "json": "application/json"}.get(
                    form, "text/csv"
                )
            )
    assert client.get(told["figures"][0]["links"]["png"]).content[:4] == b"\x89PNG"
    assert json.loads(client.get(told["figures"][0]["links"]["json"]).content)["name"] == "curves"
    rows = list(csv.reader(io.StringIO(client.get(told["tables"][0]["links"]["csv"]).text)))
    assert rows[0] == told["tables"][0]["columns"]


def test_a_known_report_is_not_sent_again(client: httpx.Client, reported: dict[str, Any]) -> None:
    path = f"/v1/experiments/{reported['id']}/report.html"
    first = client.get(path)
    assert first.headers["content-type"] == "text/html; charset=utf-8"
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = client.head(path)
    assert (head.status_code, head.headers["etag"]) == (200, first.headers["etag"])


def test_nothing_in_a_report_can_act_in_a_browser(client: httpx.Client, service: Any) -> None:
    name = "<script>alert(1)</script>"
    params = {"base": BASE, "arms": {"none": "none", name: "batch"}}
    made = service.ask(params=params, seeds=[0])
    service.report(made)
    answer = client.get(f"/v1/experiments/{made['id']}/report.html")
    assert name not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    report = client.get(f"/v1/experiments/{made['id']}/report").json()
    svg = client.get(report["figures"][0]["links"]["svg"])
    assert name not in svg.text


def test_cancelling_ends_the_runs_and_may_be_repeated(client: httpx.Client, service: Any) -> None:
    made = service.ask()
    service.claim(made["runs"][0]["id"])
    answer = client.post(f"/v1/experiments/{made['id']}/cancel")
    assert answer.status_code == 202
    told = answer.json()
    assert told["state"] == "cancelled"
    assert [run["state"] for run in told["runs"]] == ["stopping", *["cancelled"] * 3]
    assert client.post(f"/v1/experiments/{made['id']}/cancel").json() == told


def test_what_has_its_report_cannot_be_cancelled(
    client: httpx.Client, reported: dict[str, Any]
) -> None:
    answer = client.post(f"/v1/experiments/{reported['id']}/cancel")
    assert (answer.status_code, answer.json()["reason"]) == (409, "MOVE_FORBIDDEN")
    assert answer.json()["metadata"]["state"] == "succeeded"


def test_a_run_that_the_report_needs_stays(client: httpx.Client, service: Any) -> None:
    made = service.ask(seeds=[0])
    run = made["runs"][0]["id"]
    service.database.write(lambda c: runs.cancel(c, run))
    answer = client.delete(f"/v1/runs/{run}")
    assert (answer.status_code, answer.json()["reason"]) == (409, "RUN_IN_USE")
    client.post(f"/v1/experiments/{made['id']}/cancel")
    assert client.delete(f"/v1/runs/{run}").status_code == 204
    told = client.get(f"/v1/experiments/{made['id']}").json()
    assert (told["runs"][0]["id"], told["runs"][0]["state"]) == (run, None)
    assert told["progress"]["ended"] == 2


def test_a_deleted_experiment_takes_its_files_and_leaves_its_runs(
    client: httpx.Client, service: Any, stored: Any
) -> None:
    made = service.ask(seeds=[0])
    at = f"/v1/experiments/{made['id']}"
    refused = client.delete(at)
    assert (refused.status_code, refused.json()["reason"]) == (409, "EXPERIMENT_NOT_ENDED")
    service.report(made)
    assert [key for key in stored(service) if made["id"] in key]
    assert client.delete(at).status_code == 204
    assert client.get(at).status_code == 404
    assert not [key for key in stored(service) if made["id"] in key]
    run = client.get(f"/v1/runs/{made['runs'][0]['id']}").json()
    assert (run["state"], run["experiment"]) == ("succeeded", None)


@pytest.fixture
def long_kind(monkeypatch: pytest.MonkeyPatch) -> str:
    """A kind of experiment whose runs take a CPU for days."""

    def plan(params: Params, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
        wide = {"kind": "mlp", "hidden": [2000, 2000]}
        spec = spec_of(dataset="digits", network=wide, budget={"epochs": 10_000})
        return tuple(PlannedRun("wide", seed, spec) for seed in seeds)

    kind = replace(EXPERIMENTS["pair"], kind="long", params=Params, plan=plan)
    monkeypatch.setitem(cast(dict[str, Experiment], EXPERIMENTS), "long", kind)
    return "long"


def validated(client: httpx.Client, kind: str, **params: Any) -> httpx.Response:
    body = {"kind": kind, "params": params, "seeds": [0]}
    return client.post("/v1/experiments?validate_only=true", json=body)


def test_a_published_setting_that_takes_a_cpu_for_hours_must_be_forced(
    client: httpx.Client, long_kind: str
) -> None:
    answer = validated(client, long_kind, scale="paper")
    assert (answer.status_code, answer.json()["reason"]) == (422, "EXPERIMENT_TOO_LONG")
    assert answer.json()["errors"][0]["path"] == "params.force"
    assert answer.json()["metadata"]["seconds"] > 3600
    forced = validated(client, long_kind, scale="paper", force=True)
    assert forced.json()["estimated_seconds"] > 3600
    assert validated(client, long_kind).status_code == 200


def test_a_gpu_worker_lifts_what_a_cpu_is_refused(
    client: httpx.Client, service: Any, long_kind: str
) -> None:
    gpu = Worker("worker-gpu", "host", 1, "gpu", 1, ("GPU",))
    service.database.write(lambda c: workers.beat(c, gpu))
    paper = partial(validated, client, long_kind, scale="paper")
    try:  # who is alive is remembered for a second
        wait_until(lambda: paper().status_code == 200, 5)
    finally:
        service.database.write(lambda c: workers.remove(c, gpu.id))
        wait_until(lambda: paper().status_code == 422, 5)


def test_an_experiment_goes_in_one_step_with_its_idempotency_key(
    client: httpx.Client, service: Any
) -> None:
    key = {"Idempotency-Key": "pair-again"}
    first = client.post("/v1/experiments", json=PAIR, headers=key).json()["id"]
    client.post(f"/v1/experiments/{first}/cancel")
    service.database.write(lambda c: experiments.delete(c, first))
    again = client.post("/v1/experiments", json=PAIR, headers=key)
    assert "idempotent-replay" not in again.headers
    assert again.json()["id"] != first
