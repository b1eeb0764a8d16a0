"""In which units the input of a norm passes its place: a fold has scaled and shifted it there.

Shape letters: C channels.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.errors import FoldRefused
from model.networks.fold import Folded, scale_and_shift
from model.norms.batch import BatchNorm
from model.statistics.drift.scores import Reference

#: What rounding behind a fold may hide of a norm's input, in standard deviations of the
#: reference: a window of a thousand rows is off by three hundred times as much by chance.
MOST_HIDDEN = 1e-4


@dataclass(frozen=True, eq=False)
class Units:
    """What passes is scale * x + shift of the tensor x that is watched.

    Shape:
        scale, shift: (C,) float64, or () for all channels.
    """

    scale: Tensor
    shift: Tensor

    def of(self, x: Tensor) -> Tensor:
        """Values of x, (C,), as they pass."""
        return self.scale * x + self.shift


def units_of(network: nn.Module, as_trained: nn.Module, names: Iterable[str]) -> tuple[Units, ...]:
    """The units at each place, on the CPU.

    Args:
        network: that answers; norms may be folded.
        as_trained: what it was folded from, or itself.
        names: state-dict prefixes of the watched layers.
    """
    pairs = ((network.get_submodule(name), as_trained.get_submodule(name)) for name in names)
    return tuple(_units(here, before) for here, before in pairs)


def refuse_hidden(folded: Folded, as_trained: nn.Module, references: Iterable[Reference]) -> None:
    """Refuse a fold behind which the input of a norm cannot be told any more.

    Behind a fold the input x, scaled, stands beside the norm's bias, and rounding takes a share
    eps of both. Of x, which varies by the standard deviation s of its reference, it hides

        (eps |scale * mean + shift| + tiny) / (|scale| s)

    standard deviations: nothing to speak of, unless a gain is tiny, and all of it where one is 0.

    Args:
        as_trained: what was folded.
        references: of its norms.

    Raises:
        FoldRefused: in some channel that is more than MOST_HIDDEN.
    """
    by_name = {reference.name: reference for reference in references}
    for one in folded.in_layers:
        norm = as_trained.get_submodule(one.norm)
        assert isinstance(norm, BatchNorm)
        hidden = _hidden(norm, by_name[one.norm])
        if not bool((hidden <= MOST_HIDDEN).all()):
            channel = int(hidden.nan_to_num(torch.inf).argmax())
            raise FoldRefused(
                f"norm {one.norm}: the gain of channel {channel} is 0 or so small beside its bias "
                "that a folded network would no longer tell what enters it",
                norm=one.norm,
                channel=channel,
            )


def _units(here: nn.Module, before: nn.Module) -> Units:
    if isinstance(before, BatchNorm) and not isinstance(here, BatchNorm):
        return _folded(before)
    one = torch.tensor(1.0, dtype=torch.float64)
    return Units(one, torch.zeros_like(one))


def _folded(norm: BatchNorm) -> Units:
    scale, shift = scale_and_shift(norm)
    return Units(scale.detach().cpu(), shift.detach().cpu())


def _hidden(norm: BatchNorm, reference: Reference) -> Tensor:
    """What rounding hides of the input, in standard deviations of the reference, (C,)."""
    units, kind = _folded(norm), torch.finfo(norm.running_mean.dtype)
    rounding = kind.eps * units.of(reference.mean).abs() + kind.tiny
    deviation = reference.variance.clamp_min(reference.floor).sqrt()
    return rounding / (units.scale.abs() * deviation)
