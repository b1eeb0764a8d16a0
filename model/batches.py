"""How many rows each batch of an epoch has; which rows they are is the trainer's."""

from dataclasses import dataclass
from typing import Literal

from model.spec import Span


@dataclass(frozen=True)
class Batches:
    """The batches of one pass over the training rows."""

    steps: int  # batches, each one optimizer step
    size: int  # rows of every batch but the last
    last: int  # rows of the last batch

    @property
    def largest(self) -> int:
        """Rows of the largest batch."""
        return max(self.size if self.steps > 1 else 0, self.last)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of every batch, in order."""
        return (self.size,) * (self.steps - 1) + (self.last,)

    def steps_in(self, span: Span) -> int:
        """Optimizer steps of a span given in steps or epochs."""
        return span.steps or (span.epochs or 0) * self.steps

    def groups_in(self, steps: int, group_size: int) -> int:
        """Groups of at most `group_size` rows that the first `steps` batches of a run make."""
        full, last = (-(-rows // group_size) for rows in (self.size, self.last))
        epochs, rest = divmod(steps, self.steps)
        return epochs * ((self.steps - 1) * full + last) + rest * full


def lay_out(num_rows: int, batch_size: int, tail: Literal["keep", "merge", "drop"]) -> Batches:
    """Divide `num_rows` into batches of `batch_size`, which is at most `num_rows`."""
    full, rest = divmod(num_rows, batch_size)
    if rest and tail == "keep":
        return Batches(full + 1, batch_size, rest)
    merged = rest if tail == "merge" else 0
    return Batches(full, batch_size, batch_size + merged)
