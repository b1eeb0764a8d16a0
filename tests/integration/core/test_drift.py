from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from core import drift, models
from core.database import Database
from core.drift import FORGET_SECONDS, Said
from core.tables import drift_states
from tests.races import Race, write

Trained = Callable[..., str]
FIRST = ("digits", 1)
QUIET, ALARM = {"state": "quiet", "alarm": 0.5}, {"state": "alarm", "alarm": 3.0}


@pytest.fixture
def version(database: Database, trained: Trained) -> Database:
    """A database with the version that `FIRST` names."""
    checkpoint = trained(database)
    database.write(lambda c: models.put(c, "digits", checkpoint))
    return database


def put(database: Database, process: str, states: dict[drift.Key, Any]) -> set[drift.Key]:
    return database.write(lambda c: drift.put(c, process, states))


def said(database: Database, key: drift.Key = FIRST) -> list[Said]:
    return database.read(lambda c: drift.of_version(c, *key))


def test_every_process_has_its_last_word_on_a_version(version: Database) -> None:
    for process, state in (("b", QUIET), ("a", QUIET), ("b", ALARM)):
        assert put(version, process, {FIRST: state}) == set()
    assert said(version) == [Said("a", QUIET), Said("b", ALARM)]
    assert said(version, ("digits", 2)) == []


def test_a_process_that_ends_takes_its_words_back(version: Database) -> None:
    put(version, "a", {FIRST: QUIET})
    put(version, "b", {FIRST: ALARM})
    version.write(lambda c: drift.remove(c, "b"))
    assert said(version) == [Said("a", QUIET)]


def test_words_go_with_the_version_and_none_comes_after_it(
    version: Database, trained: Trained
) -> None:
    put(version, "a", {FIRST: QUIET})
    version.write(lambda c: models.remove(c, "digits"))
    assert said(version) == []
    assert put(version, "a", {FIRST: QUIET}) == {FIRST}
    checkpoint = trained(version)
    again = version.write(lambda c: models.put(c, "digits", checkpoint)).version.version
    assert put(version, "a", {FIRST: QUIET, ("digits", again): ALARM}) == {FIRST}
    assert said(version, ("digits", again)) == [Said("a", ALARM)]


def test_a_process_that_is_silent_for_too_long_is_forgotten(version: Database) -> None:
    put(version, "dead", {FIRST: ALARM})
    put(version, "alive", {FIRST: QUIET})
    age = update(drift_states).where(drift_states.c.process == "dead")
    aged = age.values(beat_at=drift_states.c.beat_at - FORGET_SECONDS - 1)
    version.write(lambda c: c.execute(aged) and None)
    assert said(version) == [Said("alive", QUIET)]
    put(version, "alive", {FIRST: QUIET})
    rows = version.read(lambda c: c.execute(select(drift_states.c.process)).scalars().all())
    assert list(rows) == ["alive"]


def test_nothing_is_said_of_versions_that_go_at_that_instant(
    actors: list[Database], race: Race, trained: Trained
) -> None:
    checkpoint = trained(actors[0])
    for i in range(10):
        name = f"m{i}"
        made = [
            actors[0].write(lambda c, name=name, one=one: models.put(c, name, one))
            for one in (checkpoint, trained(actors[0]))
        ]
        states = {(name, one.version.version): QUIET for one in made}
        acts = [write(drift.put, f"p{n}", states) for n in range(5)]
        race.run([*acts, write(models.remove, name)])
        assert all(said(actors[0], key) == [] for key in states)
