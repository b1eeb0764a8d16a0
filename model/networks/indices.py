"""Rows of indices: what looks them up, what may stand before it, and rows that hold no such.

On a GPU an index beyond the embedding ends the process, so rows are looked at before they enter.
"""

from typing import Any

import numpy as np
from torch import Tensor, nn

from model.errors import InputRefused


class Embedding(nn.Embedding):
    """`torch.nn.Embedding` of indices given as numbers, without its own random start.

    Shape:
        x: (N, *row), whole numbers from 0 to num_embeddings - 1, of any type.
        returns: (N, *row, embedding_dim).
    """

    def reset_parameters(self) -> None:
        """Leave the weights as allocated."""

    def forward(self, x: Tensor) -> Tensor:
        """Put the vector of each index in its place."""
        return super().forward(x.long())


class Columns(nn.Module):
    """The first values of the last axis.

    Shape:
        x: (*, n) with n at least `first`.
        returns: (*, first).
    """

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        """Leave the other values out."""
        return x[..., : self.first]

    def extra_repr(self) -> str:
        """What torch prints of it."""
        return f"first={self.first}"


def refuse_indices(network: nn.Module, rows: np.ndarray | Tensor) -> None:
    """Refuse rows whose indices the network's embedding does not have; without one, nothing.

    Args:
        network: a sequence. Only what rearranges values stands before its embedding.

    Shape:
        rows: (n, *input_shape), as they enter the network.

    Raises:
        InputRefused: a value is no whole number, below 0, or not below `num_embeddings`; names
            the row.
    """
    values: Any = rows
    for name, module in network.named_children():
        match module:
            case nn.Flatten():
                values = values.reshape(len(rows), -1)
            case nn.Unflatten():
                values = values.reshape(len(rows), *module.unflattened_size)
            case Columns():
                values = values[..., : module.first]
            case Embedding():
                _refuse(values, name, module.num_embeddings)
                return
            case _:
                return


def _refuse(values: Any, name: str, count: int) -> None:
    is_index = (values >= 0) & (values < count) & (values % 1 == 0)
    if not bool(is_index.all()):
        row = is_index.reshape(len(is_index), -1).all(1).tolist().index(False)
        raise InputRefused(
            f"row {row} holds a value that is no index of the embedding at {name}, "
            f"which has whole numbers from 0 to {count - 1}",
            row=row,
            layer=name,
            largest=count - 1,
        )
