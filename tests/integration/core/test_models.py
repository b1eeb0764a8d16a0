from collections.abc import Callable
from typing import Any

import pytest

from core import models
from core.database import Database
from core.errors import BadCursor, CheckpointNotFound, ModelNotFound, ModelVersionNotFound
from core.ids import new_id
from core.models import Model, Put
from tests.races import Race, write

Trained = Callable[..., str]
NO_NAMES = ["", ".", ".x", "a/b", "a b", "é", "\x00", "\ud800", "a" * 101, "a\n"]


def put(database: Database, name: str, checkpoint_id: str) -> Put:
    return database.write(lambda c: models.put(c, name, checkpoint_id))


def get(database: Database, name: str) -> Model:
    return database.read(lambda c: models.get(c, name))


def alias(database: Database, name: str, word: str, version: int) -> Model:
    return database.write(lambda c: models.put_alias(c, name, word, version))


def resolved(database: Database, name: str, which: str | int | None = None) -> int:
    return database.read(lambda c: models.resolve(c, name, which)).version


def test_every_new_checkpoint_is_a_new_version(database: Database, trained: Trained) -> None:
    first, second = trained(database), trained(database)
    assert put(database, "digits", first).version.version == 1
    made = put(database, "digits", second)
    assert (made.version.version, made.version.checkpoint_id, made.created) == (2, second, True)
    model = get(database, "digits")
    assert [v.version for v in model.versions] == [2, 1]
    assert (model.newest, model.aliases) == (made.version, {})
    assert put(database, "Other_1.x-y", first).version.version == 1


def test_the_newest_checkpoint_put_again_changes_nothing(
    database: Database, trained: Trained
) -> None:
    first, second = trained(database), trained(database)
    made = put(database, "digits", first)
    again = put(database, "digits", first)
    assert (again.version, again.created) == (made.version, False)
    put(database, "digits", second)
    back = put(database, "digits", first)
    assert (back.version.version, back.created) == (3, True), "going back is a new version"


def test_a_number_is_never_given_out_twice(database: Database, trained: Trained) -> None:
    first, second = trained(database), trained(database)
    put(database, "digits", first)
    put(database, "digits", second)
    alias(database, "digits", "live", 1)
    gone = database.write(lambda c: models.remove(c, "digits"))
    assert [v.version for v in gone.versions] == [2, 1]
    assert database.read(models.page).data == []
    made = put(database, "digits", second)
    assert (made.version.version, made.created) == (3, True)
    model = get(database, "digits")
    assert (model.versions, model.aliases) == ((made.version,), {})
    assert model.created_at == made.version.created_at


def test_a_version_is_found_by_number_alias_or_nothing(
    database: Database, trained: Trained
) -> None:
    for _ in range(3):
        put(database, "digits", trained(database))
    alias(database, "digits", "live", 1)
    alias(database, "digits", "2b", 2)
    for which, version in ((None, 3), (1, 1), ("2", 2), ("live", 1), ("2b", 2), (3, 3)):
        assert resolved(database, "digits", which) == version


def test_what_names_no_version_is_not_found(database: Database, trained: Trained) -> None:
    put(database, "digits", trained(database))
    numbers = (0, -1, 4, 2**63)
    for which in (*numbers, "4", "0", "01", "9" * 30, "stale", *NO_NAMES):
        with pytest.raises(ModelVersionNotFound):
            resolved(database, "digits", which)
    for number in numbers:
        with pytest.raises(ModelVersionNotFound):
            alias(database, "digits", "live", number)


def test_an_alias_moves_from_version_to_version(database: Database, trained: Trained) -> None:
    for _ in range(2):
        put(database, "digits", trained(database))
        put(database, "wine", trained(database))
    alias(database, "wine", "live", 1)
    assert alias(database, "digits", "live", 1).aliases == {"live": 1}
    assert alias(database, "digits", "live", 2).aliases == {"live": 2}
    assert resolved(database, "wine", "live") == 1
    database.write(lambda c: models.delete_alias(c, "digits", "live"))
    assert get(database, "digits").aliases == {}
    assert get(database, "wine").aliases == {"live": 1}
    with pytest.raises(ModelVersionNotFound):
        database.write(lambda c: models.delete_alias(c, "digits", "live"))


def test_what_is_no_name_cannot_be_put(database: Database, trained: Trained) -> None:
    checkpoint = trained(database)
    for name in NO_NAMES:
        with pytest.raises(ValueError, match="a name has"):
            put(database, name, checkpoint)


def test_an_alias_is_a_name_and_no_number(database: Database, trained: Trained) -> None:
    put(database, "digits", trained(database))
    for word in ("1", "007", "9" * 100, *NO_NAMES):
        with pytest.raises(ValueError, match="an alias"):
            alias(database, "digits", word, 1)


def test_a_model_that_is_not_there_is_not_found(database: Database) -> None:
    acts: list[Callable[[Any, str], Any]] = [
        models.get,
        models.resolve,
        models.remove,
        lambda c, name: models.put_alias(c, name, "live", 1),
        lambda c, name: models.delete_alias(c, name, "live"),
    ]
    for name in ("unknown", *NO_NAMES):
        for act in acts:
            with pytest.raises(ModelNotFound):
                database.write(lambda c, act=act, name=name: act(c, name))


def test_only_a_checkpoint_that_is_there_can_be_put(database: Database) -> None:
    for checkpoint_id in (new_id("ckpt"), "", "\x00"):
        with pytest.raises(CheckpointNotFound):
            put(database, "digits", checkpoint_id)
    with pytest.raises(ModelNotFound):
        get(database, "digits")


def test_what_was_found_of_the_newest_version_is_told_and_does_not_change(
    database: Database, trained: Trained
) -> None:
    first, second = trained(database), trained(database)
    found = [{"reason": "BN_STATS_LAG", "severity": "warning"}]
    database.write(lambda c: models.put(c, "digits", first, found))
    database.write(lambda c: models.put(c, "digits", first, []))
    put(database, "wine", first)
    assert get(database, "digits").findings == found
    assert get(database, "wine").findings == []
    page = database.read(models.page)
    assert {model.name: model.findings for model in page.data} == {"digits": found, "wine": []}
    database.write(lambda c: models.put(c, "digits", second, []))
    assert get(database, "digits").findings == []


def test_pages_lead_from_the_newest_to_the_oldest(database: Database, trained: Trained) -> None:
    checkpoint = trained(database)
    names = ["c", "a", "e", "b", "d"]
    for name in names:
        put(database, name, checkpoint)
    alias(database, "b", "live", 1)
    after, seen = None, []
    while True:
        page = database.read(lambda c, after=after: models.page(c, 2, after))
        seen += page.data
        if not page.has_more:
            break
        after = seen[-1].name
    assert [model.name for model in seen] == names[::-1]
    assert seen[1] == get(database, "b")
    for bad in ("unknown", "\x00"):
        with pytest.raises(BadCursor):
            database.read(lambda c, bad=bad: models.page(c, 2, bad))
    with pytest.raises(ValueError, match="1 to 100"):
        database.read(lambda c: models.page(c, 0))


def test_puts_at_one_instant_make_distinct_versions(
    actors: list[Database], race: Race, trained: Trained
) -> None:
    for i in range(10):
        checkpoints = [trained(actors[0]) for _ in range(8)]
        found = race.run([write(models.put, f"m{i}", one) for one in checkpoints])
        assert sorted(one.version.version for one in found) == list(range(1, 9))
        assert all(one.created for one in found)
        model = get(actors[0], f"m{i}")
        assert {v.version: v.checkpoint_id for v in model.versions} == {
            one.version.version: one.version.checkpoint_id for one in found
        }


def test_one_put_repeated_at_one_instant_makes_one_version(
    actors: list[Database], race: Race, trained: Trained
) -> None:
    for i in range(10):
        found = race.run([write(models.put, f"m{i}", trained(actors[0]))] * 8)
        assert {one.version.version for one in found} == {1}
        assert sum(one.created for one in found) == 1


def test_an_alias_never_names_a_version_that_is_gone(
    actors: list[Database], race: Race, trained: Trained
) -> None:
    checkpoint = trained(actors[0])
    for i in range(10):
        name = f"m{i}"
        put(actors[0], name, checkpoint)
        acts = [write(models.put_alias, name, "live", 1)] * 3 + [write(models.remove, name)]
        acts += [write(models.put, name, checkpoint), write(models.delete_alias, name, "live")]
        race.run(acts)
        made = put(actors[0], name, checkpoint).version.version
        model = get(actors[0], name)
        assert set(model.aliases.values()) <= {v.version for v in model.versions}
        assert model.newest.version == made
