"""Looking at a network without leaving a trace in it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

from model.measures.shadow import generators_kept, seed_noise

Again = Callable[[], None]
"""Puts the global generators to one place: every pass after it draws the same noise."""


@contextmanager
def untouched(network: nn.Module, again: Again | None = None) -> Iterator[Again]:
    """However the block ends, buffers and the global generators are what they were.

    In training mode a norm may move its running statistics inside. Modes stay what they are: a
    network is measured in the mode in which it is given, see `model.measures.shadow`.

    Args:
        again: puts the generators where passes begin; None: a fixed seed, the same in every
            process.

    Yields:
        To be called before a pass: the generators are there, and the buffers as they came, so
        that a norm which reads its running statistics in training mode answers alike.
    """
    device = device_of(network)
    draw_alike = again or seeded(0, device)
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]

    def put_back() -> None:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)

    def begin() -> None:
        put_back()
        draw_alike()

    with generators_kept(device):
        try:
            yield begin
        finally:
            put_back()


def seeded(seed: int, device: torch.device) -> Again:
    """The same noise from a seed, on a device."""
    return lambda: seed_noise(seed, device)


def device_of(network: nn.Module) -> torch.device:
    """Where the network's tensors are; the CPU where it has none."""
    tensors = chain(network.parameters(), network.buffers())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))
