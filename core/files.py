"""The file store: checkpoints and datasets as bytes under keys, in a folder or in S3.

A small protocol and the choice between its two implementations. Knows nothing of what the
bytes mean; which file counts is decided by the records.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from core.keys import StoredFile
from core.local_files import LocalFiles
from core.settings import Settings


class FileStore(Protocol):
    """Files under strict keys (`core.keys.checked`).

    Every method may raise StoreUnavailable; those that name one file raise FileMissing when
    the key has no bytes, and ValueError when it is no key. Methods block.
    """

    def put(self, path: Path, key: str) -> None:
        """Move the file at `path` under `key`, whole and durable, or not at all.

        A file that was there is replaced in one step. `path` is gone afterwards. Cheapest
        from a file in `scratch()`.
        """

    def open(self, key: str) -> BinaryIO:
        """The bytes of a file, seekable; the caller closes it."""

    def read_range(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """Blocks of `length` bytes from `start`; fewer where the file ends."""

    def size(self, key: str) -> int:
        """Bytes of a file."""

    def delete(self, key: str) -> None:
        """Remove a file; one that is not there is removed already."""

    def delete_prefix(self, prefix: str) -> None:
        """Remove a folder with all its files. The whole store cannot be removed."""

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Every file below a folder, in no promised order."""

    def local(self, key: str) -> Path:
        """A file on this machine with these bytes, to be read and never written.

        A local store names the file itself; S3 downloads once into a bounded cache, so use
        the path soon: it may leave the cache later.
        """

    def scratch(self) -> Path:
        """A folder for files that are still being written, on the volume of the store."""

    def free_bytes(self) -> int:
        """Free disk on the volume of `scratch()`."""

    def sweep(self, older_than_seconds: float) -> int:
        """Remove scratch files that a dead process left; returns how many."""

    def close(self) -> None:
        """Let go of connections."""


def open_store(settings: Settings) -> FileStore:
    """The store that the settings name. Makes its folders; a bucket must exist."""
    if not settings.files_url.startswith("s3://"):
        return LocalFiles(Path(settings.files_url.removeprefix("file://")))
    # Here, because it costs half a second and 60 MB that a local store does not need.
    from core.s3_files import S3Files

    return S3Files(settings)
