"""Classic failures of running statistics beside sound twins."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from model.data.dataset import describe, save
from model.lab.bug_zoo import plants
from model.lab.bug_zoo.experiment import EXPERIMENT
from model.lab.bug_zoo.report import report
from model.lab.bug_zoo.specimens import examined, recalibrated, twin
from model.lab.results import Results
from model.norms.batch import BatchNorm
from tests.laboratory import asked, one_test_row, report_of, results_of

SMALL = {"hidden": [24], "steps": 60, "lag_steps": 40}
FOUND = {
    "sound twin": (),
    "one batch with NaN": ("BN_STATS_NONFINITE", "BN_COUNTER_MISMATCH"),
    "missing buffers": ("BN_NEVER_UPDATED",),
    "double update": ("BN_COUNTER_MISMATCH",),
    "averaged weights": ("BN_AVERAGED_NOT_RECALIBRATED",),
    'fine-tuning with "frozen" weights': ("BN_FROZEN_CHANGED",),
    "tail batch of one": ("BN_TAIL_BATCH_ONE",),
    "batch statistics at prediction": (),
    "momentum .001, unscaled rows": ("BN_STATS_LAG",),
    "sound twin of the one that lags": (),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return report_of(EXPERIMENT, tmp_path_factory.mktemp("zoo"), (0, 1), **SMALL)


@pytest.fixture
def sound(made):
    _, results = made
    return twin(results, results.of("sound")[0])


def rows_of(report):
    return {row[0]: row for row in report.tables[0].rows}


def test_the_diagnosis_names_every_fault_and_no_sound_twin(made):
    found = {name: row[4] for name, row in rows_of(made[0]).items()}
    assert found.keys() == FOUND.keys()
    for name, reasons in FOUND.items():
        expected = set(reasons) or {"nothing"}
        assert expected == set(found[name].split(", ")) - ({"BN_STATS_LAG"} - expected), name


def test_wrong_statistics_cost_accuracy_and_the_remedy_brings_it_back(made):
    rows = rows_of(made[0])
    assert rows["one batch with NaN"][2] == 0
    assert rows["batch statistics at prediction"][2] < 30
    for name, row in rows.items():
        if name not in ("tail batch of one", "averaged weights"):
            assert abs(row[3] - row[1]) < 2.5, name


def test_the_verdict_is_about_the_mean_gain_of_what_eval_mode_gets_wrong(made):
    report, _ = made
    by_seed = next(table for table in report.tables if table.name == "by-seed").rows
    others = (
        *("sound twin", "sound twin of the one that lags", "tail batch of one"),
        "batch statistics at prediction",
    )
    gains = [row[4] - row[3] for row in by_seed if row[1] == 0 and row[0] not in others]
    assert len(gains) == 6
    assert report.effect.seeds[0].value == pytest.approx(sum(gains) / 6)
    assert report.effect.verdict == "supports"


def test_a_seed_that_lacks_a_fault_of_another_has_no_number(made):
    told, results = made
    kept = [
        replace(run, state="failed", outcome=None) if (run.arm, run.seed) == ("lagging", 1) else run
        for run in results.runs
    ]
    found = report(asked(EXPERIMENT, **SMALL), Results(tuple(kept)))
    for one in (found.effect, *found.others):
        assert [seed.value is None for seed in one.seeds] == [False, True]
        assert one.seeds[1].note == "without momentum .001, unscaled rows"
    assert found.effect.seeds[0] == told.effect.seeds[0]


def test_every_row_of_a_class_is_answered_in_company_of_its_class(tmp_path):
    """Of 1,300 test rows of a class, two parts of 650 have statistics of their own."""
    draw = np.random.default_rng(0)
    classes = np.array([0, 1] * 100 + [0] * 1_300 + [1] * 900 + [2])
    inputs = (draw.normal(size=(len(classes), 3)) + classes[:, None]).astype(np.float32)
    (tmp_path / "many").mkdir()
    save(describe(inputs, classes, ("a", "b", "c"), train_rows=200), tmp_path / "many")
    params = {**SMALL, "dataset": "many", "steps": 10}
    results = results_of(EXPERIMENT.plan(asked(EXPERIMENT, **params), (0,))[:1], tmp_path)
    sound = twin(results, results.of("sound")[0])
    network = deepcopy(sound.loaded.network).train()
    test = sound.held_out
    right = sum(
        int((network(test.inputs[part]).argmax(1) == test.classes[part]).sum())
        for part in (slice(0, 650), slice(650, 1_300), slice(1_300, 2_200))
    )
    found = plants.batch_statistics_at_prediction(sound)
    assert found.in_eval == pytest.approx(right / 2_200)


def test_of_a_single_test_row_the_training_rows_are_judged(tmp_path):
    params = {**SMALL, "dataset": one_test_row("digits", tmp_path)}
    found, _ = report_of(EXPERIMENT, tmp_path, (0,), **params)
    assert found.effect.n == 1
    assert any("fewer than 2 test rows" in text for text in found.caveats)


def test_the_run_whose_tail_is_merged_is_short_and_shows_that_it_is_alive(made, sound):
    _, results = made
    moved = []
    found = plants.tail_of_one(sound, replace(results, moved=lambda: moved.append(1)))
    assert found.after > 0.5
    assert moved
    for rows, wanted in ((60_000, 32), (1_437, 32), (59_999, 2)):  # 59,999 is a prime number
        size = plants._size_with_tail_of_one(rows, wanted)
        assert (rows - 1) % size == 0
        assert rows // size < plants.MOST_STEPS


def test_a_tail_of_a_large_batch_passes_no_more_rows_than_the_run_did(made, sound):
    rows = len(sound.start.arrays.train)
    spec = plants._with_tail(sound, rows - 1)
    assert (spec.batch_size, spec.budget.steps) == (rows - 1, 2)  # 60 steps of 32 rows: 1.3 epochs
    assert plants._with_tail(sound, 4).budget.steps == rows // 4 + 1  # or it would not come
    long = replace(sound, start=replace(sound.start, checked=_of_steps(sound, 1_000_000)))
    assert plants._with_tail(long, 4).budget.steps == 500


def _of_steps(sound, steps):
    return replace(sound.start.checked, steps=steps)


def test_planting_leaves_the_sound_twin_as_it_was(made, sound):
    before = {name: one.clone() for name, one in sound.loaded.network.state_dict().items()}
    generator = torch.get_rng_state()
    for plant in (plants.nan_batch, plants.missing_buffers, plants.double_update):
        examined(sound, plant(sound))
    examined(sound, plants.frozen_weights(sound))
    plants.batch_statistics_at_prediction(sound)
    after = sound.loaded.network.state_dict()
    assert all(torch.equal(one, after[name]) for name, one in before.items())
    assert torch.equal(generator, torch.get_rng_state())


def test_no_fault_but_an_average_touches_a_weight(made, sound):
    weights = dict(sound.loaded.network.named_parameters())
    for plant in (plants.nan_batch, plants.missing_buffers, plants.double_update):
        planted = dict(plant(sound).network.named_parameters())
        assert all(torch.equal(one, planted[name]) for name, one in weights.items())


def test_an_average_is_the_mean_of_all_checkpoints(made, sound):
    _, results = made
    average = plants.averaged_weights(sound, results).network.get_parameter("0.weight")
    steps = [one.step for one in sound.run.checkpoints]
    networks = [results.trained(sound.run, step).network for step in steps]
    weights = torch.stack([one.get_parameter("0.weight").double() for one in networks])
    torch.testing.assert_close(average.double(), weights.mean(0))
    assert len(steps) == 5


def test_a_recalibrated_layer_has_the_moments_of_the_rows(sound):
    network = recalibrated(plants.missing_buffers(sound).network, sound.rows)
    first = next(one for one in network.modules() if isinstance(one, BatchNorm))
    linear = next(one for one in network.modules() if isinstance(one, nn.Linear))
    with torch.no_grad():
        inputs = linear(torch.cat(sound.rows)).double()
    torch.testing.assert_close(first.running_mean.double(), inputs.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(first.running_var.double(), inputs.var(0), rtol=1e-4, atol=1e-4)


def test_one_batch_with_nan_is_what_torch_keeps_too(sound):
    """The same pass through torch's own layer leaves NaN in its running mean."""
    theirs = nn.BatchNorm1d(2)
    theirs(torch.tensor([[1.0, 2.0], [torch.nan, 3.0]]))
    assert torch.isnan(theirs.running_mean[0])
    ours = plants.nan_batch(sound).network.state_dict()
    assert any(torch.isnan(one).any() for name, one in ours.items() if "running_mean" in name)


def test_runs_that_say_nothing_leave_no_verdict():
    params = asked(EXPERIMENT, **SMALL)
    assert report(params, Results(())).effect.verdict == "inconclusive"


def test_a_missing_run_leaves_its_specimens_out(made):
    _, results = made
    kept = tuple(
        replace(run, state="cancelled", outcome=None) if run.arm == "lagging" else run
        for run in results.runs
    )
    found = report(asked(EXPERIMENT, **SMALL), Results(kept))
    assert "momentum .001, unscaled rows" not in rows_of(found)


def test_a_sound_run_that_diverged_is_looked_at_as_it_was_last_kept(made):
    told, results = made
    runs = tuple(
        replace(run, outcome="diverged") if (run.arm, run.seed) == ("sound", 0) else run
        for run in results.runs
    )
    found = report(asked(EXPERIMENT, **SMALL), Results(runs))
    assert found.effect == told.effect
    assert "Diverged, and looked at as it was last kept: sound, seed 0." in found.caveats


def test_every_seed_has_three_runs_of_one_start():
    planned = EXPERIMENT.plan(asked(EXPERIMENT, **SMALL), (3, 7))
    assert [(run.arm, run.seed) for run in planned] == [
        (arm, seed) for seed in (3, 7) for arm in ("sound", "lagging", "not lagging")
    ]
    assert all(run.spec.seed == run.seed for run in planned)
    assert planned[1].spec.norm.momentum == 0.001
