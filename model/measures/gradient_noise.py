"""How far the gradient of a mini-batch is from that of all rows, and the bound on a step.

    E |alpha * g - alpha * g_B|^2 <= alpha^2 / |B| * C,  C = E |g_i - g|^2

with g_i the gradient of one row, g their mean and g_B that of a mini-batch B. It is an equality
for rows drawn with replacement; without, it is smaller by (n - |B|) / (n - 1). A row has a
gradient of its own only where no norm joins the rows of a batch.

Bjorck et al. 2018, section 3: https://arxiv.org/abs/1806.02375
"""

from torch import Tensor


def noise_constant(gradients: Tensor) -> float:
    """C, the mean squared distance of each row's gradient to their mean.

    Shape:
        gradients: (n, P), one row's gradient each.
    """
    wide = gradients.double()
    return float((wide - wide.mean(0)).square().sum(1).mean())


def noise_bound(constant: float, alpha: float, batch_rows: int) -> float:
    """The bound on the mean squared distance of a mini-batch's step to that of all rows.

    Args:
        constant: C.
        alpha: learning rate.
        batch_rows: |B|.
    """
    return alpha**2 / batch_rows * constant
