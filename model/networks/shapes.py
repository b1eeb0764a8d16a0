"""What every module of a built network takes, in shapes of one row."""

import torch
from torch import nn

Shape = tuple[int, ...]


def input_shapes(network: nn.Module, row_shape: Shape) -> dict[str, Shape]:
    """The shape that enters each module, found by sending one row of zeros through it.

    Meta tensors would compute no number, but their first layer costs a process seconds: torch
    then loads its compiler. Hooks stand on the modules for the time of the call, so hand in a
    network that nobody else uses. In eval mode nothing in it changes.

    Args:
        row_shape: of one row of the network's input, the batch axis left out.

    Returns:
        The shape of one row by state-dict prefix; "" is the network itself.
    """
    shapes: dict[str, Shape] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, args, name=name: shapes.__setitem__(name, tuple(args[0].shape[1:]))
        )
        for name, module in network.named_modules()
    ]
    like = next((t for t in network.parameters() if t.is_floating_point()), torch.empty(0))
    try:
        with torch.inference_mode():
            network(torch.zeros(1, *row_shape, dtype=like.dtype, device=like.device))
    finally:
        for hook in hooks:
            hook.remove()
    return shapes
