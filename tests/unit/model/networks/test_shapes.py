"""What enters each module, found without waking torch's compiler."""

import subprocess
import sys

import torch
from torch import nn

from model.networks.shapes import input_shapes

SCRIPT = """
import sys, torch
from model.networks.build import build
from model.networks.fold import fold
from model.plan import plan
from model.data.dataset import Facts
from model.spec import RunSpec
facts = Facts(9, (4,), ("a", "b"), 2, "classification", None, None, False, "sha256:0")
for norm in ("batch", "layer", {"kind": "group", "groups": 1}):
    spec = {"dataset": "d", "network": {"kind": "mlp", "hidden": [5]}, "norm": norm}
    planned = plan(RunSpec.model_validate(spec), facts)
    with torch.device("meta"):
        build(planned)
    fold(build(planned).eval(), (4,))
print(sorted({"sympy", "torch._dynamo"} & set(sys.modules)))
"""


def test_every_module_is_told_the_shape_of_one_row_of_its_input() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Sequential(nn.Flatten(), nn.Linear(24, 2))
    ).eval()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    assert input_shapes(network, (3, 4, 4)) == {
        "": (3, 4, 4),
        "0": (3, 4, 4),
        "1": (6, 2, 2),
        "2": (6, 2, 2),
        "2.0": (6, 2, 2),
        "2.1": (24,),
    }
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_double_precision_is_answered_in_double_precision() -> None:
    assert input_shapes(nn.Linear(3, 2).double(), (3,)) == {"": (3,)}


def test_building_and_folding_load_no_compiler() -> None:
    # It takes seconds, in the middle of the first prediction of a process.
    command = [sys.executable, "-c", SCRIPT]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
