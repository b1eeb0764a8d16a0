"""Which batch norms wait for which: those of one level have no data path between them."""

import copy

import torch
from torch import Tensor, nn

from model.statistics.modes import batch_norms


def norm_levels(network: nn.Module, rows: Tensor) -> tuple[tuple[str, ...], ...]:
    """Names of the batch norms that run, grouped so that a group depends on earlier ones alone.

    A few rows pass once. Every norm's output is cut from the graph behind it, so a norm's
    input hangs on exactly those norms whose output reaches it without another norm between.

    Args:
        network: left as it is.
        rows: (n, *input_shape), any few rows.

    Returns:
        Levels in the order of the data; inside a level the order in which the layers run.
    """
    wires = _Wires()
    with torch.inference_mode(False), torch.enable_grad():
        copied = copy.deepcopy(network).eval()  # here, or its tensors might know no gradient
        for name, module in batch_norms(copied).items():
            wires.watch(name, module)
        copied(rows.clone())
    depth = 1 + max(wires.levels.values(), default=-1)
    return tuple(
        tuple(name for name, level in wires.levels.items() if level == wanted)
        for wanted in range(depth)
    )


class _Wires:
    """What the hooks of one pass have seen."""

    def __init__(self) -> None:
        self.levels: dict[str, int] = {}
        self._outputs: dict[str, Tensor] = {}

    def watch(self, name: str, module: nn.Module) -> None:
        def before(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            sources = self._sources(args[0])
            self.levels[name] = 1 + max((self.levels[source] for source in sources), default=-1)

        def after(_: nn.Module, __: tuple[Tensor, ...], y: Tensor) -> Tensor:
            self._outputs[name] = y.detach().requires_grad_()
            return self._outputs[name].clone()  # what follows may work in place

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)

    def _sources(self, x: Tensor) -> list[str]:
        """Norms whose output reaches x; a path whose derivative is 0 is a path, too."""
        if not self._outputs or not x.requires_grad:
            return []
        outputs = list(self._outputs.values())
        reached = torch.autograd.grad(x.sum(), outputs, retain_graph=True, allow_unused=True)
        return [name for name, one in zip(self._outputs, reached, strict=True) if one is not None]
