"""Waits for the end of what goes on in the service: a run or an operation."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from evalmode.errors import WaitTimeout
from evalmode.steps import Sleep, Steps

FIRST_POLL_SECONDS = 0.05  # short work ends within a second; `poll` is what the wait grows to


class Ending(Protocol):
    """What ends at some time."""

    @property
    def is_ended(self) -> bool: ...  # noqa: D102


E = TypeVar("E", bound=Ending)


def until_ended(look: Callable[[], Steps[E]], timeout: float | None, poll: float) -> Steps[E]:
    """Look again and again until what is seen has ended, and return it.

    Args:
        look: asks the service once.
        timeout: seconds after which to give up; None never does.
        poll: longest seconds between two looks; the first ones come sooner.

    Raises:
        WaitTimeout: it had not ended in time; it goes on.
    """
    began = yield Sleep(0)
    pause = FIRST_POLL_SECONDS
    while True:
        seen = yield from look()
        if seen.is_ended:
            return seen
        now = yield Sleep(min(pause, poll))
        if timeout is not None and now - began >= timeout:
            raise WaitTimeout(seen, timeout)
        pause *= 1.5
