from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from core import checkpoints, claims, events, metrics, runs
from core.claims import NewCheckpoint, Owner, Point, Report, Restored, ResumePoint
from core.database import Database
from core.errors import Fenced
from core.ids import new_id
from core.runs import Run
from core.states import ENDED, Outcome, State

Claim = Submit = Callable[..., Run]
OWNER = Owner("worker-2", "host-2", "NVIDIA H200", 7, 8)
ERROR = {"cause": "user", "reason": "BAD_ROWS", "message": "Row 3 is bad."}


def point_at(step: int, epoch: int = 1) -> ResumePoint:
    name = f"runs/r/e{epoch}/step-{step}"
    return ResumePoint(step, f"{name}.safetensors", "a" * 64, f"{name}.resume", "b" * 64)


def checkpoint_at(step: int, sha256: str = "c" * 64, epoch: int = 1) -> NewCheckpoint:
    key = f"runs/r/e{epoch}/step-{step}.safetensors"
    scores = {"test_accuracy": 0.5, "test_loss": None}
    return NewCheckpoint(step, key, sha256, 10, "sha256:f", 2, "sha256:w", scores)


def log(database: Database, run: Run) -> list[str]:
    return [event.type for event in database.read(lambda c: events.after(c, run.id, 0))]


def read(database: Database, run: Run) -> Run:
    return database.read(lambda c: runs.get(c, run.id))


def lose(database: Database, run: Run, max_crashes: int = 3) -> Run:
    return database.write(lambda c: claims.lost(c, run.id, run.epoch, "killed", max_crashes))


def test_a_claim_makes_an_owner(with_dataset: Database, submit: Submit) -> None:
    run = submit()
    claimed = with_dataset.write(lambda c: claims.claim(c, run.id, OWNER, 45))
    assert claimed is not None
    assert claimed == read(with_dataset, run)
    assert (claimed.state, claimed.epoch, claimed.attempts) == (State.RUNNING, 1, 1)
    assert (claimed.worker_id, claimed.host, claimed.pid, claimed.pid_start) == (
        OWNER.worker_id,
        OWNER.host,
        OWNER.pid,
        OWNER.pid_start,
    )
    assert claimed.worker_device == OWNER.device
    assert claimed.started_at is not None
    assert log(with_dataset, run) == ["queued", "started"]


@pytest.mark.parametrize("state", ["running", "pausing", "paused", "stopping", "cancelled"])
def test_only_a_queued_run_can_be_claimed(
    with_dataset: Database, submit: Submit, state: str
) -> None:
    run = submit()
    query = text("UPDATE runs SET state = :state")
    with_dataset.write(lambda c: c.execute(query, {"state": state}) and None)
    assert with_dataset.write(lambda c: claims.claim(c, run.id, OWNER, 45)) is None
    assert log(with_dataset, run) == ["queued"]


def test_an_unknown_run_cannot_be_claimed(database: Database) -> None:
    assert database.write(lambda c: claims.claim(c, new_id("run"), OWNER, 45)) is None


def test_a_free_slot_takes_what_its_device_may(with_dataset: Database, submit: Submit) -> None:
    cuda, auto, cpu = submit(device="cuda"), submit(device="auto"), submit(device="cpu")

    def first(device: Any, gpu_alive: bool, **more: int) -> str | None:
        found = with_dataset.read(lambda c: claims.next_queued(c, device, gpu_alive, **more))
        return found.id if found else None

    assert first("gpu", True) == cuda.id
    assert first("cpu", True) == cpu.id
    assert first("cpu", False) == auto.id
    for run in (cuda, cpu):
        with_dataset.write(lambda c, run=run: claims.claim(c, run.id, OWNER, 45))
    assert first("gpu", True) == auto.id
    assert first("cpu", True) is None
    assert first("cpu", False, threads=1) == auto.id
    assert first("cpu", False, threads=0) is None


def test_an_interrupted_run_goes_before_those_never_started(
    with_dataset: Database, submit: Submit, claim: Claim
) -> None:
    oldest, interrupted, _ = submit(), claim(), submit()
    with_dataset.write(lambda c: claims.release(c, interrupted.id, 1, "Shut down."))
    found = with_dataset.read(lambda c: claims.next_queued(c, "cpu", False))
    assert found is not None
    assert found.id == interrupted.id
    claim(found)
    found = with_dataset.read(lambda c: claims.next_queued(c, "cpu", False))
    assert found is not None
    assert found.id == oldest.id


def test_a_spec_of_a_newer_version_waits_for_a_newer_worker(
    with_dataset: Database, submit: Submit
) -> None:
    submit()
    newer = text("UPDATE runs SET spec_version = spec_version + 1")
    with_dataset.write(lambda c: c.execute(newer) and None)
    assert with_dataset.read(lambda c: claims.next_queued(c, "cpu", False)) is None


def test_a_released_run_may_have_to_wait(with_dataset: Database, claim: Claim) -> None:
    run = claim()
    with_dataset.write(lambda c: claims.release(c, run.id, 1, "The disk is full.", 300))
    assert with_dataset.read(lambda c: claims.next_queued(c, "cpu", False)) is None
    assert with_dataset.write(lambda c: claims.claim(c, run.id, OWNER, 45)) is None


def test_what_waits_is_counted_by_the_queue_that_may_take_it(
    with_dataset: Database, submit: Submit
) -> None:
    for device in ("cuda", "auto", "auto", "cpu"):
        submit(device=device)
    assert with_dataset.read(lambda c: claims.waiting(c, True)) == {"cpu": 1, "gpu": 3}
    assert with_dataset.read(lambda c: claims.waiting(c, False)) == {"cpu": 3, "gpu": 1}


def test_an_owner_names_its_trainer_and_renews_its_lease(
    with_dataset: Database, claim: Claim
) -> None:
    run = claim(lease_seconds=-1)
    assert [r.id for r in with_dataset.read(lambda c: claims.expired(c, 0))] == [run.id]
    assert with_dataset.read(lambda c: claims.expired(c, 30)) == []
    assert with_dataset.write(lambda c: claims.renew(c, run.id, 1, 45)) is State.RUNNING
    assert with_dataset.read(lambda c: claims.expired(c, 0)) == []
    with_dataset.write(lambda c: claims.attach(c, run.id, 1, 55, 66, 30.0))
    (owned,) = with_dataset.read(lambda c: claims.owned_by_host(c, "host-1"))
    assert (owned.id, owned.pid, owned.pid_start) == (run.id, 55, 66)
    assert with_dataset.read(lambda c: claims.owned_by_host(c, "host-2")) == []


def test_an_owner_hears_what_users_wish(with_dataset: Database, claim: Claim) -> None:
    run = claim()
    with_dataset.write(lambda c: runs.pause(c, run.id))
    assert with_dataset.write(lambda c: claims.renew(c, run.id, 1, 45)) is State.PAUSING
    with_dataset.write(lambda c: runs.cancel(c, run.id))
    told = Report(step=3)
    assert with_dataset.write(lambda c: claims.report(c, run.id, 1, told)) is State.STOPPING


Write = Callable[[Any, str, int], Any]
WRITES: dict[str, Write] = {
    "attach": lambda c, run, epoch: claims.attach(c, run, epoch, 1, 2, 30.0),
    "renew": lambda c, run, epoch: claims.renew(c, run, epoch, 45),
    "report": lambda c, run, epoch: claims.report(c, run, epoch, Report(5, 1.0)),
    "points": lambda c, run, epoch: claims.report(
        c, run, epoch, Report(5, 1.0, [Point("train_loss", 5, 1.0)])
    ),
    "save_resume": lambda c, run, epoch: claims.save_resume(c, run, epoch, point_at(50)),
    "drop_resume": lambda c, run, epoch: claims.drop_resume(c, run, epoch, "Unreadable."),
    "add_checkpoint": lambda c, run, epoch: claims.add_checkpoint(c, run, epoch, checkpoint_at(50)),
    "finish": lambda c, run, epoch: claims.finish(c, run, epoch, Outcome.COMPLETED),
    "fail": lambda c, run, epoch: claims.fail(c, run, epoch, ERROR),
    "release": lambda c, run, epoch: claims.release(c, run, epoch, "Shut down."),
    "lost": lambda c, run, epoch: claims.lost(c, run, epoch, "killed", 3),
}


@pytest.mark.parametrize("name", WRITES)
def test_an_owner_that_lost_its_run_changes_nothing(
    with_dataset: Database, claim: Claim, name: str
) -> None:
    write = WRITES[name]
    run = claim()
    lose(with_dataset, run)
    waiting = read(with_dataset, run)
    with pytest.raises(Fenced):
        with_dataset.write(lambda c: write(c, run.id, 1))
    assert read(with_dataset, run) == waiting
    again = claim(waiting)
    with pytest.raises(Fenced) as fenced:
        with_dataset.write(lambda c: write(c, run.id, 1))
    assert fenced.value.metadata == {"run": run.id, "epoch": 1}
    assert read(with_dataset, run) == again
    assert with_dataset.read(lambda c: checkpoints.page(c, run.id)).data == []
    with_dataset.write(lambda c: write(c, run.id, 2))


@pytest.mark.parametrize("name", WRITES)
def test_nothing_changes_a_run_that_has_ended(
    with_dataset: Database, claim: Claim, name: str
) -> None:
    run = claim()
    ended = with_dataset.write(lambda c: claims.finish(c, run.id, 1, Outcome.DIVERGED))
    with pytest.raises(Fenced):
        with_dataset.write(lambda c: WRITES[name](c, run.id, 1))
    assert read(with_dataset, run) == ended
    with pytest.raises(Fenced):
        with_dataset.write(lambda c: WRITES[name](c, new_id("run"), 1))


def test_a_report_moves_progress_metrics_and_log(with_dataset: Database, claim: Claim) -> None:
    run = claim()
    for step, loss in ((10, 0.5), (20, 0.25), (30, float("nan"))):
        points = [Point("train_loss", step, loss), Point("train_accuracy", step, step / 100)]
        told = Report(step, 1000.0, points, evaluated=step == 30)
        with_dataset.write(lambda c, told=told: claims.report(c, run.id, 1, told))
    seen = read(with_dataset, run)
    assert (seen.step, seen.steps_per_second, seen.fraction) == (30, 1000.0, 0.3)
    assert seen.eta_seconds == pytest.approx(0.07)
    assert with_dataset.write(lambda c: runs.pause(c, run.id)).eta_seconds is None
    assert seen.metrics == {
        "train_loss": {"last": None, "best": 0.25, "step": 30, "last_not_finite": "nan"},
        "train_accuracy": {"last": 0.3, "best": 0.3, "step": 30},
    }
    last = with_dataset.read(lambda c: events.after(c, run.id, 0))[2]
    assert (last.type, last.data["metrics"]) == ("metrics", seen.metrics)
    kinds = ["queued", "started", "metrics", "pausing"]
    assert log(with_dataset, run) == kinds, "evaluations alone are told"


def test_a_speed_that_is_not_finite_is_not_known(with_dataset: Database, claim: Claim) -> None:
    run = claim()
    told = Report(1, float("inf"))
    with_dataset.write(lambda c: claims.report(c, run.id, 1, told))
    assert read(with_dataset, run).steps_per_second is None


def test_the_next_owner_goes_on_where_the_last_one_saved(
    with_dataset: Database, claim: Claim
) -> None:
    run = claim()
    for step in (10, 20, 30):
        points = [Point("train_loss", step, 1 / step), Point("late", step, 1.0)][: step // 10]
        told = Report(step, 1.0, points)
        with_dataset.write(lambda c, told=told: claims.report(c, run.id, 1, told))
        if step == 10:
            with_dataset.write(lambda c: claims.save_resume(c, run.id, 1, point_at(10)))
    lose(with_dataset, run)
    again = claim(run)
    assert again.resume == point_at(10)
    assert (again.step, again.epoch, again.attempts) == (10, 2, 2)
    assert again.metrics == {"train_loss": {"last": 0.1, "best": 0.1, "step": 10}}
    assert again == read(with_dataset, run)
    series = with_dataset.read(lambda c: metrics.series(c, run.id))
    assert {name: one.steps for name, one in series.items()} == {"train_loss": [10]}
    resumed = with_dataset.read(lambda c: events.after(c, run.id, 0))[-1]
    assert (resumed.type, resumed.data["step"], resumed.data["epoch"]) == ("resumed", 10, 2)


def test_without_a_resume_point_everything_is_measured_again(
    with_dataset: Database, claim: Claim
) -> None:
    run = claim()
    told = Report(0, None, [Point("test_loss", 0, 2.3)])
    with_dataset.write(lambda c: claims.report(c, run.id, 1, told))
    lose(with_dataset, run)
    again = claim(run)
    assert (again.step, again.resume, again.metrics) == (0, None, {})
    assert with_dataset.read(lambda c: metrics.series(c, run.id)) == {}


def test_the_resume_step_never_falls(with_dataset: Database, claim: Claim) -> None:
    run = claim()
    with_dataset.write(lambda c: claims.save_resume(c, run.id, 1, point_at(20)))
    with pytest.raises(Fenced):
        with_dataset.write(lambda c: claims.save_resume(c, run.id, 1, point_at(19)))
    assert read(with_dataset, run).resume == point_at(20)


def test_saving_says_which_files_nothing_names_any_more(
    with_dataset: Database, claim: Claim
) -> None:
    run = claim()

    def save(step: int) -> frozenset[str]:
        return with_dataset.write(lambda c: claims.save_resume(c, run.id, 1, point_at(step)))

    assert save(10) == frozenset()
    assert save(20) == {point_at(10).checkpoint_key, point_at(10).resume_key}
    with_dataset.write(lambda c: claims.add_checkpoint(c, run.id, 1, checkpoint_at(20)))
    assert save(30) == {point_at(20).resume_key}, "the listed checkpoint stays"
    assert with_dataset.read(lambda c: checkpoints.keys(c, run.id)) == {
        checkpoint_at(20).key,
        point_at(30).checkpoint_key,
        point_at(30).resume_key,
    }


def test_an_unreadable_resume_point_is_given_up(with_dataset: Database, claim: Claim) -> None:
    run = claim()
    told = Report(20, None, [Point("train_loss", 20, 1.0)])
    with_dataset.write(lambda c: claims.report(c, run.id, 1, told))
    with_dataset.write(lambda c: claims.save_resume(c, run.id, 1, point_at(20)))
    lose(with_dataset, run)
    claim(run)
    gone = with_dataset.write(lambda c: claims.drop_resume(c, run.id, 2, "It was torn."))
    assert gone == {point_at(20).checkpoint_key, point_at(20).resume_key}
    seen = read(with_dataset, run)
    assert (seen.resume, seen.step, seen.metrics) == (None, 0, {})
    warning = with_dataset.read(lambda c: events.after(c, run.id, 0))[-1]
    assert (warning.type, warning.level, warning.message) == ("warning", "warning", "It was torn.")
    with_dataset.write(lambda c: claims.save_resume(c, run.id, 2, point_at(5, epoch=2)))


def test_the_newest_checkpoint_is_the_runs(with_dataset: Database, claim: Claim) -> None:
    run = claim()

    def add(step: int) -> str:
        return with_dataset.write(
            lambda c: claims.add_checkpoint(c, run.id, 1, checkpoint_at(step))
        )

    first, second = add(10), add(20)
    assert read(with_dataset, run).checkpoint_id == second
    page = with_dataset.read(lambda c: checkpoints.page(c, run.id))
    assert [c.id for c in page.data] == [second, first]
    told = with_dataset.read(lambda c: events.after(c, run.id, 0))[-1]
    assert (told.type, told.data["checkpoint"], told.data["step"]) == ("checkpoint", second, 20)


def test_a_step_keeps_its_first_checkpoint(with_dataset: Database, claim: Claim) -> None:
    run = claim()
    first = with_dataset.write(lambda c: claims.add_checkpoint(c, run.id, 1, checkpoint_at(10)))
    before = read(with_dataset, run)
    same = checkpoint_at(10, epoch=2)
    again = with_dataset.write(lambda c: claims.add_checkpoint(c, run.id, 1, same))
    assert (again, read(with_dataset, run)) == (first, before)
    other = checkpoint_at(10, sha256="d" * 64)
    assert with_dataset.write(lambda c: claims.add_checkpoint(c, run.id, 1, other)) == first
    assert with_dataset.read(lambda c: checkpoints.get(c, first)).sha256 == "c" * 64
    assert log(with_dataset, run) == ["queued", "started", "checkpoint", "warning"]


ENDS: list[tuple[str, str, State, str]] = [
    # what users asked, what the owner does, where the run ends up, its event
    ("", "finish", State.SUCCEEDED, "succeeded"),
    ("pause", "finish", State.SUCCEEDED, "succeeded"),
    ("cancel", "finish", State.CANCELLED, "cancelled"),
    ("", "fail", State.FAILED, "failed"),
    ("pause", "fail", State.FAILED, "failed"),
    ("cancel", "fail", State.FAILED, "failed"),
    ("", "release", State.QUEUED, "requeued"),
    ("pause", "release", State.PAUSED, "paused"),
    ("cancel", "release", State.CANCELLED, "cancelled"),
    ("", "lost", State.QUEUED, "requeued"),
    ("pause", "lost", State.PAUSED, "paused"),
    ("cancel", "lost", State.CANCELLED, "cancelled"),
]


@pytest.mark.parametrize(("asked", "name", "state", "event"), ENDS)
def test_an_owner_lets_go(
    with_dataset: Database, claim: Claim, asked: str, name: str, state: State, event: str
) -> None:
    run = claim()
    with_dataset.write(lambda c: claims.report(c, run.id, 1, Report(40, 10.0)))
    if asked:
        with_dataset.write(lambda c: getattr(runs, asked)(c, run.id))
    after = with_dataset.write(lambda c: WRITES[name](c, run.id, 1))
    assert after == read(with_dataset, run)
    assert after.state is state
    assert (after.worker_id, after.host, after.pid, after.lease_until) == (None,) * 4
    assert after.ended == (state in ENDED) == (after.finished_at is not None)
    assert after.outcome == (Outcome.COMPLETED if state is State.SUCCEEDED else None)
    assert after.step == (100 if state is State.SUCCEEDED else 40)
    assert after.error == (ERROR if state is State.FAILED else None)
    told = log(with_dataset, run)
    assert told[-1] == event
    assert sum(kind in events.TERMINAL for kind in told) == after.ended


def test_a_diverged_run_stays_at_its_step(with_dataset: Database, claim: Claim) -> None:
    run = claim()
    with_dataset.write(lambda c: claims.report(c, run.id, 1, Report(40, 10.0)))
    ended = with_dataset.write(
        lambda c: claims.finish(c, run.id, 1, Outcome.DIVERGED, {"at_step": 40})
    )
    assert (ended.state, ended.outcome, ended.step) == (State.SUCCEEDED, Outcome.DIVERGED, 40)
    last = with_dataset.read(lambda c: events.after(c, run.id, 0))[-1]
    assert last.data == {"outcome": "diverged", "epoch": 1, "at_step": 40}
    assert last.terminal


def test_a_run_that_kills_its_owners_without_progress_fails(
    with_dataset: Database, claim: Claim
) -> None:
    run = claim()
    for crashes in (1, 2, 3):
        waiting = lose(with_dataset, run)
        assert (waiting.state, waiting.crashes) == (State.QUEUED, crashes)
        run = claim(waiting)
    failed = lose(with_dataset, run)
    assert failed.state is State.FAILED
    assert failed.error is not None
    assert (failed.error["cause"], failed.error["reason"]) == ("infra", "POISON_RUN")
    assert "killed" in failed.error["message"]
    assert log(with_dataset, run)[-1] == "failed"


def test_progress_between_losses_starts_the_count_again(
    with_dataset: Database, claim: Claim
) -> None:
    run = claim()
    for step in range(1, 9):
        run = claim(lose(with_dataset, run, max_crashes=2))
        if step % 2:
            point = point_at(step)
            with_dataset.write(
                lambda c, run=run, point=point: claims.save_resume(c, run.id, run.epoch, point)
            )
    assert run.state is State.RUNNING
    assert run.epoch == 9


def test_a_shutdown_is_no_crash(with_dataset: Database, claim: Claim) -> None:
    run = claim()
    for _ in range(5):
        run = claim(
            with_dataset.write(
                lambda c, run=run: claims.release(c, run.id, run.epoch, "Shut down.")
            )
        )
    assert (run.crashes, run.attempts) == (0, 6)


def test_a_run_lost_while_stopping_never_fails_as_poison(
    with_dataset: Database, claim: Claim
) -> None:
    run = claim()
    with_dataset.write(lambda c: runs.cancel(c, run.id))
    assert lose(with_dataset, run, max_crashes=0).state is State.CANCELLED


def test_a_batch_that_the_statistics_forgot_is_in_the_log(
    with_dataset: Database, claim: Claim
) -> None:
    run = claim()
    told = Report(9, None, restored=[Restored(7, ("1", "4"))])
    with_dataset.write(lambda c: claims.report(c, run.id, 1, told))
    logged = with_dataset.read(lambda c: events.after(c, run.id, 0))
    [event] = [e for e in logged if e.type == "statistics_restored"]
    assert (event.level, event.data) == ("warning", {"step": 7, "layers": ["1", "4"]})


def test_a_checkpoints_gap_is_a_metric_of_the_run_also_when_it_is_written_again(
    with_dataset: Database, claim: Claim
) -> None:
    run = claim()
    new = replace(checkpoint_at(30), metrics={"test_loss": 1.0, "train_eval_gap": 4.5})
    for _ in range(2):
        with_dataset.write(lambda c: claims.add_checkpoint(c, run.id, 1, new))
    found = with_dataset.read(lambda c: runs.get(c, run.id)).metrics
    assert found == {"train_eval_gap": {"last": 4.5, "best": 4.5, "step": 30}}
    series = with_dataset.read(lambda c: metrics.series(c, run.id, ["train_eval_gap"]))
    assert series["train_eval_gap"].steps == [30]
