"""Care for the spread that a norm divides by: its precision, and that it is not 0."""

import torch
from torch import Tensor

from model.errors import DeviationZero


def widened(x: Tensor) -> Tensor:
    """x in a type that can hold a sum of squares: float64 as it is, all others as float32."""
    return x if x.dtype == torch.float64 else x.float()


def refuse_zero(spread: Tensor, unit: str, state: str = "constant") -> None:
    """Stop before a division by 0 becomes NaN. Waits for the device: call it for eps 0 alone.

    Args:
        spread: deviations or variances, one per unit that is normalized.
        unit: what one element belongs to: "channel", "row", "group".
        state: in which a unit has such a spread, for the message.

    Raises:
        DeviationZero: an element is 0.
    """
    zero = torch.nonzero(spread.detach().flatten() == 0).flatten().tolist()
    if zero:
        raise DeviationZero(
            f"{unit} {zero[0]} is {state} and eps is 0: there is no deviation to divide by",
            unit=unit,
            index=zero[0],
            constant=len(zero),
        )
