"""The post's claims on one page."""

from dataclasses import replace
from pathlib import Path

import pytest

from model.data.builtin import build as build_dataset
from model.lab.report import Report
from model.lab.results import NO_LIMITS, Results
from model.lab.seed_post.claims import CLAIMS
from model.lab.seed_post.experiment import EXPERIMENT, shares
from model.lab.seed_post.kinds import KINDS
from model.lab.verdict import Declared, OfSeed, judge
from model.plan import check
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


def test_without_runs_the_post_is_not_settled_by_the_part_that_needs_none(none_ran):
    params = asked(EXPERIMENT)
    told = EXPERIMENT.report(params, Results((), seeds=(0, 1, 2)))
    assert (told.effect.n, told.effect.verdict) == (0, "inconclusive")
    assert [(one.seed, one.note) for one in told.effect.seeds] == [
        (seed, "1 of 9 claims have a value") for seed in (0, 1, 2)
    ]
    assert none_ran.effect.seeds == ()


def told_of(*seeds, claimed="above", scale="difference"):
    """A report of one claim, whose margin is 1 point, or twice as much."""
    margin = 1.0 if scale == "difference" else 2.0
    return Report(judge(Declared("x", "", scale, claimed, margin), seeds), "")


def test_the_share_of_a_seed_is_of_all_claims_and_less_one_half():
    told = (told_of(OfSeed(0, 5.0)), told_of(OfSeed(0, 0.5)), told_of(OfSeed(0, -5.0)))
    assert list(shares(told, (0,))) == [OfSeed(0, 1 / 3 - 0.5, "1 of 3 claims")]
    ratios = (told_of(OfSeed(0, 3.0), scale="ratio"), told_of(OfSeed(0, 0.6), scale="ratio"))
    assert list(shares(ratios, (0,))) == [OfSeed(0, 0.0, "1 of 2 claims")]


def test_a_seed_in_which_a_claim_has_no_value_has_no_share():
    told = (told_of(OfSeed(0, 5.0), OfSeed(1, 5.0)), told_of(OfSeed(0, 5.0), OfSeed(2, None)))
    assert list(shares(told, (0, 1, 2, 3))) == [
        OfSeed(0, 0.5, "2 of 2 claims"),
        OfSeed(1, None, "1 of 2 claims have a value"),
        OfSeed(2, None, "0 of 2 claims have a value"),
        OfSeed(3, None, "0 of 2 claims have a value"),
    ]


@pytest.mark.parametrize(
    ("value", "bound", "claimed", "share"),
    [
        (5.0, "at least", "above", 0.5),
        (0.5, "at most", "above", -0.5),
        (-5.0, "at most", "below", 0.5),
        (5.0, "at most", "above", None),
        (0.5, "at least", "above", None),
        (-0.5, "at most", "below", None),
    ],
)
def test_a_bound_that_the_true_value_could_turn_is_no_value(value, bound, claimed, share):
    (one,) = shares((told_of(OfSeed(0, value, bound=bound), claimed=claimed),), (0,))
    assert one.value == share


def test_names_of_tables_and_figures_differ_between_parts(none_ran):
    for named in (none_ran.tables, none_ran.figures):
        names = [one.name for one in named]
        assert len(set(names)) == len(names)


def test_a_dataset_is_given_to_every_part_that_takes_one():
    planned = EXPERIMENT.plan(asked(EXPERIMENT, dataset="wine", parts=["initialization"]), (0,))
    assert {run.spec.dataset for run in planned} == {"wine"}


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine", "two_class_500", "spirals"])
def test_every_set_with_classes_is_taken_by_every_part_that_takes_any(name: str):
    facts = build_dataset(name).facts
    assert facts.task == "classification"
    for run in EXPERIMENT.plan(asked(EXPERIMENT, dataset=name), (0,)):
        if run.spec.dataset == name:
            check(run.spec, facts, NO_LIMITS)
    planned = EXPERIMENT.plan(asked(EXPERIMENT, dataset=name), (0,))
    assert {run.arm.partition(":")[0] for run in planned if run.spec.dataset == name} == {
        claim.kind for claim in CLAIMS if "dataset" in KINDS[claim.kind].params.model_fields
    }


def test_parts_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="parts"):
        asked(EXPERIMENT, parts=["landscapes"])
    with pytest.raises(ValueError, match="parts"):
        asked(EXPERIMENT, parts=[])
