"""The kind `sweep`: its grid, its map, and an effect that chance alone does not make."""

import random
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from model.errors import SpecRefused
from model.figures.charts import Bars, Map
from model.lab.results import Results, RunResult, Series
from model.lab.sweep import EXPERIMENT, SweepParams, arms_of
from model.spec import RunSpec
from tests.laboratory import dataset_folder, report_of

BASE: dict[str, Any] = {
    "dataset": "wine",
    "network": {"kind": "mlp", "hidden": [5]},
    "budget": {"steps": 20},
}
FIELDS: dict[str, Any] = {"optimizer.lr": [0.1, 1.0], "norm": ["none", "batch"]}
CELLS = ["lr 0.1, norm none", "lr 0.1, norm batch", "lr 1.0, norm none", "lr 1.0, norm batch"]


def params(fields: dict[str, Any] = FIELDS, **changes: Any) -> SweepParams:
    return SweepParams.model_validate({"base": BASE, "fields": fields} | changes)


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(dataset_folder("wine", tmp_path_factory.mktemp("datasets")))


def run(dataset: str, arm: str, seed: int, value: float, **more: Any) -> RunResult:
    told: dict[str, Any] = {"state": "succeeded", "outcome": "completed", "why": None}
    told |= {"spec": RunSpec.model_validate(BASE), "step": 20, "measured": {}, "checkpoints": ()}
    told["series"] = {"test_accuracy": Series((20,), (value,))}
    return RunResult(arm=arm, seed=seed, dataset=dataset, **told | more)


def test_the_plan_is_the_whole_grid_on_every_seed() -> None:
    planned = EXPERIMENT.plan(params(), [3, 5])
    assert [one.arm for one in planned] == CELLS * 2
    assert [one.seed for one in planned] == [3] * 4 + [5] * 4
    first = [(one.spec.optimizer.lr, one.spec.norm.kind) for one in planned[:4]]
    assert first == [(0.1, "none"), (0.1, "batch"), (1.0, "none"), (1.0, "batch")]
    assert all(one.spec.seed == one.seed for one in planned)


def test_the_plan_is_as_large_as_an_experiment_may_be() -> None:
    rates = [0.01 * (i + 1) for i in range(32)]
    assert len(EXPERIMENT.plan(params({"optimizer.lr": rates}), range(16))) == 512
    with pytest.raises(SpecRefused, match="makes 544 runs; an experiment has at most 512"):
        EXPERIMENT.plan(params({"optimizer.lr": rates}), range(17))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"optimizer.lr": [0.1, 0.1]}, "fields.optimizer.lr.1"),
        ({"optimizer.lr": [0.1, -1]}, "fields.optimizer.lr"),
        ({"norm": ["none", "nothing"]}, "fields.norm.kind"),
        ({"network.hidden.5": [1, 2]}, "fields.network.hidden.5"),
    ],
)
def test_cells_that_cannot_be_are_refused(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(SpecRefused) as refused:
        EXPERIMENT.plan(params(fields), [0])
    assert refused.value.path == path


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"norm": ["none"]},
        {"seed": [1, 2]},
        {"norm": ["none", "batch"], "norm.eps": [0.1, 0.2]},
        {f"optimizer.{name}": [0.1, 0.2] for name in ("lr", "momentum", "weight_decay", "x")},
        {"optimizer.lr": [0.1 * i for i in range(1, 34)]},
    ],
)
def test_fields_that_make_no_grid_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        params(fields)


def test_cells_have_names_of_their_own() -> None:
    long = {"kind": "mlp", "hidden": [100] * 20}
    fields = {"network": [long, long | {"activation": "relu"}], "batch_size": [1, 2]}
    names = list(arms_of(params(fields)).values())
    assert len(set(names)) == 4
    assert all(len(name) < 120 for name in names)
    same = {"optimizer.weight_decay": [0.0, 0.1], "optimizer.lr": [0.1, 0.2]}
    assert next(iter(arms_of(params(same)).values())) == "weight_decay 0.0, lr 0.1"


def test_the_cells_are_chosen_on_the_other_seeds(wine: str) -> None:
    #           seed 0  1    2
    values = {CELLS[0]: (0.9, 0.1, 0.1), CELLS[1]: (0.2, 0.8, 0.8)}
    values |= {CELLS[2]: (0.3, 0.5, 0.5), CELLS[3]: (0.4, 0.4, 0.4)}
    runs = [run(wine, arm, s, v) for arm, found in values.items() for s, v in enumerate(found)]
    told = EXPERIMENT.report(params(), Results(tuple(runs)))
    # Without seed 0 the second cell is the best and the first the worst: in seed 0 not so.
    assert told.effect.seeds[0].value == pytest.approx(0.2 - 0.9)
    # Without seed 1 the means are .5, .5, .4, .4: the first of equals is taken.
    assert told.effect.seeds[1].value == pytest.approx(0.1 - 0.5)


def test_chance_alone_makes_no_effect(wine: str) -> None:
    draw = random.Random(0)
    supported = 0
    for _ in range(20):
        runs = [run(wine, arm, s, draw.gauss(0.5, 0.1)) for arm in CELLS for s in range(4)]
        told = EXPERIMENT.report(params(margin=0.0), Results(tuple(runs)))
        supported += told.effect.verdict == "supports"
    assert supported <= 2  # 2.5 % of them by definition; the plain best less the worst: all


def test_a_cell_that_is_better_on_every_seed_is_found(wine: str) -> None:
    runs = [
        run(wine, arm, s, 0.5 + 0.1 * i + 0.01 * s) for i, arm in enumerate(CELLS) for s in range(3)
    ]
    told = EXPERIMENT.report(params(), Results(tuple(runs)))
    assert told.effect.verdict == "supports"
    assert told.effect.value == pytest.approx(0.3)
    assert f"{CELLS[3]} has the best test_accuracy" in told.summary


def test_one_seed_cannot_choose_and_judge(wine: str) -> None:
    runs = [run(wine, arm, 0, 0.1 * i) for i, arm in enumerate(CELLS)]
    told = EXPERIMENT.report(params(), Results(tuple(runs)))
    assert (told.effect.n, told.effect.verdict) == (0, "inconclusive")
    assert "cannot both choose the cells and judge them" in told.summary


def test_the_map_has_the_first_field_along_x_and_marks_diverged_cells(wine: str) -> None:
    runs = [run(wine, arm, 0, 0.1 * i) for i, arm in enumerate(CELLS)]
    runs[2] = run(wine, CELLS[2], 0, 0.9, outcome="diverged")
    told = EXPERIMENT.report(params(), Results(tuple(runs)))
    (panel,) = told.figures[0].panels
    assert isinstance(panel, Map)
    assert (panel.x_ticks, panel.y_ticks) == (("0.1", "1.0"), ("none", "batch"))
    assert panel.values[0][0] == 0.0
    assert isnan(panel.values[0][1])
    assert panel.values[1] == (pytest.approx(0.1), pytest.approx(0.3))
    assert told.tables[0].rows[2] == ("1.0", "none", 0.0, 0.0, 0.0, 1, 1)


def test_cells_that_all_diverged_say_nothing_of_the_fields(wine: str) -> None:
    told = {"outcome": "diverged", "step": 12}
    runs = [run(wine, arm, s, 0.5, **told) for arm in CELLS for s in range(3)]
    report = EXPERIMENT.report(params(), Results(tuple(runs)))
    assert (report.effect.n, report.effect.verdict) == (0, "inconclusive")
    assert "diverged at step 12" in report.effect.seeds[0].note


def test_the_gain_on_a_cell_whose_loss_diverged_is_a_bound(wine: str) -> None:
    told: dict[str, Any] = {"outcome": "diverged", "step": 12}
    runs = []
    for i, arm in enumerate(CELLS):
        for seed in range(3):
            series = {"test_loss": Series((20,), (0.1 * (i + 1),))}
            more = told if arm == CELLS[3] else {}
            runs.append(run(wine, arm, seed, 0.0, **more | {"series": series}))
    report = EXPERIMENT.report(params(metric="test_loss", margin=1.0), Results(tuple(runs)))
    assert [one.value for one in report.effect.seeds] == pytest.approx([0.3] * 3)
    assert [one.bound for one in report.effect.seeds] == ["at least"] * 3
    assert report.effect.verdict == "inconclusive"
    assert report.effect.seeds[0].note.startswith(f"best {CELLS[0]}; worst {CELLS[3]}")


def test_cells_are_proven_alike_on_a_seed_that_both_have(wine: str) -> None:
    def of(arm: str, seed: int, **more: Any) -> RunResult:
        spec = RunSpec.model_validate(BASE | {"seed": seed, "norm": arm.rpartition(" ")[2]})
        return run(wine, arm, seed, 0.5, spec=spec, **more)

    lost = {"state": "failed", "outcome": None}
    runs = [
        *(of(CELLS[0], 0, **lost), of(CELLS[0], 1), of(CELLS[0], 2)),
        *(of(CELLS[1], 0), of(CELLS[1], 1), of(CELLS[1], 2, **lost)),
        *(of(CELLS[2], 0), of(CELLS[2], 1, **lost), of(CELLS[2], 2)),
        *(of(CELLS[3], 0), of(CELLS[3], 1, **lost), of(CELLS[3], 2, **lost)),
    ]
    report = EXPERIMENT.report(params(), Results(tuple(runs)))
    assert [(one["arms"], one["seed"]) for one in report.factors] == [
        ([CELLS[0], CELLS[1]], 1),
        ([CELLS[0], CELLS[2]], 2),
    ]
    assert all(one["same_order"] and one["same_start"] for one in report.factors)
    assert report.caveats == ()


def test_cells_that_do_not_start_alike_are_named(tmp_path: Path) -> None:
    fields = {"init.gain": [1.0, 2.0]}
    report, _ = report_of(EXPERIMENT, tmp_path, seeds=(0,), base=BASE, fields=fields)
    assert report.caveats == ("gain 1.0 and gain 2.0 do not start from the same weights.",)


def test_one_field_is_bars_and_three_are_panels(wine: str) -> None:
    one = params({"norm": ["none", "batch"]})
    told = EXPERIMENT.report(one, Results((run(wine, "norm none", 0, 0.5),)))
    (bars,) = told.figures[0].panels
    assert isinstance(bars, Bars)
    assert bars.groups == ("none", "batch")
    three = params(FIELDS | {"batch_size": [8, 16, 32]})
    cells = list(arms_of(three).values())
    told = EXPERIMENT.report(three, Results(tuple(run(wine, arm, 0, 0.5) for arm in cells)))
    assert [panel.title for panel in told.figures[0].panels] == [
        *("batch_size 8", "batch_size 16", "batch_size 32")
    ]


def test_a_trained_grid_says_in_what_its_cells_differ(tmp_path: Path) -> None:
    told, results = report_of(EXPERIMENT, tmp_path, seeds=(0, 1), base=BASE, fields=FIELDS)
    assert len(results.runs) == 8
    assert [one["differ_in"] for one in told.factors] == [
        *(["norm"], ["optimizer.lr"], ["norm", "optimizer.lr"])
    ]
    assert all(one["same_order"] and one["same_start"] for one in told.factors)
