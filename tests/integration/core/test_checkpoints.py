from collections.abc import Callable

import pytest

from core import checkpoints
from core.checkpoints import NewCheckpoint, Origin
from core.database import Database
from core.errors import BadCursor, CheckpointNotFound
from core.runs import Run

Submit = Callable[..., Run]
NEW = NewCheckpoint(
    step=7,
    key="imports/one.safetensors",
    sha256="a" * 64,
    bytes=2**40,
    fingerprint="sha256:f",
    norm_layers=2,
    weights_hash="sha256:w",
    metrics={"test_loss": None, "test_accuracy": 0.97},
)


def insert(database: Database, **origin: object) -> str:
    given = Origin({"dataset": "digits"}, **origin)  # type: ignore[arg-type]
    return database.write(lambda c: checkpoints.insert_one(c, NEW, given))


def test_a_checkpoint_trained_elsewhere_reads_back(database: Database) -> None:
    checkpoint_id = insert(database)
    found = database.read(lambda c: checkpoints.get(c, checkpoint_id))
    assert {name: getattr(found, name) for name in vars(NEW)} == vars(NEW)
    assert (found.run_id, found.epoch, found.revision_of) == (None, 0, None)
    assert found.spec == {"dataset": "digits"}


def test_pages_lead_from_the_newest_to_the_oldest(with_dataset: Database, submit: Submit) -> None:
    run, other = submit(), submit()
    mine = [insert(with_dataset, run_id=run.id) for _ in range(3)]
    foreign = insert(with_dataset, run_id=other.id)
    first = with_dataset.read(lambda c: checkpoints.page(c, run.id, 2))
    assert ([c.id for c in first.data], first.has_more) == (mine[:0:-1], True)
    rest = with_dataset.read(lambda c: checkpoints.page(c, run.id, 2, first.data[-1].id))
    assert ([c.id for c in rest.data], rest.has_more) == (mine[:1], False)
    everything = with_dataset.read(lambda c: checkpoints.page(c))
    assert [c.id for c in everything.data] == [foreign, *mine[::-1]]


def test_a_cursor_of_another_list_is_refused(with_dataset: Database, submit: Submit) -> None:
    run, other = submit(), submit()
    foreign = insert(with_dataset, run_id=other.id)
    for after in (foreign, "ckpt_" + "0" * 32, "nothing", "\x00"):
        with pytest.raises(BadCursor):
            with_dataset.read(lambda c, after=after: checkpoints.page(c, run.id, 2, after))
    with pytest.raises(ValueError, match="1 to 100"):
        with_dataset.read(lambda c: checkpoints.page(c, run.id, 0))


@pytest.mark.parametrize("checkpoint_id", ["ckpt_" + "0" * 32, "run_x", "", "\x00", "\ud800"])
def test_an_id_of_nothing_is_not_found(database: Database, checkpoint_id: str) -> None:
    with pytest.raises(CheckpointNotFound):
        database.read(lambda c: checkpoints.get(c, checkpoint_id))
