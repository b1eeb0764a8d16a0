"""A finding: something about a run or a network that its owner should know, with the evidence.

It does not know how a finding is found; the rules live with what they look at.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One named observation. `reason` is stable; texts may improve."""

    reason: str  # UPPER_SNAKE, what clients switch on
    severity: Severity  # an error blocks publishing; a note costs nothing
    layer: str | None  # state-dict prefix ("1", "3.branch.0"); None: the whole network
    evidence: dict[str, Any]  # every number that the rule looked at
    remedy: str  # what to do about it, one sentence

    def to_json(self) -> dict[str, Any]:
        """The finding as JSON-ready values."""
        return asdict(self)
