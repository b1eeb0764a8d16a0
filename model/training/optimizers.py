"""The spec's optimizer as torch's, in the form that is fastest for small networks."""

import torch
from torch import nn

from model import spec


def build_optimizer(asked: spec.Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of all parameters of `network`, which is where it will train.

    On one CPU thread a step over 14 small tensors takes, in microseconds: plain SGD 50 tensor
    by tensor (fused 74), SGD with momentum 65 fused (140), Adam 128 fused (437). SGD has the
    same bits in both forms; Adam differs in the last.
    """
    parameters = list(network.parameters())
    if isinstance(asked, spec.Sgd):
        fused = asked.momentum > 0 or parameters[0].device.type != "cpu"
        return torch.optim.SGD(
            parameters,
            lr=asked.lr,
            momentum=asked.momentum,
            nesterov=asked.nesterov,
            weight_decay=asked.weight_decay,
            fused=fused,
            foreach=False,
        )
    kind = torch.optim.AdamW if isinstance(asked, spec.AdamW) else torch.optim.Adam
    return kind(
        parameters,
        lr=asked.lr,
        betas=(asked.beta1, asked.beta2),
        eps=asked.eps,
        weight_decay=asked.weight_decay,
        fused=True,
    )
