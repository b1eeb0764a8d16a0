"""Estimates of how long runs take: multiply-adds against torch's own count, and their order."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from model.data.dataset import Facts
from model.lab.cost import multiply_adds, run_seconds
from model.lab.results import NO_LIMITS
from model.networks.build import build
from model.plan import Checked, check
from model.spec import RunSpec

IMAGES = Facts(
    task="classification",
    input_shape=(3, 32, 32),
    classes=tuple("0123456789"),
    outputs=10,
    rows=1000,
    train_rows=None,
    test_rows=None,
    images=True,
    fingerprint="sha256:0",
)


def checked(network: dict[str, Any], **fields: Any) -> Checked:
    body = {"dataset": "rows", "network": network, "device": "cpu"} | fields
    return check(RunSpec.model_validate(body), IMAGES, NO_LIMITS)


@pytest.mark.parametrize(
    "network",
    [
        {"kind": "resnet", "depth": 20, "width": 4},
        {
            "kind": "layers",
            "layers": [
                {"kind": "conv2d", "out_channels": 5, "stride": 2, "padding": 1},
                {"kind": "flatten"},
                {"kind": "linear", "out_features": 7},
                {"kind": "linear"},
            ],
        },
    ],
)
def test_multiply_adds_are_those_that_torch_counts(network: dict[str, Any]) -> None:
    planned = checked(network).plan
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        build(planned, dtype=torch.float32).eval()(torch.zeros(1, 3, 32, 32))
    assert sum(map(multiply_adds, planned.walk())) * 2 == counter.get_total_flops()


def test_a_run_takes_longer_the_more_there_is_to_do() -> None:
    small = {"kind": "layers", "layers": [{"kind": "flatten"}, {"kind": "linear"}]}
    wide = {
        "kind": "layers",
        "layers": [
            *({"kind": "flatten"}, {"kind": "linear", "out_features": 4000}),
            {"kind": "linear"},
        ],
    }
    plain = run_seconds(checked(small))
    assert run_seconds(checked(wide)) > 5 * plain
    assert run_seconds(checked(small, budget={"epochs": 200})) > 5 * plain
    assert run_seconds(checked(wide, precision="float64")) > run_seconds(checked(wide))
    longer = {"budget": {"epochs": 200}}
    measured = run_seconds(checked(wide, measures=["gradients"], **longer))
    assert 1 < measured / run_seconds(checked(wide, **longer)) < 1.09
