"""The Celery shell around the worker: one task without arguments, and the worker's life.

A hint wakes one thread of the pool, which trains until no queued run is left for it.
"""

import os
import signal
import threading
from typing import Any

from celery import Celery
from celery.signals import worker_ready, worker_shutting_down

from core.queue import TRAIN
from worker.member import Member
from worker.slots import Slots


def register(app: Celery, member: Member, slots: Slots) -> None:
    """Give the app its task, and tie the member's life to the worker's.

    The first signal to end makes every trainer save and let go; Celery then waits for the
    pool, which is idle within the shutdown time.
    """

    @app.task(name=TRAIN, ignore_result=True)
    def train() -> None:
        slots.work()

    def ready(**_: Any) -> None:
        # Celery would answer one by starting itself again, by a command line that is not ours,
        # and the other by killing tasks, which a pool of threads cannot.
        for signum in (signal.SIGHUP, signal.SIGQUIT):
            signal.signal(signum, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        member.join()

    def shutting_down(**_: Any) -> None:
        # In a signal handler of the main thread, which may hold any lock: only set and go.
        threading.Thread(target=member.leave, name="leave").start()

    worker_ready.connect(ready, weak=False)
    worker_shutting_down.connect(shutting_down, weak=False)
