"""The loss of one block of rows with other outputs of one layer.

What the layer gives is moved one unit at a time. So the layers before it run once for all its
units, and only those behind it once for each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from model.measures.incoming import Incoming
from model.measures.probe import Block
from model.measures.sites import Site, watched
from model.measures.untouched import Again
from model.training.losses import LossKind, loss_function


@dataclass(frozen=True)
class Behind:
    """A layer in a network, and what has reached it of one block of rows."""

    incoming: Incoming
    rest: Sequence[Site]  # the entry of the sequence that holds the layer, and those behind it
    entered: Tensor  # input of the first of them
    x: Tensor  # input of the layer
    y: Tensor  # output of the layer, (n, U) or (n, U, *); written to, and put back
    targets: Tensor
    loss_kind: LossKind
    again: Again

    @torch.no_grad()
    def loss(self) -> float:
        """The loss with the output as it is, in float64: no change is lost in rounding a sum."""
        self.again()
        return float(loss_function(self.loss_kind)(self._outputs().double(), self.targets))

    @torch.no_grad()
    def moved(self, units: Sequence[int], rows: Tensor) -> Iterator[tuple[int, int, float]]:
        """The losses when a unit's weights and bias are moved, to one side and to the other.

        Args:
            rows: (len(units), W), what is added to each unit's row of weights.

        Yields:
            Place in `units`, side (0: added, 1: taken off), loss.
        """
        module, moves = self.incoming.source.module, self.incoming.split(rows)
        added = functional_call(module, moves, (self.x,))
        for place, unit in enumerate(units):
            kept = self.y[:, unit].clone()
            for side, sign in enumerate((1.0, -1.0)):
                self.y[:, unit] = kept + sign * added[:, place]
                yield place, side, self.loss()
            self.y[:, unit] = kept

    def _outputs(self) -> Tensor:
        first, *others = self.rest
        x = self.y if first.module is self.incoming.source.module else self._inside(first.module)
        for site in others:
            x = site.module(x)
        return x

    def _inside(self, outer: nn.Module) -> Tensor:
        """The output of an entry that holds the layer somewhere inside, as a residual does."""
        handle = self.incoming.source.module.register_forward_hook(lambda *_: self.y)
        try:
            found: Tensor = outer(self.entered)
        finally:
            handle.remove()
        return found


@torch.no_grad()
def behind(
    network: nn.Module, incoming: Incoming, block: Block, loss: LossKind, again: Again
) -> Behind:
    """Pass a block, and keep what reaches and leaves the layer."""
    rest = _from(network, incoming.source.name)
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def note(site: Site, x: Tensor, y: Tensor) -> None:
        seen[site.name] = (x, y)

    with watched([incoming.source, rest[0]], note):
        again()
        network(block.inputs)
    (x, y), (entered, _) = seen[incoming.source.name], seen[rest[0].name]
    targets = block.targets.double() if block.targets.is_floating_point() else block.targets
    return Behind(incoming, rest, entered, x, y.clone(), targets, loss, again)


def _from(network: nn.Module, name: str) -> list[Site]:
    """The entries of a sequence from the one that holds a layer on, or else the whole network."""
    if not isinstance(network, nn.Sequential):
        return [Site("", network)]
    entries = [Site(key, module) for key, module in network.named_children()]
    holds = [site.name for site in entries].index(name.partition(".")[0])
    return entries[holds:]
