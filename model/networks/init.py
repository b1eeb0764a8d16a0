"""How weights start: drawn layer by layer from one generator, norm layers drawing nothing.

An embedding is N(0, 1), as `torch.nn.Embedding` is: kind and gain speak of layers that sum over
their inputs, and a vector that is looked up sums over nothing.

Two networks that differ in their norm alone therefore start with equal weights. Draws are
float64 on the CPU and then cast, so a float32 run starts where a float64 run does, rounded.
"""

from math import sqrt

import torch
from torch import Tensor, nn

from model import spec
from model.sizes import Plan


@torch.no_grad()
def initialize(network: nn.Module, plan: Plan, init: spec.Init, generator: torch.Generator) -> None:
    """Give every linear layer, convolution and embedding its first weights, in the plan's order.

    Args:
        network: what `build` made of `plan`, on any device but meta.
        generator: of the CPU; it moves by one draw per weight (and per bias that is drawn).
    """
    output_name = plan.output_name
    for planned in plan.walk():
        if planned.is_drawn:
            is_output = planned.name == output_name
            start = init.output if is_output and init.output is not None else init
            _start(network.get_submodule(planned.name), start, generator)


def _start(
    module: nn.Module, start: spec.Init | spec.OutputInit, generator: torch.Generator
) -> None:
    weight = module.weight
    assert isinstance(weight, Tensor)
    if isinstance(module, nn.Embedding):
        weight.copy_(_normal(weight.shape, generator))
        return
    bias = module.bias
    weight.copy_(start.gain * _weights(start.kind, weight.shape, generator))
    if isinstance(bias, Tensor):
        bias.copy_(_biases(start.bias, len(bias), _fans(weight.shape)[0], generator))


def _weights(kind: spec.InitKind, shape: torch.Size, generator: torch.Generator) -> Tensor:
    fan_in, fan_out = _fans(shape)
    match kind:
        case "normal":
            return _normal(shape, generator)
        case "xavier_normal":
            return _normal(shape, generator) * sqrt(2 / (fan_in + fan_out))
        case "xavier_uniform":
            return _uniform(shape, generator) * sqrt(6 / (fan_in + fan_out))
        case "kaiming_normal":
            return _normal(shape, generator) * sqrt(2 / fan_in)
        case "kaiming_uniform":
            return _uniform(shape, generator) * sqrt(6 / fan_in)


def _biases(kind: spec.InitBias, count: int, fan_in: int, generator: torch.Generator) -> Tensor:
    match kind:
        case "zeros":
            return torch.zeros(count, dtype=torch.float64)
        case "normal":
            return _normal(torch.Size([count]), generator)
        case "torch":
            return _uniform(torch.Size([count]), generator) / sqrt(fan_in)


def _fans(shape: torch.Size) -> tuple[int, int]:
    """Values that one output sums over, and outputs that one input reaches.

    Shape:
        shape: (out, in) of a linear layer or (out, in, height, width) of a convolution.
    """
    window = shape[2:].numel()
    return shape[1] * window, shape[0] * window


def _normal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _uniform(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Draws from U(-1, 1)."""
    return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1
