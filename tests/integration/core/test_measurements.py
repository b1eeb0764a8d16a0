from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from core import claims, measurements, runs
from core.claims import Measurement, Point, Report, ResumePoint
from core.database import Database
from core.measurements import Measurements, Wanted
from core.runs import Run
from core.states import Outcome
from core.tables import measurements as table

Submit = Claim = Callable[..., Run]


def add(database: Database, run: Run, kind: str, *steps: int, **data: Any) -> None:
    new = [Measurement(kind, step, {"at": step, **data}) for step in steps]
    database.write(lambda c: measurements.add(c, run.id, new))


def read(database: Database, run: Run, **wanted: Any) -> dict[str, Measurements]:
    return database.read(lambda c: measurements.read(c, Wanted(run.id, **wanted)))


def test_every_measurement_is_read_back_by_kind_and_step(
    with_dataset: Database, submit: Submit
) -> None:
    run, other = submit(), submit()
    data = {"layers": [{"name": "0", "share": None, "map": [[1, 0], [0.5, -1e300]]}]}
    add(with_dataset, run, "saturation", 2**40, 0, **data)
    add(with_dataset, run, "moments", 7)
    add(with_dataset, other, "moments", 9)
    assert read(with_dataset, run) == {
        "moments": Measurements([7], [{"at": 7}], False, 1),
        "saturation": Measurements(
            [0, 2**40], [{"at": 0, **data}, {"at": 2**40, **data}], False, 2
        ),
    }


def test_a_measurement_written_again_replaces_the_first(
    with_dataset: Database, submit: Submit
) -> None:
    run = submit()
    add(with_dataset, run, "moments", 5, 6, old=True)
    add(with_dataset, run, "saturation", 5, old=True)
    add(with_dataset, run, "moments", 5, 7)
    found = read(with_dataset, run)
    assert found["moments"].values == [{"at": 5}, {"at": 6, "old": True}, {"at": 7}]
    assert found["saturation"].values == [{"at": 5, "old": True}]


def test_a_report_may_hold_tens_of_thousands(with_dataset: Database, submit: Submit) -> None:
    run = submit()
    for _ in range(2):
        add(with_dataset, run, "moments", *range(30_000))
    assert read(with_dataset, run, max_points=2)["moments"].of == 30_000


def test_kinds_and_first_step_choose(with_dataset: Database, submit: Submit) -> None:
    run = submit()
    for kind in ("a", "b", "c"):
        add(with_dataset, run, kind, 1, 5, 9)
    found = read(with_dataset, run, kinds=["c", "a", "none"], from_step=5)
    assert {kind: one.steps for kind, one in found.items()} == {"a": [5, 9], "c": [5, 9]}
    assert read(with_dataset, run, kinds=[]) == {}


@pytest.mark.parametrize("most", [2, 3, 7, 99, 100, 101])
def test_of_too_many_the_first_the_last_and_evenly_between_are_read(
    with_dataset: Database, submit: Submit, most: int
) -> None:
    run = submit()
    add(with_dataset, run, "moments", *range(0, 1000, 10))
    add(with_dataset, run, "single", 3)
    found = read(with_dataset, run, max_points=most)
    one = found["moments"]
    assert (len(one.steps), one.sampled, one.of) == (min(most, 100), most < 100, 100)
    assert (one.steps[0], one.steps[-1]) == (0, 990)
    gaps = {b - a for a, b in zip(one.steps, one.steps[1:], strict=False)}
    assert max(gaps) - min(gaps) <= 10
    assert found["single"] == Measurements([3], [{"at": 3}], False, 1)


def test_the_bytes_of_an_answer_are_known_before_it_is_read(
    with_dataset: Database, submit: Submit
) -> None:
    run = submit()
    add(with_dataset, run, "moments", *range(50), text="x" * 1000)
    whole = with_dataset.read(lambda c: measurements.bytes_of(c, Wanted(run.id)))
    few = with_dataset.read(lambda c: measurements.bytes_of(c, Wanted(run.id, max_points=5)))
    none = with_dataset.read(lambda c: measurements.bytes_of(c, Wanted(run.id, ["other"])))
    assert 50 * 1_010 <= whole <= 50 * 1_040
    assert 5 * 1_010 <= few <= 5 * 1_040
    assert none == 0


def report(database: Database, run: Run, *steps: int) -> None:
    told = Report(
        steps[-1],
        points=[Point("moments.mean", step, 1.0) for step in steps],
        measured=[Measurement("moments", step, {"at": step}) for step in steps],
    )
    database.write(lambda c: claims.report(c, run.id, run.epoch, told))


def save(database: Database, run: Run, step: int) -> None:
    point = ResumePoint(step, "runs/r/a", "a" * 64, "runs/r/b", "b" * 64)
    database.write(lambda c: claims.save_resume(c, run.id, run.epoch, point))


def test_a_report_writes_measurements_with_its_points(with_dataset: Database, claim: Claim) -> None:
    run = claim()
    report(with_dataset, run, 0, 4)
    report(with_dataset, run, 8)
    assert read(with_dataset, run)["moments"].steps == [0, 4, 8]


def test_what_lies_beyond_the_resume_point_is_gone_with_the_next_claim(
    with_dataset: Database, claim: Claim
) -> None:
    run = claim()
    report(with_dataset, run, 0, 4)
    save(with_dataset, run, 6)
    report(with_dataset, run, 6, 8)
    with_dataset.write(lambda c: claims.lost(c, run.id, run.epoch, "killed", 3))
    again = claim(run)
    assert read(with_dataset, run)["moments"].steps == [0, 4, 6]
    report(with_dataset, again, 6, 8, 12)
    assert read(with_dataset, run)["moments"].steps == [0, 4, 6, 8, 12]


def test_measurements_without_any_point_are_taken_back_too(
    with_dataset: Database, claim: Claim
) -> None:
    run = claim()
    told = Report(9, measured=[Measurement("histograms", 9, {})])
    with_dataset.write(lambda c: claims.report(c, run.id, run.epoch, told))
    with_dataset.write(lambda c: claims.lost(c, run.id, run.epoch, "killed", 3))
    claim(run)
    assert read(with_dataset, run) == {}


def test_a_resume_point_that_is_given_up_leaves_no_measurement(
    with_dataset: Database, claim: Claim
) -> None:
    run = claim()
    report(with_dataset, run, 0, 4)
    save(with_dataset, run, 6)
    with_dataset.write(lambda c: claims.drop_resume(c, run.id, run.epoch, "It is unreadable."))
    assert read(with_dataset, run) == {}


def test_measurements_go_with_their_run(with_dataset: Database, claim: Claim) -> None:
    run = claim()
    report(with_dataset, run, 0, 4)
    with_dataset.write(lambda c: claims.finish(c, run.id, run.epoch, Outcome.COMPLETED))
    with_dataset.write(lambda c: runs.delete(c, run.id))
    count = select(func.count()).select_from(table)
    assert with_dataset.read(lambda c: c.execute(count).scalar_one()) == 0
