"""Watches predictions for inputs that differ from a network's training statistics."""

import threading
import time
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from model.statistics.drift.blocks import Blocks
from model.statistics.drift.budget import Budget
from model.statistics.drift.probe import ANSWER, Listener, Pass, Probe
from model.statistics.drift.rows import Sums, positions
from model.statistics.drift.scores import Reference
from model.statistics.drift.state import DriftState, judged
from model.statistics.drift.thresholds import SMALLEST, Thresholds
from model.statistics.drift.units import Units

#: Passes wait until so many are summed at once: a few tensor operations for all of them.
MOST_WAITING = 64
MOST_WAITING_BYTES = 4 * 2**20  # of the tensors that they hold
UNCALIBRATED_ROWS = 4 * SMALLEST  # window of a network without thresholds
SHARE = 0.01  # of the time, for watching
PASS_SECONDS = 10e-6  # to note a pass, measured; and as much for each of its points

_UNWATCHED = nullcontext()


class Monitor:
    """A rolling window over the predictions of one network, wherever that is in memory.

    A prediction leaves the tensors that passed through the network; they are summed together
    when some hundred wait, when they hold MOST_WAITING_BYTES, or when someone asks for the
    state. What the window keeps of a row is a share of a block's sums. The network may leave
    memory and come back, folded or not: the window stays. Any thread may predict and ask.

    Args:
        references: one per point of the network.
        thresholds: of this network with these references.
        classes: outputs of a classifier, whose predicted classes are counted; 0 for others.
        share: of the time that may go into watching; infinity watches every prediction.
    """

    def __init__(
        self,
        references: tuple[Reference, ...],
        thresholds: Thresholds,
        classes: int,
        share: float = SHARE,
    ) -> None:
        self._references, self._thresholds, self._classes = references, thresholds, classes
        most_rows = max(thresholds.sizes, default=UNCALIBRATED_ROWS)
        self._blocks = Blocks(most_rows, sum(len(r.mean) for r in references), classes)
        self._positions = [1] * len(references)
        self._units: tuple[Units, ...] = ()  # in which the tensors that wait have passed
        self._waiting: list[tuple[Pass, int]] = []
        self._waiting_bytes = 0
        self._lock = threading.Lock()
        self._budget = Budget(share)
        self._pass_seconds = PASS_SECONDS * (1 + len(references))

    def watching(self, probe: Probe, rows: int) -> AbstractContextManager[None]:
        """Count the predictions that this thread makes inside a `with`, if there is time for it.

        Args:
            probe: of the network, at the points of the references.
            rows: how many are asked for. Rows that pass after so many are padding.
        """
        if self._budget.is_open(time.perf_counter()):
            return Watching(self, probe, rows)
        return _UNWATCHED

    def add(self, seen: Pass, asked: int, probe: Probe) -> None:
        """Count the first `asked` rows of a forward pass.

        Raises:
            ValueError: the probe's points are not those of the references.
        """
        started = time.perf_counter()
        num_bytes = sum(x.nbytes for x in seen.values())
        with self._lock:
            if probe.units is not self._units:
                self._turn_to(probe)
            self._waiting.append((seen, asked))
            self._waiting_bytes += num_bytes
            if len(self._waiting) >= MOST_WAITING or self._waiting_bytes >= MOST_WAITING_BYTES:
                self._sum_waiting()
            now = time.perf_counter()
            self._budget.spend(self._pass_seconds + now - started, now)

    def state(self, size: int | None = None) -> DriftState:
        """What the window says now.

        Args:
            size: rows of the window, one of the calibrated sizes; None is the largest that is
                full.

        Raises:
            ValueError: `size` is not calibrated.
        """
        sizes = self._thresholds.sizes
        if size is not None and size not in sizes:
            raise ValueError(f"windows of {size} rows are not calibrated, only {list(sizes)}")
        with self._lock:
            self._sum_waiting()
            rows = self._blocks.rows
            chosen = self._chosen(rows) if size is None else size if size <= rows else 0
            window, counts = self._blocks.window(chosen)
        classes = [int(count) for count in counts.tolist()] if self._classes else None
        parts = self._by_layer(window)
        return judged(
            self._references, parts, self._positions, self._thresholds, chosen, rows, classes
        )

    def _chosen(self, rows: int) -> int:
        sizes = self._thresholds.sizes
        return max((size for size in sizes if size <= rows), default=0) if sizes else rows

    def _turn_to(self, probe: Probe) -> None:
        """Read the tensors of another probe from here on."""
        expected = [reference.name for reference in self._references]
        names = [point.name for point in probe.points]
        if names != expected:
            raise ValueError(f"expected a network that is watched at {expected}, not at {names}")
        self._sum_waiting()
        self._units = probe.units

    def _sum_waiting(self) -> None:
        if not self._waiting:
            return
        passes = [seen for seen, _ in self._waiting]
        kept = self._asked_rows()
        with torch.inference_mode():
            sums = [self._sums(passes, index, kept) for index in range(len(self._references))]
            counts = self._predicted(_stacked(passes, ANSWER, kept))
        self._waiting, self._waiting_bytes = [], 0
        first = torch.cat([s.first for s in sums], 1)
        self._blocks.add(Sums(first, torch.cat([s.second for s in sums], 1)), counts)

    def _asked_rows(self) -> Tensor:
        """Indices, among all rows that wait, of those that are no padding: the last of them."""
        passed = np.array([seen[ANSWER].shape[0] for seen, _ in self._waiting])
        asked = np.array([rows for _, rows in self._waiting])
        place = np.arange(passed.sum()) - np.repeat(passed.cumsum() - passed, passed)
        rows = np.flatnonzero(place < np.repeat(asked, passed))
        return torch.from_numpy(rows[self._blocks.surplus(len(rows)) :])

    def _sums(self, passes: list[Pass], index: int, kept: Tensor) -> Sums:
        x = _stacked(passes, index, kept)
        self._positions[index] = positions(x)
        units, reference = self._units[index], self._references[index]
        sums = Sums.of_rows(x, units.of(reference.mean).to(x.device))
        return Sums(sums.first.cpu(), sums.second.cpu()).divided(units.scale)

    def _predicted(self, answers: Tensor) -> Tensor:
        """1 at the largest logit of each row, (rows, classes); nothing where one is not finite."""
        answers = answers[:, : self._classes].cpu()
        counts = torch.zeros(answers.shape, dtype=torch.float64)
        if self._classes:
            finite = torch.isfinite(answers).all(1, keepdim=True).double()
            counts.scatter_(1, answers.argmax(1, keepdim=True), finite)
        return counts

    def _by_layer(self, window: Sums) -> list[Sums]:
        widths = [len(reference.mean) for reference in self._references]
        parts = zip(window.first.split(widths), window.second.split(widths), strict=True)
        return [Sums(first, second) for first, second in parts]


class Watching:
    """The time of one prediction. A plain class: a generator would cost twice as much.

    Args:
        monitor: that counts.
        probe: that notes.
        rows: asked for; those that pass after so many are padding.
    """

    __slots__ = ("_before", "_left", "_monitor", "_probe")

    def __init__(self, monitor: Monitor, probe: Probe, rows: int) -> None:
        self._monitor, self._probe, self._left = monitor, probe, rows
        self._before: Listener | None = None

    def __enter__(self) -> None:
        self._before = self._probe.listen(self._take)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._probe.listen(self._before)

    def _take(self, seen: Pass) -> None:
        asked = min(self._left, seen[ANSWER].shape[0])
        self._left -= asked
        if asked:
            self._monitor.add(seen, asked, self._probe)


def _stacked(passes: list[Pass], index: int, kept: Tensor) -> Tensor:
    x = torch.cat([seen[index] for seen in passes])
    return x if len(kept) == len(x) else x[kept.to(x.device)]
