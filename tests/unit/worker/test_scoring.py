"""What is found of a checkpoint, against its parts, and that looking changes nothing."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.blocks import LIVE_TENSORS
from model.checkpoint import About, Loaded, assembled
from model.data.builtin import build
from model.data.dataset import describe
from model.plan import Limits, check
from model.spec import RunSpec
from model.training.arrays import Arrays, Part, prepare
from model.training.loop import Training
from worker.scoring import MOST_ATTRIBUTED, Scoring

DIGITS = build("digits")
CPU = torch.device("cpu")


def trained(**fields: Any) -> tuple[Loaded, Arrays]:
    body = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [12, 8]}, "norm": "batch"}
    body |= {"budget": {"steps": 60}, **fields}
    checked = check(RunSpec.model_validate(body), DIGITS.facts, Limits(10**12, 10**15))
    arrays = prepare(DIGITS, checked.spec, CPU)
    end = list(Training(checked, arrays, CPU).run())[-1]
    assert end.kept is not None
    about = About(
        checked.spec, DIGITS.facts, arrays.scaling, end.kept.step, batches=end.kept.batches
    )
    return assembled(end.kept.tensors, about), arrays


def scoring(loaded: Loaded, arrays: Arrays, seen: list[int] | None = None) -> Scoring:
    moved = [] if seen is None else seen
    return Scoring(loaded.spec, loaded.facts, arrays, lambda: moved.append(1))


def test_the_layers_parts_sum_to_the_gap_and_sound_statistics_have_no_findings() -> None:
    loaded, arrays = trained(budget={"steps": 300})
    scored = scoring(loaded, arrays).score(loaded)
    gap = scored.history["train_eval_gap"]
    assert gap["points"] == scored.metrics["train_eval_gap"]
    assert sum(part["points"] for part in gap["layers"]) == pytest.approx(gap["points"])
    assert sum(part["loss"] for part in gap["layers"]) == pytest.approx(gap["loss"])
    assert scored.findings == []


@pytest.mark.parametrize(
    "norm",
    [
        "noisy_batch",
        "noise",
        "lp",
        {"kind": "ghost_batch", "group_size": 8},
        {"kind": "batch_renorm", "warmup_batches": 50, "r_ramp_batches": 100, "d_ramp_batches": 50},
    ],
    ids=str,
)
def test_every_kind_of_norm_is_scored_and_sound(norm: Any) -> None:
    loaded, arrays = trained(norm=norm, budget={"steps": 400})
    one = scoring(loaded, arrays)
    scored = one.score(loaded)
    assert scored.findings == []
    gap = scored.history["train_eval_gap"]
    assert sum(part["loss"] for part in gap["layers"]) == pytest.approx(gap["loss"], abs=1e-12)
    json.dumps(vars(scored), allow_nan=False)
    about = one.calibrated(loaded.network.state_dict(), loaded.about)
    assert about.drift is not None
    assert len(about.drift.references(loaded.network)) == 2


def test_the_population_is_that_of_the_training_rows() -> None:
    loaded, arrays = trained()
    told = scoring(loaded, arrays).score(loaded).history
    hidden = loaded.network[0](arrays.train.inputs).detach().double()
    assert told["rows"] == len(arrays.train)
    first = told["layers"][0]
    expected = np.exp(np.log(hidden.var(0).numpy()).mean())
    assert first["variance"]["population"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, 1438),  # the training rows, compared with
        ({"norm": "none"}, 359),
        ({"split": {"test": 0.5}, "batch_size": 300}, 899),
        ({"split": {"test": 0.8}, "batch_size": 300}, 1438),
        ({"split": {"test": 0.0}, "norm": "layer"}, 1797),
    ],
    ids=str,
)
def test_as_many_rows_pass_at_once_as_the_memory_of_a_run_counts(
    fields: dict[str, Any], rows: int
) -> None:
    loaded, arrays = trained(**fields)
    passed: list[int] = []
    loaded.network.register_forward_pre_hook(lambda _, args: passed.append(len(args[0])))

    scoring(loaded, arrays).score(loaded)

    assert max(passed) == rows
    memory = check(loaded.spec, DIGITS.facts, Limits(10**12, 10**15)).memory
    assert memory.activations == 4 * LIVE_TENSORS * 64 * rows  # a row itself is the widest


def test_lagging_statistics_are_found_with_both_numbers() -> None:
    loaded, arrays = trained(norm={"kind": "batch", "momentum": 0.001}, scaling="none")
    scored = scoring(loaded, arrays).score(loaded)
    lags = [finding for finding in scored.findings if finding["reason"] == "BN_STATS_LAG"]
    assert [one["layer"] for one in lags] == ["1", "4"]
    evidence = lags[0]["evidence"]
    assert evidence["share_of_initial"] == pytest.approx(0.999**60)
    assert evidence["mean_distance_sd"] > 0.25
    assert evidence["train_eval_gap"] == scored.metrics["train_eval_gap"]


def test_a_deep_network_is_attributed_only_where_there_is_a_gap() -> None:
    deep: dict[str, Any] = {"network": {"kind": "mlp", "hidden": [30] * (MOST_ATTRIBUTED + 1)}}
    deep |= {"budget": {"steps": 200}}
    sound, arrays = trained(**deep)
    scored = scoring(sound, arrays).score(sound)
    assert scored.findings == []
    assert scored.history["train_eval_gap"]["layers"] == []
    lagging, arrays = trained(**deep, norm={"kind": "batch", "momentum": 1e-4}, scaling="none")
    scored = scoring(lagging, arrays).score(lagging)
    assert "BN_TRAIN_EVAL_GAP" in [finding["reason"] for finding in scored.findings]
    assert len(scored.history["train_eval_gap"]["layers"]) == MOST_ATTRIBUTED + 1


def test_looking_changes_nothing_and_gives_signs_of_life() -> None:
    loaded, arrays = trained()
    before = {name: one.clone() for name, one in loaded.network.state_dict().items()}
    state, seen = torch.get_rng_state(), list[int]()
    one = scoring(loaded, arrays, seen)
    one.score(loaded)
    one.calibrated(before, loaded.about)
    assert seen
    assert torch.equal(torch.get_rng_state(), state)
    after = loaded.network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert not loaded.network._forward_pre_hooks
    assert not loaded.network.training


def test_without_held_out_rows_the_training_rows_are_scored_under_their_own_name() -> None:
    loaded, arrays = trained(split={"test": 0.0})
    metrics = scoring(loaded, arrays).score(loaded).metrics
    assert "train_in_eval_mode_accuracy" in metrics
    assert "test_accuracy" not in metrics


@pytest.mark.parametrize("train_rows", [0, 1])
def test_too_few_training_rows_leave_the_population_and_the_batch_unknown(train_rows: int) -> None:
    """An import may say so: what it was trained on is not all here."""
    loaded, arrays = trained()
    few = Part(arrays.train.inputs[:train_rows], arrays.train.targets[:train_rows], None)
    scored = scoring(loaded, replace(arrays, train=few)).score(loaded)
    assert scored.metrics.keys() >= {"test_accuracy", "train_eval_gap", "train_eval_gap_batch"}
    layer = scored.history["layers"][0]
    assert (layer["mean"]["batch"], layer["mean"]["population"]) == (None, None)
    assert [one["reason"] for one in scored.findings] == []


def test_batches_of_one_row_have_no_statistics_where_a_row_is_one_value_of_a_channel() -> None:
    loaded, arrays = trained()
    loaded = replace(loaded, spec=loaded.spec.model_copy(update={"batch_size": 1}))
    scored = scoring(loaded, arrays).score(loaded)
    assert "train_eval_gap_batch" not in scored.metrics
    assert "train_eval_gap" in scored.metrics
    layer = scored.history["layers"][0]
    assert layer["mean"]["batch"] is None
    assert layer["mean"]["population"] is not None


def test_batches_of_one_row_have_statistics_where_it_has_several_values_of_a_channel() -> None:
    layers = [{"kind": "conv2d", "out_channels": 3, "kernel_size": 3}, {"kind": "norm"}]
    layers += [{"kind": "pool", "pool": "global_avg"}, {"kind": "flatten"}, {"kind": "linear"}]
    inputs = np.random.default_rng(0).integers(0, 256, (60, 1, 6, 6), np.uint8)
    images = describe(inputs, np.arange(60) % 2, ("a", "b"))
    body = {"dataset": "x", "network": {"kind": "layers", "layers": layers}, "norm": "batch"}
    body |= {"batch_size": 1, "budget": {"steps": 20}}
    checked = check(RunSpec.model_validate(body), images.facts, Limits(10**12, 10**15))
    arrays = prepare(images, checked.spec, CPU)
    end = list(Training(checked, arrays, CPU).run())[-1]
    assert end.kept is not None
    about = About(checked.spec, images.facts, arrays.scaling, 20, batches=20)
    scored = scoring(one := assembled(end.kept.tensors, about), arrays).score(one)
    assert "train_eval_gap_batch" in scored.metrics
    assert scored.history["layers"][0]["mean"]["batch"] is not None


def test_enough_rows_calibrate_windows_and_too_few_leave_the_reference_alone() -> None:
    loaded, arrays = trained(split={"calibration": 0.5})
    one = scoring(loaded, arrays)
    drift = one.calibrated(loaded.network.state_dict(), loaded.about).drift
    assert drift is not None
    assert (drift.thresholds.rows, drift.thresholds.sizes) == (719, (32, 64))
    few = replace(loaded.about, drift=None)
    loaded, arrays = trained()
    drift = scoring(loaded, arrays).calibrated(loaded.network.state_dict(), few).drift
    assert drift is not None
    assert not drift.thresholds.is_calibrated


@pytest.mark.parametrize(("scaling", "is_harmless"), [("none", False), ("standard", True)])
def test_the_same_lag_costs_much_on_rows_as_they_are_and_nothing_on_scaled_ones(
    scaling: str, is_harmless: bool
) -> None:
    slow = {"kind": "batch", "momentum": 0.001}
    network = {"kind": "mlp", "hidden": [100]}
    loaded, arrays = trained(norm=slow, network=network, scaling=scaling, budget={"steps": 300})
    scored = scoring(loaded, arrays).score(loaded)
    [lag] = [finding for finding in scored.findings if finding["reason"] == "BN_STATS_LAG"]
    assert lag["evidence"]["share_of_initial"] == pytest.approx(0.741, abs=5e-4)
    assert lag["evidence"]["harmless"] is is_harmless
    assert ("Harmless" in lag["remedy"]) is is_harmless
    gaps = [one for one in scored.findings if one["reason"] == "BN_TRAIN_EVAL_GAP"]
    assert bool(gaps) is not is_harmless
