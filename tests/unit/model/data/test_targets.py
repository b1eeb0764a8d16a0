import numpy as np
import pytest

from model.data.options import Limits
from model.data.targets import Targets, as_targets, check_classes, integer_classes, text_classes
from model.errors import DatasetInvalid, DatasetTooLarge


def test_integers_are_sorted_by_value_and_text_by_code_point():
    assert integer_classes(np.array([10, 9, 10]), Limits()).classes == ("9", "10")
    targets = text_classes(["9", "10", "a"], np.array([2, 0, 1, 0]))
    assert targets.classes == ("10", "9", "a")
    assert targets.values.tolist() == [2, 1, 0, 1]


def test_targets_of_one_column_are_taken_as_none():
    flat, column = (
        as_targets(np.array([3, 1, 3]).reshape(shape), Limits()) for shape in [3, (3, 1)]
    )
    assert flat.values.tolist() == column.values.tolist() == [1, 0, 1]
    assert flat.values.shape == column.values.shape == (3,)


def test_too_many_classes_say_how_quantities_are_written():
    with pytest.raises(DatasetTooLarge, match=r"4 classes, at most 3 are accepted; .*decimals"):
        integer_classes(np.arange(4), Limits(max_classes=3))


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 201, "a\tb", "a\u200bb", "a\u2028b", "\udc80", "a\u202eb"]
)
def test_a_class_is_called_by_plain_text(name):
    with pytest.raises(DatasetInvalid, match="row 2, class '"):
        check_classes(Targets(np.arange(2), ("good", name)), Limits())


def test_names_of_every_script_are_plain_text():
    names = ("猫", "größe", "=cmd()", "x" * 200, "-1")
    check_classes(Targets(np.arange(5), names), Limits())
