"""What a run needs, beside its network, to go on as if it had never stopped.

A resume point is flat tensors and plain JSON values, so it is stored without pickle.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass
class Tally:
    """Sums over the training rows since the last metric point."""

    loss: float = 0.0  # sum over rows
    rows: int = 0
    correct: int = 0

    def add(self, loss: float, rows: int) -> None:
        """Count one batch by the sum of its rows' losses."""
        self.loss += loss
        self.rows += rows


@dataclass
class Keep:
    """Tensors of an earlier step that may yet become the checkpoint."""

    step: int
    tensors: Tensors
    scores: dict[str, float] = field(default_factory=dict)  # on the validation rows
    forgotten: int = 0  # updates until then that were taken back out of the running statistics


@dataclass
class Position:
    """Where in the run a resume point lies, as JSON values."""

    step: int  # optimizer steps done
    batch: int  # batches done of the current epoch
    tally: Tally
    good_step: int  # of the last finite network
    best_step: int | None
    best_scores: dict[str, float]
    forgotten: int = 0  # as in `Keep`, until `step`
    good_forgotten: int = 0
    best_forgotten: int = 0

    def to_json(self) -> dict[str, Any]:
        """JSON values; floats survive exactly, non-finite ones as text."""
        values = asdict(self)
        values["tally"]["loss"] = self.tally.loss.hex()
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Position":
        """The inverse of `to_json`."""
        tally = {**values["tally"], "loss": float.fromhex(values["tally"]["loss"])}
        return cls(**{**values, "tally": Tally(**tally)})


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> Tensors:
    """The optimizer's state tensors as `optimizer.<parameter index>.<name>`, copied."""
    return {
        f"optimizer.{index}.{name}": value.detach().clone().cpu()
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put back what `flatten_optimizer` took."""
    state: dict[int, Tensors] = {}
    for name, value in with_prefix(tensors, "optimizer.").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value.clone()
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def with_prefix(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors under a prefix, without it."""
    return {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}


def add_prefix(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors under a prefix."""
    return {prefix + name: t for name, t in tensors.items()}


def is_better(scores: dict[str, float], than: dict[str, float]) -> bool:
    """Whether validation scores beat earlier ones: accuracy first, then loss; ties lose."""
    return _rank(scores) < _rank(than)


def _rank(scores: dict[str, float]) -> tuple[float, float]:
    loss = scores["loss"] if math.isfinite(scores["loss"]) else math.inf
    return -scores.get("accuracy", 0.0), loss
