"""Where an activation is flat, and where a built-in rule of another system calls it inactive."""

import torch
from torch import Tensor, nn

TANH = 0.99  # of |output|
SIGMOID = 0.01  # of the output's distance from 0 and 1
SLOPE = 0.01  # of |derivative|, for activations without two flat ends

RULE_TANH = 9.4999  # of |input|
RULE_SIGMOID = (-23.0, 16.99999)  # of the input
RULE_UNIT = 0.01  # share of its values on which an inactive unit is active, at most
RULE_LAYER = 0.5  # share of inactive units above which the rule reports a layer


def is_flat(activation: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Which values lie on a flat region of the activation, bool; NaN lies on none.

        tanh                              |y| > 0.99
        sigmoid                           y < 0.01 or y > 0.99
        relu                              y = 0
        gelu, silu, elu, leaky_relu       |dy/dx| < 0.01
        identity                          never

    The slope of gelu and silu is small on a short interval around their minimum, too, at
    x = -0.75 and -1.28; leaky_relu's is 0.01 below 0, and never less.

    Shape:
        x, y: input and output of the activation, of one shape, which is also returned.
    """
    match activation:
        case nn.Tanh():
            return y.abs() > TANH
        case nn.Sigmoid():
            return (y < SIGMOID) | (y > 1 - SIGMOID)
        case nn.ReLU():
            return y == 0
        case nn.Identity():
            return torch.zeros_like(y, dtype=torch.bool)
        case _:
            return slope(activation, x).abs() < SLOPE


def slope(activation: nn.Module, x: Tensor) -> Tensor:
    """dy/dx of an activation that acts element by element, by autograd."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        # Not __call__, which would run the hooks of whoever looks on.
        (found,) = torch.autograd.grad(activation.forward(leaf).sum(), leaf)
    return found


def is_active(activation: nn.Module, x: Tensor, y: Tensor) -> Tensor | None:
    """Which values are active as Amazon SageMaker Debugger counts, bool; None: it has no rule.

    relu: output above 0. tanh: input within +-9.4999. sigmoid: input between -23 and 16.99999.
    A unit is inactive when it is active on less than 1 % of its values, and a layer is reported
    when more than 50 % of its units are.

    Rules DeadRelu and SaturatedActivation with their default thresholds:
    https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html
    """
    match activation:
        case nn.ReLU():
            return y > 0
        case nn.Tanh():
            return x.abs() < RULE_TANH
        case nn.Sigmoid():
            return (x > RULE_SIGMOID[0]) & (x < RULE_SIGMOID[1])
        case _:
            return None
