"""Measures in a training run: they change nothing of it, and say the same however it is run."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.blocks import block_rows
from model.data.builtin import build as build_dataset
from model.data.dataset import describe
from model.errors import DeviationZero
from model.measures.catalogue import CATALOGUE
from model.measures.engine import Engine, engine_of
from model.measures.probe import MOST_ROWS, Moment, Probe, Reading
from model.measures.rows import rows_of
from model.measures.schedule import Scheduled
from model.plan import Checked, Limits, check
from model.spec import RunSpec
from model.training import loop
from model.training.arrays import Arrays, prepare
from model.training.happenings import Happening
from model.training.loop import Training
from model.training.observer import Measured

CPU = torch.device("cpu")
UNLIMITED = Limits(10**15, 10**18)
DIGITS = build_dataset("digits")
RANDOM = np.random.default_rng(0)
IMAGES = describe(
    RANDOM.integers(0, 256, (80, 1, 8, 8)).astype(np.float32),
    RANDOM.integers(0, 3, 80),
    ("a", "b", "c"),
    images=True,
    train_rows=64,
)
MANY = describe(
    RANDOM.normal(size=(2_700, 2)).astype(np.float32),
    RANDOM.integers(0, 2, 2_700),
    ("a", "b"),
    train_rows=2_600,
)

CONV: list[dict[str, Any]] = [
    {"kind": "conv2d", "out_channels": 4, "kernel_size": 3},
    {"kind": "norm"},
    {"kind": "activation", "activation": "relu"},
    {"kind": "flatten"},
    {"kind": "dropout"},
    {"kind": "linear"},
]
MLP = {"kind": "mlp", "hidden": [12, 8], "activation": "relu"}
DROPOUT: list[dict[str, Any]] = [
    {"kind": "linear", "out_features": 12},
    {"kind": "norm"},
    {"kind": "activation"},
    {"kind": "dropout"},
    {"kind": "linear"},
]
ARMS: dict[str, dict[str, Any]] = {
    "no norm": {"optimizer": {"kind": "adam"}},
    "batch norm": {"norm": "batch", "schedule": {"kind": "cosine", "warmup_steps": 7}},
    "cumulative average": {"norm": {"kind": "batch", "momentum": None}},
    "deviation": {"norm": {"kind": "batch", "running": "deviation", "eps": 1e-3}},
    "dropout": {"network": {"kind": "layers", "layers": DROPOUT}, "norm": "batch"},
    "noise": {"norm": "noisy_batch", "optimizer": {"kind": "sgd", "momentum": 0.9}},
    "renorm": {"norm": "batch_renorm", "sampling": "with_replacement"},
    "float64": {"norm": "layer", "precision": "float64"},
    "conv": {"dataset": "images", "network": {"kind": "layers", "layers": CONV}, "norm": "batch"},
    "resnet": {
        "dataset": "images",
        "network": {"kind": "resnet", "depth": 20, "width": 2},
        "norm": "batch",
        "budget": {"steps": 6},
        "batch_size": 16,
    },
}
REAL = [*(kind for kind in CATALOGUE if kind != "relative_loss")]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def checked_of(**fields: Any) -> tuple[Checked, Arrays]:
    body = {"dataset": "digits", "network": MLP, "budget": {"steps": 20}, "batch_size": 24}
    body |= fields
    dataset = {"images": IMAGES, "many": MANY}.get(body["dataset"], DIGITS)
    checked = check(RunSpec.model_validate(body), dataset.facts, UNLIMITED)
    return checked, prepare(dataset, checked.spec, CPU)


def measured_run(**fields: Any) -> Training:
    """A training with the measures that its spec asks for."""
    checked, arrays = checked_of(**fields)
    return Training(checked, arrays, CPU, engine_of(checked, arrays, CPU))


def probed_run(*probes: Scheduled, **fields: Any) -> Training:
    """A training with probes of a test's own."""
    checked, arrays = checked_of(**fields)
    return Training(checked, arrays, CPU, Engine(probes, checked, arrays, CPU))


def scheduled(probe: Probe, every: int = 3, steps: int = 20, kind: str = "own") -> Scheduled:
    return Scheduled(kind, probe, steps, every=every)


class Greedy:
    """Trains its copy until nothing is as it was, and draws from every generator there is."""

    def look(self, at: Moment) -> Reading:
        optimizer = torch.optim.SGD(at.network.parameters(), lr=10.0)
        at.network.train()  # dropout, too
        for block in (*at.rows, at.batch):
            optimizer.zero_grad()
            logits = at.network(block.inputs)
            nn.functional.cross_entropy(logits, block.targets).backward()
            optimizer.step()
        for buffer in at.network.buffers():
            buffer.zero_()
        return Reading({"own.drawn": torch.rand(()).item()}, {})


@dataclass
class Diary:
    """Writes down every moment that it is shown."""

    moments: list[Moment] = field(default_factory=list)

    def look(self, at: Moment) -> Reading:
        self.moments.append(at)
        return Reading({}, {"rows": sum(len(block.inputs) for block in at.rows)})


@dataclass
class StepDiary:
    """Writes down both sides of every step that it is shown."""

    pairs: list[tuple[Moment, Moment]] = field(default_factory=list)

    def compare(self, before: Moment, after: Moment) -> Reading:
        self.pairs.append((before, after))
        return Reading({}, {"rows": [len(block.inputs) for block in before.rows]})


@dataclass
class Raising:
    """Raises at every look."""

    error: Exception

    def look(self, at: Moment) -> Reading:
        raise self.error


def readings(happenings: list[Happening]) -> list[tuple[str, int, str, str]]:
    return [
        (one.kind, one.step, repr(dict(one.values)), json.dumps(one.data))
        for happening in happenings
        for one in happening.measured
    ]


def found(training: Training) -> list[Measured]:
    return [one for happening in training.run() for one in happening.measured]


def everything(training: Training) -> dict[str, Tensor]:
    """All that decides how a run goes on."""
    point = training.resume_point()
    return point.network | point.state


def own_points(happenings: list[Happening]) -> list[tuple[str, int, str]]:
    """The points of training and evaluation, without those of measures and of the clock."""
    return [
        (point.name, point.step, repr(point.value))
        for happening in happenings
        for point in happening.points
        if "." not in point.name and point.name != "steps_per_second"
    ]


@pytest.mark.parametrize("arm", ARMS)
def test_a_run_with_measures_ends_with_the_bits_of_one_without(arm: str) -> None:
    steps = ARMS[arm].get("budget", {"steps": 20})["steps"]
    evaluated = {**ARMS[arm], "evaluate_every": {"steps": 4}}
    alone = Training(*checked_of(**evaluated), CPU)
    plain = list(alone.run())
    expected = everything(alone)
    asked = [{"kind": "relative_loss", "at": [1, 5]}, *({"kind": k, "every": 4} for k in REAL)]
    for begin in (
        lambda: probed_run(scheduled(Greedy(), steps=steps), **evaluated),
        lambda: measured_run(**evaluated, measures=asked),
    ):
        measured = begin()
        happenings = list(measured.run())
        assert own_points(happenings) == own_points(plain)
        now = everything(measured)
        assert now.keys() == expected.keys()
        assert [name for name in now if not torch.equal(now[name], expected[name])] == []
        assert happenings[-1].ended == plain[-1].ended


@pytest.mark.parametrize("stop_at", [1, 3, 10, 19])
def test_a_resumed_run_reads_what_an_undisturbed_one_reads(stop_at: int) -> None:
    fields = {**ARMS["noise"], "measures": [{"kind": kind, "every": 3} for kind in REAL]}
    fields["evaluate_every"] = {"steps": 1}
    whole = list(measured_run(**fields).run())
    first, before = measured_run(**fields), []
    for happening in first.run():
        before.append(happening)
        if happening.step == stop_at:
            break
    point = first.resume_point()
    torch.rand(3)  # whatever else the process draws must not matter
    second = measured_run(**fields)
    second.resume(point)
    assert readings([*before, *second.run()]) == readings(whole)


def test_a_state_is_looked_at_before_the_first_step_every_so_often_and_after_the_last() -> None:
    assert [one.step for one in found(probed_run(scheduled(Diary(), every=7)))] == [0, 7, 14, 20]


def test_of_steps_the_first_every_so_many_and_the_last_are_compared() -> None:
    assert [one.step for one in found(probed_run(scheduled(StepDiary(), every=7)))] == [
        0,
        7,
        14,
        19,
    ]


def test_a_period_longer_than_the_run_leaves_its_start_and_its_end() -> None:
    run = probed_run(scheduled(Diary(), every=1000), scheduled(StepDiary(), every=1000, kind="s"))
    assert [(one.kind, one.step) for one in found(run)] == [
        ("own", 0),
        ("s", 0),
        ("s", 19),
        ("own", 20),
    ]


def test_measures_with_steps_of_their_own_are_taken_there_alone() -> None:
    run = probed_run(Scheduled("own", Diary(), 20, at=frozenset({0, 3})))
    assert [one.step for one in found(run)] == [0, 3]


def test_a_run_of_one_step_is_seen_from_both_sides() -> None:
    probes = scheduled(Diary(), steps=1), scheduled(StepDiary(), steps=1, kind="step")
    taken = found(probed_run(*probes, budget={"steps": 1}))
    assert [(one.kind, one.step) for one in taken] == [("own", 0), ("step", 0), ("own", 1)]


def test_all_rows_are_looked_at_first_and_last_and_two_thousand_between() -> None:
    state = Diary()
    run = probed_run(scheduled(state, every=8), dataset="many")
    counted = [one.data["rows"] for one in found(run)]
    every = len(run.arrays.train)
    assert counted == [every, MOST_ROWS, MOST_ROWS, every]
    assert every > MOST_ROWS
    between = [at.rows for at in state.moments[1:3]]
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(*between, strict=True))


def test_a_step_is_compared_on_the_same_blocks_of_rows_at_the_ends_and_between() -> None:
    """Blocks of other rows would be normalized by other statistics: a step that nobody made."""
    diary = StepDiary()
    list(probed_run(scheduled(diary, every=8), dataset="many", norm="batch").run())
    first, *others = [moment.rows for pair in diary.pairs for moment in pair]
    assert sum(len(block.inputs) for block in first) == MOST_ROWS
    assert len(others) == 7
    for rows in others:
        assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(first, rows, strict=True))


def test_an_input_shift_is_of_two_thousand_rows_at_every_step_of_a_run() -> None:
    asked = [{"kind": "input_shift", "every": 8}]
    taken = found(measured_run(dataset="many", norm="batch", measures=asked))
    assert [one.step for one in taken] == [0, 8, 16, 19]
    assert [(one.data["rows"], one.data["block_rows"]) for one in taken] == [(2_000, 1_000)] * 4


def test_no_measure_but_those_that_are_said_to_look_at_all_rows_is_shown_them() -> None:
    state = Diary()
    few = Scheduled("own", state, 20, every=8, all_rows=False)
    assert [one.data["rows"] for one in found(probed_run(few, dataset="many"))] == [MOST_ROWS] * 4
    assert {kind for kind, one in CATALOGUE.items() if one.all_rows} == {
        "saturation",
        "percentiles",
        "moments",
    }


@pytest.mark.parametrize("batch_size", [24, 300, 1_500])
def test_blocks_are_about_as_large_as_a_training_batch_where_evaluation_takes_fewer_rows(
    batch_size: int,
) -> None:
    """Of 72,004 numbers in a row's activations 233 rows are 64 MiB in float32."""
    network = {"kind": "mlp", "hidden": [24_000]}
    checked, arrays = checked_of(
        dataset="many", network=network, norm="batch", batch_size=batch_size
    )
    fixed = rows_of(checked, arrays.train).fixed
    most = max(233, batch_size)
    assert block_rows(checked.plan, 4) == 233
    assert [len(block.inputs) for block in fixed] == pytest.approx(
        [MOST_ROWS / len(fixed)] * len(fixed), abs=1
    )
    assert len(fixed) == -(-MOST_ROWS // most)


@pytest.mark.parametrize("kind", ["saturation", "percentiles", "moments", "input_shift"])
def test_a_reading_says_how_many_rows_passed_at_once(kind: str) -> None:
    asked = [{"kind": kind, "every": 8}]
    taken = found(measured_run(dataset="many", norm="batch", measures=asked))
    told = [(one.data["rows"], one.data["block_rows"]) for one in taken]
    ends = (2_000, 1_000) if kind == "input_shift" else (2_340, 780)
    assert told == [ends, (2_000, 1_000), (2_000, 1_000), ends]


def test_the_rows_are_training_rows_each_once_and_no_block_is_a_single_row() -> None:
    diary = Diary()
    run = probed_run(scheduled(diary), dataset="many", network={"kind": "mlp", "hidden": [60_000]})
    next(run.run())
    (first,) = diary.moments
    sizes = [len(block.inputs) for block in first.rows]
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) > 10
    rows = torch.cat([block.inputs for block in first.rows])
    targets = torch.cat([block.targets for block in first.rows])
    train = run.arrays.train
    drawn = torch.cat([rows, targets[:, None]], 1)
    wanted = torch.cat([train.inputs, train.targets[:, None]], 1)
    assert sorted(map(tuple, drawn.tolist())) == sorted(map(tuple, wanted.tolist()))


def test_a_moment_has_the_batch_and_the_rate_of_the_step_to_come() -> None:
    state, step = Diary(), StepDiary()
    fields = {"schedule": {"kind": "cosine", "warmup_steps": 5}, "optimizer": {"kind": "sgd"}}
    run = probed_run(scheduled(state, every=6), scheduled(step, every=6, kind="s"), **fields)
    for before, after in _stepped(run, step):
        network = before.network
        loss = nn.functional.cross_entropy(network(before.batch.inputs), before.batch.targets)
        loss.backward()
        for old, new in zip(network.parameters(), after.network.parameters(), strict=True):
            assert old.grad is not None
            torch.testing.assert_close(old - before.lr * old.grad, new)
        assert torch.equal(before.batch.inputs, after.batch.inputs)
        assert (before.step, after.step) == (before.step, before.step + 1)
    at_end = state.moments[-1]
    assert (at_end.step, at_end.lr) == (20, step.pairs[-1][0].lr)


def _stepped(run: Training, diary: StepDiary) -> list[tuple[Moment, Moment]]:
    list(run.run())
    assert len(diary.pairs) == 5
    return diary.pairs


def test_dropout_is_off_in_what_a_probe_sees_and_batch_norm_in_training_mode() -> None:
    diary = Diary()
    next(probed_run(scheduled(diary), **ARMS["dropout"]).run())
    modes = {type(m).__name__: m.training for m in diary.moments[0].network.modules()}
    assert (modes["Dropout"], modes["BatchNorm"]) == (False, True)


def test_what_a_probe_reads_does_not_hang_on_its_company() -> None:
    every = [{"kind": kind, "every": 5} for kind in REAL]
    fields = ARMS["noise"]
    together = found(measured_run(**fields, measures=every))
    for one in every:
        alone = found(measured_run(**fields, measures=[one]))
        company = [m for m in together if m.kind == one["kind"]]
        assert [(m.step, json.dumps(m.data)) for m in alone] == [
            (m.step, json.dumps(m.data)) for m in company
        ]


def test_a_run_says_what_all_measures_found_in_json_and_few_points() -> None:
    run = measured_run(norm="batch", measures=[*REAL, "relative_loss"])
    taken = found(run)
    assert {one.kind for one in taken} == set(CATALOGUE)
    for one in taken:
        assert all(name.startswith(f"{one.kind}.") for name in one.values)
        assert len(one.values) <= 100
        json.dumps(one.data, allow_nan=False)


def test_values_become_points_of_the_step_that_they_were_taken_at() -> None:
    class Constant:
        def look(self, at: Moment) -> Reading:
            return Reading({"own.here": float(at.step)}, {})

    happenings = list(probed_run(scheduled(Constant(), every=7)).run())
    points = [(p.step, p.value) for h in happenings for p in h.points if p.name == "own.here"]
    assert points == [(0, 0.0), (7, 7.0), (14, 14.0), (20, 20.0)]


DIVERGING = {
    "network": {"kind": "mlp", "hidden": [16, 16], "activation": "relu"},
    "loss": {"kind": "squared_error"},
    "optimizer": {"kind": "sgd", "lr": 30.0},
    "budget": {"steps": 60},
    "evaluate_every": {"steps": 60},
}


def test_a_diverging_run_has_the_readings_of_all_steps_before_whenever_that_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = []
    for control_steps in (1, 64):
        monkeypatch.setattr(loop, "CONTROL_STEPS", control_steps)
        measures = [{"kind": kind, "every": 1} for kind in REAL]
        happenings = list(measured_run(**DIVERGING, measures=measures).run())
        end = happenings[-1]
        assert end.ended == "diverged"
        taken = readings(happenings)
        assert {step for _, step, _, _ in taken} == set(range(end.step))
        ends.append(sorted(taken))
    assert ends[0] == ends[1]


def test_a_probe_that_fails_on_a_network_that_is_not_finite_reads_nothing_and_ends_nothing() -> (
    None
):
    failing = Raising(ValueError("no histogram of NaN"))
    checked, arrays = checked_of(network={"kind": "mlp", "hidden": [4], "activation": "relu"})
    training = Training(checked, arrays, CPU, Engine([scheduled(failing)], checked, arrays, CPU))
    with torch.no_grad():
        training.network[0].weight.fill_(torch.nan)
    (end,) = training.run()
    assert (end.ended, end.step) == ("diverged", 1)
    (one,) = end.measured
    assert dict(one.values) == {}
    assert one.data == {"unreadable": "ValueError: no histogram of NaN"}


def test_a_zero_deviation_in_a_probe_reads_nothing() -> None:
    run = probed_run(scheduled(Raising(DeviationZero("constant")), every=10))
    assert [one.data for one in found(run)] == [{"unreadable": "DeviationZero: constant"}] * 3


def test_a_probe_that_fails_on_a_sound_network_fails_the_run() -> None:
    with pytest.raises(ValueError, match="a bug"):
        list(probed_run(scheduled(Raising(ValueError("a bug")))).run())


def test_every_pass_of_a_probe_is_a_sign_of_life() -> None:
    lived: list[int] = []
    checked, arrays = checked_of(norm="batch", measures=["moments"], dataset="many")
    engine = engine_of(checked, arrays, CPU, lambda: lived.append(1))
    training = Training(checked, arrays, CPU, engine)
    next(training.run())
    assert len(lived) >= 3  # 2,600 rows in blocks of at most 1,000


def test_nothing_asked_is_nobody_looking() -> None:
    checked, arrays = checked_of()
    assert engine_of(checked, arrays, CPU) is None
