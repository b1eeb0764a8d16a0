import pytest

from model.errors import SpecRefused
from model.plan import plan

IMAGE = (3, 8, 8)


def kinds(planned):
    return [(layer.name, layer.layer.kind) for layer in planned.walk()]


def test_an_mlp_puts_the_norm_before_the_activation(make_spec, make_facts):
    planned = plan(make_spec({"kind": "mlp", "hidden": [5, 4]}, norm="batch"), make_facts())

    assert [kind for _, kind in kinds(planned)] == [
        *("linear", "norm", "activation"),
        *("linear", "norm", "activation"),
        "linear",
    ]


def test_after_activation_puts_the_norm_on_the_other_side(make_spec, make_facts):
    norm = {"kind": "layer", "placement": "after_activation"}

    planned = plan(make_spec({"kind": "mlp", "hidden": [5]}, norm=norm), make_facts())

    assert [kind for _, kind in kinds(planned)] == ["linear", "activation", "norm", "linear"]


def test_without_a_norm_the_names_close_up(make_spec, make_facts):
    planned = plan(make_spec({"kind": "mlp", "hidden": [5]}), make_facts())

    assert kinds(planned) == [("0", "linear"), ("1", "activation"), ("2", "linear")]


def test_an_mlp_flattens_images_first(make_spec, make_facts):
    planned = plan(make_spec({"kind": "mlp", "hidden": []}), make_facts(IMAGE))

    assert kinds(planned) == [("0", "flatten"), ("1", "linear")]
    assert planned.parameters == 192 * 10 + 10


def test_the_output_layer_of_an_mlp_always_has_a_bias(make_spec, make_facts):
    planned = plan(make_spec({"kind": "mlp", "hidden": [5], "bias": False}), make_facts())

    assert planned.parameters == 64 * 5 + (5 * 10 + 10)


def residual_network(layers, projection=True):
    return [
        {"kind": "conv2d", "out_channels": 4, "padding": 1},
        {"kind": "residual", "layers": layers, "projection": projection},
        {"kind": "flatten"},
        {"kind": "linear"},
    ]


def test_the_inside_of_a_residual_is_named_under_it(make_spec, make_facts):
    branch = [{"kind": "conv2d", "out_channels": 4, "padding": 1}, {"kind": "norm"}]

    planned = plan(make_spec(residual_network(branch), norm="batch"), make_facts(IMAGE))

    names = [layer.name for layer in planned.walk()]
    assert names == ["0", "1", "1.branch.0", "1.branch.1", "1.projection", "2", "3"]
    assert planned.layers[1].branch[1].path == "network.layers.1.layers.1"


def test_a_projection_takes_the_branch_s_total_stride(make_spec, make_facts):
    inner = {
        "kind": "residual",
        "layers": [{"kind": "conv2d", "out_channels": 6, "stride": 2, "padding": 1}],
        "projection": True,
    }
    branch = [inner, {"kind": "pool", "kernel_size": 2}]

    planned = plan(make_spec(residual_network(branch)), make_facts(IMAGE))

    projection = planned.layers[1].projection
    assert projection.layer.stride == 4
    assert projection.output_shape == planned.layers[1].output_shape == (6, 2, 2)
    assert projection.parameters == 4 * 6


def test_a_projection_of_plain_rows_is_linear_without_bias(make_spec, make_facts):
    branch = [{"kind": "linear", "out_features": 10}]
    network = [{"kind": "residual", "layers": branch, "projection": True}]

    planned = plan(make_spec(network), make_facts())

    assert planned.layers[0].projection.parameters == 64 * 10


def test_a_projection_may_pass_the_bounds_of_what_is_asked(make_spec, make_facts):
    pools = [{"kind": "pool", "kernel_size": 64}, {"kind": "pool", "kernel_size": 2}]
    network = [{"kind": "residual", "layers": pools, "projection": True}]
    network += [{"kind": "flatten"}, {"kind": "linear"}]

    planned = plan(make_spec(network), make_facts((1, 128, 128)))

    assert planned.layers[0].projection.layer.stride == 128


def nested(depth):
    layer = {"kind": "linear", "out_features": 10}
    for _ in range(depth):
        layer = {"kind": "residual", "layers": [layer]}
    return [layer]


def test_residuals_lie_inside_each_other_to_a_depth_that_can_run(make_spec, make_facts):
    assert plan(make_spec(nested(16)), make_facts((10,))).parameters == 110

    with pytest.raises(SpecRefused, match="inside each other 16 deep") as refused:
        plan(make_spec(nested(17)), make_facts((10,)))
    assert refused.value.path == "network.layers.0" + 16 * ".layers.0"


@pytest.mark.parametrize(
    ("network", "path", "message"),
    [
        (
            residual_network([{"kind": "conv2d", "out_channels": 5, "padding": 1}], False),
            "network.layers.1",
            "x + layers(x) needs equal shapes: x comes as (4, 8, 8), the layers give (5, 8, 8)",
        ),
        (
            residual_network([{"kind": "conv2d", "out_channels": 4}]),
            "network.layers.1",
            "x + layers(x) needs equal shapes: x comes as (4, 8, 8), the layers give (4, 6, 6)",
        ),
        (
            residual_network([{"kind": "conv2d", "out_channels": 4, "kernel_size": 9}]),
            "network.layers.1.layers.0",
            "a 9 x 9 window does not fit rows of (4, 8, 8) with padding 0",
        ),
        (
            [{"kind": "flatten"}, {"kind": "conv2d", "out_channels": 4}],
            "network.layers.1",
            "conv2d needs rows of (channels, height, width), it gets (192,)",
        ),
        (
            [{"kind": "flatten"}, {"kind": "pool", "pool": "global_avg"}],
            "network.layers.1",
            "pool needs rows of (channels, height, width), it gets (192,)",
        ),
        (
            [{"kind": "pool", "kernel_size": 9}],
            "network.layers.0",
            "a 9 x 9 window does not fit rows of (3, 8, 8) with padding 0",
        ),
        (
            [{"kind": "linear"}],
            "network.layers.0",
            "the network gives (3, 8, 10) per row; the dataset needs (10,), one value per class",
        ),
        (
            [{"kind": "norm"}],
            "network",
            "the network gives (3, 8, 8) per row; the dataset needs (10,), one value per class",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused_by_name(make_spec, make_facts, network, path, message):
    with pytest.raises(SpecRefused) as refused:
        plan(make_spec(network), make_facts(IMAGE))

    assert (refused.value.path, refused.value.message) == (path, message)
