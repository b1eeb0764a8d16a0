"""Where reference moments come from: running statistics, or a recording for want of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from model.norms.batch import BatchNorm
from model.statistics.drift.probe import Pass, Probe
from model.statistics.drift.scores import Reference
from model.statistics.moments import Moments


def running(network: nn.Module) -> tuple[Reference, ...]:
    """The running statistics of every batch norm, in network order; none without norms.

    A copy: statistics that move later need another call.
    """
    return tuple(
        Reference(name, _wide(module.running_mean), _variance(module))
        for name, module in network.named_modules()
        if isinstance(module, BatchNorm)
    )


def recorded(network: nn.Module, inputs: Tensor, block_rows: int) -> tuple[Reference, ...]:
    """The moments that these rows have at the points of a network, in eval mode.

    Args:
        inputs: scaled rows, on the network's device; at least two values per channel.
        block_rows: rows that pass through the network at once.
    """
    moments: dict[int, Moments] = {}

    def take(index: int, x: Tensor) -> None:
        block = Moments.of(x)
        moments[index] = moments[index].merged(block) if index in moments else block

    names = passed(network, inputs, block_rows, take)
    return tuple(
        Reference(name, moments[index].mean.cpu(), moments[index].variance().cpu())
        for index, name in enumerate(names)
    )


def reference(network: nn.Module, inputs: Tensor, block_rows: int) -> tuple[Reference, ...]:
    """The running statistics, or, of a network without batch norms, what `inputs` record.

    Args:
        inputs: scaled rows that trained; looked at only where there are no batch norms.
        block_rows: as for `recorded`.
    """
    return running(network) or recorded(network, inputs, block_rows)


def passed(
    network: nn.Module, inputs: Tensor, block_rows: int, take: Callable[[int, Tensor], None]
) -> tuple[str, ...]:
    """Send rows through a network in eval mode and hand over what passes each point.

    The network is afterwards as it was, training flags included.

    Args:
        take: gets the index of a point and its tensor, (rows, C, *), block by block.

    Returns:
        The names of the points.
    """
    probe = Probe(network)

    def each(seen: Pass) -> None:
        for index in range(len(probe.points)):
            take(index, seen[index])

    try:
        probe.listen(each)
        with _evaluating(network), torch.inference_mode():
            for block in inputs.split(block_rows):
                network(block)
    finally:
        probe.listen(None)
    return tuple(point.name for point in probe.points)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode, and afterwards every layer in the mode it had."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _variance(module: BatchNorm) -> Tensor:
    spread = _wide(module.running_spread)
    return spread.square() if module.convention.running == "deviation" else spread


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().double().cpu().clone()
