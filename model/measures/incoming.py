"""The incoming weights of each unit of an activation layer, and the loss's gradient by them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.measures.probe import Block
from model.measures.sites import Site, activation_sites, source_of, watched
from model.measures.untouched import Begin
from model.training.losses import SUMS, LossKind, loss_function


@dataclass(frozen=True)
class Incoming:
    """A layer with a row of weights for each unit of an activation layer."""

    source: Site  # linear layer or convolution

    @property
    def tensors(self) -> dict[str, Tensor]:
        """`weight` and, where there is one, `bias`."""
        own = dict(self.source.module.named_parameters(recurse=False))
        return {name: own[name] for name in ("weight", "bias") if name in own}

    @property
    def rows(self) -> Tensor:
        """Weights and bias of each unit, copied, (U, W) float64."""
        return as_rows(list(self.tensors.values()))

    def split(self, rows: Tensor) -> dict[str, Tensor]:
        """Rows of weights and bias, (K, W), as the tensors of such a layer with K units."""
        like = self.tensors
        pieces = rows.split([one[0].numel() for one in like.values()], 1)
        return {
            name: piece.reshape(len(rows), *one.shape[1:]).to(one.dtype)
            for (name, one), piece in zip(like.items(), pieces, strict=True)
        }


@dataclass(frozen=True)
class Units:
    """The units of one activation layer."""

    site: Site
    count: int
    incoming: Incoming | None  # None: no layer has a row of weights for each of them


def as_rows(tensors: Sequence[Tensor]) -> Tensor:
    """A weight and maybe a bias as one row per unit, copied, (U, W) float64."""
    return torch.cat([one.detach().double().reshape(len(one), -1) for one in tensors], 1)


def _units(network: nn.Module, site: Site, shape: torch.Size) -> Units:
    """A linear layer acts on the last axis, which is that of the units of flat rows alone."""
    source = source_of(network, site)
    if source is None:
        return Units(site, shape[1], None)
    axes = 2 if isinstance(source.module, nn.Linear) else 4
    fits = len(shape) == axes and len(source.module.get_parameter("weight")) == shape[1]
    return Units(site, shape[1], Incoming(source) if fits else None)


@dataclass(frozen=True)
class Slopes:
    """The loss on all rows, and its gradient by the incoming weights.

    Both are a multiple of the mean loss's, and of one and the same.
    """

    units: tuple[Units, ...]  # of every activation layer, in network order
    loss: float
    rows: dict[str, Tensor]  # by source, (U, W) float64, as `Incoming.rows` has the weights


def slopes_of(network: nn.Module, blocks: Sequence[Block], loss: LossKind, again: Begin) -> Slopes:
    """One gradient over all rows, block by block: each passes once, forward and backward.

    Args:
        blocks: at least one; which layer has a row of weights for each unit is seen in its pass.
    """
    sites, shapes = activation_sites(network), dict[str, torch.Size]()

    def note(site: Site, x: Tensor, _: Tensor) -> None:
        shapes[site.name] = x.shape

    total, sums, units = 0.0, dict[str, Tensor](), tuple[Units, ...]()
    for block in again.each(blocks):
        with torch.enable_grad(), watched(sites, note):
            value = wide_loss(loss, network(block.inputs), block.targets)
        units = tuple(_units(network, site, shapes[site.name]) for site in sites)
        weight = weight_of(loss, block)
        total += weight * float(value.detach())
        for name, rows in _gradients(value, units).items():
            sums[name] = sums.get(name, 0) + weight * rows
    return Slopes(units, total, sums)


def _gradients(value: Tensor, units: Sequence[Units]) -> dict[str, Tensor]:
    """The gradient of a loss by the incoming weights, by source, (U, W) float64."""
    tensors = {
        one.incoming.source.name: list(one.incoming.tensors.values())
        for one in units
        if one.incoming is not None
    }
    leaves = [one for several in tensors.values() for one in several]
    found = iter(torch.autograd.grad(value, leaves) if leaves else ())
    return {name: as_rows([next(found) for _ in several]) for name, several in tensors.items()}


def wide_loss(loss: LossKind, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss in float64, whatever the outputs are in: it is not rounded to 0."""
    wide = targets.double() if targets.is_floating_point() else targets
    return loss_function(loss)(outputs.double(), wide)


def weight_of(loss: LossKind, block: Block) -> float:
    """What makes the losses of blocks add up to that of all rows, or to a multiple of it."""
    return 1.0 if loss in SUMS else float(len(block.inputs))
