"""What every kind of experiment must do."""

import re
from functools import cache

import pytest

from model.data.builtin import build
from model.lab.catalogue import EXPERIMENTS
from model.lab.experiment import MOST_RUNS
from model.lab.report import effect_json, table_json, unique_names
from model.lab.results import NO_LIMITS, Results, RunResult
from model.plan import check

SEEDS = (0, 1, 2)


@cache
def facts_of(name):
    return build(name).facts


@pytest.fixture(params=sorted(EXPERIMENTS))
def experiment(request):
    return EXPERIMENTS[request.param]


@pytest.fixture
def planned(experiment):
    return experiment.plan(experiment.params(), SEEDS)


def test_a_kind_says_what_is_claimed_and_where(experiment):
    assert experiment.claim.endswith(".")
    assert re.search(r"https?://|one's own", experiment.source)
    assert experiment.default_seconds <= 300


def test_all_that_can_be_told_has_a_description(experiment):
    fields = experiment.params.model_json_schema()["properties"]
    assert all(len(one.get("description", "")) > 10 for one in fields.values())


def test_the_default_plan_is_of_runs_that_can_work(planned):
    assert len(planned) <= MOST_RUNS
    for run in planned:
        check(run.spec, facts_of(run.spec.dataset), NO_LIMITS)


def test_every_arm_has_every_seed_once(planned):
    arms = {run.arm for run in planned}
    assert len({(run.arm, run.seed) for run in planned}) == len(planned)
    assert all({run.seed for run in planned if run.arm == arm} == set(SEEDS) for arm in arms)
    assert all(run.spec.seed == run.seed for run in planned)


def test_a_plan_is_the_same_every_time(experiment, planned):
    assert experiment.plan(experiment.params(), SEEDS) == planned


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_where_no_run_ended_by_itself_the_report_says_so(experiment, planned, state):
    runs = tuple(
        RunResult(run.arm, run.seed, run.spec, state, None, "lost", 3, "", {}, {}, ())
        for run in planned
    )
    report = experiment.report(experiment.params(), Results(runs, seeds=SEEDS))
    if planned:
        assert (report.effect.verdict, report.effect.n) == ("inconclusive", 0)
    assert report.summary
    assert unique_names(report.tables, report.figures)
    assert effect_json(report.effect)["name"]
    assert all(table_json(table)["columns"] for table in report.tables)
