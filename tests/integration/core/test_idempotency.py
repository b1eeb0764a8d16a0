import pytest
from sqlalchemy import text

from core import idempotency
from core.database import Database
from core.errors import IdempotencyInFlight, IdempotencyMismatch
from core.idempotency import Idempotency

ASKED = Idempotency("POST /v1/datasets", "key é", "hash-1")
OTHER_BODY = Idempotency(ASKED.scope, ASKED.key, "hash-2")


def reserve(database: Database, asked: Idempotency, resource_id: str | None = None) -> str | None:
    return database.write(lambda c: idempotency.reserve(c, asked, resource_id))


def age(database: Database, seconds: float) -> None:
    query = text("UPDATE idempotency SET created_at = created_at - :seconds")
    database.write(lambda c: c.execute(query, {"seconds": seconds}) and None)


def test_a_long_request_holds_its_key_until_it_settles(database: Database) -> None:
    assert reserve(database, ASKED) is None
    with pytest.raises(IdempotencyInFlight):
        reserve(database, ASKED)
    with pytest.raises(IdempotencyMismatch):
        reserve(database, OTHER_BODY)
    database.write(lambda c: idempotency.settle(c, ASKED, "ds_1"))
    assert reserve(database, ASKED) == "ds_1"
    with pytest.raises(IdempotencyMismatch):
        reserve(database, OTHER_BODY)


def test_a_request_that_failed_frees_its_key(database: Database) -> None:
    reserve(database, ASKED)
    database.write(lambda c: idempotency.give_up(c, ASKED))
    assert reserve(database, OTHER_BODY, "ds_2") is None
    database.write(lambda c: idempotency.give_up(c, OTHER_BODY))
    assert reserve(database, OTHER_BODY) == "ds_2", "what was made stays"


def test_what_a_key_made_can_be_asked_without_taking_it(database: Database) -> None:
    def made(asked: Idempotency) -> str | None:
        return database.read(lambda c: idempotency.made(c, asked))

    assert made(ASKED) is None
    assert reserve(database, ASKED) is None, "nobody has taken it"
    with pytest.raises(IdempotencyInFlight):
        made(ASKED)
    database.write(lambda c: idempotency.settle(c, ASKED, "op_1"))
    assert made(ASKED) == "op_1"
    with pytest.raises(IdempotencyMismatch):
        made(OTHER_BODY)
    age(database, 24.1 * 3600)
    assert made(ASKED) is None


def test_keys_of_one_scope_are_not_those_of_another(database: Database) -> None:
    reserve(database, ASKED, "ds_1")
    assert reserve(database, Idempotency("POST /v1/runs", ASKED.key, "hash-9"), "run_1") is None


@pytest.mark.parametrize(
    ("resource_id", "seconds", "is_kept"),
    [
        ("ds_1", 23.9 * 3600, True),
        ("ds_1", 24.1 * 3600, False),
        (None, 14 * 60, True),
        (None, 16 * 60, False),
    ],
)
def test_an_entry_ends_in_time(
    database: Database, resource_id: str | None, seconds: float, is_kept: bool
) -> None:
    reserve(database, ASKED, resource_id)
    age(database, seconds)
    if is_kept:
        with pytest.raises(IdempotencyMismatch):
            reserve(database, OTHER_BODY, "ds_2")
        assert database.write(idempotency.purge) == 0
    else:
        assert reserve(database, OTHER_BODY, "ds_2") is None
        age(database, seconds + 24 * 3600)
        assert database.write(idempotency.purge) == 1


def test_what_is_deleted_is_not_replayed(database: Database) -> None:
    reserve(database, ASKED, "ds_1")
    database.write(lambda c: idempotency.forget(c, "ds_1"))
    assert reserve(database, ASKED, "ds_2") is None
