"""Where a run's random numbers come from: one seed, one independent stream per purpose.

Initialization and order have generators of their own, so that two arms that differ in
their norm start with the same weights and see the same rows in the same order.
"""

import hashlib
from typing import Literal

import torch
from torch import Tensor

Purpose = Literal["init", "order", "dropout", "gap", "population", "drift", "measures"]


def seed_for(seed: int, purpose: Purpose) -> int:
    """A 63-bit seed that differs for every purpose of one run seed."""
    digest = hashlib.sha256(f"{purpose}:{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def stream(seed: int, purpose: Purpose) -> torch.Generator:
    """A CPU generator for one purpose of a run."""
    return torch.Generator().manual_seed(seed_for(seed, purpose))


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed the global generators that dropout draws from, which nothing else of a run does.

    `torch.manual_seed` would do it for every kind of device, and takes 5 ms of a run's start.
    """
    torch.default_generator.manual_seed(seed_for(seed, "dropout"))
    if device.type == "cuda":
        torch.cuda.manual_seed(seed_for(seed, "dropout"))


def torch_states(device: torch.device) -> dict[str, Tensor]:
    """The global generators' states, uint8, by name."""
    states = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_torch(states: dict[str, Tensor], device: torch.device) -> None:
    """Put the global generators back to what `torch_states` returned."""
    torch.set_rng_state(states["torch"].clone())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].clone(), device)
