"""The file store in a local folder: written aside, synced, renamed, and the folder synced.

No link is followed below the root, so nothing that was planted there leads out of it.
"""

import contextlib
import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from core import keys
from core.errors import FileMissing, StoreUnavailable
from core.keys import StoredFile

BLOCK_BYTES = 2**20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalFiles:
    """Files below one folder; see `core.files.FileStore` for what each method promises."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._scratch = root / ".scratch"  # no key starts with a dot
        with _outages():
            self._scratch.mkdir(parents=True, exist_ok=True)

    def put(self, path: Path, key: str) -> None:
        """Sync the file, rename it into its folder, sync the folder."""
        keys.checked(key)
        device = path.stat().st_dev
        with _outages():
            near = path if device == self._scratch.stat().st_dev else self._copy(path)
            sync_file(near)
            with self._parent(key, make=True) as parent:
                os.rename(near, Path(key).name, dst_dir_fd=parent)
                os.fsync(parent)
            path.unlink(missing_ok=True)

    def open(self, key: str) -> BinaryIO:
        """Open below the root, following no link."""
        with _outages(key), self._parent(key) as parent:
            return os.fdopen(os.open(Path(key).name, _FILE, dir_fd=parent), "rb")

    def read_range(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """Read blocks of a mebibyte."""
        with self.open(key) as file:
            yield from blocks(file, start, length)

    def size(self, key: str) -> int:
        """Ask the file itself."""
        with _outages(key), self.open(key) as file:
            return os.fstat(file.fileno()).st_size

    def delete(self, key: str) -> None:
        """Unlink and sync the folder."""
        with contextlib.suppress(FileMissing), _outages(key), self._parent(key) as parent:
            os.unlink(Path(key).name, dir_fd=parent)
            os.fsync(parent)

    def delete_prefix(self, prefix: str) -> None:
        """Remove the folder's tree and sync its parent."""
        folder = keys.checked(prefix.removesuffix("/"))
        with contextlib.suppress(FileMissing), _outages(folder), self._parent(folder) as parent:
            shutil.rmtree(Path(folder).name, dir_fd=parent)
            os.fsync(parent)

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Walk the folder; files that vanish meanwhile are left out."""
        top = self._root / keys.folder(prefix)
        now = time.time()
        with _outages():
            for folder, folders, names in os.walk(top, onerror=_raise_unless_missing):
                if self._scratch.name in folders and Path(folder) == self._root:
                    folders.remove(self._scratch.name)
                for name in names:
                    yield from self._stored(Path(folder) / name, now)

    def local(self, key: str) -> Path:
        """The file itself."""
        self.open(key).close()  # refuses links and says what is missing
        return self._root / key

    def scratch(self) -> Path:
        """A hidden folder inside the root."""
        return self._scratch

    def free_bytes(self) -> int:
        """Ask the file system."""
        with _outages():
            return free_bytes(self._scratch)

    def sweep(self, older_than_seconds: float) -> int:
        """Go by the time of the last write."""
        with _outages():
            return sweep_folder(self._scratch, older_than_seconds)

    def close(self) -> None:
        """Nothing is held open."""

    def _stored(self, path: Path, now: float) -> Iterator[StoredFile]:
        with contextlib.suppress(FileNotFoundError):
            found = path.lstat()
            if stat.S_ISREG(found.st_mode):
                key = path.relative_to(self._root).as_posix()
                yield StoredFile(key, found.st_size, max(0.0, now - found.st_mtime))

    @contextlib.contextmanager
    def _parent(self, key: str, make: bool = False) -> Iterator[int]:
        """The open folder that holds `key`, reached name by name without following a link."""
        folder = os.open(self._root, _FOLDER & ~os.O_NOFOLLOW)
        try:
            for name in keys.checked(key).split("/")[:-1]:
                below = _enter(folder, name, make)
                os.close(folder)
                folder = below
            yield folder
        finally:
            os.close(folder)

    def _copy(self, path: Path) -> Path:
        """A copy in the scratch folder of a file from another volume."""
        near = self._scratch / f"{uuid.uuid4().hex}.copy"
        try:
            return shutil.copyfile(path, near)
        except OSError:
            near.unlink(missing_ok=True)
            raise


def blocks(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    """The `length` bytes of an open file from `start`, block by block, or up to its end."""
    file.seek(start)
    while length > 0 and (block := file.read(min(BLOCK_BYTES, length))):
        length -= len(block)
        yield block


def sync_file(path: Path) -> None:
    """Wait until the bytes of a file are on the disk.

    Raises:
        OSError: `path` is a link, or cannot be read.
    """
    file = os.open(path, _FILE)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def free_bytes(folder: Path) -> int:
    """Free disk, in bytes, on the volume of a folder."""
    return shutil.disk_usage(folder).free


def sweep_folder(folder: Path, older_than_seconds: float) -> int:
    """Remove what lies in a folder and was not touched lately; returns how many entries."""
    removed = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.lstat().st_mtime <= older_than_seconds:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
            removed += 1
    return removed


def _enter(folder: int, name: str, make: bool) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):  # another thread was faster
        os.mkdir(name, dir_fd=folder)
        os.fsync(folder)
    return os.open(name, _FOLDER, dir_fd=folder)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@contextlib.contextmanager
def _outages(key: str | None = None) -> Iterator[None]:
    """Say in our own errors what the disk said: a missing file, or a store that fails."""
    try:
        yield
    except OSError as error:
        gone = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR)
        if key is not None and gone:
            raise FileMissing("There are no bytes under this key.", key=key) from error
        raise StoreUnavailable(cause=error.strerror or str(error)) from error
