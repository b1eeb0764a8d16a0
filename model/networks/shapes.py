"""What every module of a built network takes, in shapes of one row."""

import torch
from torch import nn
from torch.func import functional_call

Shape = tuple[int, ...]


def input_shapes(network: nn.Module, row_shape: Shape) -> dict[str, Shape]:
    """The shape that enters each module, found without computing a number.

    Hooks stand on the modules for the time of the call, so hand in a network that nobody else
    uses. In eval mode nothing in it changes.

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
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    nowhere = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    dtype = next((t.dtype for t in nowhere.values() if t.is_floating_point()), torch.float32)
    try:
        functional_call(network, nowhere, torch.empty(1, *row_shape, dtype=dtype, device="meta"))
    finally:
        for hook in hooks:
            hook.remove()
    return shapes
