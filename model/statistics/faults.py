"""Running statistics that eval mode cannot be right with: one rule per reason, all errors."""

from collections.abc import Collection, Iterator
from typing import Any

from torch import Tensor, nn

from model.findings import Finding
from model.norms.batch import BatchNorm
from model.statistics.channels import indices
from model.statistics.evidence import Evidence
from model.statistics.fingerprint import fingerprint
from model.statistics.layers import NormState, norm_states, untracked

RECALIBRATE = 'send POST /v1/checkpoints/{id}/recalibrate {"method": "precise"}'
TRAIN_ANEW = "train it anew, since the statistics of an l_p norm cannot be recalibrated"
MOST_CHANNELS = 16  # that one finding names


def faults(network: nn.Module, known: Evidence) -> Iterator[Finding]:
    """Every error, those of the whole network first, then in network order."""
    yield from _fingerprint(network, known)
    if known.is_averaged:
        yield _averaged()
    for name in untracked(network):
        yield _no_running_statistics(name)
    for state in norm_states(network):
        yield from of_layer(state, known)


def of_layer(state: NormState, known: Evidence) -> Iterator[Finding]:
    """The errors of one layer's values and counter."""
    yield from _not_finite(state)
    yield from _negative(state)
    age = known.age(state.name, state.counter)
    if age == 0:
        yield _never_updated(state, known)
        return
    if state.is_initial:
        yield _at_init(state, age)
    if age is not None and (age < 0 or known.expected(state.name) not in (None, age)):
        yield _miscounted(state, known)


def missing(names: Collection[str]) -> Iterator[Finding]:
    """A finding per layer for running statistics that a file does not have.

    Args:
        names: of the tensors that are not there.
    """
    layers = dict.fromkeys(name.rpartition(".")[0] for name in names)
    for layer in layers:
        own = [name for name in names if name.rpartition(".")[0] == layer]
        yield _error(
            "BN_STATS_MISSING",
            layer,
            {"missing": own},
            "Send POST /v1/checkpoints with the whole state_dict(): its buffers are no parameters.",
        )


def changed(recorded: str, found: str) -> Finding:
    """Running statistics that are not those that were recorded."""
    return _error(
        "BN_FINGERPRINT_MISMATCH",
        None,
        {"recorded": recorded, "found": found},
        f"Import the original file again with POST /v1/checkpoints, or {RECALIBRATE}.",
    )


def repair(state: NormState) -> str:
    """What gives a layer other statistics, as the end of a sentence."""
    return RECALIBRATE if isinstance(state.module, BatchNorm) else TRAIN_ANEW


def channel_evidence(chosen: Tensor) -> dict[str, Any]:
    """How many channels a rule chose, and the first of them.

    Args:
        chosen: (C,) bool.
    """
    found = indices(chosen)
    return {"channels": found[:MOST_CHANNELS], "count": len(found), "of": len(chosen)}


def _error(reason: str, layer: str | None, evidence: dict[str, Any], remedy: str) -> Finding:
    return Finding(reason, "error", layer, evidence, remedy)


def _fingerprint(network: nn.Module, known: Evidence) -> Iterator[Finding]:
    if known.fingerprint is None:
        return
    found = fingerprint(network.state_dict())
    if found != known.fingerprint:
        yield changed(known.fingerprint, found)


def _averaged() -> Finding:
    return _error(
        "BN_AVERAGED_NOT_RECALIBRATED",
        None,
        {"averaged": True},
        f"The statistics are those of other weights: {RECALIBRATE}.",
    )


def _no_running_statistics(layer: str) -> Finding:
    return _error(
        "BN_NO_RUNNING_STATS",
        layer,
        {"running_statistics": False},
        "Eval mode would answer by a row's neighbours: train with track_running_stats, and send "
        "POST /v1/checkpoints with the state_dict() of that network.",
    )


def _not_finite(state: NormState) -> Iterator[Finding]:
    for name, values in (("running_mean", state.mean), (state.module.spread_name, state.spread)):
        bad = ~values.isfinite()
        if bad.any():
            yield _error(
                "BN_STATS_NONFINITE",
                state.name,
                {"tensor": name, **channel_evidence(bad)},
                f"Further training does not heal it: {repair(state)}.",
            )


def _negative(state: NormState) -> Iterator[Finding]:
    bad = state.spread.isfinite() & (state.spread < 0)
    if bad.any():
        least = float(state.spread[bad].min())
        yield _error(
            "BN_VAR_NEGATIVE",
            state.name,
            {"tensor": state.module.spread_name, "min": least, **channel_evidence(bad)},
            f"No batch gives such a spread: {repair(state)}.",
        )


def _never_updated(state: NormState, known: Evidence) -> Finding:
    expected = known.expected(state.name)
    return _error(
        "BN_NEVER_UPDATED",
        state.name,
        {"batches_tracked": 0, "expected": expected, "is_initial": state.is_initial},
        f"No batch was seen in training mode: {repair(state)}.",
    )


def _at_init(state: NormState, age: int | None) -> Finding:
    return _error(
        "BN_STATS_AT_INIT",
        state.name,
        {"batches_tracked": age, "momentum": state.momentum, "mean": 0.0, "spread": 1.0},
        f"The statistics are the 0 and 1 that they started from: {repair(state)}; "
        "train with norm.momentum above 0.",
    )


def _miscounted(state: NormState, known: Evidence) -> Finding:
    expected = known.expected(state.name)
    ratio = state.counter / expected if expected else None
    return _error(
        "BN_COUNTER_MISMATCH",
        state.name,
        {"batches_tracked": state.counter, "expected": expected, "ratio": ratio},
        "A batch was counted twice or left out, as recomputed activations and accumulated "
        f"gradients do: {repair(state)}.",
    )
