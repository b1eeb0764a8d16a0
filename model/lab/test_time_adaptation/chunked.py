"""Adaptation of many small batches in one pass: each chunk of rows has statistics of its own.

It is `model.statistics.adapt` for every chunk at once: in training mode each layer meets what the
layers before it made of their own mixed statistics, and so it does here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from model.norms.batch import BatchNorm
from model.statistics.adapt import running_statistics
from model.statistics.modes import batch_norms


def adapted_logits(network: nn.Module, rows: Tensor, size: int, source_rows: float) -> Tensor:
    """Logits of rows, each chunk by the source's statistics mixed with its own.

        mean = N / (N + n) * source mean + n / (N + n) * chunk mean, the same of the variance

    Args:
        network: in eval mode; left as it is.
        rows: a multiple of `size` of them; consecutive ones are a chunk.
        size: n.
        source_rows: N, 0 or more, or infinite.

    Raises:
        ValueError: a chunk is left over.

    Schneider et al. 2020, section 3: https://arxiv.org/abs/2006.16971
    """
    if len(rows) % size:
        raise ValueError(f"{len(rows)} rows are no whole number of chunks of {size}")
    with _mixing(network, size, 1 / (1 + source_rows / size)), torch.inference_mode():
        logits: Tensor = network(rows)
    return logits


@contextmanager
def _mixing(network: nn.Module, size: int, share: float) -> Iterator[None]:
    """Inside, every batch norm mixes its statistics with those of each chunk."""
    norms = batch_norms(network).values()
    handles = [norm.register_forward_hook(_mixed(size, share)) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _mixed(size: int, share: float) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def replaced(module: nn.Module, args: tuple[Tensor, ...], _: Tensor) -> Tensor:
        assert isinstance(module, BatchNorm)
        return _normalized(module, args[0], size, share)

    return replaced


def _normalized(norm: BatchNorm, x: Tensor, size: int, share: float) -> Tensor:
    """What the layer gives in eval mode with the mixed statistics of each chunk."""
    chunks = x.unflatten(0, (-1, size)).double()  # (chunks, n, C, *)
    axes = (1, *range(3, chunks.dim()))
    along = (1, 1, -1, *(1,) * (chunks.dim() - 3))
    source = running_statistics(norm)
    variance, mean = torch.var_mean(chunks, axes, correction=0, keepdim=True)
    if share < 1:  # with 1 there is no part of the source, be it NaN
        mean = source.mean.view(along).lerp(mean, share)
        variance = source.variance.view(along).lerp(variance, share)
    spread = variance.sqrt() if norm.convention.running == "deviation" else variance
    y = (chunks - mean) / norm.divisor_of(spread)
    if norm.weight is not None and norm.bias is not None:
        y = y * norm.weight.view(along) + norm.bias.view(along)
    normalized: Tensor = y.flatten(0, 1).to(x.dtype)
    return normalized
