"""Which norm layers have running statistics, and which take the batch's for a while."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from torch import nn

from model.norms.batch import BatchNorm
from model.norms.running import RunningNorm


def running_norms(network: nn.Module) -> dict[str, RunningNorm]:
    """Every layer with running statistics by its state-dict prefix, in network order."""
    return {name: one for name, one in network.named_modules() if isinstance(one, RunningNorm)}


def batch_norms(network: nn.Module) -> dict[str, BatchNorm]:
    """Those of them that average mean and spread: all kinds of batch norm, and no l_p norm."""
    return {name: one for name, one in network.named_modules() if isinstance(one, BatchNorm)}


@contextmanager
def batch_statistics(network: nn.Module, layers: Collection[str] | None = None) -> Iterator[None]:
    """Inside, these layers normalize by the statistics of the batch; nothing is moved.

    That is their training mode without what is added to it there: neither noise, nor ghost
    groups, nor renorm's corrections. Every other layer is in eval mode, whatever mode the network
    came in: dropout is off, and layers that are not named use their running statistics. Of two
    nested uses the inner one decides. However the block ends, every module gets back the mode
    it had.

    Args:
        network: of this process's own use: another thread would see the mode change.
        layers: names as `running_norms` gives them; all when None; none of them when empty,
            which is plain eval mode.

    Raises:
        ValueError: a name that is no layer with running statistics.
    """
    norms = running_norms(network)
    chosen = set(norms if layers is None else layers)
    if unknown := sorted(chosen - set(norms)):
        raise ValueError(f"no batch-norm layers of this network: {', '.join(unknown)}")
    modes = [(module, module.training) for module in network.modules()]
    before = {name: norm.by_batch for name, norm in norms.items()}
    try:
        network.eval()
        for name, norm in norms.items():
            norm.by_batch = name in chosen
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for name, norm in norms.items():
            norm.by_batch = before[name]
