"""Publishing: a checkpoint becomes the newest version of a model, if its statistics are sound."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from api import diagnosis
from api.problems import Refusal
from api.services import Services
from core import checkpoints, models
from core.errors import CheckpointNotFound
from core.models import Model
from model.errors import SpecRefused
from model.findings import Finding
from model.statistics.diagnose import errors


@dataclass(frozen=True)
class Published:
    """A model, and whether it has a version more than before."""

    model: Model
    created: bool


async def publish(services: Services, name: str, checkpoint_id: str) -> Published:
    """Make a checkpoint the newest version of a model; it is ready to answer when this returns.

    Raises:
        SpecRefused: there is no such checkpoint.
        Refusal: 409, its diagnosis has an error.
        CheckpointRefused, FileMissing, StoreUnavailable: its file cannot be loaded.
    """
    try:
        record = await services.database.aread(lambda c: checkpoints.get(c, checkpoint_id))
        found = await diagnosis.diagnosed(services, record)
        _refuse_errors(found)
        await services.predictions.prepare(record)
        told = [finding.to_json() for finding in found]

        def put(connection: Connection) -> Published:
            made = models.put(connection, name, record.id, told)
            return Published(models.get(connection, name), made.created)

        return await services.database.awrite(put)
    except CheckpointNotFound as error:  # deleted just now, it may be
        raise SpecRefused("checkpoint", error.message, error.reason) from None


def _refuse_errors(findings: Sequence[Finding]) -> None:
    """Refuse under the name of the first error."""
    found = errors(findings)
    if not found:
        return
    first = found[0]
    where = "The running statistics are" if first.layer is None else f"Layer {first.layer} is"
    detail = f"{where} not fit to be served ({first.reason}). {first.remedy}"
    refusal = Refusal(409, first.reason, detail)
    refusal.metadata = {"findings": [finding.to_json() for finding in findings]}
    raise refusal
