import math
from collections.abc import Callable, Sequence

import pytest

from core import metrics
from core.database import Database
from core.metrics import Point, Series
from core.runs import Run

Submit = Callable[..., Run]
NAN, INF = float("nan"), float("inf")


def add(database: Database, run: Run, name: str, pairs: Sequence[tuple[int, float]]) -> None:
    new = [Point(name, step, value) for step, value in pairs]
    database.write(lambda c: metrics.add(c, run.id, new))


def series(database: Database, run: Run, **wanted: object) -> dict[str, Series]:
    return database.read(lambda c: metrics.series(c, run.id, **wanted))  # type: ignore[arg-type]


def test_every_point_is_read_back_exactly(with_dataset: Database, submit: Submit) -> None:
    run = submit()
    pairs = [(1, 0.1), (2, 1e300), (3, 5e-324), (2**40, -0.5)]
    add(with_dataset, run, "train_loss", pairs)
    found = series(with_dataset, run)["train_loss"]
    assert list(zip(found.steps, found.values, strict=True)) == pairs
    assert (found.not_finite, found.sampled, found.of) == ([None] * 4, False, 4)


def test_a_value_that_is_not_finite_is_null_beside_its_name(
    with_dataset: Database, submit: Submit
) -> None:
    run = submit()
    add(with_dataset, run, "train_loss", [(1, NAN), (2, INF), (3, -INF), (4, 1.0)])
    found = series(with_dataset, run)["train_loss"]
    assert found.values == [None, None, None, 1.0]
    assert found.not_finite == ["nan", "inf", "-inf", None]


def test_a_point_written_again_replaces_the_first(with_dataset: Database, submit: Submit) -> None:
    run = submit()
    add(with_dataset, run, "train_loss", [(1, NAN), (2, 2.0)])
    add(with_dataset, run, "train_loss", [(1, 1.0), (2, INF)])
    found = series(with_dataset, run)["train_loss"]
    assert (found.values, found.not_finite) == ([1.0, None], [None, "inf"])


@pytest.mark.parametrize("wanted", [2, 3, 7, 10, 99, 100, 999])
def test_a_long_series_keeps_its_ends_and_says_what_it_left_out(
    with_dataset: Database, submit: Submit, wanted: int
) -> None:
    run = submit()
    add(with_dataset, run, "test_loss", [(10 * i, float(i)) for i in range(1000)])
    found = series(with_dataset, run, max_points=wanted)["test_loss"]
    assert (len(found.steps), found.sampled, found.of) == (wanted, True, 1000)
    assert (found.steps[0], found.steps[-1]) == (0, 9990)
    gaps = {b - a for a, b in zip(found.steps, found.steps[1:], strict=False)}
    assert max(gaps) - min(gaps) <= 10, "evenly apart, to one step of the series"


@pytest.mark.parametrize(("wanted", "sampled"), [(1000, False), (1001, False), (999, True)])
def test_a_series_that_fits_is_whole(
    with_dataset: Database, submit: Submit, wanted: int, sampled: bool
) -> None:
    run = submit()
    add(with_dataset, run, "test_loss", [(i, 0.0) for i in range(1000)])
    assert series(with_dataset, run, max_points=wanted)["test_loss"].sampled == sampled


def test_names_and_first_step_choose(with_dataset: Database, submit: Submit) -> None:
    run, other = submit(), submit()
    for name in ("a", "b", "c"):
        add(with_dataset, run, name, [(1, 1.0), (5, 5.0), (9, 9.0)])
    add(with_dataset, other, "a", [(1, 1.0)])
    found = series(with_dataset, run, names=["c", "a", "none"], from_step=5)
    assert list(found) == ["a", "c"]
    assert found["a"].steps == [5, 9]
    assert found["a"].of == 2
    assert series(with_dataset, run, names=[]) == {}


def test_deleting_beyond_a_step_keeps_the_step(with_dataset: Database, submit: Submit) -> None:
    run, other = submit(), submit()
    for one in (run, other):
        add(with_dataset, one, "a", [(1, 1.0), (5, 5.0), (9, 9.0)])
    assert with_dataset.write(lambda c: metrics.delete_beyond(c, run.id, 5)) == 1
    assert series(with_dataset, run)["a"].steps == [1, 5]
    assert series(with_dataset, other)["a"].steps == [1, 5, 9]


HISTORIES: dict[str, tuple[list[float], float | None, float | None]] = {
    # values in order, last, best
    "train_loss": ([3.0, 1.0, 2.0], 2.0, 1.0),
    "test_accuracy": ([0.1, 0.9, 0.5], 0.5, 0.9),
    "learning_rate": ([0.1, 0.2, 0.05], 0.05, 0.05),
    "test_loss": ([2.0, NAN, INF], None, 2.0),
    "validation_accuracy": ([NAN, 0.5, -INF], None, 0.5),
    "train_eval_gap": ([1.0, NAN], None, None),
    "first_loss": ([NAN], None, None),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_the_summary_is_the_same_grown_or_computed(
    with_dataset: Database, submit: Submit, name: str
) -> None:
    values, last, best = HISTORIES[name]
    run = submit()
    new = [Point(name, step, value) for step, value in enumerate(values)]
    with_dataset.write(lambda c: metrics.add(c, run.id, new))
    computed = with_dataset.read(lambda c: metrics.summary(c, run.id))
    grown: dict[str, dict[str, object]] = {}
    for point in new:
        grown = metrics.summed(grown, [point])
    assert grown == computed == metrics.summed({}, new)
    entry = computed[name]
    assert (entry["last"], entry["best"], entry["step"]) == (last, best, len(values) - 1)
    word = entry.get("last_not_finite")
    assert (word is None) == math.isfinite(values[-1])
