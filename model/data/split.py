"""Which rows train, which choose the checkpoint (validation) and which test.

A pure function of the seed and the targets: the same rows on every machine. The counts need
no targets, so a spec can be checked from a dataset's facts alone.
"""

from dataclasses import dataclass

import numpy as np

from model.data.dataset import Facts
from model.spec import Split


@dataclass(frozen=True)
class Rows:
    """Row indices of each part, int64, ascending, disjoint; together all rows."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split_sizes(facts: Facts, split: Split) -> tuple[int, int, int]:
    """Rows of the (train, validation, test) parts, exactly the lengths of what `rows` gives.

    Fractions are of all rows, rounded half up. A dataset with its own test split keeps it,
    and `split.validation` is then a fraction of its own training rows.
    """
    if facts.train_rows is not None and facts.test_rows is not None:
        validation = _rounded(facts.train_rows, split.validation)
        return facts.train_rows - validation, validation, facts.test_rows
    test = _rounded(facts.rows, split.test)
    validation = min(_rounded(facts.rows, split.validation), facts.rows - test)
    return facts.rows - validation - test, validation, test


def _rounded(rows: int, fraction: float) -> int:
    return int(rows * fraction + 0.5)


def rows(facts: Facts, targets: np.ndarray, split: Split) -> Rows:
    """Divide the rows of a dataset.

    With `split.stratify` every class has, in every part, its share of all rows to within one
    row. Regression targets are never stratified.

    Shape:
        targets: (rows,) class indices, or (rows, outputs).
    """
    train, validation, test = split_sizes(facts, split)
    if facts.train_rows is not None:
        test_rows = np.arange(facts.train_rows, facts.rows)
        parts = _divide(targets[: facts.train_rows], facts, split, (train, validation, 0))
        return Rows(parts.train, parts.validation, test_rows)
    return _divide(targets, facts, split, (train, validation, test))


def _divide(targets: np.ndarray, facts: Facts, split: Split, totals: tuple[int, int, int]) -> Rows:
    # A bit generator's raw stream never changes between numpy releases; `Generator.permutation`
    # may, and a run that resumes after an upgrade must find its old rows.
    keys = np.random.PCG64(split.seed).random_raw(len(targets))
    stratify = split.stratify and facts.classes is not None
    group = targets if stratify else np.zeros(len(targets), np.int64)
    order = np.lexsort((keys, group))
    counts = np.bincount(group, minlength=1)
    starts = np.cumsum(counts) - counts
    ends = np.cumsum(allocate([int(count) for count in counts], totals), axis=1)
    position = np.arange(len(targets)) - np.repeat(starts, counts)
    part = (position[:, None] >= np.repeat(ends, counts, axis=0)).sum(axis=1)
    return Rows(*(np.sort(order[part == index]) for index in range(3)))


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
