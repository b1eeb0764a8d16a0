"""A service of our own for a while: `evalmode up` on a temporary data folder and a free port."""

import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from core.settings import PREFIX, environment, load
from evalmode.processes import for_python, tethered

READY_SECONDS = 90.0
LAST_LINES = 20


class ServiceFailed(Exception):
    """The service did not become ready; the message holds the end of its log."""


@contextmanager
def own_service(slots: int) -> Iterator[str]:
    """Start a service, yield its address, and end it with everything it made.

    Raises:
        ServiceFailed: it was not ready in time.
    """
    with TemporaryDirectory(prefix="evalmode-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "up.log"
        process = _start(Path(folder) / "data", slots, log)
        try:
            yield _wait_until_ready(process, log)
        finally:
            process.terminate()
            try:
                process.wait(load().shutdown_seconds * 2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _start(data: Path, slots: int, log: Path) -> "subprocess.Popen[str]":
    options = ("--port", "0", "--data", str(data), "--slots", str(slots))
    with log.open("wb") as file:
        return subprocess.Popen(
            tethered((sys.executable, "-m", "evalmode", "up", *options)),
            env=_environment(data),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            start_new_session=True,  # ctrl-C is ours; we end it in order
            text=True,
        )


def _environment(data: Path) -> dict[str, str]:
    """Ours, without the addresses that would lead out of the data folder."""
    found = environment(load(data=data))
    for address in ("DATABASE_URL", "BROKER_URL", "FILES_URL", "FILES_OPTIONS"):
        del found[PREFIX + address]
    return for_python(found)


def _wait_until_ready(process: "subprocess.Popen[str]", log: Path) -> str:
    assert process.stdout is not None
    give_up_at = time.monotonic() + READY_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if selector.select(give_up_at - time.monotonic()):
            word, _, url = process.stdout.readline().strip().partition(" ")
            if word == "ready":
                return url
    lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    raise ServiceFailed("\n".join(["the service did not become ready; its log ends:", *lines]))
