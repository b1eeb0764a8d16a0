"""The loss of a network on some rows as a function of its parameters, and arithmetic on those.

All parameters of a network are one vector, in the order in which the network names them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from model.errors import DeviationZero
from model.measures.probe import Block, Moment
from model.measures.shadow import generators_kept
from model.statistics.modes import batch_statistics
from model.training.losses import LossFunction

Parameters = Mapping[str, Tensor]  # by their names in the state dict
#: `recomputed`: as in training, by the rows at hand. `held`: eval mode, by running statistics.
Statistics = Literal["recomputed", "held"]


@dataclass(frozen=True)
class Objective:
    """A loss to ask for at any parameters. The network is never written to.

    It runs on other tensors in place of its own: the parameters that are asked about, and a
    fresh copy of its buffers each time, so that no evaluation leaves a trace in the next. The
    same noise is drawn at every evaluation, from the global generators: evaluate inside
    `kept()`, or where the engine keeps them already. A channel that is constant while eps is 0
    has no loss: NaN.
    """

    network: nn.Module
    loss: LossFunction
    block: Block  # passes at once: recomputed statistics are those of all its rows
    again: Callable[[], None]  # puts the generators back before each evaluation
    statistics: Statistics = "recomputed"

    @property
    def here(self) -> Tensor:
        """The network's own parameters, copied, (P,)."""
        return flatten(parameters_of(self.network))

    def kept(self) -> AbstractContextManager[None]:
        """However the block ends, the global generators are where they were."""
        return generators_kept(self.block.inputs.device)

    def wide(self) -> "Objective":
        """The same in float64, on copies: where a step changes a loss by less than float32 holds.

        What is not floating point stays as it is: classes, indices of an embedding.
        """
        block = Block(_widened(self.block.inputs), _widened(self.block.targets))
        return replace(self, network=deepcopy(self.network).double(), block=block)

    def value(self, at: Tensor) -> float:
        """The loss where the parameters are `at`, (P,)."""
        with torch.no_grad():
            return self._number(unflatten(at, parameters_of(self.network)))

    def gradient(self, at: Tensor) -> tuple[float, Tensor]:
        """The loss and its gradient where the parameters are `at`, (P,) both.

        Where there is no loss the gradient is NaN.
        """
        leaf = at.detach().requires_grad_()
        loss, found = self._differentiated(unflatten(leaf, parameters_of(self.network)), [leaf])
        return loss, found[0]

    def gradients_of(
        self, parameters: Parameters, names: Sequence[str]
    ) -> tuple[float, dict[str, Tensor]]:
        """The loss at some parameters and its gradient by those that are named, no others.

        Args:
            parameters: all of the network, by name.
        """
        leaves = {name: parameters[name].detach().requires_grad_() for name in names}
        loss, found = self._differentiated({**parameters, **leaves}, list(leaves.values()))
        return loss, dict(zip(names, found, strict=True))

    def along(self, start: Tensor, direction: Tensor, lengths: Sequence[float]) -> list[float]:
        """Losses at `start + length * direction`, each computed from `start` anew."""
        return [self.value(moved(start, direction, length)) for length in lengths]

    def outputs(self, parameters: Parameters) -> Tensor:
        """What the network answers to the rows at some parameters."""
        self.again()
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        with self._mode():
            given = {**parameters, **buffers}
            rows = (self.block.inputs,)
            # No two layers share a tensor; to look for such takes a third of a small pass.
            answered: Tensor = functional_call(self.network, given, rows, tie_weights=False)
        return answered

    def _mode(self) -> AbstractContextManager[None]:
        return batch_statistics(self.network, ()) if self.statistics == "held" else nullcontext()

    def _number(self, parameters: Parameters) -> float:
        try:
            return float(self.loss(self.outputs(parameters), self.block.targets).item())
        except DeviationZero:
            return math.nan

    def _differentiated(
        self, parameters: Parameters, leaves: list[Tensor]
    ) -> tuple[float, Sequence[Tensor]]:
        try:
            with torch.enable_grad():
                loss = self.loss(self.outputs(parameters), self.block.targets)
                found = torch.autograd.grad(loss, leaves)
        except DeviationZero:
            return math.nan, [torch.full_like(leaf, math.nan).detach() for leaf in leaves]
        return float(loss.item()), found


def objective(at: Moment, loss: LossFunction, statistics: Statistics = "recomputed") -> Objective:
    """The loss on the batch of a moment."""
    return Objective(at.network, loss, at.batch, at.again, statistics)


def parameters_of(network: nn.Module) -> dict[str, Tensor]:
    """A network's parameters by name, in its order; they share its memory, without gradient."""
    return {name: one.detach() for name, one in network.named_parameters()}


def flatten(parameters: Parameters) -> Tensor:
    """Tensors as one vector, copied, (P,)."""
    return torch.cat([one.reshape(-1) for one in parameters.values()])


def unflatten(vector: Tensor, like: Parameters) -> dict[str, Tensor]:
    """A vector as tensors of the names and shapes of `like`; they share its memory.

    Raises:
        ValueError: the vector has another length than all of `like`.
    """
    numbers = sum(one.numel() for one in like.values())
    if vector.shape != (numbers,):
        raise ValueError(f"expected {numbers} parameters, got shape {tuple(vector.shape)}")
    pieces = vector.split([one.numel() for one in like.values()])
    return {name: piece.view(like[name].shape) for name, piece in zip(like, pieces, strict=True)}


def moved(start: Tensor, direction: Tensor, length: float) -> Tensor:
    """`start + length * direction`; with length 0 it is `start`, whatever the direction."""
    return start.clone() if length == 0 else start + length * direction


def norm_of(vector: Tensor) -> float:
    """Euclidean norm, summed in float64: a gradient of 1e30 has one."""
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))


def cosine(first: Tensor, second: Tensor) -> float:
    """Cosine of the angle between two tensors, in float64; NaN where one is 0."""
    sizes = norm_of(first), norm_of(second)
    if 0 in sizes:
        return math.nan
    units = (
        one.flatten().double() / size for one, size in zip((first, second), sizes, strict=True)
    )
    return float(torch.dot(*units).clamp(-1, 1))


def _widened(values: Tensor) -> Tensor:
    return values.double() if values.is_floating_point() else values
