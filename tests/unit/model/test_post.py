"""The two-layer tanh network of a blog post on batch norm, rebuilt and compared.

https://github.com/Iancheung228 (BatchNorm, 2024-04-01): its formulas stand in `Post`, as
it has them; the network, losses and optimizer under test are the ones that runs use.
"""

import pytest
import torch
from torch.nn.functional import cross_entropy

from model.networks.build import build
from model.networks.init import initialize
from model.plan import plan
from model.training.losses import loss_function, targets_for
from model.training.optimizers import build_optimizer

STEPS, BATCH, X_DIM, HIDDEN = 1000, 32, 500, 100

NORM = {
    "kind": "batch",
    "momentum": 0.001,
    "running": "deviation",
    "normalize": "unbiased",
    "eps": 0.0,
}


class Post:
    """The post's network and its training step, in float64."""

    def __init__(self, w1, w2, b2):
        self.w1, self.w2, self.b2 = w1.clone(), w2.clone(), b2.clone()
        self.bngain = torch.ones((1, HIDDEN), dtype=torch.float64)
        self.bnbias = torch.zeros((1, HIDDEN), dtype=torch.float64)
        self.bnmean_running = torch.zeros((1, HIDDEN), dtype=torch.float64)
        self.bnstd_running = torch.ones((1, HIDDEN), dtype=torch.float64)
        self.parameters = [self.w1, self.w2, self.b2, self.bngain, self.bnbias]
        for p in self.parameters:
            p.requires_grad = True

    def step(self, xb, yb):
        pre_act = xb @ self.w1
        bnmeani = pre_act.mean(0, keepdim=True)
        bnstdi = pre_act.std(0, keepdim=True)
        pre_act = self.bngain * (pre_act - bnmeani) / bnstdi + self.bnbias
        with torch.no_grad():
            self.bnmean_running = 0.999 * self.bnmean_running + 0.001 * bnmeani
            self.bnstd_running = 0.999 * self.bnstd_running + 0.001 * bnstdi
        h = torch.tanh(pre_act)
        logits = h @ self.w2 + self.b2
        loss = cross_entropy(logits, yb)
        for p in self.parameters:
            p.grad = None
        loss.backward()
        for p in self.parameters:
            p.data += -0.1 * p.grad

    def state(self):
        """Everything that the post's training moves, under this project's names."""
        return {
            "0.weight": self.w1.detach().t(),
            "1.weight": self.bngain.detach()[0],
            "1.bias": self.bnbias.detach()[0],
            "1.running_mean": self.bnmean_running[0],
            "1.running_deviation": self.bnstd_running[0],
            "3.weight": self.w2.detach().t(),
            "3.bias": self.b2.detach(),
        }


@pytest.fixture(scope="module")
def rows():
    """10,000 rows of two classes, a noisy half-space in 500 dimensions, and 1,000 batches."""
    generator = torch.Generator().manual_seed(2147483647)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x, w = normal(10_000, X_DIM), normal(X_DIM) / X_DIM**0.5
    y = (x @ w + 0.5 * normal(10_000) > 0).long()
    return x, y, torch.randint(0, len(x), (STEPS, BATCH), generator=generator)


@pytest.fixture(scope="module")
def start(make_spec, make_facts):
    """A spec of the post's run and its network before the first step."""

    def run(**convention):
        spec = make_spec(
            {"kind": "mlp", "hidden": [HIDDEN], "activation": "tanh", "bias": False},
            norm={**NORM, **convention},
            init={"kind": "normal", "bias": "normal"},
            optimizer={"kind": "sgd", "lr": 0.1},
            loss={"kind": "cross_entropy"},
            batch_size=BATCH,
            sampling="with_replacement",
            precision="float64",
        )
        planned = plan(spec, make_facts((X_DIM,), outputs=2, rows=10_000))
        network = build(planned, dtype=torch.float64)
        initialize(network, planned, spec.init, torch.Generator().manual_seed(42))
        return spec, network

    return run


@pytest.fixture(scope="module")
def post(rows, start):
    """What the post's formulas end with, from the same first weights."""
    x, y, batches = rows
    _, network = start()
    first = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    theirs = Post(first["0.weight"].t(), first["3.weight"].t(), first["3.bias"])
    for batch in batches:
        theirs.step(x[batch], y[batch])
    return theirs.state()


@pytest.fixture(scope="module")
def trained(rows, start):
    """The state dict that this project's own parts end with."""
    x, y, batches = rows

    def run(**convention):
        spec, network = start(**convention)
        loss = loss_function(spec.loss.kind)
        targets = targets_for(spec.loss.kind, y, 2, torch.float64)
        optimizer = build_optimizer(spec.optimizer, network)
        for batch in batches:
            optimizer.zero_grad()
            loss(network(x[batch]), targets[batch]).backward()
            optimizer.step()
        return network.state_dict()

    return run


def distance(ours, theirs):
    """Largest relative difference of any single value."""
    return max(
        ((ours[name] - tensor).abs() / tensor.abs()).max().item() for name, tensor in theirs.items()
    )


def test_a_thousand_steps_end_where_the_post_s_formulas_do(trained, post):
    ours = trained()

    assert set(ours) == {*post, "1.num_batches_tracked"}
    assert ours["1.num_batches_tracked"] == STEPS
    assert distance(ours, post) < 1e-12


MUTATIONS = {
    "the biased divisor": {"normalize": "biased"},
    "an eps of 1e-5": {"eps": 1e-5},
    "another momentum": {"momentum": 0.01},
    "averaged variances": {"running": "variance"},
}


@pytest.mark.parametrize("convention", MUTATIONS.values(), ids=MUTATIONS)
def test_each_convention_of_the_post_matters(trained, post, convention):
    ours = trained(**convention)
    if "1.running_var" in ours:
        ours["1.running_deviation"] = ours["1.running_var"].sqrt()

    assert distance(ours, post) > 1e-6
