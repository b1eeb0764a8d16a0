"""How many values of a tanh are saturated at the start, by formulas alone.

A value is saturated where |tanh(z)| > t, which is |z| > c with c = atanh(t): 2.647 for t = .99.
Of weights from N(0, 1) the input of a unit is z ~ N(0, |x|^2), given a row x.
"""

from math import atanh, erfc, inf, sqrt

import torch
from scipy.special import betainc
from torch import Tensor

from model.measures.flat import TANH

EDGE = atanh(TANH)  # of |z|, beyond which tanh is saturated


def share_of_normal(deviation: float) -> float:
    """P(|z| > c) for z ~ N(0, deviation^2): 2 (1 - Phi(c / deviation)); 0 for a deviation of 0.

    The deviation is sqrt(fan_in) where weights and inputs are N(0, 1), and 1 behind a norm.
    """
    return erfc(EDGE / deviation / sqrt(2)) if deviation > 0 else 0.0


def share_of_batch(rows: int) -> float:
    """P(|z| > c) where normal values have been normalized by their own mean and deviation.

    Of n rows, with the deviation over n - 1, z^2 n / (n - 1)^2 follows a beta distribution with
    1/2 and (n - 2)/2, so that few rows have fewer values far out: .51 % for 32 rows and .81 %
    for very many.

    Thompson 1935, On a criterion for the rejection of observations.
    """
    limit = EDGE**2 * rows / (rows - 1) ** 2 if rows > 1 else inf
    return float(1 - betainc(0.5, (rows - 2) / 2, limit)) if limit < 1 else 0.0


def share_of_rows(inputs: Tensor) -> float:
    """The mean over rows of P(|z| > c) for z ~ N(0, |x|^2): whatever the rows are.

    Shape:
        inputs: (n, features), n at least 1.
    """
    lengths = torch.linalg.vector_norm(inputs, dim=1, dtype=torch.float64)
    return float(torch.special.erfc(EDGE / lengths / sqrt(2)).mean())
