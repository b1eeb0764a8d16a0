"""When the probe of a measure is due."""

from dataclasses import dataclass

from model.measures.probe import Probe, StepProbe
from model.training.observer import NEVER


@dataclass(frozen=True)
class Scheduled:
    """One measure of a run: its probe, and when that is due.

    With a period, a network is looked at before its first step, every `every` steps and after
    the last; of steps the first is compared, every `every`-th and the last.

    Raises:
        ValueError: neither or both of `every` and `at` are given.
    """

    kind: str
    probe: Probe
    steps: int  # of the whole run
    every: int | None = None
    at: frozenset[int] = frozenset()  # before these steps alone, counted from 0
    all_rows: bool = True  # of a state: those are what it wants at the start and the end

    def __post_init__(self) -> None:
        if (self.every is None) == (not self.at):
            raise ValueError("a measure has either a period or steps of its own")

    @property
    def last(self) -> int:
        """How many steps are done at the last probe of a period."""
        return self.steps - isinstance(self.probe, StepProbe)

    def is_due(self, step: int) -> bool:
        """Whether it is due when so many steps are done."""
        if self.every is None:
            return step in self.at
        return step == self.last or (step < self.last and step % self.every == 0)

    def next(self, step: int) -> int:
        """The first step, counted from 0 and not before `step`, at which it is or gets due.

        What is due after the last step is asked for at that step.

        Returns:
            `NEVER` where there is none.
        """
        if self.every is None:
            return min((one for one in self.at if one >= step), default=NEVER)
        return NEVER if step >= self.steps else min(step + -step % self.every, self.steps - 1)
