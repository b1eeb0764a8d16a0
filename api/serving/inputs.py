"""From the body of a prediction to an array of raw rows, in every form that is accepted.

No form is trusted: sizes are computed from headers before memory is asked for, and nothing is
ever unpickled. Whether the values suit the network is checked by `model.predict`.
"""

import io
import struct
import warnings
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field, TypeAdapter, ValidationError, WithJsonSchema

from api.bodies import JSON, parse_json
from api.problems import Refusal, invalid
from model.data.dataset import Facts
from model.errors import InputRefused
from model.spec import Part

RAW = "application/octet-stream"
NPY = ("application/x-npy", "application/npy")
IMAGES = ("image/png", "image/jpeg")
MEDIA_TYPES = (JSON, RAW, *NPY, *IMAGES)

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # by channels
_NPY_MAGIC = b"\x93NUMPY"
_NPY_HEADER_BYTES = 10_000
_MAX_AXES = 8
_MAX_SIZE = 10**9  # of one axis

Extra = Literal["probabilities", "logits"]
Rows = npt.NDArray[np.generic]


class PredictRequest(Part):
    """Rows to answer, as JSON."""

    inputs: Annotated[
        Any,
        WithJsonSchema(
            {
                "type": "array",
                "minItems": 1,
                "items": {"type": "array", "items": {"anyOf": [{"type": "number"}, {}]}},
            }
        ),
    ] = Field(description="Raw rows, as in the dataset: one nested list per row.")
    extras: Annotated[tuple[Extra, ...], Field(strict=False)] = Field(
        (), alias="return", max_length=2, description="What to answer besides the predictions."
    )
    revision: str | None = Field(
        None,
        description="Name of other running statistics of the checkpoint to answer with, as in the "
        "query.",
    )


_REQUEST = TypeAdapter(PredictRequest)


@dataclass(frozen=True)
class Sent:
    """A prediction's body as it came."""

    media_type: str
    body: bytes
    shape: str | None = None  # the X-Shape header


@dataclass(frozen=True)
class Parsed:
    """A body as far as it can be read before it is known which network answers."""

    sent: Sent
    request: PredictRequest | None  # of a JSON body

    @property
    def revision(self) -> str | None:
        """The running statistics that the body names."""
        return None if self.request is None else self.request.revision


@dataclass(frozen=True)
class Asked:
    """What a prediction asks for."""

    rows: Rows
    extras: frozenset[Extra] = frozenset()


def parse(sent: Sent) -> Parsed:
    """The fields of a request.

    Raises:
        Refusal: 400 for what is not JSON, 422 for other fields.
    """
    if sent.media_type != JSON:
        return Parsed(sent, None)
    value = parse_json(sent.body, finite=False)
    try:
        return Parsed(sent, _REQUEST.validate_python(value))
    except ValidationError as error:
        raise invalid(error, value) from None


def decode(parsed: Parsed, facts: Facts, max_rows: int) -> Asked:
    """The rows of a request.

    Args:
        facts: of the dataset that the network was trained on.
        max_rows: above it the request is too large, whatever its bytes.

    Raises:
        InputRefused: no rows, or rows that are no numbers; names the first row at fault.
        Refusal: 413 for too many rows.
    """
    sent, request = parsed.sent, parsed.request
    if request is not None:
        asked = _from_json(request, sent.body, facts, max_rows)
    elif sent.media_type in IMAGES:
        asked = Asked(_from_image(sent.body, facts))
    elif sent.media_type in NPY or (sent.shape is None and sent.body.startswith(_NPY_MAGIC)):
        asked = Asked(_from_npy(sent.body))
    else:
        asked = Asked(_from_raw(sent.body, sent.shape))
    _refuse_too_many(len(asked.rows), max_rows)
    return asked


def _refuse_too_many(rows: int, limit: int) -> None:
    if rows > limit:
        detail = f"A prediction has at most {limit} rows, this one has {rows}."
        raise Refusal(413, "TOO_MANY_ROWS", detail, rows=rows, limit=limit)


def _from_json(request: PredictRequest, body: bytes, facts: Facts, max_rows: int) -> Asked:
    if not isinstance(request.inputs, list):
        raise InputRefused("must be a list of rows")
    _refuse_too_many(len(request.inputs), max_rows)
    rows = rows_of(request.inputs, facts, body)
    return Asked(rows, frozenset(request.extras))


def rows_of(lists: list[Any], facts: Facts, body: bytes) -> Rows:
    """Nested lists as an array, (n, *input_shape) or (n, product of input_shape).

    Args:
        body: the JSON that they are from. numpy takes true for 1 among numbers, so words are
            looked for.

    Raises:
        InputRefused: no rows, or rows that are no numbers; names the first row at fault.
        Refusal: 400 for a number that is none in float64.
    """
    rows = _array(lists, facts, has_words=b"true" in body or b"false" in body)
    if rows.dtype.kind == "f" and np.isinf(rows).any():
        raise Refusal(400, "MALFORMED_JSON", "The body is not JSON: a number beyond float64.")
    return rows


def _array(rows: list[Any], facts: Facts, *, has_words: bool) -> Rows:
    if not rows:
        raise InputRefused("expected at least one row, got none", rows=0)
    try:
        array = np.array(rows)
    except (ValueError, OverflowError):  # ragged, or too deep for an array
        array = np.empty(0, object)
    good = array.dtype.kind in "fiu" and array.ndim > 1 and not has_words
    if good and array.shape[1:] in (facts.input_shape, (prod(facts.input_shape),)):
        return array
    return np.stack([_row(row, facts, index) for index, row in enumerate(rows)])


def _row(row: Any, facts: Facts, index: int) -> Rows:
    """One row alone, to say which one is at fault."""
    width = prod(facts.input_shape)
    try:
        array = np.array(row)
    except OverflowError:  # an integer beyond float64 among numbers with a point
        array = np.array(row, object)
    except ValueError:  # ragged, or too deep for an array
        array = np.empty(0, object)
    if not isinstance(row, list) or array.shape not in (facts.input_shape, (width,)):
        expected = list(facts.input_shape)
        raise InputRefused(
            f"row {index} must be a list of shape {expected}", row=index, expected=expected
        )
    if _has_bool(row) or not all(isinstance(one, int | float) for one in array.ravel().tolist()):
        raise InputRefused(f"row {index} holds something that is not a number", row=index)
    try:
        return array.astype(np.float64)
    except OverflowError:
        message = f"row {index} holds a number beyond the range of float64"
        raise InputRefused(message, row=index) from None


def _has_bool(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_bool, value))
    return isinstance(value, bool)


def _from_raw(body: bytes, shape: str | None) -> Rows:
    if shape is None:
        raise InputRefused("X-Shape is missing: the shape of the float32 rows, as 32,64")
    sizes = [size.strip() for size in shape.split(",")]
    if len(sizes) > _MAX_AXES or not all(
        s.isascii() and s.isdecimal() and len(s) < 10 for s in sizes
    ):
        raise InputRefused("X-Shape must be whole numbers with commas between, as 32,64")
    axes = tuple(map(int, sizes))
    return _viewed(body, np.dtype("<f4"), axes)


def _viewed(
    body: bytes, dtype: np.dtype[Any], axes: tuple[int, ...], order: Literal["C", "F"] = "C"
) -> Rows:
    expected = prod(axes) * dtype.itemsize
    if expected != len(body):
        raise InputRefused(
            f"{list(axes)} of {dtype.name} are {expected} bytes, the body has {len(body)}",
            expected_bytes=expected,
            bytes=len(body),
        )
    if not body:  # numpy makes no array of some such shapes
        raise InputRefused("expected at least one row, got no number at all", rows=0)
    return np.frombuffer(body, dtype).reshape(axes, order=order)


def _from_npy(body: bytes) -> Rows:
    file = io.BytesIO(body)
    try:
        axes, fortran, dtype = _npy_header(file)
    except (ValueError, struct.error, SyntaxError, TypeError, UnicodeDecodeError):
        raise InputRefused("not a readable .npy file") from None
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise InputRefused("the .npy file must hold numbers of at most 64 bits")
    if not 0 < len(axes) <= _MAX_AXES or max(axes) >= _MAX_SIZE:
        raise InputRefused("the .npy file must hold rows; its shape is none of such")
    return _viewed(body[file.tell() :], dtype, axes, "F" if fortran else "C")


def _npy_header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy warns of headers that it can only guess at
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
            version, np.lib.format.read_array_header_2_0
        )
        return read(file, max_header_size=_NPY_HEADER_BYTES)


def _from_image(body: bytes, facts: Facts) -> Rows:
    if not facts.images or len(facts.input_shape) != 3:
        raise InputRefused("this network was not trained on images; send its rows as numbers")
    channels, height, width = facts.input_shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of decompression bombs, above all
            with Image.open(io.BytesIO(body), formats=("PNG", "JPEG")) as image:
                _require_size(image, width, height)
                pixels = np.asarray(image.convert(_MODES[channels]))
    except (OSError, SyntaxError, ValueError, KeyError, Image.DecompressionBombError, Warning):
        raise InputRefused("not a readable PNG or JPEG image of 8 bits") from None
    return pixels.reshape(1, height, width, channels).transpose(0, 3, 1, 2)


def _require_size(image: Image.Image, width: int, height: int) -> None:
    if image.size != (width, height):
        given = f"{image.width} x {image.height}"
        raise InputRefused(
            f"the image is {given} pixels, the network takes {width} x {height}",
            expected=[width, height],
            got=list(image.size),
        )
    if image.mode not in {"1", "L", "LA", "P", "RGB", "RGBA"}:
        raise ValueError(image.mode)
