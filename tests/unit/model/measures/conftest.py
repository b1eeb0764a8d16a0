import contextlib

import pytest
import torch

from model.measures.probe import Block, Setting
from model.measures.shadow import moment
from model.networks.build import build
from model.networks.init import initialize
from model.plan import Limits, check
from model.training.losses import loss_function, targets_for

LIMITS = Limits(2**63, 2**63)


@pytest.fixture
def make_checked(make_spec, make_facts):
    """A checked float64 spec; `network` as `make_spec` takes it."""

    def make(network, input_shape=(4,), outputs=3, rows=500, classes=True, **fields):
        asked = make_spec(network, **{"precision": "float64", **fields})
        return check(asked, make_facts(input_shape, outputs, rows=rows, classes=classes), LIMITS)

    return make


@pytest.fixture
def make_network(make_checked):
    """The built and initialized network of a spec, in training mode."""

    def make(network, input_shape=(4,), seed=0, **fields):
        return built(make_checked(network, input_shape, **fields), seed)

    return make


@pytest.fixture
def make_moment(make_checked):
    """A moment of a run before its first step, and what its probes know of the run."""

    def make(network, rows, input_shape=(4,), step=0, seed=0, **fields):
        checked = make_checked(network, input_shape, rows=rows, **fields)
        loss = checked.spec.loss.kind
        blocks = draw_blocks(input_shape, [rows], loss=loss)
        batch = Block(blocks[0].inputs[:32], blocks[0].targets[:32])
        at = moment(built(checked, seed), step, batch, blocks, checked.spec.optimizer.lr)
        return at, Setting(checked, loss_function(loss))

    return make


@pytest.fixture
def make_blocks():
    """Blocks of normal rows with classes, float64."""
    return draw_blocks


@pytest.fixture
def unchanged():
    """A context that compares everything of a network before and after, bit by bit."""

    @contextlib.contextmanager
    def compare(*networks):
        before, drawn = [everything(one) for one in networks], torch.get_rng_state()
        yield
        assert torch.equal(torch.get_rng_state(), drawn)
        for one, (tensors, others) in zip(networks, before, strict=True):
            now, others_now = everything(one)
            assert others_now == others
            assert all(same_bits(now[name], tensors[name]) for name in tensors)

    return compare


def built(checked, seed=0):
    dtype = torch.float64 if checked.spec.precision == "float64" else torch.float32
    network = build(checked.plan, dtype=dtype)
    initialize(network, checked.plan, checked.spec.init, torch.Generator().manual_seed(seed))
    return network


def draw_blocks(input_shape, sizes, outputs=3, loss="cross_entropy", dtype=torch.float64):
    generator = torch.Generator().manual_seed(7)
    blocks = []
    for size in sizes:
        x = torch.randn((size, *input_shape), generator=generator, dtype=torch.float64).to(dtype)
        classes = torch.randint(0, outputs, (size,), generator=generator)
        blocks.append(Block(x, targets_for(loss, classes, outputs, dtype)))
    return tuple(blocks)


def everything(network):
    """Tensors by name; and modes, gradients and hooks of every module."""
    tensors = {name: one.clone() for name, one in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    hooks = [
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in network.modules()
    ]
    gradients = [one.grad is None for one in network.parameters()]
    return tensors, (modes, hooks, gradients)


def same_bits(a, b):
    return a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()
