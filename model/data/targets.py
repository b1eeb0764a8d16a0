"""Raw targets to class indices with names, or to numbers.

Knows no file format. Integers and text are classes, floats are quantities.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.data.inputs import check_finite, shown
from model.data.options import Limits
from model.errors import DatasetInvalid, DatasetTooLarge
from model.spec import plain_text

_NAME_CHARACTERS = 200


@dataclass(frozen=True)
class Targets:
    """Checked targets: class indices with the classes' names, or numbers without.

    Shape:
        values: (rows,) int64 with classes, (rows, outputs) float64 without.
    """

    values: np.ndarray
    classes: tuple[str, ...] | None


def integer_classes(values: np.ndarray, limits: Limits) -> Targets:
    """Integers (or booleans) as classes, in numerical order, named by their digits.

    Raises:
        DatasetTooLarge: more classes than the limit.
    """
    names, indices = np.unique(values, return_inverse=True)
    check_class_count(len(names), limits)
    return Targets(indices.astype(np.int64), tuple(str(name) for name in names.tolist()))


def text_classes(names: Sequence[str], indices: np.ndarray) -> Targets:
    """Texts as classes, in the order of their code points.

    Args:
        names: the different texts, in any order.
        indices: (rows,) which of them each row has.
    """
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return Targets(place[indices], tuple(names[index] for index in order))


def number_targets(values: np.ndarray, names: Sequence[str] | None = None) -> Targets:
    """Finite numbers of a regression, (rows,) or (rows, outputs)."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    check_finite(columns, names or [f"target {index + 1}" for index in range(columns.shape[1])])
    return Targets(columns, None)


def as_targets(raw: np.ndarray, limits: Limits) -> Targets:
    """The targets of an array file: integers and text are classes, floats are numbers.

    Shape:
        raw: (n,), (n, 1), or for floats (n, outputs).

    Raises:
        DatasetInvalid: another shape, numbers that are not finite, or a bad class name.
        DatasetTooLarge: more classes than the limit.
    """
    is_number = raw.dtype.kind == "f"
    if raw.ndim not in (1, 2) or (raw.ndim == 2 and raw.shape[1] != 1 and not is_number):
        raise DatasetInvalid(
            f"targets of shape {raw.shape} and type {raw.dtype}; classes are (n,) or (n, 1), "
            "and only floats may be (n, outputs)",
            shape=list(raw.shape),
            dtype=str(raw.dtype),
        )
    if raw.size == 0:
        raise DatasetInvalid(f"targets of shape {raw.shape}: there are none", shape=list(raw.shape))
    if is_number:
        return number_targets(raw)
    if raw.dtype.kind == "U":
        return _unicode_classes(raw.ravel(), limits)
    return integer_classes(raw.ravel(), limits)


def _unicode_classes(raw: np.ndarray, limits: Limits) -> Targets:
    """numpy's own text: 4 bytes a character, which may be none of Unicode's."""
    if raw.view(np.uint32).max() > sys.maxunicode:
        raise DatasetInvalid("targets hold text that is not Unicode")
    names, indices = np.unique(raw, return_inverse=True)
    check_class_count(len(names), limits)
    return text_classes([str(name) for name in names], indices)


def check_classes(targets: Targets, limits: Limits) -> None:
    """Refuse one class, more than the limit, or one without a usable name; numbers have none.

    Raises:
        DatasetInvalid, DatasetTooLarge: with the numbers, or the class's first row and its name
            escaped and shortened.
    """
    classes = targets.classes
    if classes is None:
        return
    if len(classes) < 2:
        raise DatasetInvalid(
            "all targets are one class; two are needed", classes=len(classes), least=2
        )
    check_class_count(len(classes), limits)
    for index, name in enumerate(classes):
        if (why := _name_fault(name)) is not None:
            row = int(np.argmax(targets.values == index)) + 1
            raise DatasetInvalid(
                f"row {row}, class '{shown(name)}': {why}",
                **{"row": row, "class": shown(name), "least": 1, "limit": _NAME_CHARACTERS},
            )


def check_class_count(count: int, limits: Limits) -> None:
    """Refuse more classes than the limit, before each has a name in memory.

    Raises:
        DatasetTooLarge: with both numbers, and what to do when they were quantities.
    """
    if count > limits.max_classes:
        raise DatasetTooLarge(
            f"{count} classes, at most {limits.max_classes} are accepted; "
            "targets that are quantities are written as decimals (3.0)",
            size=count,
            limit=limits.max_classes,
            unit="classes",
        )


def _name_fault(name: str) -> str | None:
    if not name.strip() or len(name) > _NAME_CHARACTERS:
        return f"a name has 1 to {_NAME_CHARACTERS} visible characters"
    try:
        plain_text(name)
    except ValueError as error:
        return str(error)
    return None
