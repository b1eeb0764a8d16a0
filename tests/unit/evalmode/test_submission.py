from pathlib import Path
from typing import Any

import pytest

from evalmode.submission import Flags, SpecUnreadable, build
from model.spec import RunSpec


@pytest.mark.parametrize(
    ("flags", "spec"),
    [
        (Flags(dataset="digits"), {"dataset": "digits", "network": {"kind": "mlp"}}),
        (
            Flags(dataset="wine", hidden="32,16", activation="relu", norm="batch"),
            {
                "dataset": "wine",
                "network": {"kind": "mlp", "hidden": [32, 16], "activation": "relu"},
                "norm": "batch",
            },
        ),
        (
            Flags(dataset="wine", lr=0.5, epochs=3, seed=0, labels=("arm=bn", "x=a=b")),
            {
                "dataset": "wine",
                "network": {"kind": "mlp"},
                "optimizer": {"kind": "sgd", "lr": 0.5},
                "budget": {"epochs": 3},
                "seed": 0,
                "labels": {"arm": "bn", "x": "a=b"},
            },
        ),
    ],
)
def test_flags_alone_make_a_spec(flags: Flags, spec: dict[str, Any]) -> None:
    assert build(None, flags) == spec
    RunSpec.model_validate(spec)


def test_flags_win_over_the_file_and_leave_the_rest_of_it(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(
        '{"dataset": "digits", "network": {"kind": "mlp", "hidden": [9], "activation": "relu"},'
        ' "optimizer": {"kind": "adam", "lr": 0.1}, "budget": {"steps": 5}}'
    )
    assert build(file, Flags(hidden="7", lr=0.2, epochs=1)) == {
        "dataset": "digits",
        "network": {"kind": "mlp", "hidden": [7], "activation": "relu"},
        "optimizer": {"kind": "adam", "lr": 0.2},
        "budget": {"epochs": 1},
    }


def test_a_network_declared_in_the_file_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text('{"dataset": "digits", "network": {"kind": "layers", "layers": []}}')
    assert build(file, Flags(seed=1))["network"] == {"kind": "layers", "layers": []}


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        ("[1]", Flags(), "holds no JSON object"),
        ("{", Flags(), "cannot be read as JSON"),
        ("{}", Flags(hidden="a"), "--hidden is 'a'; give whole numbers"),
        ("{}", Flags(labels=("arm",)), "--label is 'arm'; give key=value"),
    ],
)
def test_what_cannot_be_read_is_named(
    text: str, flags: Flags, message: str, tmp_path: Path
) -> None:
    (tmp_path / "spec.json").write_text(text)
    with pytest.raises(SpecUnreadable, match=message):
        build(tmp_path / "spec.json", flags)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecUnreadable, match=r"absent\.json"):
        build(tmp_path / "absent.json", Flags())
