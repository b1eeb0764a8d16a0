"""Looking at a network without leaving a trace in it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn

from model.measures.probe import Block
from model.measures.shadow import generators_kept, seed_noise

Again = Callable[[], None]
"""Puts the global generators to one place: every pass after it draws the same noise."""


@dataclass(frozen=True)
class Begin:
    """To be called before a pass: buffers are as they came, and the generators in one place.

    So a norm that reads its running statistics in training mode answers alike.
    """

    put_back: Callable[[], None]  # the buffers alone
    draw_alike: Again

    def __call__(self) -> None:
        """Before rows that pass at once."""
        self.put_back()
        self.draw_alike()

    def each(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The blocks of rows that pass one after another.

        Each meets the buffers as they came, not as the block before it left them: what it is
        answered hangs on its own rows alone. The noise goes on from block to block.
        """
        self.draw_alike()
        for block in blocks:
            self.put_back()
            yield block


@contextmanager
def untouched(network: nn.Module, again: Again | None = None) -> Iterator[Begin]:
    """However the block ends, buffers and the global generators are what they were.

    In training mode a norm may move its running statistics inside. Modes stay what they are: a
    network is measured in the mode in which it is given, see `model.measures.shadow`.

    Args:
        again: puts the generators where passes begin; None: a fixed seed, the same in every
            process.

    Yields:
        To be called before a pass, or asked for each block of several.
    """
    device = device_of(network)
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]

    def put_back() -> None:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)

    with generators_kept(device):
        try:
            yield Begin(put_back, again or seeded(0, device))
        finally:
            put_back()


def seeded(seed: int, device: torch.device) -> Again:
    """The same noise from a seed, on a device."""
    return lambda: seed_noise(seed, device)


def device_of(network: nn.Module) -> torch.device:
    """Where the network's tensors are; the CPU where it has none."""
    tensors = chain(network.parameters(), network.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))
