"""What a spec accepts, how it is written out, and what its hash covers."""

from typing import Any

import pytest
from pydantic import ValidationError

from model.measures.crossing import log_steps
from model.spec import RunSpec


def spec(**fields: Any) -> RunSpec:
    return RunSpec.model_validate({"dataset": "digits", "network": {"kind": "mlp"}, **fields})


def test_only_dataset_and_network_are_required() -> None:
    full = spec().model_dump(mode="json")
    assert full["budget"] == {"epochs": 20}
    assert full["norm"] == {"kind": "none"}
    assert RunSpec.model_validate(full) == spec()


def test_a_bare_kind_of_norm_is_enough() -> None:
    assert spec(norm="batch") == spec(norm={"kind": "batch"})


def test_a_running_deviation_has_no_eps_unless_it_is_given_one() -> None:
    norm = {"kind": "batch", "running": "deviation"}
    assert spec(norm=norm).norm.eps == 0  # type: ignore[union-attr]
    assert spec(norm={**norm, "eps": 0.5}).norm.eps == 0.5  # type: ignore[union-attr]
    assert spec(norm="batch").norm.eps == 1e-5  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("norm", "written"),
    [
        ("none", '{"kind":"none"}'),
        (
            "batch",
            '{"kind":"batch","momentum":0.1,"eps":0.00001,"affine":true,'
            '"placement":"before_activation","running":"variance","normalize":"biased"}',
        ),
        (
            {"kind": "batch", "running": "deviation", "momentum": None},
            '{"kind":"batch","momentum":null,"eps":0.0,"affine":true,'
            '"placement":"before_activation","running":"deviation","normalize":"biased"}',
        ),
        (
            "layer",
            '{"kind":"layer","eps":0.00001,"affine":true,"placement":"before_activation"}',
        ),
        (
            {"kind": "group", "groups": 4},
            '{"kind":"group","groups":4,"eps":0.00001,"affine":true,'
            '"placement":"before_activation"}',
        ),
    ],
    ids=str,
)
def test_the_norms_that_runs_were_made_with_are_written_as_ever(norm: Any, written: str) -> None:
    """Their text is hashed: a run that was submitted again must be known again."""
    assert spec(norm=norm).norm.model_dump_json() == written


@pytest.mark.parametrize(
    "kind", ["noisy_batch", "noise", "lp", "ghost_batch", "batch_renorm", "instance"]
)
def test_every_kind_of_norm_has_defaults_and_is_read_as_it_was_written(kind: str) -> None:
    asked = spec(norm=kind)
    assert asked.norm.kind == kind
    assert RunSpec.model_validate(asked.model_dump(mode="json")) == asked


def test_a_noisy_running_deviation_has_no_eps_unless_it_is_given_one() -> None:
    norm = {"kind": "noisy_batch", "running": "deviation"}
    assert spec(norm=norm).norm.eps == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("norm", "field"),
    [
        ({"kind": "lp", "p": 3}, "p"),
        ({"kind": "lp", "p": True}, "p"),
        ({"kind": "lp", "p": 1.0}, "p"),
        ({"kind": "lp", "p": "1"}, "p"),
        ({"kind": "lp", "running": "deviation"}, "running"),
        ({"kind": "noisy_batch", "n_sigma": 0.9}, "n_sigma"),
        ({"kind": "noisy_batch", "n_mu": -0.1}, "n_mu"),
        ({"kind": "noisy_batch", "r_sigma": float("inf")}, "r_sigma"),
        ({"kind": "noisy_batch", "per": "channel"}, "per"),
        ({"kind": "noise", "affine": False}, "affine"),
        ({"kind": "noise", "momentum": 0.1}, "momentum"),
        ({"kind": "ghost_batch", "group_size": 0}, "group_size"),
        ({"kind": "ghost_batch", "group_size": 2.0}, "group_size"),
        ({"kind": "batch_renorm", "r_max": 0.5}, "r_max"),
        ({"kind": "batch_renorm", "d_max": -1.0}, "d_max"),
        ({"kind": "batch_renorm", "warmup_batches": -1}, "warmup_batches"),
        ({"kind": "batch_renorm", "momentum": 1.5}, "momentum"),
        ({"kind": "instance", "momentum": 0.1}, "momentum"),
        ({"kind": "batch", "group_size": 4}, "group_size"),
    ],
    ids=str,
)
def test_a_norm_that_cannot_be_meant_is_refused_by_its_field(
    norm: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        spec(norm=norm)
    assert {error["loc"][-1] for error in refused.value.errors()} == {field}


def test_name_and_labels_are_no_part_of_the_hash_and_everything_else_is() -> None:
    assert spec(name="a", labels={"arm": "bn"}).hash == spec().hash
    others = [
        {"seed": 1},
        {"threads": 2},
        {"norm": "batch"},
        {"batch_size": 31},
        {"budget": {"steps": 900}},
        {"device": "cpu"},
    ]
    assert len({spec(**other).hash for other in [{}, *others]}) == len(others) + 1


def test_measures_change_no_number_and_so_no_hash() -> None:
    kinds = ["saturation", {"kind": "landscape", "every": 7}]
    assert spec(measures=kinds).hash == spec().hash
    assert spec(measures=kinds).model_dump(mode="json")["measures"] == [
        {"kind": "saturation", "every": None},
        {
            "kind": "landscape",
            "every": 7,
            "low": 0.5,
            "high": 4.0,
            "steps": 8,
            "spacing": "linear",
        },
    ]


def test_a_spec_without_measures_has_the_hash_that_it_had_before_there_were_any() -> None:
    assert spec().model_dump(mode="json")["measures"] == []
    assert spec().hash == (
        "sha256:f9c3a1259db4269842dd603c9257b8568045f49132f5bce81925e68a99f78ea1"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"batch_size": True},
        {"batch_size": 1.0},
        {"batch_size": "32"},
        {"batch_size": 2**63},
        {"seed": -1},
        {"seed": 2**64},
        {"optimizer": {"kind": "sgd", "lr": 0}},
        {"optimizer": {"kind": "sgd", "lr": 1e300}},
        {"optimizer": {"kind": "sgd", "lr": float("nan")}},
        {"optimizer": {"kind": "sgd", "nesterov": True}},
        {"budget": {"steps": 1, "epochs": 1}},
        {"budget": {}},
        {"split": {"test": 0.6, "validation": 0.4}},
        {"device": "cuda:99"},
        {"name": "a\x00b"},
        {"name": "\ud800"},
        {"name": "left\u202eright"},
        {"labels": {"a b": "c"}},
        {"measures": ["colour"]},
        {"measures": ["moments", {"kind": "moments", "every": 5}]},
        {"measures": [{"kind": "moments", "every": 0}]},
        {"measures": [{"kind": "landscape", "low": 4, "high": 4}]},
        {"measures": [{"kind": "percentiles", "layers": [0]}]},
        {"measures": [{"kind": "percentiles", "layers": []}]},
        {"measures": [{"kind": "covariate_shift", "layers": []}]},
        {"measures": "moments"},
        {"epoch": 7},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        spec(**fields)


def test_a_thousand_step_lengths_may_be_tried_and_more_are_refused_with_their_number() -> None:
    most = {"kind": "relative_loss", "low": 1e-14, "high": 1e6, "per_decade": 49}  # 20 decades
    assert spec(measures=[most]).measures
    assert len(log_steps(1e-14, 1e6, 49)) == 981

    with pytest.raises(ValidationError, match="1001 step lengths; at most 1000 are allowed"):
        spec(measures=[most | {"per_decade": 50}])
    assert len(log_steps(1e-14, 1e6, 50)) == 1001


@pytest.mark.parametrize(
    "fields",
    [
        {"network": {"kind": "mlp", "hidden": [True] * 200_000}},
        {"network": {"kind": "layers", "layers": [0] * 200_000}},
        {"measures": [0] * 200_000},
        {"labels": {str(key): key for key in range(200_000)}},
    ],
    ids=["hidden", "layers", "measures", "labels"],
)
def test_a_long_list_of_wrong_items_is_one_error(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        spec(**fields)
    assert refused.value.error_count() == 1
    assert "at most" in refused.value.errors()[0]["msg"]
