"""New running statistics for the weights of a checkpoint: in `client.checkpoints`.

The checkpoint stays as it is. A revision is another one with the same weights.
"""

import operator
from typing import Any, Literal

import numpy as np

from evalmode.checkpoints import checkpoint_path
from evalmode.predictions import raw_rows
from evalmode.resources import Checkpoint, OperationRecord
from evalmode.steps import Emitting, Steps, fetch, given, once, pages, post_json

Method = Literal["precise", "pooled", "ema", "adapt"]


def recalibrate(
    checkpoint: str,
    method: Method = "precise",
    *,
    dataset: str | None = None,
    rows: Any = None,
    batch_rows: int | None = None,
    seed: int = 0,
    momentum: float | None = None,
    source_rows: int | None = None,
    name: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    idempotency_key: str | None = None,
) -> Steps[OperationRecord]:
    """Measure the running statistics of a checkpoint anew; `.wait()` waits for the revision.

    Args:
        checkpoint: its id.
        method: `"precise"` measures layer by layer over all rows; `"pooled"` in one pass,
            every batch normalized by itself; `"ema"` averages as training does; `"adapt"`
            mixes the old statistics with those of the rows.
        dataset: id or name of the dataset whose rows are used; None is the training rows.
        rows: how many of them; or the rows themselves, raw and without targets, as a numpy
            array or lists, (rows, *input_shape).
        batch_rows: rows of one batch.
        seed: orders and chooses the rows.
        momentum: `"ema"`: share of the newest batch, 0 to 1.
        source_rows: `"adapt"`: how many rows the old statistics weigh as much as.
        name: of the revision among those of its weights; else r1, r2, …
        device: `"auto"`, `"cpu"` or `"cuda"`.
        threads: of a CPU.
        idempotency_key: two calls with one key and the same fields are one; drawn if None.

    Raises:
        Conflict: the name is taken.
        Invalid: the network has no running statistics, or the rows are not of its shape.
        ValueError: rows that are not finite.
    """
    body = given(
        method=method,
        dataset=dataset,
        rows=_count_or_rows(rows),
        batch_rows=batch_rows,
        seed=seed,
        momentum=momentum,
        source_rows=source_rows,
        name=name,
        device=device,
        threads=threads,
    )
    path = checkpoint_path(checkpoint, "recalibrate")
    return fetch(post_json(path, body, once(idempotency_key)), OperationRecord.model_validate)


def _count_or_rows(rows: Any) -> Any:
    if rows is None:
        return None
    return raw_rows(rows).tolist() if np.ndim(rows) else operator.index(rows)


def revise(
    checkpoint: str,
    statistics_from: str,
    name: str | None = None,
    idempotency_key: str | None = None,
) -> Steps[OperationRecord]:
    """Put the running statistics of one checkpoint on the weights of another.

    Args:
        checkpoint: id of the one whose weights are used.
        statistics_from: id of the one whose statistics are used; its layers must be the same.
        name: of the revision among those of its weights; else r1, r2, …
        idempotency_key: two calls with one key and the same fields are one; drawn if None.

    Raises:
        Conflict: the name is taken.
        Invalid: the layers of the two are not the same.
    """
    body = given(statistics_from=statistics_from, name=name)
    path = checkpoint_path(checkpoint, "revisions")
    return fetch(post_json(path, body, once(idempotency_key)), OperationRecord.model_validate)


def list_all(checkpoint: str) -> Emitting[Checkpoint]:
    """Every revision of a checkpoint's weights, newest first; the original is none of them."""
    return pages(checkpoint_path(checkpoint, "revisions"), {}, Checkpoint.model_validate)
