"""Copies of a training network to look at, and the generators put back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import nn

from model.measures.probe import Block, Moment

_DROPOUT = nn.modules.dropout._DropoutNd


def shadow(network: nn.Module) -> nn.Module:
    """A copy that shares no memory: dropout in eval mode, all else in training mode, no gradient.

    Nothing is drawn at random.
    """
    copied = deepcopy(network).train()
    for module in copied.modules():
        if isinstance(module, _DROPOUT):
            module.eval()
    for parameter in copied.parameters():
        parameter.grad = None
    return copied


def moment(
    network: nn.Module, step: int, batch: Block, rows: tuple[Block, ...], lr: float
) -> Moment:
    """A network as it stands, copied. Look at it inside `generators_kept` alone.

    Args:
        step: optimizer steps done.
        batch: of the step to come, or of the last one at the end.
        rows: fixed training rows.
        lr: of the step to come.
    """
    device = batch.inputs.device
    return Moment(step, shadow(network), batch, rows, lr, lambda: seed_noise(step, device))


@contextmanager
def generators_kept(device: torch.device) -> Iterator[None]:
    """However the block ends, the global generators are where they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        yield


def seed_noise(step: int, device: torch.device) -> None:
    """Put the global generators to where noise at a step is drawn from.

    Not `torch.manual_seed`, which takes 5 ms for devices that nobody uses.
    """
    torch.default_generator.manual_seed(step)
    if device.type == "cuda":
        torch.cuda.manual_seed(step)
