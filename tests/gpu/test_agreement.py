"""On a GPU everything says what it says on a CPU, up to rounding."""

from typing import Any

import pytest
import torch

from model import spec
from model.data.builtin import build as build_dataset
from model.measures.catalogue import CATALOGUE
from model.measures.engine import engine_of
from model.norms.batch import BatchNorm
from model.plan import Limits, check
from model.training.arrays import prepare
from model.training.loop import Happening, Training

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

CONVENTIONS: list[dict[str, Any]] = [
    {},
    {"momentum": None},
    {"normalize": "unbiased"},
    {"running": "deviation"},
    {"eps": 0.0, "affine": False},
]
ARMS: list[dict[str, Any]] = [
    {"norm": "batch"},
    {"norm": "none", "optimizer": {"kind": "adam"}},
    {"norm": {"kind": "batch", "momentum": None}, "precision": "float64"},
    {"norm": {"kind": "lp", "p": "inf"}, "precision": "float64"},
    {"norm": {"kind": "ghost_batch", "group_size": 12}, "precision": "float64"},
    {"norm": {"kind": "batch_renorm", "warmup_batches": 10}, "precision": "float64"},
]


@pytest.mark.parametrize("convention", CONVENTIONS, ids=str)
@pytest.mark.parametrize("shape", [(32, 8), (16, 8, 5, 5)])
def test_batch_norm_agrees_with_float64_on_the_cpu(
    convention: dict[str, Any], shape: tuple[int, ...]
) -> None:
    asked = spec.BatchNorm(kind="batch", **convention)
    near = BatchNorm(8, asked, device="cuda")
    exact = BatchNorm(8, asked, dtype=torch.float64)
    for _ in range(3):
        x = torch.randn(shape) * 3 + 5
        ours = near(x.cuda())
        torch.testing.assert_close(ours.cpu().double(), exact(x.double()), rtol=1e-4, atol=1e-4)
    for name, buffer in near.state_dict().items():
        expected = exact.state_dict()[name]
        torch.testing.assert_close(buffer.cpu().to(expected), expected, rtol=1e-5, atol=1e-5)


def training(device: str, **fields: Any) -> Training:
    digits = build_dataset("digits")
    body = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [32]}, **fields}
    asked = spec.RunSpec.model_validate({**body, "budget": {"steps": 90}})
    checked = check(asked, digits.facts, Limits(10**12, 10**15))
    where = torch.device(device)
    arrays = prepare(digits, checked.spec, where)
    return Training(checked, arrays, where, engine_of(checked, arrays, where))


def finish(one: Training) -> Happening:
    return list(one.run())[-1]


@pytest.mark.parametrize("arm", ARMS, ids=str)
def test_a_gpu_training_ends_near_its_cpu_twin(arm: dict[str, Any]) -> None:
    near, exact = finish(training("cuda", **arm)), finish(training("cpu", **arm))
    assert near.kept is not None
    assert exact.kept is not None
    for name, tensor in near.kept.tensors.items():
        torch.testing.assert_close(tensor, exact.kept.tensors[name], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("arm", ARMS, ids=str)
def test_a_gpu_training_resumes_where_it_stopped(arm: dict[str, Any]) -> None:
    whole = finish(training("cuda", **arm))
    first = training("cuda", **arm)
    for happening in first.run():
        if happening.step >= 50:
            break
    second = training("cuda", **arm)
    second.resume(first.resume_point())
    end = finish(second)
    assert whole.kept is not None
    assert end.kept is not None
    for name, tensor in end.kept.tensors.items():
        torch.testing.assert_close(tensor, whole.kept.tensors[name], rtol=1e-5, atol=1e-6)


def test_bfloat16_trains_with_float32_masters_and_statistics() -> None:
    end = finish(training("cuda", norm="batch", precision="bfloat16", device="cuda"))
    assert end.ended == "completed"
    assert end.kept is not None
    floats = {t.dtype for name, t in end.kept.tensors.items() if "tracked" not in name}
    assert floats == {torch.float32}
    scores = {point.name: point.value for point in end.points}
    assert scores["test_accuracy"] > 0.85


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("norm", ["batch", "noisy_batch"])
def test_measures_leave_a_gpu_training_as_it_is(norm: str, precision: str) -> None:
    fields = {"norm": norm, "precision": precision, "device": "cuda"}
    alone, measured = training("cuda", **fields), training("cuda", **fields, measures=[*CATALOGUE])
    states = []
    for one in (alone, measured):
        torch.cuda.manual_seed(0)  # both were seeded when they were made
        finish(one)
        states.append((one.network.state_dict(), torch.cuda.get_rng_state()))
    (plain, drawn), (looked_at, drawn_too) = states
    assert torch.equal(drawn, drawn_too)
    for name, tensor in looked_at.items():
        torch.testing.assert_close(tensor, plain[name], rtol=1e-5, atol=1e-6)
