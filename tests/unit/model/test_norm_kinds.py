"""Every kind of norm through the whole model: trained, stopped, saved, judged, served, exported."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from safetensors.torch import load as tensors_of
from torch import nn

from model.checkpoint import About, Loaded, load, write
from model.data.builtin import build as build_dataset
from model.data.dataset import Dataset, describe
from model.errors import InputRefused, StatisticsMissing
from model.export.onnx_file import onnx
from model.export.safetensors_file import safetensors_folded
from model.importing import imported
from model.networks.fold import fold
from model.plan import Limits, check
from model.predict import Predictor
from model.recalibrate import Recalibration, recalibrated
from model.spec import RunSpec
from model.statistics.diagnose import diagnose
from model.statistics.diff import difference
from model.statistics.drift.calibration import calibration
from model.statistics.drift.monitor import Monitor
from model.statistics.drift.probe import points
from model.statistics.drift.reference import running
from model.statistics.fingerprint import is_statistic
from model.statistics.gap import finding, train_eval_gap
from model.statistics.history import point, statistics_of
from model.statistics.inspect import inspect
from model.statistics.modes import batch_norms, running_norms
from model.training.arrays import Arrays, prepare
from model.training.loop import Happening, Training
from model.training.randomness import stream

CPU = torch.device("cpu")
DIGITS = build_dataset("digits")
IMAGES = describe(
    DIGITS.inputs.reshape(-1, 1, 8, 8), DIGITS.targets, DIGITS.facts.classes, train_rows=1438
)
RENORM = {"kind": "batch_renorm", "warmup_batches": 5, "r_ramp_batches": 20, "d_ramp_batches": 20}
MLP = {"kind": "mlp", "hidden": [20, 12]}
CONVOLUTION = {
    "kind": "layers",
    "layers": [
        {"kind": "conv2d", "out_channels": 4, "padding": 1},
        {"kind": "norm"},
        {"kind": "activation"},
        {"kind": "residual", "layers": [{"kind": "conv2d", "out_channels": 4, "padding": 1}]},
        {"kind": "norm"},
        {"kind": "pool"},
        {"kind": "flatten"},
        {"kind": "linear"},
    ],
}
ARMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "noisy": ({"kind": "noisy_batch"}, MLP),
    "noisy deviation": ({"kind": "noisy_batch", "running": "deviation", "per": "layer"}, MLP),
    "noise": ({"kind": "noise"}, MLP),
    "l1": ({"kind": "lp", "p": 1}, MLP),
    "l2 after": ({"kind": "lp", "p": 2, "placement": "after_activation"}, MLP),
    "l inf": ({"kind": "lp", "p": "inf", "affine": False}, MLP),
    "ghost": ({"kind": "ghost_batch", "group_size": 12}, MLP),
    "ghost cumulative": ({"kind": "ghost_batch", "group_size": 7, "momentum": None}, MLP),
    "renorm": (RENORM, MLP),
    "renorm deviation": ({**RENORM, "running": "deviation"}, MLP),
    "instance": ({"kind": "instance"}, CONVOLUTION),
    "noisy image": ({"kind": "noisy_batch"}, CONVOLUTION),
    "l1 image": ({"kind": "lp"}, CONVOLUTION),
    "ghost image": ({"kind": "ghost_batch", "group_size": 5}, CONVOLUTION),
    "renorm image": (RENORM, CONVOLUTION),
}
BATCH_NORMS = [name for name in ARMS if name.split()[0] in ("noisy", "ghost", "renorm")]
LP_NORMS = [name for name in ARMS if name.startswith("l")]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def rows_of(arm: str) -> Dataset:
    return IMAGES if ARMS[arm][1] is CONVOLUTION else DIGITS


def training(arm: str, **fields: Any) -> Training:
    norm, network = ARMS[arm]
    body = {"dataset": "digits", "network": network, "norm": norm, "budget": {"steps": 60}}
    dataset = rows_of(arm)
    checked = check(
        RunSpec.model_validate({**body, **fields}), dataset.facts, Limits(10**9, 10**12)
    )
    return Training(checked, prepare(dataset, checked.spec, CPU), CPU)


def finish(one: Training) -> Happening:
    return list(one.run())[-1]


def saved(arm: str, folder: Path, **fields: Any) -> tuple[Loaded, Arrays]:
    """Trained, written and loaded again as serving does it."""
    one = training(arm, **fields)
    end = finish(one)
    assert end.ended == "completed"
    assert end.kept is not None
    scaling, batches = one.arrays.scaling, end.kept.batches
    about = About(one.spec, rows_of(arm).facts, scaling, end.kept.step, batches=batches)
    written = write(folder / "x", end.kept.tensors, about)
    return load(written.path, written.sha256), one.arrays


@pytest.fixture(scope="module")
def by_arm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Loaded, Arrays]]:
    """What `saved` makes of an arm, once."""
    return cache(lambda arm: saved(arm, tmp_path_factory.mktemp("norms")))


@pytest.fixture(scope="module", params=ARMS)
def arm(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def trained(arm: str, by_arm: Callable[[str], tuple[Loaded, Arrays]]) -> tuple[Loaded, Arrays]:
    return by_arm(arm)


def test_training_learns(trained: tuple[Loaded, Arrays]) -> None:
    loaded, arrays = trained
    right = Predictor(loaded).logits(rows_of_loaded(loaded)).argmax(1) == DIGITS.targets
    assert right.mean() > 0.5
    assert arrays.scaling.kind == loaded.scaling.kind


def rows_of_loaded(loaded: Loaded) -> np.ndarray:
    return DIGITS.inputs.reshape(-1, *loaded.facts.input_shape)


def test_a_resumed_training_ends_with_the_bits_of_an_undisturbed_one(
    arm: str, trained: tuple[Loaded, Arrays]
) -> None:
    first = training(arm)
    next(happening for happening in first.run() if happening.step >= 30)
    resume_point = first.resume_point()
    torch.rand(3)  # whatever else the process draws must not matter
    second = training(arm)
    second.resume(resume_point)

    end = finish(second)

    assert end.kept is not None
    assert end.kept.batches == trained[0].about.batches
    for name, tensor in trained[0].network.state_dict().items():
        assert torch.equal(end.kept.tensors[name], tensor), name


def test_a_row_is_answered_alone_as_in_company_and_nothing_moves(
    trained: tuple[Loaded, Arrays],
) -> None:
    loaded, _ = trained
    predictor, rows = Predictor(loaded), rows_of_loaded(loaded)[:40]
    before = {name: one.clone() for name, one in loaded.network.state_dict().items()}
    state = torch.get_rng_state()

    whole = predictor.logits(rows)

    near = 1e-5 * np.abs(whole).max()
    for index in (0, 17, 39):
        alone = predictor.logits(rows[index : index + 1])[0]
        np.testing.assert_allclose(alone, whole[index], rtol=0, atol=near)
    assert torch.equal(torch.get_rng_state(), state)
    for name, one in loaded.network.state_dict().items():
        assert torch.equal(one, before[name]), name


def test_every_buffer_is_a_running_statistic_that_the_fingerprint_covers(
    trained: tuple[Loaded, Arrays],
) -> None:
    loaded, _ = trained
    assert all(is_statistic(name) for name, _ in loaded.network.named_buffers())
    for name, _ in loaded.network.named_parameters():
        assert not is_statistic(name)


def test_sound_statistics_have_no_error_and_every_batch_was_counted(
    trained: tuple[Loaded, Arrays],
) -> None:
    loaded, _ = trained
    found = diagnose(loaded.network, loaded.about.evidence(), "save")
    assert [one.reason for one in found if one.severity == "error"] == []
    kinds = {facts["kind"] for facts in inspect(loaded.network, values=True)}
    assert kinds <= {loaded.spec.norm.kind}
    assert len(kinds) == bool(running_norms(loaded.network))


def test_a_counter_that_is_off_by_one_is_an_error(trained: tuple[Loaded, Arrays]) -> None:
    loaded, _ = trained
    for layer in running_norms(loaded.network).values():
        layer.num_batches_tracked.add_(1)
    try:
        found = diagnose(loaded.network, loaded.about.evidence(), "save")
    finally:
        for layer in running_norms(loaded.network).values():
            layer.num_batches_tracked.sub_(1)
    assert {one.reason for one in found if one.severity == "error"} == (
        {"BN_COUNTER_MISMATCH"} if running_norms(loaded.network) else set()
    )


def test_the_gap_has_a_part_for_each_layer_and_moves_nothing(
    trained: tuple[Loaded, Arrays],
) -> None:
    loaded, arrays = trained
    before = {name: one.clone() for name, one in loaded.network.state_dict().items()}
    gap = train_eval_gap(loaded.network, "cross_entropy", arrays.test, stream(0, "gap"))
    assert gap is not None
    assert [part.layer for part in gap.layers] == list(running_norms(loaded.network))
    assert sum(part.loss for part in gap.layers) == pytest.approx(gap.loss, abs=1e-12)
    if not gap.layers:
        assert gap.loss == 0
    for name, one in loaded.network.state_dict().items():
        assert torch.equal(one, before[name]), name


def test_history_and_differences_can_be_told(trained: tuple[Loaded, Arrays]) -> None:
    loaded, arrays = trained
    population = statistics_of(loaded.network, (arrays.train.inputs,))
    told = point(loaded.network, {}, population, len(arrays.train))
    assert [layer["layer"] for layer in told["layers"]] == list(running_norms(loaded.network))
    assert set(population) == set(batch_norms(loaded.network))
    own = difference(loaded.network, loaded.network)
    assert all(layer["kl_max"] == 0 for layer in own["layers"])


def test_drift_of_shifted_rows_is_told_and_of_the_own_rows_is_not(
    trained: tuple[Loaded, Arrays],
) -> None:
    loaded, arrays = trained
    drift = calibration(
        loaded.network, arrays.train.inputs, arrays.test.inputs, 1000, stream(0, "drift")
    )
    assert drift is not None
    rows = rows_of_loaded(loaded)
    for shift, state in ((0.0, "quiet"), (8.0, "alarm")):
        predictor = Predictor(loaded, rows[:200])
        monitor = Monitor(
            drift.references(loaded.network), drift.thresholds, 10, share=float("inf")
        )
        for block in np.array_split(rows[:320] + shift, 10):
            with monitor.watching(predictor.watch(), len(block)):
                predictor.logits(block)
        assert monitor.state(32).state == state


def test_a_folded_network_answers_as_the_unfolded_one(trained: tuple[Loaded, Arrays]) -> None:
    loaded, arrays = trained
    folded = fold(loaded.network, loaded.facts.input_shape)
    with torch.inference_mode():
        expected, found = loaded.network(arrays.test.inputs), folded.network(arrays.test.inputs)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    together = [one.norm for one in (*folded.in_layers, *folded.stayed)]
    assert sorted(together) == sorted(running_norms(loaded.network))


@pytest.mark.parametrize("is_folded", [True, False])
def test_an_onnx_file_answers_as_the_service(
    trained: tuple[Loaded, Arrays], is_folded: bool
) -> None:
    loaded, _ = trained
    rows = rows_of_loaded(loaded)[:40]
    exported = onnx(loaded, rows, folded=is_folded)
    session = InferenceSession(exported.content, providers=["CPUExecutionProvider"])
    (answers,) = session.run(["logits"], {"rows": rows.astype(np.float64)})
    expected = Predictor(loaded).logits(rows)
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_folded_file_has_no_tensor_that_torch_s_layers_have_not(
    trained: tuple[Loaded, Arrays],
) -> None:
    loaded, _ = trained
    exported = safetensors_folded(loaded, rows_of_loaded(loaded)[:40])
    assert exported.comparison.is_close
    last = {name.rpartition(".")[2] for name in tensors_of(exported.content)}
    assert not last & {"running_scale", "running_deviation"}


@pytest.mark.parametrize("name", BATCH_NORMS)
@pytest.mark.parametrize("method", ["precise", "pooled", "ema", "adapt"])
def test_recalibrated_statistics_are_those_of_the_population_noise_and_groups_aside(
    name: str, method: Any, by_arm: Callable[[str], tuple[Loaded, Arrays]]
) -> None:
    loaded, _ = by_arm(name)
    rows = rows_of_loaded(loaded)[:300]
    before = torch.get_rng_state()

    made = recalibrated(loaded, rows, Recalibration(method, batch_rows=300, source_rows=0.0))

    assert torch.equal(torch.get_rng_state(), before)
    first = next(iter(batch_norms(loaded.network)))
    scaled = torch.from_numpy(loaded.scaling.apply(rows, dtype=np.float32))
    with torch.no_grad():
        values = loaded.network[0](scaled).double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(made.tensors[f"{first}.running_mean"], values.mean(1).float())
    correction = 0 if method == "adapt" else 1
    spread = values.var(1, correction=correction)
    if f"{first}.running_deviation" in made.tensors:
        torch.testing.assert_close(
            made.tensors[f"{first}.running_deviation"], spread.sqrt().float()
        )
    else:
        torch.testing.assert_close(made.tensors[f"{first}.running_var"], spread.float())


@pytest.mark.parametrize("name", LP_NORMS)
def test_the_statistics_of_an_lp_norm_cannot_be_recalibrated_and_nothing_says_they_can(
    name: str, tmp_path: Path
) -> None:
    loaded, arrays = saved(name, tmp_path, budget={"steps": 5})
    rows = rows_of_loaded(loaded)[:300]

    with pytest.raises(InputRefused, match=r"of an l_p norm .* cannot be recalibrated"):
        recalibrated(loaded, rows, Recalibration())
    found = [*diagnose(loaded.network, loaded.about.evidence(), "save")]
    gap = train_eval_gap(loaded.network, "cross_entropy", arrays.test, stream(0, "gap"))
    assert gap is not None
    found += [one for one in [finding(gap)] if one is not None]
    assert "BN_STATS_LAG" in [one.reason for one in found]
    assert not any("recalibrate {" in one.remedy for one in found)
    assert not any("/recalibrate;" in one.remedy for one in found)


def test_a_training_with_noise_draws_it_from_the_run_s_own_generator() -> None:
    one, other = finish(training("noise", seed=1)), finish(training("noise", seed=1))
    assert one.kept is not None
    assert other.kept is not None
    for name, tensor in one.kept.tensors.items():
        assert torch.equal(other.kept.tensors[name], tensor)


def test_noise_and_norm_stand_at_the_same_places_of_equal_weights() -> None:
    """An arm and its control differ in nothing but the norm."""
    noisy, noise, batch = (
        training("noisy").network,
        training("noise").network,
        training("ghost").network,
    )
    assert [type(one).__name__ for one in noise] == [
        {"NoisyBatchNorm": "Noise"}.get(type(one).__name__, type(one).__name__) for one in noisy
    ]
    for index in (0, 3, 6):
        assert isinstance(noisy[index], nn.Linear)
        assert torch.equal(noisy[index].weight, noise[index].weight)
        assert torch.equal(noisy[index].weight, batch[index].weight)


def test_groups_of_a_batch_that_overflows_are_all_taken_back() -> None:
    """Of 8 batches an epoch, 8 rows each in 3 groups, one holds a value whose square overflows."""
    rows = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    rows[17] = 1e25
    dataset = describe(rows, np.arange(64) % 2, ("a", "b"), train_rows=64)
    body = {"dataset": "rows", "network": {"kind": "mlp", "hidden": [4]}, "scaling": "none"}
    body |= {"batch_size": 8, "budget": {"epochs": 3}, "init": {"gain": 1e-3}}
    body |= {"norm": {"kind": "ghost_batch", "group_size": 3}}
    checked = check(RunSpec.model_validate(body), dataset.facts, Limits(10**9, 10**12))

    end = finish(Training(checked, prepare(dataset, checked.spec, CPU), CPU))

    assert end.kept is not None
    assert end.kept.batches == (24 - 3) * 3
    assert end.kept.tensors["1.num_batches_tracked"] == (24 - 3) * 3
    assert all(torch.isfinite(tensor).all() for tensor in end.kept.tensors.values())


def test_a_batch_norm_of_torch_is_imported_as_any_kind_that_shares_its_statistics() -> None:
    theirs = nn.Sequential(
        nn.Linear(64, 20), nn.BatchNorm1d(20), nn.Tanh(), nn.Linear(20, 12), nn.BatchNorm1d(12)
    )
    theirs.extend([nn.Tanh(), nn.Linear(12, 10)])
    theirs(torch.randn(50, 64, generator=torch.Generator().manual_seed(0)))
    for arm in ("noisy", "ghost", "renorm"):
        made = imported(theirs.state_dict(), training(arm).spec, DIGITS.facts)
        for name, tensor in theirs.state_dict().items():
            assert torch.equal(made.tensors[name], tensor)


def test_an_import_without_the_scale_of_an_lp_norm_is_refused_by_its_name(
    by_arm: Callable[[str], tuple[Loaded, Arrays]],
) -> None:
    loaded, _ = by_arm("l1")
    tensors = dict(loaded.network.state_dict())
    again = imported(tensors, loaded.spec, loaded.facts, scaling=loaded.scaling)
    assert again.report.filled == ()
    del tensors["1.running_scale"]
    with pytest.raises(StatisticsMissing, match=r"1\.running_scale"):
        imported(tensors, loaded.spec, loaded.facts, scaling=loaded.scaling)


def test_only_the_norms_that_average_a_variance_calibrate_drift_by_it() -> None:
    noisy, lp = training("noisy"), training("l1")
    for one, count in ((noisy, 2), (lp, 0)):
        assert len(running(one.network)) == count
        assert len(points(one.network)) == 2
