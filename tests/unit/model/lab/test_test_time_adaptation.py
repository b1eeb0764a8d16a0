"""Statistics at test time: chunks, corruptions, claims, and the report."""

import copy
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from model.data.builtin import build as dataset
from model.data.scaling import Scaling
from model.lab.errors import held_out, with_statistics
from model.lab.results import Results
from model.lab.test_time_adaptation import claims
from model.lab.test_time_adaptation.chunked import adapted_logits
from model.lab.test_time_adaptation.corruptions import SIZES, Shifts, gaussian_blur
from model.lab.test_time_adaptation.experiment import EXPERIMENT
from model.lab.test_time_adaptation.looks import Looks, OfShift, Scores, of_looks, sizes_for
from model.networks.build import build
from model.plan import plan as plan_of
from model.spec import RunSpec
from model.statistics.adapt import adapted
from model.statistics.modes import batch_norms
from model.training.arrays import Part
from tests.laboratory import asked, report_of, results_of

SMALL: dict[str, Any] = {"hidden": [20], "steps": 60}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    planned = EXPERIMENT.plan(asked(EXPERIMENT, **SMALL), (0, 1))
    return results_of(planned, tmp_path_factory.mktemp("adaptation"))


def convolution(norm: dict[str, Any]) -> torch.nn.Module:
    layers = [
        {"kind": "unflatten", "shape": [1, 8, 8]},
        {"kind": "conv2d", "out_channels": 3},
        {"kind": "norm"},
        {"kind": "activation"},
        {"kind": "flatten"},
        {"kind": "linear", "out_features": 7},
        {"kind": "norm"},
        {"kind": "linear"},
    ]
    body = {"dataset": "digits", "network": {"kind": "layers", "layers": layers}, "norm": norm}
    spec = RunSpec.model_validate(body)
    network = build(plan_of(spec, dataset("digits").facts), dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator).double())
    return network.eval()


@pytest.mark.parametrize(
    "norm", [{"kind": "batch"}, {"kind": "batch", "running": "deviation"}, {"kind": "batch_renorm"}]
)
@pytest.mark.parametrize("source_rows", [0.0, 3.0, inf])
@pytest.mark.parametrize("size", [1, 4])
def test_every_chunk_is_answered_as_if_the_network_were_adapted_to_it_alone(
    norm: dict[str, Any], source_rows: float, size: int
) -> None:
    network = convolution(norm)
    rows = torch.randn(8, 64, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    before = copy.deepcopy(network.state_dict())
    found = adapted_logits(network, rows, size, source_rows)
    # One value a channel has no spread at all: without eps there is nothing to compare.
    if not (norm.get("running") == "deviation" and size == 1 and source_rows == 0):
        for chunk, logits in zip(rows.split(size), found.split(size), strict=True):
            alone = with_statistics(network, adapted(network, (chunk,), source_rows))
            torch.testing.assert_close(logits, alone(chunk).detach(), rtol=1e-9, atol=1e-9)
    after = network.state_dict()
    assert all(torch.equal(one, after[name]) for name, one in before.items())
    assert not any(norm_._forward_hooks for norm_ in batch_norms(network).values())


def test_a_chunk_that_is_left_over_is_refused() -> None:
    with pytest.raises(ValueError, match="7 rows are no whole number of chunks of 4"):
        adapted_logits(convolution({"kind": "batch"}), torch.zeros(7, 64).double(), 4, 0)


def test_a_blur_is_that_of_scipy() -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 9, 7))
    found = gaussian_blur(torch.from_numpy(images), 0.9)
    wanted = gaussian_filter(images, 0.9, mode="nearest", axes=(2, 3), radius=3)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9, atol=1e-15)


def shifts(scaling: str = "minmax") -> tuple[Shifts, torch.Tensor, np.ndarray]:
    raw = np.random.default_rng(1).uniform(2, 7, size=(50, 16)) * np.arange(1, 17)
    fitted = Scaling.fit(scaling, raw, images=False)  # type: ignore[arg-type]
    rows = torch.from_numpy(fitted.apply(raw, dtype=np.float64))
    low, high = rows.amin(0), rows.amax(0)
    return Shifts(low, high, fitted, (1, 4, 4), 5), rows, raw


def part(rows: torch.Tensor) -> Part:
    zeros = torch.zeros(len(rows), dtype=torch.long)
    return Part(rows, zeros, zeros)


def test_with_features_from_0_to_1_the_formulas_are_those_of_pixels() -> None:
    found, rows, _ = shifts()
    contrast = found.apply("contrast", 4, part(rows)).inputs
    torch.testing.assert_close(contrast, 0.3 * rows + 0.35)
    torch.testing.assert_close(found.apply("offset", 2, part(rows)).inputs, rows + 0.2)
    noise = found.apply("noise", 3, part(rows)).inputs - rows
    assert float(noise.std()) == pytest.approx(0.3, rel=0.1)
    assert torch.equal(found.apply("noise", 3, part(rows)).inputs - rows, noise)


@pytest.mark.parametrize("kind", SIZES)
def test_a_corruption_is_the_same_whatever_the_scaling(kind: Any) -> None:
    minmax, rows, _ = shifts()
    standard, other, _ = shifts("standard")
    one = minmax.apply(kind, 5, part(rows)).inputs.numpy() * minmax.scaling.scale
    two = standard.apply(kind, 5, part(other)).inputs.numpy() * standard.scaling.scale
    np.testing.assert_allclose(one + minmax.scaling.shift, two + standard.scaling.shift)


def test_a_blur_is_of_rows_before_their_scaling() -> None:
    found, rows, raw = shifts("standard")
    blurred = found.apply("blur", 5, part(rows)).inputs.numpy()
    wanted = gaussian_filter(raw.reshape(-1, 4, 4), 0.6, mode="nearest", axes=(1, 2), radius=2)
    back = blurred * found.scaling.scale + found.scaling.shift
    np.testing.assert_allclose(back, wanted.reshape(-1, 16))


def test_rows_that_are_no_images_are_not_blurred() -> None:
    found = shifts()[0]
    assert found.known() == ["contrast", "offset", "noise", "blur"]
    assert replace(found, image_shape=None).known() == ["contrast", "offset", "noise"]


def test_the_largest_chunk_is_all_rows_up_to_512() -> None:
    assert sizes_for(359) == [1, 2, 4, 8, 16, 32, 64, 128, 359]
    assert sizes_for(2_000)[-2:] == [128, 512]
    assert sizes_for(4) == [1, 2, 4]


def looks(source: float, target: float, few: dict[float, float]) -> Looks:
    scores = (Scores(source, 0.2, 0.5), Scores(target, 0.1, 0.4))
    clean = {(4, 0.0): 70.0, (4, inf): 98.0, (8, 0.0): 98.25, (8, inf): 98.0}
    full = dict.fromkeys((0.0, 1.0, 4.0, 16.0, 64.0, 256.0, inf), 0.0) | few
    shift = {("noise", severity): OfShift(*scores, full) for severity in range(1, 6)}
    shifted = {(8, weight): value for weight, value in full.items()}
    return Looks("noise", clean, shifted, shift, 90.0, 30.0)  # type: ignore[arg-type]


def test_claims_are_numbers_of_one_run() -> None:
    one = looks(60.0, 80.0, {0.0: 70.0, 4.0: 75.0, inf: 60.0})
    assert claims.gain(one) == 20.0
    assert claims.gain(one, "ece") == pytest.approx(-0.1)
    assert claims.largest_gain(one.clean) == 0.25
    assert claims.alone(one.clean) == -28.0
    assert claims.forgotten(one.shifted) == -5.0


def test_a_mixture_is_chosen_on_the_other_seeds() -> None:
    found = {
        0: looks(0, 0, {0.0: 70.0, 4.0: 75.0, 16.0: 74.0, inf: 60.0}),
        1: looks(0, 0, {0.0: 71.0, 4.0: 70.0, 16.0: 76.0, inf: 60.0}),
    }
    first, second = claims.mixtures(found)
    assert (first.value, first.note) == (4.0, "N = 16")
    assert (second.value, second.note) == (-1.0, "N = 4")
    assert claims.mixtures({0: found[0]})[0].value is None


def test_the_report_is_about_corrupted_test_rows(results: Results) -> None:
    params = asked(EXPERIMENT, **SMALL)
    report = EXPERIMENT.report(params, results)
    (run, _) = results.runs
    loaded, start = results.trained(run), results.start(run)
    assert loaded is not None
    gains = []
    rows, found = held_out(start), Shifts.of(start)
    for kind in SIZES:
        for severity in range(1, 6):
            shifted = found.apply(kind, severity, rows)
            target = with_statistics(loaded.network, adapted(loaded.network, (shifted.inputs,), 0))
            right = [
                100 * float((network(shifted.inputs).argmax(1) == rows.classes).double().mean())
                for network in (loaded.network, target)
            ]
            gains.append(right[1] - right[0])
    # Noise is drawn in the order of the rows, which the report shuffles; a few answers differ.
    assert report.effect.seeds[0].value == pytest.approx(sum(gains) / 20, abs=1.0)
    assert report.effect.n == 2
    assert len(report.others) == 6
    assert [table.name for table in report.tables] == ["scores", "corruptions", "few-rows"]
    assert [len(table.rows) for table in report.tables] == [8, 20, 7]
    assert [figure.name for figure in report.figures] == ["weights", "corruptions"]
    assert EXPERIMENT.report(params, results) == report


def test_a_run_that_diverged_or_failed_says_nothing(results: Results) -> None:
    first, second = results.runs
    broken = (
        replace(first, outcome="diverged"),
        replace(second, state="failed", outcome=None, why="no memory"),
    )
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(broken))
    assert (report.effect.n, report.effect.verdict, report.figures) == (0, "inconclusive", ())
    told = " ".join(report.caveats)
    assert "Diverged, and in no number, for there is nothing to adapt: clean, seed 0." in told


def test_logits_that_are_not_finite_have_no_calibration_error(results: Results) -> None:
    scores = Scores(60.0, nan, nan)
    one = looks(60.0, 80.0, {})
    wild = replace(one, shifts={("noise", 1): OfShift(scores, Scores(80.0, 0.1, 0.4), {})})
    (run, _) = results.runs
    accuracy = of_looks({0: wild}, claims.gain)(run)
    assert (accuracy.value, accuracy.note) == (20.0, "")
    calibration = of_looks({0: wild}, lambda one: claims.gain(one, "ece"))(run)
    assert (calibration.value, calibration.note) == (None, "logits are not finite")


def test_a_network_that_nearly_diverged_has_a_report(tmp_path: Path) -> None:
    wild = {"lr": 1000.0, "hidden": [6, 6, 6, 6], "batch_size": 3, "steps": 300}
    report, results = report_of(EXPERIMENT, tmp_path, (1,), **wild)
    assert not results.runs[0].has_diverged
    notes = [one.note for other in report.others for one in other.seeds]
    assert "logits are not finite" in notes


def test_rows_that_are_no_images_have_a_report_without_blur(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    params = asked(EXPERIMENT, **SMALL, dataset="breast_cancer", corruption="blur")
    planned = EXPERIMENT.plan(params, (0, 1))
    report = EXPERIMENT.report(params, results_of(planned, tmp_path_factory.mktemp("cancer")))
    assert len(report.tables[1].rows) == 15
    assert "The map is about contrast instead." in report.caveats
    assert report.figures[0].panels[1].title == "contrast, severity 4"


def test_no_run_at_all_is_a_report_without_figures() -> None:
    report = EXPERIMENT.report(asked(EXPERIMENT), Results(()))
    assert (report.effect.verdict, report.figures) == ("inconclusive", ())
