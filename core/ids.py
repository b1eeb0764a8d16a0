"""Identifiers: a prefix that says what it names, then a UUIDv7: id order is creation order.

And names, which people choose.
"""

import re
from typing import Literal

import uuid_utils

Prefix = Literal["run", "ckpt", "exp", "ds", "op"]
NAME = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}"  # what people call models and revisions
_NAME = re.compile(NAME)
_HEX = re.compile(r"[0-9a-f]{32}")


def new_id(prefix: Prefix) -> str:
    """A fresh id. Ids of one process ascend; across processes they ascend by the millisecond."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def is_id(prefix: Prefix, text: str) -> bool:
    """Whether `text` could have come from `new_id`; anything else need not reach the database."""
    head, _, tail = text.partition("_")
    return head == prefix and _HEX.fullmatch(tail) is not None


def is_name(text: str) -> bool:
    """Whether `text` is 1 to 100 letters, digits, `.`, `_` and `-`, without a dot in front."""
    return _NAME.fullmatch(text) is not None


def checked_name(text: str) -> str:
    """The name itself, when it is one.

    Raises:
        ValueError: anything else.
    """
    if not is_name(text):
        raise ValueError("a name has 1 to 100 letters, digits, . _ -, and no leading dot")
    return text
