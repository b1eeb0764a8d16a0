"""How far one way of computing a network is from another: folded or exported against as trained.

Every number is a share of the largest logit: |logit| over all rows and outputs of the network
as trained, in float64; where all of them are 0, the number itself.
"""

from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.errors import ExportRefused, FoldRefused

#: Of the largest logit: the difference that is allowed in any case, by type.
ALLOWED = {torch.float32: 1e-5, torch.float64: 1e-12}
#: How many times the error of the network as trained may be added to it. Where a variance is
#: tiny, the network as trained is itself far from float64, and nothing can be nearer than it.
ERROR_FACTOR = 20


@dataclass(frozen=True)
class Comparison:
    """What a comparison measured."""

    rows: int
    largest_logit: float  # the unit of the shares below
    difference: float  # the largest between the two, a share
    error: float  # of the other way against float64, a share
    unfolded_error: float  # of the network as trained, in its own type, against float64, a share
    allowed: float  # for `error`, a share

    @property
    def is_close(self) -> bool:
        """Whether the other way may stand in for the network as trained."""
        return self.error <= self.allowed

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON-ready values."""
        return asdict(self)


def compare(
    folded: nn.Module, unfolded: nn.Module, rows: Tensor, block_rows: int = 1000
) -> Comparison:
    """Compare a folded network with the one it was made of, both in eval mode.

    Compare on a CPU: a GPU's convolutions may round to 10 bits, and the error of the network as
    trained widens what is allowed.

    Args:
        folded: what `fold` made.
        unfolded: the network as trained; neither is changed, nor is its mode.
        rows: calibration rows, scaled as the network takes them and of its type.
        block_rows: rows to pass through a network at once.

    Shape:
        rows: (n, *row), at least one row.

    Raises:
        FoldRefused: a logit of one of them is not finite.
    """
    ways = ((folded, rows), (unfolded, rows), (deepcopy(unfolded).double(), rows.double()))
    answers = [logits(network, given, block_rows) for network, given in ways]
    return measure(answers[0], answers[1], answers[2], FoldRefused)


def checked(
    folded: nn.Module, unfolded: nn.Module, rows: Tensor, block_rows: int = 1000
) -> Comparison:
    """`compare`, and refuse a fold that is further from float64 than the rule allows.

    Raises:
        FoldRefused: the folded network's error is above
            1e-5 (float64: 1e-12) + 20 * the unfolded network's error; both are told.
    """
    comparison = compare(folded, unfolded, rows, block_rows)
    refuse_far(comparison, "folded", FoldRefused)
    return comparison


def refuse_far(comparison: Comparison, what: str, refusal: type[ExportRefused]) -> None:
    """Refuse another way of computing a network that is too far from the network as trained.

    Args:
        what: the other way, for the message: "folded".
        refusal: the error to raise.

    Raises:
        ExportRefused: or the given kind of it, with every number of the comparison.
    """
    if not comparison.is_close:
        message = (
            f"{what}, the network's logits are off by {comparison.error:.3g} of the largest logit "
            f"against float64; as trained they are off by {comparison.unfolded_error:.3g}, "
            f"so at most {comparison.allowed:.3g} is allowed"
        )
        raise refusal(message, **comparison.to_json())


def measure(
    other: Tensor, unfolded: Tensor, exact: Tensor, refusal: type[ExportRefused] = ExportRefused
) -> Comparison:
    """Compare logits that were computed in three ways.

    Args:
        other: from the way in question.
        unfolded: from the network as trained, in its own type, which sets what is allowed.
        exact: from the network as trained, in float64.
        refusal: the error to raise.

    Shape:
        each: (n, outputs).

    Raises:
        ExportRefused: or the given kind of it, where a logit is not finite.
    """
    for name, one in (("other", other), ("unfolded", unfolded), ("float64", exact)):
        if not bool(one.isfinite().all()):
            message = f"logits that are not finite cannot be compared: {name}"
            raise refusal(message, rows=len(exact), logits=name)
    largest = float(exact.abs().max())
    unfolded_error = _share(unfolded, exact, largest)
    return Comparison(
        rows=len(exact),
        largest_logit=largest,
        difference=_share(other, unfolded, largest),
        error=_share(other, exact, largest),
        unfolded_error=unfolded_error,
        allowed=ALLOWED[unfolded.dtype] + ERROR_FACTOR * unfolded_error,
    )


@torch.inference_mode()
def logits(network: nn.Module, rows: Tensor, block_rows: int = 1000) -> Tensor:
    """What a network answers in eval mode; its own mode is left as it is.

    Shape:
        rows: (n, *row).
        returns: (n, outputs).
    """
    evaluating = deepcopy(network).eval()
    return torch.cat([evaluating(block) for block in rows.split(block_rows)])


def _share(one: Tensor, other: Tensor, largest: float) -> float:
    difference = float((one.double() - other.double()).abs().max())
    return difference / (largest or 1.0)
