"""Layers that a kind of network places and that nobody can ask for one by one.

They extend the layers of a spec without being in it, so a spec's text and hash stay as they are.
"""

from model.spec import Layer, Pool, Residual


class PaddedPool(Pool):
    """A pool whose rows are padded first: a largest value with -inf."""

    padding: int  # pixels a side, at most half of kernel_size


class NormedResidual(Residual):
    """A residual whose projection, where it has one, is followed by the run's norm."""

    layers: tuple[Layer, ...]
