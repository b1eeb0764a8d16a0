"""Layers that a kind of network places, some of which nobody can ask for one by one.

They extend the layers of a spec without being in it, so a spec's text and hash stay as they are.
"""

from model.spec import (
    Activation,
    ActivationHere,
    Layer,
    NoNorm,
    NormByKind,
    NormHere,
    Pool,
    Residual,
)

Asked = tuple[str, Layer]  # the field of the spec, and the layer it asks for


class PaddedPool(Pool):
    """A pool whose rows are padded first: a largest value with -inf."""

    padding: int  # pixels a side, at most half of kernel_size


class NormedResidual(Residual):
    """A residual whose projection, where it has one, is followed by the run's norm."""

    layers: tuple[Layer, ...]


def behind_weights(norm: NormByKind, activation: Activation) -> tuple[Layer, Layer]:
    """A norm and an activation, in the order that `norm.placement` asks for."""
    after = not isinstance(norm, NoNorm) and norm.placement == "after_activation"
    acts, here = ActivationHere(kind="activation", activation=activation), NormHere(kind="norm")
    return (acts, here) if after else (here, acts)
