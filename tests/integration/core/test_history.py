"""The points of a history: which checkpoints, in which order, and which of too many."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from core import checkpoints, history, revisions
from core.database import Database
from core.revisions import NewRevision
from core.runs import Run

Claim = Callable[..., Run]
Trained = Callable[..., str]


def point(step: int) -> dict[str, int]:
    return {"rows": step}


@pytest.fixture
def run(claim: Claim, trained: Trained, with_dataset: Database) -> tuple[Run, list[str]]:
    """A run with checkpoints at steps 30, 10, 20 and 40, and one that nobody compared at 25."""
    run = claim()
    made = [trained(with_dataset, run, step=step, history=point(step)) for step in (30, 10, 20, 40)]
    trained(with_dataset, run, step=25)
    return run, made


def test_points_ascend_by_step_whenever_they_were_written(
    with_dataset: Database, run: tuple[Run, list[str]]
) -> None:
    one, made = run
    found = with_dataset.read(lambda c: history.of_run(c, one.id))
    assert [p.step for p in found.points] == [10, 20, 30, 40]
    assert [p.checkpoint_id for p in found.points] == [made[1], made[2], made[0], made[3]]
    assert [p.values for p in found.points] == [point(step) for step in (10, 20, 30, 40)]
    assert (found.of, found.is_sampled) == (4, False)


def test_a_checkpoint_knows_nothing_of_later_steps(
    with_dataset: Database, run: tuple[Run, list[str]]
) -> None:
    record = with_dataset.read(lambda c: checkpoints.get(c, run[1][0]))
    found = with_dataset.read(lambda c: history.until(c, record))
    assert [p.step for p in found.points] == [10, 20, 30]


def test_a_revision_has_the_history_of_its_original_and_is_no_point_of_it(
    with_dataset: Database, run: tuple[Run, list[str]], trained: Trained
) -> None:
    elsewhere = trained(with_dataset, history=point(7))
    for original, steps in ((run[1][2], [10, 20]), (elsewhere, [7])):
        new = NewRevision(f"revisions/{original}/x", "b" * 64, 9, "sha256:g", "sha256:w", {}, {})
        revision = with_dataset.write(
            lambda c, of=original, new=new: revisions.insert_one(c, of, new)
        )
        found = with_dataset.read(lambda c, it=revision: history.until(c, it))
        assert [p.step for p in found.points] == steps
        assert revision.id not in [p.checkpoint_id for p in found.points]


def test_what_was_trained_elsewhere_has_its_own_point_or_none(
    with_dataset: Database, trained: Trained
) -> None:
    made = [trained(with_dataset, history=given) for given in (point(7), None)]
    records = [with_dataset.read(lambda c, it=it: checkpoints.get(c, it)) for it in made]
    found = [with_dataset.read(lambda c, it=it: history.until(c, it)) for it in records]
    assert [len(one.points) for one in found] == [1, 0]


@pytest.mark.parametrize(("count", "most"), [(2, 2), (3, 2), (11, 4), (40, 39), (41, 7)])
def test_too_many_points_are_chosen_evenly_with_the_first_and_the_last(
    with_dataset: Database, claim: Claim, trained: Trained, count: int, most: int
) -> None:
    run = claim()
    for step in range(count):
        trained(with_dataset, run, step=step, history=point(step))
    found = with_dataset.read(lambda c: history.of_run(c, run.id, most))
    steps = [p.step for p in found.points]
    assert (len(steps), found.of) == (most, count)
    assert (steps[0], steps[-1]) == (0, count - 1)
    gaps = [after - before for before, after in pairwise(steps)]
    assert max(gaps) - min(gaps) <= 1
    assert found.is_sampled is (most < count)


def test_of_many_layers_fewer_points_are_told(
    with_dataset: Database, claim: Claim, trained: Trained
) -> None:
    """What is told is bounded by its size, not by its points alone."""
    run = claim()
    layers = history.MOST_LAYERS // 4
    for step in range(11):
        trained(with_dataset, run, step=step, history=point(step), norm_layers=layers)
    found = with_dataset.read(lambda c: history.of_run(c, run.id))
    assert ([p.step for p in found.points], found.of) == ([0, 4, 7, 10], 11)
    trained(with_dataset, run, step=11, history=point(11), norm_layers=100 * layers)
    found = with_dataset.read(lambda c: history.of_run(c, run.id))
    assert [p.step for p in found.points] == [0, 11]
