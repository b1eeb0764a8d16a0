import math

import pytest
import torch

from model.spec import Loss
from model.training.losses import LossKind, loss_function, targets_for

OUTPUTS = torch.tensor([[2.0, -1.0, 0.0], [0.5, 0.5, 1.0]], dtype=torch.float64)
CLASSES = torch.tensor([0, 2])


def test_cross_entropy_is_the_mean_of_the_negative_log_probability():
    expected = [
        -math.log(math.exp(row[target]) / sum(map(math.exp, row)))
        for row, target in zip(OUTPUTS.tolist(), CLASSES.tolist(), strict=True)
    ]

    loss = loss_function("cross_entropy")(OUTPUTS, CLASSES)

    assert loss.item() == pytest.approx(sum(expected) / 2)


# Distances to one-hot rows: (1, -1, 0) and (0.5, 0.5, 0).
SQUARES = 1 + 1 + 0.25 + 0.25


@pytest.mark.parametrize(
    ("kind", "expected"), [("squared_error", SQUARES / 6), ("half_sum_squares", SQUARES / 2)]
)
def test_squares_are_taken_to_one_hot_rows(kind, expected):
    targets = targets_for(kind, CLASSES, 3, torch.float64)

    assert targets.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert loss_function(kind)(OUTPUTS, targets).item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["squared_error", "half_sum_squares"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_targets_come_in_the_network_s_type(kind, dtype):
    numbers = torch.tensor([[1.5], [2.5]], dtype=torch.float64)

    assert targets_for(kind, numbers, 1, dtype).dtype == dtype
    assert targets_for(kind, CLASSES, 3, dtype).dtype == dtype


def test_a_class_without_rows_still_has_its_column():
    assert targets_for("squared_error", CLASSES, 5, torch.float32).shape == (2, 5)


def test_cross_entropy_takes_classes_as_they_are():
    assert targets_for("cross_entropy", CLASSES, 3, torch.float32) is CLASSES


def test_every_loss_of_the_spec_exists():
    assert LossKind == Loss.model_fields["kind"].annotation
