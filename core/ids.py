"""Identifiers: a prefix that says what it names, then a UUIDv7: id order is creation order."""

import re
from typing import Literal

import uuid_utils

Prefix = Literal["run", "ckpt", "exp", "ds", "op"]
_HEX = re.compile(r"[0-9a-f]{32}")


def new_id(prefix: Prefix) -> str:
    """A fresh id. Ids of one process ascend; across processes they ascend by the millisecond."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def is_id(prefix: Prefix, text: str) -> bool:
    """Whether `text` could have come from `new_id`; anything else need not reach the database."""
    head, _, tail = text.partition("_")
    return head == prefix and _HEX.fullmatch(tail) is not None
