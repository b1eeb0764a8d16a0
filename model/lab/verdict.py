"""From one number per seed to an effect with its interval, and from that to a verdict.

A t interval, because a bootstrap of three seeds covers 74 % where it promises 95 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log, sqrt
from statistics import fmean, stdev
from typing import Literal

from scipy.special import stdtrit

Verdict = Literal["supports", "contradicts", "inconclusive"]
Bound = Literal["", "at least", "at most"]  # what a number is of the true one
CONFIDENCE = 0.95
FURTHEST = 700.0  # a logarithm of which exp is a number above 0, and that of its negative too
LARGEST = exp(FURTHEST)  # 10^304; what is larger counts as this


@dataclass(frozen=True)
class Declared:
    """The one effect that an experiment is judged by, stated before anything is trained.

    Raises:
        ValueError: a ratio's margin below 1, or a difference's below 0.
    """

    name: str  # "steps to 85 %: batch / none"
    unit: str  # of a difference; "" for a ratio
    scale: Literal["difference", "ratio"]
    claimed: Literal["above", "below"]  # the margin: where the claim says that the effect is
    #: Differences within +-margin, or ratios within 1/margin to margin, count as no effect.
    margin: float

    def __post_init__(self) -> None:
        if self.margin < (1 if self.scale == "ratio" else 0):
            raise ValueError(f"a {self.scale} cannot have a margin of {self.margin}")

    @property
    def towards(self) -> Bound:
        """The bound whose true value lies further on the claimed side."""
        return "at least" if self.claimed == "above" else "at most"


@dataclass(frozen=True)
class OfSeed:
    """The effect in one seed."""

    seed: int
    value: float | None  # None: there is none, and `note` says why
    note: str = ""  # "none never arrived in 100 steps: at most this"
    bound: Bound = ""  # the value is a bound of the true one


@dataclass(frozen=True)
class Effect:
    """The declared effect as it was found; null where no seed or no interval gives a number."""

    declared: Declared
    value: float | None  # mean of differences, geometric mean of ratios
    ci_low: float | None
    ci_high: float | None
    seeds: tuple[OfSeed, ...]

    @property
    def n(self) -> int:
        """Seeds that gave a number."""
        return sum(one.value is not None for one in self.seeds)

    @property
    def verdict(self) -> Verdict:
        """What the interval says about the claim, as far as no bound leaves it open.

        `supports`: all of it is beyond the margin on the claimed side. `contradicts`: all of it
        is beyond the margin on the other side, or within the margins. Else `inconclusive`, as
        with fewer than two seeds, or where a seed's number is a bound and the true one may lie
        where the claim fares otherwise.
        """
        found = self._of_interval()
        return "inconclusive" if found in self._left_open() else found

    def _left_open(self) -> set[Verdict]:
        """What the true values behind bounds could turn."""
        bounds = {one.bound for one in self.seeds if one.bound and one.value is not None}
        return {"contradicts" if one == self.declared.towards else "supports" for one in bounds}

    def _of_interval(self) -> Verdict:
        if self.ci_low is None or self.ci_high is None:
            return "inconclusive"
        low, high = self._towards_the_claim(self.ci_low, self.ci_high)
        margin = self._scaled(self.declared.margin)
        if low > margin:
            return "supports"
        return (
            "contradicts" if high < -margin or -margin <= low <= high <= margin else "inconclusive"
        )

    def _towards_the_claim(self, low: float, high: float) -> tuple[float, float]:
        """The interval on a scale where 0 is no effect and above 0 is as claimed."""
        low, high = self._scaled(low), self._scaled(high)
        return (low, high) if self.declared.claimed == "above" else (-high, -low)

    def _scaled(self, value: float) -> float:
        return log(value) if self.declared.scale == "ratio" else value


def judge(declared: Declared, seeds: Sequence[OfSeed]) -> Effect:
    """The effect over seeds with its 95 % t interval; ratios are averaged as logarithms.

    Args:
        seeds: one per seed. Pair the arms first: the value is of one seed's difference or ratio.

    Raises:
        ValueError: a value that is not finite, or a ratio that is not above 0. Whoever measures
            knows what a run that diverged or never arrived stands for, and enters that.
    """
    values = [one.value for one in seeds if one.value is not None]
    is_ratio = declared.scale == "ratio"
    if any(not isfinite(value) or (is_ratio and value <= 0) for value in values):
        raise ValueError(f"{declared.name}: {values} cannot be averaged as a {declared.scale}")
    on_scale = [log(value) if is_ratio else within(value, LARGEST) for value in values]
    if not on_scale:
        return Effect(declared, None, None, None, tuple(seeds))
    back = _back_to_ratio if is_ratio else float
    middle = fmean(on_scale)
    if len(on_scale) < 2:
        return Effect(declared, back(middle), None, None, tuple(seeds))
    quantile = float(stdtrit(len(on_scale) - 1, (1 + CONFIDENCE) / 2))
    half = quantile * stdev(on_scale) / sqrt(len(on_scale))
    return Effect(declared, back(middle), back(middle - half), back(middle + half), tuple(seeds))


def within(value: float, limit: float) -> float:
    """The value, or the limit with its sign where it is further from 0."""
    return min(max(value, -limit), limit)


def _back_to_ratio(logarithm: float) -> float:
    """Seeds far apart have an interval whose ends are no numbers."""
    return exp(within(logarithm, FURTHEST))
