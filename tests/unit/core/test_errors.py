import json
import re
from collections.abc import Iterator

import pytest

from core import errors
from core.errors import EvalmodeError, Fenced, MoveForbidden, QueueFull, RunNotEnded
from core.states import State


def tree(root: type[EvalmodeError]) -> Iterator[type[EvalmodeError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:  # other tests make some of their own
            yield from tree(child)


def test_every_error_has_a_stable_reason_of_its_own() -> None:
    reasons = [error.reason for error in tree(EvalmodeError)]
    assert all(re.fullmatch(r"[A-Z][A-Z_]+", reason) for reason in reasons)
    assert len(set(reasons)) == len(reasons)


def test_the_tree_at_the_top_names_every_error() -> None:
    drawn = re.findall(r"^[|+\- ]*([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)[1:]
    assert drawn == [error.__name__ for error in tree(EvalmodeError)]


@pytest.mark.parametrize(
    ("error", "metadata"),
    [
        (MoveForbidden("resume", State.PAUSING), {"move": "resume", "state": "pausing"}),
        (RunNotEnded(State.RUNNING), {"state": "running"}),
        (Fenced("run_1", 3), {"run": "run_1", "epoch": 3}),
        (QueueFull(10), {"limit": 10}),
    ],
)
def test_the_metadata_holds_every_value_of_the_message(
    error: EvalmodeError, metadata: dict[str, object]
) -> None:
    assert error.metadata == metadata
    assert json.loads(json.dumps(metadata)) == metadata
    assert all(str(value) in error.message for value in metadata.values())
    assert str(error) == error.message
