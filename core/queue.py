"""Hints: messages that say only "there is work", sent to Celery's queues `cpu` and `gpu`.

A hint carries no run id and may be lost, repeated or late: the record of a run is the truth,
and a worker claims the best queued run itself. Knows nothing of records.
"""

import os
import threading
from pathlib import Path
from typing import Any, Literal

from celery import Celery
from kombu import Connection, Producer, Queue
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from core import logs
from core.settings import Settings, socket_path

QueueName = Literal["cpu", "gpu"]
QUEUES: tuple[QueueName, ...] = ("cpu", "gpu")
TRAIN = "train"  # the only task, and it takes no arguments

MOST_PER_FLUSH = 64  # tokens of one burst; a worker that finds work looks for more by itself
MOST_WAITING = 128  # tokens in a queue; above it another one would say nothing new

_TRANSPORT = {
    "visibility_timeout": 3600,
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "global_keyprefix": "evalmode:",
}

_UNREACHABLE = (RedisError, KombuError, OSError)

_log = logs.get(__name__)


def build(settings: Settings) -> Celery:
    """The Celery application, with settings under which a hint is never more than a hint.

    JSON only, acknowledged early, nothing prefetched, no results, no remote control: what the
    records cannot see must not exist.
    """
    app = Celery("evalmode", set_as_current=False)
    app.conf.update(
        broker_url=settings.broker_url,
        broker_transport_options=dict(_TRANSPORT),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,
        task_acks_late=False,
        task_ignore_result=True,
        task_publish_retry=False,
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        result_backend=None,
        task_queues=[Queue(name, routing_key=name) for name in QUEUES],
        task_default_queue="cpu",
        task_create_missing_queues=False,
    )
    return app


def prepare_socket_folder(data: Path) -> None:
    """Make the folder of a data folder's Redis socket, for this user alone.

    Raises:
        PermissionError: the folder is there and belongs to another user, or is a link.
    """
    folder = socket_path(data).parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not a private folder of this user")
    folder.chmod(0o700)


class Hints:
    """Sends hints from one background thread, so that no caller ever waits for the broker.

    A hint that cannot be sent is dropped and logged once per outage: the reconciler sends it
    again. Safe to call from any thread and from an event loop.
    """

    def __init__(self, settings: Settings) -> None:
        self._app = build(settings)
        self._changed = threading.Condition()
        self._wanted: dict[QueueName, int] = {}
        self._warming: list[threading.Event] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self._link = _Link(self._app)

    def send(self, queue: QueueName) -> None:
        """Say that `queue` has work. Returns at once and never raises.

        A burst is sent as at most `MOST_PER_FLUSH` tokens.
        """
        with self._changed:
            self._wanted[queue] = min(self._wanted.get(queue, 0) + 1, MOST_PER_FLUSH)
            self._wake()

    def warm(self, timeout_seconds: float = 5.0) -> bool:
        """Connect and publish nothing, so that the first hint is as fast as the others.

        Returns:
            Whether the broker was reached within the time.
        """
        done = threading.Event()
        with self._changed:
            self._warming.append(done)
            self._wake()
        return done.wait(timeout_seconds) and self._link.is_up

    def depth(self, queue: QueueName) -> int | None:
        """Tokens that wait in `queue`; None while the broker cannot be reached."""
        try:
            options = {**_TRANSPORT, "socket_timeout": 1}  # somebody waits for this answer
            with self._app.connection_for_read(transport_options=options) as connection:
                return _waiting(_open_channel(connection), queue)
        except _UNREACHABLE:
            return None

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Send what is still wanted, for a short time at most, and disconnect."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _wake(self) -> None:
        if self._closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        self._link.rehearse()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._warming or self._closed)
                wanted, self._wanted = self._wanted, {}
                warming, self._warming = self._warming, []
                closed = self._closed
            self._link.flush(wanted)
            for done in warming:
                done.set()
            if closed:
                self._link.drop()
                return


class _Link:
    """The broker connection of the hints' thread; forgotten at the first error."""

    def __init__(self, app: Celery) -> None:
        self.is_up = False
        self._app = app
        self._connection: Connection | None = None
        self._producer: Producer | None = None
        self._outage_logged = False

    def rehearse(self) -> None:
        """Publish into memory once: this loads and builds all that a real publish needs."""
        with Connection("memory://") as nowhere:
            self._app.send_task(TRAIN, producer=Producer(nowhere.channel()), retry=False)

    def flush(self, wanted: dict[QueueName, int]) -> None:
        try:
            producer = self._producer or self._connect()
            for queue, tokens in wanted.items():
                room = MOST_WAITING - _waiting(producer.channel, queue)
                for _ in range(min(tokens, room)):
                    self._app.send_task(TRAIN, queue=queue, producer=producer, retry=False)
            self.is_up, self._outage_logged = True, False
        except Exception as error:
            # Whatever it was, the next flush starts with a new connection; this thread must live.
            self.drop()
            if not self._outage_logged:
                self._outage_logged = True
                _log.warning(
                    "hints are dropped until the broker answers",
                    error=f"{type(error).__name__}: {error}",
                )

    def drop(self) -> None:
        self.is_up = False
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.release()

    def _connect(self) -> Producer:
        self._connection = self._app.connection_for_write()
        self._producer = Producer(_open_channel(self._connection))
        return self._producer


def _open_channel(connection: Connection) -> Any:
    # Two tries at once, where kombu's own way is to wait in between or to try without end.
    return connection.ensure_connection(max_retries=1, interval_start=0).channel()


def _waiting(channel: Any, queue: QueueName) -> int:
    # On Redis a declaration writes nothing. A passive one would overlook the key prefix.
    return int(channel.queue_declare(queue).message_count)
