"""Keeps running statistics finite while a network trains.

Training mode never reads them, so one overflow would stay in every later value unseen, and eval
mode would answer NaN.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.norms.running import RunningNorm


@dataclass(frozen=True)
class Restored:
    """A step whose batch was taken back out of the running statistics of every layer."""

    step: int
    layers: tuple[str, ...]  # where a value was not finite, in network order


class Guard:
    """Looks at the running statistics after every step and goes back when one is not finite.

    The float buffers of all norms over the batch are laid into one tensor, of which they become
    views: looking costs one sum, keeping one copy. What was restored waits in `restored`.

    Args:
        network: on its device; its buffers keep their values.
    """

    def __init__(self, network: nn.Module) -> None:
        named = network.named_modules()
        self._norms = {name: m for name, m in named if isinstance(m, RunningNorm)}
        self._spans: dict[str, slice] = {}
        self._values = self._lay_out()
        self._kept = self._values.clone()
        self._marked: list[tuple[int, Tensor]] = []
        self.check: Callable[[int], None] = self._pass if not self._norms else self._look
        if self._norms and self._values.device.type != "cpu":
            self.check = self._look_without_waiting

    def keep(self) -> None:
        """Take the values as they are for the last finite ones, after a resume."""
        self._kept.copy_(self._values)

    def restored(self) -> tuple[Restored, ...]:
        """What was restored since the last call."""
        marked, self._marked = self._marked, []
        found = ((step, bad.cpu()) for step, bad in marked)
        return tuple(Restored(step, self._layers(bad)) for step, bad in found if bad.any())

    def _pass(self, step: int) -> None:
        """There is nothing to guard."""

    def _look(self, step: int) -> None:
        # A sum of finite values may overflow; only then is every value looked at.
        if not math.isfinite(self._values.sum().item()):
            bad = ~torch.isfinite(self._values)
            if bad.any():
                self._marked.append((step, bad))
                self._values.copy_(self._kept)
                self._uncount(1)
                return
        self._kept.copy_(self._values)

    def _look_without_waiting(self, step: int) -> None:
        """The same on a device, where every question would cost a synchronization."""
        bad = ~torch.isfinite(self._values)
        is_bad = bad.any()
        self._kept = torch.where(is_bad, self._kept, self._values)
        self._values.copy_(self._kept)
        self._uncount(is_bad.long())
        self._marked.append((step, bad))

    def _uncount(self, batches: int | Tensor) -> None:
        for norm in self._norms.values():
            norm.num_batches_tracked.sub_(batches * norm.counted)

    def _lay_out(self) -> Tensor:
        if not self._norms:
            return torch.empty(0)
        named = [
            (name, norm, buffer)
            for name, norm in self._norms.items()
            for buffer in ("running_mean", norm.spread_name)
        ]
        values = torch.cat([norm.get_buffer(buffer) for _, norm, buffer in named])
        end = 0
        for name, norm, buffer in named:
            start, end = end, end + norm.num_features
            setattr(norm, buffer, values[start:end])
            first = self._spans.get(name, slice(start, end)).start
            self._spans[name] = slice(first, end)
        return values

    def _layers(self, bad: Tensor) -> tuple[str, ...]:
        return tuple(name for name, span in self._spans.items() if bad[span].any())
