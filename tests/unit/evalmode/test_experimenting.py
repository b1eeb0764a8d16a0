import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from evalmode import client, experimenting
from evalmode.command import app
from evalmode.laboratory import Effect, ExperimentRecord, ReportLinks, ReportSummary
from evalmode.submission import SpecUnreadable

EFFECT: dict[str, Any] = {
    "name": "batch - none",
    "unit": "points",
    "scale": "difference",
    "claimed": "above",
    "margin": 0.0,
    "value": 1.5,
    "ci_low": 0.5,
    "ci_high": 2.5,
    "n": 3,
    "verdict": "supports",
}


def summary(**changes: Any) -> ReportSummary:
    return ReportSummary(
        claim="It helps.",
        verdict="supports",
        effect=Effect(**EFFECT | changes),
        summary="It does.",
        caveats=("It is small.",),
        links=ReportLinks(report="/r", page="/p"),
    )


def test_settings_are_json_or_text_and_reach_into_objects() -> None:
    given = ["factor=norm", "margin=0.5", 'arms={"a": null}', "base.norm=batch", "base.seed=3"]
    given += ['fields={"optimizer.lr": [0.1, 1]}', "note=a=b", "empty="]
    assert experimenting.params_of(given) == {
        "factor": "norm",
        "margin": 0.5,
        "arms": {"a": None},
        "base": {"norm": "batch", "seed": 3},
        "fields": {"optimizer.lr": [0.1, 1]},
        "note": "a=b",
        "empty": "",
    }


def test_a_dotted_key_reaches_into_the_default_of_its_param() -> None:
    network = {"kind": "mlp", "hidden": [100, 100], "activation": "relu"}
    defaults = {"network": network, "base": {"dataset": "digits", "network": network}}
    one = experimenting.params_of(["network.hidden=[5]", "base.norm=layer"], defaults)
    assert one == {
        "network": network | {"hidden": [5]},
        "base": {"dataset": "digits", "network": network, "norm": "layer"},
    }
    assert experimenting.params_of(["margin=1"], defaults) == {"margin": 1}
    assert defaults["base"] == {"dataset": "digits", "network": network}


def test_another_kind_begins_its_object_anew() -> None:
    defaults = {"network": {"kind": "mlp", "hidden": [100]}}
    given = ["network.kind=resnet", "network.depth=8"]
    assert experimenting.params_of(given, defaults) == {"network": {"kind": "resnet", "depth": 8}}
    same = ["network.kind=mlp", "network.activation=tanh"]
    assert experimenting.params_of(same, defaults)["network"]["hidden"] == [100]


@pytest.mark.parametrize("settings", [["factor"], ["=1"], ["base=1", "base.norm=2"]])
def test_a_setting_that_says_nothing_is_refused(settings: list[str]) -> None:
    with pytest.raises(SpecUnreadable, match="--set is"):
        experimenting.params_of(settings)


def test_seeds_are_whole_numbers_with_commas() -> None:
    assert experimenting.seeds_of("3, 4,5") == [3, 4, 5]
    assert experimenting.seeds_of(None) is None
    with pytest.raises(SpecUnreadable, match="whole numbers, as 0,1,2"):
        experimenting.seeds_of("one")


def test_the_outcome_is_the_verdict_with_its_interval_and_the_page() -> None:
    told = list(experimenting.outcome(summary(), Path("a.html")))
    assert told == [
        "claim    It helps.",
        "verdict  supports",
        "effect   batch - none: 1.5 points, 95 % interval 0.5 to 2.5, n = 3",
        "found    It does.",
        "but      It is small.",
        "report   a.html",
    ]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"value": None}, "batch - none: unknown, no seed gives a number"),
        ({"ci_low": None, "ci_high": None}, "batch - none: 1.5 points, one seed and no interval"),
    ],
)
def test_an_effect_without_an_interval_says_so(changes: dict[str, Any], text: str) -> None:
    assert f"effect   {text}" in list(experimenting.outcome(summary(**changes), None))


def test_progress_is_one_line_over_all_runs() -> None:
    record = ExperimentRecord.model_validate(
        {
            "id": "exp_1",
            "kind": "pair",
            "params": {},
            "seeds": [0],
            "state": "running",
            "runs": [],
            "progress": {"step": 5, "steps": 20, "fraction": 0.25, "runs": 2, "ended": 1},
            "created_at": "2026-01-01T00:00:00Z",
        }
    )
    bound = client.bind_experiment(client.Client(), record)
    assert experimenting.line(bound) == "pair  running  1/2 runs  step 5/20  25%"
    reporting = client.bind_experiment(
        client.Client(), record.model_copy(update={"operation": "op_1"})
    )
    assert experimenting.line(reporting).endswith("making the report")


def test_an_ended_experiment_is_shown_on_a_terminal_too() -> None:
    ended = ExperimentRecord.model_validate(
        {
            "id": "exp_1",
            "kind": "pair",
            "params": {},
            "seeds": [0],
            "state": "succeeded",
            "runs": [],
            "progress": {"step": 0, "steps": 0, "fraction": 1.0, "runs": 0, "ended": 0},
            "created_at": "2026-01-01T00:00:00Z",
        }
    )
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    bound = client.bind_experiment(client.Client(), ended)
    assert experimenting.follow(bound, console).id == "exp_1"
    assert "pair succeeded" in screen.getvalue()


def test_every_laboratory_command_explains_itself() -> None:
    for words in (["lab"], ["lab", "list"], ["lab", "run"], ["lab", "report"], ["zoo"]):
        shown = CliRunner().invoke(app, [*words, "--help"])
        assert shown.exit_code == 0
        assert shown.output.strip()


@pytest.mark.parametrize(
    "arguments", [["run", "pair", "--set", "factor"], ["run", "pair", "--seeds", "one"]]
)
def test_a_wrong_command_line_is_one_message_and_code_2(arguments: list[str]) -> None:
    shown = CliRunner().invoke(app, ["lab", *arguments])
    assert shown.exit_code == 2
    assert shown.stderr.startswith("evalmode: --")
