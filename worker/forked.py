"""What a worker tells the forkserver to run. It names the child without importing it.

The forkserver has imported torch, and every child has it from there; the worker itself needs
none of it, and is up seconds earlier and hundreds of megabytes smaller without.
"""

from multiprocessing.connection import Connection
from typing import Any


def main(connection: "Connection[Any, Any]") -> None:
    """See `worker.child.main`."""
    from worker import child

    child.main(connection)


def main_rehearsed(connection: "Connection[Any, Any]") -> None:
    """See `worker.child.main_rehearsed`."""
    from worker import child

    child.main_rehearsed(connection)
