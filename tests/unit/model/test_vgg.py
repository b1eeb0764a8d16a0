"""Plain convolutional networks: their counts, their pools, and torch's own answers."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.errors import SpecRefused
from model.lints import findings
from model.networks.build import build
from model.networks.init import initialize
from model.plan import Plan, plan
from model.spec import Init, Vgg
from model.vgg import dropped_pools

CIFAR = (3, 32, 32)
POOL = "M"
STAGES = {
    11: [64, POOL, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512, POOL],
    13: [64, 64, POOL, 128, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512, POOL],
    16: [64, 64, POOL, 128, 128, POOL, *[256] * 3, POOL, *[512] * 3, POOL, *[512] * 3, POOL],
}


@pytest.fixture
def planned(make_spec, make_facts):
    def run(shape=CIFAR, norm="none", outputs=10, **fields) -> Plan:
        return plan(make_spec({"kind": "vgg", **fields}, norm=norm), make_facts(shape, outputs))

    return run


@pytest.mark.parametrize(
    ("depth", "convolutions"), [(11, 9_220_480), (13, 9_404_992), (16, 14_714_688)]
)
def test_convolutions_with_biases_have_torchvisions_parameters(planned, depth, convolutions):
    assert planned(depth=depth, bias=True).parameters == convolutions + 512 * 10 + 10


def by_hand(depth: int, divisor: int, keep: int, side: str, given: int = 3) -> nn.Sequential:
    """torch's own layers; the first `keep` pools are there."""
    layers: list[nn.Module] = []
    for one in STAGES[depth]:
        if isinstance(one, str):
            keep -= 1
            layers += [nn.MaxPool2d(2)] if keep >= 0 else []
            continue
        channels = one // divisor
        layers.append(nn.Conv2d(given, channels, 3, padding=1, bias=False))
        both: list[nn.Module] = [nn.BatchNorm2d(channels), nn.ReLU()]
        layers += both if side == "before_activation" else reversed(both)
        given = channels
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(given, 10)]
    return nn.Sequential(*layers).double()


def rows(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("side", ["before_activation", "after_activation"])
@pytest.mark.parametrize(("depth", "pixels", "keep"), [(11, 32, 5), (13, 9, 3), (16, 8, 3)])
def test_it_answers_as_torchs_layers_in_both_modes(planned, depth, pixels, keep, side):
    norm = {"kind": "batch", "placement": side}
    laid_out = planned((3, pixels, pixels), norm, depth=depth, width=1 / 16)
    ours = build(laid_out, dtype=torch.float64)
    initialize(ours, laid_out, Init(kind="kaiming_normal"), torch.Generator().manual_seed(0))
    theirs = by_hand(depth, 16, keep, side)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    for seed in range(2):
        x = rows(4, 3, pixels, pixels, seed=seed)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-10, atol=1e-10)
    assert laid_out.parameters == sum(one.numel() for one in theirs.parameters())
    assert laid_out.buffers == sum(one.numel() for one in theirs.buffers())


@pytest.mark.parametrize(
    ("shape", "dropped"),
    [
        ((3, 32, 32), ()),
        ((3, 31, 64), (5,)),
        ((1, 28, 28), (5,)),
        ((1, 8, 8), (4, 5)),
        ((1, 7, 32), (3, 4, 5)),
        ((1, 1, 9), (1, 2, 3, 4, 5)),
    ],
)
def test_a_pool_that_would_leave_less_than_a_pixel_is_dropped(planned, shape, dropped):
    assert dropped_pools(Vgg(kind="vgg"), shape) == dropped
    pools = [
        layer
        for layer in planned(shape).layers
        if layer.layer.kind == "pool" and layer.layer.pool == "max"
    ]
    assert len(pools) == 5 - len(dropped)
    assert all(min(pool.output_shape[1:]) >= 1 for pool in pools)


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_dropped_pools_are_a_finding_whatever_the_norm(make_spec, make_facts, norm):
    spec = make_spec({"kind": "vgg"}, norm=norm)
    [found] = findings(spec, plan(spec, make_facts((1, 8, 8))), 100)
    assert (found.reason, found.severity, found.layer) == ("VGG_POOLS_DROPPED", "note", None)
    assert found.evidence == {"dropped": [4, 5], "pools": 5, "input_shape": [1, 8, 8]}
    assert "32 pixels" in found.remedy
    assert findings(spec, plan(spec, make_facts(CIFAR)), 100) == ()


def test_channels_are_rounded_and_at_least_one(planned):
    def channels(width: float) -> list[int]:
        laid_out = planned(width=width)
        return [one.output_shape[0] for one in laid_out.layers if one.layer.kind == "conv2d"]

    assert channels(1 / 8) == [8, 16, 32, 32, 64, 64, 64, 64]
    assert channels(0.1) == [6, 13, 26, 26, 51, 51, 51, 51]
    assert channels(0.001) == [1] * 8


def names(laid_out: Plan) -> Iterator[tuple[str, str]]:
    return ((layer.name, layer.layer.kind) for layer in laid_out.layers)


def test_rows_of_features_are_laid_out_as_images(planned):
    laid_out = planned((64,), image_shape=[1, 8, 8], width=1 / 16)
    assert list(names(laid_out))[:3] == [
        *(("0", "unflatten"), ("1", "conv2d"), ("2", "activation"))
    ]
    as_images = planned((1, 8, 8), width=1 / 16)
    network, same = build(laid_out), build(as_images)
    initialize(network, laid_out, Init(), torch.Generator().manual_seed(0))
    initialize(same, as_images, Init(), torch.Generator().manual_seed(0))
    x = rows(3, 64).float()
    assert torch.equal(network(x), same(x.view(3, 1, 8, 8)))


def test_rows_that_are_such_images_stay_as_they_are_and_two_axes_become_one(planned):
    assert next(names(planned((1, 8, 8), image_shape=[1, 8, 8]))) == ("0", "conv2d")
    laid_out = planned((4, 16), image_shape=[1, 8, 8])
    assert list(names(laid_out))[:2] == [("0", "flatten"), ("1", "unflatten")]


@pytest.mark.parametrize(
    ("shape", "image_shape", "message"),
    [
        (
            (64,),
            None,
            "vgg needs rows of (channels, height, width), it gets (64,): say how they are laid "
            "out as such",
        ),
        ((64,), [3, 8, 8], "rows of (64,) cannot be laid out as (3, 8, 8)"),
        ((3, 32, 32), [3, 16, 64], "rows of (3, 32, 32) cannot be laid out as (3, 16, 64)"),
    ],
)
def test_rows_that_are_no_images_are_refused_by_the_field(planned, shape, image_shape, message):
    with pytest.raises(SpecRefused) as refused:
        planned(shape, image_shape=image_shape)
    assert (refused.value.path, refused.value.message) == ("network.image_shape", message)
    assert refused.value.metadata["input_shape"] == list(shape)


def test_groups_that_do_not_divide_name_the_field_that_sets_the_channels(planned):
    with pytest.raises(SpecRefused) as refused:
        planned(norm={"kind": "group", "groups": 3})
    assert refused.value.path == "norm.groups"
    assert refused.value.message == "3 groups do not divide the 64 channels at network.width"


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
def test_the_plan_is_what_torch_builds(planned, norm):
    laid_out = planned((2, 10, 17), norm, depth=13, width=1 / 16, bias=True)
    network = build(laid_out)
    initialize(network, laid_out, Init(), torch.Generator().manual_seed(0))
    shapes: dict[str, Any] = {}
    for name, module in network.named_modules():
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: shapes.update({name: output.shape[1:]})
        )
    assert network(rows(4, 2, 10, 17).float()).isfinite().all()
    for layer in laid_out.walk():
        assert tuple(shapes[layer.name]) == layer.output_shape
    assert laid_out.parameters == sum(one.numel() for one in network.parameters())
