"""`python -m worker`: one worker on the queue that the settings name, until SIGTERM."""

import os
import sys

# Before numpy is imported anywhere below, here or in the forkserver: its BLAS would start a
# thread at import, and a process with threads must not fork.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # noqa: TID251

from core import logs, settings
from worker.app import create

#: Two of them may wait for a slot or their turn, the others find that out and end at once.
LOOKING_THREADS = 8


def main() -> int:
    """Run until a signal ends it; every trainer has then saved and let go of its run."""
    asked = settings.load()
    logs.configure(asked.log_level)
    process = create(asked, os.environ.get("CUDA_VISIBLE_DEVICES"))  # noqa: TID251
    # Celery looks for the next hint only while a thread is free, and otherwise up to a second
    # later. The slots themselves are counted by cores and devices.
    threads = process.num_slots + LOOKING_THREADS
    arguments = ["--quiet", "worker", "--pool=threads", f"--concurrency={threads}"]
    arguments += [f"--queues={asked.worker_queue}", "--without-gossip", "--without-mingle"]
    arguments += [f"--hostname={process.services.worker_id}@%h", "--loglevel=WARNING"]
    try:
        process.app.worker_main(arguments)
    finally:
        process.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
