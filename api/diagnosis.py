"""What is wrong with a checkpoint's running statistics, as it was saved and as it is now."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from api.services import Services
from core.checkpoints import Checkpoint
from model.checkpoint import Loaded
from model.errors import CheckpointRefused
from model.findings import Finding
from model.statistics.diagnose import diagnose, refusal

_ORDER = ("error", "warning", "note")


async def diagnosed(services: Services, record: Checkpoint) -> tuple[Finding, ...]:
    """Every finding about a checkpoint, errors first.

    Where its save gate and a look at its tensors now say the same of a layer, the first counts:
    it had the rows at hand, and knows more.

    Raises:
        CheckpointRefused: its file cannot be loaded, for a reason other than statistics.
        FileMissing, StoreUnavailable: its file cannot be read.
    """
    try:
        fresh = await services.predictions.look(record, lambda loaded: _of_now(loaded, record))
    except CheckpointRefused as error:
        fresh = refusal(error)
        if not fresh:
            raise
    saved = of_record(record)
    known = {(finding.reason, finding.layer) for finding in saved}
    new = (finding for finding in fresh if (finding.reason, finding.layer) not in known)
    found = (*saved, *(_with_id(finding, record.id) for finding in new))
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))


def of_record(record: Checkpoint) -> tuple[Finding, ...]:
    """What the save gate found of a checkpoint; nothing where nobody looked."""
    return addressed(record.findings or (), record.id)


def addressed(findings: Iterable[dict[str, Any]], checkpoint_id: str) -> tuple[Finding, ...]:
    """Recorded findings about a checkpoint, with remedies that can be sent as they stand."""
    return tuple(_with_id(Finding(**one), checkpoint_id) for one in findings)


def _of_now(loaded: Loaded, record: Checkpoint) -> tuple[Finding, ...]:
    gap = record.metrics.get("train_eval_gap")
    known = loaded.about.evidence(fingerprint=record.fingerprint, gap_points=gap)
    return diagnose(loaded.network, known, "publish")


def _with_id(finding: Finding, checkpoint_id: str) -> Finding:
    return replace(finding, remedy=finding.remedy.replace("{id}", checkpoint_id))
