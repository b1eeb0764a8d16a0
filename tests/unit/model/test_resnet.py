"""Residual networks of a depth: their counts, their refusals, and torchvision's own answers."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.data.dataset import Dataset, describe
from model.errors import SpecRefused
from model.networks.build import build
from model.networks.init import initialize
from model.plan import Limits, Plan, check, plan
from model.resnet import torchvision_names
from model.spec import Init, ResNet, RunSpec
from model.training.arrays import prepare
from model.training.loop import Training
from tests.torchvision_resnet import resnet18

CIFAR = (3, 32, 32)


@pytest.fixture
def planned(make_spec, make_facts):
    def run(depth=18, shape=CIFAR, norm="batch", outputs=10, **fields) -> Plan:
        network = {"kind": "resnet", "depth": depth, **fields}
        return plan(make_spec(network, norm=norm), make_facts(shape, outputs))

    return run


def test_depth_18_has_torchvisions_parameters(planned):
    counted = planned(shape=(3, 224, 224), outputs=1000)
    assert counted.parameters == 11_689_512
    # 20 norms: 64 channels in 5 of them, and 5 each (a projection's among them) of the others.
    assert counted.buffers == 2 * (5 * 64 + 5 * 128 + 5 * 256 + 5 * 512) + 20


def cifar_parameters(n: int) -> int:
    """3 stages of n blocks: 3 x 3 convolutions, two values per channel and norm, projections."""
    stem = 27 * 16 + 2 * 16
    stages = sum(2 * n * (9 * c * c + 2 * c) for c in (16, 32, 64))
    narrower = sum(9 * (c // 2) * c - 9 * c * c for c in (32, 64))  # the first one of a stage
    projections = sum((c // 2) * c + 2 * c for c in (32, 64))
    return stem + stages + narrower + projections + 64 * 10 + 10


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_the_cifar_depths_have_the_closed_forms_parameters_and_layers(planned, depth):
    counted = planned(depth)
    projections = 2
    weighted = [layer for layer in counted.walk() if layer.has_weights]
    assert counted.parameters == cifar_parameters((depth - 2) // 6)
    assert len(weighted) == depth + projections


def test_depth_20_has_the_papers_size(planned):
    # 0.27 million in table 6 of the paper, whose short cuts of zeros need 2,752 fewer.
    assert planned(20).parameters == 272_474


def test_the_imagenet_stem_pads_its_pool(planned):
    shapes = [layer.output_shape[1:] for layer in planned(shape=(3, 225, 63)).layers]
    assert shapes[:4] == [(113, 32), (113, 32), (113, 32), (57, 16)]
    pool = build(planned(width=2))[3]
    assert (pool.kernel_size, pool.stride, pool.padding) == (3, 2, 1)
    below_zero = torch.full((1, 2, 4, 4), -1.0)
    assert torch.equal(pool(below_zero), torch.full((1, 2, 2, 2), -1.0))


VARIANTS: list[dict[str, Any]] = [
    {"depth": 18, "width": 4, "shape": (3, 33, 18)},
    {"depth": 18, "stem": "cifar", "width": 6, "shape": (1, 9, 8)},
    {"depth": 20, "stem": "imagenet", "shape": (2, 19, 9), "bias": True},
    {"depth": 20, "shape": (3, 3, 5)},
]


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_plan_is_what_torch_builds(planned, variant, norm):
    fields = {"width": 4, **variant}
    laid_out = planned(norm=norm, **fields)
    network = build(laid_out)
    initialize(network, laid_out, Init(), torch.Generator().manual_seed(0))
    shapes: dict[str, Any] = {}
    for name, module in network.named_modules():
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: shapes.update({name: output.shape[1:]})
        )
    rows = torch.randn(4, *variant["shape"], generator=torch.Generator().manual_seed(1))
    assert network(rows).isfinite().all()
    for layer in laid_out.walk():
        module = network.get_submodule(layer.name)
        assert tuple(shapes[layer.name]) == layer.output_shape
        assert sum(one.numel() for one in module.parameters()) == layer.parameters
        assert sum(one.numel() for one in module.buffers()) == layer.buffers
    assert laid_out.parameters == sum(one.numel() for one in network.parameters())
    assert laid_out.buffers == sum(one.numel() for one in network.buffers())


def test_every_convolution_of_a_normed_network_has_its_norm_and_none_without(planned):
    def count(norm: str) -> int:
        return sum(layer.norm is not None for layer in planned(norm=norm).walk())

    assert (count("batch"), count("layer"), count("none")) == (20, 20, 0)


def test_a_projection_and_its_norm_are_named_under_the_residual(planned):
    names = [name for name in build(planned(width=2)).state_dict() if name.startswith("8.pro")]
    assert names == [
        "8.projection.0.weight",
        *(
            f"8.projection.1.{name}"
            for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        ),
    ]
    bare = build(planned(width=2, norm="none")).state_dict()
    assert [name for name in bare if "projection" in name] == [
        f"{block}.projection.weight" for block in (7, 11, 15)
    ]


def test_init_reaches_every_layer_and_norms_draw_nothing(planned):
    def start(norm: str) -> list[Tensor]:
        laid_out = planned(20, norm=norm)
        network = build(laid_out)
        generator = torch.Generator().manual_seed(3)
        initialize(network, laid_out, Init(kind="kaiming_normal"), generator)
        return [
            network.get_submodule(one.name).weight for one in laid_out.walk() if one.has_weights
        ]

    plain, normed = start("none"), start("batch")
    assert all(torch.equal(*pair) for pair in zip(plain, normed, strict=True))
    wide = normed[-3]  # 64 channels of 3 x 3 x 64: 36,864 draws
    assert wide.shape == (64, 64, 3, 3)
    assert wide.var().item() == pytest.approx(2 / (9 * 64), rel=0.03)


@pytest.fixture
def pair(planned) -> tuple[nn.Module, nn.Module]:
    """torchvision's network and ours with the same tensors, in float64."""
    theirs = resnet18(num_classes=7, width=8).double()
    laid_out = planned(width=8, outputs=7)
    ours = build(laid_out, dtype=torch.float64)
    names = torchvision_names(ResNet(kind="resnet", width=8), laid_out)
    state = theirs.state_dict()
    assert {name.rpartition(".")[0] for name in state} == set(names.values())
    ours.load_state_dict(
        {
            name: state[f"{names[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}"].clone()
            for name in ours.state_dict()
        },
        strict=True,
    )
    return theirs, ours


def test_every_layer_with_tensors_has_one_name_and_no_two_the_same(planned):
    laid_out = planned(20)
    names = torchvision_names(ResNet(kind="resnet", depth=20), laid_out)
    with_tensors = {name.rpartition(".")[0] for name in build(laid_out).state_dict()}
    assert set(names) == with_tensors
    assert len(set(names.values())) == len(names)
    assert [name for name in names.values() if name.startswith("layer3.0")] == [
        *("layer3.0.conv1", "layer3.0.bn1", "layer3.0.conv2", "layer3.0.bn2"),
        *("layer3.0.downsample.0", "layer3.0.downsample.1"),
    ]
    assert names[laid_out.output_name] == "fc"


def rows(seed: int = 5) -> Tensor:
    return torch.randn(6, 3, 40, 33, generator=torch.Generator().manual_seed(seed)).double()


def test_in_eval_mode_it_answers_as_torchvisions_network(pair):
    theirs, ours = (network.eval() for network in pair)
    with torch.no_grad():
        torch.testing.assert_close(ours(rows()), theirs(rows()), rtol=1e-12, atol=1e-12)


def test_in_training_mode_outputs_statistics_and_gradients_are_torchvisions(pair):
    theirs, ours = (network.train() for network in pair)
    for seed in range(3):
        expected, got = theirs(rows(seed)), ours(rows(seed))
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    expected.square().sum().backward()
    got.square().sum().backward()
    for one, other in zip(ours.parameters(), by_order(theirs, ours), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-8, atol=1e-8)
    statistics = list(ours.buffers())
    assert len(statistics) == 60
    for one, other in zip(statistics, theirs.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def by_order(theirs: nn.Module, ours: nn.Module) -> list[nn.Parameter]:
    """Their parameters; both networks register them in the order of the layers."""
    found = list(theirs.parameters())
    assert [one.shape for one in found] == [one.shape for one in ours.parameters()]
    return found


@pytest.mark.parametrize(
    ("fields", "shape", "path", "message"),
    [
        (
            {},
            (64,),
            "network.kind",
            "resnet needs rows of (channels, height, width), it gets (64,)",
        ),
        (
            {},
            (3, 32, 16),
            "network.stem",
            "rows of (3, 32, 16) are too small: depth 18 with the imagenet stem needs at least "
            "17 pixels a side",
        ),
        (
            {"stem": "cifar"},
            (3, 4, 9),
            "network.stem",
            "rows of (3, 4, 9) are too small: depth 18 with the cifar stem needs at least "
            "5 pixels a side",
        ),
        (
            {"depth": 20},
            (3, 2, 2),
            "network.stem",
            "rows of (3, 2, 2) are too small: depth 20 with the cifar stem needs at least "
            "3 pixels a side",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_the_limit(planned, fields, shape, path, message):
    with pytest.raises(SpecRefused) as refused:
        planned(shape=shape, **fields)
    assert (refused.value.path, refused.value.message) == (path, message)
    assert refused.value.metadata["input_shape"] == list(shape)


@pytest.mark.parametrize("variant", [{}, {"stem": "cifar"}, {"depth": 20}, {"depth": 56}], ids=str)
def test_at_the_limit_every_stride_has_two_pixels(planned, variant):
    with pytest.raises(SpecRefused) as refused:
        planned(shape=(1, 1, 1), **variant)
    least = refused.value.metadata["limit"]
    strided = [
        layer
        for layer in planned(shape=(1, least, least), **variant).walk()
        if getattr(layer.layer, "stride", 1) == 2
    ]
    assert strided
    assert min(layer.input_shape[1] for layer in strided) == 2


def test_groups_that_do_not_divide_name_a_field_that_exists(planned):
    with pytest.raises(SpecRefused) as refused:
        planned(norm={"kind": "group", "groups": 3})
    assert refused.value.path == "norm.groups"
    assert refused.value.message == "3 groups do not divide the 64 channels at network.stem"


def tiny() -> Dataset:
    """24 images of 8 x 8 of two classes: bright above or bright below."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 60, (24, 1, 8, 8))
    targets = np.arange(24) % 2
    pixels[targets == 0, :, :4] += 150
    pixels[targets == 1, :, 4:] += 150
    return describe(pixels.astype(np.uint8), targets, ("above", "below"), images=True)


def checked_run(**fields: Any) -> Any:
    body = {
        "dataset": "tiny",
        "network": {"kind": "resnet", "depth": 20, "width": 4},
        "norm": "batch",
        "batch_size": 8,
        "tail": "merge",
        "budget": {"epochs": 8},
        **fields,
    }
    return check(RunSpec.model_validate(body), tiny().facts, Limits(10**7, 10**10))


def test_sizes_and_memory_cover_what_is_inside_a_residual():
    checked = checked_run()
    assert json.loads(json.dumps(checked.sizes)) == checked.sizes
    sizes = {size["layer"]: size for size in checked.sizes}
    assert sizes["9.projection.1"]["kind"] == "batch_norm"
    assert sizes["9.projection.1"]["output_shape"] == [8, 4, 4]
    kept = sum(np.prod(size["output_shape"]) for size in checked.sizes)
    assert checked.memory.activations == 4 * checked.batches.largest * (64 + int(kept))


def test_it_learns_tiny_images():
    checked = checked_run()
    arrays = prepare(tiny(), checked.spec, torch.device("cpu"))
    end = list(Training(checked, arrays, torch.device("cpu")).run())[-1]
    assert end.ended == "completed"
    values = {point.name: point.value for point in end.points}
    assert values["train_accuracy"] == 1.0
    assert values["test_accuracy"] == 1.0
    assert end.kept is not None
    assert int(end.kept.tensors["9.projection.1.num_batches_tracked"]) == checked.steps
