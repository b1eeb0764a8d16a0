import itertools
from math import isclose

import numpy as np
import pytest

from model.statistics.class_order import class_order, finding


def shuffled(classes, seed=0):
    return np.random.default_rng(seed).permutation(classes)


def blocks(num_classes, length):
    return np.repeat(np.arange(num_classes), length)


@pytest.mark.parametrize("counts", [(2, 2), (3, 2), (1, 4, 2), (2, 2, 2), (5, 2), (1, 1, 1, 3)])
def test_mean_and_deviation_are_those_of_all_orders(counts):
    classes = np.repeat(np.arange(len(counts)), counts)
    same = [
        sum(a == b for a, b in itertools.pairwise(order))
        for order in itertools.permutations(classes.tolist())
    ]

    order = class_order(classes)

    assert isclose(order.expected, np.mean(same), rel_tol=1e-12)
    assert isclose(order.deviation, np.std(same), rel_tol=1e-12)
    assert order.same == order.most == max(same)


SORTED = {
    "ascending": blocks(10, 100),
    "descending": blocks(10, 100)[::-1],
    "two classes": blocks(2, 200),
    "by the batch": np.concatenate([np.full(32, index % 10) for index in range(60)]),
    "small": blocks(3, 12),
    "one class rare": np.repeat([0, 1], [5000, 50]),
    "half of it": np.concatenate([blocks(10, 400), shuffled(blocks(10, 100))]),
}
OTHERS = {
    "shuffled": shuffled(blocks(10, 100)),
    "alternating": np.tile(np.arange(10), 100),
    "one class": np.zeros(500, np.int64),
    "one row": np.zeros(1, np.int64),
    "none": np.zeros(0, np.int64),
    "too few to say": blocks(2, 3),
    "a rare pair by chance": np.array([0] * 500 + [1, 1] + [0] * 500),
}


@pytest.mark.parametrize("classes", SORTED.values(), ids=SORTED)
def test_a_sorted_file_is_told(classes):
    order = class_order(classes)

    assert order.is_sorted
    assert finding(order).reason == "ROWS_CLASS_SORTED"
    assert finding(order).evidence["sortedness"] == order.sortedness > 0.5


@pytest.mark.parametrize("classes", OTHERS.values(), ids=OTHERS)
def test_other_files_are_not(classes):
    order = class_order(classes)

    assert not order.is_sorted
    assert finding(order) is None


@pytest.mark.parametrize("num_classes", [2, 10])
@pytest.mark.parametrize("rows", [4, 20, 100, 1000])
@pytest.mark.parametrize("rare", [False, True])
def test_no_shuffle_of_three_hundred_is_called_sorted(num_classes, rows, rare):
    classes = np.arange(rows) % num_classes
    if rare:
        classes = np.where(np.arange(rows) < 3, classes, 0)

    assert not any(class_order(shuffled(classes, seed)).is_sorted for seed in range(300))


def test_sortedness_is_0_for_shuffled_1_for_sorted_and_below_for_alternating():
    values = [class_order(one).sortedness for one in (SORTED["ascending"], OTHERS["alternating"])]

    assert values[0] == 1
    assert values[1] < 0
    assert abs(class_order(OTHERS["shuffled"]).sortedness) < 0.1
