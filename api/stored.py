"""The file of a checkpoint, from the files that its record names.

A revision has the weights of its original in one file and its own statistics in another; the two
are one file to everybody who loads or downloads it, and are never put together on disk.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from core.errors import FileMissing
from core.files import FileStore
from core.local_files import blocks
from model import checkpoint
from model.checkpoint import Loaded
from model.composition import LENGTH_BYTES, Composition, compose, head_bytes


class Stored(Protocol):
    """What the record of a checkpoint knows of its file."""

    @property
    def key(self) -> str: ...  # noqa: D102
    @property
    def statistics_key(self) -> str | None: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Content:
    """Bytes that can be read in part."""

    size: int
    read: Callable[[int, int], Iterator[bytes]]  # blocks, given the first byte and how many


def load(files: FileStore, stored: Stored) -> Loaded:
    """A checkpoint in memory, in eval mode, verified against its record.

    Raises:
        FileMissing, StoreUnavailable: a file cannot be read.
        CheckpointRefused: it is not what was written.
    """
    weights, own = files.local(stored.key), stored.statistics_key
    statistics = None if own is None else files.local(own)
    try:
        return checkpoint.load(weights, stored.sha256, statistics=statistics)
    except FileNotFoundError as error:  # deleted since it was found
        raise FileMissing("The checkpoint has just been deleted.", key=stored.key) from error


def content(files: FileStore, stored: Stored) -> Content:
    """The bytes of a checkpoint, of which only headers are read before they are asked for.

    Raises:
        FileMissing, StoreUnavailable: a file cannot be read.
        CheckpointRefused: weights and statistics do not belong together.
    """
    if stored.statistics_key is None:
        return Content(files.size(stored.key), partial(files.read_range, stored.key))
    keys = {"weights": stored.key, "statistics": stored.statistics_key}
    whole = compose(*(_head(files, key) for key in keys.values()))
    return Content(whole.size, partial(_read, files, keys, whole))


def _head(files: FileStore, key: str) -> bytes:
    first = b"".join(files.read_range(key, 0, LENGTH_BYTES))
    return b"".join(files.read_range(key, 0, head_bytes(first)))


def _read(
    files: FileStore, keys: dict[str, str], whole: Composition, start: int, length: int
) -> Iterator[bytes]:
    with ExitStack() as stack:
        opened = {source: stack.enter_context(files.open(key)) for source, key in keys.items()}
        for piece in whole.within(start, length):
            if piece.source == "head":
                yield whole.head[piece.start : piece.start + piece.length]
            else:
                yield from blocks(opened[piece.source], piece.start, piece.length)
