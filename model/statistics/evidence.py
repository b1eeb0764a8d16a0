"""What a diagnosis may know beside the network itself."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from model.norms.lag import share_left


class MeanAndVariance(Protocol):
    """Mean and variance of what enters a norm layer, per channel."""

    @property
    def mean(self) -> Tensor:
        """(C,)."""
        ...

    @property
    def variance(self) -> Tensor:
        """(C,)."""
        ...


@dataclass(frozen=True)
class Evidence:
    """Facts about a checkpoint; what is not known is not judged."""

    fingerprint: str | None = None  # of the running statistics, as it was recorded
    batches: int | None = None  # that every layer should have counted: steps, or ghost groups
    unknown_age: Collection[str] = ()  # layers whose counter was not in the file they came from
    initial_share: float | None = None  # of the first 0 and 1, where no counter tells it
    is_averaged: bool = False  # the weights are an average on which no statistics were measured
    frozen: Mapping[str, str] = field(default_factory=dict)  # fingerprint at the freeze, by layer
    population: Mapping[str, MeanAndVariance] = field(default_factory=dict)  # by layer
    gap_points: float | None = None  # train_eval_gap: positive where eval mode is worse

    def age(self, layer: str, counter: int) -> int | None:
        """Batches that the layer has seen; None where its counter says nothing."""
        return None if layer in self.unknown_age else counter

    def share(self, layer: str, momentum: float | None, counter: int) -> float | None:
        """Share of the initial 0 and 1 that is left in the layer; None where that is unknown.

        Statistics that were computed from rows hold none, whatever momentum and counter say.
        """
        if self.initial_share is not None:
            return self.initial_share
        age = self.age(layer, counter)
        return None if age is None else share_left(momentum, age)

    def expected(self, layer: str) -> int | None:
        """What the layer's counter must say; None where that is not known, as when frozen."""
        return None if layer in self.frozen else self.batches
