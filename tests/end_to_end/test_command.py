import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from typer.testing import CliRunner, Result

from evalmode.client import Client
from evalmode.command import app
from model.data.builtin import build


def call(service: Any, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--url", service.url])


def test_a_run_is_submitted_watched_and_asked_from_the_command_line(
    service: Any, tmp_path: Path
) -> None:
    flags = ["--dataset", "wine", "--hidden", "8", "--norm", "batch", "--epochs", "3"]
    watched = call(service, "submit", *flags, "--name", "cli", "--watch", "--json")
    assert watched.exit_code == 0, watched.output
    run = json.loads(watched.stdout)
    assert (run["state"], run["name"]) == ("succeeded", "cli")

    again = call(service, "watch", run["id"])
    assert again.exit_code == 0
    assert again.stdout.splitlines()[-1].endswith(f"checkpoint {run['checkpoint']}")

    rows = build("wine").inputs[:2]
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",")
    np.save(tmp_path / "rows.npy", rows)
    answers = [call(service, "predict", run["id"], str(p)).stdout for p in tmp_path.iterdir()]
    assert answers[0] == answers[1]
    first, second, model = answers[0].splitlines()
    assert first.startswith("0  class_")
    assert second.startswith("1  class_")
    assert model.startswith(f"mode eval, checkpoint {run['checkpoint']}, statistics sha256:")


def test_a_refused_run_is_told_in_words(service: Any) -> None:
    refused = call(service, "submit", "--dataset", "wine", "--hidden", "0")
    assert refused.exit_code == 1
    assert "network.hidden.0" in refused.stderr


def test_statistics_that_lag_are_diagnosed_and_repaired(
    service: Any, client: Client, tmp_path: Path
) -> None:
    spec = {
        "dataset": "digits",
        "scaling": "none",
        "network": {"kind": "mlp", "hidden": [100]},
        "norm": {"kind": "batch", "momentum": 0.001},
        "budget": {"steps": 300},
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    watched = call(service, "submit", str(tmp_path / "spec.json"), "--watch", "--json")
    run = json.loads(watched.stdout)

    found = call(service, "diagnose", run["id"])
    assert found.exit_code == 0, found.output
    assert "warning  BN_STATS_LAG  layer 1" in found.stdout.splitlines()

    repaired = call(service, "recalibrate", run["id"], "--name", "fresh")
    assert repaired.exit_code == 0, repaired.output
    *_, accuracy, gap, made = repaired.stdout.splitlines()
    before, after = (float(number) for number in accuracy.split()[1::2])
    assert after - before > 0.05
    assert gap.endswith("points")
    assert made.split()[1] != run["checkpoint"]
    assert client.checkpoints.get(made.split()[1]).name == "fresh"

    taken = call(service, "recalibrate", run["checkpoint"], "--name", "fresh")
    assert taken.exit_code == 1
    assert "evalmode:" in taken.stderr


def test_a_run_without_a_checkpoint_is_said_to_have_none(service: Any, client: Client) -> None:
    long = {"steps": 20_000_000}
    spec = {"dataset": "wine", "network": {"kind": "mlp"}, "budget": long, "evaluate_every": long}
    run = client.runs.create(spec)
    refused = call(service, "diagnose", run.id)
    run.cancel()
    assert refused.exit_code == 1
    assert "has no checkpoint yet" in refused.stderr


def test_an_experiment_is_run_to_its_verdict_and_its_page(service: Any, tmp_path: Path) -> None:
    base = {"dataset": "wine", "network": {"kind": "mlp", "hidden": [8]}, "budget": {"epochs": 2}}
    page = tmp_path / "report.html"
    words = ["pair", "--set", f"base={json.dumps(base)}", "--seeds", "0,1", "--out", str(page)]
    ran = call(service, "lab", "run", *words)
    assert ran.exit_code == 0, ran.output
    *progress, claim, verdict, effect, found, report = ran.stdout.splitlines()
    assert progress[-1].startswith("pair  succeeded  4/4 runs")
    assert claim.startswith("claim ")
    assert verdict.split()[1] in {"supports", "contradicts", "inconclusive"}
    assert "n = 2" in effect
    assert found.startswith("found ")
    assert report == f"report   {page}"
    assert page.read_text().startswith("<!doctype html>")

    experiment = httpx.get(f"{service.url}/v1/experiments").json()["data"][0]["id"]
    told = call(service, "lab", "report", experiment, "--json")
    assert json.loads(told.stdout)["experiment"] == experiment
    assert "pair " in call(service, "lab", "list").stdout


def test_an_experiment_that_cannot_work_is_refused_by_its_param(service: Any) -> None:
    refused = call(service, "lab", "run", "pair", "--set", "factor=nothing")
    assert refused.exit_code == 1
    assert "params.arms.none" in refused.stderr


def test_a_setting_reaches_into_what_the_kind_has_by_default(service: Any, tmp_path: Path) -> None:
    words = ["--set", "base.network.hidden=[4]", "--set", "base.budget.epochs=1", "--seeds", "0"]
    ran = call(service, "lab", "run", "pair", *words, "--json")
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert told["params"]["base"]["dataset"] == "digits"
    assert told["params"]["base"]["network"] == {"kind": "mlp", "hidden": [4]}


def test_what_the_service_can_do_is_printed(service: Any) -> None:
    assert "batch" in json.loads(call(service, "capabilities").stdout)["norms"]
