"""The running statistics of one network on the weights of another."""

from collections.abc import Mapping

from torch import Tensor

from model.errors import ShapeMismatch
from model.statistics.fingerprint import is_statistic


def transplanted(weights: Mapping[str, Tensor], donor: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What eval mode of the one network would have, had it the statistics of the other.

    Counters are statistics, too. Gain and bias are weights, and stay.

    Args:
        weights, donor: state dicts; only the donor's statistics are read.

    Returns:
        Copies on the CPU, in the order of `weights`.

    Raises:
        ShapeMismatch: the two have other norm layers, channels or types.
    """
    given = {name: one for name, one in donor.items() if is_statistic(name)}
    wanted = {name: one for name, one in weights.items() if is_statistic(name)}
    strangers = sorted(set(given) ^ set(wanted))
    if strangers:
        message = f"the networks have other norm layers: {', '.join(strangers[:8])}"
        raise ShapeMismatch(message, names=strangers)
    for name, one in wanted.items():
        if one.shape != given[name].shape or one.dtype != given[name].dtype:
            raise ShapeMismatch(
                f"{name}: expected {tuple(one.shape)} {one.dtype}, "
                f"got {tuple(given[name].shape)} {given[name].dtype}",
                name=name,
            )
    return {name: given.get(name, one).detach().cpu().clone() for name, one in weights.items()}
