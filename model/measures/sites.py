"""Where measures look: activation layers and layers with weights, by their state-dict names.

Layers are counted in network order, in which a residual's branch comes before its projection:
the order of `model.sizes.Plan.walk`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from model.networks.build import ACTIVATIONS

_KINDS = {type(make()): kind for kind, make in ACTIVATIONS.items()}


@dataclass(frozen=True)
class Site:
    """One layer of a network that is looked at."""

    name: str  # prefix of its tensors in the state dict: "0", "3.branch.1"
    module: nn.Module

    @property
    def kind(self) -> str:
        """The activation as a spec names it, else the class of the layer, in small letters."""
        return _KINDS.get(type(self.module), type(self.module).__name__.lower())


Note = Callable[[Site, Tensor, Tensor], None]
"""Told of each site as it runs: the site, its input and its output."""


def activation_sites(network: nn.Module) -> tuple[Site, ...]:
    """Every activation layer; `identity` is one where a spec places it."""
    found = network.named_modules()
    return tuple(Site(name, module) for name, module in found if type(module) in _KINDS)


def weight_sites(network: nn.Module) -> tuple[Site, ...]:
    """Every linear layer and convolution: what a spec counts as layers with weights."""
    found = network.named_modules()
    kinds = nn.Linear | nn.Conv2d
    return tuple(Site(name, module) for name, module in found if isinstance(module, kinds))


def embedding_sites(network: nn.Module) -> tuple[Site, ...]:
    """Every embedding: it has a matrix, and is not counted with the layers that sum over one."""
    found = network.named_modules()
    return tuple(Site(name, module) for name, module in found if isinstance(module, nn.Embedding))


def source_of(network: nn.Module, activation: Site) -> Site | None:
    """The layer whose rows of weights are the incoming weights of an activation's units.

    It is the last linear layer or convolution before the activation; of the two ways into a
    residual the branch counts, not the projection. None where there is none. Whether it has
    as many outputs as the activation has units, a caller sees when both have run: flattening
    between them makes several units of one channel.
    """
    last = None
    for name, module in network.named_modules():
        if module is activation.module:
            return last
        is_projection = "projection" in name.split(".")
        if isinstance(module, nn.Linear | nn.Conv2d) and not is_projection:
            last = Site(name, module)
    return None


@contextmanager
def watched(sites: Sequence[Site], note: Note) -> Iterator[None]:
    """Inside, `note` is told of every site whenever it has run; the hooks always go again."""

    def hook(site: Site) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _, inputs, output: note(site, inputs[0], output)

    handles = [site.module.register_forward_hook(hook(site)) for site in sites]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
