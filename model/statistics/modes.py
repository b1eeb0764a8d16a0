"""Which norm layers take the statistics of the batch at hand, for a while."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from torch import nn

from model.norms.batch import BatchNorm


def batch_norms(network: nn.Module) -> dict[str, BatchNorm]:
    """Every batch-norm layer by its state-dict prefix, in network order."""
    return {name: one for name, one in network.named_modules() if isinstance(one, BatchNorm)}


@contextmanager
def batch_statistics(network: nn.Module, layers: Collection[str] | None = None) -> Iterator[None]:
    """Inside, these batch-norm layers normalize as in training mode; nothing is moved.

    Every other layer is in eval mode, whatever mode the network came in: dropout is off, and
    batch-norm layers that are not named use their running statistics. Of two nested uses the
    inner one decides. However the block ends, every module gets back the mode it had.

    Args:
        network: of this process's own use: another thread would see the mode change.
        layers: names as `batch_norms` gives them; all when None; none of them when empty,
            which is plain eval mode.

    Raises:
        ValueError: a name that is no batch-norm layer of the network.
    """
    norms = batch_norms(network)
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
