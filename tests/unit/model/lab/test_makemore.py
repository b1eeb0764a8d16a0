"""What a careful start does for tanh units, and batch norm in its place."""

from math import erf, log, sqrt

import pytest

from model.lab.makemore.experiment import EXPERIMENT
from model.lab.results import Results
from tests.laboratory import asked, report_of

SMALL = {"steps": 30, "deep_steps": 20, "hidden": 64, "width": 40}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return report_of(EXPERIMENT, tmp_path_factory.mktemp("makemore"), (0, 1), **SMALL)


def table(report, name):
    return next(one for one in report.tables if one.name == name)


def column(found, heading):
    at = found.columns.index(heading)
    return {(row[0], row[1]): row[at] for row in found.rows}


def test_a_careful_output_starts_at_the_loss_of_guessing(made):
    losses = column(table(made[0], "starts"), "loss")
    assert losses["naive", 0] > 2 * log(10)
    for start in ("output x .01", "hidden x .2", "Kaiming 5/3", "batch norm"):
        assert losses[start, 0] == pytest.approx(log(10), abs=0.15), start


def test_the_naive_start_saturates_and_the_others_do_not(made):
    shares = column(table(made[0], "starts"), "saturated values, %")
    assert shares["naive", 0] > 50
    assert shares["naive", 0] == shares["output x .01", 0]  # the hidden layer is the same
    assert shares["hidden x .2", 0] < 4
    # Not normal here, as pixels are not: behind a norm it is near 2 (1 - Phi(atanh .99)) = .8 %.
    normal = 100 * (1 - erf(0.5 * log(1.99 / 0.01) / sqrt(2)))
    assert abs(shares["batch norm", 0] - normal) < 1.5


def test_only_without_norm_the_gain_decides_what_reaches_the_last_layer(made):
    found = table(made[0], "depth")
    at = found.columns.index("last / first")
    ratios = {(row[0], row[1]): row[at] for row in found.rows if row[2] == 0}
    assert all(0.8 < ratio < 1.25 for (_, norm), ratio in ratios.items() if norm == "batch")
    assert ratios[0.5, "none"] < 0.2
    assert made[0].effect.value > 0


def test_runs_that_say_nothing_leave_no_verdict():
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(()))
    assert report.effect.verdict == "inconclusive"


def test_a_word_list_is_embedded():
    params = asked(EXPERIMENT, dataset="names", symbols=27)
    planned = EXPERIMENT.plan(params, (0,))
    first = planned[0].spec.network.layers[0]
    assert (first.kind, first.num_embeddings, first.embedding_dim) == ("embedding", 27, 10)
    assert {run.spec.scaling for run in planned} == {"none"}
