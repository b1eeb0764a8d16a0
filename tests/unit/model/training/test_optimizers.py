import pytest
import torch
from torch import nn

from model import spec
from model.training.optimizers import build_optimizer

CASES = {
    "plain": ({"kind": "sgd", "lr": 0.2}, torch.optim.SGD, {"lr": 0.2}),
    "decay": (
        {"kind": "sgd", "lr": 0.2, "weight_decay": 0.01},
        torch.optim.SGD,
        {"lr": 0.2, "weight_decay": 0.01},
    ),
    "momentum": (
        {"kind": "sgd", "momentum": 0.9},
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9},
    ),
    "nesterov": (
        {"kind": "sgd", "momentum": 0.9, "nesterov": True},
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    ),
    "adam": (
        {"kind": "adam", "beta1": 0.8, "eps": 1e-6, "weight_decay": 0.1},
        torch.optim.Adam,
        {"lr": 1e-3, "betas": (0.8, 0.999), "eps": 1e-6, "weight_decay": 0.1},
    ),
    "adamw": (
        {"kind": "adamw", "beta2": 0.99},
        torch.optim.AdamW,
        {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.01},
    ),
}
KINDS = {"sgd": spec.Sgd, "adam": spec.Adam, "adamw": spec.AdamW}


def network():
    made = nn.Linear(6, 4, dtype=torch.float64)
    made.load_state_dict({"weight": torch.eye(4, 6), "bias": torch.ones(4)})
    return made


def train(made, optimizer, steps=20):
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        rows = torch.randn(8, 6, generator=generator, dtype=torch.float64)
        made(rows).tanh().square().sum().backward()
        optimizer.step()
    return nn.utils.parameters_to_vector(made.parameters()).detach()


@pytest.mark.parametrize(("asked", "kind", "arguments"), CASES.values(), ids=CASES)
def test_the_optimizer_is_torch_s_with_the_asked_arguments(asked, kind, arguments):
    ours, theirs = network(), network()

    moved = train(ours, build_optimizer(KINDS[asked["kind"]].model_validate(asked), ours))
    expected = train(theirs, kind(theirs.parameters(), foreach=False, **arguments))

    torch.testing.assert_close(moved, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(("asked", "kind", "arguments"), CASES.values(), ids=CASES)
def test_two_trainings_end_with_the_same_bits(asked, kind, arguments):
    chosen = KINDS[asked["kind"]].model_validate(asked)
    ends = []
    for _ in range(2):
        made = network()
        ends.append(train(made, build_optimizer(chosen, made)))

    assert torch.equal(*ends)
