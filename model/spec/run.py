"""The whole of what may be asked of a run, and the hash of what decides its numbers."""

import hashlib
import json
from collections import Counter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, WithJsonSchema, model_validator

from model.spec.measures import Measure
from model.spec.networks import Network
from model.spec.norms import NoNorm, Norm
from model.spec.parts import MAX_SEED, Fraction, Label, LabelKey, Part, at_most, plain_text
from model.spec.training import Constant, Init, Loss, Optimizer, Schedule, Sgd, Span

MAX_MEASURES = 16
MAX_LABELS = 32
Sampling = Literal["permutation", "class_sorted", "with_replacement"]
DATASET_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"


class Split(Part):
    """How rows become training, validation and test rows. A dataset's own test split wins."""

    test: Fraction = Field(
        0.2,
        description="Fraction of all rows held out for the test metrics; not read where the "
        "dataset brings its own test rows.",
    )
    validation: Fraction = Field(
        0.0,
        description="Fraction of all rows (of the training rows, where the dataset brings its own "
        "test rows) that `select: best` chooses on.",
    )
    calibration: Fraction = Field(
        0.1,
        description="Fraction of the remaining training rows that train nothing: on them the "
        "thresholds of drift are calibrated. Not taken where that is under 256 rows, too few to "
        "calibrate with.",
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Seed of the split alone.")
    stratify: bool = Field(True, description="Keep each class's share in every part.")

    @model_validator(mode="after")
    def _leaves_rows_to_train(self) -> "Split":
        if self.test + self.validation >= 1:
            raise ValueError("test and validation together must leave rows to train on")
        return self


def _each_once(measures: tuple[Measure, ...]) -> tuple[Measure, ...]:
    counted = Counter(measure.kind for measure in measures)
    twice = [kind for kind, count in counted.items() if count > 1]
    if twice:
        raise ValueError(f"each kind may be asked for once; {', '.join(twice)} is there twice")
    return measures


class RunSpec(Part):
    """Everything that decides a run. Two runs of one spec give the same numbers on one machine."""

    name: Label | None = Field(None, description="For people; not part of the spec's hash.")
    dataset: Annotated[str, Field(pattern=DATASET_NAME)] = Field(
        description="Name of a built-in dataset, or the id or name of an uploaded one."
    )
    split: Split = Field(Split(), description="Training, validation and test rows.")
    scaling: Literal["standard", "minmax", "binary", "none"] = Field(
        "standard",
        description="Input scaling, fitted on the training rows; `binary` is 1 above the middle "
        "between the smallest and the largest of all their values, else 0.",
    )
    network: Network = Field(description="The layers.")
    norm: Norm = Field(
        NoNorm(kind="none"), description="The norm of every norm layer; a bare kind is enough."
    )
    init: Init = Field(Init(), description="How weights start.")
    loss: Loss | None = Field(
        None, description="Default: cross_entropy for classes, squared_error for numbers."
    )
    optimizer: Optimizer = Field(Sgd(kind="sgd"), description="How weights move.")
    schedule: Schedule = Field(Constant(kind="constant"), description="How lr moves.")
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        32, description="Rows per optimizer step; at most the training rows."
    )
    sampling: Sampling = Field(
        "permutation",
        description="Every row once an epoch in random company, or in that of its class (what "
        "batch norm must not be given), or independent draws.",
    )
    tail: Literal["keep", "merge", "drop"] = Field(
        "keep",
        description="A short last batch of an epoch: train on it, add it to the batch before, "
        "or leave its rows out of that epoch.",
    )
    budget: Span = Field(Span(epochs=20), description="Length of training.")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Of initialization, order and dropout.")
    precision: Literal["float32", "float64", "bfloat16"] = Field(
        "float32", description="Arithmetic; bfloat16 is mixed precision and needs CUDA."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto` takes a GPU while a GPU worker is alive."
    )
    threads: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="CPU threads; another count gives other numbers."
    )
    evaluate_every: Span = Field(Span(epochs=1), description="Between two evaluations.")
    checkpoint_every: Span | None = Field(
        None, description="Between two checkpoints; null: one, at the end."
    )
    select: Literal["last", "best"] = Field(
        "last", description="`best` chooses on the validation rows, never on the test rows."
    )
    measures: Annotated[
        tuple[Measure, ...],
        Strict(False),
        at_most(MAX_MEASURES),
        AfterValidator(_each_once),
    ] = Field(
        (),
        max_length=MAX_MEASURES,
        description="What is looked at while the run trains, each kind once; a bare kind is "
        "enough. They change no number of the run and are not part of the hash.",
    )
    labels: Annotated[
        dict[LabelKey, Annotated[str, Field(max_length=200), AfterValidator(plain_text)]],
        WithJsonSchema(
            {
                "type": "object",
                "maxProperties": MAX_LABELS,
                "propertyNames": {"pattern": "^[A-Za-z0-9_.-]{1,63}$"},
                "additionalProperties": {"type": "string", "maxLength": 200},
            }
        ),
        at_most(MAX_LABELS),
    ] = Field(
        {}, max_length=MAX_LABELS, description="Free pairs to filter by; not part of the hash."
    )

    @property
    def hash(self) -> str:
        """sha256 over everything that decides the numbers; name, labels and measures do not."""
        body = self.model_dump(mode="json", exclude={"name", "labels", "measures"})
        body["measures"] = []  # as specs were hashed when nothing could be measured
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
