"""Networks of linear layers: their counts, and the answers of the same written by hand."""

import statistics
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.data.builtin import build as build_dataset
from model.errors import SpecRefused
from model.networks.build import build
from model.networks.init import initialize
from model.plan import Limits, Plan, check, plan
from model.spec import Init, RunSpec
from model.training.arrays import prepare
from model.training.losses import loss_function


@pytest.fixture
def planned(make_spec, make_facts):
    def run(kind, shape=(6,), norm="batch", outputs=10, **fields) -> Plan:
        return plan(make_spec({"kind": kind, **fields}, norm=norm), make_facts(shape, outputs))

    return run


def started(laid_out: Plan, bias: Any = "normal") -> nn.Sequential:
    network = build(laid_out, dtype=torch.float64)
    initialize(network, laid_out, Init(bias=bias), torch.Generator().manual_seed(0))
    return network


def rows(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def kinds(laid_out: Plan) -> list[str]:
    return [layer.layer.kind for layer in laid_out.layers]


# Deep linear


def test_deep_linear_is_25_square_layers_of_the_outputs_width(planned):
    laid_out = planned("deep_linear", shape=(10,), norm="none")
    assert kinds(laid_out) == ["linear"] * 25
    assert laid_out.parameters == 25 * 10 * 10
    assert [layer.name for layer in laid_out.layers] == [str(index) for index in range(25)]


def test_the_norm_of_deep_linear_stands_behind_every_layer_but_the_last(planned):
    laid_out = planned("deep_linear", shape=(10,))
    assert kinds(laid_out) == ["linear", "norm"] * 24 + ["linear"]
    assert laid_out.parameters == 25 * 100 + 24 * 2 * 10
    assert laid_out.buffers == 24 * (2 * 10 + 1)


def test_deep_linear_of_another_width_goes_from_the_rows_to_the_outputs(planned):
    laid_out = planned("deep_linear", shape=(2, 3), norm="none", layers=3, width=4, outputs=5)
    assert kinds(laid_out) == ["flatten", "linear", "linear", "linear"]
    assert laid_out.parameters == 6 * 4 + 4 * 4 + 4 * 5


def test_one_deep_linear_layer_is_the_outputs_alone(planned):
    laid_out = planned("deep_linear", layers=1, width=99)
    assert kinds(laid_out) == ["linear"]
    assert laid_out.parameters == 6 * 10


def test_deep_linear_without_norm_is_the_product_of_its_weights(planned):
    network = started(planned("deep_linear", norm="none", layers=5, width=7))
    product = torch.eye(6, dtype=torch.float64)
    for layer in network:
        product = layer.weight @ product
    x = rows(4, 6)
    torch.testing.assert_close(network(x), x @ product.T, rtol=1e-12, atol=1e-12)


def test_deep_linear_with_norm_answers_as_torchs_layers_in_both_modes(planned):
    ours = started(planned("deep_linear", layers=4, width=5, outputs=3))
    theirs = nn.Sequential(
        *(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5)),
        *(nn.Linear(5, 5, bias=False), nn.BatchNorm1d(5)),
        *(nn.Linear(5, 5, bias=False), nn.BatchNorm1d(5)),
        nn.Linear(5, 3, bias=False),
    ).double()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    for seed in range(2):
        x = rows(9, 6, seed=seed)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_at_the_papers_size_the_loss_starts_where_the_paper_draws_it(norm):
    # Figure 3 of Santurkar et al. 2018: 3.5e4 to 5e4, half the sum over 1,000 rows.
    dataset = build_dataset("gaussian_linear")
    body = {
        "dataset": "gaussian_linear",
        "scaling": "none",
        "network": {"kind": "deep_linear"},
        "norm": norm,
        "loss": {"kind": "half_sum_squares"},
        "batch_size": 1_000,
        "precision": "float64",
    }
    checked = check(RunSpec.model_validate(body), dataset.facts, Limits(10**6, 10**9))
    train = prepare(dataset, checked.spec, torch.device("cpu")).train
    assert len(train) == 1_000
    starts = []
    for seed in range(8):
        network = build(checked.plan, dtype=torch.float64)
        initialize(network, checked.plan, Init(), torch.Generator().manual_seed(seed))
        loss = loss_function("half_sum_squares")(network(train.inputs), train.targets)
        starts.append(loss.item())
    # A product of 25 random matrices varies widely: one seed in eight starts at 6.7e4.
    assert 3e4 < statistics.median(starts) < 6e4


# Residual perceptron


def test_a_residual_mlp_counts_a_stem_its_blocks_and_the_outputs(planned):
    laid_out = planned("residual_mlp", shape=(64,), norm="none")
    assert laid_out.parameters == 64 * 64 + 20 * (2 * 64 * 64) + 64 * 10 + 10
    assert kinds(laid_out) == ["linear", "activation", *["residual"] * 20, "linear"]
    assert [layer.layer.kind for layer in laid_out.layers[2].branch] == [
        *("linear", "activation", "linear")
    ]


def test_every_linear_layer_of_a_residual_mlp_but_the_last_has_its_norm(planned):
    for placement in ("before_activation", "after_activation"):
        norm = {"kind": "batch", "placement": placement}
        laid_out = planned("residual_mlp", norm=norm, blocks=3, width=8, bias=True)
        assert kinds(laid_out) == ["linear", "norm", "activation", *["residual"] * 3, "linear"]
        assert [layer.layer.kind for layer in laid_out.layers[3].branch] == [
            *("linear", "norm", "activation", "linear", "norm")
        ]
        linear = (6 * 8 + 8) + 3 * 2 * (8 * 8 + 8) + (8 * 10 + 10)
        assert laid_out.parameters == linear + (1 + 3 * 2) * 2 * 8


def by_hand(network: nn.Sequential, x: Tensor, act: Any) -> Tensor:
    """h + W2 act(W1 h) for every block, without norm."""
    state = network.state_dict()
    h = act(x @ state["0.weight"].T + state["0.bias"])
    for block in (2, 3):
        first, second = f"{block}.branch.0", f"{block}.branch.2"
        inner = act(h @ state[f"{first}.weight"].T + state[f"{first}.bias"])
        h = h + inner @ state[f"{second}.weight"].T + state[f"{second}.bias"]
    return h @ state["4.weight"].T + state["4.bias"]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_residual_mlp_answers_as_its_formula(planned, activation):
    fields = {"blocks": 2, "width": 7, "bias": True, "activation": activation}
    network = started(planned("residual_mlp", norm="none", **fields))
    x = rows(5, 6)
    expected = by_hand(network, x, getattr(torch, activation))
    torch.testing.assert_close(network(x), expected, rtol=1e-12, atol=1e-12)


class Block(nn.Module):
    """torch's own layers under the names of ours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *(nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()),
            *(nn.Linear(width, width, bias=False), nn.BatchNorm1d(width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def test_a_residual_mlp_with_norm_answers_as_torchs_layers_in_both_modes(planned):
    ours = started(planned("residual_mlp", blocks=2, width=7))
    theirs = nn.Sequential(
        *(nn.Linear(6, 7, bias=False), nn.BatchNorm1d(7), nn.ReLU()),
        *(Block(7), Block(7)),
        nn.Linear(7, 10),
    ).double()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    for seed in range(2):
        x = rows(9, 6, seed=seed)
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-12, atol=1e-12)


# Both


@pytest.mark.parametrize("kind", ["deep_linear", "residual_mlp"])
def test_arms_with_and_without_norm_start_with_equal_weights(planned, kind):
    def start(norm: str) -> list[Tensor]:
        laid_out = planned(kind, norm=norm)
        network = started(laid_out)
        drawn = (layer for layer in laid_out.walk() if layer.is_drawn)
        return [network.get_submodule(layer.name).weight for layer in drawn]

    assert all(torch.equal(*pair) for pair in zip(start("none"), start("batch"), strict=True))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"kind": "deep_linear", "width": 1}, "norm"),
        ({"kind": "residual_mlp", "width": 1}, "norm"),
    ],
)
def test_a_norm_over_one_value_is_refused(planned, fields, path):
    with pytest.raises(SpecRefused, match="one value per row") as refused:
        planned(norm="layer", **fields)
    assert refused.value.path == path


@pytest.mark.parametrize("kind", ["deep_linear", "residual_mlp"])
def test_the_largest_of_a_kind_can_be_planned(planned, kind):
    most = {"deep_linear": {"layers": 512}, "residual_mlp": {"blocks": 256}}[kind]
    assert planned(kind, **most, width=2).parameters > 0
