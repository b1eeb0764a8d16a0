"""Whether the rows of a file come sorted by class.

Batches in the order of such a file hold one class or two. Their own statistics then tell the
class, so accuracy with batch statistics is inflated and eval mode cannot keep up with it.
"""

from dataclasses import asdict, dataclass
from fractions import Fraction
from math import perm, sqrt

import numpy as np
import numpy.typing as npt

from model.findings import Finding

SORTED_SHARE = 0.5  # of the way from a shuffled file (0) to a sorted one (1)
SORTED_Z = 5.0  # standard deviations of a shuffled file: a small one may look sorted by chance
LEAST_OTHERS = 10  # rows outside the commonest class: of fewer, some may meet by chance


@dataclass(frozen=True)
class ClassOrder:
    """How often a row's class is that of the row before it."""

    rows: int
    others: int  # rows outside the commonest class
    same: int  # neighbours of one class
    expected: float  # the same in a shuffled file, in the mean
    deviation: float  # and its standard deviation
    most: int  # the same in a sorted file

    @property
    def sortedness(self) -> float:
        """(same - expected) / (most - expected): 0 shuffled, 1 sorted, below 0 alternating."""
        room = self.most - self.expected
        return (self.same - self.expected) / room if room > 0 else 0.0

    @property
    def z(self) -> float:
        """Standard deviations between this file and a shuffled one."""
        return (self.same - self.expected) / self.deviation if self.deviation > 0 else 0.0

    @property
    def is_sorted(self) -> bool:
        """Whether batches in file order would hold few classes."""
        enough = self.others >= LEAST_OTHERS and self.z > SORTED_Z
        return enough and self.sortedness > SORTED_SHARE


def class_order(classes: npt.NDArray[np.integer]) -> ClassOrder:
    """Compare a file's order with a random order of the same rows.

    With n rows, n_c of class c and (n)_k = n (n - 1) ... (n - k + 1), a random order has
    S same-class neighbours:

        E[S]   = (n - 1) q2
        Var[S] = (n - 1) q2 + 2 (n - 2) q3 + (n - 2) (n - 3) q4 - E[S]^2
        q2 = sum_c (n_c)_2 / (n)_2      q3 = sum_c (n_c)_3 / (n)_3
        q4 = (sum_c (n_c)_4 + sum_{c != d} (n_c)_2 (n_d)_2) / (n)_4

    q3 is for pairs that share a row, q4 for pairs that share none. It is the test of
    Wald and Wolfowitz 1940 for any number of classes: n - S is the number of runs.

    Args:
        classes: (rows,) class indices from 0, in file order.
    """
    n = len(classes)
    counts = [int(count) for count in np.bincount(classes) if count]
    same = int(np.count_nonzero(classes[1:] == classes[:-1]))
    mean, variance = _shuffled(n, counts) if n >= 4 else (Fraction(same), Fraction(0))
    others = n - max(counts, default=0)
    return ClassOrder(n, others, same, float(mean), sqrt(variance), n - len(counts))


def finding(order: ClassOrder) -> Finding | None:
    """`ROWS_CLASS_SORTED` where the rows are sorted by class."""
    if not order.is_sorted:
        return None
    return Finding(
        "ROWS_CLASS_SORTED",
        "warning",
        None,
        {**asdict(order), "sortedness": order.sortedness, "z": order.z, "over": SORTED_SHARE},
        "Shuffle the file before another program reads it in order; batches here are random.",
    )


def _shuffled(n: int, counts: list[int]) -> tuple[Fraction, Fraction]:
    """Mean and variance of the same-class neighbours of a random order, exactly."""
    pairs = [perm(count, 2) for count in counts]
    apart = sum(perm(count, 4) for count in counts) + sum(pairs) ** 2 - sum(p * p for p in pairs)
    q2 = Fraction(sum(pairs), perm(n, 2))
    q3 = Fraction(sum(perm(count, 3) for count in counts), perm(n, 3))
    q4 = Fraction(apart, perm(n, 4))
    mean = (n - 1) * q2
    return mean, mean + 2 * (n - 2) * q3 + (n - 2) * (n - 3) * q4 - mean**2
