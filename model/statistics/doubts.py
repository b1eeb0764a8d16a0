"""Running statistics that eval mode may be wrong with: one rule per reason, all warnings."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from torch import Tensor, nn

from model.findings import Finding
from model.norms.lag import MOST_SHARE
from model.statistics.channels import HALF_LIMIT, beyond_half, dead
from model.statistics.evidence import Evidence, MeanAndVariance
from model.statistics.faults import channel_evidence, repair
from model.statistics.gap import WARN_POINTS
from model.statistics.layers import NormState, layer_fingerprint, norm_states

MOST_DISTANCE = 0.25  # population SDs between the means, in the median channel
MOST_LOG_RATIO = 0.5  # of running to population variance, natural logarithm, median channel


def doubts(network: nn.Module, known: Evidence) -> Iterator[Finding]:
    """Every warning, in network order."""
    for state in norm_states(network):
        yield from _lag(state, known)
        yield from _half_range(state)
        yield from _dead_channels(state)
        yield from _frozen(state, known)


def distances(state: NormState, population: MeanAndVariance) -> tuple[float | None, float | None]:
    """How far running statistics are from those of a population, in the median channel.

    Channels that do not vary in the population have no SD and do not count.

    Args:
        population: of the same layer, (C,).

    Returns:
        |mean - population mean| / population SD, and |ln(variance / population variance)|,
        each as a median over channels; None where no channel varies.
    """
    mean, variance = (one.detach().cpu().double() for one in (population.mean, population.variance))
    varies = variance > 0
    if not varies.any():
        return None, None
    sd = variance[varies].sqrt()
    moved = (state.mean[varies] - mean[varies]).abs() / sd
    ratio = (state.variance[varies] / variance[varies]).log().abs()
    return _median(moved), _median(ratio)


def _lag(state: NormState, known: Evidence) -> Iterator[Finding]:
    """The start is not forgotten, or the values are not those of the population."""
    age = known.age(state.name, state.counter)
    if age == 0 or state.is_initial or not _is_sound(state):
        return  # an error says more
    share = known.share(state.name, state.momentum, state.counter)
    population = known.population.get(state.name)
    distance, ratio = (None, None) if population is None else distances(state, population)
    limits = ((share, MOST_SHARE), (distance, MOST_DISTANCE), (ratio, MOST_LOG_RATIO))
    if not any(value is not None and value > limit for value, limit in limits):
        return
    numbers = {
        "share_of_initial": share,
        "mean_distance_sd": distance,
        "log_variance_ratio": ratio,
        "train_eval_gap": known.gap_points,
    }
    yield _warning(
        "BN_STATS_LAG",
        state.name,
        {
            "momentum": state.momentum,
            "batches_tracked": age,
            **_plain(numbers),
            "harmless": None if known.gap_points is None else known.gap_points <= WARN_POINTS,
            "at_most": {
                "share_of_initial": MOST_SHARE,
                "mean_distance_sd": MOST_DISTANCE,
                "log_variance_ratio": MOST_LOG_RATIO,
            },
        },
        _lag_remedy(known.gap_points, repair(state)),
    )


def _lag_remedy(gap: float | None, repair: str) -> str:
    if gap is None:
        return f"Whether it costs accuracy is not known: compare after you {repair}."
    told = f"eval mode is {gap:.4g} points below batch statistics on the held-out rows"
    if gap <= WARN_POINTS:
        return f"Harmless: {told}, and up to {WARN_POINTS:g} are no gap."
    return f"{told[0].upper()}{told[1:]}: {repair}."


def _half_range(state: NormState) -> Iterator[Finding]:
    for name, beyond in beyond_half(state).items():
        if beyond.any():
            yield _warning(
                "BN_FP16_RANGE",
                state.name,
                {"tensor": name, "limit": HALF_LIMIT, **channel_evidence(beyond)},
                "Serve and export in float32, or set scaling to standard: in float16 these "
                "values are infinite.",
            )


def _dead_channels(state: NormState) -> Iterator[Finding]:
    chosen = dead(state)
    if chosen.any():
        least = float(state.variance[chosen].min())
        yield _warning(
            "BN_DEAD_CHANNEL",
            state.name,
            {"min_variance": least, "eps": state.eps, **channel_evidence(chosen)},
            "These channels are constant, and what little they vary by is multiplied: look at "
            "GET /v1/checkpoints/{id}/statistics and at the layer before, or use fewer channels.",
        )


def _frozen(state: NormState, known: Evidence) -> Iterator[Finding]:
    recorded = known.frozen.get(state.name)
    found = layer_fingerprint(state.name, state.module)
    if recorded not in (None, found):
        yield _warning(
            "BN_FROZEN_CHANGED",
            state.name,
            {"recorded": recorded, "found": found, "batches_tracked": state.counter},
            "requires_grad does not stop running statistics: keep the layer in eval mode while "
            "training, and put back the statistics that it was frozen with.",
        )


def _warning(reason: str, layer: str, evidence: dict[str, Any], remedy: str) -> Finding:
    return Finding(reason, "warning", layer, evidence, remedy)


def _is_sound(state: NormState) -> bool:
    is_finite = state.mean.isfinite().all() and state.spread.isfinite().all()
    return bool(is_finite) and bool((state.spread >= 0).all())


def _median(values: Tensor) -> float:
    """The middle value, or the mean of the two in the middle, which may be infinite."""
    ordered, n = values.sort().values, len(values)
    return float((ordered[(n - 1) // 2] + ordered[n // 2]) / 2)


def _plain(numbers: dict[str, float | None]) -> dict[str, Any]:
    """Null where a number is not finite, with its word beside."""
    odd = {
        name: str(value)
        for name, value in numbers.items()
        if value is not None and not isfinite(value)
    }
    plain: dict[str, Any] = {name: None if name in odd else numbers[name] for name in numbers}
    return {**plain, "not_finite": odd} if odd else plain
