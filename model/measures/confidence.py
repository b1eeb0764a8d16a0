"""Whether a classifier is as sure as it is right."""

import torch
from torch import Tensor

BINS = 15


def expected_calibration_error(logits: Tensor, classes: Tensor, bins: int = BINS) -> float:
    """The mean distance between confidence and accuracy, over bins of confidence, 0 to 1.

    With p the largest softmax probability of a row, bin b has the rows of (b - 1) / bins < p <=
    b / bins, of n in all:

        sum over b of n_b / n * |share that is right - mean p|

    Shape:
        logits: (n, classes), at least one row, all finite; classes: (n,) int64.

    Guo et al. 2017, equation 3: https://arxiv.org/abs/1706.04599
    """
    confidence, answered = logits.double().softmax(1).max(1)
    right = (answered == classes).double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    index = torch.bucketize(confidence, edges[1:-1])  # an edge belongs to the bin below
    sums = torch.zeros(bins, dtype=torch.float64).index_add(0, index, right - confidence)
    return float(sums.abs().sum() / len(logits))


def brier_score(logits: Tensor, classes: Tensor) -> float:
    """The mean over rows of the squared distance of all probabilities from the truth, 0 to 2.

        1 / n * sum over rows and classes c of (p_c - 1[c is right])^2

    Shape:
        as for `expected_calibration_error`.

    Brier 1950: https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
    """
    probabilities = logits.double().softmax(1)
    truth = torch.nn.functional.one_hot(classes, logits.shape[1])
    return float((probabilities - truth).square().sum(1).mean())
