"""Norms over the batch folded into the layer before them: less work, the same answers.

What a fold costs in precision is measured in `model.networks.comparison`.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn

from model.errors import FoldRefused
from model.networks.shapes import Shape, input_shapes
from model.norms.running import RunningNorm

Weighted = nn.Linear | nn.Conv2d


@dataclass(frozen=True)
class InLayer:
    """A norm that is now part of a layer."""

    norm: str  # its state-dict prefix before the fold: "1"
    layer: str  # prefix of the linear layer or convolution that holds it now: "0"


@dataclass(frozen=True)
class Stayed:
    """A norm that is still a layer of its own, in eval mode."""

    norm: str  # state-dict prefix
    behind: str  # what stands before it, in words: "Tanh (1)"


@dataclass(frozen=True)
class Folded:
    """A network after the fold, in eval mode, and what became of each norm over the batch."""

    network: nn.Module
    in_layers: tuple[InLayer, ...]  # in network order
    stayed: tuple[Stayed, ...]  # in network order


@torch.no_grad()
def fold(network: nn.Module, input_shape: Shape) -> Folded:
    """Fold every norm over the batch that stands directly behind a linear layer or convolution.

        scale  = gain / sqrt(running_var + eps)              running: variance
        scale  = gain / (running_deviation + eps)            running: deviation
        scale  = gain / (running_scale + eps)                an l_p norm
        weight <- scale * weight                             one scale per output
        bias   <- scale * (bias - running_mean) + norm bias  a layer without bias gets one

    Computed in float64 and rounded once, to the layer's own type. An identity takes the
    norm's place, so every other tensor keeps its name. A norm behind anything else stays. So
    does one behind a linear layer whose rows have several axes: the layer changes the last of
    them, the norm looks at the first.

    Args:
        network: sequences and residuals, in any mode; it is not changed.
        input_shape: of one row.

    Raises:
        FoldRefused: a folded tensor is not finite, as where a spread is 0 or negative.

    Jacob et al. 2017, section 3.2: https://arxiv.org/abs/1712.05877
    """
    folded = deepcopy(network).eval().requires_grad_(False)
    shapes = input_shapes(folded, input_shape)
    before = _before(folded)
    modules = dict(folded.named_modules())
    in_layers, stayed = [], []
    for name, norm in modules.items():
        if not isinstance(norm, RunningNorm):
            continue
        layer_name = before.get(name)
        layer = None if layer_name is None else modules[layer_name]
        if layer_name is not None and _takes(layer, shapes[name]):
            _put(norm, layer, name)
            _replace(folded, name)
            in_layers.append(InLayer(name, layer_name))
        else:
            stayed.append(Stayed(name, _words(layer_name, layer)))
    return Folded(folded, tuple(in_layers), tuple(stayed))


def scale_and_shift(norm: RunningNorm) -> tuple[Tensor, Tensor]:
    """What the norm does in eval mode, as `scale * x + shift`.

    Returns:
        Two float64 tensors of shape (C,).
    """
    below = divisor(norm)
    scale = below.reciprocal() if norm.weight is None else norm.weight.double() / below
    shift = -scale * norm.running_mean.double()
    return scale, shift if norm.bias is None else shift + norm.bias.double()


def divisor(norm: RunningNorm) -> Tensor:
    """What the norm divides by in eval mode, (C,), float64."""
    return norm.divisor_of(norm.running_spread.double())


def _before(network: nn.Module) -> dict[str, str]:
    """The name of what stands before each module of a sequence; the first has no entry."""
    names: dict[str, str] = {}
    for prefix, module in network.named_modules():
        if isinstance(module, nn.Sequential):
            inside = [f"{prefix}.{key}" if prefix else key for key, _ in module.named_children()]
            names.update(zip(inside[1:], inside[:-1], strict=True))
    return names


def _takes(layer: nn.Module | None, norm_shape: Shape) -> TypeGuard[Weighted]:
    """Whether the norm's channels, the first axis of a row, are the outputs of the layer."""
    return isinstance(layer, nn.Conv2d) or (isinstance(layer, nn.Linear) and len(norm_shape) == 1)


def _put(norm: RunningNorm, layer: Weighted, name: str) -> None:
    scale, shift = scale_and_shift(norm)
    along = (-1, *(1,) * (layer.weight.dim() - 1))
    weight = scale.view(along) * layer.weight.double()
    bias = shift if layer.bias is None else shift + scale * layer.bias.double()
    dtype = layer.weight.dtype
    rounded = weight.to(dtype), bias.to(dtype)
    if not all(bool(tensor.isfinite().all()) for tensor in rounded):
        raise FoldRefused(
            f"norm {name} has a channel whose scale or shift is not finite", norm=name
        )
    layer.weight, layer.bias = (nn.Parameter(tensor, requires_grad=False) for tensor in rounded)


def _replace(network: nn.Module, name: str) -> None:
    sequence, _, key = name.rpartition(".")
    setattr(network.get_submodule(sequence), key, nn.Identity().eval())


def _words(name: str | None, module: nn.Module | None) -> str:
    if module is None:
        return "the input"
    axis = " over another axis" if isinstance(module, nn.Linear) else ""
    return f"{type(module).__name__}{axis} ({name})"
