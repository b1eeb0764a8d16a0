from collections.abc import Callable

import pytest
import torch
from torch import nn

from model.networks.build import build
from model.networks.init import initialize
from model.plan import plan


@pytest.fixture(scope="session")
def make_network(make_facts, make_spec) -> Callable[..., nn.Sequential]:
    """A network in eval mode with random weights and statistics of random batches."""

    def make(input_shape=(6,), network=None, norm="batch", **fields):
        spec = make_spec(network or {"kind": "mlp", "hidden": [8, 8]}, norm=norm, **fields)
        planned = plan(spec, make_facts(input_shape, 3))
        built = build(planned)
        generator = torch.Generator().manual_seed(7)
        initialize(built, planned, spec.init, generator)
        for _ in range(40):
            built(torch.randn(64, *input_shape, generator=generator))
        return built.eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def image_layers():
    branch = [{"kind": "conv2d", "out_channels": 4, "padding": 1}, {"kind": "norm"}]
    return [
        {"kind": "conv2d", "out_channels": 4, "padding": 1},
        {"kind": "norm"},
        {"kind": "activation"},
        {"kind": "residual", "layers": branch, "projection": True},
        {"kind": "activation"},
        {"kind": "flatten"},
        {"kind": "linear"},
    ]
