"""The rolling window across requests against one pass over the same rows."""

import copy
import gc
import json
import math
import threading
import weakref

import numpy as np
import pytest
import torch

from model.networks.fold import fold
from model.statistics.drift.budget import CREDIT_SECONDS, Budget
from model.statistics.drift.monitor import Monitor
from model.statistics.drift.probe import Probe
from model.statistics.drift.reference import running
from model.statistics.drift.thresholds import Thresholds


@pytest.fixture(scope="module", params=["mlp", "image", "folded mlp", "folded image"])
def served(request, make_network, image_layers):
    """A network as trained, the one that answers, and rows."""
    is_mlp = "mlp" in request.param
    shape = (6,) if is_mlp else (3, 5, 5)
    network = make_network(shape, None if is_mlp else image_layers)
    rows = torch.randn(300, *shape, generator=torch.Generator().manual_seed(1))
    answering = fold(network, shape).network if "folded" in request.param else network
    return network, answering, rows + 0.2


def thresholds(network, sizes=(32, 64, 128), value=1.0) -> Thresholds:
    names = tuple(one.name for one in running(network))
    return Thresholds(1024, names, {size: (value,) * len(names) for size in sizes})


def monitor(network, limits=None, classes=3) -> Monitor:
    return Monitor(running(network), limits or thresholds(network), classes, math.inf)


def entering(network, rows):
    """What enters the first norm, (values, C), in float64."""
    values = network[0](rows).double()
    return values if values.dim() == 2 else values.permute(0, 2, 3, 1).flatten(0, 2)


def closed_form(network, rows) -> float:
    layer, x = network[1], entering(network, rows)
    m, v = layer.running_mean.double(), layer.running_var.double()
    mean, w = x.mean(0), x.var(0)
    both = v / w + w / v - 2 + (mean - m) ** 2 * (1 / v + 1 / w)
    return (both / 4).mean().item()


@pytest.mark.parametrize("request_rows", [1, 5, 40, 300])
def test_the_window_is_the_last_rows_whatever_the_requests(served, request_rows) -> None:
    network, answering, rows = served
    drift = monitor(network)
    probe = Probe(answering, network)
    with torch.inference_mode():
        for block in rows.split(request_rows):
            with drift.watching(probe, len(block)):
                padded = torch.cat(
                    [block, block[-1:].expand(max(0, 8 - len(block)), *block.shape[1:])]
                )
                answering(padded)
    state, small = drift.state(), drift.state(32)
    end = 300 - 300 % 32  # the last block is not complete
    window = rows[end - 128 : end]
    near = 1e-6 if answering is network else 1e-4
    assert (state.window_rows, state.rows) == (128, 128)
    assert state.layers[0].score == pytest.approx(closed_form(network, window), rel=near)
    assert small.layers[0].score == pytest.approx(
        closed_form(network, rows[end - 32 : end]), rel=near
    )
    expected = np.bincount(network(window).argmax(1).numpy(), minlength=3)
    assert state.predicted_classes == expected.tolist()


def test_watching_changes_no_answer(served) -> None:
    network, answering, rows = served
    plain = answering(rows)
    before = {name: tensor.clone() for name, tensor in answering.state_dict().items()}
    random_state = torch.get_rng_state()
    drift = monitor(network)
    probe = Probe(answering, network)
    with drift.watching(probe, 300):
        assert torch.equal(answering(rows), plain)
    drift.state()
    assert torch.equal(torch.get_rng_state(), random_state)
    after = answering.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_states(served) -> None:
    network, answering, rows = served
    cases = [
        (thresholds(network), 31, "filling"),
        (thresholds(network), 32, "quiet"),
        (thresholds(network, value=1e-9), 32, "alarm"),
        (thresholds(network, sizes=()), 300, "uncalibrated"),
    ]
    probe = Probe(answering, network)
    for limits, count, expected in cases:
        drift = monitor(network, limits)
        with drift.watching(probe, count):
            answering(rows[:count])
        state = drift.state()
        assert state.state == expected
        assert (state.alarm is None) == (expected in ("filling", "uncalibrated"))
        text = json.dumps(state.to_json(), allow_nan=False)
        assert json.loads(text)["state"] == expected


def test_a_size_that_is_not_calibrated_is_refused(served) -> None:
    with pytest.raises(ValueError, match=r"windows of 33 rows are not calibrated, only \[32, 64"):
        monitor(served[0]).state(33)


def test_a_network_with_other_points_is_refused(served, make_network) -> None:
    drift = monitor(served[0])
    other = make_network(norm="none")
    refusal = pytest.raises(ValueError, match=r"is watched at \['1', .*'\], not at \['0', '2'\]")
    probe = Probe(other)
    with refusal, drift.watching(probe, 2):
        other(torch.zeros(2, 6))


def test_a_number_that_overflows_alarms_and_leaves_with_its_block(served) -> None:
    network, answering, rows = served
    bad = rows[:32].clone()
    bad[3] = 1e38
    drift = monitor(network, thresholds(network, sizes=(32,)))
    probe = Probe(answering, network)
    with drift.watching(probe, 32):
        answering(bad)
    state = drift.state()
    assert state.state == "alarm"
    json.dumps(state.to_json(), allow_nan=False)
    with drift.watching(probe, 32):
        answering(rows[32:64])
    assert drift.state().state == "quiet"


def test_a_window_survives_its_network_folded_or_not(served) -> None:
    network, answering, rows = served
    whole, parted = monitor(network), monitor(network)
    probe = Probe(answering, network)
    with whole.watching(probe, 128):
        answering(rows[:128])
    for served_again, start in ((answering, 0), (copy.deepcopy(network), 64)):
        probe = Probe(served_again, network)
        with parted.watching(probe, 64):
            served_again(rows[start : start + 64])
    assert parted.state().rows == 128
    expected = [layer.score for layer in whole.state().layers]
    assert [layer.score for layer in parted.state().layers] == pytest.approx(expected, rel=1e-4)
    assert parted.state().predicted_classes == whole.state().predicted_classes


def test_a_monitor_keeps_no_network_in_memory(served) -> None:
    network, answering, rows = served
    gone = copy.deepcopy(answering)
    alive = weakref.ref(gone)
    drift = monitor(network)
    probe = Probe(gone, network)
    with drift.watching(probe, 31):
        gone(rows[:31])
    del gone, probe
    gc.collect()
    assert alive() is None
    assert drift.state().state == "filling"


def test_monitors_share_a_probe_and_count_their_own_predictions(served) -> None:
    network, answering, rows = served
    first, second = monitor(network), monitor(network)
    alone = monitor(network)
    probe = Probe(answering, network)
    for start in range(0, 128, 32):
        for drift, more in ((first, 0.0), (second, 1.0)):
            with drift.watching(probe, 32):
                answering(rows[start : start + 32] + more)
    answering(rows)  # nobody asked for these to be counted
    with alone.watching(probe, 128):
        answering(rows[:128] + 1.0)
    assert (first.state().rows, second.state().rows) == (128, 128)
    expected = [layer.score for layer in alone.state().layers]
    assert [layer.score for layer in second.state().layers] == pytest.approx(expected, rel=1e-4)
    assert first.state().layers[0].score < expected[0] / 2


def test_threads_count_their_own_predictions_and_none_is_lost(served) -> None:
    network, answering, rows = served
    monitors = [monitor(network, thresholds(network, sizes=(1024,))) for _ in range(2)]

    def predict(drift: Monitor, probe: Probe, block: torch.Tensor) -> None:
        for row in block:
            with drift.watching(probe, 1):
                answering(row[None])

    probe = Probe(answering, network)
    threads = [
        threading.Thread(target=predict, args=(monitors[k % 2], probe, rows[k * 64 :][:64]))
        for k in range(3)
    ]
    for thread in threads:
        thread.start()
    answering(rows)  # nobody asked for these to be counted
    while any(thread.is_alive() for thread in threads):
        monitors[0].state()
    for thread in threads:
        thread.join()
    assert [drift.state().rows for drift in monitors] == [128, 64]


def test_a_regression_counts_no_classes(served) -> None:
    network, answering, rows = served
    drift = monitor(network, classes=0)
    probe = Probe(answering, network)
    with drift.watching(probe, 64):
        answering(rows[:64])
    assert drift.state().predicted_classes is None


def test_a_budget_allows_its_share_and_a_bounded_credit() -> None:
    budget = Budget(0.1)
    now, spent = 100.0, 0.0
    for _ in range(10_000):
        now += 0.001
        if budget.is_open(now):
            budget.spend(0.0007, now)
            spent += 0.0007
    assert spent == pytest.approx(0.1 * (10 + CREDIT_SECONDS), rel=0.05)
    endless = Budget(math.inf)
    endless.spend(1e9, 0.0)
    assert endless.is_open(0.0)
