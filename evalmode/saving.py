"""A file that is written beside its place and put there only once it is whole and right."""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Self

from evalmode.errors import BadAnswer


class Saving:
    """Takes the bytes of a file; whatever happens, no part of it is left.

    Args:
        path: where the whole file goes.
    """

    def __init__(self, path: str | Path) -> None:
        self._target = Path(path)
        self._partial = self._target.with_name(self._target.name + ".partial")
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        self._file = self._partial.open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._file.tell()

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        self._file.write(chunk)
        self._digest.update(chunk)

    def keep(self, sha256: str) -> Path:
        """Put the file where it belongs.

        Raises:
            BadAnswer: its bytes have another checksum.
        """
        self._file.close()
        if self._digest.hexdigest() != sha256:
            raise BadAnswer(f"the bytes for {self._target.name} are not those of their sha256")
        return self._partial.replace(self._target)
