import json
import subprocess
import sys
from typing import Any

import pytest

BEFORE = """
import logging, threading, warnings
from core import logs
logs.configure("info")
log = logs.get("here")
"""


def entries(script: str) -> list[dict[str, Any]]:
    """What a process of its own wrote to standard error, line by line, while it ran `script`."""
    ended = subprocess.run(
        [sys.executable, "-c", BEFORE + script], capture_output=True, text=True, timeout=60
    )
    assert ended.stdout == ""
    return [json.loads(line) for line in ended.stderr.splitlines()]


def test_an_entry_is_one_json_line_with_the_bound_run() -> None:
    bound, after = entries(
        'with logs.bound(run_id="run_1"):\n    log.info("a\\nb", step=3)\nlog.info("c")'
    )
    assert bound["event"] == "a\nb"
    assert (bound["run_id"], bound["step"], bound["level"]) == ("run_1", 3, "info")
    assert bound["logger"] == "here"
    assert bound["at"].endswith("Z")
    assert "run_id" not in after


def test_other_libraries_log_in_the_same_form() -> None:
    (entry,) = entries(
        'with logs.bound(run_id="run_1"):\n'
        '    logging.getLogger("celery").warning("%d of %d", 1, 2)'
    )
    assert (entry["event"], entry["logger"], entry["run_id"]) == ("1 of 2", "celery", "run_1")


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ('raise ValueError("bad")', "ValueError: bad"),
        ("t = threading.Thread(target=lambda: [][1]); t.start(); t.join()", "IndexError"),
        ('try:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception("x")', "ZeroDivisionError"),
    ],
)
def test_an_exception_is_one_entry_too(script: str, kind: str) -> None:
    (entry,) = entries(script)
    assert kind in entry["exception"]
    assert entry["level"] == "error"


def test_a_warning_is_an_entry() -> None:
    (entry,) = entries('warnings.warn("old")')
    assert "UserWarning: old" in entry["event"]


def test_secrets_and_numbers_that_json_has_not_are_replaced() -> None:
    (entry,) = entries(
        'log.info("to redis://u:hunter2@h", authorization="Bearer hunter2", '
        'url="redis+socket://:hunter2@/x", loss=float("nan"), thing=object)'
    )
    assert "hunter2" not in json.dumps(entry)
    assert entry["event"] == "to redis://u:***@h"
    assert entry["loss"] == "nan"


def test_entries_below_the_level_are_dropped() -> None:
    assert entries('log.debug("x"); logs.configure("error"); log.warning("y")') == []


def test_configuring_twice_writes_each_entry_once() -> None:
    assert len(entries('logs.configure(); log.info("x")')) == 1


def test_nothing_is_printed_before_configuring() -> None:
    script = "from core import logs; logs.get('x').info('early')"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert (ended.stdout, ended.stderr) == (b"", b"")
