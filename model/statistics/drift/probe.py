"""What enters the norm layers of a network while it answers as always.

Shape letters: N rows, C channels, * any positions. Knows nothing of scores or windows.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from model.norms.batch import BatchNorm

#: The network's answers, noted beside the points of a pass.
ANSWER = -1

#: One forward pass: tensor (N, C, *) by index of the point, and the answers under ANSWER.
Pass = dict[int, Tensor]
Listener = Callable[[Pass], None]


@dataclass(frozen=True)
class Point:
    """A place in a network whose moments are watched."""

    name: str  # state-dict prefix of the layer
    side: Literal["input", "output"]  # which of the layer's tensors


def points(network: nn.Module) -> tuple[Point, ...]:
    """The watched places, in network order.

    The input of every batch norm. Without any, the output of every linear layer and convolution
    but the last: where `placement: before_activation` puts the norms of the network's twin, so
    that both are watched at the same places. A network of one such layer is watched at its
    output.
    """
    norms = [name for name, module in network.named_modules() if isinstance(module, BatchNorm)]
    if norms:
        return tuple(Point(name, "input") for name in norms)
    weighted = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    return tuple(Point(name, "output") for name in weighted[:-1] or weighted)


class Probe:
    """Notes the tensors at the points of a network, in the threads that ask for it.

    Every watched layer gets a subclass of its class that notes a tensor and computes what it
    did. A hook of torch would do the same, but takes each call off the fast path: measured,
    4 microseconds a layer, where a small prediction has 175 for everything. The tensors noted
    are the ones that pass, not copies.

    Args:
        network: whose layers are watched until `close`. One probe at a time.
    """

    def __init__(self, network: nn.Module) -> None:
        self.points = points(network)
        self._here = _Here()
        self._watched: list[tuple[nn.Module, type[nn.Module]]] = []
        for index, point in enumerate(self.points):
            self._watch(network.get_submodule(point.name), index, point.side)
        self._watch(network, ANSWER, "output")

    def close(self) -> None:
        """Give every layer its own class back."""
        while self._watched:
            module, own = self._watched.pop()
            module.__class__ = own

    def listen(self, take: Listener | None) -> Listener | None:
        """Hand every forward pass of this thread to `take` as soon as it is through.

        Args:
            take: None is silence.

        Returns:
            Who listened before.
        """
        before = self._here.take
        self._here.take, self._here.seen = take, {}
        return before

    def _watch(self, module: nn.Module, index: int, side: str) -> None:
        own = type(module)
        self._watched.append((module, own))
        module.__class__ = _noting(own, index, side, self._here)


class _Here(threading.local):
    """Who listens in this thread, and what has passed so far."""

    def __init__(self) -> None:
        self.take: Listener | None = None
        self.seen: Pass = {}

    def note(self, index: int, x: Tensor) -> None:
        """Keep x; with the network's answers the pass is through."""
        if self.take is None:
            return
        self.seen[index] = x
        if index == ANSWER:
            seen, self.seen = self.seen, {}
            self.take(seen)


def _noting(own: type[Any], index: int, side: str, here: _Here) -> type[Any]:
    """The class `own` with a forward that tells `here` of its input or its output."""

    def note_input(self: Any, x: Tensor) -> Tensor:
        here.note(index, x)
        result: Tensor = own.forward(self, x)
        return result

    def note_output(self: Any, x: Tensor) -> Tensor:
        result: Tensor = own.forward(self, x)
        here.note(index, result)
        return result

    forward = note_input if side == "input" else note_output
    return type(own.__name__, (own,), {"forward": forward, "__module__": own.__module__})
