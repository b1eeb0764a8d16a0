"""A report as one document, and what of it comes out the same again."""

import csv
import io
import json
import shlex
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from model.figures.charts import Curve, Curves, Figure
from model.lab.catalogue import EXPERIMENTS
from model.lab.document import (
    Environment,
    TrainedRun,
    canonical,
    document,
    summary,
    table_csv,
)
from model.lab.pair import EXPERIMENT
from model.lab.report import Report, Table
from model.lab.results import RunResult, Series
from model.lab.verdict import OfSeed, judge
from model.spec import RunSpec

BASE: dict[str, Any] = {"dataset": "wine", "network": {"kind": "mlp", "hidden": [5]}}
PARAMS = EXPERIMENT.params.model_validate({"base": BASE, "arms": {"a b": "none", "c'd": "batch"}})
ENVIRONMENT = Environment("a CPU", "2.13.0", 1)
TABLE = Table("by-seed", "Accuracy", ("arm", "mean"), (("a, b", nan), ("c", None), ("d", -inf)))
FIGURE = Figure(
    *("curves", "Curves", "It rises."),
    (Curves("", "steps", "accuracy", (Curve("a", (1, 2), (0.1, nan), "none"),)),),
    notes=("Every 2nd point.",),
)
REPORT = Report(
    effect=judge(EXPERIMENT.declared, [OfSeed(0, 0.1), OfSeed(1, 0.2, "a diverged")]),
    summary="It is better.",
    tables=(TABLE,),
    figures=(FIGURE,),
    caveats=("It is small.",),
    factors=({"differ_in": ["norm"]},),
)


def run(run_id: str, arm: str, **changes: Any) -> TrainedRun:
    spec = RunSpec.model_validate(BASE | {"name": run_id, "labels": {"id": run_id}})
    told: dict[str, Any] = {"state": "succeeded", "outcome": "completed", "why": None}
    told |= {"spec": spec, "step": 20, "dataset": f"/folder/{run_id}"}
    result = RunResult(
        arm=arm,
        seed=0,
        series={"test_accuracy": Series((20,), (0.5,))},
        measured={},
        checkpoints=(),
        **told | changes,
    )
    return TrainedRun(run_id, 20, "cpu", result)


def made(experiment_id: str = "exp_1", *runs: TrainedRun, report: Report = REPORT) -> Any:
    asked = (EXPERIMENT, PARAMS, [0, 1])
    given = runs or (run("run_1", "a b"), run("run_2", "c'd"))
    return document(experiment_id, asked, given, report, ENVIRONMENT)


def test_a_document_is_json_and_says_what_is_not_finite() -> None:
    told = json.loads(json.dumps(made(), allow_nan=False))
    assert told == made()
    assert told["tables"][0]["rows"] == [["a, b", None], ["c", None], ["d", None]]
    assert told["tables"][0]["not_finite"] == [
        {"row": 0, "column": 1, "value": "nan"},
        {"row": 2, "column": 1, "value": "-inf"},
    ]


def test_a_document_has_every_field_of_the_contract() -> None:
    told = made()
    assert (told["object"], told["experiment"], told["kind"]) == ("report", "exp_1", "pair")
    assert (told["claim"], told["source"]) == (EXPERIMENT.claim, EXPERIMENT.source)
    assert told["verdict"] == told["effect"]["verdict"] == "inconclusive"
    assert told["effect"]["value"] == pytest.approx(0.15)
    assert told["effect"]["seeds"][1] == {
        **{"seed": 1, "value": 0.2, "note": "a diverged", "bound": ""}
    }
    assert told["figures"] == [
        {
            "name": "curves",
            "title": "Curves",
            "evidence": "It rises.",
            "notes": ["Every 2nd point."],
            "links": {
                form: f"/v1/experiments/exp_1/figures/curves.{form}"
                for form in ("svg", "png", "json", "csv")
            },
        }
    ]
    assert told["environment"] == {"cpu": "a CPU", "torch": "2.13.0", "threads": 1, "device": "cpu"}
    assert (told["caveats"], told["factors"]) == (["It is small."], [{"differ_in": ["norm"]}])
    first = told["runs"][0]
    assert (first["run"], first["arm"], first["step"], first["steps"]) == ("run_1", "a b", 20, 20)
    assert "name" not in first["spec"]
    assert first["spec_hash"] == RunSpec.model_validate(BASE).hash


def test_ids_and_addresses_are_not_in_the_canonical_document() -> None:
    one = made("exp_1", run("run_1", "a b"), run("run_2", "c'd"))
    two = made("exp_2", run("run_3", "a b"), run("run_4", "c'd"))
    assert one != two
    assert canonical(one) == canonical(two)
    text = json.dumps(canonical(one))
    assert not [word for word in ("exp_", "run_", "/folder", "links") if word in text]


def test_whatever_else_differs_is_in_the_canonical_document() -> None:
    plain = canonical(made())
    other = run("run_2", "c'd", step=19)
    assert canonical(made("exp_1", run("run_1", "a b"), other)) != plain
    assert canonical(made(report=replace(REPORT, summary="It is worse."))) != plain


def test_runs_that_say_nothing_are_named_first() -> None:
    lost = run("run_2", "c'd", state="failed", outcome=None, why="Its trainer was lost.")
    stopped = run("run_3", "e", state="cancelled", outcome=None)
    told = made("exp_1", run("run_1", "a b"), lost, stopped)
    assert told["caveats"] == [
        "2 of 3 runs count for nothing: c'd, seed 0: failed (Its trainer was lost.); "
        "e, seed 0: cancelled.",
        "It is small.",
    ]


def test_the_request_and_the_command_ask_for_the_same_again() -> None:
    repeat = made()["repeat"]
    again = EXPERIMENT.params.model_validate_json(json.dumps(repeat["body"]["params"]))
    assert again == PARAMS
    words = shlex.split(repeat["command"])
    assert words[:6] == ["evalmode", "lab", "run", "pair", "--seeds", "0,1"]
    given = [word.partition("=") for word in words[7::2]]
    assert {key: json.loads(value) for key, _, value in given} == repeat["body"]["params"]


@pytest.mark.parametrize(
    "given",
    [
        {"scale": "paper", "steps": 1_000, "small_rate": 0.001},  # the defaults of another scale
        {"scale": "paper", "dataset": "my-cifar", "trained_network": {"kind": "vgg", "depth": 13}},
        {"network": {"kind": "mlp", "hidden": [7]}, "large_rate": 0.3},
        {},
    ],
)
def test_a_request_that_fills_in_params_is_repeated_in_as_few_words(given: dict[str, Any]) -> None:
    kind = EXPERIMENTS["larger_rate"]
    params = kind.params.model_validate_json(json.dumps(given))
    stored = kind.params.model_validate_json(params.model_dump_json())  # as a worker has them
    asked = (kind, stored, [0])
    body = document("exp_1", asked, [run("run_1", "a")], REPORT, ENVIRONMENT)["repeat"]["body"]
    assert kind.params.model_validate_json(json.dumps(body["params"])) == params
    assert body["params"] == given


def test_a_name_that_is_there_twice_or_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="have one name"):
        made(report=replace(REPORT, tables=(TABLE, TABLE)))
    with pytest.raises(ValueError, match="small letters, digits and hyphens"):
        made(report=replace(REPORT, tables=(replace(TABLE, name="../x"),)))


def test_a_summary_is_what_an_experiment_shows() -> None:
    told = summary(made())
    assert (told["figures"], told["tables"]) == (["curves"], ["by-seed"])
    assert {key: told[key] for key in ("claim", "verdict", "summary")} == {
        "claim": EXPERIMENT.claim,
        "verdict": "inconclusive",
        "summary": "It is better.",
    }


def test_a_table_is_read_back_from_its_csv() -> None:
    rows = list(csv.reader(io.StringIO(table_csv(TABLE))))
    assert rows == [["arm", "mean"], ["a, b", "nan"], ["c", ""], ["d", "-inf"]]
