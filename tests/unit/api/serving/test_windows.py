"""What a model's predictions saw is kept over requests, and watching never costs an answer."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from api.serving.window_metrics import WindowMetrics
from api.serving.windows import Window, Windows
from api.telemetry import Telemetry
from core.models import Version
from model.data.dataset import Facts
from model.errors import InputRefused
from model.predict import Predictor
from model.statistics.drift.calibration import Calibration, calibration
from model.statistics.drift.scores import Reference
from model.statistics.drift.thresholds import Thresholds

ROWS = np.random.default_rng(0).standard_normal((800, 4)).astype(np.float32)
VERSION = Version("digits", 3, "ckpt_1", 0.0)


@pytest.fixture
def make(load: Callable[..., Predictor], make_facts: Callable[..., Facts]) -> Callable[..., Any]:
    """A predictor whose checkpoint has what calibrating with some rows gives, or is given."""

    def predictor(rows: int = 600, drift: Any = None, folded: bool = True, **more: Any) -> Any:
        facts = make_facts(**more.pop("facts", {}))
        loaded = load(facts, batches=60, **more).loaded
        known = drift
        if drift is None and rows:
            generator = torch.Generator().manual_seed(0)
            given = torch.from_numpy(ROWS[:rows])
            known = calibration(loaded.network, given, given, 100, generator)
        told = replace(loaded, about=replace(loaded.about, drift=known))
        return Predictor(told, ROWS[:50] if folded else None)

    return predictor


def ask(window: Window, predictor: Predictor, rows: np.ndarray, by: int = 1) -> None:
    for start in range(0, len(rows), by):
        window.logits(predictor, rows[start : start + by])


def test_a_window_fills_over_requests_and_is_quiet_on_rows_like_those_of_training(
    make: Callable[..., Any],
) -> None:
    predictor = make()
    window = Window(predictor.loaded)
    ask(window, predictor, ROWS[:20], by=4)
    filling = window.state()
    assert (filling["state"], filling["window_rows"], filling["alarm"]) == ("filling", 0, None)
    assert "32 rows" in filling["message"]
    ask(window, predictor, ROWS[20:64], by=11)
    quiet = window.state()
    assert (quiet["state"], quiet["window_rows"], quiet["rows"]) == ("quiet", 64, 64)
    assert quiet["sizes"] == [32, 64]
    assert 0 < quiet["alarm"] <= 1
    expected = np.bincount(predictor.logits(ROWS[:64]).argmax(1), minlength=3)
    told = {one["label"]: one["rows"] for one in quiet["predicted_classes"]}
    assert told == dict(zip("abc", expected.tolist(), strict=True))
    assert window.predictions == 9


def test_an_alarm_says_what_it_means_and_what_it_does_not(make: Callable[..., Any]) -> None:
    predictor = make()
    window = Window(predictor.loaded)
    ask(window, predictor, ROWS[:64] + 3, by=8)
    state = window.state()
    assert (state["state"], state["alarm"] > 1) == ("alarm", True)
    assert "differ from the training statistics" in state["message"]
    assert "mixture of classes" in state["message"]
    assert state["layers"][0]["layer"] == "1"
    json.dumps(state, allow_nan=False)


def test_a_window_stays_when_the_network_leaves_memory_and_comes_back_in_another_form(
    make: Callable[..., Any],
) -> None:
    first, second = make(), make(folded=False)
    assert (first.folded is None, second.folded is None) == (False, True)
    window, whole = Window(first.loaded), Window(first.loaded)
    ask(window, first, ROWS[:30], by=3)
    ask(window, second, ROWS[30:64], by=17)
    ask(whole, first, ROWS[:64], by=8)
    assert window.state()["rows"] == 64
    assert window.state()["alarm"] == pytest.approx(whole.state()["alarm"], rel=1e-3)


@pytest.mark.parametrize(
    ("made", "rows", "why"),
    [
        ({"rows": 0}, 64, "no thresholds"),
        ({"rows": 100}, 64, "there were 100"),
        ({"rows": 0, "norm": "none"}, 0, "no thresholds"),
    ],
)
def test_what_cannot_be_judged_says_why(
    make: Callable[..., Any], made: dict[str, Any], rows: int, why: str
) -> None:
    predictor = make(**made)
    window = Window(predictor.loaded)
    ask(window, predictor, ROWS[:64] + 9, by=32)
    state = window.state()
    assert (state["state"], state["rows"], state["alarm"]) == ("uncalibrated", rows, None)
    assert why in state["message"]


def test_a_network_without_norm_is_watched_by_what_was_recorded(make: Callable[..., Any]) -> None:
    predictor = make(norm="none")
    window = Window(predictor.loaded)
    ask(window, predictor, ROWS[:64] + 3, by=16)
    assert window.state()["state"] == "alarm"


def test_a_regression_has_no_classes(make: Callable[..., Any]) -> None:
    predictor = make(facts={"classes": None}, loss="squared_error")
    window = Window(predictor.loaded)
    ask(window, predictor, ROWS[:64], by=16)
    assert (window.state()["state"], window.state()["predicted_classes"]) == ("quiet", None)


def broken(name: str = "1", size: int = 32, layers: int = 1) -> Calibration:
    reference = Reference(name, torch.zeros(5).double(), torch.ones(5).double())
    return Calibration((reference,), Thresholds(600, (name,), {size: (1.0,) * layers}))


@pytest.mark.parametrize(
    "drift",
    [broken(name="9"), broken(name="0", layers=0), broken(name="0", size=2**60)],
    ids=["of another network", "without a threshold", "too large for memory"],
)
def test_watching_that_fails_is_given_up_and_no_answer_with_it(
    make: Callable[..., Any], drift: Calibration
) -> None:
    predictor = make(drift=drift, norm="none")
    expected = predictor.logits(ROWS[:64])
    window = Window(predictor.loaded)
    for _ in range(3):
        np.testing.assert_array_equal(window.logits(predictor, ROWS[:64]), expected)
        state = window.state()
    assert (state["state"], state["rows"]) == ("uncalibrated", 0)
    assert "given up" in state["message"]
    assert window.predictions == 3


def test_rows_that_are_refused_do_not_count(make: Callable[..., Any]) -> None:
    predictor = make()
    window = Window(predictor.loaded)
    with pytest.raises(InputRefused):
        window.logits(predictor, np.full((40, 4), np.nan))
    assert (window.predictions, window.state()["rows"]) == (0, 0)


def test_a_network_that_fails_by_itself_fails_and_is_watched_on(make: Callable[..., Any]) -> None:
    good, bad = make(), make()
    bad.network[0].weight = torch.nn.Parameter(torch.zeros(5, 3), requires_grad=False)
    window = Window(good.loaded)
    with pytest.raises(RuntimeError):
        window.logits(bad, ROWS[:64])
    ask(window, good, ROWS[:64], by=32)
    assert window.state()["state"] == "quiet"


def test_the_versions_asked_least_recently_are_forgotten(make: Callable[..., Any]) -> None:
    predictor = make()
    windows = Windows(limit=2)
    keys = [("a", 1), ("b", 1), ("a", 1), ("b", 2)]
    for model, version in keys:
        asked = Version(model, version, "ckpt_1", 0.0)
        windows.watched(asked, predictor).logits(ROWS[:1])
    assert list(windows.all()) == [("a", 1), ("b", 2)]
    assert windows.get(("b", 1)) is None
    assert windows.get(("a", 1)).predictions == 2


def test_windows_go_with_the_model_or_the_version(make: Callable[..., Any]) -> None:
    predictor, windows = make(), Windows()
    for model, version in (("a", 1), ("a", 2), ("a", 3), ("b", 1)):
        windows.watched(Version(model, version, "ckpt_1", 0.0), predictor)
    windows.forget("a", [2])
    assert list(windows.all()) == [("a", 1), ("a", 3), ("b", 1)]
    windows.forget("a")
    assert list(windows.all()) == [("b", 1)]


def test_prometheus_reads_the_windows_that_there_are(make: Callable[..., Any]) -> None:
    predictor, windows, telemetry = make(), Windows(), Telemetry()
    telemetry.add(WindowMetrics(windows))
    watched = windows.watched(VERSION, predictor)
    watched.logits(ROWS[:8])
    labels = '{model="digits",version="3"}'
    text = telemetry.text().decode()
    assert "evalmode_drift_alarm{" not in text
    assert f"evalmode_drift_window_rows{labels} 0.0" in text
    watched.logits(ROWS[8:64])
    text = telemetry.text().decode()
    assert f"evalmode_drift_window_rows{labels} 64.0" in text
    assert f"evalmode_model_predictions_total{labels} 2.0" in text
    alarm = windows.get(("digits", 3)).state()["alarm"]
    assert f"evalmode_drift_alarm{labels} {alarm}" in text
    windows.forget("digits")
    assert "digits" not in telemetry.text().decode()
