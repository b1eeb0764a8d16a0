"""A whole service of a benchmark's own: `evalmode up` on a free port and a folder that goes."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evalmode import Client


@contextmanager
def running(slots: int = 1, **settings: str) -> Iterator[tuple[Client, int]]:
    """A client and the port of a service that is ready; nothing of it is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        command = [sys.executable, "-m", "evalmode", "up", "--port", "0", "--slots", str(slots)]
        command += ["--data", folder]
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | settings
            )
            try:
                assert process.stdout is not None
                address = process.stdout.readline().split()[1]
                yield Client(address), int(address.rpartition(":")[2])
            finally:
                process.terminate()
                process.wait()
