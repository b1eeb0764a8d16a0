"""Proofs of eval mode: a row's answer depends on nothing but the row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoint import About, Loaded, load, write
from model.data.builtin import build as build_dataset
from model.errors import InputRefused
from model.plan import Limits, check
from model.predict import Predictor
from model.spec import RunSpec
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


def test_a_rows_logits_are_the_same_alone_in_any_order_and_among_any_neighbours(
    loaded: Loaded,
) -> None:
    predictor = Predictor(loaded)
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


def test_predicting_a_thousand_times_leaves_every_byte_as_it_was(loaded: Loaded) -> None:
    before = {name: t.clone() for name, t in loaded.network.state_dict().items()}
    random_state = torch.get_rng_state()
    predictor = Predictor(loaded)
    for start in range(1000):
        predictor.logits(DIGITS.inputs[start : start + 3])
    assert torch.equal(torch.get_rng_state(), random_state)
    for name, tensor in loaded.network.state_dict().items():
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


def test_wide_rows_pass_in_blocks_that_fit_into_memory(tmp_path: Path) -> None:
    predictor = Predictor(trained(tmp_path, "batch", network={"kind": "mlp", "hidden": [60_000]}))
    seen: list[int] = []
    predictor.loaded.network.register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    predictor.logits(DIGITS.inputs[:200])
    per_row = 4 * (64 + 3 * 60_000 + 10)  # linear, norm and activation keep one value a unit
    assert seen == [2**26 // per_row, 2**26 // per_row, 14]
