import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from model.errors import SpecRefused
from model.networks.build import ACTIVATIONS, build
from model.networks.init import initialize
from model.plan import plan
from model.spec import Activation, Init

INTS = st.integers
IMAGES = st.tuples(INTS(1, 3), INTS(4, 9), INTS(4, 9))
ROW_SHAPES = st.one_of(st.tuples(INTS(1, 9)), st.tuples(INTS(1, 4), INTS(1, 4)), IMAGES)

linear = st.fixed_dictionaries(
    {"kind": st.just("linear"), "out_features": INTS(1, 9), "bias": st.booleans()}
)
convolution = st.fixed_dictionaries(
    {
        "kind": st.just("conv2d"),
        "out_channels": INTS(1, 4),
        "kernel_size": INTS(1, 3),
        "stride": INTS(1, 2),
        "padding": INTS(0, 1),
        "bias": st.booleans(),
    }
)
pool = st.fixed_dictionaries(
    {
        "kind": st.just("pool"),
        "pool": st.sampled_from(["max", "avg", "global_avg"]),
        "kernel_size": INTS(1, 3),
        "stride": st.none() | INTS(1, 2),
    }
)
plain = st.sampled_from(
    [
        {"kind": "norm"},
        {"kind": "activation", "activation": "tanh"},
        {"kind": "flatten"},
        {"kind": "dropout", "p": 0.5},
        {"kind": "columns", "first": 2},
        {"kind": "unflatten", "shape": [3, 1]},
    ]
)
simple = st.one_of(linear, convolution, pool, plain)


def residual(inner):
    return st.fixed_dictionaries(
        {
            "kind": st.just("residual"),
            "layers": st.lists(inner, min_size=1, max_size=3),
            "projection": st.booleans(),
        }
    )


layers = st.lists(st.one_of(simple, residual(st.one_of(simple, residual(simple)))), max_size=5)
mlps = st.fixed_dictionaries(
    {
        "kind": st.just("mlp"),
        "hidden": st.lists(INTS(1, 9), max_size=3),
        "activation": st.sampled_from(sorted(ACTIVATIONS)),
        "bias": st.booleans(),
    }
)
networks = st.one_of(
    mlps, layers.map(lambda some: [*some, {"kind": "flatten"}, {"kind": "linear"}])
)
placements = st.sampled_from(["before_activation", "after_activation"])
norms = st.one_of(
    st.sampled_from(["none", "noise"]),
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(
                [
                    "batch",
                    "noisy_batch",
                    "lp",
                    "ghost_batch",
                    "batch_renorm",
                    "layer",
                    "group",
                    "instance",
                ]
            ),
            "affine": st.booleans(),
            "placement": placements,
        }
    ),
)


def registers(network):
    """Sizes of the parameters and of the buffers."""
    return tuple(
        sum(tensor.numel() for tensor in tensors())
        for tensors in (network.parameters, network.buffers)
    )


def real_shapes(network, rows):
    """The shape of one row after every module, by name, in a real forward pass."""
    shapes = {}

    def keep(name):
        return lambda _module, _inputs, output: shapes.update({name: tuple(output.shape[1:])})

    for name, module in network.named_modules():
        module.register_forward_hook(keep(name))
    network(rows)
    return shapes


@settings(max_examples=250, deadline=None)
@given(network=networks, norm=norms, shape=ROW_SHAPES)
def test_the_plan_is_what_torch_builds(make_spec, make_facts, network, norm, shape):
    try:
        planned = plan(make_spec(network, norm=norm), make_facts(shape, outputs=3))
    except SpecRefused:
        return
    built = build(planned)
    initialize(built, planned, Init(), torch.Generator().manual_seed(0))

    shapes = real_shapes(built, torch.randn(4, *shape, generator=torch.Generator().manual_seed(1)))

    assert registers(built) == (planned.parameters, planned.buffers)
    for layer in planned.walk():
        module = built.get_submodule(layer.name)
        assert shapes[layer.name] == layer.output_shape
        assert registers(module) == (layer.parameters, layer.buffers)


def test_every_activation_of_the_spec_can_be_built():
    assert set(ACTIVATIONS) == set(Activation.__args__)


CONVOLUTIONAL = [
    {"kind": "conv2d", "out_channels": 4, "padding": 1},
    {"kind": "norm"},
    {"kind": "activation"},
    {
        "kind": "residual",
        "layers": [{"kind": "conv2d", "out_channels": 6, "stride": 2, "padding": 1}],
        "projection": True,
    },
    {"kind": "pool", "pool": "global_avg"},
    {"kind": "flatten"},
    {"kind": "dropout"},
    {"kind": "linear"},
]


@pytest.fixture
def planned(make_spec, make_facts):
    return plan(make_spec(CONVOLUTIONAL, norm="batch"), make_facts((3, 8, 8)))


def test_tensors_are_named_by_their_place(planned):
    assert list(build(planned).state_dict()) == [
        *("0.weight", "0.bias"),
        *("1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"),
        *("3.branch.0.weight", "3.branch.0.bias", "3.projection.weight"),
        *("7.weight", "7.bias"),
    ]


def test_an_mlp_loads_strictly_into_a_sequence_written_by_hand(make_spec, make_facts):
    network = {"kind": "mlp", "hidden": [7, 6], "activation": "tanh"}
    asked = plan(make_spec(network, norm="batch"), make_facts((5,), outputs=3))
    ours = build(asked)
    initialize(ours, asked, Init(), torch.Generator().manual_seed(0))
    theirs = nn.Sequential(
        *(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Tanh()),
        *(nn.Linear(7, 6), nn.BatchNorm1d(6), nn.Tanh()),
        nn.Linear(6, 3),
    )
    rows = torch.randn(20, 5, generator=torch.Generator().manual_seed(1))
    ours(rows)

    theirs.load_state_dict(ours.state_dict(), strict=True)

    assert torch.equal(ours.eval()(rows), theirs.eval()(rows))


def test_building_and_starting_draw_nothing_from_the_global_generator(planned):
    before = torch.get_rng_state()

    initialize(build(planned), planned, Init(bias="torch"), torch.Generator().manual_seed(0))

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_network_on_meta_takes_a_state_by_assignment(planned, dtype):
    state = build(planned, dtype=dtype).state_dict()

    loaded = build(planned, device="meta", dtype=dtype)
    loaded.load_state_dict(state, strict=True, assign=True)

    assert {tensor.device.type for tensor in loaded.state_dict().values()} == {"cpu"}
    floats = [tensor for tensor in loaded.state_dict().values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floats} == {dtype}
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_a_residual_adds_its_branch_to_x(make_spec, make_facts):
    branch = [{"kind": "linear", "out_features": 3}]
    asked = plan(
        make_spec([{"kind": "residual", "layers": branch, "projection": True}]),
        make_facts((3,), outputs=3),
    )
    network, x = build(asked), torch.tensor([[1.0, 2.0, 3.0]])
    network.load_state_dict(
        {
            "0.branch.0.weight": 2 * torch.eye(3),
            "0.branch.0.bias": torch.ones(3),
            "0.projection.weight": 10 * torch.eye(3),
        }
    )

    assert network(x).tolist() == [[13.0, 25.0, 37.0]]
