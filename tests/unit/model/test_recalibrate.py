"""New statistics on the same weights: from any rows, by any method, and how well they are known."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoint import About, Loaded, load, write
from model.data.builtin import build as build_dataset
from model.errors import InputRefused
from model.plan import Limits, check
from model.recalibrate import Recalibrated, Recalibration, recalibrated, rows_fingerprint
from model.spec import RunSpec
from model.statistics.fingerprint import is_statistic, weights_hash
from model.statistics.modes import batch_norms
from model.statistics.population import ema, pooled, precise
from model.training.arrays import prepare
from model.training.loop import Training

DIGITS = build_dataset("digits")
METHODS = ["precise", "pooled", "ema", "adapt"]
ROWS = DIGITS.inputs[:361]


def trained(folder: Path, norm: Any, **fields: Any) -> Loaded:
    body = {
        "dataset": "digits",
        "network": {"kind": "mlp", "hidden": [20, 20]},
        "norm": norm,
        "budget": {"steps": 40},
        **fields,
    }
    checked = check(RunSpec.model_validate(body), DIGITS.facts, Limits(10**12, 10**15))
    arrays = prepare(DIGITS, checked.spec, torch.device("cpu"))
    end = list(Training(checked, arrays, torch.device("cpu")).run())[-1]
    assert end.kept is not None
    about = About(checked.spec, DIGITS.facts, arrays.scaling, end.kept.step)
    return load(write(folder / "x", end.kept.tensors, about).path)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return trained(tmp_path_factory.mktemp("recalibrate"), {"kind": "batch", "momentum": 0.001})


def ask(method: Any, **fields: Any) -> Recalibration:
    return Recalibration(method, **fields)


@pytest.mark.parametrize("method", METHODS)
def test_no_byte_of_the_weights_moves_and_every_statistic_is_new(
    loaded: Loaded, method: str
) -> None:
    before = loaded.network.state_dict()

    made = recalibrated(loaded, ROWS, ask(method, batch_rows=40))

    assert list(made.tensors) == list(before)
    assert weights_hash(made.tensors) == weights_hash(before)
    for name, tensor in made.tensors.items():
        assert (tensor.dtype, tensor.shape) == (before[name].dtype, before[name].shape)
        if is_statistic(name):
            assert not torch.equal(tensor, before[name]), name
        else:
            assert tensor.numpy().tobytes() == before[name].numpy().tobytes(), name


@pytest.mark.parametrize("method", METHODS)
def test_the_checkpoint_and_the_rows_that_are_given_stay_as_they_were(
    loaded: Loaded, method: str
) -> None:
    before = {name: one.clone() for name, one in loaded.network.state_dict().items()}
    rows, state = ROWS.copy(), torch.get_rng_state()

    made = recalibrated(loaded, rows, ask(method, batch_rows=40))
    for tensor in made.tensors.values():
        tensor.zero_()

    assert np.array_equal(rows, ROWS)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in loaded.network.modules())
    for name, tensor in loaded.network.state_dict().items():
        assert tensor.numpy().tobytes() == before[name].numpy().tobytes(), name


def test_the_new_tensors_are_a_checkpoint_of_the_same_run(loaded: Loaded, tmp_path: Path) -> None:
    made = recalibrated(loaded, ROWS, Recalibration())
    about = About(loaded.spec, loaded.facts, loaded.scaling, loaded.step)

    again = load(write(tmp_path / "x", made.tensors, about).path)

    assert again.statistics != loaded.statistics
    assert torch.equal(again.network[1].running_mean, made.tensors["1.running_mean"])


@pytest.mark.parametrize(
    ("method", "batch_rows", "num_batches"),
    [
        ("precise", 40, 10),
        ("precise", 500, 1),
        ("pooled", 40, 9),
        ("ema", 40, 9),
        ("adapt", 1, 361),
    ],
)
def test_the_counter_is_the_number_of_batches_used(
    loaded: Loaded, method: str, batch_rows: int, num_batches: int
) -> None:
    """Of 361 rows, a last batch of one joins the one before where it would have no variance."""
    made = recalibrated(loaded, ROWS, ask(method, batch_rows=batch_rows))

    assert made.num_batches == num_batches
    assert made.tensors["1.num_batches_tracked"] == num_batches
    assert made.tensors["4.num_batches_tracked"] == num_batches


def expected(loaded: Loaded, method: str, rows: np.ndarray) -> dict[str, Any]:
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(7))
    scaled = torch.from_numpy(loaded.scaling.apply(rows, dtype=np.float32))[order]
    batches = scaled.split(40)
    if method == "precise":
        return precise(loaded.network, batches)
    batches = (*batches[:-2], torch.cat(batches[-2:]))
    if method == "pooled":
        return pooled(loaded.network, batches)
    return ema(loaded.network, batches, 0.3)


@pytest.mark.parametrize("method", ["precise", "pooled", "ema"])
def test_rows_are_scaled_by_the_checkpoint_and_shuffled_by_the_seed(
    loaded: Loaded, method: str
) -> None:
    found = recalibrated(loaded, ROWS, ask(method, batch_rows=40, seed=7, momentum=0.3))

    for name, statistics in expected(loaded, method, ROWS).items():
        assert torch.equal(found.tensors[f"{name}.running_mean"], statistics.mean.float())
        assert torch.equal(found.tensors[f"{name}.running_var"], statistics.variance.float())


def test_a_deviation_stays_a_deviation(tmp_path: Path) -> None:
    norm = {"kind": "batch", "momentum": 0.001, "running": "deviation", "eps": 1e-5}
    loaded = trained(tmp_path, norm, precision="float64")

    made = recalibrated(loaded, ROWS, Recalibration())

    scaled = torch.from_numpy(loaded.scaling.apply(ROWS, dtype=np.float64))
    first = loaded.network[0](scaled)
    torch.testing.assert_close(made.tensors["1.running_deviation"], first.std(0, correction=1))
    torch.testing.assert_close(made.tensors["1.running_mean"], first.mean(0))


def test_the_seed_decides_pooled_and_leaves_precise_alone(loaded: Loaded) -> None:
    def means(method: str, seed: int) -> torch.Tensor:
        made = recalibrated(loaded, ROWS, ask(method, batch_rows=16, seed=seed))
        return made.tensors["4.running_mean"]

    assert torch.equal(means("pooled", 1), means("pooled", 1))
    assert not torch.allclose(means("pooled", 1), means("pooled", 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(means("precise", 1), means("precise", 2), rtol=0, atol=1e-6)


def test_the_fingerprint_is_the_sha256_of_the_raw_rows(loaded: Loaded) -> None:
    rows = ROWS[:50].astype(np.float32)
    content = json.dumps(["float32", [50, 64]]).encode() + rows.astype("<f4").tobytes()

    made = recalibrated(loaded, rows, Recalibration())

    assert made.rows == "sha256:" + hashlib.sha256(content).hexdigest()
    assert made.rows == rows_fingerprint(rows[:, ::-1][:, ::-1])
    assert made.rows != rows_fingerprint(rows[::-1])


def curve_of(made: Recalibrated, name: str) -> list[float]:
    return [getattr(point, name) for point in made.curve]


@pytest.mark.parametrize("method", METHODS)
def test_the_curve_shows_the_error_of_1_2_4_and_more_batches(loaded: Loaded, method: str) -> None:
    made = recalibrated(loaded, DIGITS.inputs, ask(method, batch_rows=20))

    assert curve_of(made, "batches") == [1, 2, 4, 8, 16, 32, 64, 90]
    assert curve_of(made, "rows") == [20, 40, 80, 160, 320, 640, 1280, 1797]
    for name in ("mean_error", "variance_error"):
        errors = curve_of(made, name)
        assert errors[0] > errors[4] > 2 * errors[6] > errors[7] == 0
    json.dumps([vars(point) for point in made.curve], allow_nan=False)


def test_a_point_of_the_curve_is_the_error_of_so_few_batches(loaded: Loaded) -> None:
    made = recalibrated(loaded, ROWS, ask("precise", batch_rows=20))
    order = torch.randperm(len(ROWS), generator=torch.Generator().manual_seed(0)).numpy()
    few = recalibrated(loaded, ROWS[order[:80]], ask("precise"))

    means, variances = [], []
    for name, layer in batch_norms(loaded.network).items():
        end, part = (
            {key: one.tensors[f"{name}.running_{key}"].double() for key in ("mean", "var")}
            for one in (made, few)
        )
        means.append((part["mean"] - end["mean"]).abs() / (end["var"] + layer.eps).sqrt())
        ratio = (part["var"] + layer.eps) / (end["var"] + layer.eps)
        variances.append(ratio.log().abs())

    point = made.curve[2]
    assert (point.batches, point.rows) == (4, 80)
    assert point.mean_error == pytest.approx(torch.cat(means).mean().item(), rel=1e-4)
    assert point.variance_error == pytest.approx(torch.cat(variances).mean().item(), rel=1e-4)


def test_a_channel_that_is_constant_leaves_the_curve_finite(tmp_path: Path) -> None:
    norm = {"kind": "batch", "running": "deviation", "placement": "after_activation", "eps": 0.0}
    fields = {"network": {"kind": "mlp", "hidden": [20], "activation": "relu"}}
    loaded = trained(tmp_path, {**norm, "eps": 1e-5}, **fields)
    loaded.network[0].bias[0] = -1e6
    loaded.network[2].eps = 0.0

    made = recalibrated(loaded, ROWS, ask("precise", batch_rows=40))

    assert made.tensors["2.running_deviation"][0] == 0
    assert np.isfinite(curve_of(made, "variance_error")).all()


def test_unlabelled_rows_of_another_domain_adapt_the_statistics(loaded: Loaded) -> None:
    none = recalibrated(loaded, ROWS, ask("adapt", source_rows=float("inf")))
    some = recalibrated(loaded, ROWS, ask("adapt", source_rows=len(ROWS)))
    full = recalibrated(loaded, ROWS, ask("adapt", source_rows=0))

    key = "1.running_mean"
    assert torch.equal(none.tensors[key], loaded.network.state_dict()[key])
    torch.testing.assert_close(some.tensors[key], (none.tensors[key] + full.tensors[key]) / 2)


def test_rows_that_cannot_be_used_are_refused(loaded: Loaded) -> None:
    bad = ROWS[:50].copy()
    bad[33, 5] = np.nan
    refusals = [
        (ROWS[:, :63], "precise", r"expected rows of shape \[64\], got inputs of shape"),
        (ROWS[:1], "precise", "expected at least 2 rows, got 1"),
        (ROWS[:0], "adapt", "expected at least 1 rows, got 0"),
        (bad, "precise", "row 33 holds a value that is not finite"),
        (np.full((2, 64), 1e300), "precise", "row 0 holds a value that is too large for float32"),
    ]
    for rows, method, message in refusals:
        with pytest.raises(InputRefused, match=message):
            recalibrated(loaded, rows, ask(method))


def test_batches_without_a_variance_are_refused(loaded: Loaded) -> None:
    with pytest.raises(ValueError, match="batches of at least 2 rows, got 1"):
        recalibrated(loaded, ROWS, ask("pooled", batch_rows=1))


def test_rows_that_hold_no_index_are_refused_where_indices_are_looked_up(tmp_path: Path) -> None:
    layers = [
        {"kind": "embedding", "num_embeddings": 17, "embedding_dim": 2},
        *({"kind": "flatten"}, {"kind": "norm"}, {"kind": "linear"}),
    ]
    network = {"kind": "layers", "layers": layers}
    found = trained(tmp_path, "batch", network=network, scaling="none")
    assert recalibrated(found, ROWS[:50], ask("precise")).num_rows == 50
    bad = ROWS[:50].copy()
    bad[33, 5] = 16.5
    with pytest.raises(InputRefused, match="row 33 holds a value that is no index"):
        recalibrated(found, bad, ask("precise"))


def test_by_itself_a_batch_is_a_sixteenth_of_the_rows_or_the_runs_own(loaded: Loaded) -> None:
    made = recalibrated(loaded, ROWS, ask("precise"))
    assert (made.batch_rows, len(made.curve)) == (len(ROWS) // 16, 6)  # 1, 2, 4, 8, 16, all
    assert recalibrated(replace(loaded, block_rows=9), ROWS, ask("precise")).batch_rows == 9
    assert recalibrated(loaded, ROWS[:2], ask("precise")).batch_rows == 2
    assert recalibrated(loaded, ROWS, ask("pooled")).batch_rows == loaded.spec.batch_size
    small = replace(loaded, block_rows=8)
    assert recalibrated(small, ROWS, ask("precise")).num_batches == 46


def test_a_network_without_batch_norm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no batch norm"):
        recalibrated(trained(tmp_path, "layer"), ROWS, Recalibration())
