"""What is wrong with a network's running statistics, at which gate, and what to do about it.

Rules live in `faults` (errors) and `doubts` (warnings); here they are put together.
"""

from collections.abc import Iterable
from typing import Literal

from torch import nn

from model.errors import CheckpointRefused, StatisticsChanged, StatisticsMissing
from model.findings import Finding
from model.statistics.doubts import doubts
from model.statistics.evidence import Evidence
from model.statistics.faults import changed, faults, missing

Gate = Literal["save", "publish", "load"]

#: What tensors alone tell: true of any network, wherever it came from.
_OF_TENSORS = frozenset({"BN_NO_RUNNING_STATS", "BN_STATS_NONFINITE", "BN_VAR_NEGATIVE"})
#: What makes a file another than the one that was written.
_OF_FILES = frozenset({"BN_STATS_MISSING", "BN_FINGERPRINT_MISMATCH"})
#: What the history of training tells.
_OF_TRAINING = frozenset(
    {
        "BN_NEVER_UPDATED",
        "BN_STATS_AT_INIT",
        "BN_COUNTER_MISMATCH",
        "BN_AVERAGED_NOT_RECALIBRATED",
    }
)

ERRORS = _OF_TENSORS | _OF_FILES | _OF_TRAINING
WARNINGS = frozenset(
    {"BN_STATS_LAG", "BN_FP16_RANGE", "BN_DEAD_CHANNEL", "BN_FROZEN_CHANGED", "BN_TRAIN_EVAL_GAP"}
)

#: The reasons that each gate looks for. Saving records them with the checkpoint, which is kept;
#: publishing refuses a checkpoint with an error; loading refuses a file that is not what was
#: written, and serves nothing that cannot answer in eval mode.
GATES: dict[Gate, frozenset[str]] = {
    "save": _OF_TENSORS | _OF_TRAINING | WARNINGS,
    "publish": ERRORS | WARNINGS,
    "load": _OF_TENSORS | _OF_FILES,
}


def diagnose(
    network: nn.Module, known: Evidence | None = None, gate: Gate = "publish"
) -> tuple[Finding, ...]:
    """Every finding about the running statistics of `network` that belongs to a gate.

    Nothing is moved and no row is read. `BN_TRAIN_EVAL_GAP` needs rows: its rule lies with
    the gap. A file that lacks statistics never becomes a network: see `refusal`.

    Args:
        known: what else is known; without it only tensors are judged.
        gate: where the network stands.

    Returns:
        Errors first, then warnings, each in network order.
    """
    known = known or Evidence()
    found = (*faults(network, known), *doubts(network, known))
    return tuple(finding for finding in found if finding.reason in GATES[gate])


def refusal(error: CheckpointRefused) -> tuple[Finding, ...]:
    """The findings behind a checkpoint that was refused at loading or import.

    Returns:
        None of them where the refusal is not about running statistics.
    """
    told = error.metadata
    if isinstance(error, StatisticsMissing):
        return tuple(missing(told.get("statistics") or told["missing"]))
    if isinstance(error, StatisticsChanged):
        return (changed(told["recorded"], told["found"]),)
    return ()


def errors(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings that block publishing."""
    return tuple(finding for finding in findings if finding.severity == "error")
