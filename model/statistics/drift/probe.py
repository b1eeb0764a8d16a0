"""What enters the norm layers of a network while it answers as always.

Shape letters: N rows, C channels, * any positions. Knows nothing of windows.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from model.norms.batch import BatchNorm
from model.statistics.drift.units import units_of

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

    While some thread listens, every watched layer has a subclass of its class that notes a
    tensor and computes what it did; otherwise it has its own, and a probe costs nothing. A hook
    of torch would do the same, but takes each call off the fast path: measured, 4 microseconds
    a layer, where a small prediction has 175 for everything. The tensors noted are the ones
    that pass, not copies. Any number of listeners share a probe.

    Args:
        network: whose layers are watched. One probe at a time listens to it.
        as_trained: what the network was folded from. The points are those of this one; where
            a norm was folded, what passes is its input in other `units`.
    """

    def __init__(self, network: nn.Module, as_trained: nn.Module | None = None) -> None:
        whole = network if as_trained is None else as_trained
        self.points = points(whole)
        self.units = units_of(network, whole, (point.name for point in self.points))
        self._here = _Here()
        self._lock = threading.Lock()
        self._threads = 0  # that listen
        places = ((network.get_submodule(point.name), point.side) for point in self.points)
        self._layers = [
            *(
                _Layer(module, index, side, self._here)
                for index, (module, side) in enumerate(places)
            ),
            _Layer(network, ANSWER, "output", self._here),
        ]

    def listen(self, take: Listener | None) -> Listener | None:
        """Hand every forward pass of this thread to `take` as soon as it is through.

        Args:
            take: None is silence.

        Returns:
            Who listened before.
        """
        before = self._here.take
        self._here.take, self._here.seen = take, {}
        if (before is None) != (take is None):
            self._count(1 if before is None else -1)
        return before

    def _count(self, more: int) -> None:
        with self._lock:
            before, self._threads = self._threads, self._threads + more
            if not (before and self._threads):  # the first has come, or the last has gone
                for layer in self._layers:
                    layer.note(self._threads > 0)


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


class _Layer:
    """A watched layer with its own class and with one that notes."""

    def __init__(self, module: nn.Module, index: int, side: str, here: _Here) -> None:
        self._module, self._own = module, type(module)
        self._noting = _noting(self._own, index, side, here)

    def note(self, does: bool) -> None:
        """Give the layer the one class or the other; past torch's own setter, which is slow."""
        object.__setattr__(self._module, "__class__", self._noting if does else self._own)


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
