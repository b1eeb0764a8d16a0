"""Loss and accuracy of a network in eval mode on rows that it does not train on."""

import torch
from torch import Tensor, nn

from model.training.arrays import Part
from model.training.losses import SUMS, LossKind, loss_function


def evaluate(network: nn.Module, kind: LossKind, part: Part, block_rows: int) -> dict[str, float]:
    """Score every row with the running statistics; buffers and random state stay as they are.

    Args:
        block_rows: rows that pass through the network at once, see `model.blocks`.

    Returns:
        `loss`, per row whatever the kind, and, for classes, `accuracy` in 0..1.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            logits = torch.cat([network(block) for block in part.inputs.split(block_rows)])
            scores = {"loss": loss_per_row(kind, logits, part.targets)}
    finally:
        network.train(was_training)
    if part.classes is not None:
        scores["accuracy"] = count_correct(logits, part.classes) / len(part)
    return scores


def loss_per_row(kind: LossKind, logits: Tensor, targets: Tensor) -> float:
    """The loss in float64, divided by the rows where its kind is a sum over them."""
    loss = loss_function(kind)(logits.double(), _as_double(targets)).item()
    return loss / len(logits) if kind in SUMS else loss


def are_correct(logits: Tensor, classes: Tensor) -> Tensor:
    """Which rows' largest logit, the lowest index on ties, is their class, (rows,) bool.

    A row with a logit that is not finite is wrong.
    """
    return (logits.argmax(1) == classes) & torch.isfinite(logits).all(1)


def count_correct(logits: Tensor, classes: Tensor) -> int:
    """How many rows `are_correct`."""
    return int(are_correct(logits, classes).sum().item())


def _as_double(targets: Tensor) -> Tensor:
    return targets.double() if targets.is_floating_point() else targets
