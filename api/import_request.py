"""What comes with an imported checkpoint: its spec, and what neither spec nor file say.

It asks for no record and reads no tensor.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, ValidationError, WithJsonSchema

from api.bodies import parse_json
from api.problems import Invalid, Refusal, invalid
from api.uploads import Received
from api.validation import ROOT, FieldError, cut
from model.data.options import Limits
from model.data.scaling import Scaling
from model.signature import Signature
from model.spec import MAX_STEPS, Part, RunSpec, plain_text

PARTS = frozenset({"file", "spec", "about"})
ELSEWHERE = "elsewhere"  # the dataset of what was trained on none of ours
MOST_LAYERS = 2_000

_LIMITS = Limits()
_SCALING = {
    "anyOf": [
        {
            "type": "object",
            "required": ["kind", "divisor", "shift", "scale"],
            "additionalProperties": False,
            "properties": {
                "kind": {"enum": ["standard", "minmax", "binary", "none"]},
                "divisor": {"type": "number"},
                "shift": {"type": "array", "items": {}},
                "scale": {"type": "array", "items": {}},
            },
        },
        {"type": "null"},
    ]
}

Axis = Annotated[int, Field(ge=1, le=_LIMITS.max_columns)]
ClassName = Annotated[str, Field(max_length=200), AfterValidator(plain_text)]
LayerName = Annotated[str, Field(min_length=1, max_length=200)]
T = TypeVar("T", bound=BaseModel)


class Frozen(Part):
    """Layers whose running statistics were to stay as they are in another checkpoint."""

    origin: Annotated[str, Field(alias="from", pattern="^ckpt_[0-9a-f]{32}$")] = Field(
        description="The checkpoint that they were frozen with."
    )
    layers: list[LayerName] = Field(
        min_length=1, max_length=MOST_LAYERS, description="Their state-dict prefixes, such as `1`."
    )


class ImportAbout(Part):
    """What is known of a checkpoint that was trained elsewhere; everything may be left out."""

    input_shape: list[Axis] | None = Field(
        None,
        min_length=1,
        max_length=3,
        description="Axes of one row: (features) or (channels, height, width). Null: those of the "
        "dataset that the spec names.",
    )
    classes: list[ClassName] | None = Field(
        None,
        min_length=1,
        max_length=_LIMITS.max_classes,
        description="With `input_shape`: names by index of the output.",
    )
    outputs: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        None, description="With `input_shape`, of a regression: numbers per row."
    )
    images: bool = Field(
        False, description="With `input_shape`: rows are pixels, divided by 255 first."
    )
    scaling: Annotated[Any, WithJsonSchema(_SCALING)] = Field(
        None,
        description="As it was fitted elsewhere, y = (x / divisor - shift) / scale, or for "
        "`binary` whether that is above 0, with one number per feature or per channel. Null: that "
        "of a file of ours, else the spec's, fitted on the training rows of its dataset, else "
        "none.",
    )
    step: Annotated[int, Field(ge=0, le=MAX_STEPS)] | None = Field(
        None, description="Optimizer steps done. Null: what a file of ours says, else 0."
    )
    batches: Annotated[int, Field(ge=0, le=MAX_STEPS)] | None = Field(
        None,
        description="Batches that every norm layer must have counted. Null: what a file of ours "
        "says, else unknown.",
    )
    averaged: bool | None = Field(
        None,
        description="Whether the weights are an average, on which no statistics were measured. "
        "Null: what the file says.",
    )
    frozen: Frozen | None = Field(
        None, description="Layers whose statistics were to stay; the diagnosis tells if they did."
    )

    def signature(self) -> Signature | None:
        """What the network takes and gives; None where a dataset says it.

        Raises:
            Invalid: fields that contradict each other.
        """
        if self.input_shape is None:
            given = {"classes": self.classes, "outputs": self.outputs, "images": self.images}
            alone = [name for name, value in given.items() if value]
            if alone:
                raise _invalid(f"about.{alone[0]}", "is for an import with input_shape alone")
            return None
        if prod(self.input_shape) > _LIMITS.max_columns:
            message = f"a row may have at most {_LIMITS.max_columns} numbers"
            raise _invalid("about.input_shape", message)
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise _invalid("about.classes", "a name stands twice")
        classes = None if self.classes is None else tuple(self.classes)
        try:
            return Signature(tuple(self.input_shape), classes, self.outputs, self.images)
        except ValueError as error:
            raise _invalid("about", str(error)) from error


@dataclass(frozen=True)
class Wanted:
    """An import as it was asked for."""

    spec: RunSpec
    about: ImportAbout
    signature: Signature | None  # None: the spec's dataset says it
    scaling: Scaling | None  # as the request has it


def parsed(received: Received, limit: int) -> Wanted:
    """The parts of an import beside its file.

    Args:
        limit: bytes of each of them.

    Raises:
        Refusal: 400 for what is not JSON, 413 for too much of it, 422 for fields at fault.
    """
    missing = [name for name in ("file", "spec") if name not in received.paths]
    if missing:
        raise Invalid(*(FieldError(path=name, message="is required") for name in missing))
    spec = _json("spec", received.paths["spec"], limit)
    told = _json("about", received.paths["about"], limit) if "about" in received.paths else {}
    about = _valid(ImportAbout, "about", told)
    signature = about.signature()
    if signature is not None and isinstance(spec, dict):
        spec = {"dataset": ELSEWHERE} | spec
    return Wanted(_valid(RunSpec, "spec", spec), about, signature, _scaling(about.scaling))


def _scaling(given: Any) -> Scaling | None:
    try:
        return None if given is None else Scaling.parsed(given)
    except ValueError as error:
        raise _invalid("about.scaling", str(error)) from None


def _json(part: str, path: Path, limit: int) -> Any:
    if path.stat().st_size > limit:
        detail = f"The part {part} may have at most {limit} bytes."
        raise Refusal(413, "BODY_TOO_LARGE", detail, part=part, limit_bytes=limit)
    try:
        return parse_json(path.read_bytes())
    except Refusal as refused:
        why = refused.metadata["why"]
        detail = f"The part {part} is not JSON: {why}."
        raise Refusal(400, refused.reason, detail, part=part, why=why) from None


def _valid(kind: type[T], part: str, value: Any) -> T:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        found = invalid(error, value).errors or []
        raise Invalid(*(_below(part, one) for one in found)) from None


def _below(part: str, error: FieldError) -> FieldError:
    path = part if error.path == ROOT else cut(f"{part}.{error.path}")
    return FieldError(path=path, message=error.message)


def _invalid(path: str, message: str) -> Invalid:
    return Invalid(FieldError(path=path, message=message))
