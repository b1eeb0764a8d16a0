"""What every measure of a network as it stands must keep: all of it, bit by bit."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from model import spec
from model.measures import gradients, histograms, input_shift, moments, percentiles, saturation
from model.measures.dead import loss_changes_of, steepest_changes_of
from model.measures.gradients import gradients_of
from model.measures.histograms import histograms_of
from model.measures.input_shift import input_shift_of
from model.measures.moments import moments_of
from model.measures.percentiles import percentiles_of
from model.measures.probe import Block, StateProbe
from model.measures.readings import MOST_BYTES, measured
from model.measures.saturation import saturation_of
from model.measures.untouched import untouched
from model.training.losses import loss_function

LOSS = loss_function("cross_entropy")
MLP = [
    {"kind": "linear", "out_features": 8},
    {"kind": "norm"},
    {"kind": "activation", "activation": "tanh"},
    {"kind": "dropout", "p": 0.5},
    {"kind": "linear"},
]
CONV = [
    {"kind": "conv2d", "out_channels": 4, "padding": 1},
    {"kind": "norm"},
    {"kind": "activation", "activation": "relu"},
    {"kind": "residual", "layers": [{"kind": "conv2d", "out_channels": 4, "padding": 1}]},
    {"kind": "activation", "activation": "sigmoid"},
    {"kind": "pool", "pool": "global_avg"},
    {"kind": "flatten"},
    {"kind": "linear"},
]
SHAPES = {"mlp": (MLP, (4,)), "conv": (CONV, (2, 5, 5))}
FUNCTIONS = {
    "saturation": saturation_of,
    "map": partial(saturation_of, with_map=True),
    "steepest": partial(steepest_changes_of, loss="cross_entropy"),
    "loss_changes": partial(loss_changes_of, loss="cross_entropy"),
    "gradients": lambda network, blocks: gradients_of(network, blocks[0], LOSS, after=network),
    "histograms": lambda network, blocks: histograms_of(network, blocks[0], LOSS),
    "input_shift": lambda network, blocks: input_shift_of(network, network, blocks),
    "percentiles": percentiles_of,
    "moments": moments_of,
}
PROBES = {
    "saturation": saturation.probe,
    "gradients": gradients.probe,
    "histograms": histograms.probe,
    "input_shift": input_shift.probe,
    "percentiles": percentiles.probe,
    "moments": moments.probe,
}
KINDS = {
    "saturation": spec.Saturation,
    "gradients": spec.Gradients,
    "histograms": spec.Histograms,
    "input_shift": spec.InputShift,
    "percentiles": spec.Percentiles,
    "moments": spec.Moments,
}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("measure", FUNCTIONS)
def test_a_measure_leaves_a_network_and_the_generators_bit_by_bit(
    measure, kind, mode, make_network, make_blocks, unchanged
):
    layers, shape = SHAPES[kind]
    network = make_network(layers, shape, norm="batch").train(mode == "train")

    with unchanged(network):
        FUNCTIONS[measure](network, make_blocks(shape, [20, 13]))


@pytest.mark.parametrize("measure", FUNCTIONS)
def test_the_same_is_found_twice(measure, make_network, make_blocks):
    network = make_network(MLP, norm="batch")  # with a dropout that draws
    blocks = make_blocks((4,), [20, 13])

    assert repr(FUNCTIONS[measure](network, blocks)) == repr(FUNCTIONS[measure](network, blocks))


RENORM = {"kind": "batch_renorm", "warmup_batches": 0, "r_ramp_batches": 0, "d_ramp_batches": 0}
BY_BLOCK = [one for one in FUNCTIONS if one not in ("gradients", "histograms")]


@pytest.mark.parametrize("measure", BY_BLOCK)
def test_a_block_is_answered_alike_however_many_came_before_it(measure, make_network, make_blocks):
    """Of a norm that reads its running statistics in training, and moves them at each pass."""
    network = make_network(MLP, norm=RENORM)
    (block,) = make_blocks((4,), [20])
    answers = []
    network.register_forward_hook(lambda *passed: answers.append(passed[-1].detach()))
    network[3].eval()  # dropout, which has nothing to do with it

    FUNCTIONS[measure](network, (block, block, block))

    assert len(answers) >= 3
    assert all(torch.equal(one, answers[0]) for one in answers)


def test_copies_of_a_block_have_the_moments_of_one(make_network, make_blocks):
    network = make_network(MLP, norm=RENORM)
    (block,) = make_blocks((4,), [20])

    (one,), (many,) = moments_of(network, [block]), moments_of(network, [block] * 5)

    torch.testing.assert_close(many.before.mean, one.before.mean)
    torch.testing.assert_close(many.before.variance(0), one.before.variance(0))


class Stopping(nn.Module):
    """A layer at which every pass ends in an error, after others have run."""

    def forward(self, x):
        raise Stopped


class Stopped(Exception):
    pass


@pytest.mark.parametrize("measure", FUNCTIONS)
def test_an_error_in_a_pass_leaves_no_hook_and_no_trace(
    measure, make_network, make_blocks, unchanged
):
    network = make_network(MLP, norm="batch")
    network.append(Stopping())

    with unchanged(network), pytest.raises(Stopped):
        FUNCTIONS[measure](network, make_blocks((4,), [20]))


@pytest.mark.parametrize("measure", FUNCTIONS)
def test_a_network_without_activations_is_no_error(measure, make_network, make_blocks):
    found = FUNCTIONS[measure](make_network([{"kind": "linear"}]), make_blocks((4,), [20]))

    if measure not in ("gradients", "input_shift"):
        assert len(getattr(found, "layers", found)) == 0


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("measure", PROBES)
def test_a_probe_leaves_its_moment_as_it_was_and_reads_what_json_holds(
    measure, kind, make_moment, unchanged
):
    layers, shape = SHAPES[kind]
    at, setting = make_moment(layers, 40, shape, norm="batch")
    asked = KINDS[measure](kind=measure)
    probe = PROBES[measure](asked, setting)

    with unchanged(at.network):
        taken = probe.look(at) if isinstance(probe, StateProbe) else probe.compare(at, at)

    assert taken.values
    assert all(name.startswith(f"{measure}.") for name in taken.values)
    assert measured(measure, 0, taken).data == taken.data  # no NaN, no tensor, not too large


@pytest.mark.parametrize("measure", PROBES)
def test_a_network_of_nan_is_read_as_null(measure, make_moment):
    at, setting = make_moment(MLP, 40, norm="batch")
    with torch.no_grad():
        for one in at.network.parameters():
            one.fill_(torch.nan)
    probe = PROBES[measure](KINDS[measure](kind=measure), setting)

    taken = probe.look(at) if isinstance(probe, StateProbe) else probe.compare(at, at)

    kept = measured(measure, 0, taken).data
    assert kept == taken.data
    assert any(value != value for value in taken.values.values())
    assert "NaN" not in repr(kept)


@pytest.mark.parametrize("measure", PROBES)
def test_a_very_wide_network_is_told_of_within_what_is_kept(measure, make_moment):
    at, setting = make_moment({"kind": "mlp", "hidden": [12_000]}, 80, precision="float32")
    at = narrow(at)
    probe = PROBES[measure](KINDS[measure](kind=measure), setting)

    taken = probe.look(at) if isinstance(probe, StateProbe) else probe.compare(at, at)

    assert "bytes" not in measured(measure, 0, taken).data, MOST_BYTES


def narrow(at):
    """The same moment with rows in float32."""
    rows = tuple(replace(block, inputs=block.inputs.float()) for block in at.rows)
    return replace(at, rows=rows, batch=replace(at.batch, inputs=at.batch.inputs.float()))


class Counting(nn.Module):
    """Answers differently at every pass: a norm that reads what it has tracked."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        self.passes += 1
        return x + self.passes + torch.rand(())


def test_every_pass_begins_with_the_same_buffers_and_noise():
    network = nn.Sequential(nn.Linear(2, 2), Counting())
    x = torch.zeros(1, 2)

    with untouched(network) as begin:
        begin()
        first, second = network(x), network(x)
        begin()
        again = network(x)

    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert network[1].passes == 0


def test_every_block_begins_with_the_same_buffers_and_draws_noise_of_its_own():
    network, x = nn.Sequential(nn.Linear(2, 2), Counting()), torch.zeros(1, 2)
    block, passes, answers = Block(x, x), [], []

    with untouched(network) as begin:
        for _ in range(2):
            for one in begin.each([block, block]):
                passes.append(int(network[1].passes))
                answers.append(network(one.inputs))

    assert passes == [0, 0, 0, 0]
    assert torch.equal(answers[0], answers[2])
    assert torch.equal(answers[1], answers[3])
    assert not torch.equal(answers[0], answers[1])
