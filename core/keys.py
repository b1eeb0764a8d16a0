"""Keys of stored files: strict names in folders, so that no key can lead out of the store.

Knows no store; both the local and the S3 store speak in these.
"""

import re
from dataclasses import dataclass

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.=-]{0,127}"
_KEY = re.compile(rf"{_NAME}(/{_NAME}){{0,9}}")


@dataclass(frozen=True)
class StoredFile:
    """One file of a store, as a listing shows it."""

    key: str
    size: int  # bytes
    age_seconds: float  # since it was put, by the store's clock


def checked(key: str) -> str:
    """The key itself, when it is one: one to ten names of letters, digits and `_ . = -`.

    A name starts with a letter, a digit or `_`, so neither `..` nor a hidden file is one.

    Raises:
        ValueError: anything else.
    """
    if not _KEY.fullmatch(key):
        raise ValueError("a key is one to ten plain names joined by /")
    return key


def folder(prefix: str) -> str:
    """The folder that a prefix such as `runs/run_1` or `runs/run_1/` names, ending in `/`.

    Prefixes are whole folders: `runs/run_1` never covers `runs/run_10`. The empty prefix is
    the whole store.

    Raises:
        ValueError: the prefix is no key.
    """
    return f"{checked(prefix.removesuffix('/'))}/" if prefix else ""
