"""How large each layer's gradient and update are, beside its weights.

With g the gradient of the batch's loss by the weights w of a layer, and u = w' - w the update
that the optimizer really made:

    update to data      std(u) / std(w)
    gradient to data    std(g) / std(w)

Under plain SGD u is -lr * g, and the first is the ratio that makemore's diagnostics plot as a
logarithm, with a guide at 1e-3.

Karpathy, makemore part 3: https://github.com/karpathy/nn-zero-to-hero
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from model import spec
from model.measures.numbers import number
from model.measures.probe import Block, Moment, Reading, Setting
from model.measures.sites import weight_sites
from model.measures.untouched import Again, untouched
from model.plan import Checked
from model.training.losses import LossFunction


@dataclass(frozen=True)
class LayerGradient:
    """One layer's weights, without its bias; NaN where a step or a deviation is missing."""

    name: str
    gradient_norm: float
    weight_norm: float
    update_norm: float  # NaN without a network after the step
    gradient_to_data: float  # NaN for a single weight, which has no deviation
    update_to_data: float


@dataclass(frozen=True)
class Gradients:
    """The gradient of a loss on some rows."""

    loss: float
    norm: float  # of all parameters together
    layers: tuple[LayerGradient, ...]  # layers with weights, in network order


def gradients_of(
    network: nn.Module,
    block: Block,
    loss: LossFunction,
    *,
    after: nn.Module | None = None,
    again: Again | None = None,
) -> Gradients:
    """The gradient on some rows, and the update from this network to another.

    The network is run in the mode in which it is, and left as it is.

    Args:
        after: the same network after an optimizer step.
        again: puts the generators back before the rows pass.
    """
    named = dict(network.named_parameters())
    with untouched(network, again) as same_noise, torch.enable_grad():
        same_noise()
        value = loss(network(block.inputs), block.targets)
        found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    slopes = {
        name: torch.zeros_like(one) if slope is None else slope
        for (name, one), slope in zip(named.items(), found, strict=True)
    }
    updates = {} if after is None else _updates(named, dict(after.named_parameters()))
    names = [site.name for site in weight_sites(network)]
    layers = [_layer(name, named, slopes, updates) for name in names]
    return Gradients(float(value.detach()), _norm(list(slopes.values())), tuple(layers))


def passes(asked: spec.Gradients, checked: Checked) -> int:
    """Row-passes of one probe: the gradient of one batch."""
    return 3 * checked.batches.largest


def probe(asked: spec.Gradients, setting: Setting) -> "GradientsProbe":
    """What is asked at every probed step."""
    return GradientsProbe(setting.loss)


@dataclass(frozen=True)
class GradientsProbe:
    """Norms and ratios of the step's own batch, layer by layer."""

    loss: LossFunction

    def compare(self, before: Moment, after: Moment) -> Reading:
        """The gradient before the step, and what the optimizer made of it."""
        found = gradients_of(
            before.network, before.batch, self.loss, after=after.network, again=before.again
        )
        values = {"gradients.norm": found.norm}
        for n, layer in enumerate(found.layers, 1):
            values |= {
                f"gradients.norm.{n}": layer.gradient_norm,
                f"gradients.weight_norm.{n}": layer.weight_norm,
                f"gradients.update_to_data.{n}": layer.update_to_data,
            }
        layers = [_json(n, layer) for n, layer in enumerate(found.layers, 1)]
        about = {"rows": len(before.batch.inputs), "lr": before.lr, "norm": number(found.norm)}
        return Reading(values, about | {"layers": layers})


def _updates(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, Tensor]:
    # Widened first: an update is often below what the difference of float32 numbers can hold.
    return {
        name: after[name].detach().double() - one.detach().double() for name, one in before.items()
    }


def _layer(
    name: str, named: dict[str, Tensor], slopes: dict[str, Tensor], updates: dict[str, Tensor]
) -> LayerGradient:
    weight, slope = named[f"{name}.weight"].detach().double(), slopes[f"{name}.weight"].double()
    update = updates.get(f"{name}.weight", torch.full_like(weight, nan))
    return LayerGradient(
        name,
        gradient_norm=_norm([slope]),
        weight_norm=_norm([weight]),
        update_norm=_norm([update]),
        gradient_to_data=_ratio(slope, weight),
        update_to_data=_ratio(update, weight),
    )


def _ratio(of: Tensor, to: Tensor) -> float:
    return float(of.std() / to.std()) if to.numel() > 1 else nan


def _norm(tensors: Sequence[Tensor]) -> float:
    """Euclidean norm of all of them as one vector, summed in float64."""
    return float(torch.cat([one.detach().double().flatten() for one in tensors]).norm())


def _json(n: int, layer: LayerGradient) -> dict[str, Any]:
    told: dict[str, Any] = {"layer": n, "name": layer.name}
    ratios = {key: value for key, value in vars(layer).items() if key != "name"}
    return told | {key: number(value) for key, value in ratios.items()}
