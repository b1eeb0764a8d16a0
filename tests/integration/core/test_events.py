from collections.abc import Callable

import pytest

from core import events
from core.database import Database
from core.errors import RunNotFound
from core.events import NewEvent
from core.ids import new_id
from core.runs import Run


def test_events_are_numbered_from_one_and_read_from_anywhere(
    with_dataset: Database, submit: Callable[..., Run]
) -> None:
    run, other = submit(), submit()
    for i in range(5):
        told = NewEvent(
            "warning", f"Number {i}: é ∂", "warning", {"i": i, "deep": [None, {"a": 1.5}]}
        )
        assert with_dataset.write(lambda c, told=told: events.append(c, run.id, told)) == i + 2
    seen = with_dataset.read(lambda c: events.after(c, run.id, 0))
    assert [event.seq for event in seen] == [1, 2, 3, 4, 5, 6]
    assert seen[-1].data == {"i": 4, "deep": [None, {"a": 1.5}]}
    assert (seen[-1].level, seen[-1].message, seen[-1].terminal) == (
        "warning",
        "Number 4: é ∂",
        False,
    )
    assert [e.seq for e in with_dataset.read(lambda c: events.after(c, run.id, 4))] == [5, 6]
    assert [e.seq for e in with_dataset.read(lambda c: events.after(c, run.id, 1, 2))] == [2, 3]
    assert with_dataset.read(lambda c: events.after(c, run.id, 6)) == []
    assert len(with_dataset.read(lambda c: events.after(c, other.id, 0))) == 1


def test_an_unknown_run_has_no_log(database: Database) -> None:
    with pytest.raises(RunNotFound):
        database.write(lambda c: events.append(c, new_id("run"), NewEvent("warning", "Lost.")))


def test_a_number_that_is_not_finite_is_no_data(
    with_dataset: Database, submit: Callable[..., Run]
) -> None:
    run = submit()
    told = NewEvent("warning", "Not JSON.", data={"loss": float("nan")})
    with pytest.raises(Exception, match="not JSON compliant"):
        with_dataset.write(lambda c: events.append(c, run.id, told))
    assert len(with_dataset.read(lambda c: events.after(c, run.id, 0))) == 1
