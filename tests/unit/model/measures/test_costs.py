"""What a probe of each measure says that it costs, against the rows that pass."""

import copy
from dataclasses import replace

import pytest

from model.measures.catalogue import CATALOGUE, passes_of, probe_of
from model.measures.probe import Block, Setting, StateProbe
from model.measures.shadow import moment
from model.training.losses import loss_function

WIDE = {"kind": "mlp", "hidden": [6, 5, 4], "activation": "tanh"}
CONV = [
    {"kind": "conv2d", "out_channels": 3, "kernel_size": 3},
    {"kind": "norm"},
    {"kind": "activation", "activation": "relu"},
    {"kind": "residual", "layers": [{"kind": "conv2d", "out_channels": 3, "padding": 1}]},
    {"kind": "flatten"},
    {"kind": "linear"},
]
SHAPES = {"mlp": (WIDE, (4,)), "conv": (CONV, (1, 5, 5))}


class Counted:
    """Row-passes of a network: forward 1 a row, and backward twice that."""

    def __init__(self, *networks):
        self.passes = 0
        for network in networks:
            # A function stays one where a network is copied; a method would get a count of its own.
            network.register_forward_hook(lambda *passed: self.note(*passed))

    def note(self, _, inputs, output):
        rows = len(inputs[0])
        self.passes += rows
        if output.requires_grad:
            output.register_hook(lambda _: self.backward(rows))

    def backward(self, rows):
        self.passes += 2 * rows


@pytest.mark.parametrize("rows", [64, 2_500])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", CATALOGUE)
def test_as_many_rows_pass_as_a_measure_says(
    kind, shape, rows, make_checked, make_network, make_blocks
):
    layers, input_shape = SHAPES[shape]
    split = {"test": 0.0, "calibration": 0.0}
    checked = make_checked(layers, input_shape, rows=rows, split=split, measures=[kind])
    (asked,) = checked.spec.measures
    sizes = [64] if rows == 64 else [1_000, 1_000]
    fixed = make_blocks(input_shape, sizes)
    batch = Block(fixed[0].inputs[:32], fixed[0].targets[:32])
    before = moment(make_network(layers, input_shape), 5, batch, fixed, 0.1)
    after = replace(before, step=6, network=copy.deepcopy(before.network))
    counted = Counted(before.network, after.network)
    probe = probe_of(asked, Setting(checked, loss_function("cross_entropy")))

    taken = probe.look(before) if isinstance(probe, StateProbe) else probe.compare(before, after)

    assert taken.values
    assert counted.passes == passes_of(asked, checked)
