"""What every command shares: finding the service, and errors as one plain message and a code.

1 is for what the service refused, work that did not succeed or statistics with an error, 2 for a
wrong command line or setting, 3 for a data folder that another `up` holds.
"""

import functools
import socket
from collections.abc import Callable
from typing import Annotated, ParamSpec
from urllib.parse import urlsplit

import typer

from core.errors import EvalmodeError
from core.settings import SettingsRefused
from evalmode.client import Client
from evalmode.demo import DemoFailed
from evalmode.errors import EvalmodeApiError
from evalmode.lock import DataFolderInUse
from evalmode.processes import ChildFails
from evalmode.redis import RedisMissing
from evalmode.repairing import CheckpointMissing
from evalmode.rows import RowsUnreadable
from evalmode.service import ServiceFailed
from evalmode.submission import SpecUnreadable
from evalmode.up import AddressTaken

P = ParamSpec("P")


class Unreachable(Exception):
    """Nothing listens at a service's address."""

    def __init__(self, url: str) -> None:
        super().__init__(f"there is no service at {url}; `evalmode up` starts one")


EXIT_CODES: dict[type[Exception], int] = {
    EvalmodeApiError: 1,
    Unreachable: 1,
    EvalmodeError: 1,
    CheckpointMissing: 1,
    DemoFailed: 1,
    ServiceFailed: 1,
    ChildFails: 1,
    RedisMissing: 1,
    AddressTaken: 1,
    SettingsRefused: 2,
    SpecUnreadable: 2,
    RowsUnreadable: 2,
    DataFolderInUse: 3,
}

Url = Annotated[str, typer.Option(help="Address of the service.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def connect(url: str) -> Client:
    """A client of a service that is there: a wrong address is told at once, not retried.

    Raises:
        Unreachable: nothing listens.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=5).close()
    except OSError:
        raise Unreachable(url) from None
    return Client(url)


def plainly(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose known errors are one message and an exit code, not a traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except tuple(EXIT_CODES) as error:
            typer.echo(f"evalmode: {error}", err=True)
            code = next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
            raise typer.Exit(code) from None

    return run
