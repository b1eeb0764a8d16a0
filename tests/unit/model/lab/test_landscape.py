"""Loss and gradient along the gradient, in plan, numbers and report."""

from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest
from pydantic import ValidationError

from model.errors import SpecRefused
from model.figures.charts import Curves, Surface
from model.figures.draw_chart import svg
from model.lab.experiment import PlannedRun
from model.lab.landscape.experiment import EXPERIMENT
from model.lab.landscape.widths import BETA, LOSS_MAX, LOSS_MIN, others, primary, slopes, widths
from model.lab.report import Report
from model.lab.results import NO_LIMITS, Measured, Results, RunResult, Series
from model.plan import check
from model.spec import RunSpec
from tests.laboratory import asked, report_of

SMALL: dict[str, Any] = {
    "network": {"kind": "mlp", "hidden": [12, 12], "activation": "relu"},
    "steps": 20,
    "probes": 5,
    "lengths": 3,
    "grid": 5,
}
SPEC = RunSpec.model_validate({"dataset": "digits", "network": {"kind": "mlp"}})


def planned(**params: Any) -> tuple[PlannedRun, ...]:
    return EXPERIMENT.plan(asked(EXPERIMENT, **params), (0,))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Results]:
    return report_of(EXPERIMENT, tmp_path_factory.mktemp("runs"), (0, 1), **SMALL)


def again(results: Results) -> Report:
    return EXPERIMENT.report(asked(EXPERIMENT, **SMALL), results)


def run(arm: str, low: list[float], high: list[float], **fields: Any) -> RunResult:
    steps = tuple(range(0, 100 * len(low), 100))
    told: dict[str, Any] = {
        "seed": 0,
        "spec": SPEC,
        "state": "succeeded",
        "outcome": "completed",
        "why": None,
        "step": 1_500,
        "dataset": "",
        "series": {LOSS_MIN: Series(steps, tuple(low)), LOSS_MAX: Series(steps, tuple(high))},
        "measured": {},
        "checkpoints": (),
    }
    return RunResult(arm=arm, **{**told, **fields})


def test_the_default_is_the_deep_perceptron_on_binary_digits() -> None:
    none, batch = (one.spec.model_dump(mode="json") for one in planned())
    assert none["network"]["hidden"] == [100] * 8
    assert (none["scaling"], none["batch_size"], none["optimizer"]["lr"]) == ("binary", 128, 0.1)
    assert none["budget"] == {"steps": 1_500}
    (measure,) = none["measures"]
    told = [measure[key] for key in ("every", "low", "high", "steps", "spacing")]
    assert told == [25, 0.5, 4.0, 8, "linear"]
    assert {**none, "norm": 0} == {**batch, "norm": 0}
    assert (none["norm"]["kind"], batch["norm"]["kind"]) == ("none", "batch")


def test_the_published_network_is_a_vgg_and_any_other_may_take_its_place() -> None:
    spec = planned(scale="paper", dataset="cifar10")[0].spec.model_dump(mode="json")
    assert (spec["network"]["kind"], spec["network"]["depth"]) == ("vgg", 16)
    assert (spec["budget"], spec["scaling"]) == ({"steps": 15_000}, "standard")
    network = {"kind": "deep_linear", "layers": 5}
    own = planned(network=network, scaling="none", low=0.01, high=30, lengths=15, spacing="log")
    spec = own[0].spec.model_dump(mode="json")
    assert (spec["network"]["layers"], spec["scaling"]) == (5, "none")
    assert (spec["measures"][0]["high"], spec["measures"][0]["steps"]) == (30, 15)


def test_step_lengths_that_do_not_ascend_are_refused() -> None:
    with pytest.raises(ValidationError, match="low must be below high"):
        asked(EXPERIMENT, low=4.0, high=0.5)


def test_steps_whose_product_is_0_are_refused() -> None:
    for name in ("low", "lr"):
        with pytest.raises(ValidationError, match=name):
            asked(EXPERIMENT, **{name: 1e-10})
    smallest = planned(lr=1e-9, low=1e-9)[0].spec.model_dump(mode="json")
    assert smallest["measures"][0]["low"] == 1e-9


LINEAR, NORM = {"kind": "linear"}, {"kind": "norm"}


@pytest.mark.parametrize(
    "network",
    [
        {"kind": "mlp", "hidden": []},
        {"kind": "deep_linear", "layers": 1},
        {"kind": "layers", "layers": [LINEAR]},
        {"kind": "layers", "layers": [{"kind": "residual", "layers": [LINEAR]}, LINEAR]},
    ],
)
def test_a_network_without_a_place_for_a_norm_is_refused(network: dict[str, Any]) -> None:
    with pytest.raises(SpecRefused, match="no place for a norm") as refused:
        planned(network=network)
    assert refused.value.path == "network"


@pytest.mark.parametrize(
    "network",
    [
        {"kind": "mlp", "hidden": [3]},
        {"kind": "deep_linear", "layers": 2},
        {"kind": "residual_mlp", "blocks": 1},
        {"kind": "resnet", "depth": 20},
        {"kind": "vgg"},
        {"kind": "layers", "layers": [{"kind": "flatten"}, NORM, LINEAR]},
        {
            "kind": "layers",
            "layers": [{"kind": "flatten"}, {"kind": "residual", "layers": [NORM]}, LINEAR],
        },
    ],
)
def test_a_network_that_is_planned_has_a_norm(network: dict[str, Any], make_facts: Any) -> None:
    spec = planned(network=network, scaling="none")[1].spec
    plan = check(spec, make_facts((1, 8, 8), outputs=10), NO_LIMITS).plan
    assert any(layer.norm is not None for layer in plan.walk())


def test_the_effect_is_the_ratio_of_the_median_widths_of_the_judged_steps() -> None:
    """Of 1,500 steps the first 600 are judged: here 7 probes, of which the last 3 do not count."""
    none = run("none", [1.0] * 10, [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 99.0, 99.0, 99.0])
    batch = run("batch", [1.0] * 10, [1.5] * 10)
    (one,) = primary(asked(EXPERIMENT), Results((none, batch))).seeds
    assert one.value == pytest.approx(4.0 / 0.5)


def test_what_comes_after_the_judged_steps_is_judged_by_itself() -> None:
    none = run("none", [1.0] * 10, [9.0] * 7 + [1.1, 1.2, 1.3])
    batch = run("batch", [1.0] * 10, [2.0] * 10)
    late = others(asked(EXPERIMENT), Results((none, batch)))[-1]
    assert late.seeds[0].value == pytest.approx(0.2)


def test_an_infinite_loss_is_an_infinite_width_and_a_median_may_bear_it() -> None:
    none = run("none", [1.0, 1.0, 1.0], [3.0, inf, nan])
    assert widths(none).values == (2.0, inf, inf)
    batch = run("batch", [1.0] * 3, [2.0] * 3)
    (one,) = primary(asked(EXPERIMENT), Results((none, batch))).seeds
    assert one.value == pytest.approx(2.0)
    assert one.note == "none has an infinite width of the loss: at least this"


def test_a_diverged_arm_is_a_bound_and_marked() -> None:
    none = run("none", [1.0] * 3, [2.0, 5.0, 3.0], outcome="diverged", step=210)
    batch = run("batch", [1.0] * 3, [2.0] * 3)
    (one,) = primary(asked(EXPERIMENT), Results((none, batch))).seeds
    assert (one.value, one.note) == (4.0, "none diverged at step 210: at least this")


def test_slopes_are_the_norms_of_gradients_and_infinite_where_there_is_no_number() -> None:
    found = (
        Measured(0, {"gradient_norm": 2.5}),
        Measured(25, {"gradient_norm": None}),
        Measured(50, {"unreadable": "ValueError"}),
    )
    assert slopes(run("none", [1.0], [2.0], measured={"landscape": found})) == Series(
        (0, 25), (2.5, inf)
    )


def test_the_report_tells_of_both_ends_and_of_what_lies_around(
    made: tuple[Report, Results],
) -> None:
    report, _ = made
    assert report.effect.n == 2
    assert [one.n for one in report.others] == [2] * 5
    assert [table.name for table in report.tables] == ["along", "constants", "around"]
    ends = [row[:3] for row in report.tables[1].rows]
    assert ends == [
        (norm, seed, when)
        for norm in ("none", "batch")
        for seed in (0, 1)
        for when in ("start", "end")
    ]
    for proof in report.factors:
        assert (proof["differ_in"], proof["same_start"], proof["same_order"]) == (
            ["norm"],
            True,
            True,
        )


def test_every_estimate_is_a_number_above_0(made: tuple[Report, Results]) -> None:
    for row in made[0].tables[1].rows:
        numbers = [cell for cell in row[3:] if isinstance(cell, float)]
        assert len(numbers) == 5
        assert all(number > 0 for number in numbers)


def test_surfaces_say_whether_statistics_are_recomputed_or_held(
    made: tuple[Report, Results],
) -> None:
    figures = {one.name: one for one in made[0].figures}
    assert list(figures) == ["landscape", "over-seeds", "line", "surface"]
    surfaces = [panel for panel in figures["surface"].panels if isinstance(panel, Surface)]
    assert [one.statistics for one in surfaces] == ["", "recomputed at every point", "held"]
    assert [(len(one.x), len(one.z)) for one in surfaces] == [(5, 5)] * 3
    assert [panel.title for panel in figures["line"].panels] == [
        "statistics recomputed at every point",
        "statistics held",
    ]


def test_the_middle_of_every_line_is_the_loss_of_the_trained_network(
    made: tuple[Report, Results],
) -> None:
    (figure,) = (one for one in made[0].figures if one.name == "surface")
    none, recomputed, held = (one for one in figure.panels if isinstance(one, Surface))
    middles = [surface.z[2][2] for surface in (none, recomputed, held)]
    assert middles[1] != middles[2]
    assert all(0 < middle < 5 for middle in middles)


def test_every_figure_can_be_drawn(made: tuple[Report, Results]) -> None:
    assert all(svg(one) for one in made[0].figures)


def test_the_same_runs_give_the_same_report(made: tuple[Report, Results]) -> None:
    report, results = made
    assert again(results) == report


def test_rows_that_are_too_few_for_a_mini_batch_are_not_looked_at(
    made: tuple[Report, Results],
) -> None:
    params = {**SMALL, "batch_size": 1_100}
    _, results = made
    runs = [
        replace(one, spec=one.spec.model_copy(update={"batch_size": 1_100})) for one in results.runs
    ]
    report = EXPERIMENT.report(asked(EXPERIMENT, **params), Results(tuple(runs)))
    assert [table.name for table in report.tables] == ["along"]
    assert any("take too long" in one for one in report.caveats)


def test_failed_runs_leave_their_seeds_out(made: tuple[Report, Results]) -> None:
    _, results = made
    failed = [replace(one, state="failed", outcome=None, why="killed") for one in results.runs]
    report = again(Results((failed[0], *results.runs[1:])))
    assert [one.seed for one in report.effect.seeds] == [1]
    nothing = again(Results(tuple(failed)))
    assert (nothing.effect.verdict, nothing.effect.n, nothing.figures) == ("inconclusive", 0, ())


def test_what_stands_beside_each_other_is_of_one_seed(made: tuple[Report, Results]) -> None:
    """Seed 0 has no run without norm: seed 1 is the first that has both."""
    _, results = made
    first = replace(results.runs[0], state="failed", outcome=None, why="killed")
    report = again(Results((first, *results.runs[1:])))
    figures = {one.name: one for one in report.figures}
    for norm, panel in zip(("none", "batch"), figures["landscape"].panels[4:], strict=True):
        assert isinstance(panel, Curves)
        (one,) = (one for one in results.of(norm) if one.seed == 1)
        assert panel.curves[0].y == one.series[BETA].values
    assert figures["landscape"].notes[0].startswith("seed 1;")
    assert figures["surface"].notes[0].startswith("seed 1;")
    shown = [row[:2] for row in report.tables[2].rows if row[-1] is not None]
    assert shown == [("none", 1), ("batch", 1), ("batch", 1)]


def test_a_diverged_run_has_no_surface_but_a_report(made: tuple[Report, Results]) -> None:
    _, results = made
    told = [
        replace(one, outcome="diverged", step=15) if one.arm == "none" else one
        for one in results.runs
    ]
    report = again(Results(tuple(told)))
    (surface,) = (one for one in report.figures if one.name == "surface")
    assert len(surface.panels) == 2
    assert any("its end is not looked at: none, seed 0" in one for one in report.caveats)
    assert all(svg(one) for one in report.figures)
