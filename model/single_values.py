"""Batches in which a channel would have one value only: its own mean, with nothing around it."""

from collections.abc import Iterator

from model.batches import Batches
from model.errors import SpecRefused
from model.sizes import Plan
from model.spec import GhostBatchNorm, OverBatch, RunSpec

TAIL_OF_ONE = "BN_TAIL_BATCH_ONE"


def refuse_single_values(spec: RunSpec, planned: Plan, batches: Batches, steps: int) -> None:
    """Refuse a batch, or a group of one, that gives a norm over the batch one value per channel.

    Raises:
        SpecRefused: names what makes such a batch: its size, the tail, or the size of groups.
    """
    alone = _of_one_position(planned)
    if alone is None:
        return
    for path, message in _alone(spec, batches, steps, f"layer {alone} normalizes over"):
        where = {"layer": alone, "batch_size": spec.batch_size}
        raise SpecRefused(path, message, TAIL_OF_ONE, **where, **_groups(spec))


def least_rows(planned: Plan) -> int:
    """Rows of which every norm over the batch has two values per channel, and so a spread."""
    return 1 if _of_one_position(planned) is None else 2


def _of_one_position(planned: Plan) -> str | None:
    """The first norm over the batch to which a row gives one value per channel."""
    norms = (layer for layer in planned.walk() if isinstance(layer.norm, OverBatch))
    return next((layer.name for layer in norms if layer.positions == 1), None)


def _groups(spec: RunSpec) -> dict[str, int]:
    norm = spec.norm
    return {"group_size": norm.group_size} if isinstance(norm, GhostBatchNorm) else {}


def _alone(spec: RunSpec, batches: Batches, steps: int, layer: str) -> Iterator[tuple[str, str]]:
    """Fields at fault, and why."""
    if spec.batch_size == 1:
        yield "batch_size", f"{layer} the batch, and a batch is one row"
    meets_last = steps >= batches.steps
    if batches.last == 1 and meets_last:
        message = f"an epoch's last batch is one row, and {layer} the batch"
        yield "tail", f"{message}: set tail to merge or drop, or change batch_size"
    if isinstance(spec.norm, GhostBatchNorm):
        yield from _alone_in_groups(spec.norm.group_size, batches, meets_last, layer)


def _alone_in_groups(
    size: int, batches: Batches, meets_last: bool, layer: str
) -> Iterator[tuple[str, str]]:
    path, why = "norm.group_size", f"and {layer} each group"
    if size == 1:
        yield path, f"a group is one row, {why}"
    if batches.size % size == 1 and batches.steps > 1:
        yield path, f"a batch of {batches.size} rows in groups of {size} leaves one over, {why}"
    if batches.last % size == 1 and meets_last:
        last = f"an epoch's last batch of {batches.last} rows in groups of {size} leaves one over"
        yield path, f"{last}, {why}: change it, tail or batch_size"
