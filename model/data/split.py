"""Which rows train, which calibrate drift, which choose the checkpoint, and which test.

A pure function of the seed and the targets: the same rows on every machine. The counts need
no targets, so a spec can be checked from a dataset's facts alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from model.data.dataset import Facts
from model.spec import Split

#: Fewer rows calibrate no window, so that they had better train: eight windows of 32.
LEAST_CALIBRATION = 256


@dataclass(frozen=True)
class Rows:
    """Row indices of each part, int64, ascending, disjoint; together all rows."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    calibration: np.ndarray  # rows that nothing is fitted to


@dataclass(frozen=True)
class Sizes:
    """Rows of each part, exactly the lengths of what `rows` gives."""

    train: int
    validation: int
    test: int
    calibration: int


def split_sizes(facts: Facts, split: Split) -> Sizes:
    """How many rows each part gets.

    Fractions are of all rows, rounded half up. A dataset with its own test split keeps it,
    and `split.validation` is then a fraction of its own training rows. `split.calibration` is
    a fraction of the rows that would train, and taken only where it gives LEAST_CALIBRATION.
    """
    if facts.train_rows is not None and facts.test_rows is not None:
        validation = _rounded(facts.train_rows, split.validation)
        train, test = facts.train_rows - validation, facts.test_rows
    else:
        test = _rounded(facts.rows, split.test)
        validation = min(_rounded(facts.rows, split.validation), facts.rows - test)
        train = facts.rows - validation - test
    share = _rounded(train, split.calibration)
    calibration = share if share >= LEAST_CALIBRATION else 0
    return Sizes(train - calibration, validation, test, calibration)


def _rounded(rows: int, fraction: float) -> int:
    return int(rows * fraction + 0.5)


def rows(facts: Facts, targets: np.ndarray, split: Split) -> Rows:
    """Divide the rows of a dataset.

    With `split.stratify` every class has, in every part, its share of all rows to within one
    row. Regression targets are never stratified.

    Shape:
        targets: (rows,) class indices, or (rows, outputs).
    """
    sizes = split_sizes(facts, split)
    every = np.arange(len(targets))
    own = facts.train_rows
    before, own_test = (every, None) if own is None else (every[:own], every[own:])
    drawn = sizes.test if own_test is None else 0
    totals = (sizes.train + sizes.calibration, sizes.validation, drawn)
    stratify = split.stratify and facts.classes is not None
    group = targets if stratify else np.zeros(len(targets), np.int64)
    train, validation, test = _divide(before, group, split.seed, totals)
    # Afterwards, so that what tests and what chooses does not hang on what calibrates.
    train, calibration = _divide(train, group, split.seed, (sizes.train, sizes.calibration))
    return Rows(train, validation, test if own_test is None else own_test, calibration)


def _divide(
    rows: np.ndarray, group: np.ndarray, seed: int, totals: tuple[int, ...]
) -> Iterator[np.ndarray]:
    """Share some rows over parts of these sizes, group by group, each part ascending."""
    # A bit generator's raw stream never changes between numpy releases; `Generator.permutation`
    # may, and a run that resumes after an upgrade must find its old rows.
    keys = np.random.PCG64(seed).random_raw(len(rows))
    order = np.lexsort((keys, group[rows]))
    counts = np.bincount(group[rows], minlength=1)
    starts = np.cumsum(counts) - counts
    ends = np.cumsum(allocate([int(count) for count in counts], totals), axis=1)
    position = np.arange(len(rows)) - np.repeat(starts, counts)
    part = (position[:, None] >= np.repeat(ends, counts, axis=0)).sum(axis=1)
    return (np.sort(rows[order[part == index]]) for index in range(len(totals)))


def allocate(counts: list[int], totals: tuple[int, ...]) -> np.ndarray:
    """Share each group over the parts so that group and part totals are exact.

    Every share is the exact quota `count * total / all` rounded down or one more. The rows
    left over by rounding down go, group by group, to the parts that still miss most rows: the
    Havel-Hakimi construction of a 0/1 table with given margins, which always works out here
    because the quotas' fractional parts are themselves such a table.

    Args:
        counts: rows of each group.
        totals: rows of each part; their sum is the sum of `counts`.

    Shape:
        returns: (groups, parts) int64.
    """
    everything = max(1, sum(counts))
    shares = np.array([[count * total // everything for total in totals] for count in counts])
    missing = np.array(totals) - shares.sum(axis=0)
    for share, count in zip(shares, counts, strict=True):
        chosen = np.argsort(-missing, kind="stable")[: count - share.sum()]
        share[chosen] += 1
        missing[chosen] -= 1
    return shares
