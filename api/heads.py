"""HEAD wherever there is GET: the same answer without its body.

Routes that answer HEAD by themselves, so that no file is read, are left to it.
"""

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import allowed_methods


class Heads:
    """ASGI middleware that asks the application for GET and keeps what it says to itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything else on as it is."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or _has_own(scope):
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            # The answer ends here for the server, so a stream hears that nobody listens.
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        asked = {**scope, "method": "GET"}
        await self._app(asked, receive, send_head)
        if "route" in asked:
            scope["route"] = asked["route"]  # requests are counted by it


def _has_own(scope: Scope) -> bool:
    methods = allowed_methods(Request(scope), implied=False)
    return "HEAD" in methods or "GET" not in methods
