import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import queue
from core.queue import MOST_PER_FLUSH, MOST_WAITING, TRAIN, Hints, build, prepare_socket_folder
from core.settings import Settings, socket_path


@pytest.fixture
def hints(redis_server: Any, tmp_path: Path) -> Iterator[Hints]:
    hints = Hints(Settings(data=tmp_path, broker_url=redis_server.url))
    yield hints
    hints.close()


@pytest.fixture
def fragile(own_redis: Any, tmp_path: Path) -> Iterator[Hints]:
    hints = Hints(Settings(data=tmp_path, broker_url=own_redis.url))
    yield hints
    hints.close()


def wait_for_depth(hints: Hints, name: queue.QueueName, depth: int) -> None:
    deadline = time.monotonic() + 10
    while hints.depth(name) != depth:
        assert time.monotonic() < deadline, f"{hints.depth(name)} waiting, expected {depth}"
        time.sleep(0.005)


def test_a_hint_reaches_its_queue_and_no_other(hints: Hints) -> None:
    hints.send("gpu")
    wait_for_depth(hints, "gpu", 1)
    assert hints.depth("cpu") == 0


def test_a_hint_is_json_and_carries_no_run(hints: Hints, redis_server: Any) -> None:
    hints.send("cpu")
    wait_for_depth(hints, "cpu", 1)
    app = build(Settings(broker_url=redis_server.url))
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("cpu").get(timeout=5)
        assert message.content_type == "application/json"
        assert message.headers["task"] == TRAIN
        assert message.payload[:2] == [[], {}]
        message.ack()


def test_a_burst_becomes_a_few_tokens(hints: Hints) -> None:
    hints.warm()
    for _ in range(20 * MOST_PER_FLUSH):
        hints.send("cpu")
    hints.close()
    depth = hints.depth("cpu")
    assert depth is not None
    assert 1 <= depth < 10 * MOST_PER_FLUSH


def test_a_full_queue_gets_no_more(hints: Hints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MOST_WAITING", 3)
    for _ in range(10):
        hints.send("cpu")
    hints.close()
    assert hints.depth("cpu") == 3
    assert MOST_WAITING >= MOST_PER_FLUSH


def test_a_warm_publisher_has_published_nothing(hints: Hints) -> None:
    assert hints.warm()
    assert (hints.depth("cpu"), hints.depth("gpu")) == (0, 0)


def test_the_first_hint_after_warming_is_fast(hints: Hints, redis_server: Any) -> None:
    hints.warm()
    with redis_server.client() as client:
        started = time.monotonic()
        hints.send("cpu")
        assert client.blpop("evalmode:cpu", timeout=5)
        assert time.monotonic() - started < 0.1


def test_sending_never_waits_while_the_broker_hangs(fragile: Hints, own_redis: Any) -> None:
    assert fragile.warm()
    own_redis.freeze()
    started = time.monotonic()
    for _ in range(100):
        fragile.send("cpu")
    assert time.monotonic() - started < 0.1
    fragile.close(timeout_seconds=0.2)
    assert time.monotonic() - started < 1


def test_an_outage_is_logged_once_and_hints_flow_again_after_it(
    fragile: Hints, own_redis: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert fragile.warm()
    own_redis.kill()
    for _ in range(3):
        fragile.send("cpu")
        assert not fragile.warm()
    assert fragile.depth("cpu") is None
    assert len([r for r in caplog.records if "hints are dropped" in str(r.msg)]) == 1
    own_redis.start()
    assert fragile.warm()
    waiting = fragile.depth("cpu")
    assert waiting is not None
    fragile.send("cpu")
    wait_for_depth(fragile, "cpu", waiting + 1)


def test_hints_flow_after_redis_lost_everything(fragile: Hints, own_redis: Any) -> None:
    fragile.send("cpu")
    wait_for_depth(fragile, "cpu", 1)
    with own_redis.client() as client:
        client.flushall()
    fragile.send("cpu")
    wait_for_depth(fragile, "cpu", 1)


def test_a_wrong_password_drops_hints_and_raises_nothing(own_redis: Any, tmp_path: Path) -> None:
    own_redis.password, right = "wrong", own_redis.password
    hints = Hints(Settings(data=tmp_path, broker_url=own_redis.url))
    own_redis.password = right
    hints.send("cpu")
    assert not hints.warm()
    assert hints.depth("cpu") is None
    hints.close()


def test_closing_sends_what_is_still_wanted(hints: Hints) -> None:
    hints.send("cpu")
    hints.close()
    hints.send("cpu")  # too late: dropped
    assert hints.depth("cpu") == 1


def test_the_application_keeps_nothing_that_the_records_cannot_see(tmp_path: Path) -> None:
    conf = build(Settings(data=tmp_path)).conf
    assert conf.accept_content == ["json"]
    assert conf.task_serializer == "json"
    assert conf.result_backend is None
    assert not conf.worker_enable_remote_control
    assert not conf.task_acks_late
    assert conf.worker_disable_prefetch
    assert not conf.worker_cancel_long_running_tasks_on_connection_loss
    assert conf.broker_transport_options["socket_timeout"] == 5
    assert [q.name for q in conf.task_queues] == ["cpu", "gpu"]


def test_the_queue_is_importable_without_torch() -> None:
    script = "import sys, core.queue, core.files, core.logs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


def test_the_socket_folder_is_private(tmp_path: Path) -> None:
    prepare_socket_folder(tmp_path / "deep" / "data")
    folder = socket_path(tmp_path / "deep" / "data").parent
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_planted_link_is_no_socket_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    data = tmp_path / "data"
    data.mkdir()
    (data / "redis").symlink_to(tmp_path / "elsewhere")
    if socket_path(data).parent != data / "redis":
        pytest.skip("this machine's temporary folder is too deep for a socket")
    with pytest.raises(PermissionError):
        prepare_socket_folder(data)
