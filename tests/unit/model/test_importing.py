"""State dicts trained elsewhere: their answers are kept, and what does not fit is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from model.checkpoint import Loaded, load, write
from model.data.builtin import build as build_dataset
from model.data.scaling import Scaling
from model.errors import CheckpointRefused, ShapeMismatch, SpecRefused, StatisticsMissing
from model.importing import WRAPPERS, History, Imported, imported
from model.predict import Predictor
from model.signature import Signature
from model.spec import RunSpec
from model.statistics.diagnose import errors
from model.statistics.fingerprint import fingerprint
from tests.torchvision_resnet import resnet18

State = dict[str, Tensor]
IMAGES = Signature((3, 40, 33), classes=tuple("abcdefg"), images=True)
PLAIN = Signature((5,), classes=("no", "yes", "maybe"))


def spec(network: Any = None, **fields: Any) -> RunSpec:
    network = network or {"kind": "mlp", "hidden": [7]}
    body = {"dataset": "elsewhere", "network": network, "norm": "batch", **fields}
    return RunSpec.model_validate(body)


def resnet_spec(**fields: Any) -> RunSpec:
    return spec({"kind": "resnet", "depth": 18, "width": 8}, **fields)


def plain() -> nn.Sequential:
    """5-7-3 with batch norm, random weights and statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 3))
        network(torch.randn(50, 5) * 3 + 1)
    return network.eval()


def through_a_file(one: Imported, folder: Path) -> Loaded:
    written = write(folder / "imported.safetensors", one.tensors, one.about)
    return load(written.path, written.sha256)


def test_a_torchvision_resnet_answers_as_before(tmp_path: Path) -> None:
    theirs = resnet18(num_classes=7, width=8)
    one = imported(theirs.state_dict(), resnet_spec(), IMAGES)
    predictor = Predictor(through_a_file(one, tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 40, 33), dtype=np.uint8)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(pixels / np.float64(255)).float()).numpy()
    near = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(predictor.logits(pixels), expected, rtol=0, atol=near)


def test_a_whole_resnet_18_of_1000_classes_comes_in_and_every_new_name_is_told() -> None:
    theirs = resnet18(num_classes=1000).state_dict()
    network = {"kind": "resnet", "depth": 18}
    rows = Signature((3, 224, 224), classes=tuple(f"class {i}" for i in range(1000)), images=True)
    one = imported(theirs, spec(network), rows)
    report = one.report
    assert (report.naming, len(report.renamed)) == ("torchvision", 122)
    assert report.renamed["conv1.weight"] == "0.weight"
    assert report.renamed["layer2.0.downsample.1.running_var"] == "8.projection.1.running_var"
    assert report.renamed["fc.bias"] == "22.bias"
    assert (report.converted, report.filled, report.findings) == ({}, (), ())
    for name, ours in report.renamed.items():
        assert torch.equal(one.tensors[ours], theirs[name])
    assert json.loads(json.dumps(report.to_json()))["naming"] == "torchvision"


def test_our_own_names_of_a_resnet_come_back_as_they_went() -> None:
    first = imported(resnet18(7, 8).state_dict(), resnet_spec(), IMAGES)
    again = imported(first.tensors, first.about.spec, IMAGES)
    assert (again.report.naming, again.report.renamed) == ("own", {})
    assert all(torch.equal(again.tensors[name], one) for name, one in first.tensors.items())


def test_a_plain_sequence_answers_as_before(tmp_path: Path) -> None:
    theirs = plain()
    one = imported(theirs.state_dict(), spec(), PLAIN, history=History(step=70))
    loaded = through_a_file(one, tmp_path)
    rows = np.random.default_rng(0).normal(size=(11, 5)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(Predictor(loaded).logits(rows), expected, rtol=0, atol=1e-6)
    assert (one.report.naming, one.report.renamed) == ("own", {})
    assert (loaded.step, loaded.about.unknown_age) == (70, ())
    assert (loaded.spec.scaling, loaded.scaling.kind) == ("none", "none")
    assert loaded.spec.loss is not None
    assert loaded.spec.loss.kind == "cross_entropy"


def test_the_given_tensors_are_copied() -> None:
    state = plain().state_dict()
    one = imported(state, spec(), PLAIN)
    before = one.tensors["0.weight"].clone()
    state["0.weight"].zero_()
    assert torch.equal(one.tensors["0.weight"], before)


def test_a_regression_needs_no_class_names() -> None:
    one = imported(plain().state_dict(), spec(), Signature((5,), outputs=3))
    assert (one.about.facts.task, one.about.facts.classes) == ("regression", None)
    assert one.about.spec.loss is not None
    assert one.about.spec.loss.kind == "squared_error"


def test_a_dataset_of_ours_gives_shape_and_classes() -> None:
    facts = build_dataset("digits").facts
    network = nn.Sequential(nn.Linear(64, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 10))
    one = imported(network.state_dict(), spec(dataset="digits"), facts)
    assert one.about.facts == facts


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_what_a_wrapper_puts_before_every_name_is_taken_off(wrapper: str) -> None:
    state = resnet18(7, 8).state_dict()
    wrapped = {wrapper + name: tensor for name, tensor in state.items()}
    one = imported(wrapped, resnet_spec(), IMAGES)
    assert (one.report.naming, one.report.wrapper) == ("torchvision", wrapper)
    assert torch.equal(one.tensors["0.weight"], state["conv1.weight"])
    assert one.report.renamed[f"{wrapper}conv1.weight"] == "0.weight"


def test_averaged_weights_are_known_by_torch_s_own_wrapper(tmp_path: Path) -> None:
    average = AveragedModel(plain())
    average.update_parameters(plain())
    one = imported(average.state_dict(), spec(), PLAIN)
    assert (one.report.wrapper, one.report.averaged) == ("module.", True)
    assert [one.reason for one in errors(one.report.findings)] == ["BN_AVERAGED_NOT_RECALIBRATED"]
    assert through_a_file(one, tmp_path).about.is_averaged


def test_what_a_history_says_of_counters_is_kept(tmp_path: Path) -> None:
    state = plain().state_dict()
    state["1.num_batches_tracked"].zero_()
    known = imported(state, spec(), PLAIN)
    assert [one.reason for one in known.report.findings] == ["BN_NEVER_UPDATED"]
    history = History(unknown_age=("1",), initial_share=0.0)
    loaded = through_a_file(imported(state, spec(), PLAIN, history=history), tmp_path)
    assert (loaded.about.unknown_age, loaded.about.initial_share) == (("1",), 0.0)
    assert errors(imported(state, spec(), PLAIN, history=history).report.findings) == ()


def test_statistics_that_were_to_stay_and_moved_are_told() -> None:
    network = plain()
    before = fingerprint(
        {name: t for name, t in network.state_dict().items() if name.startswith("1.")}
    )
    network.train()(torch.randn(20, 5))
    frozen = History(frozen={"1": before})
    told = imported(network.state_dict(), spec(), PLAIN, history=frozen).report.findings
    assert ("BN_FROZEN_CHANGED", "1") in [(one.reason, one.layer) for one in told]
    stayed = imported(plain().state_dict(), spec(), PLAIN, history=frozen).report.findings
    assert "BN_FROZEN_CHANGED" not in [one.reason for one in stayed]


def test_a_counter_that_is_not_the_batches_that_were_told_is_an_error() -> None:
    state = plain().state_dict()
    count = int(state["1.num_batches_tracked"])
    same, half = (
        imported(state, spec(), PLAIN, history=History(batches=expected)).report.findings
        for expected in (count, count + 1)
    )
    assert not errors(same)
    [found] = errors(half)
    assert (found.reason, found.evidence["batches_tracked"]) == ("BN_COUNTER_MISMATCH", count)


def without(state: State, *names: str) -> State:
    return {name: tensor for name, tensor in state.items() if name not in names}


def test_a_missing_counter_is_told_and_its_age_stays_unknown_in_the_file(tmp_path: Path) -> None:
    state = resnet18(7, 8).state_dict()
    lost = ("bn1.num_batches_tracked", "layer2.0.downsample.1.num_batches_tracked")
    one = imported(without(state, *lost), resnet_spec(), IMAGES)
    assert one.report.filled == (
        "1.num_batches_tracked",
        "8.projection.1.num_batches_tracked",
    )
    loaded = through_a_file(one, tmp_path)
    assert loaded.about.unknown_age == ("1", "8.projection.1")
    state = loaded.network.state_dict()
    assert [int(state[name]) for name in one.report.filled] == [0, 0]
    assert int(state["4.branch.1.num_batches_tracked"]) == 321


def test_a_counter_of_0_that_is_in_the_file_is_known(tmp_path: Path) -> None:
    state = plain().state_dict()
    state["1.num_batches_tracked"].zero_()
    one = imported(state, spec(), PLAIN)
    assert one.report.filled == ()
    written = write(tmp_path / "x", one.tensors, one.about)
    with safe_open(written.path, "pt") as file:
        assert "unknown_age" not in file.metadata()


FAULTS: dict[str, dict[str, Tensor]] = {
    "BN_COUNTER_MISMATCH": {"1.num_batches_tracked": torch.tensor(-1)},
    "BN_NEVER_UPDATED": {"1.num_batches_tracked": torch.tensor(0)},
    "BN_STATS_AT_INIT": {
        "1.running_mean": torch.zeros(7),
        "1.running_var": torch.ones(7),
        "1.num_batches_tracked": torch.tensor(9),
    },
    "BN_VAR_NEGATIVE": {
        "1.running_var": -torch.ones(7),
        "1.num_batches_tracked": torch.tensor(90),
    },
}


@pytest.mark.parametrize(("reason", "planted"), FAULTS.items(), ids=FAULTS)
def test_what_is_wrong_with_the_statistics_is_told(reason: str, planted: State) -> None:
    one = imported(plain().state_dict() | planted, spec(), PLAIN)
    assert [finding.reason for finding in errors(one.report.findings)] == [reason]


def test_a_counter_that_is_not_in_the_file_never_stands_for_no_update() -> None:
    state = without(plain().state_dict(), "1.num_batches_tracked")
    one = imported(state, spec(), PLAIN)
    assert (one.about.unknown_age, one.report.findings) == (("1",), ())


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_widened_without_changing_a_value_and_told(half: torch.dtype) -> None:
    state = {name: one.to(half) if one.is_floating_point() else one
             for name, one in plain().state_dict().items()}  # fmt: skip
    one = imported(state, spec(), PLAIN)
    assert set(one.report.converted) == set(state) - {"1.num_batches_tracked"}
    assert set(one.report.converted.values()) == {str(half).removeprefix("torch.")}
    for name, tensor in state.items():
        expected = tensor.float() if tensor.is_floating_point() else tensor
        assert one.tensors[name].dtype == expected.dtype
        assert torch.equal(one.tensors[name], expected)


def test_a_float64_network_takes_float32_exactly_and_a_short_counter() -> None:
    state = plain().state_dict()
    state["1.num_batches_tracked"] = torch.tensor(9, dtype=torch.int32)
    one = imported(state, spec(precision="float64"), PLAIN)
    assert one.report.converted["0.weight"] == "float32"
    assert one.report.converted["1.num_batches_tracked"] == "int32"
    assert torch.equal(one.tensors["0.weight"], state["0.weight"].double())
    assert int(one.tensors["1.num_batches_tracked"]) == 9


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        ("0.weight", torch.zeros(7, 5).double(), "0.weight: expected float32, got float64"),
        ("0.weight", torch.zeros(7, 5).long(), "0.weight: expected float32, got int64"),
        ("1.running_var", torch.ones(7).int(), "1.running_var: expected float32, got int32"),
        (
            "1.num_batches_tracked",
            torch.tensor(3.0),
            "1.num_batches_tracked: expected int64, got float32",
        ),
    ],
)
def test_a_type_that_would_lose_bits_is_refused_by_name(
    name: str, wrong: Tensor, told: str
) -> None:
    with pytest.raises(ShapeMismatch) as refused:
        imported(plain().state_dict() | {name: wrong}, spec(), PLAIN)
    assert refused.value.metadata["wrong_type"] == [told]
    assert told in refused.value.message


def test_everything_that_does_not_fit_is_named_at_once() -> None:
    state = without(plain().state_dict(), "0.bias", "3.bias")
    state |= {
        "0.weight": torch.zeros(7, 4),
        "3.weight": torch.zeros(3, 7).double(),
        "head.weight": torch.zeros(1),
    }
    with pytest.raises(ShapeMismatch) as refused:
        imported(state, spec(), PLAIN)
    assert refused.value.metadata == {
        "missing": ["0.bias", "3.bias"],
        "unexpected": ["head.weight"],
        "wrong_shape": ["0.weight: expected (7, 5), got (7, 4)"],
        "wrong_type": ["3.weight: expected float32, got float64"],
        "counts": {"missing": 2, "unexpected": 1, "wrong_shape": 1, "wrong_type": 1},
    }


def test_what_is_missing_has_the_files_own_names() -> None:
    state = without(resnet18(7, 8).state_dict(), "fc.bias", "layer3.1.conv2.weight")
    with pytest.raises(ShapeMismatch) as refused:
        imported(state, resnet_spec(), IMAGES)
    assert refused.value.metadata["missing"] == ["fc.bias", "layer3.1.conv2.weight"]


def test_lists_of_names_are_bounded_and_hold_nothing_that_a_terminal_acts_on() -> None:
    many = {f"{i:04}\x1b[31m\u202e{'x' * 500}": torch.zeros(1) for i in range(1000)}
    with pytest.raises(ShapeMismatch) as refused:
        imported(plain().state_dict() | many, spec(), PLAIN)
    told = refused.value.metadata["unexpected"]
    assert (len(told), refused.value.metadata["counts"]) == (64, {"unexpected": 1000})
    assert max(len(name) for name in told) == 120
    assert told[0].startswith(r"0000\x1b[31m\u202exx")
    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 2000


@pytest.mark.parametrize(
    "names",
    [
        ("bn1.running_mean",),
        ("layer4.0.downsample.1.running_var", "layer4.0.bn2.running_mean"),
    ],
)
def test_missing_running_statistics_are_refused_by_name(names: tuple[str, ...]) -> None:
    state = without(resnet18(7, 8).state_dict(), *names, "fc.bias")
    with pytest.raises(StatisticsMissing) as refused:
        imported(state, resnet_spec(), IMAGES)
    assert refused.value.reason == "BN_STATS_MISSING"
    assert refused.value.metadata["statistics"] == sorted(names)
    assert refused.value.metadata["missing"] == sorted([*names, "fc.bias"])
    assert all(name in refused.value.message for name in names)


def test_a_variance_is_never_taken_for_a_deviation() -> None:
    norm = {"kind": "batch", "running": "deviation"}
    with pytest.raises(StatisticsMissing) as refused:
        imported(plain().state_dict(), spec(norm=norm), PLAIN)
    assert refused.value.metadata["statistics"] == ["1.running_deviation"]
    assert refused.value.metadata["unexpected"] == ["1.running_var"]


def test_a_norm_that_the_spec_does_not_have_is_unexpected() -> None:
    with pytest.raises(ShapeMismatch) as refused:
        imported(resnet18(7, 8).state_dict(), resnet_spec(norm="none"), IMAGES)
    assert refused.value.metadata["counts"] == {"unexpected": 20 * 5}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    state = plain().state_dict()
    state["3.weight"][1, 2] = value
    with pytest.raises(CheckpointRefused, match=r"1 weights hold .* not finite: 3\.weight"):
        imported(state, spec(), PLAIN)


def test_statistics_that_are_not_finite_come_in_and_are_named(tmp_path: Path) -> None:
    state = plain().state_dict()
    state["1.running_var"][3] = float("nan")
    one = imported(state, spec(), PLAIN)
    (finding,) = one.report.findings
    assert (finding.reason, finding.severity, finding.layer) == ("BN_STATS_NONFINITE", "error", "1")
    assert one.report.to_json()["findings"][0]["evidence"]["channels"] == [3]
    statistic = through_a_file(one, tmp_path).network.state_dict()["1.running_var"]
    assert bool(statistic[3].isnan())


def test_a_scaling_that_was_fitted_elsewhere_is_kept(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(4, 3, size=(40, 5))
    fitted = Scaling.fit("standard", rows, images=False)
    theirs = plain()
    one = imported(theirs.state_dict(), spec(scaling="standard"), PLAIN, scaling=fitted)
    predictor = Predictor(through_a_file(one, tmp_path))
    with torch.no_grad():
        scaled = torch.from_numpy((rows - rows.mean(0)) / rows.std(0)).float()
        expected = theirs(scaled).numpy()
    np.testing.assert_allclose(predictor.logits(rows), expected, rtol=0, atol=1e-5)


def test_a_spec_that_asks_for_a_scaling_that_nobody_fitted_is_refused() -> None:
    with pytest.raises(SpecRefused, match="the spec says standard, the import brings none") as no:
        imported(plain().state_dict(), spec(scaling="standard"), PLAIN)
    assert no.value.path == "scaling"


def test_a_network_of_indices_comes_in_and_looks_them_up(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 3))
    layers = [
        {"kind": "embedding", "num_embeddings": 9, "embedding_dim": 4},
        *({"kind": "flatten"}, {"kind": "linear"}),
    ]
    asked = spec({"kind": "layers", "layers": layers})
    one = imported(theirs.state_dict(), asked, PLAIN)
    rows = np.random.default_rng(0).integers(0, 9, (12, 5))
    with torch.no_grad():
        expected = theirs(torch.from_numpy(rows)).numpy()
    answers = Predictor(through_a_file(one, tmp_path)).logits(rows)
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-6)
    fitted = Scaling.fit("standard", rows, images=False)
    with pytest.raises(SpecRefused, match="no scaling may change") as refused:
        imported(theirs.state_dict(), asked, PLAIN, scaling=fitted)
    assert refused.value.path == "scaling"


@pytest.mark.parametrize(
    ("network", "theirs"),
    [
        (
            {"kind": "deep_linear", "layers": 2, "width": 4},
            nn.Sequential(
                nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 3, bias=False)
            ),
        ),
        (
            {"kind": "vgg", "width": 1 / 64, "image_shape": [5, 1, 1]},
            nn.Sequential(
                nn.Unflatten(1, (5, 1, 1)),
                *(nn.Conv2d(5, 1, 3, padding=1, bias=False), nn.BatchNorm2d(1), nn.ReLU()),
                *(nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.ReLU()),
                *(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
                *(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
                *(nn.Conv2d(4, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
                *(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
                *(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
                *(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
                *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
            ),
        ),
    ],
    ids=["deep_linear", "vgg"],
)
def test_other_kinds_come_in_under_the_names_of_a_plain_sequence(
    network: dict[str, Any], theirs: nn.Sequential, tmp_path: Path
) -> None:
    one = imported(theirs.state_dict(), spec(network), PLAIN)
    rows = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    with torch.no_grad():
        expected = theirs.eval()(torch.from_numpy(rows)).numpy()
    answers = Predictor(through_a_file(one, tmp_path)).logits(rows)
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("shift", "scale", "message"),
    [
        (np.zeros(4), np.ones(4), r"need shape \[5\], got \[\[4\], \[4\]\]"),
        (np.zeros(5), np.ones(4), r"need shape \[5\], got \[\[5\], \[4\]\]"),
        (np.zeros(5), np.array([1, 1, 0, 1, 1.0]), "must be finite, scale and divisor not 0"),
        (np.full(5, np.nan), np.ones(5), "must be finite, scale and divisor not 0"),
    ],
)
def test_a_scaling_that_cannot_be_applied_is_refused(
    shift: np.ndarray, scale: np.ndarray, message: str
) -> None:
    bad = Scaling("standard", 1.0, shift, scale)
    with pytest.raises(SpecRefused, match=message) as refused:
        imported(plain().state_dict(), spec(), PLAIN, scaling=bad)
    assert refused.value.path == "scaling"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input_shape": (), "outputs": 1}, "every axis of a row"),
        ({"input_shape": (3, 0, 2), "outputs": 1}, "every axis of a row"),
        ({"input_shape": (5,), "outputs": 1, "images": True}, "pixels come as"),
        ({"input_shape": (5,)}, "give class names, or"),
        ({"input_shape": (5,), "outputs": 0}, "give class names, or"),
        ({"input_shape": (5,), "outputs": -1}, "give class names, or"),
        ({"input_shape": (5,), "outputs": 2, "classes": ("a", "b")}, "give class names, or"),
    ],
    ids=str,
)
def test_a_signature_that_says_nothing_or_too_much_is_refused(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Signature(**fields)


def test_a_spec_that_does_not_fit_the_signature_is_refused() -> None:
    with pytest.raises(SpecRefused, match="resnet needs rows of"):
        imported(resnet18(7, 8).state_dict(), resnet_spec(), PLAIN)
