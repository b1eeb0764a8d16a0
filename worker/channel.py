"""JSON messages between a supervisor and its trainer, over one pipe.

A message is an object with a `kind`; both ends are ours, so non-finite floats may pass.
"""

import json
import threading
from multiprocessing.connection import Connection
from typing import Any

Message = dict[str, Any]


class Channel:
    """One end of the pipe; several threads may send."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self.connection = connection
        self._lock = threading.Lock()

    def send(self, kind: str, **values: Any) -> None:
        """Send one message.

        Raises:
            BrokenPipeError: the other end is gone.
        """
        content = json.dumps({"kind": kind, **values}).encode()
        with self._lock:
            self.connection.send_bytes(content)

    def receive(self) -> Message:
        """The next message; blocks.

        Raises:
            EOFError: the other end is gone.
        """
        message: Message = json.loads(self.connection.recv_bytes())
        return message

    def close(self) -> None:
        """Close this end."""
        self.connection.close()
