"""The file store in S3 or what speaks its protocol, through fsspec; puts are atomic there.

Downloads are kept in a bounded local cache, named by content, so a replaced file is never
mistaken for its successor.
"""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import aiohttp
import s3fs
from botocore.exceptions import BotoCoreError

from core import keys
from core.errors import FileMissing, StoreUnavailable
from core.keys import StoredFile
from core.local_files import blocks, free_bytes, sweep_folder
from core.settings import Settings

READ_AHEAD_BYTES = 4 * 2**20
_CONNECTION = {"connect_timeout": 3, "read_timeout": 20, "retries": {"max_attempts": 2}}


class S3Files:
    """Files below one prefix of a bucket; see `core.files.FileStore` for the promises."""

    def __init__(self, settings: Settings) -> None:
        self._top = settings.files_url.removeprefix("s3://").strip("/")
        self._cache = settings.data / "cache"
        self._cache_bytes = settings.cache_bytes
        self._scratch = settings.data / "scratch"
        options = dict(settings.files_options)
        options["config_kwargs"] = {**_CONNECTION, **options.get("config_kwargs", {})}
        # Listings are never cached: other processes write to the same bucket.
        self._s3 = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True, **options)
        with _outages():
            self._cache.mkdir(parents=True, exist_ok=True)
            self._scratch.mkdir(parents=True, exist_ok=True)

    def put(self, path: Path, key: str) -> None:
        """Upload, then remove the local file; an object appears whole or not at all."""
        path.stat()  # a caller without a file is no outage
        with _outages():
            self._s3.put_file(str(path), self._address(key))
            path.unlink(missing_ok=True)

    def open(self, key: str) -> BinaryIO:
        """A handle that reads ahead and refuses to mix two versions of the object."""
        address = self._address(key)
        with _outages(key):
            file = self._s3.open(address, block_size=READ_AHEAD_BYTES, cache_type="readahead")
            if file.details["type"] != "file":
                raise FileNotFoundError(key)
            return cast(BinaryIO, file)

    def read_range(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """Ranged requests of a few mebibytes, handed on in blocks of one."""
        with _outages(key), self.open(key) as file:
            yield from blocks(file, start, length)

    def size(self, key: str) -> int:
        """One HEAD request."""
        return int(self._head(key)["size"])

    def delete(self, key: str) -> None:
        """S3 itself takes a missing key as removed."""
        address = self._address(key)
        with contextlib.suppress(FileMissing), _outages(key):
            self._s3.rm_file(address)

    def delete_prefix(self, prefix: str) -> None:
        """Bulk requests of a thousand keys."""
        top = self._address(prefix.removesuffix("/"))
        with contextlib.suppress(FileMissing), _outages(prefix):
            if found := self._s3.find(f"{top}/"):
                self._s3.rm(found)

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        """Ages by the store's clock against this machine's."""
        below = f"{self._top}/{keys.folder(prefix)}"
        with _outages():
            found: dict[str, Any] = self._s3.find(below, detail=True)
        now = datetime.now(UTC)
        for address, info in found.items():
            age = max(0.0, (now - info["LastModified"]).total_seconds())
            yield StoredFile(address.removeprefix(f"{self._top}/"), int(info["size"]), age)

    def local(self, key: str) -> Path:
        """The cached copy of this very content, downloaded when it is not there."""
        head = self._head(key)
        name = hashlib.sha256(f"{self._address(key)} {head['ETag']}".encode()).hexdigest()
        copy = self._cache / name
        with _outages(key):
            with contextlib.suppress(FileNotFoundError):
                os.utime(copy)  # used just now, so it leaves the cache last
                return copy
            self._make_room(int(head["size"]))
            self._download(key, copy)
        return copy

    def scratch(self) -> Path:
        """A folder of this machine's data folder."""
        return self._scratch

    def free_bytes(self) -> int:
        """Ask the file system of the data folder."""
        with _outages():
            return free_bytes(self._scratch)

    def sweep(self, older_than_seconds: float) -> int:
        """Go by the time of the last write."""
        with _outages():
            return sweep_folder(self._scratch, older_than_seconds)

    def close(self) -> None:
        """Close the connections to S3."""
        client = self._s3._s3
        if client is not None:
            self._s3.close_session(self._s3.loop, client)

    def _address(self, key: str) -> str:
        return f"{self._top}/{keys.checked(key)}"

    def _head(self, key: str) -> dict[str, Any]:
        address = self._address(key)
        with _outages(key):
            found: dict[str, Any] = self._s3.info(address)
            if found["type"] != "file":
                raise FileNotFoundError(key)
            return found

    def _download(self, key: str, copy: Path) -> None:
        part = self._scratch / f"{uuid.uuid4().hex}.download"
        try:
            self._s3.get_file(self._address(key), str(part))
            part.replace(copy)
        finally:
            part.unlink(missing_ok=True)

    def _make_room(self, wanted: int) -> None:
        """Drop the copies that were used longest ago until `wanted` more bytes fit."""
        copies = []
        for path in self._cache.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process drops as well
                found = path.stat()
                copies.append((found.st_mtime, found.st_size, path))
        total = wanted + sum(size for _, size, _ in copies)
        for _, size, path in sorted(copies):
            if total <= self._cache_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


@contextlib.contextmanager
def _outages(key: str | None = None) -> Iterator[None]:
    """Say in our own errors what S3 said: a missing key, or a store that fails."""
    try:
        yield
    except FileNotFoundError as error:
        if key is None:
            raise StoreUnavailable(cause="there is no such bucket") from error
        raise FileMissing("There are no bytes under this key.", key=key) from error
    except (OSError, BotoCoreError, aiohttp.ClientError) as error:
        raise StoreUnavailable(cause=type(error).__name__) from error
