"""Idempotency-Key: what a request may repeat, and how an answer says that it is one."""

import hashlib
import json
import re
from typing import Annotated, Any

from fastapi import Header, Request

from api.problems import Refusal
from core.idempotency import Idempotency

LEAST, MOST = 1, 255  # characters
_PATTERN = rf"[\x21-\x7e]([\x20-\x7e]{{0,{MOST - 2}}}[\x21-\x7e])?"
_KEY = re.compile(_PATTERN)

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 printable characters. A repeated request with the same key and "
        "body gives the same resource again, with `Idempotent-Replay: true`, for a day.",
        json_schema_extra={"pattern": f"^{_PATTERN}$"},
    ),
]


def asked(request: Request, key: str | None, body_hash: str) -> Idempotency | None:
    """What the client may repeat; None without a key.

    Raises:
        Refusal: 400, a key that is empty, too long or not printable.
    """
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        detail = f"An Idempotency-Key has {LEAST} to {MOST} printable ASCII characters."
        raise Refusal(400, "IDEMPOTENCY_KEY_INVALID", detail, least=LEAST, most=MOST)
    return Idempotency(f"{request.method} {request.url.path}", key, body_hash)


def hash_of(body: Any) -> str:
    """sha256 of a JSON value, the same for every way of writing it."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def headers(location: str, *, replayed: bool) -> dict[str, str]:
    """Where a created resource is, and whether it was created before."""
    return {"Location": location} | ({"Idempotent-Replay": "true"} if replayed else {})
