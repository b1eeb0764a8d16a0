"""From which score on a window counts as drift, calibrated on rows that trained nothing.

For every window size, the threshold of a layer is 1.25 times the 99.9th percentile of its
scores over 2,000 windows drawn from the calibration rows. A model has one alarm: the largest
score over threshold among its layers, above 1.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from model.statistics.drift.reference import passed
from model.statistics.drift.rows import Sums, joined, positions
from model.statistics.drift.scores import Reference, channel_scores

WINDOWS = 2_000  # drawn for each size
QUANTILE = 0.999
FACTOR = 1.25
SMALLEST = 32  # rows of the smallest window
SHARE = 8  # the largest window is at most one such part of the calibration rows
#: A layer that is constant on every row scores 0; less than this is rounding.
LEAST_THRESHOLD = 1e-9
MOST_TABLE_BYTES = 256 * 2**20  # kept of the calibration rows; fewer rows are used if need be


@dataclass(frozen=True)
class Thresholds:
    """The calibrated thresholds of a network; of a set too small, none."""

    rows: int  # calibration rows that were used
    layers: tuple[str, ...]  # state-dict prefixes, in network order
    by_size: dict[int, tuple[float, ...]]  # window rows -> threshold of each layer

    @property
    def sizes(self) -> tuple[int, ...]:
        """Calibrated window sizes in rows, ascending; empty means uncalibrated."""
        return tuple(sorted(self.by_size))

    @property
    def is_calibrated(self) -> bool:
        """Whether any window can be judged."""
        return bool(self.by_size)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a checkpoint's metadata."""
        sizes = {str(size): list(self.by_size[size]) for size in self.sizes}
        return {
            "state": "calibrated" if sizes else "uncalibrated",
            "rows": self.rows,
            "layers": list(self.layers),
            "thresholds": sizes,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Thresholds":
        """The thresholds that `to_json` wrote."""
        by_size = {int(size): tuple(values) for size, values in data["thresholds"].items()}
        return cls(data["rows"], tuple(data["layers"]), by_size)


def window_sizes(rows: int) -> tuple[int, ...]:
    """32, 64, 128, ... up to an eighth of the calibration rows."""
    sizes, size = [], SMALLEST
    while size <= rows // SHARE:
        sizes.append(size)
        size *= 2
    return tuple(sizes)


def calibrate(
    network: nn.Module,
    references: tuple[Reference, ...],
    inputs: Tensor,
    block_rows: int,
    generator: torch.Generator,
) -> Thresholds:
    """Draw windows from rows that trained nothing, and see how far they are by chance.

    Every row passes through the network once. Windows are drawn with replacement, row by row,
    as rows come from a source, so that a window of an eighth of the set varies no less than one
    of fresh rows does.

    Args:
        references: one per point, as `reference` gives them.
        inputs: scaled calibration rows, on the network's device. Where their sums would take
            more than MOST_TABLE_BYTES, evenly spaced ones are used.
        block_rows: rows that pass through the network at once.
        generator: on the CPU; the only randomness.
    """
    inputs = _spaced(inputs, _most_rows(references))
    sizes = window_sizes(len(inputs))
    names = tuple(reference.name for reference in references)
    if not sizes:
        return Thresholds(len(inputs), names, {})
    tables, per_row = row_tables(network, references, inputs, block_rows)
    columns: dict[int, list[float]] = {size: [] for size in sizes}
    draws = _segments(sizes, len(inputs), generator)
    for reference, table, count in zip(references, tables, per_row, strict=True):
        for size, sums in _windows(table, sizes, draws):
            scores = channel_scores(reference, *sums.moments(size * count)).mean(1)
            columns[size].append(_threshold(scores))
    return Thresholds(len(inputs), names, {size: tuple(columns[size]) for size in sizes})


def row_tables(
    network: nn.Module, references: tuple[Reference, ...], inputs: Tensor, block_rows: int
) -> tuple[list[Sums], list[int]]:
    """The sums of every row at every point, each (rows, C) on the CPU, and positions per row."""
    blocks: list[list[Sums]] = [[] for _ in references]
    counts = [1] * len(references)

    def take(index: int, x: Tensor) -> None:
        sums = Sums.of_rows(x, references[index].mean.to(x.device))
        blocks[index].append(Sums(sums.first.cpu(), sums.second.cpu()))
        counts[index] = positions(x)

    passed(network, inputs, block_rows, take)
    return [joined(list(sums)) for sums in blocks], counts


def _threshold(scores: Tensor) -> float:
    return max(FACTOR * torch.quantile(scores, QUANTILE).item(), LEAST_THRESHOLD)


def _most_rows(references: tuple[Reference, ...]) -> int:
    row_bytes = sum(16 * len(reference.mean) for reference in references)
    return max(1, MOST_TABLE_BYTES // row_bytes)


def _spaced(inputs: Tensor, most: int) -> Tensor:
    if len(inputs) <= most:
        return inputs
    return inputs[torch.linspace(0, len(inputs) - 1, most, dtype=torch.float64).long()]


def _segments(sizes: tuple[int, ...], rows: int, generator: torch.Generator) -> list[Tensor]:
    """Row indices, (WINDOWS, n) each, by which a window grows from one size to the next."""
    widths = (sizes[0], *(after - before for before, after in itertools.pairwise(sizes)))
    return [torch.randint(rows, (WINDOWS, width), generator=generator) for width in widths]


def _windows(
    table: Sums, sizes: tuple[int, ...], draws: list[Tensor]
) -> Iterator[tuple[int, Sums]]:
    """The sums of all windows, (WINDOWS, C), size by size; larger ones contain smaller ones."""
    channels = table.first.shape[1]
    first = torch.zeros(WINDOWS, channels, dtype=torch.float64)
    second = torch.zeros_like(first)
    for size, draw in zip(sizes, draws, strict=True):
        first += embedding_bag(draw, table.first, mode="sum")  # gathers nothing beside the sums
        second += embedding_bag(draw, table.second, mode="sum")
        yield size, Sums(first, second)
