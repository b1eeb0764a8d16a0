"""`python -m worker.health`: exit 0 while a worker of this machine says that it is alive.

What a container's health check asks; it looks at the records and at nothing else.
"""

import sys

from core import settings, workers
from core.database import Database
from core.errors import EvalmodeError
from worker.services import host_identity


def main() -> int:
    """0 when a worker with this process table beat lately, else 1."""
    asked = settings.load()
    try:
        with Database(asked.database_url) as database:
            alive = database.read(lambda c: workers.alive(c, asked.alive_seconds))
    except EvalmodeError:
        return 1
    return 0 if any(worker.host == host_identity() for worker in alive) else 1


if __name__ == "__main__":
    sys.exit(main())
