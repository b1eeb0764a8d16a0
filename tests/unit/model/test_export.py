"""An export answers as the service does, on rows that it was checked with, or is refused."""

import json
from dataclasses import replace

import numpy as np
import onnx as onnx_library
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime import InferenceSession
from safetensors import safe_open
from safetensors.torch import load as tensors_of
from torch import nn

from model.checkpoint import About, Loaded
from model.data.scaling import Scaling
from model.errors import ExportRefused, InputRefused
from model.export.onnx_file import onnx
from model.export.safetensors_file import safetensors_folded
from model.networks.build import build
from model.networks.init import initialize
from model.norms.batch import BatchNorm
from model.plan import plan
from model.predict import Predictor
from model.spec import Init

NORM = {"kind": "norm"}
LINEAR = {"kind": "linear"}
FLATTEN = {"kind": "flatten"}
RELU = {"kind": "activation", "activation": "relu"}
DEVIATION = {"kind": "batch", "running": "deviation"}
GROUP = {"kind": "group", "groups": 2}
ACTIVATIONS = ("tanh", "relu", "sigmoid", "gelu", "silu", "elu", "leaky_relu", "identity")


def conv(channels, **fields):
    return {"kind": "conv2d", "out_channels": channels, **fields}


def activation(kind):
    return {"kind": "activation", "activation": kind}


def residual(*layers, projection=False):
    return {"kind": "residual", "layers": list(layers), "projection": projection}


#: Every kind of layer, norms that can be folded and norms that cannot.
EVERYTHING = [
    NORM,
    conv(6, padding=1, bias=False),
    NORM,
    RELU,
    {"kind": "pool", "pool": "max"},
    residual(conv(6, padding=1), NORM, activation("gelu"), NORM, conv(6, padding=1), NORM),
    residual(NORM, conv(8, kernel_size=3, padding=1, stride=2), projection=True),
    activation("silu"),
    {"kind": "pool", "pool": "avg", "kernel_size": 3, "stride": 1},
    {"kind": "dropout"},
    {"kind": "pool", "pool": "global_avg"},
    FLATTEN,
    {**LINEAR, "out_features": 12, "bias": False},
    NORM,
    activation("elu"),
    LINEAR,
]


@pytest.fixture(scope="module")
def made(make_spec, make_facts):
    """A checkpoint in memory whose norms hold drawn statistics, and raw rows far from 0."""

    def make(network, norm="batch", shape=(12,), seed=0, images=False, **fields):
        spec = make_spec(network, norm=norm, **fields)
        facts = replace(make_facts(shape, 5), images=images)
        planned = plan(spec, facts)
        double = spec.precision == "float64"
        built = build(planned, dtype=torch.float64 if double else torch.float32)
        generator = torch.Generator().manual_seed(seed)
        initialize(built, planned, Init(bias="normal"), generator)
        for module in built.modules():
            if isinstance(module, BatchNorm):
                _fill(module, generator)
        rows = np.random.default_rng(seed).normal(1000, 3, (40, *shape))
        rows = rows.astype(np.uint8) if images else rows
        scaling = Scaling.fit(spec.scaling, rows, images)
        network = built.eval().requires_grad_(False)
        about = About(spec, facts, scaling, 7)
        return Loaded(spec, facts, scaling, network, 16, about, "sha256:statistics"), rows

    return make


@torch.no_grad()
def _fill(norm, generator):
    norm.running_mean.copy_(torch.randn(norm.num_features, generator=generator))
    norm.running_spread.copy_(0.5 + torch.rand(norm.num_features, generator=generator))
    norm.num_batches_tracked.fill_(9)
    if norm.weight is not None:
        norm.weight.copy_(1 + torch.rand(norm.num_features, generator=generator))
        norm.bias.copy_(torch.randn(norm.num_features, generator=generator))


def run(content, rows):
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    (answers,) = session.run(["logits"], {"rows": rows.astype(np.float64)})
    return answers


def assert_answers(content, loaded, rows, near=1e-5):
    expected = Predictor(loaded).logits(rows)
    answers = run(content, rows)
    assert answers.dtype == expected.dtype
    np.testing.assert_allclose(answers, expected, rtol=0, atol=near * np.abs(expected).max())


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("norm", ["none", "batch", DEVIATION, "layer", GROUP], ids=str)
def test_onnxruntime_gives_raw_rows_the_logits_of_the_service(made, norm, folded) -> None:
    loaded, rows = made(EVERYTHING, norm, shape=(2, 12, 12))
    exported = onnx(loaded, rows, folded=folded)
    assert_answers(exported.content, loaded, rows)
    assert exported.comparison.rows == 40


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_every_activation_has_its_operator(made, kind) -> None:
    loaded, rows = made({"kind": "mlp", "hidden": [16, 16], "activation": kind})
    assert_answers(onnx(loaded, rows).content, loaded, rows)


@pytest.mark.parametrize("scaling", ["standard", "minmax", "binary", "none"])
def test_the_scaling_is_inside_the_graph_pixels_included(made, scaling) -> None:
    mlp = {"kind": "mlp", "hidden": [16]}
    for images in (False, True):
        loaded, rows = made(mlp, shape=(1, 6, 6), scaling=scaling, images=images)
        exported = onnx(loaded, rows)
        assert_answers(exported.content, loaded, rows)
        assert json.loads(exported.metadata["scaling"]) == loaded.scaling.to_json()


@pytest.mark.parametrize("folded", [True, False])
def test_a_residual_network_with_a_padded_pool_is_exported(made, folded) -> None:
    loaded, rows = made({"kind": "resnet", "depth": 18, "width": 4}, shape=(3, 32, 32))
    assert_answers(onnx(loaded, rows, folded=folded).content, loaded, rows)


NETWORKS = [
    {"kind": "deep_linear", "layers": 5, "width": 7},
    {"kind": "residual_mlp", "blocks": 3, "width": 8},
    {"kind": "vgg", "width": 1 / 16, "image_shape": [1, 6, 6]},
]


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network["kind"])
def test_every_kind_of_network_is_exported(made, network, folded) -> None:
    loaded, rows = made(network, shape=(36,))
    assert_answers(onnx(loaded, rows, folded=folded).content, loaded, rows)
    if folded:
        norms = sum(isinstance(one, BatchNorm) for one in loaded.network.modules())
        about = safetensors_folded(loaded, rows).metadata
        assert len(json.loads(about["folded"])) == norms > 0


@pytest.mark.parametrize("folded", [True, False])
def test_indices_are_looked_up_in_the_graph(made, folded) -> None:
    layers = [
        {"kind": "unflatten", "shape": [2, 4]},
        {"kind": "columns", "first": 3},
        {"kind": "embedding", "num_embeddings": 27, "embedding_dim": 4},
        FLATTEN,
        *({**LINEAR, "out_features": 9}, NORM, activation("tanh"), LINEAR),
    ]
    loaded, _ = made(layers, shape=(8,), scaling="none")
    rows = np.random.default_rng(0).integers(0, 27, (40, 8))
    assert_answers(onnx(loaded, rows, folded=folded).content, loaded, rows)
    names = tensors_of(safetensors_folded(loaded, rows).content)
    assert names["2.weight"].shape == (27, 4)


def test_the_batch_axis_is_dynamic_and_a_row_alone_is_answered(made) -> None:
    loaded, rows = made(EVERYTHING, shape=(2, 12, 12))
    content = onnx(loaded, rows[:16]).content
    for count in (1, 2, 17, 40):
        assert_answers(content, loaded, rows[:count])


def test_rows_of_several_axes_pass_a_linear_layer(made) -> None:
    layers = [{**LINEAR, "out_features": 4}, NORM, RELU, FLATTEN, LINEAR]
    for norm in ("batch", "layer", GROUP):
        loaded, rows = made(layers, norm, shape=(4, 6))
        assert_answers(onnx(loaded, rows).content, loaded, rows)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_networks_are_exported_and_answer(made, data) -> None:
    draw = data.draw
    part = st.sampled_from(
        [
            [conv(4, kernel_size=3, padding=1), NORM, RELU],
            [NORM, activation("tanh")],
            [residual(conv(3, padding=1), NORM, projection=True)],
            [residual(NORM, activation("leaky_relu"))],
        ]
    )
    parts = draw(st.lists(part, max_size=4))
    norm = draw(st.sampled_from(["batch", DEVIATION, "layer", {"kind": "batch", "affine": False}]))
    layers = [*(layer for some in parts for layer in some), FLATTEN, LINEAR]
    loaded, rows = made(layers, norm, shape=(2, 5, 5), seed=draw(st.integers(0, 99)))
    assert_answers(onnx(loaded, rows, folded=draw(st.booleans())).content, loaded, rows)


def test_a_float64_network_stays_float64_where_onnxruntime_can(made) -> None:
    loaded, rows = made({"kind": "mlp", "hidden": [16, 16]}, precision="float64")
    assert_answers(onnx(loaded, rows).content, loaded, rows, near=1e-12)
    assert_answers(onnx(loaded, rows, folded=False).content, loaded, rows, near=1e-12)


def test_what_onnxruntime_has_no_kernel_for_is_refused_by_operator(made) -> None:
    loaded, rows = made([conv(3), FLATTEN, LINEAR], shape=(2, 6, 6), precision="float64")
    with pytest.raises(ExportRefused, match=r"onnxruntime cannot run it: .*Conv"):
        onnx(loaded, rows)


def test_more_than_a_protobuf_message_holds_is_refused_before_it_is_made(made, monkeypatch) -> None:
    loaded, rows = made({"kind": "mlp", "hidden": [16]})
    monkeypatch.setattr("model.export.onnx_file.MOST_BYTES", 1_000)
    num_bytes = 4 * (12 * 16 + 16 + 16 * 5 + 5)
    with pytest.raises(ExportRefused, match=f"{num_bytes} bytes .* at most 1000") as refusal:
        onnx(loaded, rows)
    assert refusal.value.metadata == {"num_bytes": num_bytes, "most_bytes": 1_000}


def test_norms_that_were_not_to_be_folded_are_told_as_such(made) -> None:
    loaded, rows = made({"kind": "mlp", "hidden": [16]})
    about = onnx(loaded, rows, folded=False).metadata
    assert json.loads(about["folded"]) == []
    expected = [{"norm": "1", "behind": "not folded, as asked", "eps": 1e-5}]
    assert json.loads(about["stayed"]) == expected


def test_a_module_without_an_onnx_form_is_refused_by_name(made) -> None:
    loaded, rows = made({"kind": "mlp", "hidden": [16]})
    loaded.network[2] = nn.Hardtanh()
    with pytest.raises(ExportRefused, match="no ONNX form for Hardtanh at 2"):
        onnx(loaded, rows)


def test_the_graph_keeps_state_dict_names_and_says_what_was_folded(made) -> None:
    loaded, rows = made([NORM, {**LINEAR, "out_features": 8}, NORM, RELU, LINEAR])
    exported = onnx(loaded, rows)
    model = onnx_library.load_from_string(exported.content)
    names = {tensor.name for tensor in model.graph.initializer}
    assert {"1.weight", "1.bias", "4.weight", "4.bias", "0.running_mean"} <= names
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert about == exported.metadata
    assert json.loads(about["folded"]) == [{"norm": "2", "layer": "1"}]
    assert json.loads(about["stayed"]) == [{"norm": "0", "behind": "the input", "eps": 1e-5}]
    assert json.loads(about["comparison"]) == exported.comparison.to_json()


def test_a_folded_file_loads_strictly_into_torchs_layers_and_answers_scaled_rows(made) -> None:
    layers = [conv(6, bias=False), NORM, RELU, NORM, FLATTEN, {**LINEAR, "out_features": 9}, NORM]
    for norm in ("batch", DEVIATION):
        loaded, rows = made([*layers, RELU, LINEAR], norm, shape=(2, 5, 5))
        exported = safetensors_folded(loaded, rows)
        stayed = json.loads(exported.metadata["stayed"])
        assert [one["norm"] for one in stayed] == ["3"]
        plain = nn.Sequential(
            nn.Conv2d(2, 6, 3),
            nn.Identity(),
            nn.ReLU(),
            nn.BatchNorm2d(6, eps=stayed[0]["eps"]),
            nn.Flatten(),
            nn.Linear(54, 9),
            nn.Identity(),
            nn.ReLU(),
            nn.Linear(9, 5),
        ).eval()
        plain.load_state_dict(tensors_of(exported.content), strict=True)
        expected = Predictor(loaded).logits(rows)
        with torch.no_grad():
            answers = plain(torch.from_numpy(loaded.scaling.apply(rows)))
        near = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(answers.numpy(), expected, rtol=0, atol=near)


def test_a_folded_files_metadata_says_what_was_verified(made, tmp_path) -> None:
    loaded, rows = made({"kind": "mlp", "hidden": [9, 9]})
    exported = safetensors_folded(loaded, rows)
    (tmp_path / "x").write_bytes(exported.content)
    with safe_open(tmp_path / "x", "pt") as file:
        assert file.metadata() == exported.metadata
        assert set(file.keys()) == {f"{i}.{kind}" for i in (0, 3, 6) for kind in ("weight", "bias")}
    about = {key: json.loads(text) for key, text in exported.metadata.items()}
    assert about["folded"] == [{"norm": "1", "layer": "0"}, {"norm": "4", "layer": "3"}]
    assert about["comparison"]["rows"] == 40
    assert about["comparison"]["error"] <= about["comparison"]["allowed"]
    assert about["scaling"] == loaded.scaling.to_json()
    assert about["statistics"] == "sha256:statistics"


@pytest.mark.parametrize("export", [safetensors_folded, onnx])
def test_an_export_changes_nothing_and_the_same_one_has_the_same_bytes(made, export) -> None:
    loaded, rows = made(EVERYTHING, shape=(2, 12, 12))
    before = {name: one.clone() for name, one in loaded.network.state_dict().items()}
    random_state, given_rows = torch.get_rng_state(), rows.copy()
    first, second = export(loaded, rows), export(loaded, rows)
    assert first.content == second.content
    assert torch.equal(torch.get_rng_state(), random_state)
    assert np.array_equal(given_rows, rows)
    after = loaded.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], one) for name, one in before.items())
    assert not any(module.training for module in loaded.network.modules())


def test_a_running_deviation_below_torchs_eps_is_refused_by_layer_and_channel(made) -> None:
    loaded, rows = made([NORM, {**LINEAR, "out_features": 8}, RELU, LINEAR], DEVIATION)
    loaded.network[0].running_deviation[3] = 1e-3
    with pytest.raises(ExportRefused, match=r"norm 0, channel 3: .* below torch's eps") as refusal:
        safetensors_folded(loaded, rows)
    assert refusal.value.metadata == {"norm": "0", "channel": 3, "channels": 1}
    assert_answers(onnx(loaded, rows).content, loaded, rows)


def test_a_graph_that_answers_otherwise_is_refused_with_the_numbers(made) -> None:
    loaded, rows = made({"kind": "mlp", "hidden": [9]})
    loaded.network[2].register_forward_hook(lambda _, __, answer: answer + 0.01)
    with pytest.raises(ExportRefused, match=r"in ONNX, .* against float64") as refused:
        onnx(loaded, rows)
    assert refused.value.metadata["error"] > refused.value.metadata["allowed"]


def test_a_fold_that_loses_what_the_network_as_trained_keeps_is_refused(made) -> None:
    loaded, _ = made({"kind": "mlp", "hidden": [9]}, DEVIATION, scaling="none")
    rows = 10_000 + np.random.default_rng(0).integers(0, 10, (40, 12))
    # Whole numbers below 2**24: the centered sum is exact, until a fold makes fractions of them.
    loaded.network[0].weight.fill_(97)
    loaded.network[0].bias.zero_()
    loaded.network[1].running_mean.fill_(97 * 12 * 10_004.5)
    loaded.network[1].running_deviation.fill_(1000)
    for export in (safetensors_folded, onnx):
        with pytest.raises(ExportRefused) as refused:
            export(loaded, rows)
        numbers = refused.value.metadata
        assert numbers["error"] > numbers["allowed"] > numbers["unfolded_error"]
    assert_answers(onnx(loaded, rows, folded=False).content, loaded, rows)


@pytest.mark.parametrize("export", [safetensors_folded, onnx])
def test_rows_that_the_service_refuses_calibrate_nothing(made, export) -> None:
    loaded, rows = made({"kind": "mlp", "hidden": [9]})
    for bad in (rows[:0], rows[:, :11], np.full((2, 12), np.nan)):
        with pytest.raises(InputRefused):
            export(loaded, bad)
