"""Experiments on a real worker: their runs become one report, the same one whatever happens."""

import csv
import hashlib
import io
import os
import signal
from typing import Any

import pytest

from core import experiments, operations, runs
from core.experiments import Experiment
from core.operations import Operation
from core.states import State
from model.lab.document import canonical
from tests.workers import Service, until
from worker.services import Services
from worker.tidy import sweep

BASE: dict[str, Any] = {
    "dataset": "digits",
    "network": {"kind": "mlp", "hidden": [10]},
    "budget": {"steps": 60},
    "evaluate_every": {"steps": 20},
}
#: Long enough to be interrupted, short enough for a test.
LONG = BASE | {"budget": {"steps": 3000}, "evaluate_every": {"steps": 500}}


@pytest.fixture(scope="module")
def reported(steady: Service) -> Experiment:
    """A pair on digits with its report."""
    return steady.until_reported(steady.ask("pair", base=BASE).id)


def report_operation(service: Service, experiment: Experiment) -> Operation:
    found = service.database.read(lambda c: operations.of_experiments(c, [experiment.id]))
    return service.operation(found[experiment.id])


def ask_for_a_report(service: Service, kind: str, params: dict[str, Any]) -> Experiment:
    """An experiment without runs, accepted without a check."""
    new = experiments.NewExperiment(kind, params, [0], [])
    made = service.database.write(lambda c: experiments.submit(c, new, 100)).experiment
    service.hints.send("cpu")
    return made


def test_an_experiment_ends_with_a_report_of_all_its_runs(
    steady: Service, reported: Experiment
) -> None:
    assert (reported.state, reported.error) == (State.SUCCEEDED, None)
    told = steady.report(reported)
    assert [(run["arm"], run["seed"], run["outcome"]) for run in told["runs"]] == [
        *(("none", 0, "completed"), ("batch", 0, "completed")),
        *(("none", 1, "completed"), ("batch", 1, "completed")),
    ]
    for run, place in zip(told["runs"], reported.plan, strict=True):
        assert run["run"] == place.run
        summary = steady.run(place.run).metrics["test_accuracy"]
        (row,) = [row for row in told["tables"][0]["rows"] if row[0] == place.arm]
        assert row[1 + place.seed] == summary["last"]
    first, second, third, fourth = (
        steady.run(place.run).metrics["test_accuracy"]["last"] for place in reported.plan
    )
    assert told["effect"]["value"] == pytest.approx(((second - first) + (fourth - third)) / 2)
    assert told["effect"]["n"] == 2


def test_the_arms_are_proven_to_differ_in_their_factor_alone(
    steady: Service, reported: Experiment
) -> None:
    for proof in steady.report(reported)["factors"]:
        assert proof["differ_in"] == ["norm"]
        assert (proof["same_order"], proof["same_start"], proof["shared_tensors"]) == (
            *(True, True),
            4,
        )


def test_the_record_names_every_file_with_its_sha256(steady: Service, reported: Experiment) -> None:
    assert reported.files is not None
    assert reported.summary is not None
    told = steady.report(reported)
    figures = {f"figure-{f['name']}.{form}" for f in told["figures"] for form in f["links"]}
    tables = {f"table-{table['name']}.csv" for table in told["tables"]}
    assert set(reported.files) == {"report.json", "report.html", *figures, *tables}
    for name, sha256 in reported.files.items():
        content = steady.files.local(f"{reported.prefix}/{name}").read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256
    assert reported.summary["verdict"] == told["verdict"]
    page = steady.report(reported, "report.html").decode()
    assert told["claim"] in page
    assert page.count("<figure") == len(told["figures"])


def test_figures_hold_every_point_of_their_runs(steady: Service, reported: Experiment) -> None:
    text = steady.report(reported, "figure-curves.csv").decode()
    assert {row["x"] for row in csv.DictReader(io.StringIO(text))} == {"20", "40", "60"}
    table = steady.report(reported, "table-by-seed.csv").decode()
    assert table.splitlines()[0] == "arm,seed 0,seed 1,mean"


def test_a_report_says_where_it_was_made_and_how_to_have_it_again(
    steady: Service, reported: Experiment
) -> None:
    told = steady.report(reported)
    assert told["environment"]["threads"] == 1
    assert told["environment"]["device"] == "cpu"
    body = told["repeat"]["body"]
    again = steady.until_reported(steady.ask(body["kind"], body["seeds"], **body["params"]).id)
    assert canonical(steady.report(again)) == canonical(told)
    assert again.prefix != reported.prefix


def test_the_operation_says_what_came_out(steady: Service, reported: Experiment) -> None:
    operation = report_operation(steady, reported)
    assert (operation.state, operation.progress) == (State.SUCCEEDED, 1.0)
    assert operation.result == {
        "experiment": reported.id,
        "verdict": steady.report(reported)["verdict"],
    }


def test_a_run_that_failed_is_left_out_and_named(steady: Service) -> None:
    made = steady.ask("pair", base=LONG)
    doomed = made.plan[1].run
    steady.until_state(doomed, State.RUNNING, State.SUCCEEDED)
    steady.database.write(lambda c: runs.cancel(c, doomed))
    told = steady.report(steady.until_reported(made.id))
    assert [run["state"] for run in told["runs"]].count("cancelled") == 1
    assert told["caveats"][0].startswith("1 of 4 runs count for nothing: batch, seed 0: cancelled")
    assert told["effect"]["n"] == 1
    assert told["verdict"] == "inconclusive"


def test_an_experiment_of_which_no_run_is_left_still_has_its_report(steady: Service) -> None:
    made = steady.ask("pair", seeds=[0], base=LONG)
    for place in made.plan:
        steady.database.write(lambda c, run=place.run: runs.cancel(c, run))
    told = steady.report(steady.until_reported(made.id))
    assert (told["effect"]["n"], told["figures"], told["verdict"]) == (0, [], "inconclusive")


def test_a_diverged_arm_counts_as_the_worst_and_says_so(steady: Service) -> None:
    arms = {"mild": 0.1, "wild": 1e9}
    linear = BASE | {"network": {"kind": "mlp", "hidden": [10], "activation": "identity"}}
    asked = {"base": linear, "factor": "optimizer.lr", "arms": arms}
    told = steady.report(steady.until_reported(steady.ask("pair", **asked).id))
    outcomes = {(run["arm"], run["outcome"]) for run in told["runs"]}
    assert outcomes == {("mild", "completed"), ("wild", "diverged")}
    assert all(one["note"].startswith("wild diverged") for one in told["effect"]["seeds"])
    assert told["verdict"] == "contradicts"
    assert "Diverged" in " ".join(told["caveats"])


def test_a_sweep_maps_its_grid(steady: Service) -> None:
    fields = {"optimizer.lr": [0.01, 0.1], "norm": ["none", "batch"]}
    ended = steady.until_reported(steady.ask("sweep", base=BASE, fields=fields).id)
    told = steady.report(ended)
    assert len(told["tables"][0]["rows"]) == 4
    assert [figure["name"] for figure in told["figures"]] == ["grid"]


def test_an_experiment_whose_report_cannot_be_made_fails_and_says_why(steady: Service) -> None:
    # As after a loss of the file store: a record names a file that is not there.
    lost = steady.ask("pair", base=LONG, seeds=[0])
    first = steady.until_ended(lost.plan[0].run)
    steady.files.delete(steady.checkpoint(str(first.checkpoint_id)).key)
    ended = steady.until_reported(lost.id)
    assert ended.state is State.FAILED
    assert ended.error is not None
    assert ended.error["reason"] == "FILE_MISSING"


def test_an_experiment_whose_report_raises_fails_and_says_how(steady: Service) -> None:
    made = ask_for_a_report(steady, "neuron_chain", {"rate": "fast"})
    ended = steady.until_reported(made.id)
    assert (ended.state, ended.summary) == (State.FAILED, None)
    assert ended.error is not None
    assert (ended.error["cause"], ended.error["reason"]) == ("code", "REPORT_FAILED")
    assert "rate" in ended.error["message"]


def test_a_report_of_a_kind_that_is_unknown_here_waits_for_a_newer_worker(steady: Service) -> None:
    made = ask_for_a_report(steady, "of_a_newer_version", {})
    until(lambda: report_operation(steady, made).attempts)
    until(lambda: report_operation(steady, made).state is State.QUEUED)
    assert steady.experiment(made.id).state is State.QUEUED
    assert report_operation(steady, made).crashes == 0


def test_files_of_reports_that_do_not_count_are_swept(
    steady: Service, reported: Experiment
) -> None:
    kept = steady.files.local(f"{reported.prefix}/report.json")
    dead = kept.parent.with_name("e99") / "report.json"
    dead.parent.mkdir()
    dead.write_bytes(kept.read_bytes())
    for path in (kept, dead):
        os.utime(path, (0, 0))
    sweep(Services(steady.settings, steady.database, steady.files, steady.hints))
    assert kept.exists()
    assert not dead.exists()


def test_cancelling_stops_the_runs_and_no_report_is_made(steady: Service) -> None:
    made = steady.ask("pair", base=LONG | {"budget": {"steps": 200_000}})
    steady.until_state(made.plan[0].run, State.RUNNING)
    steady.database.write(lambda c: experiments.cancel(c, made.id))
    for place in made.plan:
        assert steady.until_ended(place.run).state is State.CANCELLED
    assert steady.experiment(made.id).state is State.CANCELLED
    assert steady.database.read(lambda c: operations.of_experiments(c, [made.id])) == {}


@pytest.mark.slow
def test_a_paused_run_and_other_slots_change_nothing_of_the_report(steady: Service) -> None:
    plain = steady.until_reported(steady.ask("pair", base=LONG).id)
    made = steady.ask("pair", base=LONG)
    paused = made.plan[2].run
    steady.until_state(paused, State.RUNNING, State.SUCCEEDED)
    steady.database.write(lambda c: runs.pause(c, paused))
    steady.until_state(paused, State.PAUSED, State.SUCCEEDED)
    assert not steady.experiment(made.id).ended
    steady.database.write(lambda c: runs.resume(c, paused))
    steady.hints.send("cpu")
    again = steady.until_reported(made.id)
    assert canonical(steady.report(again)) == canonical(steady.report(plain))


@pytest.mark.slow
def test_a_killed_worker_changes_nothing_of_the_report(service: Service) -> None:
    plain = service.until_reported(service.ask("pair", base=LONG).id)
    made = service.ask("pair", base=LONG)
    until(lambda: service.run(made.plan[0].run).step > 500)
    service.workers[-1].kill()
    service.workers[-1].wait()
    service.start_worker()
    again = service.until_reported(made.id, 120)
    assert canonical(service.report(again)) == canonical(service.report(plain))
    assert any(service.run(place.run).attempts > 1 for place in made.plan)


@pytest.mark.slow
def test_a_report_whose_process_is_killed_is_made_by_the_next(service: Service) -> None:
    made = service.ask("pair", base=BASE)
    operation_id = until(
        lambda: service.database.read(lambda c: operations.of_experiments(c, [made.id])).get(
            made.id
        )
    )
    pid = until(lambda: service.operation(operation_id).pid)
    os.kill(pid, signal.SIGKILL)
    ended = service.until_reported(made.id)
    assert (ended.state, service.operation(operation_id).attempts) == (State.SUCCEEDED, 2)
    assert ended.prefix == experiments.report_prefix(made.id, 2)
