"""What may be written of a network, and which field a wrong word is in."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from model.spec import DeepLinear, Network, ResidualMlp, RunSpec, Vgg

NETWORK: TypeAdapter[Any] = TypeAdapter(Network)
EMBEDDING = {"kind": "embedding", "num_embeddings": 27, "embedding_dim": 10}


def layers(*asked: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "layers", "layers": list(asked)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("deep_linear", DeepLinear(kind="deep_linear", layers=25, width=None)),
        (
            "residual_mlp",
            ResidualMlp(kind="residual_mlp", blocks=20, width=64, activation="relu", bias=False),
        ),
        ("vgg", Vgg(kind="vgg", depth=11, width=1.0, bias=False, image_shape=None)),
    ],
)
def test_a_kind_alone_has_the_papers_defaults(kind: str, expected: Any) -> None:
    assert NETWORK.validate_python({"kind": kind}) == expected


@pytest.mark.parametrize(
    "network",
    [
        {"kind": "vgg", "depth": 16, "width": 0.125, "bias": True, "image_shape": [1, 8, 8]},
        {"kind": "deep_linear", "layers": 3, "width": 7},
        {"kind": "residual_mlp", "blocks": 2, "width": 3, "activation": "tanh", "bias": True},
        layers({"kind": "unflatten", "shape": [2, 3]}, {"kind": "columns", "first": 2}, EMBEDDING),
    ],
    ids=lambda network: network["kind"],
)
def test_a_network_is_written_as_it_was_read(network: dict[str, Any]) -> None:
    assert NETWORK.dump_python(NETWORK.validate_python(network), mode="json") == network


@pytest.mark.parametrize(
    ("network", "field", "message"),
    [
        ({"kind": "vgg", "depth": 19}, "depth", "Input should be 11, 13 or 16"),
        ({"kind": "vgg", "width": 0.0}, "width", "greater than 0"),
        ({"kind": "vgg", "width": 5.0}, "width", "less than or equal to 4"),
        ({"kind": "vgg", "image_shape": [8, 8]}, "image_shape", "Field required"),
        ({"kind": "vgg", "image_shape": [1, 8, 8, 1]}, "image_shape", "at most 3 items"),
        ({"kind": "vgg", "image_shape": [1, 0, 8]}, "image_shape", "greater than or equal to 1"),
        ({"kind": "vgg", "norm": "batch"}, "norm", "Extra inputs are not permitted"),
        ({"kind": "deep_linear", "layers": 0}, "layers", "greater than or equal to 1"),
        ({"kind": "deep_linear", "layers": 513}, "layers", "less than or equal to 512"),
        ({"kind": "deep_linear", "width": 0}, "width", "greater than or equal to 1"),
        ({"kind": "deep_linear", "activation": "relu"}, "activation", "Extra inputs"),
        ({"kind": "residual_mlp", "blocks": 257}, "blocks", "less than or equal to 256"),
        ({"kind": "residual_mlp", "activation": "relu6"}, "activation", "Input should be 'tanh'"),
        (layers({"kind": "embedding", "embedding_dim": 2}), "num_embeddings", "Field required"),
        (layers({**EMBEDDING, "num_embeddings": 27.0}), "num_embeddings", "valid integer"),
        (layers({**EMBEDDING, "embedding_dim": 65_537}), "embedding_dim", "less than or equal"),
        (layers({"kind": "unflatten", "shape": []}), "shape", "at least 1 item"),
        (layers({"kind": "unflatten", "shape": [1, 1, 1, 1]}), "shape", "at most 3 items"),
        (layers({"kind": "columns", "first": 0}), "first", "greater than or equal to 1"),
    ],
)
def test_a_wrong_word_is_refused_at_its_field(
    network: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        NETWORK.validate_python(network)
    assert field in refused.value.errors()[0]["loc"]


def test_a_scaling_is_one_of_four() -> None:
    body: dict[str, Any] = {"dataset": "digits", "network": {"kind": "mlp"}}
    assert RunSpec.model_validate(body | {"scaling": "binary"}).scaling == "binary"
    with pytest.raises(ValidationError, match="'standard', 'minmax', 'binary' or 'none'"):
        RunSpec.model_validate(body | {"scaling": "robust"})
