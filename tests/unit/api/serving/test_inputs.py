"""Every form of a prediction's body gives the same rows, and nothing hostile gets far."""

import io
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.problems import Invalid, Refusal
from api.serving.inputs import Asked, Sent, decode, parse
from model.data.dataset import Facts
from model.errors import InputRefused

ROWS = np.array([[0.5, 1, 2, 3], [4, 5, 6, 7]], np.float32)


@pytest.fixture
def facts(make_facts: Callable[..., Facts]) -> Facts:
    return make_facts()


def decoded(sent: Sent, facts: Facts, max_rows: int) -> Asked:
    return decode(parse(sent), facts, max_rows)


def from_json(value: object, facts: Facts, max_rows: int = 10) -> Asked:
    return decoded(Sent("application/json", json.dumps(value).encode()), facts, max_rows)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def picture(array: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, quality=100)
    return file.getvalue()


@pytest.mark.parametrize(
    "sent",
    [
        Sent("application/json", json.dumps({"inputs": ROWS.tolist()}).encode()),
        Sent("application/octet-stream", ROWS.tobytes(), "2,4"),
        Sent("application/octet-stream", ROWS.tobytes(), " 2 , 4 "),
        Sent("application/octet-stream", npy(ROWS)),
        Sent("application/x-npy", npy(ROWS)),
        Sent("application/npy", npy(ROWS.astype(np.float64))),
        Sent("application/npy", npy(np.asfortranarray(ROWS))),
        Sent("application/npy", npy(ROWS.astype(">f4"))),
    ],
)
def test_every_form_gives_the_same_rows(sent: Sent, facts: Facts) -> None:
    assert np.array_equal(decoded(sent, facts, 10).rows, ROWS)


def test_a_revision_is_read_before_the_network_is_known() -> None:
    body = json.dumps({"inputs": "not looked at yet", "revision": "r1"}).encode()
    assert parse(Sent("application/json", body)).revision == "r1"
    assert parse(Sent("application/json", b'{"inputs": []}')).revision is None
    assert parse(Sent("application/octet-stream", b'{"revision": "r1"}')).revision is None


def test_what_to_return_is_read(facts: Facts) -> None:
    asked = from_json({"inputs": ROWS.tolist(), "return": ["logits", "probabilities"]}, facts)
    assert asked.extras == {"logits", "probabilities"}


def test_nested_rows_keep_their_shape(make_facts: Callable[..., Facts]) -> None:
    images = np.arange(24).reshape(2, 3, 2, 2)
    rows = from_json({"inputs": images.tolist()}, make_facts((3, 2, 2))).rows
    assert np.array_equal(rows, images)


@pytest.mark.parametrize(
    ("inputs", "row"),
    [
        ([], None),
        ([[1, 2, 3]], 0),
        ([[1, 2, 3, 4], [1, 2, 3]], 1),
        ([[1, 2, 3, 4], [1, 2, 3, [4]]], 1),
        ([1, 2, 3, 4], 0),
        ([[1, 2, 3, 4], 5], 1),
        ([[1, 2, 3, "4"]], 0),
        ([["1", "2", "3", "4"]], 0),
        ([[1, 2, 3, 4], [1, 2, 3, True]], 1),
        ([[True, False, True, False]], 0),
        ([[1, 2, 3, None]], 0),
        ([[1, 2, 3, {}]], 0),
        ([[[[[1, 2, 3, 4]]]]], 0),
        ([[1, 2, 3, 4], [1, 2, 3, 10**400]], 1),
        ([[1, 2, 3, 4], [1.5, 2, 3, 10**400]], 1),
        ({"0": [1, 2, 3, 4]}, None),
        ("1234", None),
        (None, None),
    ],
)
def test_rows_that_are_none_are_refused_by_number(
    inputs: Any, row: int | None, facts: Facts
) -> None:
    with pytest.raises(InputRefused) as refused:
        from_json({"inputs": inputs}, facts)
    assert refused.value.metadata.get("row") == row


@pytest.mark.parametrize("number", [2**63, 2**64, 2**70, -(2**64), 10**300])
def test_an_integer_of_any_size_is_a_number(number: int, facts: Facts) -> None:
    for rows in ([[1, -2, 3, number]], [[1, 2.5, 3, number], [1, 2, 3, 4]]):
        taken = from_json({"inputs": rows}, facts).rows
        assert np.array_equal(taken, np.array(rows, np.float64))


@pytest.mark.parametrize("first", [1, 1.5])
def test_an_integer_beyond_float64_is_told_as_such(first: float, facts: Facts) -> None:
    with pytest.raises(InputRefused, match="row 0 holds a number beyond the range"):
        from_json({"inputs": [[first, 2, 3, 10**400]]}, facts)


def test_a_number_beyond_float64_is_not_json(facts: Facts) -> None:
    body = b'{"inputs": [[1, 2, 3, 1e999]]}'
    with pytest.raises(Refusal) as refused:
        decoded(Sent("application/json", body), facts, 10)
    assert refused.value.reason == "MALFORMED_JSON"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({}, "inputs"),
        ({"inputs": [[1, 2, 3, 4]], "return": ["pickle"]}, "return.0"),
        ({"inputs": [[1, 2, 3, 4]], "return": "logits"}, "return"),
        ({"inputs": [[1, 2, 3, 4]], "mode": "train"}, "mode"),
        ([[1, 2, 3, 4]], "body"),
    ],
)
def test_other_fields_are_refused_by_path(value: Any, path: str, facts: Facts) -> None:
    with pytest.raises(Invalid) as refused:
        from_json(value, facts)
    assert [error.path for error in refused.value.errors] == [path]


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream"])
def test_too_many_rows_are_too_large(kind: str, facts: Facts) -> None:
    rows = np.zeros((11, 4), np.float32)
    as_json = json.dumps({"inputs": rows.tolist()}).encode()
    sent = Sent(kind, as_json if kind.endswith("json") else rows.tobytes(), "11,4")
    with pytest.raises(Refusal) as refused:
        decoded(sent, facts, 10)
    assert (refused.value.status_code, refused.value.reason) == (413, "TOO_MANY_ROWS")


@pytest.mark.parametrize(
    "shape",
    [None, "", "2", "2,5", "4,2,2", "-2,-4", "2.0,4", "two", "2,", "1" * 20, ",".join("1" * 9)],
)
def test_a_raw_body_must_have_the_size_of_its_shape(shape: str | None, facts: Facts) -> None:
    with pytest.raises(InputRefused):
        decoded(Sent("application/octet-stream", ROWS.tobytes(), shape), facts, 10)


@pytest.mark.parametrize("shape", ["0,4", "0", "0" + ",999999999" * 7])
def test_a_raw_body_of_no_rows_is_refused(shape: str, facts: Facts) -> None:
    with pytest.raises(InputRefused):
        decoded(Sent("application/octet-stream", b"", shape), facts, 10)


def lying_npy(header: str) -> bytes:
    text = header.encode() + b" " * (118 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00" + b"x" * 100,
        npy(ROWS)[:-1],
        npy(ROWS) + b"x",
        lying_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4), }"),
        lying_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (8589934592, 8589934592), }"),
        lying_npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 4), }"),
        lying_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }"),
        lying_npy("__import__('os').abort()"),
        lying_npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(1,) * 70}, }}") + b"1234",
        lying_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904), }"),
        npy(np.array(1.0)),
        npy(np.zeros((0, 4))),
        npy(np.array([["a"]])),
        npy(np.zeros((1, 4), bool)),
        npy(np.zeros((1, 4), np.complex64)),
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"x",
    ],
)
def test_a_hostile_npy_is_refused(body: bytes, facts: Facts) -> None:
    with pytest.raises(InputRefused):
        decoded(Sent("application/npy", body), facts, 10)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_gives_its_pixels(channels: int, make_facts: Callable[..., Facts]) -> None:
    pixels = np.arange(channels * 6, dtype=np.uint8).reshape(2, 3, channels)
    body = picture(pixels if channels > 1 else pixels[:, :, 0])
    rows = decoded(Sent("image/png", body), make_facts((channels, 2, 3), images=True), 1).rows
    assert np.array_equal(rows[0], pixels.transpose(2, 0, 1))


def test_a_jpeg_gives_about_its_pixels(make_facts: Callable[..., Facts]) -> None:
    pixels = np.full((8, 8), 130, np.uint8)
    facts = make_facts((1, 8, 8), images=True)
    rows = decoded(Sent("image/jpeg", picture(pixels, "JPEG")), facts, 1).rows
    assert np.abs(rows.astype(int) - 130).max() <= 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"GIF89a" + b"x" * 100,
        picture(np.zeros((2, 4), np.uint8)),
        picture(np.zeros((2, 3), np.uint8))[:40],
        picture(np.zeros((2, 3), np.uint16)),
    ],
)
def test_another_image_is_refused(body: bytes, make_facts: Callable[..., Facts]) -> None:
    with pytest.raises(InputRefused):
        decoded(Sent("image/png", body), make_facts((1, 2, 3), images=True), 1)


def test_an_image_of_another_size_is_told_both_sizes(make_facts: Callable[..., Facts]) -> None:
    body = picture(np.zeros((4, 5), np.uint8), "PNG")
    with pytest.raises(InputRefused) as refused:
        decoded(Sent("image/png", body), make_facts((1, 2, 3), images=True), 1)
    assert refused.value.metadata == {"expected": [3, 2], "got": [5, 4]}


def test_an_image_that_unpacks_to_gigabytes_is_not_unpacked(
    make_facts: Callable[..., Facts],
) -> None:
    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR"
    huge += struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0) + b"\0\0\0\0"
    with pytest.raises(InputRefused):
        decoded(Sent("image/png", huge), make_facts((3, 2, 3), images=True), 1)


def test_a_network_of_numbers_takes_no_image(facts: Facts) -> None:
    with pytest.raises(InputRefused):
        decoded(Sent("image/png", picture(np.zeros((2, 2), np.uint8))), facts, 1)
