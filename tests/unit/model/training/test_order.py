"""The order in which rows are trained on."""

import pytest
import torch

from model.errors import SpecRefused
from model.lab.results import NO_LIMITS
from model.plan import check
from model.training.order import Order

CLASSES = torch.arange(10).repeat(100)[
    torch.randperm(1_000, generator=torch.Generator().manual_seed(1))
]


def order(sampling, sizes, seed=0):
    return Order(1_000, sizes, sampling, torch.Generator().manual_seed(seed), CLASSES)


@pytest.mark.parametrize("sampling", ["permutation", "class_sorted"])
@pytest.mark.parametrize("sizes", [(64,) * 15 + (40,), (100,) * 10, (1_000,), (300, 300, 400)])
def test_every_row_comes_once_an_epoch(sampling, sizes):
    epoch = order(sampling, sizes).epoch()
    assert epoch.rows.sort().values.tolist() == list(range(1_000))


def test_batches_sorted_by_class_hold_one_class_or_two():
    batches = order("class_sorted", (50,) * 20).epoch().rows.split(50)
    assert max(len(CLASSES[rows].unique()) for rows in batches) <= 2
    others = order("permutation", (50,) * 20).epoch().rows.split(50)
    assert min(len(CLASSES[rows].unique()) for rows in others) > 5


def test_batches_sorted_by_class_come_in_random_order():
    first = [
        int(CLASSES[rows[0]]) for rows in order("class_sorted", (50,) * 20).epoch().rows.split(50)
    ]
    assert first != sorted(first)


def test_a_dropped_tail_leaves_other_classes_out_every_epoch():
    asked = order("class_sorted", (64,) * 15)
    left = []
    for _ in range(20):
        kept = asked.epoch().rows
        assert len(kept.unique()) == 960
        gone = torch.ones(1_000, dtype=torch.bool).index_fill(0, kept, False)
        left.append(int(CLASSES[gone].mode().values))
    assert len(set(left)) > 5


@pytest.mark.parametrize("sampling", ["permutation", "class_sorted", "with_replacement"])
def test_one_seed_gives_one_order_and_every_epoch_another(sampling):
    one, two = order(sampling, (100,) * 10), order(sampling, (100,) * 10)
    first = one.epoch().rows
    assert torch.equal(first, two.epoch().rows)
    assert not torch.equal(first, one.epoch().rows)


def test_numbers_cannot_be_sorted_by_class(make_spec, make_facts):
    spec = make_spec(sampling="class_sorted", loss={"kind": "squared_error"})
    with pytest.raises(SpecRefused, match="class_sorted needs classes") as refused:
        check(spec, make_facts(classes=False), NO_LIMITS)
    assert refused.value.path == "sampling"
