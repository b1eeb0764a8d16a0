from collections.abc import Callable
from typing import Any

import pytest

from core import checkpoints, models, operation_claims, operations, revisions, runs
from core.checkpoints import Checkpoint
from core.database import Database
from core.errors import (
    BadCursor,
    CheckpointInUse,
    CheckpointNotFound,
    CheckpointOfRun,
    DatabaseUnavailable,
    Fenced,
    RevisionNameTaken,
    RevisionNotFound,
)
from core.ids import new_id
from core.leases import Owner
from core.operations import NewOperation, Operation
from core.revisions import NewRevision
from core.runs import Run
from tests.races import Race, write

Submit = Claim = Callable[..., Run]
Trained = Callable[..., str]
OWNER = Owner("worker-1", "host-1", "cpu", 4321, 99)


def new(**changes: Any) -> NewRevision:
    fields: dict[str, Any] = {"statistics_key": f"revisions/{new_id('op')}/e1.safetensors"}
    fields |= {"sha256": "b" * 64, "bytes": 77, "fingerprint": "sha256:g"}
    fields |= {"weights_hash": "sha256:w", "metrics": {"test_accuracy": 0.94}}
    fields |= {"made_by": {"method": "precise", "rows": "sha256:r", "seed": 0}}
    return NewRevision(**fields | changes)


def insert(database: Database, checkpoint_id: str, **changes: Any) -> Checkpoint:
    return database.write(lambda c: revisions.insert_one(c, checkpoint_id, new(**changes)))


def end(database: Database, run: Run) -> None:
    database.write(lambda c: runs.cancel(c, run.id))


def working(database: Database, checkpoint_id: str) -> Operation:
    asked = NewOperation("recalibrate", {}, checkpoint_id)
    queued = database.write(lambda c: operations.submit(c, asked, 1000)).operation
    claimed = database.write(lambda c: operation_claims.claim(c, queued.id, OWNER, 45))
    assert claimed is not None
    return claimed


def test_a_revision_shares_everything_but_its_statistics(
    with_dataset: Database, submit: Submit, trained: Trained
) -> None:
    run = submit()
    original_id = trained(with_dataset, run)
    asked = new(name="recalibrated")
    made = with_dataset.write(lambda c: revisions.insert_one(c, original_id, asked, None, 3))
    original, found = (
        with_dataset.read(lambda c, one=one: checkpoints.get(c, one))
        for one in (original_id, made.id)
    )
    assert found == made
    for name in ("run_id", "step", "spec", "key", "norm_layers", "weights_hash"):
        assert getattr(found, name) == getattr(original, name)
    assert {name: getattr(found, name) for name in vars(asked)} == vars(asked)
    assert (found.revision_of, found.epoch) == (original_id, 3)
    assert (original.name, original.statistics_key, original.made_by) == (None, None, None)


def test_a_revision_is_not_what_the_run_trained(
    with_dataset: Database, submit: Submit, trained: Trained
) -> None:
    run = submit()
    original = trained(with_dataset, run)
    insert(with_dataset, original)
    at_step = with_dataset.read(lambda c: checkpoints.at_step(c, run.id, 7))
    assert at_step is not None
    assert at_step.id == original
    assert with_dataset.read(lambda c: checkpoints.at_step(c, run.id, 8)) is None


def test_a_revision_of_a_revision_is_one_of_the_same_original(
    database: Database, trained: Trained
) -> None:
    original = trained(database)
    first = insert(database, original)
    second = insert(database, first.id)
    assert second.revision_of == original
    assert (first.name, second.name) == ("r1", "r2")
    assert database.read(lambda c: revisions.named(c, first.id, "r2")) == second


def test_names_are_unique_among_the_revisions_of_one_checkpoint(
    database: Database, trained: Trained
) -> None:
    one, other = trained(database), trained(database)
    first = insert(database, one, name="domain-b")
    with pytest.raises(RevisionNameTaken) as refused:
        insert(database, one, name="domain-b")
    assert refused.value.metadata == {"checkpoint": first.id}
    assert insert(database, other, name="domain-b").revision_of == other
    assert insert(database, one, name="r3").name == "r3"
    assert insert(database, one).name == "r4", "a name that was asked for is passed over"
    with pytest.raises(RevisionNotFound):
        database.read(lambda c: revisions.named(c, one, "r5"))


def test_what_is_no_name_names_nothing(database: Database, trained: Trained) -> None:
    original = trained(database)
    for name in ("", ".hidden", "a/b", "a b", "é", "\x00", "\ud800", "a" * 101, "a\n"):
        with pytest.raises(ValueError, match="a name has"):
            insert(database, original, name=name)
        with pytest.raises(RevisionNotFound):
            database.read(lambda c, name=name: revisions.named(c, original, name))


def test_other_weights_are_no_revision(database: Database, trained: Trained) -> None:
    original = trained(database)
    with pytest.raises(ValueError, match="weights of its original"):
        insert(database, original, weights_hash="sha256:other")


def test_a_checkpoint_that_is_not_there_has_no_revisions(database: Database) -> None:
    nowhere = new_id("ckpt")
    acts: list[Callable[[Any], Any]] = [
        lambda c: revisions.insert_one(c, nowhere, new()),
        lambda c: revisions.named(c, nowhere, "r1"),
        lambda c: revisions.page(c, nowhere),
        lambda c: revisions.delete(c, nowhere),
        lambda c: revisions.delete(c, "\x00"),
    ]
    for act in acts:
        with pytest.raises(CheckpointNotFound):
            database.write(act)


def test_revisions_are_listed_newest_first_and_without_the_original(
    database: Database, trained: Trained
) -> None:
    one, other = trained(database), trained(database)
    foreign = insert(database, other)
    made = [insert(database, one) for _ in range(3)]
    first = database.read(lambda c: revisions.page(c, one, 2))
    assert (first.data, first.has_more) == ([made[2], made[1]], True)
    rest = database.read(lambda c: revisions.page(c, made[0].id, 2, made[1].id))
    assert (rest.data, rest.has_more) == ([made[0]], False)
    for after in (foreign.id, one):
        with pytest.raises(BadCursor):
            database.read(lambda c, after=after: revisions.page(c, one, 2, after))


def test_an_operation_makes_one_revision_however_often_it_is_done(
    database: Database, trained: Trained
) -> None:
    original = trained(database)
    first = working(database, original)

    def done(operation: Operation) -> Checkpoint:
        key = revisions.statistics_key(operation.id, operation.epoch)
        asked = new(statistics_key=key, name="fixed")

        def work(c: Any) -> Checkpoint:
            made = revisions.insert_one(c, original, asked, operation.id, operation.epoch)
            operation_claims.finish(c, operation.id, operation.epoch, {"checkpoint": made.id})
            return made

        return database.write(work)

    database.write(lambda c: operation_claims.lost(c, first.id, 1, "killed", 3))
    second = database.write(lambda c: operation_claims.claim(c, first.id, OWNER, 45))
    assert second is not None
    with pytest.raises(Fenced):
        done(first)
    assert database.read(lambda c: revisions.made_in(c, first.id)) is None, (
        "the lost owner made none"
    )
    made = done(second)
    assert made.statistics_key == f"revisions/{first.id}/e2.safetensors"
    assert database.read(lambda c: revisions.made_in(c, first.id)) == made
    again = database.write(lambda c: revisions.insert_one(c, original, new(), first.id, 3))
    assert again == made
    assert len(database.read(lambda c: revisions.page(c, original)).data) == 1


def test_the_files_of_a_run_include_those_of_its_revisions(
    with_dataset: Database, submit: Submit, trained: Trained
) -> None:
    run, other = submit(), submit()
    original, foreign = trained(with_dataset, run), trained(with_dataset, other)
    made = [insert(with_dataset, original), insert(with_dataset, original)]
    kept = insert(with_dataset, foreign)
    keys = {f"runs/{run.id}/e1/step-7.safetensors", *(one.statistics_key for one in made)}
    assert with_dataset.read(lambda c: checkpoints.keys(c, run.id)) == keys
    end(with_dataset, run)
    assert with_dataset.write(lambda c: runs.delete(c, run.id)).keys == keys
    for gone in (original, *(one.id for one in made)):
        with pytest.raises(CheckpointNotFound):
            with_dataset.read(lambda c, gone=gone: checkpoints.get(c, gone))
    assert with_dataset.read(lambda c: checkpoints.get(c, kept.id)) == kept


def test_deleting_a_revision_keeps_the_weights(
    with_dataset: Database, submit: Submit, trained: Trained
) -> None:
    original = trained(with_dataset, submit())
    one, other = insert(with_dataset, original), insert(with_dataset, original)
    gone = with_dataset.write(lambda c: revisions.delete(c, one.id))
    assert gone == {one.statistics_key}
    assert with_dataset.read(lambda c: revisions.page(c, original)).data == [other]
    with pytest.raises(CheckpointOfRun):
        with_dataset.write(lambda c: revisions.delete(c, original))


def test_deleting_an_import_takes_its_revisions_along(database: Database, trained: Trained) -> None:
    original = trained(database)
    made = insert(database, original)
    gone = database.write(lambda c: revisions.delete(c, original))
    assert gone == {"imports/one.safetensors", made.statistics_key}
    assert database.read(checkpoints.page).data == []


@pytest.mark.parametrize("which", ["original", "revision"])
def test_what_a_model_serves_cannot_be_deleted(
    with_dataset: Database, submit: Submit, trained: Trained, which: str
) -> None:
    run = submit()
    original = trained(with_dataset, run)
    revision = insert(with_dataset, original).id
    imported = trained(with_dataset)
    served = {"original": original, "revision": revision}[which]
    for name, one in (("digits", served), ("digits", imported), ("wine", served)):
        with_dataset.write(lambda c, name=name, one=one: models.put(c, name, one))
    end(with_dataset, run)
    calls: list[tuple[Callable[..., Any], str]] = [(runs.delete, run.id)]
    calls += [(revisions.delete, revision)] if which == "revision" else []
    for call, one in calls:
        with pytest.raises(CheckpointInUse) as refused:
            with_dataset.write(lambda c, call=call, one=one: call(c, one))
        assert refused.value.metadata == {"models": ["digits", "wine"], "operations": []}
        assert "digits, wine" in refused.value.message
    for name in ("digits", "wine"):
        with_dataset.write(lambda c, name=name: models.remove(c, name))
    with_dataset.write(lambda c: runs.delete(c, run.id))


def test_what_an_operation_works_on_cannot_be_deleted(
    with_dataset: Database, submit: Submit, trained: Trained
) -> None:
    run = submit()
    operation = working(with_dataset, trained(with_dataset, run))
    end(with_dataset, run)
    with pytest.raises(CheckpointInUse) as refused:
        with_dataset.write(lambda c: runs.delete(c, run.id))
    assert refused.value.metadata == {"models": [], "operations": [operation.id]}
    with_dataset.write(lambda c: operation_claims.finish(c, operation.id, 1, {}))
    with_dataset.write(lambda c: runs.delete(c, run.id))


def test_what_an_operation_takes_statistics_from_cannot_be_deleted(
    with_dataset: Database, trained: Trained
) -> None:
    taker, giver = trained(with_dataset), trained(with_dataset)
    revision = insert(with_dataset, giver).id
    asked = NewOperation("transplant", {"statistics_from": revision, "name": None}, taker)
    waiting = with_dataset.write(lambda c: operations.submit(c, asked, 9)).operation
    for one in (revision, giver):
        with pytest.raises(CheckpointInUse) as refused:
            with_dataset.write(lambda c, one=one: revisions.delete(c, one))
        assert refused.value.metadata == {"models": [], "operations": [waiting.id]}
    with_dataset.write(lambda c: operation_claims.claim(c, waiting.id, OWNER, 45))
    with_dataset.write(lambda c: operation_claims.finish(c, waiting.id, 1, {}))
    with_dataset.write(lambda c: revisions.delete(c, giver))
    with pytest.raises(CheckpointNotFound):
        with_dataset.write(lambda c: operations.submit(c, asked, 9))


def test_revisions_made_at_one_instant_have_names_of_their_own(
    actors: list[Database], race: Race, trained: Trained
) -> None:
    for _ in range(5):
        original = trained(actors[0])
        made = race.run([write(revisions.insert_one, original, new()) for _ in range(8)])
        assert sorted(one.name for one in made) == [f"r{n}" for n in range(1, 9)]
        named = race.run([write(revisions.insert_one, original, new(name="x"))] * 8)
        assert sum(isinstance(one, RevisionNameTaken) for one in named) == 7


def test_one_operation_done_twice_at_one_instant_makes_one_revision(
    actors: list[Database], race: Race, trained: Trained
) -> None:
    for _ in range(5):
        original, operation = trained(actors[0]), new_id("op")
        made = race.run([write(revisions.insert_one, original, new(), operation, 1)] * 8)
        assert len({one.id for one in made}) == 1


def test_a_run_is_deleted_or_its_checkpoint_is_used_but_never_both(
    actors: list[Database], race: Race, trained: Trained
) -> None:
    fields = runs.NewRun({}, "sha256:1", "ds_rows", "cpu", 1, 10)
    for i in range(12):
        run = actors[0].write(lambda c: runs.submit(c, fields, 10_000)).run
        original = trained(actors[0], run)
        revision = insert(actors[0], original).id
        end(actors[0], run)
        work = NewOperation("recalibrate", {}, original)
        acts = [
            write(runs.delete, run.id),
            write(models.put, f"m{i}", revision),
            write(revisions.insert_one, original, new()),
            write(operations.submit, work, 1000) if i % 2 else write(models.put, f"n{i}", original),
            write(revisions.delete, revision),
        ]
        found = race.run(acts)
        assert not any(isinstance(one, DatabaseUnavailable) for one in found), "a deadlock"
        deleted, *users, _ = found
        for served in actors[0].read(lambda c: models.page(c, 100)).data:
            assert actors[0].read(
                lambda c, one=served.newest.checkpoint_id: checkpoints.get(c, one)
            )
        if not isinstance(deleted, CheckpointInUse):
            assert not any(isinstance(one, models.Put | operations.Submitted) for one in users)
