"""A branch beside a short cut."""

from torch import Tensor, nn


class Residual(nn.Module):
    """`short_cut(x) + branch(x)`; the short cut is x itself, or its projection, maybe normed.

    Args:
        branch: gives the shape of the result.
        projection: sends x to that shape; None when x has it already.

    He et al. 2015, equations 1 and 2: https://arxiv.org/abs/1512.03385
    """

    def __init__(self, branch: nn.Sequential, projection: nn.Module | None) -> None:
        super().__init__()
        self.branch = branch
        self.projection = projection

    def forward(self, x: Tensor) -> Tensor:
        """Add both ways."""
        short_cut: Tensor = x if self.projection is None else self.projection(x)
        branch: Tensor = self.branch(x)
        return short_cut + branch
