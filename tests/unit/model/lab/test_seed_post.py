"""The post's claims on one page."""

from dataclasses import replace
from pathlib import Path

import pytest

from model.lab.results import Results
from model.lab.seed_post.claims import CLAIMS
from model.lab.seed_post.experiment import EXPERIMENT
from model.lab.seed_post.kinds import KINDS
from tests.laboratory import asked, report_of, results_of

PARTS = ["neuron_chain", "saturation"]


@pytest.fixture(scope="module")
def none_ran():
    """A report of which no run came to an end."""
    params = asked(EXPERIMENT)
    return EXPERIMENT.report(params, Results(()))


def test_every_claim_has_an_experiment_and_every_experiment_a_claim():
    assert [claim.kind for claim in CLAIMS] == list(dict.fromkeys(claim.kind for claim in CLAIMS))
    assert {claim.kind for claim in CLAIMS} == set(KINDS)
    assert all(claim.leaves_open for claim in CLAIMS)


def test_the_plan_is_that_of_every_part_under_its_own_name():
    params = asked(EXPERIMENT)
    planned = EXPERIMENT.plan(params, (0, 1))
    for claim in CLAIMS:
        name, experiment = f"{claim.kind}: ", KINDS[claim.kind]
        mine = [run for run in planned if run.arm.startswith(name)]
        theirs = experiment.plan(asked(experiment, **claim.params), (0, 1))
        assert [replace(run, arm=run.arm.removeprefix(name)) for run in mine] == list(theirs)
    assert len(planned) <= 512


def test_parts_are_told_in_the_order_of_the_post(tmp_path: Path):
    told, _ = report_of(EXPERIMENT, tmp_path, (0, 1), parts=["neuron_chain"])
    assert [one.title for one in told.sections] == ["Internal covariate shift, by hand"]
    all_of_them = EXPERIMENT.report(asked(EXPERIMENT, parts=list(reversed(PARTS))), Results(()))
    assert [one.title for one in all_of_them.sections] == [
        claim.title for claim in CLAIMS if claim.kind in PARTS
    ]


def test_a_section_is_what_its_experiment_reports_alone(tmp_path: Path):
    told, _ = report_of(EXPERIMENT, tmp_path, (0, 1, 2), parts=["neuron_chain"])
    alone = KINDS["neuron_chain"]
    planned = alone.plan(alone.params(), (0, 1, 2))
    results = replace(results_of(planned, tmp_path), seeds=(0, 1, 2))
    expected = alone.report(alone.params(), results)
    (section,) = told.sections
    assert (section.effect, section.summary) == (expected.effect, expected.summary)
    assert section.figures == tuple(f"neuron-chain-{one.name}" for one in expected.figures)
    assert [one.name for one in told.tables[1:]] == list(section.tables)


def test_without_runs_every_claim_that_needs_some_is_inconclusive(none_ran):
    verdicts = {one.title: one.effect.verdict for one in none_ran.sections}
    verdicts.pop("Internal covariate shift, by hand")
    assert set(verdicts.values()) == {"inconclusive"}
    assert len(none_ran.sections) == len(CLAIMS)


def test_names_of_tables_and_figures_differ_between_parts(none_ran):
    for named in (none_ran.tables, none_ran.figures):
        names = [one.name for one in named]
        assert len(set(names)) == len(names)


def test_a_dataset_is_given_to_every_part_that_takes_one():
    planned = EXPERIMENT.plan(asked(EXPERIMENT, dataset="wine", parts=["initialization"]), (0,))
    assert {run.spec.dataset for run in planned} == {"wine"}


def test_parts_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="parts"):
        asked(EXPERIMENT, parts=["landscapes"])
    with pytest.raises(ValueError, match="parts"):
        asked(EXPERIMENT, parts=[])
