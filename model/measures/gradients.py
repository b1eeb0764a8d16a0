"""How large each layer's gradient and update are, beside its weights.

With g the gradient of the batch's loss by the weights w of a layer, and u = w' - w the update
that the optimizer really made:

    update to data      std(u) / std(w)
    gradient to data    std(g) / std(w)

Under plain SGD u is -lr * g, and the first is the ratio that makemore's diagnostics plot as a
logarithm, with a guide at 1e-3.

Karpathy, makemore part 3: https://github.com/karpathy/nn-zero-to-hero
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from model import spec
from model.measures.numbers import layer_points, number
from model.measures.probe import Block, Moment, Reading, Setting
from model.measures.sites import Site, embedding_sites, weight_sites
from model.measures.untouched import Again, untouched
from model.plan import Checked
from model.training.losses import LossFunction


@dataclass(frozen=True)
class LayerGradient:
    """One layer's weights, without its bias; NaN where a step or a deviation is missing."""

    number: int | None  # among the layers with weights, from 1; None: an embedding
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
    layers: tuple[LayerGradient, ...]  # layers with weights in network order, then embeddings


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
    named: dict[str, Tensor] = dict(network.named_parameters())
    with untouched(network, again) as same_noise, torch.enable_grad():
        same_noise()
        value = loss(network(block.inputs), block.targets)
        found = torch.autograd.grad(value, list(named.values()), allow_unused=True)
    slopes = {
        name: torch.zeros_like(one) if slope is None else slope
        for (name, one), slope in zip(named.items(), found, strict=True)
    }
    sites = [*enumerate(weight_sites(network), 1), *((None, x) for x in embedding_sites(network))]
    updates = {} if after is None else _updates([one for _, one in sites], network, after)
    layers = [_layer(n, one.name, named, slopes, updates) for n, one in sites]
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
        points: dict[str, Callable[[LayerGradient], float]] = {
            "norm": lambda one: one.gradient_norm,
            "update_to_data": lambda one: one.update_to_data,
            "weight_norm": lambda one: one.weight_norm,
        }
        numbered = [(one.number or f"embedding.{one.name}", one) for one in found.layers]
        values = {"gradients.norm": found.norm} | layer_points("gradients", points, numbered)
        layers = [_json(layer) for layer in found.layers]
        about = {"rows": len(before.batch.inputs), "lr": before.lr, "norm": number(found.norm)}
        return Reading(values, about | {"layers": layers})


def _updates(sites: Sequence[Site], before: nn.Module, after: nn.Module) -> dict[str, Tensor]:
    """What was added to each layer's weight."""
    # Of two floats within a factor of 2 the difference is exact: small updates lose no digit.
    keys = [f"{site.name}.weight" for site in sites]
    return {
        key: after.get_parameter(key).detach() - before.get_parameter(key).detach() for key in keys
    }


def _layer(
    n: int | None,
    name: str,
    named: dict[str, Tensor],
    slopes: dict[str, Tensor],
    updates: dict[str, Tensor],
) -> LayerGradient:
    weight, slope = named[f"{name}.weight"].detach(), slopes[f"{name}.weight"]
    update = updates.get(f"{name}.weight", torch.full_like(weight, nan))
    return LayerGradient(
        n,
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
    norms = [torch.linalg.vector_norm(one, dtype=torch.float64) for one in tensors]
    return float(torch.stack(norms).norm())


def _json(layer: LayerGradient) -> dict[str, Any]:
    told: dict[str, Any] = {"layer": layer.number, "name": layer.name}
    found = {key: value for key, value in vars(layer).items() if key not in ("number", "name")}
    return told | {key: number(value) for key, value in found.items()}
