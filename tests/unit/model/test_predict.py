"""Proofs of eval mode: a row's answer depends on nothing but the row, folded or not."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoint import About, Loaded, assembled, load, write
from model.data.builtin import build as build_dataset
from model.data.scaling import Scaling
from model.errors import InputRefused
from model.networks.build import build
from model.networks.init import initialize
from model.norms.batch import BatchNorm
from model.plan import Limits, check, plan
from model.predict import Predictor
from model.spec import RunSpec
from model.statistics.drift.monitor import Monitor
from model.statistics.drift.reference import running
from model.statistics.drift.state import DriftState
from model.statistics.drift.thresholds import Thresholds
from model.training.arrays import prepare
from model.training.loop import Training

DIGITS = build_dataset("digits")
NORMS: list[Any] = [
    "none",
    "batch",
    "layer",
    {"kind": "group", "groups": 4},
    {"kind": "batch", "running": "deviation", "eps": 1e-5},
]


def trained(folder: Path, norm: Any, **fields: Any) -> Loaded:
    body = {
        "dataset": "digits",
        "network": {"kind": "mlp", "hidden": [32, 32]},
        "norm": norm,
        "budget": {"steps": 60},
        **fields,
    }
    checked = check(RunSpec.model_validate(body), DIGITS.facts, Limits(10**12, 10**15))
    arrays = prepare(DIGITS, checked.spec, torch.device("cpu"))
    end = list(Training(checked, arrays, torch.device("cpu")).run())[-1]
    assert end.kept is not None
    about = About(checked.spec, DIGITS.facts, arrays.scaling, end.kept.step)
    return load(write(folder / "x", end.kept.tensors, about).path)


@pytest.fixture(scope="module", params=NORMS, ids=str)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return trained(tmp_path_factory.mktemp("predict"), request.param)


@pytest.fixture(params=[None, 200], ids=["as trained", "calibrated"])
def predictor(request: pytest.FixtureRequest, loaded: Loaded) -> Predictor:
    """With calibration rows, batch norms are folded; other norms and none have nothing to fold."""
    predictor = Predictor(loaded, request.param and DIGITS.inputs[: request.param])
    has_norms = any(isinstance(module, BatchNorm) for module in loaded.network.modules())
    assert (predictor.folded is not None) == (has_norms and request.param is not None)
    return predictor


def test_a_rows_logits_are_the_same_alone_in_any_order_and_among_any_neighbours(
    predictor: Predictor,
) -> None:
    rows = DIGITS.inputs[:300]
    whole = predictor.logits(rows)
    near = 1e-5 * np.abs(whole).max()
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_allclose(predictor.logits(rows[order]), whole[order], rtol=0, atol=near)
    for index in (0, 7, 299):
        alone = predictor.logits(rows[index : index + 1])
        np.testing.assert_allclose(alone[0], whole[index], rtol=0, atol=near)
        strangers = rows[:12].copy()
        strangers[1:] = 1e6
        strangers[0] = rows[index]
        among = predictor.logits(strangers)
        np.testing.assert_allclose(among[0], whole[index], rtol=0, atol=near)
        np.testing.assert_array_equal(predictor.logits(strangers[:8])[0], alone[0])


def test_predicting_a_thousand_times_leaves_every_byte_as_it_was(predictor: Predictor) -> None:
    before = {name: t.clone() for name, t in predictor.network.state_dict().items()}
    random_state = torch.get_rng_state()
    for start in range(1000):
        predictor.logits(DIGITS.inputs[start : start + 3])
    assert torch.equal(torch.get_rng_state(), random_state)
    for name, tensor in predictor.network.state_dict().items():
        assert tensor.numpy().tobytes() == before[name].numpy().tobytes(), name


def test_a_loaded_network_is_in_eval_mode_and_learns_nothing(loaded: Loaded) -> None:
    assert not any(module.training for module in loaded.network.modules())
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())


def test_a_thousand_and_more_rows_are_answered_in_blocks(tmp_path: Path) -> None:
    predictor = Predictor(trained(tmp_path, "batch"))
    rows = np.concatenate([DIGITS.inputs, DIGITS.inputs])
    assert len(rows) > 2 * predictor.loaded.block_rows
    answers = predictor.logits(rows)
    near = 1e-5 * np.abs(answers).max()
    np.testing.assert_allclose(answers[:1797], answers[1797:], rtol=0, atol=near)


def test_a_float64_run_answers_in_float64(tmp_path: Path) -> None:
    predictor = Predictor(trained(tmp_path, "batch", precision="float64"))
    assert predictor.logits(DIGITS.inputs[:2]).dtype == np.float64


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((2, 63)), r"expected rows of shape \[64\], got inputs of shape \[2, 63\]"),
        (np.zeros(64), r"got inputs of shape \[64\]"),
        (np.zeros((0, 64)), "at least one row"),
        (np.full((1, 64), np.nan), "row 0 holds a value that is not finite"),
        (np.array([[0.0] * 64, [1e300] * 64]), "row 1 holds a value that is too large"),
    ],
)
def test_rows_that_cannot_be_answered_are_refused(
    tmp_path: Path, rows: np.ndarray, message: str
) -> None:
    predictor = Predictor(trained(tmp_path, "batch"))
    with pytest.raises(InputRefused, match=message):
        predictor.logits(rows)


def test_indices_are_looked_up_and_others_refused_by_row(tmp_path: Path) -> None:
    layers = [
        {"kind": "embedding", "num_embeddings": 17, "embedding_dim": 2},
        *({"kind": "flatten"}, {"kind": "norm"}, {"kind": "linear"}),
    ]
    network = {"kind": "layers", "layers": layers}
    loaded = trained(tmp_path, "batch", network=network, scaling="none")
    predictor = Predictor(loaded, DIGITS.inputs[:100])  # digits are whole numbers up to 16
    assert predictor.refusal is None
    logits = predictor.logits(DIGITS.inputs[:3])
    with torch.no_grad():
        expected = loaded.network(torch.from_numpy(DIGITS.inputs[:3]))
    np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=1e-5)
    for bad in (17, -1, 0.5):
        rows = DIGITS.inputs[:3].copy()
        rows[2, 63] = bad
        with pytest.raises(InputRefused, match="row 2 holds a value that is no index") as refused:
            predictor.logits(rows)
        assert refused.value.metadata == {"row": 2, "layer": "0", "largest": 16}


def test_wide_rows_pass_in_blocks_that_fit_into_memory(tmp_path: Path) -> None:
    predictor = Predictor(trained(tmp_path, "batch", network={"kind": "mlp", "hidden": [60_000]}))
    seen: list[int] = []
    predictor.loaded.network.register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    predictor.logits(DIGITS.inputs[:200])
    per_row = 4 * (64 + 3 * 60_000 + 10)  # linear, norm and activation keep one value a unit
    assert seen == [2**26 // per_row, 2**26 // per_row, 14]


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_calibrated_it_answers_from_a_folded_copy(tmp_path: Path, precision: str) -> None:
    loaded = trained(tmp_path, "batch", precision=precision)
    before = {name: t.clone() for name, t in loaded.network.state_dict().items()}
    random_state = torch.get_rng_state()
    predictor = Predictor(loaded, DIGITS.inputs[:150])
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(t, before[name]) for name, t in loaded.network.state_dict().items())
    assert predictor.loaded is loaded
    assert predictor.refusal is None
    assert predictor.folded is not None
    assert [one.norm for one in predictor.folded.in_layers] == ["1", "4"]
    assert predictor.network is predictor.folded.network
    assert not any(isinstance(module, BatchNorm) for module in predictor.network.modules())
    assert predictor.comparison is not None
    assert predictor.comparison.rows == 150
    expected = Predictor(loaded).logits(DIGITS.inputs)
    found = predictor.logits(DIGITS.inputs)
    assert found.dtype == expected.dtype
    near = (1e-5 if precision == "float32" else 1e-12) * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=near)


def of_images() -> Loaded:
    """A network that takes the digits as images, with statistics of random batches."""
    layers = [{"kind": "conv2d", "out_channels": 3}, {"kind": "norm"}, {"kind": "flatten"}]
    network = {"kind": "layers", "layers": [*layers, {"kind": "linear"}]}
    spec = RunSpec.model_validate({"dataset": "any", "network": network, "norm": "batch"})
    facts = replace(DIGITS.facts, input_shape=(1, 8, 8))
    built = build(plan(spec, facts))
    generator = torch.Generator().manual_seed(0)
    initialize(built, plan(spec, facts), spec.init, generator)
    for _ in range(20):
        built(torch.randn(32, 1, 8, 8, generator=generator))
    scaling = Scaling.fit("standard", DIGITS.inputs.reshape(-1, 1, 8, 8), True)
    return assembled(built.state_dict(), About(spec, facts, scaling, 20))


@pytest.mark.parametrize("shape", [(64,), (1, 8, 8)])
def test_calibration_rows_may_be_flat(shape: tuple[int, ...]) -> None:
    loaded = of_images()
    predictor = Predictor(loaded, DIGITS.inputs[:50].reshape(50, *shape))
    assert predictor.folded is not None
    expected = Predictor(loaded).logits(DIGITS.inputs[50:90])
    near = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(predictor.logits(DIGITS.inputs[50:90]), expected, rtol=0, atol=near)


def assert_serves_as_trained(predictor: Predictor, refusal: str | None) -> None:
    assert predictor.network is predictor.loaded.network
    assert (predictor.folded, predictor.comparison) == (None, None)
    if refusal is None:
        assert predictor.refusal is None
    else:
        assert predictor.refusal is not None
        assert refusal in predictor.refusal


@pytest.mark.parametrize(
    ("rows", "refusal"),
    [
        (None, None),
        (np.zeros((0, 64)), "at least one row"),
        (np.zeros((9, 63)), "expected rows of shape [64]"),
        (np.full((9, 64), np.inf), "row 0 holds a value that is not finite"),
    ],
)
def test_without_rows_that_it_can_answer_it_serves_as_trained(
    tmp_path: Path, rows: Any, refusal: str | None
) -> None:
    assert_serves_as_trained(Predictor(trained(tmp_path, "batch"), rows), refusal)


@pytest.mark.parametrize(
    "norm", ["none", "layer", {"kind": "batch", "placement": "after_activation"}]
)
def test_without_anything_to_fold_it_serves_as_trained(tmp_path: Path, norm: Any) -> None:
    assert_serves_as_trained(Predictor(trained(tmp_path, norm), DIGITS.inputs[:50]), None)


def test_a_fold_that_is_refused_serves_as_trained(tmp_path: Path) -> None:
    loaded = trained(tmp_path, {"kind": "batch", "running": "deviation"}, scaling="none")
    norm, layer = loaded.network[1], loaded.network[0]
    # Whole numbers below 2**24: the centered sum is exact, until the fold makes fractions of them.
    layer.weight.fill_(3)
    layer.bias.zero_()
    norm.running_mean.fill_(3 * 64 * 10_000)
    norm.running_deviation.fill_(1000)
    predictor = Predictor(loaded, 10_000 + DIGITS.inputs[:100])
    assert_serves_as_trained(predictor, "of the largest logit against float64")
    norm.running_deviation[3] = 0
    assert_serves_as_trained(Predictor(loaded, DIGITS.inputs[:9]), "scale or shift is not finite")


def test_a_gain_of_exactly_zero_serves_as_trained_and_is_watched(tmp_path: Path) -> None:
    loaded = trained(tmp_path, "batch")
    loaded.network[1].weight[3] = 0
    predictor = Predictor(loaded, DIGITS.inputs[:100])
    assert_serves_as_trained(predictor, "norm 1: the gain of channel 3 is 0")
    state = watched(predictor, DIGITS.inputs[:64] + 5)
    assert all(0 < layer.score < 1e6 for layer in state.layers)


def watched(predictor: Predictor, rows: np.ndarray) -> DriftState:
    """What a monitor says of rows that are asked for one by one."""
    references = running(predictor.loaded.network)
    names = tuple(one.name for one in references)
    drift = Monitor(references, Thresholds(512, names, {64: (1.0, 1.0)}), 10, math.inf)
    for row in rows:
        with drift.watching(predictor.watch(), 1):
            predictor.logits(row[None])
    return drift.state()


def test_folded_or_not_the_same_drift_is_watched(tmp_path: Path) -> None:
    loaded = trained(tmp_path, "batch")
    plain, folded = Predictor(loaded), Predictor(loaded, DIGITS.inputs[:100])
    rows = DIGITS.inputs[:64] + 1
    expected, state = watched(plain, rows), watched(folded, rows)
    assert state.rows == 64
    assert state.predicted_classes == expected.predicted_classes
    for layer, other in zip(state.layers, expected.layers, strict=True):
        assert layer.score == pytest.approx(other.score, rel=1e-4)


def test_watching_changes_no_answer_and_has_one_probe(predictor: Predictor) -> None:
    rows = DIGITS.inputs[:20]
    plain = predictor.logits(rows)
    probe = predictor.watch()
    assert predictor.watch() is probe
    passes: list[Any] = []
    probe.listen(passes.append)
    np.testing.assert_array_equal(predictor.logits(rows), plain)
    probe.listen(None)
    assert len(passes) == 1
