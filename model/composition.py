"""A checkpoint file whose weights lie in one safetensors file and its statistics in another.

Both have the same layout of bytes, so the whole is the weights' file with another header and
other bytes where statistics lie: it can be read in part without ever being put together.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from model.errors import CheckpointRefused
from model.statistics.fingerprint import is_statistic

LENGTH_BYTES = 8  # in front of every safetensors file: how long its header is
MOST_HEADER_BYTES = 100_000_000  # the format's own limit
METADATA = "__metadata__"

Source = Literal["head", "weights", "statistics"]


@dataclass(frozen=True)
class Piece:
    """Consecutive bytes of one source."""

    source: Source  # head: the composition's own text
    start: int
    length: int


@dataclass(frozen=True)
class Composition:
    """A file as the pieces that it is made of, in order."""

    head: bytes  # length and header
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Bytes of the whole."""
        return sum(piece.length for piece in self.pieces)

    def within(self, start: int, length: int) -> Iterator[Piece]:
        """The pieces of `length` bytes from `start`, the first and the last cut to fit."""
        end, at = start + length, 0
        for piece in self.pieces:
            first, last = max(start, at), min(end, at + piece.length)
            if first < last:
                yield Piece(piece.source, piece.start + first - at, last - first)
            at += piece.length


def head_bytes(first: bytes) -> int:
    """Bytes in front of a file's data, from its first eight.

    Raises:
        CheckpointRefused: that cannot be a safetensors file.
    """
    length = int.from_bytes(first[:LENGTH_BYTES], "little")
    if len(first) < LENGTH_BYTES or length > MOST_HEADER_BYTES:
        raise CheckpointRefused("not a readable safetensors file")
    return LENGTH_BYTES + length


def header(head: bytes) -> dict[str, Any]:
    """The header of a file: type, shape and place of each tensor, and the metadata.

    Raises:
        CheckpointRefused: it is not JSON.
    """
    try:
        parsed = json.loads(head[LENGTH_BYTES:])
    except ValueError as error:
        raise CheckpointRefused("not a readable safetensors file") from error
    if not isinstance(parsed, dict):
        raise CheckpointRefused("not a readable safetensors file")
    return parsed


def with_length(header: dict[str, Any]) -> bytes:
    """A header as the bytes in front of a file's data."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def compose(weights_head: bytes, statistics_head: bytes) -> Composition:
    """The file that has the weights of one file and the statistics and metadata of another.

    Args:
        weights_head: the bytes in front of the data of a whole checkpoint.
        statistics_head: of a file with the running statistics alone.

    Raises:
        CheckpointRefused: the two do not belong together.
    """
    whole, part = header(weights_head), header(statistics_head)
    places = {name: place for name, place in part.items() if name != METADATA}
    _refuse_strangers(whole, places)
    head = with_length({METADATA: part[METADATA]} | _without_metadata(whole))
    pieces = [Piece("head", 0, len(head))]
    ordered = sorted(_without_metadata(whole).items(), key=lambda one: one[1]["data_offsets"][0])
    for name, place in ordered:
        is_other = name in places
        start, end = (places[name] if is_other else place)["data_offsets"]
        front = len(statistics_head if is_other else weights_head)
        pieces.append(Piece("statistics" if is_other else "weights", front + start, end - start))
    return Composition(head, tuple(_joined(pieces)))


def composed(weights: bytes, statistics: bytes) -> bytes:
    """The whole file in memory; see `compose`."""
    heads = weights[: head_bytes(weights)], statistics[: head_bytes(statistics)]
    whole = compose(*heads)
    sources = {"head": whole.head, "weights": weights, "statistics": statistics}
    views = {name: memoryview(content) for name, content in sources.items()}
    return b"".join(views[p.source][p.start : p.start + p.length] for p in whole.pieces)


def _without_metadata(header: dict[str, Any]) -> dict[str, Any]:
    return {name: place for name, place in header.items() if name != METADATA}


def _refuse_strangers(whole: dict[str, Any], places: dict[str, Any]) -> None:
    wanted = {name for name in _without_metadata(whole) if is_statistic(name)}
    same = all(
        whole[name][key] == place[key]
        for name, place in places.items()
        if name in whole
        for key in ("dtype", "shape")
    )
    if wanted != set(places) or not same:
        raise CheckpointRefused("the statistics are not those of this network")


def _joined(pieces: list[Piece]) -> Iterator[Piece]:
    """The same bytes in fewer pieces, where neighbours are neighbours in their file, too."""
    last: Piece | None = None
    for piece in pieces:
        if last and piece.source == last.source and piece.start == last.start + last.length:
            last = Piece(last.source, last.start, last.length + piece.length)
            continue
        if last is not None and last.length:
            yield last
        last = piece
    if last is not None and last.length:
        yield last
