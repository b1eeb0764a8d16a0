"""Dead units in the post's sense: no change of their weights means anything to the loss.

A unit's incoming weights and its bias, w, are moved by 1 % of their norm, and the loss on fixed
rows is asked for again. Which way they move decides what is seen:

- Not along w itself: behind a batch norm 1.01 w gives the outputs of w, whatever the unit does.
- Along a random direction d weights show about 1 / sqrt(d) of what they can do.
- Along the gradient they show, to first order, the most that any move of this length can do; a
  batch norm's gradient stands at right angles to w by itself. Where the gradient is 0 it says
  nothing.

So both are tried, each to both sides, and the largest of the four changes counts, as a share of
the loss. `steepest_changes_of` gives the first-order part for every unit at the cost of one
gradient, which a probe can afford; `loss_changes_of` moves the weights. Their
medians over a layer's units agree within a fifth.

A unit is dead below a millionth. In perceptrons of 1 to 4 hidden layers on two_class_500 and
digits, at the start and after training, the median unit changes the loss by 5e-4 to 6e-3; those
that are 0 on every row by 0; and in a sigmoid network that never starts, for weights of 0.01, no
unit reaches 1e-6.

"No matter how you perturb the weight of the neuron, it will have no meaningful impact on our
final train loss": https://github.com/Iancheung228 (BatchNorm, 2024-04-01).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.measures.behind import behind
from model.measures.incoming import Incoming, Units, slopes_of, weight_of
from model.measures.probe import Block
from model.measures.untouched import Again, untouched
from model.measures.values import evenly
from model.training.losses import LossKind

MOVE = 0.01  # of the norm of a unit's weights and bias
DEAD = 1e-6  # of the loss, under which a change means nothing
SCREENED_ROWS = 256  # that a probe takes its gradient of
MOST_UNITS = 256  # of a layer, that are moved one by one
SEED = 2_147_483_647  # of the random directions, which are the same in every process


@dataclass(frozen=True)
class LossChange:
    """What a 1 % move of each unit's incoming weights does to the loss."""

    layer: str  # the activation layer
    source: str | None  # the layer of the weights; None: none has a row for each unit
    units: tuple[int, ...]  # which units were asked about
    of: int  # units of the layer
    change: Tensor  # (len(units),) float64, share of the loss, at least 0; NaN: not to be said

    @property
    def dead(self) -> Tensor:
        """Units whose change means nothing, (len(units),) bool."""
        return self.change < DEAD

    @property
    def dead_share(self) -> float:
        """Share of dead units among those asked about; NaN where a change cannot be said."""
        return float(self.dead.double().where(~self.change.isnan(), torch.nan).mean())


def steepest_changes_of(
    network: nn.Module, blocks: Sequence[Block], loss: LossKind, *, again: Again | None = None
) -> tuple[LossChange, ...]:
    """The largest first-order change that any 1 % move of a unit's weights makes, every unit.

        change = 0.01 * |w| * |dL/dw| / L

    Where the loss is at rest on these rows, every unit's is 0. Outputs are widened to float64
    before the loss: of rows that are fitted well it would round to 0 before its gradient does.
    The network is run in the mode in which it is, and left as it is.

    Args:
        again: puts the generators back before a pass.

    Returns:
        One for each activation layer, in network order; without units where no layer has a row
        of weights for each of them.
    """
    with untouched(network, again) as begin:
        slopes = slopes_of(network, blocks, loss, begin)
    return tuple(
        _change(one, range(one.count), _share(_steepest(one.incoming, slopes.rows), slopes.loss))
        if one.incoming
        else _unknown(one)
        for one in slopes.units
    )


def loss_changes_of(
    network: nn.Module,
    blocks: Sequence[Block],
    loss: LossKind,
    *,
    again: Again | None = None,
) -> tuple[LossChange, ...]:
    """The true change of the loss: the largest of four moves of each unit's weights by 1 %.

    Each unit takes four passes through what follows it; of a layer of more than 256 units so many
    are moved, evenly spread. The network is run in the mode in which it is, and left as it is. A
    unit whose weights are all 0 has no move of 1 %: NaN.

    Args:
        again: puts the generators back before a pass.

    Returns:
        As `steepest_changes_of`.
    """
    with untouched(network, again) as begin:
        slopes = slopes_of(network, blocks, loss, begin)
        asking = _Asking(network, blocks, loss, begin)
        found = []
        for one in slopes.units:
            units = evenly(one.count, MOST_UNITS)
            if one.incoming is None:
                found.append(_unknown(one))
                continue
            moves = _moves(one.incoming, slopes.rows[one.incoming.source.name])[:, units]
            found.append(_change(one, units, asking.largest(one.incoming, units, moves)))
    return tuple(found)


def _steepest(incoming: Incoming, slopes: dict[str, Tensor]) -> Tensor:
    lengths: Tensor = incoming.rows.norm(dim=1) * slopes[incoming.source.name].norm(dim=1)
    return MOVE * lengths


def _share(change: Tensor, loss: float) -> Tensor:
    """The changes as shares of the loss: no change is none of a loss of 0 either."""
    return torch.where(change == 0, 0.0, change / loss)


def _change(one: Units, units: Sequence[int], change: Tensor) -> LossChange:
    assert one.incoming is not None
    return LossChange(
        one.site.name, one.incoming.source.name, tuple(units), one.count, change.cpu()
    )


def _unknown(one: Units) -> LossChange:
    return LossChange(one.site.name, None, (), one.count, torch.zeros(0, dtype=torch.float64))


def _moves(incoming: Incoming, slopes: Tensor) -> Tensor:
    """Two moves of each unit's row, 1 % of its norm long, (2, U, W) float64.

    The first, along the gradient, is 0 where that is; both are where the row is.
    """
    rows = incoming.rows
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randn(rows.shape, generator=generator, dtype=torch.float64).to(rows.device)
    both = torch.stack([slopes, drawn])
    lengths = both.norm(dim=2, keepdim=True)
    directions = torch.where(lengths == 0, 0.0, both / lengths)
    moves: Tensor = MOVE * rows.norm(dim=1, keepdim=True) * directions
    return moves


@dataclass(frozen=True)
class _Asking:
    """Asks for the loss after every move."""

    network: nn.Module
    blocks: Sequence[Block]
    loss: LossKind
    again: Again

    def largest(self, incoming: Incoming, units: Sequence[int], moves: Tensor) -> Tensor:
        """The largest |change| of four, as a share of the loss, (len(units),) float64.

        Args:
            moves: (2, len(units), W).
        """
        total, changes = 0.0, torch.zeros(len(units), 4, dtype=torch.float64)
        for block in self.blocks:
            asked = behind(self.network, incoming, block, self.loss, self.again)
            before, weight = asked.loss(), weight_of(self.loss, block)
            total += weight * before
            for n, rows in enumerate(moves):
                for place, side, after in asked.moved(units, rows):
                    changes[place, 2 * n + side] += weight * (after - before)
        can_move = (moves[1].norm(dim=1) > 0).cpu()
        return _share(changes.abs().amax(1), total).where(can_move, torch.nan)
