import copy
import itertools
import math

import pytest
import torch
from torch import nn

from model import spec
from model.measures.input_shift import input_shift_of, passes, probe
from model.measures.probe import Block
from model.measures.shadow import moment
from model.training.losses import loss_function
from model.training.optimizers import build_optimizer

ASKED = spec.InputShift(kind="input_shift")
NO_TARGETS = torch.zeros(1, dtype=torch.int64)


def scaled(factors, shifts):
    """Two layers, of which the first makes factor * x + shift of each unit's x."""
    first, second = nn.Linear(len(factors), len(factors)), nn.Linear(len(factors), 1)
    with torch.no_grad():
        first.weight.copy_(torch.diag(torch.tensor(factors)))
        first.bias.copy_(torch.tensor(shifts))
    return nn.Sequential(first, second).double()


def draw(rows, units, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((rows, units), generator=generator, dtype=torch.float64)


def shift_of(before, after, x, *sizes):
    blocks = [Block(part, NO_TARGETS) for part in x.split(list(sizes) or [len(x)])]
    return input_shift_of(before, after, blocks)


def test_a_moved_input_has_the_shift_of_its_closed_form():
    """Moved by d: the mean and the Wasserstein distance are |d| / SD, the SD stays."""
    x = draw(200, 3)
    sd = x.std(0, correction=0) * torch.tensor([1.0, 2.0, 3.0])

    _, found = shift_of(
        scaled([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]), scaled([1.0, 2.0, 3.0], [0.5, 1.0, -1.0]), x
    )

    expected = (torch.tensor([0.5, 0, 3.0]) / sd).tolist()
    assert found.mean.tolist() == pytest.approx(expected, abs=1e-6)
    assert found.wasserstein.tolist() == pytest.approx(expected, abs=1e-6)
    assert found.log_sd.tolist() == pytest.approx([0, 0, 0], abs=1e-7)


def test_a_stretched_input_has_the_shift_of_its_closed_form():
    """Stretched by f: ln f, |f - 1| |mean| / SD, and |f - 1| E|x| / SD of the distance."""
    x = draw(200, 2)
    sd, factors = x.std(0, correction=0), torch.tensor([3.0, 0.5])

    _, found = shift_of(scaled([1.0, 1.0], [0.0, 0.0]), scaled([3.0, 0.5], [0.0, 0.0]), x)

    apart = (factors - 1).abs()
    assert found.log_sd.tolist() == pytest.approx(factors.log().tolist(), abs=1e-6)
    assert found.mean.tolist() == pytest.approx((apart * x.mean(0).abs() / sd).tolist(), abs=1e-6)
    assert found.wasserstein.tolist() == pytest.approx(
        (apart * x.abs().mean(0) / sd).tolist(), abs=1e-6
    )


def test_rows_that_move_shift_every_layer_of_one_network():
    """Rows moved by d: the first layer's input by |d| / SD, the next by what it makes of that."""
    x, network = draw(200, 2), scaled([2.0, -3.0], [1.0, 0.0])
    d = torch.tensor([0.5, -0.25], dtype=torch.float64)

    first, second = input_shift_of(
        network, network, [Block(x, NO_TARGETS)], later=[Block(x + d, NO_TARGETS)]
    )

    expected = (d.abs() / x.std(0, correction=0)).tolist()
    assert first.wasserstein.tolist() == pytest.approx(expected)
    assert second.wasserstein.tolist() == pytest.approx(expected)


def test_the_distance_is_that_of_the_cheapest_matching():
    """Of six values with six others, over all 720 matchings."""
    before, after = draw(6, 1), draw(6, 1, seed=1) * 2 + 0.3
    first = nn.Sequential(nn.Identity(), nn.Linear(1, 1).double())
    blocks = [Block(torch.cat([before, after]), NO_TARGETS)]

    class Pick(nn.Module):
        def __init__(self, rows):
            super().__init__()
            self.rows = rows

        def forward(self, x):
            return x[self.rows]

    first[0] = Pick(slice(0, 6))
    second = nn.Sequential(Pick(slice(6, 12)), first[1])

    (found,) = input_shift_of(first, second, blocks)

    cheapest = min(
        sum(abs(a - b) for a, b in zip(before[:, 0].tolist(), one, strict=True)) / 6
        for one in itertools.permutations(after[:, 0].tolist())
    )
    sd = float(before.std(correction=0))
    assert found.wasserstein.tolist() == pytest.approx([cheapest / sd], rel=1e-12)


def test_what_the_rows_themselves_enter_does_not_shift():
    first, _ = shift_of(scaled([1.0], [0.0]), scaled([2.0], [1.0]), draw(50, 1))

    assert first.name == "0"
    assert first.mean.tolist() == first.log_sd.tolist() == first.wasserstein.tolist() == [0]


def test_blocks_of_any_size_give_the_same():
    x, before, after = draw(200, 2), scaled([1.0, 2.0], [0.0, 0.0]), scaled([1.1, 1.0], [0.2, 0.0])

    (_, whole), (_, parts) = shift_of(before, after, x), shift_of(before, after, x, 90, 70, 40)

    for name in ("mean", "log_sd", "wasserstein"):
        torch.testing.assert_close(getattr(whole, name), getattr(parts, name))


def test_a_unit_that_moved_and_had_not_varied_has_no_scale_for_its_shift():
    _, found = shift_of(scaled([0.0, 1.0], [2.0, 0.0]), scaled([1.0, 1.0], [2.0, 1.0]), draw(50, 2))

    assert found.has_scale.tolist() == [False, True]
    assert math.isnan(found.wasserstein[0])
    assert found.median(found.wasserstein) == found.worst(found.wasserstein) > 0
    _, alone = shift_of(scaled([0.0], [2.0]), scaled([0.0], [3.0]), draw(50, 1))
    assert math.isnan(alone.median(alone.mean))
    assert math.isnan(alone.worst(alone.mean))


def test_a_unit_that_neither_varied_nor_moved_has_not_shifted():
    _, found = shift_of(scaled([0.0, 1.0], [2.0, 0.0]), scaled([0.0, 1.0], [2.0, 1.0]), draw(50, 2))

    assert found.has_scale.all()
    assert found.mean[0] == found.log_sd[0] == found.wasserstein[0] == 0
    assert found.mean[1] > 0


def test_an_input_that_stops_varying_has_shrunk_without_end():
    _, found = shift_of(scaled([1.0], [0.0]), scaled([0.0], [0.0]), draw(50, 1))

    assert found.log_sd.tolist() == [-math.inf]
    assert found.worst(found.log_sd) == math.inf


def test_a_channel_s_values_are_those_of_rows_and_positions():
    def network(factor):
        conv = nn.Conv2d(1, 1, 1, bias=False).double()
        nn.init.constant_(conv.weight, factor)
        return nn.Sequential(conv, nn.Conv2d(1, 2, 3).double())

    x = draw(50, 16).view(50, 1, 4, 4)

    _, found = shift_of(network(1.0), network(1.5), x)

    assert found.wasserstein.tolist() == pytest.approx(
        [0.5 * float(x.abs().mean() / x.std(correction=0))], rel=1e-12
    )


@pytest.mark.parametrize("rows", [1_500, 2_500])
def test_a_channel_that_moves_on_one_side_alone_is_seen_to_move(rows):
    """The right half moves by 4: the mean by 2, where a left edge would say 0 and a right 4."""
    x = draw(rows, 64).view(rows, 1, 8, 8)
    moved = x.clone()
    moved[..., 4:] += 4
    network = nn.Sequential(nn.Conv2d(1, 1, 3).double())

    (found,) = input_shift_of(
        network, network, [Block(x, NO_TARGETS)], later=[Block(moved, NO_TARGETS)]
    )

    assert found.mean.tolist() == pytest.approx([2], abs=0.2)
    assert found.wasserstein.tolist() == pytest.approx([2], abs=0.2)


def test_indices_that_enter_an_embedding_are_left_out():
    network = nn.Sequential(nn.Embedding(5, 2), nn.Flatten(), nn.Linear(4, 1))
    other = copy.deepcopy(network)
    with torch.no_grad():
        other[0].weight += 1
    rows = torch.tensor([[0, 1], [2, 3], [4, 0]])

    (found,) = input_shift_of(network, other, [Block(rows, NO_TARGETS)])

    assert found.name == "2"
    assert (found.mean > 0).all()


MLP = {"kind": "mlp", "hidden": [6, 5], "activation": "tanh"}


def test_a_probe_compares_the_rows_before_and_after_a_real_step(make_moment):
    before, setting = make_moment(MLP, 40, optimizer={"kind": "sgd", "lr": 0.5}, norm="batch")
    network = copy.deepcopy(before.network)
    optimizer = build_optimizer(setting.checked.spec.optimizer, network)
    loss_function("cross_entropy")(network(before.batch.inputs), before.batch.targets).backward()
    optimizer.step()
    after = moment(network, 1, before.batch, before.rows, 0.5)

    read = probe(ASKED, setting).compare(before, after)

    x = before.rows[0].inputs
    with torch.no_grad():
        a, b = copy.deepcopy(before.network)[:6](x), network[:6](x)
    sd = a.std(0, correction=0)
    moved = ((b.mean(0) - a.mean(0)).abs() / sd).median()  # of five units
    assert read.values["input_shift.mean.3"] == pytest.approx(float(moved), rel=1e-10)
    distance = (b.sort(0).values - a.sort(0).values).abs().mean(0) / sd
    assert read.values["input_shift.wasserstein_worst.3"] == pytest.approx(
        float(distance.max()), rel=1e-10
    )
    assert read.values["input_shift.wasserstein.1"] == 0
    assert read.data["rows"] == 40


def test_a_probe_costs_two_passes_of_the_rows(make_checked):
    assert passes(ASKED, make_checked(MLP, rows=100_000)) == 4000
    few = make_checked(MLP, rows=100)
    assert passes(ASKED, few) == 2 * few.rows.train
