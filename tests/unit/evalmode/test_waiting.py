from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from evalmode.errors import WaitTimeout
from evalmode.steps import Steps
from evalmode.waiting import until_ended


@dataclass(frozen=True)
class Seen:
    """What one look finds."""

    look: int
    is_ended: bool
    id: str = "op_1"
    state: str = "running"


def looks(until: int) -> Iterator[Seen]:
    return (Seen(look, is_ended=look == until) for look in range(until + 1))


def look(found: Iterator[Seen]) -> Steps[Seen]:
    yield from ()
    return next(found)


def test_waiting_looks_soon_at_first_and_then_every_poll(play: Any) -> None:
    found = looks(6)
    played = play(until_ended(lambda: look(found), None, 0.2))
    assert played.value.look == 6
    assert played.pauses == pytest.approx([0, 0.05, 0.075, 0.1125, 0.16875, 0.2, 0.2])


def test_waiting_gives_up_with_what_was_last_seen(play: Any) -> None:
    found = looks(6)
    with pytest.raises(WaitTimeout, match=r"op_1 is running after 0.1 s") as caught:
        play(until_ended(lambda: look(found), 0.1, 1.0))
    assert caught.value.last_seen.look == 1


def test_what_has_ended_is_not_waited_for(play: Any) -> None:
    assert play(until_ended(lambda: look(looks(0)), 0, 1.0)).pauses == [0]
