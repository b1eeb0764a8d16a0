"""A plan becomes a network whose weights are allocated and not yet anything.

Nothing is drawn from torch's global generator, so building leaves no trace in a run's random
numbers; `model.networks.init` gives the weights their values, or a checkpoint does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from model import spec
from model.networks.indices import Columns, Embedding
from model.networks.residual import Residual
from model.norms.batch import BatchNorm
from model.norms.batch_renorm import BatchRenorm
from model.norms.ghost_batch import GhostBatchNorm
from model.norms.group import GroupNorm
from model.norms.instance import InstanceNorm
from model.norms.layer import LayerNorm
from model.norms.lp import LpNorm
from model.norms.noise import Noise
from model.norms.noisy_batch import NoisyBatchNorm
from model.placed import PaddedPool
from model.sizes import Plan, PlannedLayer, PlannedNorm

ACTIVATIONS: dict[spec.Activation, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "identity": nn.Identity,
}


class Linear(nn.Linear):
    """`torch.nn.Linear` without its own random start."""

    def reset_parameters(self) -> None:
        """Leave the weights as allocated."""


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` without its own random start."""

    def reset_parameters(self) -> None:
        """Leave the weights as allocated."""


def build(
    plan: Plan,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """Allocate the planned network, in training mode.

    Args:
        device: "meta" allocates nothing, for a strict load with `assign=True`.
        dtype: of parameters and running statistics.

    Returns:
        A plain sequence whose tensors are named as the plan says.
    """
    return _Builder(device, dtype).sequence(plan.layers)


@dataclass(frozen=True)
class _Builder:
    """Where tensors are allocated, and as what."""

    device: torch.device | str | None
    dtype: torch.dtype

    def sequence(self, layers: tuple[PlannedLayer, ...]) -> nn.Sequential:
        return nn.Sequential(*(self.module(layer) for layer in layers))

    def module(self, planned: PlannedLayer) -> nn.Module:
        before, after = planned.input_shape, planned.output_shape
        match planned.layer:
            case spec.Linear(bias=bias):
                return Linear(before[-1], after[-1], bias, self.device, self.dtype)
            case spec.Conv2d() as layer:
                return self.convolution(layer, before[0])
            case spec.NormHere():
                assert planned.norm is not None
                return self.norm(planned.norm, before)
            case spec.ActivationHere(activation=activation):
                return ACTIVATIONS[activation]()
            case spec.Pool() as layer:
                return _pool(layer)
            case spec.Flatten():
                return nn.Flatten()
            case spec.Unflatten(shape=shape):
                return nn.Unflatten(1, shape)
            case spec.Columns(first=first):
                return Columns(first)
            case spec.Embedding(num_embeddings=count, embedding_dim=values):
                return Embedding(count, values, device=self.device, dtype=self.dtype)
            case spec.Dropout(p=p):
                return nn.Dropout(p)
            case spec.Residual():
                return Residual(self.sequence(planned.branch), self.short_cut(planned.short_cut))

    def short_cut(self, layers: tuple[PlannedLayer, ...]) -> nn.Module | None:
        """A projection alone is a layer; with its norm behind it, it is a sequence."""
        if len(layers) > 1:
            return self.sequence(layers)
        return self.module(layers[0]) if layers else None

    def convolution(self, layer: spec.Conv2d, channels: int) -> Conv2d:
        return Conv2d(
            channels,
            layer.out_channels,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            bias=layer.bias,
            device=self.device,
            dtype=self.dtype,
        )

    def norm(self, norm: PlannedNorm, shape: tuple[int, ...]) -> nn.Module:
        match norm:
            case spec.BatchNorm():
                return BatchNorm(shape[0], norm, device=self.device, dtype=self.dtype)
            case spec.NoisyBatchNorm():
                return NoisyBatchNorm(shape[0], norm, device=self.device, dtype=self.dtype)
            case spec.Noise():
                return Noise(norm)
            case spec.LpNorm():
                return LpNorm(shape[0], norm, device=self.device, dtype=self.dtype)
            case spec.GhostBatchNorm():
                return GhostBatchNorm(shape[0], norm, device=self.device, dtype=self.dtype)
            case spec.BatchRenorm():
                return BatchRenorm(shape[0], norm, device=self.device, dtype=self.dtype)
            case spec.LayerNorm():
                return LayerNorm(shape, norm, device=self.device, dtype=self.dtype)
            case spec.GroupNorm():
                return GroupNorm(shape[0], norm, device=self.device, dtype=self.dtype)
            case spec.InstanceNorm():
                return InstanceNorm(shape[0], norm, device=self.device, dtype=self.dtype)


def _pool(layer: spec.Pool) -> nn.Module:
    match layer.pool:
        case "max":
            padding = layer.padding if isinstance(layer, PaddedPool) else 0
            return nn.MaxPool2d(layer.kernel_size, layer.stride, padding)
        case "avg":
            return nn.AvgPool2d(layer.kernel_size, layer.stride)
        case "global_avg":
            return nn.AdaptiveAvgPool2d(1)
