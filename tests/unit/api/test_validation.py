"""Errors name fields as the client wrote them, and never repeat what it wrote."""

import time
from typing import Any

import pytest
from pydantic import ValidationError

from api.problems import invalid
from api.validation import MAX_ERRORS, MAX_PATH, shorten
from model.spec import RunSpec

GOOD: dict[str, Any] = {"dataset": "digits", "network": {"kind": "mlp"}}


def paths(changes: dict[str, Any]) -> list[str]:
    return [error.path for error in refused(changes)]


def refused(changes: dict[str, Any]) -> list[Any]:
    body = {**GOOD, **changes}
    try:
        RunSpec.model_validate(body)
    except ValidationError as error:
        return invalid(error, body).errors
    raise AssertionError("the spec was accepted")


def layers(*inner: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"network": {"kind": "layers", "layers": list(inner), **more}}


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"batch_size": "1"}, "batch_size"),
        ({"network": {"kind": "mlp", "hidden": [0]}}, "network.hidden.0"),
        ({"network": {"kind": "mlp", "hidden": [3, True]}}, "network.hidden.1"),
        ({"network": {"kind": "mlpp"}}, "network.kind"),
        ({"network": {}}, "network.kind"),
        ({"network": {"kind": "resnet", "depth": 19}}, "network.depth"),
        ({"network": {"kind": "resnet", "stem": "mnist"}}, "network.stem"),
        ({"network": {"kind": "resnet", "width": 1025}}, "network.width"),
        ({"network": "mlp"}, "network"),
        ({"network": {"kind": "mlp", "mlp": 1}}, "network.mlp"),
        ({"network": {"kind": "layers"}}, "network.layers"),
        (layers({"kind": "linear"}, width=1), "network.width"),
        (layers({"kind": "linear", "out_features": 0}), "network.layers.0.out_features"),
        (layers({"kind": "flatten"}, {"kind": "linier"}), "network.layers.1.kind"),
        (
            layers({"kind": "residual", "layers": [{"kind": "conv2d"}]}),
            "network.layers.0.layers.0.out_channels",
        ),
        ({"norm": {"kind": "batch", "batch": 1}}, "norm.batch"),
        ({"norm": "batchy"}, "norm"),
        ({"norm": {"kind": "batch", "momentum": 2}}, "norm.momentum"),
        ({"budget": {"steps": 1, "epochs": 1}}, "budget"),
        ({"optimizer": {"kind": "sgd", "nesterov": True}}, "optimizer"),
        ({"labels": {"bad key": "x"}}, "labels.bad key"),
        ({"state": "queued"}, "state"),
    ],
)
def test_a_path_is_that_of_the_request(changes: dict[str, Any], path: str) -> None:
    assert paths(changes) == [path]


def test_a_missing_field_is_named() -> None:
    body = {"dataset": "digits"}
    with pytest.raises(ValidationError) as raised:
        RunSpec.model_validate(body)
    (error,) = invalid(raised.value, body).errors
    assert (error.path, error.message) == ("network", "is required")


def test_there_are_at_most_twenty_errors() -> None:
    assert len(refused({f"unknown{n}": 1 for n in range(1_000)})) == MAX_ERRORS


def test_very_many_faults_are_told_at_once() -> None:
    empty = {"kind": "residual", "layers": []}
    started = time.perf_counter()
    refused(layers(*[empty] * 20_000))
    assert time.perf_counter() - started < 5


def test_an_unknown_field_is_named_by_its_parent_and_a_shortened_name() -> None:
    (path,) = paths({"network": {"kind": "mlp", "x" * 10_000: 1}})
    assert path == "network." + "x" * 40 + "…"


def test_a_path_has_at_most_two_hundred_characters() -> None:
    inner: dict[str, Any] = {"kind": "linear", "x": 1}
    for _ in range(30):
        inner = {"kind": "residual", "layers": [inner]}
    (path,) = paths(layers(inner))
    assert len(path) == MAX_PATH
    assert path.startswith("network.layers.0.layers.0")


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "secret/../x"},
        {"network": {"kind": "secret"}},
        {"norm": {"kind": "secret"}},
        {"device": "secret"},
        {"batch_size": "secret"},
        {"name": "secret\x00"},
        {"labels": {"a": "secret\x1b"}},
    ],
)
def test_no_message_repeats_the_input(changes: dict[str, Any]) -> None:
    assert "secret" not in "".join(error.message for error in refused(changes))


def test_a_shown_name_is_printable() -> None:
    assert shorten("a\x1b[31m\u202eb") == "a\ufffd[31m\ufffdb"
