"""Transplants as they are asked for: the statistics of one checkpoint on the weights of another."""

from typing import Annotated

from pydantic import Field

from api import operations
from api.problems import Invalid
from api.recalibration_request import RevisionName, no_norm
from api.services import Services
from api.validation import FieldError
from core import checkpoints
from core.checkpoints import Checkpoint
from core.errors import CheckpointNotFound
from core.idempotency import Idempotency
from core.operations import NewOperation, Submitted
from model.checkpoint import Loaded
from model.errors import SpecRefused
from model.misfits import bounded
from model.spec import Part
from model.statistics.fingerprint import is_statistic

Layout = dict[str, tuple[tuple[int, ...], str]]  # shape and type of each running statistic


class ReviseRequest(Part):
    """Whose running statistics a checkpoint's weights are to have."""

    statistics_from: Annotated[str, Field(pattern="^ckpt_[0-9a-f]{32}$")] = Field(
        description="The checkpoint whose statistics are taken; its norm layers must be the same."
    )
    name: RevisionName = None


async def submit(
    services: Services, record: Checkpoint, request: ReviseRequest, asked: Idempotency | None
) -> Submitted:
    """Check a transplant, and queue it.

    Raises:
        RevisionNameTaken, DiskLow, SpecRefused, Invalid: it cannot be done.
        CheckpointRefused, FileMissing: one of the two cannot be loaded.
        others: see `api.operations.submit`.
    """
    earlier = await operations.repeated(services, asked)
    if earlier is not None:
        return earlier
    await services.admission.require_disk()
    await operations.refuse_taken(services, record, request.name)
    donor = await _donor(services, record, request.statistics_from)
    own = await services.predictions.look(record, layout)
    if not own:
        raise no_norm()
    _refuse_misfits(own, await services.predictions.look(donor, layout))
    params = request.model_dump(mode="json")
    return await operations.submit(services, NewOperation("transplant", params, record.id), asked)


def layout(loaded: Loaded) -> Layout:
    """Shape and type of every running statistic of a network, by its name."""
    tensors = loaded.network.state_dict().items()
    return {name: (tuple(t.shape), str(t.dtype)) for name, t in tensors if is_statistic(name)}


async def _donor(services: Services, record: Checkpoint, checkpoint_id: str) -> Checkpoint:
    if checkpoint_id == record.id:
        message = "is the checkpoint itself: it has these statistics already"
        raise Invalid(FieldError(path="statistics_from", message=message))
    try:
        return await services.database.aread(lambda c: checkpoints.get(c, checkpoint_id))
    except CheckpointNotFound as error:
        raise SpecRefused("statistics_from", error.message, error.reason) from None


def _refuse_misfits(own: Layout, given: Layout) -> None:
    odd = {name for name in own.keys() | given.keys() if own.get(name) != given.get(name)}
    if odd:
        message = f"has other norm layers: {', '.join(bounded(odd)[:8])}"
        raise Invalid(FieldError(path="statistics_from", message=message))
