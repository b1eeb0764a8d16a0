"""What points at what, so that nothing is deleted from under what needs it.

Whoever makes something point at a checkpoint or a dataset holds that row first; whoever deletes
locks the row and then looks. A checkpoint is held by its original: revisions come and go with it,
and an original never becomes another one's.

| what | keeps | how long |
|---|---|---|
| a version of a model | its checkpoint | as long as the model is there |
| an operation | its checkpoint, the donor of statistics, its dataset | until it has ended |
| an experiment | its runs, their datasets | until it has ended |
| a revision | nothing | it goes with its original |
"""

from sqlalchemy import Connection, Select, bindparam, func, or_, select
from sqlalchemy import delete as sql_delete

from core.errors import CheckpointInUse, CheckpointNotFound, DatasetNotFound, RunInUse
from core.ids import is_id
from core.states import ENDED
from core.tables import (
    checkpoints,
    datasets,
    experiments,
    idempotency,
    model_versions,
    operations,
    runs,
)

DONOR = "statistics_from"  # param of an operation: the checkpoint whose statistics it takes
MOST_NAMED = 20  # of the models or operations that a refusal lists

_ORIGINAL = select(func.coalesce(checkpoints.c.revision_of, checkpoints.c.id)).where(
    checkpoints.c.id == bindparam("checkpoint")
)
_CHECKPOINT = select(checkpoints.c.id).where(checkpoints.c.id == bindparam("checkpoint"))
_DATASET = select(datasets.c.id).where(datasets.c.id == bindparam("dataset"))
_HELD_DATASET = _DATASET.with_for_update(read=True)
_RUN = (
    select(runs.c.id)
    .join(checkpoints, checkpoints.c.run_id == runs.c.id)
    .where(checkpoints.c.id == bindparam("checkpoint"))
)


def hold_dataset(connection: Connection, dataset_id: str) -> None:
    """Keep a dataset from being deleted until this transaction ends.

    Raises:
        DatasetNotFound: it has been deleted.
    """
    if connection.execute(_HELD_DATASET, {"dataset": dataset_id}).scalar() is None:
        raise DatasetNotFound()


def hold_checkpoint(connection: Connection, checkpoint_id: str, alone: bool = False) -> str:
    """Keep a checkpoint from being deleted until this transaction ends.

    Args:
        alone: as the only one who holds it, in order to give it another revision.

    Returns:
        The id of its original, which is its own unless it is a revision.

    Raises:
        CheckpointNotFound: it has been deleted.
    """
    if not is_id("ckpt", checkpoint_id):
        raise CheckpointNotFound()
    wanted = {"checkpoint": checkpoint_id}
    original = connection.execute(_ORIGINAL, wanted).scalar()
    if original is None:
        raise CheckpointNotFound()
    if alone:  # a new row points at the run too, and deletions lock the run first
        shared = _RUN.with_for_update(read=True, key_share=True, of=runs)
        connection.execute(shared, {"checkpoint": original})
    lock = _CHECKPOINT.with_for_update(read=not alone)
    held = connection.execute(lock, {"checkpoint": original}).scalar()
    if held is None or connection.execute(_CHECKPOINT, wanted).scalar() is None:
        raise CheckpointNotFound()
    return str(original)


def refuse_needed(connection: Connection, experiment_id: str | None) -> None:
    """Make sure that an experiment's report needs its runs no more.

    Raises:
        RunInUse: the experiment has not ended.
    """
    going_on = experiments.c.state.not_in([state.value for state in ENDED])
    query = select(experiments.c.id).where(experiments.c.id == experiment_id, going_on)
    if experiment_id is not None and connection.execute(query).scalar() is not None:
        raise RunInUse(experiment_id)


def let_go_of_run(connection: Connection, run_id: str) -> None:
    """Make sure that a run's checkpoints may be deleted, and free the keys of what goes along.

    Raises:
        CheckpointInUse: a model or an operation that has not ended needs one of them.
    """
    _let_go(connection, select(checkpoints.c.id).where(checkpoints.c.run_id == run_id))


def let_go_of_checkpoint(connection: Connection, checkpoint_id: str) -> None:
    """Make sure that a checkpoint and its revisions may be deleted; see `let_go_of_run`.

    Raises:
        CheckpointInUse: a model or an operation that has not ended needs one of them.
    """
    its = or_(checkpoints.c.id == checkpoint_id, checkpoints.c.revision_of == checkpoint_id)
    _let_go(connection, select(checkpoints.c.id).where(its))


def _let_go(connection: Connection, wanted: Select[tuple[str]]) -> None:
    connection.execute(wanted.order_by(checkpoints.c.id).with_for_update()).all()
    _refuse_used(connection, wanted)
    ended = select(operations.c.id).where(operations.c.checkpoint_id.in_(wanted))
    connection.execute(sql_delete(idempotency).where(idempotency.c.resource_id.in_(ended)))


def _refuse_used(connection: Connection, wanted: Select[tuple[str]]) -> None:
    served = select(model_versions.c.model).where(model_versions.c.checkpoint_id.in_(wanted))
    models = _first(connection, served.distinct().order_by(model_versions.c.model))
    going_on = operations.c.state.not_in([state.value for state in ENDED])
    donor = operations.c.params[DONOR].as_string()
    needed = or_(operations.c.checkpoint_id.in_(wanted), donor.in_(wanted))
    worked_on = select(operations.c.id).where(needed, going_on)
    operating = _first(connection, worked_on.order_by(operations.c.id))
    if models or operating:
        raise CheckpointInUse(models, operating)


def _first(connection: Connection, query: Select[tuple[str]]) -> list[str]:
    return [str(found) for (found,) in connection.execute(query.limit(MOST_NAMED))]
