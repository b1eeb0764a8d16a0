"""Raw rows as scaled batches: shuffled by a seed, scaled when they are read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from model.data.scaling import Scaling


@dataclass(frozen=True)
class RowBatches:
    """Batches of a row set that is never held scaled as a whole."""

    rows: np.ndarray  # (n, *input_shape), raw; may be mapped from a file
    scaling: Scaling
    dtype: type[np.float32] | type[np.float64]  # of the batches
    bounds: tuple[tuple[int, int], ...]  # of each batch, as places in `order`
    order: np.ndarray  # (n,) int64, row indices
    on_read: Callable[[], None] | None = None  # called before each batch; may raise

    @classmethod
    def shuffled(
        cls,
        rows: np.ndarray,
        scaling: Scaling,
        dtype: type[np.float32] | type[np.float64],
        batch_rows: int,
        seed: int,
        least: int = 1,
    ) -> "RowBatches":
        """Every row once, in an order drawn from `seed`; nothing else is drawn.

        Args:
            batch_rows: rows of each batch but the last.
            least: a last batch of fewer rows joins the one before it.
        """
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(rows), generator=generator).numpy()
        starts = list(range(0, len(rows), batch_rows))
        if len(starts) > 1 and len(rows) - starts[-1] < least:
            starts.pop()
        bounds = tuple(zip(starts, [*starts[1:], len(rows)], strict=True))
        return cls(rows, scaling, dtype, bounds, order)

    def first(self, count: int) -> "RowBatches":
        """The first `count` batches."""
        return replace(self, bounds=self.bounds[:count])

    @property
    def num_rows(self) -> int:
        """Rows of all batches."""
        return self.bounds[-1][1]

    def __len__(self) -> int:
        return len(self.bounds)

    def __iter__(self) -> Iterator[Tensor]:
        for start, end in self.bounds:
            if self.on_read is not None:
                self.on_read()
            raw = self.rows[self.order[start:end]]
            yield torch.from_numpy(self.scaling.apply(raw, dtype=self.dtype))
