"""Noise that is new at every step, for a network with a norm and for its control without one."""

import torch
from torch import Tensor, nn

from model import spec
from model.norms.deviation import widened


def noised(x: Tensor, sizes: spec.NoiseSizes) -> Tensor:
    """s * x + m, with a scale s and a shift m of every value's own.

    Drawn anew by every call, the means per unit j (of images: per channel) or once for the layer:

        mu_j  ~ U(-n_mu, n_mu)                     sigma_j ~ U(1, n_sigma)
        m_ij  ~ U(mu_j - r_mu, mu_j + r_mu)        s_ij    ~ N(sigma_j, r_sigma^2)
        y_ij  = s_ij * x_ij + m_ij

    The values i of a unit are those of all rows and positions. Given x, and over both draws,

        E[y]   = (1 + n_sigma) / 2 * x
        Var[y] = ((n_sigma - 1)^2 / 12 + r_sigma^2) * x^2 + n_mu^2 / 3 + r_mu^2 / 3

    The draws are those of torch's global generator of the device of x, and constants to autograd.

    Shape:
        x: (N, C) or (N, C, *), floating point.
        returns: same shape and dtype as x. Half precision is computed in float32.

    Santurkar et al. 2018, section 2.1: https://arxiv.org/abs/1805.11604
    """
    wide = widened(x)
    shared = (1, 1 if sizes.per == "layer" else x.shape[1], *(1,) * (x.dim() - 2))
    mean = wide.new_empty(shared).uniform_(-sizes.n_mu, sizes.n_mu)
    scale = wide.new_empty(shared).uniform_(1, sizes.n_sigma)
    shifts = torch.empty_like(wide).uniform_(-sizes.r_mu, sizes.r_mu) + mean
    scales = torch.randn_like(wide) * sizes.r_sigma + scale
    return (scales * wide + shifts).to(x.dtype)


class Noise(nn.Module):
    """The noise alone, where a norm would stand: what a noisy norm is compared with.

    Training mode gives s * x + m, see `noised`; evaluation mode gives x itself.

    Args:
        sizes: of the noise.

    Shape:
        x: (N, C) or (N, C, *), floating point.
        returns: same shape and dtype as x.

    State:
        none. Draws are from torch's global generators, as those of dropout.

    Santurkar et al. 2018, section 2.1: https://arxiv.org/abs/1805.11604
    """

    def __init__(self, sizes: spec.Noise) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, x: Tensor) -> Tensor:
        """Add the noise, or in evaluation mode nothing."""
        return noised(x, self.sizes) if self.training else x

    def extra_repr(self) -> str:
        """The sizes, for printing a network."""
        return described(self.sizes)


def described(sizes: spec.NoiseSizes) -> str:
    """The sizes in the words of a spec."""
    fields = ("n_mu", "n_sigma", "r_mu", "r_sigma", "per")
    return ", ".join(f"{field}={getattr(sizes, field)}" for field in fields)
