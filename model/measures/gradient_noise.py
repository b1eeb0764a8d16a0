"""How far the gradient of a mini-batch is from that of all rows, and the bound on a step.

    E |alpha * g - alpha * g_B|^2 <= alpha^2 / |B| * C,  C = E |g_i - g|^2

with g_i the gradient of one row, g their mean and g_B that of a mini-batch B. It is an equality
for rows drawn with replacement; without, it is smaller by (n - |B|) / (n - 1). A row has a
gradient of its own only where no norm joins the rows of a batch.

Bjorck et al. 2018, section 3: https://arxiv.org/abs/1806.02375
"""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from model.measures.objective import Objective, norm_of, parameters_of
from model.measures.probe import Block

AT_ONCE = 16  # rows whose gradients are held


def noise_constant(at: Objective) -> float:
    """C at the network's own parameters: the mean squared distance of a row's gradient to g.

    Args:
        at: no layer joins its rows, and the loss is the mean of theirs.
    """
    parameters = parameters_of(at.network)

    def loss(given: dict[str, Tensor], x: Tensor, target: Tensor) -> Tensor:
        return at.loss(functional_call(at.network, given, (x[None],)), target[None])

    def squared(x: Tensor, target: Tensor) -> Tensor:
        return torch.stack(
            [one.square().sum() for one in grad(loss)(parameters, x, target).values()]
        ).sum()

    total, rows = 0.0, len(at.block.inputs)
    for some in torch.arange(rows).split(AT_ONCE):
        at.again()  # nothing is drawn: it says that the process is alive
        total += float(vmap(squared)(at.block.inputs[some], at.block.targets[some]).sum())
    return total / rows - norm_of(at.gradient(at.here)[1]) ** 2


def noise_of(at: Objective, batches: Iterable[Tensor]) -> float:
    """The mean squared distance of a mini-batch's gradient to their mean, over n - 1.

    Args:
        batches: at least two, each the places of its rows in the objective's block.
    """
    total, squares, count = torch.zeros_like(at.here), 0.0, 0
    for rows in batches:
        block = Block(at.block.inputs[rows], at.block.targets[rows])
        _, gradient = replace(at, block=block).gradient(at.here)
        total, squares, count = total + gradient, squares + norm_of(gradient) ** 2, count + 1
    return (squares - norm_of(total) ** 2 / count) / (count - 1)


def noise_bound(constant: float, alpha: float, batch_rows: int) -> float:
    """The bound on the mean squared distance of a mini-batch's step to that of all rows.

    Args:
        constant: C.
        alpha: learning rate.
        batch_rows: |B|.
    """
    return alpha**2 / batch_rows * constant
