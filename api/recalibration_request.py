"""What a recalibration may ask for: from a body to rows and numbers that its network allows.

It asks for no record and no file; what is here decides in `api.recalibrations`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isinf
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError, WithJsonSchema

from api import repeats
from api.bodies import parse_json
from api.problems import Invalid, Refusal, invalid, refusal_of
from api.serving.inputs import Rows, rows_of
from api.validation import FieldError
from core.checkpoints import Checkpoint
from core.ids import NAME
from core.operations import NewOperation
from model.checkpoint import Loaded
from model.data.dataset import Facts
from model.data.inputs import narrowed
from model.errors import InputRefused, SpecRefused
from model.networks.indices import refuse_indices
from model.predict import refuse_rows
from model.recalibrate import NO_NORM, Method, rows_fingerprint, why_not
from model.spec import DATASET_NAME, MAX_SEED, Part, RunSpec
from model.statistics.modes import batch_norms
from model.training.arrays import dtype_of

BY_BATCH = frozenset({"pooled", "ema"})  # methods in which a batch is normalized by itself
SOURCE_ROWS = 16.0

RevisionName = Annotated[
    Annotated[str, Field(pattern=f"^{NAME}$")] | None,
    Field(description="Of the revision, among those of its weights; null: r1, r2, …"),
]


class RecalibrateRequest(Part):
    """How new running statistics are made; `{}` measures them on the own training rows."""

    method: Method = Field(
        "precise",
        description="`precise`: layer by layer over all rows. `pooled`: in one pass, every batch "
        "normalized by itself. `ema`: averaged as in training. `adapt`: the old statistics mixed "
        "with those of the rows.",
    )
    dataset: Annotated[str, Field(pattern=DATASET_NAME)] | None = Field(
        None,
        description="Id or name of the dataset whose rows are used: all of them, or of the "
        "checkpoint's own dataset its training rows. Null: its own.",
    )
    rows: Annotated[
        Any,
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "integer", "minimum": 1},
                    {"type": "array", "minItems": 1, "items": {"type": "array", "items": {}}},
                    {"type": "null"},
                ]
            }
        ),
    ] = Field(
        None,
        description="How many of them, drawn by `seed`; or the rows themselves, raw and without "
        "targets, one nested list per row. Null: all of them.",
    )
    batch_rows: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None,
        description="Rows of one batch; null: a sixteenth of the rows, or the run's for `pooled` "
        "and `ema`, which need two.",
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Orders the rows.")
    momentum: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="`ema` alone: share of the newest batch; null: all weigh the same."
    )
    source_rows: Annotated[float, Field(ge=0, le=1e12)] | None = Field(
        None, description="`adapt` alone: rows that the old statistics count as; null: 16."
    )
    name: RevisionName = None
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto` takes a GPU while a GPU worker is alive."
    )
    threads: Annotated[int, Field(ge=1, le=64)] = Field(1, description="CPU threads.")

    @property
    def least_rows(self) -> int:
        """Rows that the method needs."""
        return 1 if self.method == "adapt" else 2


_REQUEST = TypeAdapter(RecalibrateRequest)


@dataclass(frozen=True)
class Wanted:
    """A request that its network allows."""

    request: RecalibrateRequest  # its `rows` are a number, or null
    rows: Rows | None  # (n, *input_shape), where the request has them
    spec: RunSpec
    facts: Facts  # of what the network was trained on
    hash: str  # what an idempotency key stands for

    @property
    def batch_rows(self) -> int:
        """Rows of one batch at most; where nobody says, a worker takes as many as fit."""
        default = self.spec.batch_size if self.request.method in BY_BATCH else 1
        return self.request.batch_rows or default

    def operation(
        self, record: Checkpoint, dataset_id: str | None = None, rows_key: str | None = None
    ) -> NewOperation:
        """The row that it becomes.

        Args:
            dataset_id: whose rows are used.
            rows_key: the file with the rows that were sent.
        """
        request = self.request
        params = request.model_dump(mode="json", exclude={"dataset", "device", "threads"})
        if request.source_rows is None:
            params["source_rows"] = SOURCE_ROWS
        return NewOperation(
            kind="recalibrate",
            params=params | {"rows_key": rows_key},
            checkpoint_id=record.id,
            dataset_id=dataset_id,
            device=request.device,
            threads=request.threads,
        )


def decode(body: bytes, loaded: Loaded, max_rows: int) -> Wanted:
    """The request in a body about a checkpoint.

    Args:
        max_rows: of those that are sent along.

    Raises:
        Refusal: 400 for what is not JSON, 413 for too many rows, 422 for fields at fault.
        SpecRefused: the network has no batch norm, of any kind.
    """
    request = _request(body)
    if not batch_norms(loaded.network):
        raise no_norm(why_not(loaded.network))
    errors = list(_errors(request, loaded.spec))
    if errors:
        raise Invalid(*errors)
    if not isinstance(request.rows, list):
        told = request.model_dump(mode="json")
        return Wanted(request, None, loaded.spec, loaded.facts, repeats.hash_of(told))
    _refuse_too_many(len(request.rows), max_rows)
    try:
        rows = _usable(rows_of(request.rows, loaded.facts, body), loaded, request.least_rows)
    except InputRefused as error:
        raise _of_rows(error) from None
    request = request.model_copy(update={"rows": None})
    told = request.model_dump(mode="json") | {"rows": rows_fingerprint(rows)}
    return Wanted(request, rows, loaded.spec, loaded.facts, repeats.hash_of(told))


def no_norm(message: str = NO_NORM) -> SpecRefused:
    """The refusal of a network without batch norm."""
    return SpecRefused("checkpoint", message, "NO_BATCH_NORM")


def _request(body: bytes) -> RecalibrateRequest:
    value = parse_json(body, finite=False)
    if isinstance(value, dict) and any(isinstance(v, float) and isinf(v) for v in value.values()):
        raise Refusal(400, "MALFORMED_JSON", "The body is not JSON: a number beyond float64.")
    try:
        return _REQUEST.validate_python(value)
    except ValidationError as error:
        raise invalid(error, value) from None


def _refuse_too_many(rows: int, limit: int) -> None:
    if rows > limit:
        detail = f"At most {limit} rows may be sent, these are {rows}."
        raise Refusal(413, "TOO_MANY_ROWS", detail, rows=rows, limit=limit)


def _errors(request: RecalibrateRequest, spec: RunSpec) -> Iterator[FieldError]:
    """What no network and no dataset would make right."""
    by_batch = request.method in BY_BATCH
    if request.momentum is not None and request.method != "ema":
        yield FieldError(path="momentum", message="is for method ema alone")
    if request.source_rows is not None and request.method != "adapt":
        yield FieldError(path="source_rows", message="is for method adapt alone")
    if by_batch and (spec.batch_size if request.batch_rows is None else request.batch_rows) < 2:
        message = f"{request.method} needs batches of at least 2 rows: one has no variance"
        yield FieldError(path="batch_rows", message=message)
    if isinstance(request.rows, list):
        if request.dataset is not None:
            yield FieldError(path="dataset", message="must be null where the rows are sent")
    elif isinstance(request.rows, bool) or not isinstance(request.rows, int | None):
        yield FieldError(path="rows", message="must be a whole number, or a list of rows")


def _usable(rows: Rows, loaded: Loaded, least: int) -> Rows:
    """Rows that the network can read, in its shape and in the narrowest type that holds them."""
    if len(rows) < least:
        raise InputRefused(f"expected at least {least} rows, got {len(rows)}", rows=len(rows))
    rows = rows.reshape(len(rows), *loaded.facts.input_shape)
    dtype = np.float64 if dtype_of(loaded.spec).itemsize == 8 else np.float32
    with np.errstate(over="ignore"):  # refused below, by row; or kept in float64
        scaled = loaded.scaling.apply(rows, dtype=dtype)
        refuse_rows(np.isfinite(scaled), f"too large for {np.dtype(dtype).name}")
        refuse_indices(loaded.network, rows)
        return narrowed(rows)


def _of_rows(error: InputRefused) -> Refusal:
    """The refusal of rows under the name that they have in this request."""
    refusal, row = refusal_of(error), error.metadata.get("row")
    path = "rows" if row is None else f"rows.{row}"
    refusal.errors = [FieldError(path=path, message=error.message)]
    return refusal
