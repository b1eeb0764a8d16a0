"""Specs that are a base with some fields replaced, and what is refused of them."""

from typing import Any

import pytest

from model.errors import SpecRefused
from model.lab.fields import text_of, varied

BASE: dict[str, Any] = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [5, 6]}}


def change(field: str, value: Any, base: dict[str, Any] = BASE) -> Any:
    return varied(base, {field: value}, {field: f"arms.{field}"})


def test_a_field_without_dots_is_replaced_whole() -> None:
    assert change("norm", "batch").norm.kind == "batch"
    assert change("network", {"kind": "mlp", "hidden": [7]}).network.hidden == (7,)


def test_a_field_with_dots_is_set_in_the_base_with_its_defaults() -> None:
    assert change("optimizer.lr", 0.5).optimizer.lr == 0.5
    assert change("budget.epochs", 3).budget.epochs == 3
    assert change("network.hidden.1", 9).network.hidden == (5, 9)
    batch = BASE | {"norm": "batch"}
    assert change("norm.momentum", None, batch).norm.momentum is None


def test_several_fields_may_change_at_once() -> None:
    changes = {"optimizer.lr": 1.0, "norm": "batch", "norm.eps": 0.5}
    spec: Any = varied(BASE, changes, {field: field for field in changes})
    assert (spec.optimizer.lr, spec.norm.kind, spec.norm.eps) == (1.0, "batch", 0.5)


def test_the_base_stays_as_it_is() -> None:
    before = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [5, 6]}}
    change("network.hidden.1", 9)
    assert before == BASE


@pytest.mark.parametrize(
    ("base", "field", "value", "path"),
    [
        (BASE, "norm", "nothing", "arms.norm.kind"),
        (BASE, "optimizer.lr", -1, "arms.optimizer.lr"),
        (BASE, "optimizer.lr", "1", "arms.optimizer.lr"),
        (BASE, "norm.momentum", 0.1, "arms.norm.momentum"),
        (BASE, "loss.kind", "squared_error", "arms.loss.kind"),
        (BASE, "network.hidden.2", 9, "arms.network.hidden.2"),
        (BASE, "nothing", 9, "arms.nothing"),
        (BASE | {"batch_size": 0}, "norm", "batch", "base.batch_size"),
        (
            BASE | {"network": {"kind": "mlp", "hidden": [0]}},
            "norm",
            "batch",
            "base.network.hidden.0",
        ),
        (BASE | {"network": {"hidden": [5]}}, "norm", "batch", "base.network.kind"),
        ({"network": BASE["network"]}, "norm", "batch", "base.dataset"),
        ({"dataset": "digits"}, "norm", "batch", "base.network"),
    ],
)
def test_what_is_no_spec_is_refused_by_where_it_comes_from(
    base: dict[str, Any], field: str, value: Any, path: str
) -> None:
    with pytest.raises(SpecRefused) as refused:
        change(field, value, base)
    assert refused.value.path == path


def test_a_refusal_never_repeats_the_value() -> None:
    for field in ("norm", "dataset", "optimizer.lr"):
        with pytest.raises(SpecRefused) as refused:
            change(field, "s3cr3t value")
        assert "s3cr3t" not in refused.value.message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (True, "true"),
        (None, "null"),
        (0.1, "0.1"),
        ("batch", "batch"),
        ([100, 50], "100 50"),
        ([], "none"),
        ({"kind": "batch", "momentum": 0.2}, "batch momentum 0.2"),
        ({"epochs": 3}, "epochs 3"),
        ("x" * 50, "x" * 39 + "…"),
    ],
)
def test_a_value_is_told_in_a_few_words(value: Any, text: str) -> None:
    assert text_of(value) == text
